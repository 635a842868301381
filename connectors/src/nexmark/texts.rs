//! Columns of random text, filled byte by byte without a string per value.

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use std::sync::Arc;

use tidemill_engine::Result;

use crate::random;

/// Letters that one random word gives.
const LETTERS_PER_WORD: u64 = 8;
/// Shortest random phrase.
const PHRASE_MIN: u64 = 3;

/// A text column being made.
pub struct Texts {
    bytes: Vec<u8>,
    /// Of the ends of the values, after a leading 0.
    ends: Vec<i32>,
}

impl Texts {
    pub fn with_capacity(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self { bytes: Vec::new(), ends }
    }

    /// Adds to the value that is being written.
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Lower-case letters, 8 per derived word.
    pub fn letters(&mut self, word: u64, length: u64) {
        for at in 0..length.div_ceil(LETTERS_PER_WORD) {
            let count = (length - at * LETTERS_PER_WORD).min(LETTERS_PER_WORD) as usize;
            let drawn = random::nth(word, at).to_le_bytes();
            self.bytes.extend(drawn[..count].iter().map(|byte| letter(*byte)));
        }
    }

    /// Letters with `gap` in about one of 13 places, shorter than `length_max`.
    pub fn phrase(&mut self, word: u64, length_max: u64, gap: u8) {
        let length = PHRASE_MIN + random::below(word, length_max - PHRASE_MIN);
        let first = self.bytes.len();
        self.letters(word, length);
        for at in 1..length.saturating_sub(1) {
            if random::below(random::nth(word, LETTERS_PER_WORD * length_max + at), 13) == 0 {
                self.bytes[first + at as usize] = gap;
            }
        }
    }

    /// Four digits.
    pub fn digits(&mut self, word: u64) {
        let number = random::below(word, 10_000);
        self.bytes.extend([1000, 100, 10, 1].map(|unit| b'0' + (number / unit % 10) as u8));
    }

    /// Letters that bring an event of `size` bytes to about `average`, give or take a fifth of the letters.
    pub fn filler(&mut self, word: u64, size: u64, average: u64) {
        let room = average.saturating_sub(size);
        let spread = room / 5;
        let length = room - spread + random::below(random::nth(word, u64::MAX), (2 * spread).max(1));
        self.letters(word, length);
    }

    /// Ends the value.
    pub fn end(&mut self) {
        // A batch has some thousand values of at most `SIZE_MAX` bytes: far from 2 GB.
        self.ends.push(i32::try_from(self.bytes.len()).expect("a batch of text stays below 2 GB"));
    }

    pub fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let ends = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        Ok(Arc::new(StringArray::try_new(ends, Buffer::from_vec(self.bytes), nulls)?))
    }
}

fn letter(byte: u8) -> u8 {
    b'a' + ((u16::from(byte) * 26) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn texts_have_their_lengths() {
        let mut texts = Texts::with_capacity(300);
        for key in 0..100 {
            texts.letters(random::word(1, key), key);
            texts.end();
            texts.phrase(random::word(2, key), 20, b' ');
            texts.end();
            texts.filler(random::word(3, key), 32, 100);
            texts.end();
        }
        let array = texts.finish(None).expect("an array");
        let array = array.as_string::<i32>();
        let mut gaps = 0;
        for row in 0..100 {
            assert_eq!(array.value(row * 3).len(), row);
            let phrase = array.value(row * 3 + 1);
            assert!((3..20).contains(&phrase.len()) && phrase.trim() == phrase, "{phrase:?}");
            gaps += phrase.matches(' ').count();
            assert!((55..=81).contains(&array.value(row * 3 + 2).len()));
        }
        assert!((30..120).contains(&gaps), "{gaps}");
    }
}
