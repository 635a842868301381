//! Operators that Flink reads otherwise than DataFusion's planner, brought into shapes that mean what Flink means.

use sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, ObjectName, Spanned, UnaryOperator, Value, ValueWithSpan,
};
use sqlparser::tokenizer::Span;

use super::expression::function;
use super::tokens::Parsed;
use crate::diagnostic::Diagnostic;

/// The expression in the planner's shape.
pub(super) fn rewrite(expr: &mut Expr) -> Parsed<()> {
    let span = expr.span();
    match expr {
        Expr::SimilarTo { negated, expr: text, pattern, escape_char: None } => {
            *expr = test("similar_to", *negated, text, pattern, span);
        }
        Expr::SimilarTo { .. } => return Err(Diagnostic::at(span, "ESCAPE of SIMILAR TO is not supported")),
        Expr::RLike { negated, expr: text, pattern, .. } => *expr = test("regexp", *negated, text, pattern, span),
        Expr::Like { pattern, escape_char, .. } => escape_by_backslash(pattern, escape_char)?,
        _ => {}
    }
    Ok(())
}

/// Functions of the planner's library that Flink has under another name or with arguments the other way round.
pub(super) fn rewrite_call(call: &mut Function) {
    let FunctionArguments::List(list) = &mut call.args else { return };
    let known = match call.name.to_string().to_ascii_lowercase().as_str() {
        "array_prepend" => {
            list.args.reverse();
            return;
        }
        "array_remove" => "array_remove_all",
        "map_from_arrays" => "map",
        _ => return,
    };
    let span = call.name.span();
    call.name = ObjectName::from(vec![Ident::with_span(span, known)]);
}

fn test(name: &str, negated: bool, text: &Expr, pattern: &Expr, span: Span) -> Expr {
    let call = function(Ident::with_span(span, name), vec![text.clone(), pattern.clone()]);
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(call) } } else { call }
}

/// The planner's LIKE escapes by `\` always; Flink's by what ESCAPE says, and by nothing without it.
fn escape_by_backslash(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) -> Parsed<()> {
    let place = pattern.span();
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = pattern else {
        return match escape {
            Some(escape) => Err(Diagnostic::at(escape.span, "ESCAPE needs a LIKE pattern that is a constant")),
            None => Ok(()),
        };
    };
    let character = match escape.take() {
        None => None,
        Some(ValueWithSpan { value: Value::SingleQuotedString(text), span }) => Some(one_character(&text, span)?),
        Some(other) => return Err(Diagnostic::at(other.span, "ESCAPE takes a text of one character")),
    };
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (Some(c) == character, c) {
            (true, _) => match rest.next() {
                Some(next) if next == '%' || next == '_' || Some(next) == character => escaped.extend(['\\', next]),
                _ => return Err(Diagnostic::at(place, "the escape character must stand before %, _ or itself")),
            },
            (false, '\\') => escaped.push_str("\\\\"),
            (false, c) => escaped.push(c),
        }
    }
    *text = escaped;
    Ok(())
}

fn one_character(text: &str, span: Span) -> Parsed<char> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err(Diagnostic::at(span, "ESCAPE takes a text of one character")),
    }
}
