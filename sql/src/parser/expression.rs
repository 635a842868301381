//! Flink's expression forms that sqlparser does not know: called back by sqlparser at the start of every operand
//! ([`prefix`]) and behind it ([`infix`]).

use sqlparser::ast::{
    Array, BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, Query, Value, ValueWithSpan,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token, Word};

use super::tokens::{Parsed, accept, accept_one, accept_token, at_words, expect, expect_token, identifier, unexpected};
use super::{data_type, interval, json, literal, window_table};
use crate::diagnostic::Diagnostic;
use crate::functions::DIGITS;
use crate::types::{LENGTH_MAX, SqlType, TypeKind};

/// Time units of EXTRACT, FLOOR, CEIL, TIMESTAMPADD and TIMESTAMPDIFF.
const TIME_UNITS: &[&str] = &[
    "MILLENNIUM",
    "CENTURY",
    "DECADE",
    "YEAR",
    "QUARTER",
    "MONTH",
    "WEEK",
    "DAY",
    "DOY",
    "DOW",
    "ISODOW",
    "ISOYEAR",
    "HOUR",
    "MINUTE",
    "SECOND",
    "MILLISECOND",
    "MICROSECOND",
    "NANOSECOND",
    "EPOCH",
];

/// DataFusion's function that makes a ROW.
const NAMED_STRUCT: &str = "named_struct";

/// The expression that starts at the next token, if it is one of Flink's own forms.
pub(super) fn prefix(parser: &mut Parser) -> Option<Parsed<Expr>> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    if word.quote_style.is_some() {
        return None;
    }
    let name = word.value.to_ascii_uppercase();
    match parser.peek_nth_token_ref(1).token {
        Token::LParen if name != "INTERVAL" => call(parser, &name),
        Token::LBracket if name == "MAP" => Some(map_literal(parser)),
        Token::SingleQuotedString(_) => match name.as_str() {
            "INTERVAL" => Some(interval::literal(parser)),
            "DATE" | "TIME" | "TIMESTAMP" => Some(literal::time(parser)),
            _ => None,
        },
        Token::Minus | Token::Plus if name == "INTERVAL" && is_string(parser, 2) => Some(interval::literal(parser)),
        Token::Number(..) if name == "INTERVAL" => Some(interval::literal(parser)),
        // Any other use of the word is a name; sqlparser would look for a value in what follows, without end.
        _ if name == "INTERVAL" => Some(identifier(parser, "an interval").map(Expr::Identifier)),
        Token::Word(_) if name == "TABLE" => Some(window_table::data_argument(parser)),
        _ => None,
    }
}

fn is_string(parser: &Parser, n: usize) -> bool {
    matches!(parser.peek_nth_token_ref(n).token, Token::SingleQuotedString(_))
}

/// Functions whose arguments have a syntax of their own.
fn call(parser: &mut Parser, name: &str) -> Option<Parsed<Expr>> {
    let parsed = match name {
        "CAST" => cast(parser, CastKind::Cast),
        "TRY_CAST" => cast(parser, CastKind::TryCast),
        "EXTRACT" => extract(parser),
        "FLOOR" => rounding(parser, "floor", "floor_to"),
        "CEIL" | "CEILING" => rounding(parser, "ceil", "ceil_to"),
        "TIMESTAMPDIFF" | "TIMESTAMPADD" => unit_call(parser),
        "JSON_VALUE" => json::value(parser),
        "JSON_QUERY" => json::query(parser),
        "JSON_EXISTS" => json::exists(parser),
        "JSON_OBJECT" => json::object(parser),
        "JSON_ARRAY" => json::array(parser),
        "ROW" => row(parser),
        "TABLE" => window_table::data_argument(parser),
        _ => return None,
    };
    Some(parsed)
}

/// Steps over a function's name and its opening parenthesis; gives the name.
pub(super) fn open_call(parser: &mut Parser) -> Parsed<Ident> {
    let token = parser.next_token();
    let Token::Word(Word { value, .. }) = token.token else { return Err(unexpected(parser, "a function")) };
    expect_token(parser, &Token::LParen)?;
    Ok(Ident::with_span(token.span, value.to_ascii_lowercase()))
}

