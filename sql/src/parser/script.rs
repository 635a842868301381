//! A script is cut into statements at its semicolons; each statement is parsed on its own, so that one text can give
//! several diagnostics.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Word};

use super::dialect::{FlinkDialect, span_of};
use super::source::SourceText;
use super::statement::Statement;
use super::tokens::{Parsed, describe, is_word};
use super::{command, data_type, limits, lookup_hint};
use crate::diagnostic::Diagnostic;

/// How deep expressions and queries may be nested in each other.
pub(super) const RECURSION_MAX: usize = 200;

/// Parses a whole script; all statements, or a diagnostic for each statement that is wrong.
pub fn parse_script(text: &str) -> Result<Vec<Statement>, Vec<Diagnostic>> {
    crate::stack::with_room(|| parse_whole(text))
}

fn parse_whole(text: &str) -> Result<Vec<Statement>, Vec<Diagnostic>> {
    let source = SourceText::new(text);
    let (tokens, unreadable) = tokenize(text);
    let (mut statements, mut errors) = (vec![], vec![]);
    let pieces = pieces(tokens).pieces;
    let last = pieces.len().saturating_sub(1);
    for (index, piece) in pieces.into_iter().enumerate() {
        // What stands before the place that could not be read is cut off there: its errors would mislead.
        if unreadable.is_some() && index == last {
            break;
        }
        match parse_piece(&source, piece) {
            Ok(statement) => statements.push(statement),
            Err(error) => errors.push(error),
        }
    }
    errors.extend(unreadable);
    if errors.is_empty() { Ok(statements) } else { Err(errors) }
}

/// The text as tokens, and why it could not be read to its end.
fn tokenize(text: &str) -> (Vec<TokenWithSpan>, Option<Diagnostic>) {
    let dialect = FlinkDialect::new(0);
    let mut tokens = vec![];
    let result = Tokenizer::new(&dialect, text).tokenize_with_location_into_buf(&mut tokens);
    let unreadable = result.err().map(|error| {
        let place = Span::new(error.location, error.location);
        let found = Diagnostic::at(place, error.message.clone()).or_at(start_of_text());
        match error.message.as_str() {
            message if message.contains("string literal") => {
                found.with_hint("close the text with ', and write ' inside it as ''")
            }
            message if message.contains("close delimiter '`'") => found.with_hint("close the name with `"),
            message if message.contains("comment") => found.with_hint("close the comment with */"),
            _ => found,
        }
    });
    (data_type::split_shifts(tokens), unreadable)
}

fn start_of_text() -> Span {
    Span::new(Location::new(1, 1), Location::new(1, 2))
}

fn is_blank(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_) | Token::EOF)
}

/// Where statements of a text end to which more may be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Bytes up to and with the semicolon of each statement that is complete.
    pub ends: Vec<usize>,
    /// What stands behind them: nothing but blanks and comments.
    pub rest_is_blank: bool,
    /// The rest opens a text, a name or a comment that nothing closes yet.
    pub open: bool,
}

/// Finds the statements of a text that is still being written or read, as [`parse_script`] will cut them.
pub fn cut_statements(text: &str) -> Cut {
    let source = SourceText::new(text);
    let (tokens, unreadable) = tokenize(text);
    let Pieces { ends, rest_is_blank, .. } = pieces(tokens);
    let ends = ends.into_iter().map(|place| source.offset(place)).collect();
    // What is unreadable for another reason than its end stays so, whatever follows.
    let is_unreadable = unreadable.is_some();
    let open = unreadable.is_some_and(|found| found.hint.is_some());
    Cut { ends, rest_is_blank: rest_is_blank && !is_unreadable, open }
}

/// A script's tokens, statement by statement.
struct Pieces {
    /// The last may lack its semicolon.
    pieces: Vec<Vec<TokenWithSpan>>,
    /// Where each semicolon that ends a statement ends.
    ends: Vec<Location>,
    /// Nothing stands behind the last of those.
    rest_is_blank: bool,
}

