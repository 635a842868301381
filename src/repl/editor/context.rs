//! Where in a statement the cursor stands: which tables it reads, which option is being written, which function is called.

use super::lexer::{Kind, Piece, pieces};
use super::vocabulary::{Vocabulary, is_keyword};

/// A statement up to the cursor and behind it, in pieces that are neither blanks nor comments.
pub struct Context<'t> {
    text: &'t str,
    before: Vec<Piece>,
    all: Vec<Piece>,
}

impl<'t> Context<'t> {
    /// `upto`: where the word under the cursor begins.
    pub fn of(text: &'t str, upto: usize) -> Self {
        // Only the statement around the cursor counts.
        let cut = pieces(text);
        let start =
            cut.iter().filter(|piece| piece.range.end <= upto && piece.text(text) == ";").map(|piece| piece.range.end);
        let start = start.max().unwrap_or(0);
        let said = |piece: &Piece| !matches!(piece.kind, Kind::Blank | Kind::Comment) && piece.range.start >= start;
        let all: Vec<Piece> = cut.into_iter().filter(said).collect();
        let before = all.iter().filter(|piece| piece.range.end <= upto).cloned().collect();
        Self { text, before, all }
    }

    /// The piece that stands so many pieces before the cursor; 0 is the last.
    pub fn back(&self, count: usize) -> &'t str {
        let index = self.before.len().checked_sub(count + 1);
        index.map_or("", |index| self.before[index].text(self.text))
    }

    pub fn is_behind(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.back(0).eq_ignore_ascii_case(word))
    }

    pub fn begins_with(&self, words: &[&str]) -> bool {
        let first = self.all.first().map_or("", |piece| piece.text(self.text));
        words.iter().any(|word| first.eq_ignore_ascii_case(word))
    }

    pub fn is_empty(&self) -> bool {
        self.before.is_empty()
    }

    /// The value of an option anywhere in the statement.
    pub fn option(&self, key: &str) -> Option<&'t str> {
        let texts: Vec<&'t str> = self.all.iter().map(|piece| piece.text(self.text)).collect();
        texts.windows(3).find(|window| plain(window[0]) == key && window[1] == "=").map(|window| plain(window[2]))
    }

    /// Tables that are read, with the names that they go by.
    pub fn tables(&self) -> Vec<(&'t str, &'t str)> {
        let texts: Vec<&'t str> = self.all.iter().map(|piece| piece.text(self.text)).collect();
        let mut tables = Vec::new();
        for (index, word) in texts.iter().enumerate() {
            let opens =
                ["FROM", "JOIN", "INTO", "TABLE", "UPDATE"].iter().any(|opener| word.eq_ignore_ascii_case(opener));
            let Some(name) = texts.get(index + 1).filter(|name| opens && is_name(name)) else { continue };
            let named = match texts.get(index + 2) {
                Some(word) if word.eq_ignore_ascii_case("AS") => texts.get(index + 3),
                other => other,
            };
            let alias = named.filter(|alias| is_name(alias)).unwrap_or(name);
            tables.push((plain(name), plain(alias)));
        }
        tables
    }
}

/// A word that is no keyword, or a name in backticks.
fn is_name(text: &str) -> bool {
    text.starts_with('`') || (text.starts_with(|c: char| c.is_alphabetic() || c == '_') && !is_keyword(text))
}

/// Without its quotes.
fn plain(text: &str) -> &str {
    text.trim_matches(['\'', '`'])
}

/// How the function is called in whose parentheses the cursor stands.
pub fn usage(text: &str, cursor: usize, words: &Vocabulary) -> Option<String> {
    let context = Context::of(text, cursor);
    let mut open = 0;
    for (index, piece) in context.before.iter().enumerate().rev() {
        match piece.text(text) {
            ")" => open += 1,
            "(" if open > 0 => open -= 1,
            "(" => {
                let name = context.before.get(index.checked_sub(1)?)?;
                return words.usage(name.text(text)).map(str::to_string).filter(|_| name.kind == Kind::Word);
            }
            _ => {}
        }
    }
    None
}
