//! Interval literals: `INTERVAL '10' MINUTES`, `INTERVAL '1 02:03:04' DAY TO SECOND`, `INTERVAL -'1' MONTH`.
//!
//! They leave the parser in one form: `INTERVAL 'n milliseconds'` or `INTERVAL 'n months'`, which DataFusion reads
//! exactly. A day is 24 hours, as in Flink.

use sqlparser::ast::{Expr, Interval, Value, ValueWithSpan};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};
use tidemill_engine::suggestion::closest;
use tidemill_engine::time::window;

use super::tokens::{Parsed, accept, accept_token, expect_token, integer, unexpected};
use crate::diagnostic::Diagnostic;
use crate::types::SECOND_PRECISION_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
}

/// Names of units, singular; the plural is accepted too.
const UNITS: [(&str, Unit); 9] = [
    ("YEAR", Unit::Year),
    ("QUARTER", Unit::Quarter),
    ("MONTH", Unit::Month),
    ("WEEK", Unit::Week),
    ("DAY", Unit::Day),
    ("HOUR", Unit::Hour),
    ("MINUTE", Unit::Minute),
    ("SECOND", Unit::Second),
    ("MILLISECOND", Unit::Millisecond),
];

impl Unit {
    fn named(word: &str) -> Option<Self> {
        let upper = word.to_ascii_uppercase();
        UNITS.iter().find(|(name, _)| upper == *name || upper.strip_suffix('S') == Some(name)).map(|(_, unit)| *unit)
    }

    fn is_months(self) -> bool {
        self <= Self::Month
    }

    /// Length in months or in milliseconds.
    fn length(self) -> i64 {
        match self {
            Self::Year => 12,
            Self::Quarter => 3,
            Self::Month | Self::Millisecond => 1,
            Self::Week => 7 * 86_400_000,
            Self::Day => 86_400_000,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
            Self::Second => 1_000,
        }
    }
}

/// The literal that starts at the word INTERVAL, which is the next token.
pub(super) fn literal(parser: &mut Parser) -> Parsed<Expr> {
    let start = parser.next_token().span;
    let negative = sign(parser);
    let token = parser.peek_token_ref().clone();
    let text = match &token.token {
        Token::SingleQuotedString(text) => text.clone(),
        Token::Number(number, _) => {
            return Err(unexpected(parser, "the interval's value in quotes")
                .with_hint(format!("write INTERVAL '{number}' MINUTE")));
        }
        _ => return Err(unexpected(parser, "the interval's value in quotes").with_hint("write INTERVAL '10' MINUTE")),
    };
    parser.advance_token();
    let (first, last) = range(parser)?;
    let span = start.union(&parser.get_current_token().span);
    let amount = amount(text.trim(), first, last)
        .and_then(|amount| if negative { amount.checked_neg() } else { Some(amount) })
        .filter(|amount| within_limits(*amount, first))
        .ok_or_else(|| not_an_interval(token.span, &text, first, last))?;
    Ok(expression(amount, first.is_months(), span))
}

fn sign(parser: &mut Parser) -> bool {
    let negative = accept_token(parser, &Token::Minus);
    if !negative {
        accept_token(parser, &Token::Plus);
    }
    negative
}

/// Intervals must fit DataFusion's: nanoseconds in an i64, months in an i32.
fn within_limits(amount: i64, unit: Unit) -> bool {
    if unit.is_months() { i32::try_from(amount).is_ok() } else { amount.checked_mul(1_000_000).is_some() }
}