/// Cuts at semicolons; the inserts of a statement set stay together.
fn pieces(tokens: Vec<TokenWithSpan>) -> Pieces {
    let mut pieces: Vec<Vec<TokenWithSpan>> = vec![];
    let mut ends = vec![];
    let mut current: Vec<TokenWithSpan> = vec![];
    let mut in_set = false;
    let mut fresh = 0;
    for token in tokens {
        if token.token != Token::SemiColon {
            current.push(token);
            continue;
        }
        let ends_set = in_set && first_word_is(&current[fresh..], "END");
        in_set = in_set || opens_set(&current);
        if in_set && !ends_set && (fresh == 0 || continues_set(&current[fresh..])) {
            current.push(token);
            fresh = current.len();
            continue;
        }
        pieces.push(std::mem::take(&mut current));
        ends.push(token.span.end);
        (in_set, fresh) = (false, 0);
    }
    let rest_is_blank = current.iter().all(is_blank);
    pieces.push(current);
    pieces.retain(|piece| !piece.iter().all(is_blank));
    Pieces { pieces, ends, rest_is_blank }
}

fn words(tokens: &[TokenWithSpan]) -> impl Iterator<Item = &TokenWithSpan> {
    tokens.iter().filter(|token| !is_blank(token))
}

fn first_word_is(tokens: &[TokenWithSpan], word: &str) -> bool {
    words(tokens).next().is_some_and(|token| is_word(&token.token, word))
}

fn continues_set(tokens: &[TokenWithSpan]) -> bool {
    words(tokens).next().is_none()
        || ["INSERT", "EXECUTE", "END", "BEGIN"].iter().any(|word| first_word_is(tokens, word))
}

/// `[EXPLAIN ...] EXECUTE STATEMENT SET BEGIN`, or `BEGIN STATEMENT SET`.
fn opens_set(tokens: &[TokenWithSpan]) -> bool {
    /// `EXPLAIN ESTIMATED_COST, CHANGELOG_MODE, JSON_EXECUTION_PLAN EXECUTE STATEMENT SET BEGIN` has this many.
    const HEADER_TOKENS_MAX: usize = 12;
    let header: Vec<&TokenWithSpan> = words(tokens).take(HEADER_TOKENS_MAX).collect();
    let starts = header
        .first()
        .is_some_and(|first| ["EXECUTE", "BEGIN", "EXPLAIN"].iter().any(|word| is_word(&first.token, word)));
    starts
        && header.windows(3).any(|window| {
            let is = |n: usize, word| is_word(&window[n].token, word);
            (is(0, "STATEMENT") && is(1, "SET") && is(2, "BEGIN"))
                || (is(0, "BEGIN") && is(1, "STATEMENT") && is(2, "SET"))
        })
}

fn parse_piece(source: &SourceText, tokens: Vec<TokenWithSpan>) -> Parsed<Statement> {
    let span = extent(&tokens);
    check_tokens(&tokens)?;
    limits::check(&tokens)?;
    let result = parse_tokens(source, tokens.clone());
    let mut statement = result.map_err(|error| improve(source, &tokens, error).or_at(span))?;
    statement.span = span;
    statement.text = source.slice(span).to_string();
    Ok(statement)
}

fn parse_tokens(source: &SourceText, mut tokens: Vec<TokenWithSpan>) -> Parsed<Statement> {
    tokens.retain(|token| !is_blank(token) || lookup_hint::is_hint(&token.token));
    let dialect = FlinkDialect::new(tokens.len());
    let parser = Parser::new(&dialect).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens);
    command::Commands { parser, source }.statement().map_err(|error| dialect.reveal(error))
}

/// From the first token to the last.
fn extent(tokens: &[TokenWithSpan]) -> Span {
    words(tokens).fold(Span::empty(), |all, token| all.union(&token.span))
}

/// Tokens that no statement may have.
fn check_tokens(tokens: &[TokenWithSpan]) -> Parsed<()> {
    let mut behind_select = false;
    for token in tokens {
        match &token.token {
            Token::Word(Word { quote_style: Some('"'), value, .. }) => {
                return Err(Diagnostic::at(token.span, "double quotes have no meaning here")
                    .with_hint(format!("write '{value}' for a text, `{value}` for a name")));
            }
            hint if lookup_hint::is_hint(hint) && !behind_select => {
                return Err(Diagnostic::at(token.span, "a hint can only stand behind SELECT")
                    .with_hint("CREATE TABLE t2 (...) WITH (...) LIKE t sets other options"));
            }
            Token::Char(c) => return Err(Diagnostic::at(token.span, format!("unexpected character `{c}`"))),
            _ => {}
        }
        behind_select = is_word(&token.token, "SELECT") || (behind_select && is_blank(token));
    }
    Ok(())
}