/// A call of `name` with these arguments.
pub(super) fn function(name: Ident, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] };
    Expr::Function(bare_function(name, FunctionArguments::List(list)))
}

pub(super) fn bare_function(name: Ident, args: FunctionArguments) -> Function {
    Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args,
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    }
}

pub(super) fn string_literal(text: impl Into<String>, span: Span) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text.into()), span })
}

fn number_literal(number: u32, span: Span) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::Number(number.to_string(), false), span })
}

pub(super) fn cast_to(kind: CastKind, expr: Expr, sql_type: &SqlType, span: Span) -> Expr {
    let data_type = data_type::as_ast(sql_type, span);
    Expr::Cast { kind, expr: Box::new(expr), data_type, array: false, format: None }
}

fn cast(parser: &mut Parser, kind: CastKind) -> Parsed<Expr> {
    open_call(parser)?;
    let operand = parser.parse_expr()?;
    expect(parser, &["AS"])?;
    let start = parser.peek_token_ref().span;
    let sql_type = data_type::data_type(parser)?;
    let span = start.union(&parser.get_current_token().span);
    expect_token(parser, &Token::RParen)?;
    Ok(cast_fully(kind, operand, &sql_type, span))
}

/// The cast of `ROW(a, b)` to `ROW<x X, y Y>` goes by position: each field is cast on its own.
fn cast_fully(kind: CastKind, operand: Expr, sql_type: &SqlType, span: Span) -> Expr {
    let (TypeKind::Row(fields), Some(values)) = (&sql_type.kind, row_values(&operand)) else {
        return cut_to_length(cast_to(kind, operand, sql_type, span), sql_type, span);
    };
    if fields.len() != values.len() {
        return cast_to(kind, operand, sql_type, span);
    }
    let named = fields.iter().zip(values).flat_map(|(field, value)| {
        [string_literal(field.name.clone(), span), cast_fully(kind.clone(), value, &field.sql_type, span)]
    });
    function(Ident::with_span(span, NAMED_STRUCT), named.collect())
}

/// The values of what [`row`] made.
fn row_values(expr: &Expr) -> Option<Vec<Expr>> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return None };
    if name.to_string() != NAMED_STRUCT {
        return None;
    }
    let values = list.args.chunks(2).map(|pair| match pair {
        [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] => Some(value.clone()),
        _ => None,
    });
    values.collect()
}

/// CAST to CHAR(n) and VARCHAR(n) cuts what is longer; CHAR(n) fills up with spaces. Times lose the digits of a second
/// that their type does not have.
fn cut_to_length(cast: Expr, sql_type: &SqlType, span: Span) -> Expr {
    let call = |name: &str, args| function(Ident::with_span(span, name), args);
    match sql_type.kind {
        TypeKind::Varchar(length) if length < LENGTH_MAX => call("left", vec![cast, number_literal(length, span)]),
        TypeKind::Char(length) => call("rpad", vec![cast, number_literal(length, span), string_literal(" ", span)]),
        TypeKind::Timestamp(digits) | TypeKind::TimestampLtz(digits) | TypeKind::Time(digits)
            if sql_type.is_cut_short() =>
        {
            call("floor_to", vec![string_literal(format!("{DIGITS}{digits}"), span), cast])
        }
        _ => cast,
    }
}

/// A unit of time as a string literal.
fn time_unit(parser: &mut Parser) -> Parsed<Expr> {
    let token = parser.peek_token_ref().clone();
    let Token::Word(word) = &token.token else { return Err(unexpected(parser, "a unit of time such as DAY")) };
    let upper = word.value.to_ascii_uppercase();
    let upper = upper.strip_prefix("SQL_TSI_").unwrap_or(&upper);
    let unit = TIME_UNITS.iter().find(|unit| upper == **unit || upper.strip_suffix('S') == Some(**unit));
    let Some(unit) = unit else {
        return Err(Diagnostic::at(token.span, format!("`{}` is not a unit of time", word.value))
            .with_suggestion(&word.value, TIME_UNITS.iter().copied()));
    };
    parser.advance_token();
    Ok(string_literal(*unit, token.span))
}

