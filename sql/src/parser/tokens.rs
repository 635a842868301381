//! Small steps over tokens that all statement parsers share. Words are compared without case and only when unquoted.

use sqlparser::ast::Ident;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::statement::Text;
use crate::diagnostic::Diagnostic;

pub(super) type Parsed<T> = Result<T, Diagnostic>;

/// The catalog and database that every table is in, as in a fresh Flink session.
const DEFAULT_PATH: [&str; 2] = ["default_catalog", "default_database"];

pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
}

/// True when the next tokens are these words.
pub(super) fn at_words(parser: &Parser, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(n, word)| is_word(&parser.peek_nth_token_ref(n).token, word))
}

/// Steps over these words if they come next.
pub(super) fn accept(parser: &mut Parser, words: &[&str]) -> bool {
    let found = at_words(parser, words);
    if found {
        words.iter().for_each(|_| parser.advance_token());
    }
    found
}

/// The first of these words that comes next, stepped over.
pub(super) fn accept_one<'w>(parser: &mut Parser, words: &[&'w str]) -> Option<&'w str> {
    words.iter().copied().find(|word| accept(parser, &[word]))
}

pub(super) fn expect(parser: &mut Parser, words: &[&str]) -> Parsed<()> {
    for word in words {
        if !accept(parser, &[word]) {
            let error = unexpected(parser, &format!("`{word}`"));
            return Err(suggest(error, parser.peek_token_ref(), &[word]));
        }
    }
    Ok(())
}

pub(super) fn accept_token(parser: &mut Parser, token: &Token) -> bool {
    parser.consume_token(token)
}

pub(super) fn expect_token(parser: &mut Parser, token: &Token) -> Parsed<Span> {
    if parser.peek_token_ref().token == *token {
        return Ok(parser.next_token().span);
    }
    Err(unexpected(parser, &format!("`{token}`")))
}

/// "expected ..., found ..." at the next token.
pub(super) fn unexpected(parser: &Parser, expected: &str) -> Diagnostic {
    let found = parser.peek_token_ref();
    Diagnostic::at(found.span, format!("expected {expected}, found {}", describe(found)))
}

/// Adds "did you mean" when the token found is close to one of the words.
pub(super) fn suggest(error: Diagnostic, found: &TokenWithSpan, words: &[&str]) -> Diagnostic {
    match &found.token {
        Token::Word(word) => error.with_suggestion(&word.value, words.iter().copied()),
        _ => error,
    }
}

pub(super) fn describe(token: &TokenWithSpan) -> String {
    /// Characters of a token that a message repeats at most.
    const SHOWN_MAX: usize = 60;
    match &token.token {
        Token::EOF => "the end of the statement".to_string(),
        Token::SemiColon => "`;`".to_string(),
        other => {
            let text = other.to_string();
            let shown: String = text.chars().take(SHOWN_MAX).collect();
            if shown.len() < text.len() { format!("`{shown}...`") } else { format!("`{shown}`") }
        }
    }
}

/// One identifier.
pub(super) fn identifier(parser: &mut Parser, what: &str) -> Parsed<Ident> {
    match &parser.peek_token_ref().token {
        Token::Word(_) => {
            let token = parser.next_token();
            let Token::Word(word) = token.token else { unreachable!("peeked a word") };
            Ok(word.into_ident(token.span))
        }
        Token::SingleQuotedString(_) => {
            Err(unexpected(parser, what).with_hint("names are quoted with backticks: `name`"))
        }
        _ => Err(unexpected(parser, what)),
    }
}

/// The name of a table or view, possibly with `default_catalog.default_database.` in front.
pub(super) fn object_name(parser: &mut Parser, what: &str) -> Parsed<Ident> {
    let mut parts = vec![identifier(parser, what)?];
    while accept_token(parser, &Token::Period) {
        parts.push(identifier(parser, "a name")?);
    }
    strip_path(parts)
}

/// Takes the only known catalog and database off a name.
pub(super) fn strip_path(mut parts: Vec<Ident>) -> Parsed<Ident> {
    let span = parts.iter().fold(Span::empty(), |all, part| all.union(&part.span));
    let Some(mut name) = parts.pop() else { return Err(Diagnostic::new("expected a name")) };
    let known = parts.iter().rev().zip(DEFAULT_PATH.iter().rev()).all(|(part, default)| part.value == *default);
    if parts.len() > DEFAULT_PATH.len() || !known {
        let path: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
        return Err(Diagnostic::at(span, format!("there is no catalog or database `{}`", path.join(".")))
            .with_hint(format!("all tables are in `{}`; write `{}`", DEFAULT_PATH.join("."), name.value)));
    }
    name.span = span;
    Ok(name)
}

/// A string literal.
pub(super) fn string(parser: &mut Parser, what: &str) -> Parsed<Text> {
    match &parser.peek_token_ref().token {
        Token::SingleQuotedString(value) | Token::UnicodeStringLiteral(value) => {
            let value = value.clone();
            let span = parser.next_token().span;
            Ok(Text { value, span })
        }
        Token::Word(_) => Err(unexpected(parser, what).with_hint("put it in single quotes: 'text'")),
        _ => Err(unexpected(parser, what)),
    }
}

/// A whole number within limits.
pub(super) fn integer(parser: &mut Parser, what: &str, min: u32, max: u32) -> Parsed<u32> {
    let token = parser.peek_token_ref().clone();
    let Token::Number(text, _) = &token.token else { return Err(unexpected(parser, what)) };
    match text.parse::<u32>() {
        Ok(number) if (min..=max).contains(&number) => {
            parser.advance_token();
            Ok(number)
        }
        _ => Err(Diagnostic::at(token.span, format!("{what} must be from {min} to {max}, not {text}"))),
    }
}

/// `( item, item, ... )` with at least one item.
pub(super) fn parenthesized<T>(parser: &mut Parser, mut item: impl FnMut(&mut Parser) -> Parsed<T>) -> Parsed<Vec<T>> {
    expect_token(parser, &Token::LParen)?;
    let mut items = vec![item(parser)?];
    while accept_token(parser, &Token::Comma) {
        items.push(item(parser)?);
    }
    if !accept_token(parser, &Token::RParen) {
        return Err(unexpected(parser, "`,` or `)`"));
    }
    Ok(items)
}

pub(super) fn at_end(parser: &Parser) -> bool {
    parser.peek_token_ref().token == Token::EOF
}
