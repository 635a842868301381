//! `CROSS JOIN UNNEST(e) [WITH ORDINALITY] AS t (a, b)` becomes a lateral derived table of marker columns, as
//! [`crate::window_call`] describes. `LATERAL TABLE(f(x)) AS t (a)` is UNNEST(f(x)): a function that gives an array is a
//! table function.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Join, JoinConstraint, JoinOperator,
    ObjectName, Query, Select, SelectItem, Spanned, TableAlias, TableFactor, Value, ValueWithSpan, Visit, Visitor,
    visit_expressions_mut,
};
use sqlparser::tokenizer::Span;

use super::expression::{function, string_literal};
use super::query_parts;
use super::tokens::Parsed;
use crate::diagnostic::Diagnostic;
use crate::window_call::{UNNEST_MARKER, UnnestColumn};

/// Name of the only column when the alias names none.
const ELEMENT: &str = "f0";

/// Rewrites all UNNESTs in the FROM of a SELECT; those after a comma become cross joins.
pub(super) fn rewrite(select: &mut Select) -> Parsed<()> {
    let from = std::mem::take(&mut select.from);
    for mut table in from {
        for join in &mut table.joins {
            if let Some(derived) = lateral(&join.relation, true)? {
                check_join(join)?;
                join.relation = derived;
            }
        }
        match (lateral(&table.relation, !select.from.is_empty())?, select.from.last_mut()) {
            (Some(relation), Some(left)) => {
                let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
                left.joins.push(Join { relation, global: false, join_operator });
                left.joins.append(&mut table.joins);
            }
            (Some(relation), None) => {
                table.relation = relation;
                select.from.push(table);
            }
            (None, _) => select.from.push(table),
        }
    }
    Ok(())
}

/// The derived table for an UNNEST; `None` for any other table factor.
fn lateral(factor: &TableFactor, lateral: bool) -> Parsed<Option<TableFactor>> {
    let (name, args, alias, with_ordinality) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } if is_named(name, "UNNEST") => {
            (name, &args.args, alias, with_ordinality)
        }
        TableFactor::Function { lateral: true, name, args, alias, .. } if is_lateral_table(name) => {
            (name, args, alias, &false)
        }
        _ => return Ok(None),
    };
    let span = name.span();
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(operand))] = args.as_slice() else {
        return Err(Diagnostic::at(
            span,
            format!("{} takes exactly one ARRAY or MAP", name.to_string().to_uppercase()),
        ));
    };
    let operand = inside_unnest(operand);
    if contains_query(operand) {
        return Err(Diagnostic::at(operand.span(), "UNNEST cannot take a subquery").or_at(span));
    }
    let operand = &arrays_as_calls(operand.clone());
    let names = column_names(alias.as_ref(), *with_ordinality, span)?;
    let projection = projection(&names, *with_ordinality, operand, span);
    let subquery = query_parts::query(query_parts::select(projection, vec![]));
    let alias = alias.as_ref().map(|alias| query_parts::alias(alias.name.clone()));
    Ok(Some(TableFactor::Derived { lateral, subquery, alias, sample: None }))
}

/// The operand is repeated for each column, so that nesting queries in it would multiply them.
fn contains_query(operand: &Expr) -> bool {
    struct Queries;
    impl Visitor for Queries {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    operand.visit(&mut Queries).is_break()
}

/// Array constructors as calls of the function that makes them: DataFusion plans a constructor's elements without the
/// columns of the tables to the left.
fn arrays_as_calls(mut operand: Expr) -> Expr {
    let _ = visit_expressions_mut(&mut operand, |expr| {
        if let Expr::Array(array) = expr {
            let elements = std::mem::take(&mut array.elem);
            *expr = function(Ident::new("make_array"), elements);
        }
        ControlFlow::<()>::Continue(())
    });
    operand
}

fn is_named(name: &ObjectName, wanted: &str) -> bool {
    matches!(name.0.as_slice(), [part] if part.as_ident().is_some_and(|ident| ident.quote_style.is_none()
        && ident.value.eq_ignore_ascii_case(wanted)))
}

/// The TABLE of `LATERAL TABLE(f(x))`.
pub(super) fn is_lateral_table(name: &ObjectName) -> bool {
    is_named(name, "TABLE")
}

/// `e` of `UNNEST(e)`, which may stand in `LATERAL TABLE(...)`; anything else is itself.
fn inside_unnest(operand: &Expr) -> &Expr {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = operand else { return operand };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] if is_named(name, "UNNEST") => inner,
        _ => operand,
    }
}

fn column_names(alias: Option<&TableAlias>, ordinality: bool, span: Span) -> Parsed<Vec<Ident>> {
    let given = alias.map(|alias| alias.columns.as_slice()).unwrap_or_default();
    if given.is_empty() {
        let mut names = vec![query_parts::quoted(ELEMENT, span)];
        names.extend(ordinality.then(|| query_parts::quoted("ORDINALITY", span)));
        return Ok(names);
    }
    if ordinality && given.len() < 2 {
        return Err(Diagnostic::at(span, "UNNEST ... WITH ORDINALITY gives at least two columns")
            .with_hint("name them: AS t (element, position)"));
    }
    Ok(given.iter().map(|column| column.name.clone()).collect())
}

fn projection(names: &[Ident], ordinality: bool, operand: &Expr, span: Span) -> Vec<SelectItem> {
    let count = names.len() - usize::from(ordinality);
    let column = |(index, name): (usize, &Ident)| {
        let column =
            UnnestColumn { index, count, ordinality: index == count, line: span.start.line, column: span.start.column };
        let json = serde_json::to_string(&column).expect("numbers and booleans can be written as JSON");
        SelectItem::ExprWithAlias {
            expr: function(Ident::with_span(span, UNNEST_MARKER), vec![string_literal(json, span), operand.clone()]),
            alias: name.clone(),
        }
    };
    names.iter().enumerate().map(column).collect()
}

/// UNNEST can be joined by CROSS JOIN, JOIN and LEFT JOIN ON TRUE.
fn check_join(join: &Join) -> Parsed<()> {
    let span = join.relation.span();
    let constraint = match &join.join_operator {
        JoinOperator::CrossJoin(JoinConstraint::None) => return Ok(()),
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint) => constraint,
        _ => return Err(Diagnostic::at(span, "UNNEST can be joined by CROSS JOIN or LEFT JOIN ... ON TRUE only")),
    };
    match constraint {
        JoinConstraint::On(Expr::Value(ValueWithSpan { value: Value::Boolean(true), .. })) => Ok(()),
        _ => {
            Err(Diagnostic::at(span, "the join with an UNNEST must be ON TRUE")
                .with_hint("put the condition into WHERE"))
        }
    }
}