/// `EXTRACT(unit FROM x)` becomes `extract('UNIT', x)`.
fn extract(parser: &mut Parser) -> Parsed<Expr> {
    let name = open_call(parser)?;
    let unit = time_unit(parser)?;
    expect(parser, &["FROM"])?;
    let operand = parser.parse_expr()?;
    expect_token(parser, &Token::RParen)?;
    Ok(function(name, vec![unit, operand]))
}

/// `FLOOR(x)` stays; `FLOOR(x TO unit)` becomes `floor_to('UNIT', x)`.
fn rounding(parser: &mut Parser, plain: &str, with_unit: &str) -> Parsed<Expr> {
    let name = open_call(parser)?;
    let operand = parser.parse_expr()?;
    let unit = if accept(parser, &["TO"]) { Some(time_unit(parser)?) } else { None };
    if !accept_token(parser, &Token::RParen) {
        return Err(unexpected(parser, "`TO` or `)`"));
    }
    Ok(match unit {
        Some(unit) => function(Ident::with_span(name.span, with_unit), vec![unit, operand]),
        None => function(Ident::with_span(name.span, plain), vec![operand]),
    })
}

/// `TIMESTAMPDIFF(unit, a, b)` with the unit as a string literal.
fn unit_call(parser: &mut Parser) -> Parsed<Expr> {
    let name = open_call(parser)?;
    let mut args = vec![time_unit(parser)?];
    for _ in 0..2 {
        expect_token(parser, &Token::Comma)?;
        args.push(parser.parse_expr()?);
    }
    expect_token(parser, &Token::RParen)?;
    Ok(function(name, args))
}

/// `MAP[k, v, ...]` becomes `map([k, ...], [v, ...])`.
fn map_literal(parser: &mut Parser) -> Parsed<Expr> {
    let start = parser.next_token().span;
    expect_token(parser, &Token::LBracket)?;
    let (mut keys, mut values) = (vec![], vec![]);
    while !accept_token(parser, &Token::RBracket) {
        if !keys.is_empty() {
            expect_token(parser, &Token::Comma)?;
        }
        keys.push(parser.parse_expr()?);
        if parser.peek_token_ref().token == Token::RBracket {
            return Err(unexpected(parser, "`,` and the key's value").with_hint("MAP[key, value, key, value, ...]"));
        }
        expect_token(parser, &Token::Comma)?;
        values.push(parser.parse_expr()?);
    }
    if keys.is_empty() {
        return Err(Diagnostic::at(start, "an empty MAP has no type").with_hint("CAST(NULL AS MAP<STRING, INT>)"));
    }
    let list = |elem| Expr::Array(Array { elem, named: true });
    Ok(function(Ident::with_span(start, "map"), vec![list(keys), list(values)]))
}

/// `ROW(a, b)` becomes a struct with Flink's names for its fields: `named_struct('EXPR$0', a, 'EXPR$1', b)`.
fn row(parser: &mut Parser) -> Parsed<Expr> {
    let name = open_call(parser)?;
    let mut args = vec![];
    loop {
        args.push(string_literal(format!("EXPR${}", args.len() / 2), name.span));
        args.push(parser.parse_expr()?);
        if !accept_token(parser, &Token::Comma) {
            break;
        }
    }
    expect_token(parser, &Token::RParen)?;
    Ok(function(Ident::with_span(name.span, NAMED_STRUCT), args))
}

/// A subquery as an expression.
pub(super) fn subquery(query: Box<Query>) -> FunctionArguments {
    FunctionArguments::Subquery(query)
}

/// What follows an operand: `IS [NOT] JSON`, `IS [NOT] DISTINCT FROM`, `BETWEEN SYMMETRIC`; `precedence` is that of the
/// operator.
pub(super) fn infix(parser: &mut Parser, operand: &Expr, precedence: u8) -> Option<Parsed<Expr>> {
    json_test(parser, operand)
        .or_else(|| distinct_test(parser, operand, precedence))
        .or_else(|| between(parser, operand, precedence))
}

