//! The small notes that operators keep beside their keyed state: lists of whole numbers, packed.

use super::row_codec::Number;
use crate::{EngineError, Result};

/// Appends whole numbers; small ones take little room.
#[derive(Default)]
pub struct NoteWriter {
    bytes: Vec<u8>,
}

impl NoteWriter {
    /// Goes on behind these bytes.
    pub fn behind(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub fn push(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest >= 0x80 {
            self.bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }

    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what a [`NoteWriter`] wrote.
pub struct NoteReader<'a> {
    bytes: &'a [u8],
}

impl<'a> NoteReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is behind the numbers read so far.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn read(&mut self) -> Result<i64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.bytes.split_first().ok_or_else(damaged)?;
            self.bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(damaged())
    }
}

fn damaged() -> EngineError {
    EngineError::State("an operator's note cannot be read: it was written by another version".into())
}

/// A number as eight bytes that sort as the number does.
pub fn sortable(value: i64) -> [u8; 8] {
    value.to_sortable()
}

/// The number that [`sortable`] wrote.
pub fn from_sortable(bytes: [u8; 8]) -> i64 {
    i64::from_sortable(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_damage_is_an_error() {
        let numbers = [0, 1, -1, 63, -64, 64, i64::MIN, i64::MAX, 1_700_000_000_000];
        let mut writer = NoteWriter::default();
        numbers.iter().for_each(|number| writer.push(*number));
        let bytes = writer.finish();
        let mut reader = NoteReader::new(&bytes);
        numbers.iter().for_each(|number| assert_eq!(reader.read().unwrap(), *number));
        assert!(reader.is_at_end() && reader.read().is_err());
        assert!(NoteReader::new(&[0xff; 12]).read().is_err());
    }

    #[test]
    fn sortable_bytes_sort_as_numbers() {
        let numbers = [i64::MIN, -5, -1, 0, 1, 300, i64::MAX];
        assert!(numbers.map(sortable).is_sorted());
        assert_eq!(numbers.map(|number| from_sortable(sortable(number))), numbers);
    }
}
