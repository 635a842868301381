//! Guesses the next key of a JSON record from the records before it.

use std::collections::HashMap;

use super::cursor::{Cursor, Nesting};
use super::shape::{Literal, Shape};
use super::value::Reading;
use crate::format::flaw::Parsed;

/// Keys seen so far, each with the key that followed it last time. Most records look like the one before, so the text
/// from one value to the next is compared as a whole instead of being read.
#[derive(Debug)]
pub(in crate::format) struct Keys {
    known: Vec<KnownKey>,
    by_text: HashMap<Box<[u8]>, usize>,
    columns: HashMap<Box<[u8]>, usize>,
}

#[derive(Debug)]
struct KnownKey {
    /// From behind the comma or brace to the value: the key, its colon, and white space as written.
    text: Literal,
    /// The column that the key names, if it is read.
    column: Option<usize>,
    /// If it is not: what its value looks like with all keys behind it that are not read either, and the last of those.
    unread: Shape,
    last_unread: usize,
    /// What followed last, and before that.
    next: [usize; 2],
}

impl KnownKey {
    fn new(text: &[u8], column: Option<usize>) -> Self {
        Self {
            text: Literal::new(text),
            column,
            unread: Shape::default(),
            last_unread: Keys::START,
            next: [Keys::START; 2],
        }
    }
}

/// Keys that are remembered; documents that use data as keys must not fill the memory.
const KEYS_MAX: usize = 1024;
/// Longest key text that is remembered.
const KEY_BYTES_MAX: usize = 128;
/// Never occurs in UTF-8, so it matches nothing.
const NO_TEXT: &[u8] = b"\xFF";

impl Keys {
    /// Stands for the beginning of a record.
    const START: usize = 0;
    /// Stands for every key that is not remembered and names no column; with a column: [`Keys::OTHER`] + 1 + column.
    const OTHER: usize = 1;

    pub(in crate::format) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let columns: HashMap<Box<[u8]>, usize> =
            names.enumerate().map(|(index, name)| (name.as_bytes().into(), index)).collect();
        let unmatched = |column| KnownKey::new(NO_TEXT, column);
        let mut known = vec![unmatched(None), unmatched(None)];
        known.extend((0..columns.len()).map(|column| unmatched(Some(column))));
        Self { known, by_text: HashMap::new(), columns }
    }

    /// Reads an object whose brace comes next: `read` reads the values of keys that name columns, the others are passed over.
    #[inline(always)]
    pub(super) fn read_object(
        &mut self,
        cursor: &mut Cursor<'_>,
        reading: &mut Reading,
        mut read: impl FnMut(usize, &mut Cursor<'_>, &mut Reading) -> Parsed<()>,
    ) -> Parsed<()> {
        cursor.at += 1;
        cursor.space();
        let mut key = Self::START;
        let mut more = !cursor.eat(b'}');
        while more {
            key = self.next(key, cursor)?;
            // A known text may stand before more white space than it had when it was learnt.
            cursor.space();
            match self.known[key].column {
                None => key = self.pass(key, cursor, &mut reading.nesting)?,
                Some(column) => read(column, cursor, reading)?,
            }
            cursor.space();
            more = match cursor.peek() {
                b',' => true,
                b'}' => false,
                _ => return Err(cursor.unexpected("',' or '}'")),
            };
            cursor.at += 1;
        }
        Ok(())
    }

    /// Passes over the value that comes next, of a key that is not read, and over those of keys behind it that are not read either; gives
    /// the last of them.
    #[inline(always)]
    fn pass(&mut self, key: usize, cursor: &mut Cursor<'_>, nesting: &mut Nesting) -> Parsed<usize> {
        let known = &mut self.known[key];
        if known.unread.eat(cursor) {
            return Ok(known.last_unread);
        }
        if known.unread.is_learning() {
            return self.pass_and_learn(key, cursor, nesting);
        }
        cursor.skip(nesting).map(|_| key)
    }

    fn pass_and_learn(&mut self, first: usize, cursor: &mut Cursor<'_>, nesting: &mut Nesting) -> Parsed<usize> {
        let (start, mut last) = (cursor.at, first);
        cursor.skip(nesting)?;
        loop {
            let end = cursor.at;
            cursor.space();
            let next = if cursor.eat(b',') { Some(self.next(last, cursor)?) } else { None };
            match next.filter(|next| self.known[*next].column.is_none()) {
                Some(next) => {
                    last = next;
                    cursor.space();
                    cursor.skip(nesting)?;
                }
                None => {
                    cursor.at = end;
                    break;
                }
            }
        }
        let known = &mut self.known[first];
        if known.unread.meet(&cursor.bytes[start..cursor.at]) {
            known.last_unread = last;
        }
        Ok(last)
    }

    /// Takes the next key up to its value.
    #[inline]
    fn next(&mut self, previous: usize, cursor: &mut Cursor<'_>) -> Parsed<usize> {
        let [likely, other] = self.known[previous].next;
        if self.known[likely].text.eat(cursor) {
            return Ok(likely);
        }
        if self.known[other].text.eat(cursor) {
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
        self.known.push(KnownKey::new(text, column));
        self.by_text.insert(text.into(), self.known.len() - 1);
        self.known.len() - 1
    }
}
