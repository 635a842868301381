//! Flink's spelling of data types.

use std::str::FromStr;

use sqlparser::ast::{DataType as AstType, Ident, ObjectName, ObjectNamePart};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token, Tokenizer};

use super::dialect::FlinkDialect;
use super::tokens::{Parsed, accept, accept_one, accept_token, at_end, expect_token, identifier, integer, unexpected};
use crate::diagnostic::Diagnostic;
use crate::types::{
    DECIMAL_PRECISION_MAX, LENGTH_MAX, RowField, SECOND_PRECISION_MAX, SqlType, TIMESTAMP_PRECISION, TypeKind,
};

/// How deep types may be nested in each other.
const NESTING_MAX: usize = 32;
/// Default precision of DECIMAL, as in Flink.
const DECIMAL_PRECISION: u32 = 10;

/// Name of the custom sqlparser type that carries a Flink type as text.
pub const TYPE_MARKER: &str = "__type";

const NAMES: &[&str] = &[
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "REAL",
    "DOUBLE",
    "DECIMAL",
    "DEC",
    "NUMERIC",
    "CHAR",
    "CHARACTER",
    "VARCHAR",
    "STRING",
    "BINARY",
    "VARBINARY",
    "BYTES",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "INTERVAL",
    "ARRAY",
    "MAP",
    "ROW",
];

/// A type with its optional NOT NULL.
pub(super) fn data_type(parser: &mut Parser) -> Parsed<SqlType> {
    nested_type(parser, NESTING_MAX)
}

/// A Flink type as a sqlparser type that carries it unchanged.
pub(super) fn as_ast(sql_type: &SqlType, span: Span) -> AstType {
    let marker = Ident::with_span(span, TYPE_MARKER);
    AstType::Custom(ObjectName(vec![ObjectNamePart::Identifier(marker)]), vec![sql_type.to_string()])
}

/// The Flink type that [`as_ast`] packed; `None` for any other type.
pub fn from_ast(data_type: &AstType) -> Option<SqlType> {
    match data_type {
        AstType::Custom(name, modifiers) if name.to_string() == TYPE_MARKER => modifiers.first()?.parse().ok(),
        _ => None,
    }
}

impl FromStr for SqlType {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        let dialect = FlinkDialect::new(text.len());
        let tokens = Tokenizer::new(&dialect, text).tokenize_with_location();
        let tokens = tokens.map_err(|error| Diagnostic::new(error.to_string()))?;
        let mut parser = Parser::new(&dialect).with_tokens_with_locations(split_shifts(tokens));
        let parsed = data_type(&mut parser)?;
        if at_end(&parser) { Ok(parsed) } else { Err(unexpected(&parser, "the end of the type")) }
    }
}

fn nested_type(parser: &mut Parser, depth: usize) -> Parsed<SqlType> {
    if depth == 0 {
        return Err(Diagnostic::at(parser.peek_token_ref().span, "the type is nested too deeply"));
    }
    let mut parsed = SqlType { kind: type_kind(parser, depth)?, nullable: nullability(parser) };
    // `T ARRAY` and `T MULTISET` after the element type.
    let mut suffixes = 0;
    while accept(parser, &["ARRAY"]) {
        suffixes += 1;
        if suffixes >= depth {
            return Err(Diagnostic::at(parser.get_current_token().span, "the type is nested too deeply"));
        }
        parsed = SqlType { kind: TypeKind::Array(Box::new(parsed)), nullable: nullability(parser) };
    }
    if accept(parser, &["MULTISET"]) {
        return Err(multiset(parser.get_current_token().span));
    }
    Ok(parsed)
}

/// Reads `NOT NULL` or `NULL` behind a type; true when NULL is allowed.
fn nullability(parser: &mut Parser) -> bool {
    if accept(parser, &["NOT", "NULL"]) {
        return false;
    }
    accept(parser, &["NULL"]);
    true
}

