//! The one pass over a parsed query or expression: Flink's forms are brought into the shapes that the planner takes, and
//! forms that no streaming plan can have are refused where they stand.

use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    AccessExpr, CaseWhen, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, LimitClause, ObjectName, Query, Select, SetExpr, Spanned, TableFactor, Value,
    ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::expression::{bare_function, cast_to, string_literal};
use super::limits::COLUMNS_MAX;
use super::tokens::{Parsed, strip_path};
use super::window_kind::Shape;
use super::{
    data_type, group_window, like, named_window, operators, row_in, select_names, system_time, unnest, window_table,
};
use crate::diagnostic::Diagnostic;
use crate::types::{SqlType, TypeKind};

pub(super) fn query(query: &mut Query) -> Parsed<()> {
    finish(VisitMut::visit(query, &mut Normalizer))?;
    finish(Visit::visit(&*query, &mut Leftovers))
}

pub(super) fn expression(expr: &mut Expr) -> Parsed<()> {
    finish(VisitMut::visit(expr, &mut Normalizer))?;
    finish(Visit::visit(&*expr, &mut Leftovers))
}

fn finish(flow: ControlFlow<Diagnostic>) -> Parsed<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn flow(result: Parsed<()>) -> ControlFlow<Diagnostic> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

struct Normalizer;

