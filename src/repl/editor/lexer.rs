//! A text that is still being written, cut into the pieces that colours and completion go by. Any text can be cut.

use std::ops::Range;

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Word,
    /// In backticks; `closed` or not.
    Name {
        closed: bool,
    },
    /// In single quotes.
    Text {
        closed: bool,
    },
    Number,
    Comment,
    Blank,
    /// One character of anything else.
    Sign,
}

/// A piece and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub kind: Kind,
    pub range: Range<usize>,
}

impl Piece {
    pub fn text<'t>(&self, text: &'t str) -> &'t str {
        &text[self.range.clone()]
    }
}

/// All of the text, piece by piece.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while let Some(first) = text[start..].chars().next() {
        let (kind, length) = piece(&text[start..], first);
        pieces.push(Piece { kind, range: start..start + length });
        start += length;
    }
    pieces
}

fn piece(rest: &str, first: char) -> (Kind, usize) {
    let run = |fits: fn(char) -> bool| rest.find(|c| !fits(c)).unwrap_or(rest.len());
    match first {
        '\'' => {
            let (closed, length) = quoted(rest, '\'');
            (Kind::Text { closed }, length)
        }
        '`' => {
            let (closed, length) = quoted(rest, '`');
            (Kind::Name { closed }, length)
        }
        _ if rest.starts_with("--") => (Kind::Comment, rest.find('\n').unwrap_or(rest.len())),
        _ if rest.starts_with("/*") => (Kind::Comment, rest.find("*/").map_or(rest.len(), |end| end + 2)),
        c if c.is_whitespace() => (Kind::Blank, run(char::is_whitespace)),
        c if c.is_ascii_digit() => (Kind::Number, run(|c| c.is_ascii_digit() || c == '.')),
        c if is_of_word(c) => (Kind::Word, run(is_of_word)),
        c => (Kind::Sign, c.len_utf8()),
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// A doubled quote stands for itself.
fn quoted(rest: &str, quote: char) -> (bool, usize) {
    let mut at = 1;
    while let Some(found) = rest[at..].find(quote) {
        at += found + 1;
        if !rest[at..].starts_with(quote) {
            return (true, at);
        }
        at += 1;
    }
    (false, rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_text() {
        for text in ["SELECT a, 'x''y', `b c` -- é\nFROM t /* open", "'open", "`", "", "--", "1.5e 日本 $x;", "''''"]
        {
            let cut = pieces(text);
            assert_eq!(cut.iter().map(|piece| piece.text(text)).collect::<String>(), text);
            assert!(cut.iter().all(|piece| !piece.range.is_empty()));
        }
        assert_eq!(pieces("'a''")[0].kind, Kind::Text { closed: false });
        assert_eq!(pieces("'a'''")[0].kind, Kind::Text { closed: true });
    }
}