/// Gives an error the best place and hint that the tokens offer.
fn improve(source: &SourceText, tokens: &[TokenWithSpan], error: Diagnostic) -> Diagnostic {
    let error = inner_query_error(source, tokens).unwrap_or(error);
    let error = if error.has_place() { error } else { at_last_token(tokens, error) };
    let error = mark_whole_token(tokens, step_back(tokens, error));
    if error.hint.is_some() { error } else { suggest_keyword(tokens, error) }
}

/// sqlparser tries a parenthesis after FROM as a subquery, then as a join, and reports the error of the second try:
/// parses the innermost subquery that is wrong once more on its own.
fn inner_query_error(source: &SourceText, tokens: &[TokenWithSpan]) -> Option<Diagnostic> {
    let mut open: Vec<usize> = vec![];
    for (index, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => open.push(index),
            Token::RParen => {
                let inner = &tokens[open.pop()? + 1..index];
                if ["SELECT", "WITH", "VALUES"].iter().any(|word| first_word_is(inner, word)) {
                    let error = parse_tokens(source, inner.to_vec()).err();
                    if let Some(error) = error {
                        return Some(if error.has_place() { error } else { error.or_at(token.span) });
                    }
                }
            }
            _ => {}
        }
    }
    None
}

fn at_last_token(tokens: &[TokenWithSpan], error: Diagnostic) -> Diagnostic {
    let Some(last) = words(tokens).last() else { return error };
    let start = Location::new(last.span.end.line, last.span.end.column.saturating_sub(1).max(1));
    error.or_at(Span::new(start, last.span.end))
}

/// sqlparser reports some tokens at the place of the token behind them.
fn step_back(tokens: &[TokenWithSpan], mut error: Diagnostic) -> Diagnostic {
    let Some((_, found)) = error.message.rsplit_once(", found `") else { return error };
    let start = span_of(&error).start;
    let all: Vec<&TokenWithSpan> = words(tokens).collect();
    let at = all.iter().position(|token| token.span.start == start).unwrap_or(all.len());
    let is_found = |index: usize| all.get(index).is_some_and(|token| format!("{}`", token.token) == found);
    if let Some(before) = at.checked_sub(1).filter(|before| !is_found(at) && is_found(*before)) {
        error.line = 0;
        return error.or_at(all[before].span);
    }
    error
}

/// sqlparser names the start of a token only: marks it to its end.
fn mark_whole_token(tokens: &[TokenWithSpan], mut error: Diagnostic) -> Diagnostic {
    let start = span_of(&error).start;
    let marked = tokens.iter().find(|token| token.span.start == start && !is_blank(token));
    if let Some(token) = marked
        && error.end_column <= error.column + 1
        && token.span.end.line == token.span.start.line
    {
        error.end_column = token.span.end.column.max(error.column + 1);
    }
    error
}

/// Words that structure a query; a word near one of them is most likely a slip.
const CLAUSES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "UNION",
    "JOIN",
    "CROSS",
    "LEFT",
    "VALUES",
    "INSERT",
    "INTO",
    "DISTINCT",
    "BETWEEN",
    "WATERMARK",
    "PRIMARY",
    "COMMENT",
    "PARTITIONED",
    "WITH",
    "LIKE",
];

/// Any name may stand where a keyword was meant: only slips of a letter or two count (`FORM`, `WEHRE`).
const KEYWORD_SIMILARITY_MIN: f64 = 0.75;

/// Looks at the token of the error and at the one before it: `SELECT a FORM t` fails at `t`.
fn suggest_keyword(tokens: &[TokenWithSpan], error: Diagnostic) -> Diagnostic {
    let start = span_of(&error).start;
    let all: Vec<&TokenWithSpan> = words(tokens).collect();
    let Some(at) = all.iter().position(|token| token.span.start == start) else { return error };
    for index in [Some(at), at.checked_sub(1)].into_iter().flatten() {
        if let Token::Word(Word { value, quote_style: None, .. }) = &all[index].token {
            let known = CLAUSES.iter().any(|clause| clause.eq_ignore_ascii_case(value));
            let near = tidemill_engine::suggestion::nearest(value, CLAUSES.iter().copied(), KEYWORD_SIMILARITY_MIN);
            if let (false, Some(clause)) = (known, near) {
                return error.with_hint(format!("did you mean `{clause}` instead of {}?", describe(all[index])));
            }
        }
    }
    error
}
