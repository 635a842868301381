//! Where in a query stands what a message is about, for messages that come without a place.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, Query, SetExpr, Spanned, Value, ValueWithSpan, Visit, Visitor,
    visit_expressions, visit_relations,
};
use sqlparser::tokenizer::Span;

use super::aggregates;

/// What a query may call the current time.
const NOW: [&str; 4] = ["NOW", "CURRENT_TIMESTAMP", "CURRENT_ROW_TIMESTAMP", "LOCALTIMESTAMP"];

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
    if message.starts_with("ORDER BY ") {
        return first_query(query, |query| query.order_by.as_ref().map(Spanned::span));
    }
    if let Some((position, _)) = message.strip_prefix("GROUP BY ").and_then(|rest| rest.split_once(':')) {
        return first_query(query, |query| grouped_by(&query.body, position));
    }
    if message.ends_with("has no fields or elements") {
        return first_expression(query, |expr| is_access(expr).then(|| expr.span()));
    }
    if let Some((function, _)) = message.split_once(super::unstable::ANOTHER_VALUE) {
        let names: &[&str] = if function == "NOW" { &NOW } else { &[function] };
        let places = names.iter().map(|name| of_name(query, name));
        return places.into_iter().find(|place| *place != Span::empty()).unwrap_or_else(Span::empty);
    }
    if let Some(form) = FORMS.iter().find(|form| (form.says)(message)) {
        return first_expression(query, |expr| (form.is)(expr).then(|| expr.span()));
    }
    if let Some(name) = message.strip_prefix("the ROW has no field ") {
        let name = name.trim_matches('`');
        return first_expression(query, |expr| ends_with_field(expr, name).then(|| expr.span()));
    }
    if let Some((_, rest)) = message.split_once("the text '")
        && let Some((text, _)) = rest.split_once("' is no ")
    {
        return first_expression(query, |expr| is_text(expr, text).then(|| expr.span()));
    }
    if let Some((name, _)) = message.strip_prefix("column `").and_then(|rest| rest.split_once("` of this UNION")) {
        return of_name(query, name);
    }
    // A function's own words start with its name.
    let first_word = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    let about_aggregates = message.starts_with("an aggregate");
    first_expression(query, |expr| match expr {
        Expr::Function(call) => {
            let name = call.name.to_string();
            let meant = about_aggregates || name.eq_ignore_ascii_case(first_word);
            let is_aggregate = || call.over.is_some() || aggregates::find(&name.to_lowercase()).is_some();
            (meant && (!about_aggregates || is_aggregate())).then(|| call.name.span())
        }
        Expr::Substring { .. } if first_word == "SUBSTRING" => Some(expr.span()),
        Expr::Position { .. } if first_word == "LOCATE" => Some(expr.span()),
        Expr::Trim { .. } if first_word.ends_with("TRIM") => Some(expr.span()),
        _ => None,
    })
}

/// A message and the expressions that it can be about.
struct Form {
    says: fn(&str) -> bool,
    is: fn(&Expr) -> bool,
}

const FORMS: &[Form] = &[
    Form {
        says: |message| message.contains("LIKE takes texts"),
        is: |expr| matches!(expr, Expr::Like { .. } | Expr::ILike { .. }),
    },
    Form { says: |message| message.ends_with("the values of IN"), is: |expr| matches!(expr, Expr::InList { .. }) },
    Form { says: |message| message.ends_with("in BETWEEN"), is: |expr| matches!(expr, Expr::Between { .. }) },
    Form { says: |message| message.starts_with("the elements of an ARRAY"), is: |expr| matches!(expr, Expr::Array(_)) },
    Form { says: |message| message.ends_with("with an interval"), is: computes_with_interval },
];

fn computes_with_interval(expr: &Expr) -> bool {
    let is_interval = |side: &Expr| matches!(side, Expr::Interval(_));
    matches!(expr, Expr::BinaryOp { left, right, .. } if is_interval(left) || is_interval(right))
}

fn ends_with_field(expr: &Expr, name: &str) -> bool {
    match expr {
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|last| last.value == name),
        Expr::CompoundFieldAccess { access_chain, .. } => {
            access_chain.iter().any(|access| access.to_string().trim_start_matches('.').trim_matches('\'') == name)
        }
        _ => false,
    }
}

fn is_text(expr: &Expr, text: &str) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(found), .. }) if found == text)
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

/// The number of a column in GROUP BY.
fn grouped_by(body: &SetExpr, position: &str) -> Option<Span> {
    let SetExpr::Select(select) = body else { return None };
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return None };
    let is_position = |expr: &&Expr| match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => *number == position,
        _ => false,
    };
    keys.iter().find(is_position).map(Spanned::span)
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

/// The first place within the query or one of its subqueries, outer ones first.
fn first_query(query: &Query, place: impl Fn(&Query) -> Option<Span>) -> Span {
    struct Queries<F>(F);
    impl<F: Fn(&Query) -> Option<Span>> Visitor for Queries<F> {
        type Break = Span;

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Span> {
            (self.0)(query).map_or(ControlFlow::Continue(()), ControlFlow::Break)
        }
    }
    query.visit(&mut Queries(place)).break_value().unwrap_or_else(Span::empty)
}

fn first_expression(query: &Query, place: impl Fn(&Expr) -> Option<Span>) -> Span {
    let found = visit_expressions(query, |expr| match place(expr) {
        Some(span) => ControlFlow::Break(span),
        None => ControlFlow::Continue(()),
    });
    found.break_value().unwrap_or_else(Span::empty)
}
