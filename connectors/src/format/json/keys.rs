//! Guesses the next key of a JSON record from the records before it.

use std::collections::HashMap;

use super::cursor::Cursor;
use crate::format::flaw::Parsed;

/// Keys seen so far, each with the key that followed it last time. Most records look like the one before, so the text
/// from one value to the next is compared as a whole instead of being read.
pub(super) struct Keys {
    known: Vec<KnownKey>,
    by_text: HashMap<Box<[u8]>, usize>,
    columns: HashMap<Box<[u8]>, usize>,
}

struct KnownKey {
    /// From behind the comma or brace to the value: the key, its colon, and white space as written.
    text: Box<[u8]>,
    /// The column that the key names, if it is read.
    column: Option<usize>,
    /// What followed last, and before that.
    next: [usize; 2],
}

/// Keys that are remembered; documents that use data as keys must not fill the memory.
const KEYS_MAX: usize = 1024;
/// Longest key text that is remembered.
const KEY_BYTES_MAX: usize = 128;
/// Never occurs in UTF-8, so it matches nothing.
const NO_TEXT: &[u8] = b"\xFF";

impl Keys {
    /// Stands for the beginning of a record.
    pub(super) const START: usize = 0;
    /// Stands for every key that is not remembered and names no column; with a column: [`Keys::OTHER`] + 1 + column.
    const OTHER: usize = 1;

    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let columns: HashMap<Box<[u8]>, usize> =
            names.enumerate().map(|(index, name)| (name.as_bytes().into(), index)).collect();
        let unmatched = |column| KnownKey { text: NO_TEXT.into(), column, next: [Self::START; 2] };
        let mut known = vec![unmatched(None), unmatched(None)];
        known.extend((0..columns.len()).map(|column| unmatched(Some(column))));
        Self { known, by_text: HashMap::new(), columns }
    }

    /// The column that a key names, if it is read.
    #[inline(always)]
    pub(super) fn column(&self, key: usize) -> Option<usize> {
        self.known[key].column
    }

    /// Takes the next key up to its value.
    #[inline]
    pub(super) fn next(&mut self, previous: usize, cursor: &mut Cursor<'_>) -> Parsed<usize> {
        let [likely, other] = self.known[previous].next;
        if cursor.eat_all(&self.known[likely].text) {
            return Ok(likely);
        }
        if cursor.eat_all(&self.known[other].text) {
            self.known[previous].next = [other, likely];
            return Ok(other);
        }
        self.read(previous, cursor)
    }

    fn read(&mut self, previous: usize, cursor: &mut Cursor<'_>) -> Parsed<usize> {
        let start = cursor.at;
        cursor.space();
        let key = cursor.key_and_colon()?;
        let text = &cursor.bytes[start..cursor.at];
        let found = match self.by_text.get(text) {
            Some(found) => *found,
            None if key.escaped => {
                let mut name = Vec::new();
                key.append_to(&mut name);
                return Ok(self.unremembered(&name));
            }
            None if text.len() > KEY_BYTES_MAX || self.known.len() >= KEYS_MAX + self.columns.len() => {
                return Ok(self.unremembered(key.raw));
            }
            None => self.remember(text, key.raw),
        };
        let likely = self.known[previous].next[0];
        self.known[previous].next = [found, likely];
        Ok(found)
    }

    fn unremembered(&self, name: &[u8]) -> usize {
        self.columns.get(name).map_or(Self::OTHER, |column| Self::OTHER + 1 + column)
    }

    fn remember(&mut self, text: &[u8], name: &[u8]) -> usize {
        let column = self.columns.get(name).copied();
        self.known.push(KnownKey { text: text.into(), column, next: [Self::START; 2] });
        self.by_text.insert(text.into(), self.known.len() - 1);
        self.known.len() - 1
    }
}
