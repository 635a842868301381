//! Operators that Flink reads otherwise than DataFusion's planner, brought into shapes that mean what Flink means.

use sqlparser::ast::{Expr, Function, FunctionArguments, Ident, ObjectName, Spanned, UnaryOperator};
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