fn type_kind(parser: &mut Parser, depth: usize) -> Parsed<TypeKind> {
    let token = parser.peek_token_ref().clone();
    let Token::Word(word) = &token.token else { return Err(unexpected(parser, "a data type")) };
    let name = word.value.to_ascii_uppercase();
    parser.advance_token();
    match name.as_str() {
        "BOOLEAN" => Ok(TypeKind::Boolean),
        "TINYINT" => Ok(TypeKind::TinyInt),
        "SMALLINT" => Ok(TypeKind::SmallInt),
        "INT" | "INTEGER" => Ok(TypeKind::Int),
        "BIGINT" => Ok(TypeKind::BigInt),
        "FLOAT" | "REAL" => Ok(TypeKind::Float),
        "DOUBLE" => {
            accept(parser, &["PRECISION"]);
            Ok(TypeKind::Double)
        }
        "DECIMAL" | "DEC" | "NUMERIC" => decimal(parser),
        "CHAR" | "CHARACTER" if accept(parser, &["VARYING"]) => Ok(TypeKind::Varchar(length(parser, 1)?)),
        "CHAR" | "CHARACTER" => Ok(TypeKind::Char(length(parser, 1)?)),
        "VARCHAR" => Ok(TypeKind::Varchar(length(parser, 1)?)),
        "STRING" => Ok(TypeKind::Varchar(LENGTH_MAX)),
        "BINARY" if accept(parser, &["VARYING"]) => Ok(TypeKind::Varbinary(length(parser, 1)?)),
        "BINARY" => Ok(TypeKind::Binary(length(parser, 1)?)),
        "VARBINARY" => Ok(TypeKind::Varbinary(length(parser, 1)?)),
        "BYTES" => Ok(TypeKind::Varbinary(LENGTH_MAX)),
        "DATE" => Ok(TypeKind::Date),
        "TIME" => time(parser),
        "TIMESTAMP" => timestamp(parser),
        "TIMESTAMP_LTZ" => Ok(TypeKind::TimestampLtz(second_precision(parser)?.unwrap_or(TIMESTAMP_PRECISION))),
        "INTERVAL" => interval(parser),
        "ARRAY" => {
            let element = angle_brackets(parser, |parser| nested_type(parser, depth - 1))?;
            Ok(TypeKind::Array(Box::new(element)))
        }
        "MAP" => angle_brackets(parser, |parser| {
            let key = nested_type(parser, depth - 1)?;
            expect_token(parser, &Token::Comma)?;
            Ok(TypeKind::Map(Box::new(key), Box::new(nested_type(parser, depth - 1)?)))
        }),
        "ROW" => row(parser, depth),
        "MULTISET" => Err(multiset(token.span)),
        "RAW" | "STRUCTURED" | "VARIANT" | "BITMAP" => {
            Err(Diagnostic::at(token.span, format!("the type {name} is not supported")))
        }
        _ => Err(unknown_type(token.span, &word.value)),
    }
}

fn multiset(span: Span) -> Diagnostic {
    Diagnostic::at(span, "the type MULTISET is not supported")
        .with_hint("MAP<t, INT> holds the same: values and how often")
}

fn unknown_type(span: Span, name: &str) -> Diagnostic {
    let error = Diagnostic::at(span, format!("`{name}` is not a data type"));
    match name.to_ascii_uppercase().as_str() {
        "TEXT" => error.with_hint("write STRING"),
        "LONG" => error.with_hint("write BIGINT"),
        "BOOL" => error.with_hint("write BOOLEAN"),
        "DATETIME" => error.with_hint("write TIMESTAMP(3)"),
        "TIMESTAMPTZ" => error.with_hint("write TIMESTAMP_LTZ(3)"),
        "BLOB" => error.with_hint("write BYTES"),
        "JSON" => error.with_hint("write STRING and read it with JSON_VALUE, or ROW<...> to have it decoded"),
        _ => error.with_suggestion(name, NAMES.iter().copied()),
    }
}

fn decimal(parser: &mut Parser) -> Parsed<TypeKind> {
    let (mut precision, mut scale) = (DECIMAL_PRECISION, 0);
    if accept_token(parser, &Token::LParen) {
        precision = integer(parser, "the precision of a DECIMAL", 1, DECIMAL_PRECISION_MAX.into())?;
        if accept_token(parser, &Token::Comma) {
            scale = integer(parser, "the scale of a DECIMAL", 0, precision)?;
        }
        expect_token(parser, &Token::RParen)?;
    }
    Ok(TypeKind::Decimal { precision: precision as u8, scale: scale as u8 })
}

fn length(parser: &mut Parser, default: u32) -> Parsed<u32> {
    if !accept_token(parser, &Token::LParen) {
        return Ok(default);
    }
    let length = integer(parser, "the length", 1, LENGTH_MAX)?;
    expect_token(parser, &Token::RParen)?;
    Ok(length)
}

fn second_precision(parser: &mut Parser) -> Parsed<Option<u8>> {
    if !accept_token(parser, &Token::LParen) {
        return Ok(None);
    }
    let digits = integer(parser, "the precision of seconds", 0, SECOND_PRECISION_MAX.into())?;
    expect_token(parser, &Token::RParen)?;
    Ok(Some(digits as u8))
}

fn time(parser: &mut Parser) -> Parsed<TypeKind> {
    let precision = second_precision(parser)?.unwrap_or(0);
    accept(parser, &["WITHOUT", "TIME", "ZONE"]);
    Ok(TypeKind::Time(precision))
}