impl VisitorMut for Normalizer {
    type Break = Diagnostic;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Diagnostic> {
        flow(refuse_in_query(query).and_then(|()| fetch_as_limit(query)))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Diagnostic> {
        flow(group_window::rewrite(query))
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Diagnostic> {
        let rewritten = refuse_in_select(select)
            .and_then(|()| system_time::rewrite_select(select))
            .and_then(|()| unnest::rewrite(select))
            .and_then(|()| named_window::rewrite(select));
        select_names::name_columns(select);
        flow(rewritten)
    }

    fn post_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Diagnostic> {
        flow(strip_relation(relation))
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Diagnostic> {
        let nested = match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => system_time::rewrite(table_with_joins, &mut Vec::new()),
            _ => Ok(()),
        };
        flow(nested.and_then(|()| refuse_table_factor(factor)).and_then(|()| window_table::rewrite(factor)))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Diagnostic> {
        flow(refuse_marker(expr))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Diagnostic> {
        flow(normalize_expression(expr))
    }

    fn post_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<Diagnostic> {
        flow(normalize_value(value))
    }
}

/// Texts of all notations become plain ones.
fn normalize_value(value: &mut ValueWithSpan) -> Parsed<()> {
    match &value.value {
        Value::UnicodeStringLiteral(text) | Value::NationalStringLiteral(text) => {
            value.value = Value::SingleQuotedString(text.clone());
            Ok(())
        }
        Value::Number(..)
        | Value::SingleQuotedString(_)
        | Value::HexStringLiteral(_)
        | Value::Boolean(_)
        | Value::Null => Ok(()),
        Value::Placeholder(_) => {
            Err(Diagnostic::at(value.span, "placeholders are not supported").with_hint("write the value"))
        }
        _ => Err(Diagnostic::at(value.span, "this literal is not Flink SQL").with_hint("texts stand in single quotes")),
    }
}

/// `default_catalog.default_database.t` is `t`.
fn strip_relation(relation: &mut ObjectName) -> Parsed<()> {
    if relation.0.len() < 2 {
        return Ok(());
    }
    let parts: Vec<Ident> = relation.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
    *relation = ObjectName::from(vec![strip_path(parts)?]);
    Ok(())
}

fn refuse_in_query(query: &Query) -> Parsed<()> {
    let refuse = |what: &str| Err(Diagnostic::at(query.span(), format!("{what} is not supported")));
    if query.with.as_ref().is_some_and(|with| with.recursive) {
        return refuse("WITH RECURSIVE");
    }
    if !query.locks.is_empty() || query.for_clause.is_some() {
        return refuse("FOR UPDATE or FOR ... behind a query");
    }
    match query.body.as_ref() {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(Diagnostic::at(query.span(), "a change of rows cannot stand inside a query"))
        }
        SetExpr::Table(_) => refuse("TABLE t as a query").map_err(|error| error.with_hint("write SELECT * FROM t")),
        _ => Ok(()),
    }
}

/// `FETCH NEXT n ROWS ONLY` is `LIMIT n`.
fn fetch_as_limit(query: &mut Query) -> Parsed<()> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    let span = fetch.quantity.as_ref().map_or_else(|| query.span(), Spanned::span);
    let refuse = |what: &str| Err(Diagnostic::at(span, format!("{what} is not supported")));
    let row = || Expr::Value(Value::Number("1".into(), false).with_empty_span());
    let quantity = Some(fetch.quantity.unwrap_or_else(row));
    match (fetch.with_ties, fetch.percent, query.limit_clause.take()) {
        (true, ..) => {
            refuse("FETCH ... WITH TIES").map_err(|error| error.with_hint("RANK() OVER (...) <= n in QUALIFY has ties"))
        }
        (_, true, _) => refuse("FETCH ... PERCENT"),
        (.., None) => {
            query.limit_clause = Some(LimitClause::LimitOffset { limit: quantity, offset: None, limit_by: vec![] });
            Ok(())
        }
        (.., Some(LimitClause::LimitOffset { limit: None, offset, limit_by })) => {
            query.limit_clause = Some(LimitClause::LimitOffset { limit: quantity, offset, limit_by });
            Ok(())
        }
        _ => refuse("LIMIT together with FETCH"),
    }
}

/// Tables in one FROM: each is a level of the plan.
const TABLES_MAX: usize = 64;

fn refuse_in_select(select: &Select) -> Parsed<()> {
    let tables: usize = select.from.iter().map(|table| 1 + table.joins.len()).sum();
    if tables > TABLES_MAX {
        return Err(Diagnostic::at(select.select_token.0.span, format!("more than {TABLES_MAX} tables in one FROM"))
            .with_hint("join some of them in a view or subquery"));
    }
    if select.projection.len() > COLUMNS_MAX {
        return Err(Diagnostic::at(
            select.select_token.0.span,
            format!("more than {COLUMNS_MAX} columns in one SELECT"),
        )
        .with_hint("put values that belong together into a ROW or a MAP"));
    }
    let refused = [
        ("SELECT TOP", select.top.is_some()),
        ("SELECT INTO", select.into.is_some()),
        ("LATERAL VIEW", !select.lateral_views.is_empty()),
        ("CONNECT BY", !select.connect_by.is_empty()),
        ("CLUSTER BY", !select.cluster_by.is_empty()),
        ("DISTRIBUTE BY", !select.distribute_by.is_empty()),
        ("SORT BY", !select.sort_by.is_empty()),
    ];
    match refused.iter().find(|(_, present)| *present) {
        Some((what, _)) => Err(Diagnostic::at(select.select_token.0.span, format!("{what} is not supported"))),
        None => Ok(()),
    }
}

fn refuse_table_factor(factor: &TableFactor) -> Parsed<()> {
    let refuse = |what: &str| Err(Diagnostic::at(factor.span(), format!("{what} is not supported")));
    match factor {
        TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => refuse("PIVOT"),
        TableFactor::MatchRecognize { .. } => refuse("MATCH_RECOGNIZE"),
        TableFactor::Function { lateral: true, name, .. } if unnest::is_lateral_table(name) => Ok(()),
        TableFactor::Function { name, .. } => Err(unknown_table_function(name)),
        TableFactor::Table { sample: Some(_), .. } => refuse("TABLESAMPLE"),
        TableFactor::Table { name, with_hints, .. } if !with_hints.is_empty() => {
            Err(Diagnostic::at(name.span(), "WITH (...) behind a table in a query is not supported"))
        }
        TableFactor::Table { name, args: Some(_), .. } if !is_table_function(name) => Err(unknown_table_function(name)),
        TableFactor::JsonTable { .. } | TableFactor::OpenJsonTable { .. } | TableFactor::XmlTable { .. } => {
            refuse("this table function")
        }
        TableFactor::SemanticView { .. } => refuse("SEMANTIC_VIEW"),
        _ => Ok(()),
    }
}

fn is_table_function(name: &ObjectName) -> bool {
    let name = name.to_string();
    name.eq_ignore_ascii_case("UNNEST") || Shape::named(&name).is_some()
}

fn unknown_table_function(name: &ObjectName) -> Diagnostic {
    let text = name.to_string();
    let known = Shape::ALL.iter().map(|shape| shape.name()).chain(["UNNEST"]);
    Diagnostic::at(name.span(), format!("there is no table function `{text}`")).with_suggestion(&text, known)
}

/// Names that only rewriting may use; they start so that no function of a user does.
fn refuse_marker(expr: &Expr) -> Parsed<()> {
    match expr {
        Expr::Function(Function { name, args: FunctionArguments::List(_), .. })
            if name.to_string().starts_with("__") =>
        {
            Err(Diagnostic::at(name.span(), format!("there is no function `{name}`")))
        }
        _ => Ok(()),
    }
}

fn normalize_expression(expr: &mut Expr) -> Parsed<()> {
    match expr {
        Expr::Cast { data_type, .. } if data_type::from_ast(data_type).is_some() => Ok(()),
        Expr::Cast { kind, .. } => {
            let found = if *kind == CastKind::DoubleColon { "the cast `::`" } else { "this cast" };
            Err(Diagnostic::at(expr.span(), format!("{found} is not Flink SQL")).with_hint("write CAST(x AS type)"))
        }
        Expr::TypedString(_) => {
            Err(Diagnostic::at(expr.span(), "this literal is not Flink SQL").with_hint("write CAST('...' AS type)"))
        }
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            like::escape_with_backslash(pattern, escape_char)
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            let of_column = matches!(root.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            name_fields(access_chain, of_column);
            Ok(())
        }
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), span }) if number.contains(['e', 'E']) => {
            // 1e3 is a DOUBLE; DataFusion would make it a DECIMAL.
            let (text, span) = (string_literal(number.clone(), *span), *span);
            *expr = cast_to(CastKind::Cast, text, &SqlType { kind: TypeKind::Double, nullable: false }, span);
            Ok(())
        }
        Expr::Function(call) => {
            add_parentheses(call);
            operators::rewrite_call(call);
            if let Some(replaced) = conditional(call)? {
                *expr = replaced;
            }
            Ok(())
        }
        Expr::InSubquery { .. } | Expr::InList { .. } => row_in::rewrite(expr),
        _ => operators::rewrite(expr),
    }
}

