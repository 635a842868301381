//! Limits on a statement that keep every later walk over its tree within the stack.
//!
//! sqlparser grows its stack while it parses, but dropping a tree, comparing it and rewriting it recurse plainly. Two
//! things make a tree deep: nesting, and chains of operators (`a + b + c` is nested to the left).

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::tokens::Parsed;
use crate::diagnostic::Diagnostic;

/// Brackets within brackets.
const NESTING_MAX: usize = 64;
/// Operators in one expression, and set operations in one query.
const CHAIN_MAX: usize = 500;

/// Words that join operands to their left.
const OPERATORS: &[&str] =
    &["AND", "OR", "LIKE", "IS", "BETWEEN", "NOT", "IN", "SIMILAR", "AT", "UNION", "EXCEPT", "INTERSECT", "COLLATE"];
/// Words that start a new expression.
const BREAKS: &[&str] =
    &["FROM", "WHERE", "HAVING", "GROUP", "ORDER", "LIMIT", "ON", "JOIN", "WHEN", "THEN", "ELSE", "AS"];

pub(super) fn check(tokens: &[TokenWithSpan]) -> Parsed<()> {
    // Per open bracket: operators of the current expression, and set operations so far.
    let mut open: Vec<(usize, usize)> = vec![(0, 0)];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                if open.len() > NESTING_MAX {
                    return Err(Diagnostic::at(token.span, format!("nested more than {NESTING_MAX} levels deep"))
                        .with_hint("split the statement: views and WITH give parts of it a name"));
                }
                // A subscript is a step of its own; so is a call behind a call.
                count(&mut open, token, 1)?;
                open.push((0, 0));
            }
            Token::RParen | Token::RBracket | Token::RBrace if open.len() > 1 => {
                open.pop();
            }
            Token::Comma | Token::SemiColon => reset(&mut open),
            Token::Word(Word { value, quote_style: None, .. }) => word(&mut open, token, value)?,
            Token::Whitespace(_) | Token::EOF | Token::Number(..) | Token::SingleQuotedString(_) | Token::Word(_) => {}
            _ => count(&mut open, token, 1)?,
        }
    }
    Ok(())
}

fn word(open: &mut [(usize, usize)], token: &TokenWithSpan, value: &str) -> Parsed<()> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(value));
    if is(&["UNION", "EXCEPT", "INTERSECT"]) {
        let level = open.len() - 1;
        open[level].1 += 1;
        if open[level].1 > CHAIN_MAX {
            return Err(too_long(token));
        }
    }
    if is(BREAKS) {
        reset(open);
    } else if is(OPERATORS) {
        count(open, token, 1)?;
    }
    Ok(())
}

fn reset(open: &mut [(usize, usize)]) {
    if let Some(level) = open.last_mut() {
        level.0 = 0;
    }
}

fn count(open: &mut [(usize, usize)], token: &TokenWithSpan, operators: usize) -> Parsed<()> {
    let Some(level) = open.last_mut() else { return Ok(()) };
    level.0 += operators;
    if level.0 > CHAIN_MAX { Err(too_long(token)) } else { Ok(()) }
}

fn too_long(token: &TokenWithSpan) -> Diagnostic {
    Diagnostic::at(token.span, format!("more than {CHAIN_MAX} operators in one expression"))
        .with_hint("write a long OR as x IN (a, b, ...)")
}