fn timestamp(parser: &mut Parser) -> Parsed<TypeKind> {
    let precision = second_precision(parser)?.unwrap_or(TIMESTAMP_PRECISION);
    if accept(parser, &["WITH", "LOCAL", "TIME", "ZONE"]) {
        return Ok(TypeKind::TimestampLtz(precision));
    }
    let span = parser.peek_token_ref().span;
    if accept(parser, &["WITH", "TIME", "ZONE"]) {
        return Err(Diagnostic::at(span, "TIMESTAMP WITH TIME ZONE is not supported")
            .with_hint("TIMESTAMP_LTZ(3) is a point in time, shown in the session's zone"));
    }
    accept(parser, &["WITHOUT", "TIME", "ZONE"]);
    Ok(TypeKind::Timestamp(precision))
}

/// The units of an interval type from the longest to the shortest; the first two count months.
const INTERVAL_UNITS: [&str; 6] = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"];

fn interval(parser: &mut Parser) -> Parsed<TypeKind> {
    let (first, mut text) = interval_unit(parser)?;
    let mut last = first;
    if accept(parser, &["TO"]) {
        let span = parser.peek_token_ref().span;
        let (unit, unit_text) = interval_unit(parser)?;
        let position = |name| INTERVAL_UNITS.iter().position(|unit| *unit == name);
        if position(unit) <= position(first) || is_months(unit) != is_months(first) {
            return Err(Diagnostic::at(span, format!("an interval cannot go from {first} to {unit}")));
        }
        text = format!("{text} TO {unit_text}");
        last = unit;
    }
    Ok(if is_months(last) { TypeKind::IntervalMonths(text) } else { TypeKind::IntervalMillis(text) })
}

fn is_months(unit: &str) -> bool {
    INTERVAL_UNITS[..2].contains(&unit)
}

fn interval_unit(parser: &mut Parser) -> Parsed<(&'static str, String)> {
    let Some(unit) = accept_one(parser, &INTERVAL_UNITS) else {
        return Err(unexpected(parser, "a unit (YEAR, MONTH, DAY, HOUR, MINUTE, SECOND)"));
    };
    match second_precision(parser)? {
        Some(digits) => Ok((unit, format!("{unit}({digits})"))),
        None => Ok((unit, unit.to_string())),
    }
}

fn angle_brackets<T>(parser: &mut Parser, inner: impl FnOnce(&mut Parser) -> Parsed<T>) -> Parsed<T> {
    expect_token(parser, &Token::Lt)?;
    let parsed = inner(parser)?;
    close_angle(parser)?;
    Ok(parsed)
}

/// `>`; the tokenizer is told not to join `>>` by [`split_shifts`].
fn close_angle(parser: &mut Parser) -> Parsed<()> {
    if accept_token(parser, &Token::Gt) { Ok(()) } else { Err(unexpected(parser, "`>`")) }
}

fn row(parser: &mut Parser, depth: usize) -> Parsed<TypeKind> {
    let close = if accept_token(parser, &Token::LParen) {
        Token::RParen
    } else if accept_token(parser, &Token::Lt) {
        Token::Gt
    } else if accept_token(parser, &Token::Neq) {
        return Ok(TypeKind::Row(vec![]));
    } else {
        return Err(unexpected(parser, "`<` and the fields of the ROW"));
    };
    let mut fields = vec![row_field(parser, depth)?];
    while accept_token(parser, &Token::Comma) {
        fields.push(row_field(parser, depth)?);
    }
    if !accept_token(parser, &close) {
        return Err(unexpected(parser, &format!("`,` or `{close}`")));
    }
    Ok(TypeKind::Row(fields))
}

fn row_field(parser: &mut Parser, depth: usize) -> Parsed<RowField> {
    let name = identifier(parser, "the name of a field")?.value;
    let sql_type = nested_type(parser, depth - 1)?;
    let comment = match &parser.peek_token_ref().token {
        Token::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    };
    if comment.is_some() {
        parser.advance_token();
    }
    Ok(RowField { name, sql_type, comment })
}

/// Splits `>>` into two tokens, because `ARRAY<ARRAY<INT>>` closes two brackets and Flink has no shift operator.
pub(super) fn split_shifts(
    tokens: Vec<sqlparser::tokenizer::TokenWithSpan>,
) -> Vec<sqlparser::tokenizer::TokenWithSpan> {
    use sqlparser::tokenizer::{Location, TokenWithSpan};
    let mut split = Vec::with_capacity(tokens.len());
    for token in tokens {
        if token.token != Token::ShiftRight {
            split.push(token);
            continue;
        }
        let Span { start, end } = token.span;
        let middle = Location::new(start.line, start.column + 1);
        split.push(TokenWithSpan::new(Token::Gt, Span::new(start, middle)));
        split.push(TokenWithSpan::new(Token::Gt, Span::new(middle, end)));
    }
    split
}
