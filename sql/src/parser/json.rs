//! The SQL/JSON functions. Their clauses become literal arguments:
//!
//! - `JSON_VALUE(x, p)` stays; with clauses `json_value(x, p, returning, on_empty, default, on_error, default)`:
//!   `returning` is a Flink type as text, `on_empty` and `on_error` are `NULL`, `ERROR` or `DEFAULT`.
//! - `JSON_QUERY(x, p)` stays; with clauses `json_query(x, p, wrapper, on_empty, on_error, returning)`: `wrapper` is `WITHOUT`,
//!   `CONDITIONAL` or `UNCONDITIONAL`, the next two `NULL`, `EMPTY ARRAY`, `EMPTY OBJECT` or `ERROR`; `returning` is
//!   `STRING` or `ARRAY<STRING>`.
//! - `JSON_EXISTS(x, p)` stays; with a clause `json_exists(x, p, on_error)`: `TRUE`, `FALSE`, `UNKNOWN` or `ERROR`.
//! - `json_object(on_null, k, v, ...)` and `json_array(on_null, v, ...)`: `on_null` is `NULL` or `ABSENT`, with the
//!   indexes of the arguments behind it that are JSON themselves, not texts: `NULL 1 3`.

use sqlparser::ast::{Expr, Ident, Value};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token};

use super::data_type::data_type;
use super::expression::{function, open_call, string_literal};
use super::tokens::{Parsed, accept, accept_one, accept_token, expect, expect_token, unexpected};
use crate::diagnostic::Diagnostic;
use crate::types::{LENGTH_MAX, SqlType, TypeKind};

fn input_and_path(parser: &mut Parser) -> Parsed<Vec<Expr>> {
    let input = parser.parse_expr()?;
    if !accept_token(parser, &Token::Comma) {
        return Err(unexpected(parser, "`,` and a path").with_hint("the path is a string such as '$.a.b'"));
    }
    let path = parser.parse_expr()?;
    Ok(vec![input, path])
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

pub(super) fn value(parser: &mut Parser) -> Parsed<Expr> {
    let name = open_call(parser)?;
    let mut args = input_and_path(parser)?;
    if accept_token(parser, &Token::RParen) {
        return Ok(function(name, args));
    }
    let returning = returning(parser)?;
    let (mut on_empty, mut on_error) = (("NULL", null()), ("NULL", null()));
    while parser.peek_token_ref().token != Token::RParen {
        let behaviour = value_behaviour(parser)?;
        match on_what(parser)? {
            "EMPTY" => on_empty = behaviour,
            _ => on_error = behaviour,
        }
    }
    expect_token(parser, &Token::RParen)?;
    args.push(string_literal(returning.to_string(), name.span));
    for (behaviour, default) in [on_empty, on_error] {
        args.push(string_literal(behaviour, name.span));
        args.push(default);
    }
    Ok(function(name, args))
}

fn returning(parser: &mut Parser) -> Parsed<SqlType> {
    if !accept(parser, &["RETURNING"]) {
        return Ok(SqlType::nullable(TypeKind::Varchar(LENGTH_MAX)));
    }
    let start = parser.peek_token_ref().span;
    let sql_type = data_type(parser)?;
    match sql_type.kind {
        TypeKind::Varchar(LENGTH_MAX) | TypeKind::Boolean | TypeKind::Int | TypeKind::BigInt | TypeKind::Double => {
            Ok(sql_type)
        }
        _ => Err(Diagnostic::at(start, format!("JSON_VALUE cannot return {sql_type}"))
            .with_hint("it returns STRING, BOOLEAN, INT, BIGINT or DOUBLE; CAST its result to anything else")),
    }
}

fn value_behaviour(parser: &mut Parser) -> Parsed<(&'static str, Expr)> {
    match accept_one(parser, &["NULL", "ERROR", "DEFAULT"]) {
        Some("DEFAULT") => Ok(("DEFAULT", parser.parse_expr()?)),
        Some(word) => Ok((word, null())),
        None => Err(unexpected(parser, "`NULL`, `ERROR` or `DEFAULT` ON EMPTY or ON ERROR, or `)`")),
    }
}

fn on_what(parser: &mut Parser) -> Parsed<&'static str> {
    expect(parser, &["ON"])?;
    accept_one(parser, &["EMPTY", "ERROR"]).ok_or_else(|| unexpected(parser, "`EMPTY` or `ERROR`"))
}

pub(super) fn query(parser: &mut Parser) -> Parsed<Expr> {
    let name = open_call(parser)?;
    let mut args = input_and_path(parser)?;
    if accept_token(parser, &Token::RParen) {
        return Ok(function(name, args));
    }
    let returning = query_returning(parser)?;
    let wrapper = wrapper(parser)?;
    let (mut on_empty, mut on_error) = ("NULL", "NULL");
    while parser.peek_token_ref().token != Token::RParen {
        let place = parser.peek_token_ref().span;
        let behaviour = query_behaviour(parser)?;
        if behaviour == "EMPTY OBJECT" && returning != "STRING" {
            return Err(Diagnostic::at(place, format!("an EMPTY OBJECT is no {returning}"))
                .with_hint("write EMPTY ARRAY, NULL or ERROR"));
        }
        match on_what(parser)? {
            "EMPTY" => on_empty = behaviour,
            _ => on_error = behaviour,
        }
    }
    expect_token(parser, &Token::RParen)?;
    args.extend([wrapper, on_empty, on_error, returning].map(|text| string_literal(text, name.span)));
    Ok(function(name, args))
}

