//! Where in a query stands what a message is about, for messages that come without a place.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Ident, Query, SetExpr, Spanned, visit_expressions, visit_relations};
use sqlparser::tokenizer::Span;

use super::aggregates;

/// The first column, function or table of this name; empty if there is none.
pub(crate) fn of_name(query: &Query, name: &str) -> Span {
    let matches = |ident: &Ident| ident.value.eq_ignore_ascii_case(name);
    let found = first_expression(query, |expr| {
        let ident = match expr {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(parts) => parts.iter().find(|part| matches(part)),
            Expr::Function(call) => call.name.0.last().and_then(|part| part.as_ident()),
            _ => None,
        };
        ident.filter(|ident| matches(ident)).map(|ident| ident.span)
    });
    if found == Span::empty() { of_relation(query, name) } else { found }
}

/// The first table of this name; empty if there is none.
pub(crate) fn of_relation(query: &Query, name: &str) -> Span {
    let found = visit_relations(query, |relation| match relation.0.last().and_then(|part| part.as_ident()) {
        Some(ident) if ident.value == name => ControlFlow::Break(ident.span),
        _ => ControlFlow::Continue(()),
    });
    found.break_value().unwrap_or_else(Span::empty)
}

/// The first piece of the query that has the form which a message speaks of.
pub(crate) fn of_form(query: &Query, message: &str) -> Span {
    if let Some((_, target)) = message.split_once(" cannot be cast to ") {
        return cast_to(query, target);
    }
    if message.starts_with("a condition must be BOOLEAN") {
        return condition(&query.body);
    }
    if message.starts_with("the branches of CASE") {
        return first_expression(query, |expr| matches!(expr, Expr::Case { .. }).then(|| expr.span()));
    }
    if message.ends_with("cannot be compared") {
        return first_expression(query, |expr| is_comparison(expr).then(|| expr.span()));
    }
    if message.ends_with("has no fields or elements") {
        return first_expression(query, |expr| is_access(expr).then(|| expr.span()));
    }
    // An aggregate's own words start with its name.
    let first_word = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    let about_aggregates = message.starts_with("an aggregate");
    first_expression(query, |expr| match expr {
        Expr::Function(call) => {
            let name = call.name.to_string();
            let meant = about_aggregates || name.eq_ignore_ascii_case(first_word);
            let known = call.over.is_some() || aggregates::find(&name.to_lowercase()).is_some();
            (meant && known).then(|| call.name.span())
        }
        _ => None,
    })
}

fn cast_to(query: &Query, target: &str) -> Span {
    first_expression(query, |expr| match expr {
        Expr::Cast { data_type, .. } => {
            let named = crate::parser::flink_type(data_type)?;
            (named.to_string() == target).then(|| expr.span())
        }
        _ => None,
    })
}

fn condition(body: &SetExpr) -> Span {
    match body {
        SetExpr::Select(select) => {
            select.selection.as_ref().or(select.having.as_ref()).map_or_else(Span::empty, Spanned::span)
        }
        SetExpr::Query(query) => condition(&query.body),
        SetExpr::SetOperation { left, .. } => condition(left),
        _ => Span::empty(),
    }
}

fn is_comparison(expr: &Expr) -> bool {
    use BinaryOperator as Op;
    let compares = |op: &Op| matches!(op, Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq);
    matches!(expr, Expr::BinaryOp { op, .. } if compares(op))
        || matches!(expr, Expr::InList { .. } | Expr::Between { .. })
}

fn is_access(expr: &Expr) -> bool {
    matches!(expr, Expr::CompoundFieldAccess { .. } | Expr::CompoundIdentifier(_))
}

/// The start of the query.
pub(crate) fn first(query: &Query) -> Span {
    let start = query.span().start;
    Span::new(start, start)
}

fn first_expression(query: &Query, place: impl Fn(&Expr) -> Option<Span>) -> Span {
    let found = visit_expressions(query, |expr| match place(expr) {
        Some(span) => ControlFlow::Break(span),
        None => ControlFlow::Continue(()),
    });
    found.break_value().unwrap_or_else(Span::empty)
}