/// Characters of the operands of BETWEEN SYMMETRIC: each stands twice in what it becomes, nested ones ever more often.
const SYMMETRIC_CHARACTERS_MAX: usize = 2000;

/// `x [NOT] BETWEEN SYMMETRIC a AND b` tests both orders of the bounds; ASYMMETRIC is what BETWEEN is without.
fn between(parser: &mut Parser, operand: &Expr, precedence: u8) -> Option<Parsed<Expr>> {
    let negated = at_words(parser, &["NOT", "BETWEEN"]);
    let word = parser.peek_nth_token_ref(if negated { 2 } else { 1 }).clone();
    let (symmetric, asymmetric) = (is_word(&word.token, "SYMMETRIC"), is_word(&word.token, "ASYMMETRIC"));
    if !(negated || at_words(parser, &["BETWEEN"])) || !(symmetric || asymmetric) {
        return None;
    }
    (0..if negated { 3 } else { 2 }).for_each(|_| parser.advance_token());
    let bounds = bounds(parser, precedence);
    Some(bounds.and_then(|(low, high)| {
        if asymmetric {
            return Ok(test_between(negated, operand, &low, &high));
        }
        if [operand, &low, &high].iter().map(|part| part.to_string().len()).sum::<usize>() > SYMMETRIC_CHARACTERS_MAX {
            return Err(Diagnostic::at(word.span, "the operands of BETWEEN SYMMETRIC are too long")
                .with_hint("compute them in a subquery and compare its columns"));
        }
        let either = [test_between(negated, operand, &low, &high), test_between(negated, operand, &high, &low)];
        let [left, right] = either.map(Box::new);
        let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
        Ok(Expr::Nested(Box::new(Expr::BinaryOp { left, op, right })))
    }))
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

fn bounds(parser: &mut Parser, precedence: u8) -> Parsed<(Expr, Expr)> {
    let low = parser.parse_subexpr(precedence)?;
    expect(parser, &["AND"])?;
    let high = parser.parse_subexpr(precedence)?;
    Ok((low, high))
}

fn test_between(negated: bool, operand: &Expr, low: &Expr, high: &Expr) -> Expr {
    let boxed = |expr: &Expr| Box::new(expr.clone());
    Expr::Between { expr: boxed(operand), negated, low: boxed(low), high: boxed(high) }
}

/// `x IS [NOT] JSON [VALUE | SCALAR | ARRAY | OBJECT]` becomes `is_json(x, 'VALUE')`.
fn json_test(parser: &mut Parser, operand: &Expr) -> Option<Parsed<Expr>> {
    let negated = at_words(parser, &["IS", "NOT", "JSON"]);
    if !negated && !at_words(parser, &["IS", "JSON"]) {
        return None;
    }
    parser.advance_token();
    accept(parser, &["NOT"]);
    let span = parser.next_token().span;
    let kind = accept_one(parser, &["VALUE", "SCALAR", "ARRAY", "OBJECT"]).unwrap_or("VALUE");
    let test = function(Ident::with_span(span, "is_json"), vec![operand.clone(), string_literal(kind, span)]);
    if !negated {
        return Some(Ok(test));
    }
    let op = sqlparser::ast::UnaryOperator::Not;
    Some(Ok(Expr::UnaryOp { op, expr: Box::new(test) }))
}

/// sqlparser would read `a IS DISTINCT FROM b AND c` as `a IS DISTINCT FROM (b AND c)`.
fn distinct_test(parser: &mut Parser, operand: &Expr, precedence: u8) -> Option<Parsed<Expr>> {
    let negated = at_words(parser, &["IS", "NOT", "DISTINCT", "FROM"]);
    if !negated && !at_words(parser, &["IS", "DISTINCT", "FROM"]) {
        return None;
    }
    (0..if negated { 4 } else { 3 }).for_each(|_| parser.advance_token());
    let (left, right) = match parser.parse_subexpr(precedence) {
        Ok(right) => (Box::new(operand.clone()), Box::new(right)),
        Err(error) => return Some(Err(error.into())),
    };
    Some(Ok(if negated { Expr::IsNotDistinctFrom(left, right) } else { Expr::IsDistinctFrom(left, right) }))
}