fn query_returning(parser: &mut Parser) -> Parsed<&'static str> {
    if !accept(parser, &["RETURNING"]) {
        return Ok("STRING");
    }
    let span: Span = parser.peek_token_ref().span;
    let sql_type = data_type(parser)?;
    let is_text = |kind: &TypeKind| *kind == TypeKind::Varchar(LENGTH_MAX);
    match &sql_type.kind {
        kind if is_text(kind) => Ok("STRING"),
        TypeKind::Array(element) if is_text(&element.kind) => Ok("ARRAY<STRING>"),
        _ => Err(Diagnostic::at(span, format!("JSON_QUERY cannot return {sql_type}"))
            .with_hint("it returns STRING or ARRAY<STRING>; CAST its result to anything else")),
    }
}

fn wrapper(parser: &mut Parser) -> Parsed<&'static str> {
    let wrapper = match accept_one(parser, &["WITHOUT", "WITH"]) {
        None => return Ok("WITHOUT"),
        Some("WITHOUT") => "WITHOUT",
        Some(_) => accept_one(parser, &["CONDITIONAL", "UNCONDITIONAL"]).unwrap_or("UNCONDITIONAL"),
    };
    accept(parser, &["ARRAY"]);
    expect(parser, &["WRAPPER"])?;
    Ok(wrapper)
}

fn query_behaviour(parser: &mut Parser) -> Parsed<&'static str> {
    match accept_one(parser, &["NULL", "ERROR", "EMPTY"]) {
        Some("EMPTY") if accept(parser, &["OBJECT"]) => Ok("EMPTY OBJECT"),
        Some("EMPTY") => {
            accept(parser, &["ARRAY"]);
            Ok("EMPTY ARRAY")
        }
        Some(word) => Ok(word),
        None => Err(unexpected(parser, "`NULL`, `EMPTY ARRAY`, `EMPTY OBJECT` or `ERROR`, or `)`")),
    }
}

pub(super) fn exists(parser: &mut Parser) -> Parsed<Expr> {
    let name = open_call(parser)?;
    let mut args = input_and_path(parser)?;
    if let Some(behaviour) = accept_one(parser, &["TRUE", "FALSE", "UNKNOWN", "ERROR"]) {
        expect(parser, &["ON", "ERROR"])?;
        args.push(string_literal(behaviour, name.span));
    }
    expect_token(parser, &Token::RParen)?;
    Ok(function(name, args))
}

/// `JSON_OBJECT([KEY] k VALUE v, ... [NULL ON NULL | ABSENT ON NULL])`.
pub(super) fn object(parser: &mut Parser) -> Parsed<Expr> {
    let name = open_call(parser)?;
    let mut members = vec![];
    while !at_null_clause(parser) && parser.peek_token_ref().token != Token::RParen {
        if !members.is_empty() {
            expect_token(parser, &Token::Comma)?;
        }
        accept(parser, &["KEY"]);
        members.push(parser.parse_expr()?);
        expect(parser, &["VALUE"])?;
        members.push(parser.parse_expr()?);
    }
    let on_null = null_clause(parser, "NULL")?;
    expect_token(parser, &Token::RParen)?;
    Ok(construction(name, on_null, members))
}

/// `JSON_ARRAY(v, ... [NULL ON NULL | ABSENT ON NULL])`.
pub(super) fn array(parser: &mut Parser) -> Parsed<Expr> {
    let name = open_call(parser)?;
    let mut elements = vec![];
    while !at_null_clause(parser) && parser.peek_token_ref().token != Token::RParen {
        if !elements.is_empty() {
            expect_token(parser, &Token::Comma)?;
        }
        elements.push(parser.parse_expr()?);
    }
    let on_null = null_clause(parser, "ABSENT")?;
    expect_token(parser, &Token::RParen)?;
    Ok(construction(name, on_null, elements))
}

/// What JSON_OBJECT and JSON_ARRAY make goes into another one as it is.
fn construction(name: Ident, on_null: &str, values: Vec<Expr>) -> Expr {
    let mut clauses = on_null.to_string();
    for index in values.iter().enumerate().filter(|(_, value)| is_construction(value)).map(|(index, _)| index) {
        clauses.push_str(&format!(" {index}"));
    }
    let args = std::iter::once(string_literal(clauses, name.span)).chain(values).collect();
    function(name, args)
}

fn is_construction(value: &Expr) -> bool {
    match value {
        Expr::Function(call) => ["json_object", "json_array"].contains(&call.name.to_string().as_str()),
        Expr::Nested(inner) => is_construction(inner),
        _ => false,
    }
}

fn at_null_clause(parser: &Parser) -> bool {
    use super::tokens::at_words;
    at_words(parser, &["NULL", "ON", "NULL"]) || at_words(parser, &["ABSENT", "ON", "NULL"])
}

fn null_clause(parser: &mut Parser, default: &'static str) -> Parsed<&'static str> {
    match accept_one(parser, &["NULL", "ABSENT"]) {
        None => Ok(default),
        Some(word) => {
            expect(parser, &["ON", "NULL"])?;
            Ok(word)
        }
    }
}
