//! Flink's dialect for sqlparser: identifiers, and the expression forms that sqlparser does not know.
//!
//! One value serves one statement: it counts the work done (so that no text makes sqlparser backtrack for ever) and
//! keeps the diagnostics that a hook found, because sqlparser's errors are plain text and its backtracking drops them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlparser::ast::Expr;
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Span;

use super::expression;
use crate::diagnostic::{Diagnostic, split_place};

/// Marks a sqlparser error whose diagnostic the dialect keeps; the number behind it is its index.
const RECORDED: char = '\u{1}';
/// Marks the message of a diagnostic that stands for sqlparser's recursion limit.
const TOO_DEEP: &str = "\u{2}too deep";
/// Expressions that a statement may try to parse, per token of its text: more is runaway backtracking.
const ATTEMPTS_PER_TOKEN: usize = 64;

#[derive(Debug)]
pub(super) struct FlinkDialect {
    attempts_left: AtomicUsize,
    recorded: Mutex<Vec<Diagnostic>>,
}

impl FlinkDialect {
    pub(super) fn new(tokens: usize) -> Self {
        Self { attempts_left: AtomicUsize::new((tokens + 16) * ATTEMPTS_PER_TOKEN), recorded: Mutex::default() }
    }

    /// Turns a hook's diagnostic into an error that sqlparser can carry.
    fn carry(&self, diagnostic: Diagnostic) -> ParserError {
        if diagnostic.message == TOO_DEEP {
            return ParserError::RecursionLimitExceeded;
        }
        if diagnostic.message.starts_with(RECORDED) {
            return ParserError::ParserError(diagnostic.message);
        }
        let Ok(mut recorded) = self.recorded.lock() else { return ParserError::RecursionLimitExceeded };
        recorded.push(diagnostic);
        ParserError::ParserError(format!("{RECORDED}{}", recorded.len() - 1))
    }

    /// The diagnostic that the user should see: the one that `error` stands for, or one that a hook found further on
    /// in the text and that backtracking has hidden.
    pub(super) fn reveal(&self, error: Diagnostic) -> Diagnostic {
        if error.message == TOO_DEEP {
            return Diagnostic { message: "the statement is nested too deeply".into(), ..error };
        }
        let Ok(mut recorded) = self.recorded.lock() else { return error };
        if let Some(index) = error.message.strip_prefix(RECORDED) {
            let found = index.parse::<usize>().ok().filter(|index| *index < recorded.len());
            return found.map_or(error, |index| recorded.swap_remove(index));
        }
        let place = |d: &Diagnostic| (d.line, d.column);
        match recorded.iter().position(|hidden| place(hidden) >= place(&error) && error.has_place()) {
            Some(index) => recorded.swap_remove(index),
            None => error,
        }
    }

    fn spend_attempt(&self) -> bool {
        self.attempts_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

impl From<ParserError> for Diagnostic {
    fn from(error: ParserError) -> Self {
        match error {
            ParserError::RecursionLimitExceeded => Diagnostic::new(TOO_DEEP),
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
                let (text, span) = split_place(&message);
                Diagnostic::at(span, readable(text))
            }
        }
    }
}

/// sqlparser's `Expected: an expression, found: EOF` in this program's words.
fn readable(message: &str) -> String {
    let text = message.strip_prefix("sql parser error: ").unwrap_or(message);
    let rest = text.strip_prefix("Expected: ").or_else(|| text.strip_prefix("Expected "));
    let Some((expected, found)) = rest.and_then(|rest| rest.split_once(", found: ")) else {
        return text.to_string();
    };
    match found {
        "EOF" => format!("expected {expected}, found the end of the statement"),
        _ => format!("expected {expected}, found `{found}`"),
    }
}

impl Dialect for FlinkDialect {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        // Double quotes are read as identifiers so that they can be reported with a hint.
        ch == '`' || ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    /// `FOR SYSTEM_TIME AS OF`.
    fn supports_table_versioning(&self) -> bool {
        true
    }

    /// `SELECT /*+ ... */`.
    fn supports_comment_optimizer_hint(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if !self.spend_attempt() {
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        expression::prefix(parser).map(|result| result.map_err(|diagnostic| self.carry(diagnostic)))
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        expression::infix(parser, expr, precedence).map(|result| result.map_err(|diagnostic| self.carry(diagnostic)))
    }
}

/// The place of a diagnostic as a span, for comparing.
pub(super) fn span_of(diagnostic: &Diagnostic) -> Span {
    use sqlparser::tokenizer::Location;
    Span::new(Location::new(diagnostic.line, diagnostic.column), Location::new(diagnostic.line, diagnostic.end_column))
}
