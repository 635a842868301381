//! The text that is being written, the place in it, and what keys do to both.

use super::super::keys::Key;

/// A text and a cursor, which stands on a boundary of characters.
#[derive(Debug, Clone, Default)]
pub struct Buffer {
    text: String,
    cursor: usize,
    /// What was cut last, for Ctrl-Y.
    cut: String,
}

impl Buffer {
    /// With the cursor at the end.
    pub fn holding(text: String) -> Self {
        Self { cursor: text.len(), text, cut: String::new() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// In bytes.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    pub fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    /// Puts a text in the place of another; the cursor stands behind it.
    pub fn replace(&mut self, start: usize, end: usize, text: &str) {
        self.text.replace_range(start..end, text);
        self.cursor = start + text.len();
    }

    /// Keys that only edit.
    pub fn press(&mut self, key: Key) {
        match key {
            Key::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            // Other control characters could not be shown.
            Key::Paste(text) => {
                self.insert(&text.replace('\t', "  ").replace(|c: char| c.is_control() && c != '\n', ""));
            }
            Key::Backspace | Key::Ctrl('h') => self.remove(self.before(self.cursor), self.cursor),
            Key::Delete | Key::Ctrl('d') => self.remove(self.cursor, self.after(self.cursor)),
            Key::Left | Key::Ctrl('b') => self.cursor = self.before(self.cursor),
            Key::Right | Key::Ctrl('f') => self.cursor = self.after(self.cursor),
            Key::WordLeft => self.cursor = self.word_before(),
            Key::WordRight => self.cursor = self.word_after(),
            Key::Home | Key::Ctrl('a') => self.cursor = self.line_start(),
            Key::End | Key::Ctrl('e') => self.cursor = self.line_end(),
            Key::Ctrl('w') => self.cut(self.word_before(), self.cursor),
            Key::Alt('d') => self.cut(self.cursor, self.word_after()),
            Key::Ctrl('u') => self.cut(self.line_start(), self.cursor),
            Key::Ctrl('k') => self.cut(self.cursor, self.line_end()),
            Key::Ctrl('y') => {
                let cut = self.cut.clone();
                self.insert(&cut);
            }
            _ => {}
        }
    }

    /// A line up, unless this is the first.
    pub fn up(&mut self) -> bool {
        let start = self.line_start();
        if start == 0 {
            return false;
        }
        let column = self.text[start..self.cursor].chars().count();
        let above = self.text[..start - 1].rfind('\n').map_or(0, |at| at + 1);
        self.cursor = at_column(&self.text, above, start - 1, column);
        true
    }

    /// A line down, unless this is the last.
    pub fn down(&mut self) -> bool {
        let end = self.line_end();
        if end == self.text.len() {
            return false;
        }
        let column = self.text[self.line_start()..self.cursor].chars().count();
        let below_end = self.text[end + 1..].find('\n').map_or(self.text.len(), |at| end + 1 + at);
        self.cursor = at_column(&self.text, end + 1, below_end, column);
        true
    }

    fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }

    fn before(&self, at: usize) -> usize {
        self.text[..at].char_indices().next_back().map_or(0, |(start, _)| start)
    }

    fn after(&self, at: usize) -> usize {
        self.text[at..].chars().next().map_or(at, |c| at + c.len_utf8())
    }

    fn word_before(&self) -> usize {
        let text = self.text[..self.cursor].trim_end_matches(|c: char| !is_of_word(c));
        text.trim_end_matches(is_of_word).len()
    }

    fn word_after(&self) -> usize {
        let rest = &self.text[self.cursor..];
        let word = rest.trim_start_matches(|c: char| !is_of_word(c));
        self.text.len() - word.trim_start_matches(is_of_word).len()
    }

    fn remove(&mut self, start: usize, end: usize) {
        self.text.replace_range(start..end, "");
        self.cursor = start;
    }

    fn cut(&mut self, start: usize, end: usize) {
        self.cut = self.text[start..end].to_string();
        self.remove(start, end);
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn at_column(text: &str, start: usize, end: usize, column: usize) -> usize {
    text[start..end].char_indices().nth(column).map_or(end, |(offset, _)| start + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str, keys: &[Key]) -> (String, usize) {
        let mut buffer = Buffer::holding(text.to_string());
        keys.iter().for_each(|key| buffer.press(key.clone()));
        (buffer.text().to_string(), buffer.cursor())
    }

    #[test]
    fn keys_edit() {
        use Key::{Backspace, Char, Ctrl, Delete, Home, Left, Paste, WordLeft, WordRight};
        let cases: &[(&str, &[Key], &str, usize)] = &[
            ("aé", &[Backspace, Char('ü')], "aü", 3),
            ("ab", &[Left, Left, Left, Delete], "b", 0),
            ("a b.c", &[WordLeft, WordLeft, Char('x')], "a xb.c", 3),
            ("ab cd", &[Ctrl('w'), Ctrl('a'), Ctrl('y')], "cdab ", 2),
            ("ab\ncd", &[Home, Ctrl('k')], "ab\n", 3),
            ("ab\ncd", &[Ctrl('u'), Backspace], "ab", 2),
            ("x", &[Paste("a\tb\u{7}\nc".into())], "xa  b\nc", 7),
            ("a b", &[Ctrl('a'), WordRight], "a b", 1),
            ("", &[Backspace, Delete, Left, WordLeft, WordRight, Ctrl('k')], "", 0),
        ];
        for (text, keys, expected, cursor) in cases {
            assert_eq!(after(text, keys), (expected.to_string(), *cursor), "{text:?} {keys:?}");
        }
    }

    #[test]
    fn the_cursor_moves_between_lines() {
        let mut buffer = Buffer::holding("abc\né\nxyz".into());
        assert!(buffer.up() && buffer.cursor() == 6, "{}", buffer.cursor());
        assert!(buffer.up() && buffer.cursor() == 1 && !buffer.up());
        assert!(buffer.down() && buffer.cursor() == 6 && buffer.down() && !buffer.down());
    }
}
