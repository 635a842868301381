//! Literals of time: `DATE '2024-01-31'`, `TIME '10:00:00'`, `TIMESTAMP '2024-01-31 10:00:00.123'`.
//!
//! They are checked here, where their place is known, and leave the parser as casts of their text.

use chrono::{NaiveDate, NaiveTime};
use sqlparser::ast::{CastKind, Expr};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::expression::{cast_to, string_literal};
use super::tokens::{Parsed, string};
use crate::diagnostic::Diagnostic;
use crate::types::{SECOND_PRECISION_MAX, SqlType, TypeKind};

/// The literal whose type name is the next token and whose text comes behind it.
pub(super) fn time(parser: &mut Parser) -> Parsed<Expr> {
    let token = parser.next_token();
    let Token::Word(word) = &token.token else { return Err(Diagnostic::at(token.span, "expected a literal")) };
    let text = string(parser, "the literal's text")?;
    let span = token.span.union(&text.span);
    let name = word.value.to_ascii_uppercase();
    let parsed = match name.as_str() {
        "DATE" => date(&text.value).map(|()| TypeKind::Date),
        "TIME" => clock(&text.value).map(TypeKind::Time),
        _ => timestamp(&text.value).map(TypeKind::Timestamp),
    };
    let kind = parsed.ok_or_else(|| not_a_literal(&name, &text.value).or_at(text.span))?;
    let sql_type = SqlType { kind, nullable: false };
    Ok(cast_to(CastKind::Cast, string_literal(text.value.trim(), text.span), &sql_type, span))
}

fn not_a_literal(name: &str, text: &str) -> Diagnostic {
    let example = match name {
        "DATE" => "DATE '2024-01-31'",
        "TIME" => "TIME '10:00:00'",
        _ => "TIMESTAMP '2024-01-31 10:00:00.123'",
    };
    Diagnostic::new(format!("`{text}` is not a {name}")).with_hint(format!("for example {example}"))
}

fn date(text: &str) -> Option<()> {
    NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok().map(|_| ())
}

/// The digits of the fraction of a time of day.
fn clock(text: &str) -> Option<u8> {
    let text = text.trim();
    NaiveTime::parse_from_str(text, "%H:%M:%S%.f").ok()?;
    let digits = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    u8::try_from(digits).ok().filter(|digits| *digits <= SECOND_PRECISION_MAX)
}

/// The digits of the fraction of a timestamp.
fn timestamp(text: &str) -> Option<u8> {
    let text = text.trim();
    let (day, time) = text.split_once([' ', 'T'])?;
    date(day)?;
    clock(time)
}
