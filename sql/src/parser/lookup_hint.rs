//! `SELECT /*+ LOOKUP('table' = 'd', 'capacity' = '50') */ ...`: how the rows of one joined table are asked for.

use sqlparser::ast::Select;
use sqlparser::tokenizer::{Span, Token, Tokenizer, Whitespace};

use super::dialect::FlinkDialect;
use super::tokens::Parsed;
use crate::diagnostic::Diagnostic;
use crate::settings::parse_duration;
use crate::window_call::{LookupHint, MissRetryHint};

/// The only hint that there is.
const LOOKUP: &str = "LOOKUP";
const USAGE: &str =
    "write /*+ LOOKUP('table' = 'd', 'output-mode' = 'allow_unordered', 'capacity' = '100', 'timeout' = '180 s') */";
const KEYS: [&str; 9] = [
    "table",
    "async",
    "output-mode",
    "capacity",
    "timeout",
    "retry-predicate",
    "retry-strategy",
    "fixed-delay",
    "max-attempts",
];

/// A hint with the name of the table that it is for.
pub(super) struct TableHint {
    pub table: String,
    pub hint: LookupHint,
    pub span: Span,
}

/// Takes the hints away from a SELECT.
pub(super) fn take(select: &mut Select) -> Parsed<Vec<TableHint>> {
    let span = select.select_token.0.span;
    let texts = std::mem::take(&mut select.optimizer_hints);
    let mut hints = Vec::new();
    for text in texts {
        hints.extend(parse(&text.text, span)?);
    }
    Ok(hints)
}

fn parse(text: &str, span: Span) -> Parsed<Vec<TableHint>> {
    let wrong = || Diagnostic::at(span, "the hint behind SELECT is written wrongly").with_hint(USAGE);
    let tokens = Tokenizer::new(&FlinkDialect::new(0), text).tokenize().map_err(|_| wrong())?;
    let tokens: Vec<Token> = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let mut rest = tokens.as_slice();
    let mut hints = Vec::new();
    while let [Token::Word(name), after @ ..] = rest {
        if !name.value.eq_ignore_ascii_case(LOOKUP) {
            let message = format!("the hint `{}` is not supported", name.value);
            return Err(Diagnostic::at(span, message).with_hint("there is LOOKUP; other options stand in CREATE TABLE"));
        }
        let [Token::LParen, inside @ ..] = after else { return Err(wrong()) };
        let end = inside.iter().position(|token| *token == Token::RParen).ok_or_else(wrong)?;
        hints.push(table_hint(&pairs(&inside[..end]).ok_or_else(wrong)?, span)?);
        rest = &inside[end + 1..];
        if let [Token::Comma, after @ ..] = rest {
            rest = after;
        }
    }
    if rest.is_empty() && !hints.is_empty() { Ok(hints) } else { Err(wrong()) }
}

/// `'a' = 'b', 'c' = 'd'`
fn pairs(tokens: &[Token]) -> Option<Vec<(&str, &str)>> {
    let pair = |tokens: &[Token]| match tokens {
        [Token::SingleQuotedString(_), Token::Eq, Token::SingleQuotedString(_)] => Some(()),
        _ => None,
    };
    let parts = tokens.split(|token| *token == Token::Comma);
    parts
        .map(|part| {
            pair(part)?;
            let [Token::SingleQuotedString(key), _, Token::SingleQuotedString(value)] = part else { return None };
            Some((key.as_str(), value.as_str()))
        })
        .collect()
}

fn table_hint(pairs: &[(&str, &str)], span: Span) -> Parsed<TableHint> {
    for (key, _) in pairs {
        if !KEYS.contains(key) {
            let message = format!("the hint LOOKUP has no option '{key}'");
            return Err(Diagnostic::at(span, message).with_hint(USAGE).with_suggestion(key, KEYS));
        }
    }
    let value = |wanted: &str| pairs.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
    let Some(table) = value("table") else {
        return Err(Diagnostic::at(span, "the hint LOOKUP names no table").with_hint(USAGE));
    };
    let hint = LookupHint {
        is_async: read(value("async"), "async", "'true' or 'false'", span, |text| text.parse().ok())?,
        is_ordered: read(value("output-mode"), "output-mode", "'ordered' or 'allow_unordered'", span, ordered)?,
        capacity: read(value("capacity"), "capacity", "a number from 1 on", span, at_least_one)?,
        timeout_ms: read(value("timeout"), "timeout", "a duration such as '180 s'", span, millis)?,
        miss_retry: miss_retry(&value, span)?,
    };
    Ok(TableHint { table: table.to_string(), hint, span })
}

/// All four options, or none.
fn miss_retry<'a>(value: &impl Fn(&str) -> Option<&'a str>, span: Span) -> Parsed<Option<MissRetryHint>> {
    let of_retry = ["retry-predicate", "retry-strategy", "fixed-delay", "max-attempts"];
    if of_retry.iter().all(|key| value(key).is_none()) {
        return Ok(None);
    }
    if let Some(missing) = of_retry.iter().find(|key| value(key).is_none()) {
        let message = format!("the hint LOOKUP has only some options of a retry: '{missing}' is missing");
        let hint = "write 'retry-predicate' = 'lookup_miss', 'retry-strategy' = 'fixed_delay', 'fixed-delay' = '1 s', 'max-attempts' = '3'";
        return Err(Diagnostic::at(span, message).with_hint(hint));
    }
    let only = |word: &'static str| move |text: &str| text.eq_ignore_ascii_case(word).then_some(());
    read(value("retry-predicate"), "retry-predicate", "'lookup_miss'", span, only("lookup_miss"))?;
    read(value("retry-strategy"), "retry-strategy", "'fixed_delay'", span, only("fixed_delay"))?;
    let delay_ms = read(value("fixed-delay"), "fixed-delay", "a duration such as '1 s'", span, millis)?;
    let attempts = read(value("max-attempts"), "max-attempts", "a number from 1 on", span, at_least_one)?;
    let retry = delay_ms.zip(attempts).map(|(delay_ms, attempts)| MissRetryHint { delay_ms, attempts });
    Ok(retry)
}

fn ordered(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "ordered" => Some(true),
        "allow_unordered" => Some(false),
        _ => None,
    }
}

fn at_least_one(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number > 0)
}

fn millis(text: &str) -> Option<u64> {
    parse_duration(text).ok().and_then(|duration| u64::try_from(duration.as_millis()).ok())
}

fn read<T>(
    value: Option<&str>,
    key: &str,
    takes: &str,
    span: Span,
    parse: impl Fn(&str) -> Option<T>,
) -> Parsed<Option<T>> {
    let Some(text) = value else { return Ok(None) };
    match parse(text) {
        Some(value) => Ok(Some(value)),
        None => Err(Diagnostic::at(span, format!("'{key}' of the hint LOOKUP takes {takes}, not '{text}'"))),
    }
}

/// A comment that is a hint.
pub(super) fn is_hint(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::MultiLineComment(comment)) if comment.starts_with('+'))
}
