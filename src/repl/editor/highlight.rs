//! The colours of a text that is being written.

use std::ops::Range;
use std::sync::LazyLock;

use super::lexer::{Kind, Piece, pieces};
use super::vocabulary::{Vocabulary, is_keyword};

const KEYWORD: &str = "\x1b[1;34m";
const TEXT: &str = "\x1b[32m";
const NUMBER: &str = "\x1b[36m";
const FUNCTION: &str = "\x1b[33m";
const COMMENT: &str = "\x1b[90m";
const COMMAND: &str = "\x1b[35m";
const PLAIN: &str = "";

/// <https://no-color.org>
static COLOURED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()));

/// Ranges of the text with the escape sequence that colours each; together they are all of it.
pub fn colours(text: &str, words: &Vocabulary) -> Vec<(Range<usize>, &'static str)> {
    if !*COLOURED {
        return vec![(0..text.len(), PLAIN)];
    }
    if text.trim_start().starts_with('\\') {
        return vec![(0..text.len(), COMMAND)];
    }
    let pieces = pieces(text);
    let colour = |index: usize, piece: &Piece| match piece.kind {
        Kind::Text { .. } => TEXT,
        Kind::Number => NUMBER,
        Kind::Comment => COMMENT,
        Kind::Word if is_keyword(piece.text(text)) => KEYWORD,
        Kind::Word if is_call(text, &pieces[index + 1..]) && words.is_function(piece.text(text)) => FUNCTION,
        _ => PLAIN,
    };
    pieces.iter().enumerate().map(|(index, piece)| (piece.range.clone(), colour(index, piece))).collect()
}

fn is_call(text: &str, behind: &[Piece]) -> bool {
    behind.first().is_some_and(|piece| piece.text(text) == "(")
}