fn expression(amount: i64, months: bool, span: Span) -> Expr {
    let text = if months { format!("{amount} months") } else { format!("{amount} milliseconds") };
    let value = Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span });
    Expr::Interval(Interval {
        value: Box::new(value),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

/// The length of an interval literal that [`literal`] made; `None` for any other expression.
pub(super) fn span_of_literal(expr: &Expr) -> Option<window::Span> {
    let Expr::Interval(interval) = expr else { return None };
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = interval.value.as_ref() else {
        return None;
    };
    let (amount, unit) = text.split_once(' ')?;
    match unit {
        "months" => Some(window::Span::Months(amount.parse().ok()?)),
        "milliseconds" => Some(window::Span::Millis(amount.parse().ok()?)),
        _ => None,
    }
}

/// `MINUTE`, `DAY(3)`, `DAY TO SECOND(3)`.
fn range(parser: &mut Parser) -> Parsed<(Unit, Unit)> {
    let first = unit(parser)?;
    if !accept(parser, &["TO"]) {
        return Ok((first, first));
    }
    let span = parser.peek_token_ref().span;
    let last = unit(parser)?;
    let in_range =
        |unit| matches!(unit, Unit::Year | Unit::Month | Unit::Day | Unit::Hour | Unit::Minute | Unit::Second);
    if last <= first || first.is_months() != last.is_months() || !in_range(first) || !in_range(last) {
        return Err(Diagnostic::at(span, "an interval cannot go between these units")
            .with_hint("YEAR TO MONTH, or DAY, HOUR, MINUTE to a shorter one up to SECOND"));
    }
    Ok((first, last))
}

fn unit(parser: &mut Parser) -> Parsed<Unit> {
    const EXPECTED: &str = "the interval's unit (SECOND, MINUTE, HOUR, DAY, MONTH, YEAR)";
    let token = parser.peek_token_ref().clone();
    let Token::Word(word) = &token.token else { return Err(unexpected(parser, EXPECTED)) };
    let Some(unit) = Unit::named(&word.value) else {
        let error = unexpected(parser, EXPECTED);
        return Err(match closest(&word.value, UNITS.iter().map(|(name, _)| *name)) {
            Some(name) => error.with_hint(format!("did you mean `{name}`?")),
            None => error,
        });
    };
    parser.advance_token();
    // The digits of `DAY(3)` and `SECOND(3)` limit what may be written; they do not change the value.
    if accept_token(parser, &Token::LParen) {
        integer(parser, "the precision", 0, SECOND_PRECISION_MAX.into())?;
        if accept_token(parser, &Token::Comma) {
            integer(parser, "the precision of seconds", 0, SECOND_PRECISION_MAX.into())?;
        }
        expect_token(parser, &Token::RParen)?;
    }
    Ok(unit)
}

fn not_an_interval(span: Span, text: &str, first: Unit, last: Unit) -> Diagnostic {
    let example = match (first, last) {
        (Unit::Year, Unit::Month) => "'1-6' YEAR TO MONTH",
        (Unit::Day, Unit::Second) => "'1 02:03:04.5' DAY TO SECOND",
        (Unit::Day, Unit::Minute) => "'1 02:03' DAY TO MINUTE",
        (Unit::Day, Unit::Hour) => "'1 02' DAY TO HOUR",
        (Unit::Hour, Unit::Second) => "'02:03:04' HOUR TO SECOND",
        (Unit::Hour, Unit::Minute) => "'02:03' HOUR TO MINUTE",
        (Unit::Minute, Unit::Second) => "'03:04' MINUTE TO SECOND",
        _ => "'10' MINUTE",
    };
    Diagnostic::at(span, format!("`{text}` is not a value of this interval"))
        .with_hint(format!("for example INTERVAL {example}"))
}

/// The value in months or milliseconds.
fn amount(text: &str, first: Unit, last: Unit) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let amount = if first == last { single(digits, first) } else { fields(digits, first, last) }?;
    if negative { amount.checked_neg() } else { Some(amount) }
}

fn single(text: &str, unit: Unit) -> Option<i64> {
    if unit == Unit::Second {
        return seconds(text);
    }
    whole(text)?.checked_mul(unit.length())
}

/// `1 02:03:04.5` for DAY TO SECOND: the fields between the two units, each with its separator.
fn fields(text: &str, first: Unit, last: Unit) -> Option<i64> {
    let order = [Unit::Year, Unit::Month, Unit::Day, Unit::Hour, Unit::Minute, Unit::Second];
    let mut rest = text;
    let mut total = 0i64;
    for unit in order.into_iter().filter(|unit| (first..=last).contains(unit)) {
        let separator = match unit {
            Unit::Year => '-',
            Unit::Day => ' ',
            _ => ':',
        };
        let (field, behind) = if unit == last { (rest, "") } else { rest.split_once(separator)? };
        rest = behind.trim_start();
        total = total.checked_add(single(field, unit)?)?;
    }
    Some(total)
}

fn whole(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Seconds with up to nine digits of fraction, in milliseconds; what is finer is cut off, as in Flink.
fn seconds(text: &str) -> Option<i64> {
    let (whole_part, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > usize::from(SECOND_PRECISION_MAX) {
        return None;
    }
    whole(fraction)?;
    let millis = whole(&format!("{fraction:0<3}")[..3])?;
    whole(whole_part)?.checked_mul(1000)?.checked_add(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (text, first, last, expected) in [
            ("10", Unit::Minute, Unit::Minute, Some(600_000)),
            ("1:30", Unit::Minute, Unit::Second, Some(90_000)),
            ("1 02:03:04", Unit::Day, Unit::Second, Some(93_784_000)),
            ("1 02:03:04.056789", Unit::Day, Unit::Second, Some(93_784_056)),
            ("1-6", Unit::Year, Unit::Month, Some(18)),
            ("-2", Unit::Week, Unit::Week, Some(-1_209_600_000)),
            ("0.5", Unit::Second, Unit::Second, Some(500)),
            ("1.5", Unit::Minute, Unit::Minute, None),
            ("", Unit::Day, Unit::Day, None),
            ("1 2", Unit::Day, Unit::Second, None),
            ("99999999999999999999", Unit::Day, Unit::Day, None),
            ("9999999999999999", Unit::Week, Unit::Week, None),
        ] {
            assert_eq!(amount(text, first, last), expected, "{text}");
        }
    }
}
