//! `(a, b) IN (SELECT x, y ...)` and `(a, b) IN ((1, 2), (3, 4))`: rows compared value by value.
//!
//! A row equals another if all their values are equal; it differs if any two are known to differ; else nothing is known.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Query, SelectItem, SetExpr, Spanned, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins, UnaryOperator, Value,
};
use sqlparser::tokenizer::Span;

use super::query_parts;
use super::tokens::Parsed;
use crate::diagnostic::Diagnostic;

/// Name of the subquery within the one that is made around it.
const ROWS: &str = "__rows";

pub(super) fn rewrite(expr: &mut Expr) -> Parsed<()> {
    let rewritten = match expr {
        Expr::InSubquery { expr: left, subquery, negated } => match left.as_ref() {
            Expr::Tuple(values) => negated_if(*negated, in_subquery(values, subquery, left.span())?),
            _ => return Ok(()),
        },
        Expr::InList { expr: left, list, negated } => match left.as_ref() {
            Expr::Tuple(values) => negated_if(*negated, in_list(values, list)?),
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    *expr = rewritten;
    Ok(())
}

fn negated_if(negated: bool, expr: Expr) -> Expr {
    let expr = Expr::Nested(Box::new(expr));
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) } } else { expr }
}

/// `CASE WHEN EXISTS (rows that are equal) THEN TRUE WHEN EXISTS (rows of which it is unknown) THEN NULL ELSE FALSE END`.
fn in_subquery(values: &[Expr], subquery: &Query, span: Span) -> Parsed<Expr> {
    // The subquery stands twice in what comes out, so that nesting would multiply it.
    if subquery.to_string().contains(ROWS) {
        let message = "(a, b) IN (SELECT ...) cannot stand inside another one";
        return Err(Diagnostic::at(span, message).with_hint("write one of them as EXISTS (SELECT ... WHERE ...)"));
    }
    if let SetExpr::Select(select) = subquery.body.as_ref()
        && !select.projection.iter().any(is_wildcard)
        && select.projection.len() != values.len()
    {
        let message =
            format!("a row of {} values cannot be in a subquery of {} columns", values.len(), select.projection.len());
        return Err(Diagnostic::at(span, message).with_hint("select as many columns as the row has values"));
    }
    let names: Vec<Ident> = (0..values.len()).map(|index| Ident::new(format!("__v{index}"))).collect();
    let listed = |name: &Ident| Expr::CompoundIdentifier(vec![Ident::new(ROWS), name.clone()]);
    let equal = all_equal(values.iter().cloned().zip(names.iter().map(listed)));
    let unknown = Expr::IsNull(Box::new(Expr::Nested(Box::new(equal.clone()))));
    let when = |condition, result| CaseWhen { condition, result };
    Ok(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![
            when(exists(subquery, &names, equal), boolean(Value::Boolean(true))),
            when(exists(subquery, &names, unknown), boolean(Value::Null)),
        ],
        else_result: Some(Box::new(boolean(Value::Boolean(false)))),
    })
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

/// `EXISTS (SELECT TRUE FROM (subquery) AS rows (names) WHERE condition)`.
fn exists(subquery: &Query, names: &[Ident], condition: Expr) -> Expr {
    let column = |name: &Ident| TableAliasColumnDef { name: name.clone(), data_type: None };
    let columns = names.iter().map(column).collect();
    let alias = Some(TableAlias { columns, ..query_parts::alias(Ident::new(ROWS)) });
    let relation = TableFactor::Derived { lateral: false, subquery: Box::new(subquery.clone()), alias, sample: None };
    let projection = vec![SelectItem::UnnamedExpr(boolean(Value::Boolean(true)))];
    let mut select = query_parts::select(projection, vec![TableWithJoins { relation, joins: vec![] }]);
    select.selection = Some(condition);
    Expr::Exists { subquery: query_parts::query(select), negated: false }
}

fn boolean(value: Value) -> Expr {
    Expr::Value(value.with_empty_span())
}

/// `(a = 1 AND b = 2) OR ...`
fn in_list(values: &[Expr], list: &[Expr]) -> Parsed<Expr> {
    let mut alternatives = Vec::with_capacity(list.len());
    for row in list {
        let others = match row {
            Expr::Tuple(others) if others.len() == values.len() => others,
            _ => return Err(wrong_width(values.len(), row.span())),
        };
        let equal = all_equal(values.iter().cloned().zip(others.iter().cloned()));
        alternatives.push(Expr::Nested(Box::new(equal)));
    }
    Ok(joined(alternatives, BinaryOperator::Or))
}

fn wrong_width(width: usize, span: Span) -> Diagnostic {
    let message = format!("a row of {width} values can only be compared with rows of {width} values");
    Diagnostic::at(span, message).with_hint("write as many values in each row: (a, b) IN ((1, 2), (3, 4))")
}

fn all_equal(pairs: impl Iterator<Item = (Expr, Expr)>) -> Expr {
    let equal = |(left, right)| Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(left))),
        op: BinaryOperator::Eq,
        right: Box::new(Expr::Nested(Box::new(right))),
    };
    joined(pairs.map(equal).collect(), BinaryOperator::And)
}

fn joined(parts: Vec<Expr>, op: BinaryOperator) -> Expr {
    let join = |left, right| Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) };
    parts.into_iter().reduce(join).unwrap_or_else(|| boolean(Value::Boolean(false)))
}
