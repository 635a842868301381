//! Limits on a statement that keep every later walk over its tree within the stack.
//!
//! sqlparser grows its stack while it parses, but dropping a tree, comparing it and rewriting it recurse plainly. Two
//! things make a tree deep: nesting, and chains of operators (`a + b + c` is nested to the left).

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::tokens::Parsed;
use crate::diagnostic::Diagnostic;

/// Brackets within brackets.
const NESTING_MAX: usize = 64;
/// Operators that build on each other: the depth of the tree that they make.
const DEPTH_MAX: usize = 300;

/// Columns of a table or of a SELECT: planning takes time and memory with the square of their number.
pub(super) const COLUMNS_MAX: usize = 4_000;

/// Words that join operands, but for AND and OR.
const OPERATORS: &[&str] = &["LIKE", "IS", "BETWEEN", "NOT", "IN", "SIMILAR", "AT", "COLLATE"];
/// Words that start a new expression.
const BREAKS: &[&str] =
    &["FROM", "WHERE", "HAVING", "GROUP", "ORDER", "LIMIT", "ON", "JOIN", "WHEN", "THEN", "ELSE", "AS"];

/// Operators by how strongly they bind: `a = 1 OR a = 2` is a chain of one OR, whatever stands in its terms.
#[derive(Clone, Copy)]
enum Binding {
    Or,
    And,
    Compare,
    Add,
    Multiply,
    Step,
}

/// What one open bracket holds so far.
#[derive(Default)]
struct Level {
    /// Length of the chain of each binding that is being built; looser ones first.
    chains: [usize; 6],
    /// Depth of the deepest operand of these chains that is complete.
    operand: usize,
    /// Depth of the deepest expression before the current one.
    deepest: usize,
    /// Set operations and joins: levels around everything in the bracket.
    chained: usize,
}

impl Level {
    fn operator(&mut self, binding: Binding) {
        let tighter = &mut self.chains[binding as usize + 1..];
        self.operand = self.operand.max(tighter.iter().sum());
        tighter.fill(0);
        self.chains[binding as usize] += 1;
    }

    fn break_expression(&mut self) {
        self.deepest = self.deepest.max(self.depth());
        self.chains.fill(0);
        self.operand = 0;
    }

    /// A bound on the depth of the tree of the current expression.
    fn depth(&self) -> usize {
        self.chains.iter().sum::<usize>() + self.operand
    }

    fn height(&self) -> usize {
        self.deepest.max(self.depth()) + self.chained
    }
}

pub(super) fn check(tokens: &[TokenWithSpan]) -> Parsed<()> {
    let mut outer: Vec<Level> = vec![];
    let mut level = Level::default();
    check_types(tokens)?;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                if outer.len() >= NESTING_MAX {
                    return Err(Diagnostic::at(token.span, format!("nested more than {NESTING_MAX} levels deep"))
                        .with_hint("split the statement: views and WITH give parts of it a name"));
                }
                // A subscript is a step of its own; so is a call behind a call.
                level.operator(Binding::Step);
                outer.push(std::mem::take(&mut level));
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                let inner = level.height() + 1;
                level = outer.pop().unwrap_or_default();
                level.operand = level.operand.max(inner);
            }
            Token::Comma => level.break_expression(),
            // The next INSERT of a statement set is a tree of its own.
            Token::SemiColon => level = Level::default(),
            Token::Word(Word { value, quote_style: None, .. }) => word(&mut level, value),
            Token::Whitespace(_) | Token::EOF | Token::Number(..) | Token::SingleQuotedString(_) | Token::Word(_) => {}
            Token::Plus | Token::Minus => level.operator(Binding::Add),
            Token::Mul | Token::Div | Token::Mod | Token::StringConcat => level.operator(Binding::Multiply),
            Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => {
                level.operator(Binding::Compare)
            }
            _ => level.operator(Binding::Step),
        }
        if level.height() > DEPTH_MAX {
            return Err(Diagnostic::at(
                token.span,
                format!("more than {DEPTH_MAX} operators build on each other here"),
            )
            .with_hint("write a long OR as x IN (a, b, ...); split a long expression into computed parts"));
        }
    }
    Ok(())
}

fn word(level: &mut Level, value: &str) {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(value));
    if is(&["UNION", "EXCEPT", "INTERSECT", "JOIN"]) {
        level.chained += 1;
    }
    if is(BREAKS) {
        level.break_expression();
    } else if is(&["OR"]) {
        level.operator(Binding::Or);
    } else if is(&["AND"]) {
        level.operator(Binding::And);
    } else if is(OPERATORS) {
        level.operator(Binding::Compare);
    }
}

/// `ARRAY<ARRAY<...`: sqlparser reads element types without a limit.
fn check_types(tokens: &[TokenWithSpan]) -> Parsed<()> {
    let mut open = 0usize;
    let mut behind_array = false;
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::Lt if behind_array => open += 1,
            Token::Gt => open = open.saturating_sub(1),
            _ => {}
        }
        behind_array = matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case("ARRAY"));
        if open > NESTING_MAX {
            return Err(Diagnostic::at(token.span, "the type is nested too deeply"));
        }
    }
    Ok(())
}