/// `items[1].sku`, `f(x).sku`: behind anything but a column DataFusion takes the field's name as a text.
fn name_fields(access_chain: &mut [AccessExpr], of_column: bool) {
    let behind = access_chain.iter().position(|access| matches!(access, AccessExpr::Subscript(_)));
    let first = if of_column { behind.unwrap_or(usize::MAX) } else { 0 };
    for access in access_chain.iter_mut().skip(first) {
        if let AccessExpr::Dot(field @ Expr::Identifier(_)) = access {
            let Expr::Identifier(name) = &*field else { continue };
            *field = string_literal(name.value.clone(), name.span);
        }
    }
}

/// `CURRENT_TIMESTAMP` is a call without arguments.
fn add_parentheses(call: &mut Function) {
    if matches!(call.args, FunctionArguments::None) {
        let list = FunctionArgumentList { duplicate_treatment: None, args: vec![], clauses: vec![] };
        call.args = FunctionArguments::List(list);
    }
}

/// `IF(c, a, b)` becomes CASE, so that only the chosen side is computed; `IFNULL(a, b)` becomes COALESCE.
fn conditional(call: &Function) -> Parsed<Option<Expr>> {
    let [part] = call.name.0.as_slice() else { return Ok(None) };
    let Some(name) = part.as_ident() else { return Ok(None) };
    let (is_if, is_ifnull) = (name.value.eq_ignore_ascii_case("IF"), name.value.eq_ignore_ascii_case("IFNULL"));
    if !is_if && !is_ifnull {
        return Ok(None);
    }
    let FunctionArguments::List(list) = &call.args else { return Ok(None) };
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    let args: Vec<Expr> = list.args.iter().filter_map(plain).collect();
    match <[Expr; 3]>::try_from(args) {
        Ok([condition, result, otherwise]) if is_if => Ok(Some(case(name.span, condition, result, otherwise))),
        Err(args) if is_ifnull && args.len() == 2 => {
            let mut coalesce = bare_function(Ident::with_span(name.span, "coalesce"), FunctionArguments::None);
            coalesce.args = call.args.clone();
            Ok(Some(Expr::Function(coalesce)))
        }
        _ if is_if => {
            Err(Diagnostic::at(name.span, "IF takes a condition and two values").with_hint("IF(a > b, a, b)"))
        }
        _ => Err(Diagnostic::at(name.span, "IFNULL takes two values")),
    }
}

fn case(_span: Span, condition: Expr, result: Expr, otherwise: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: Some(Box::new(otherwise)),
    }
}

/// Finds window functions that no rewriting has taken away.
struct Leftovers;

impl Visitor for Leftovers {
    type Break = Diagnostic;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Diagnostic> {
        flow(refuse_leftover(expr))
    }
}

fn refuse_leftover(expr: &Expr) -> Parsed<()> {
    let Expr::Function(Function { name, args, .. }) = expr else { return Ok(()) };
    let text = name.to_string();
    if matches!(args, FunctionArguments::Subquery(_)) {
        return Err(Diagnostic::at(name.span(), "a table cannot be an argument here")
            .with_hint("only TUMBLE, HOP, CUMULATE and SESSION in FROM take TABLE t"));
    }
    let shape = text.split_once('_').map_or(text.as_str(), |(shape, property)| {
        let known = ["START", "END", "ROWTIME", "PROCTIME"].iter().any(|known| property.eq_ignore_ascii_case(known));
        if known { shape } else { "" }
    });
    match Shape::named(shape) {
        Some(shape) => {
            Err(Diagnostic::at(name.span(), format!("{} can stand only in FROM, or in GROUP BY", text.to_uppercase()))
                .with_hint(format!("FROM TABLE({})", shape.usage())))
        }
        None => Ok(()),
    }
}
