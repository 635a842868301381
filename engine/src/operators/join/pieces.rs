//! Memory that grows by pieces of one size: nothing that it has is copied, so that no row has to wait while much is.

use std::ops::{Index, IndexMut};

/// Values of a piece; a power of two.
const VALUES: usize = if cfg!(test) { 4 } else { 4 << 10 };

/// Bytes of a piece.
const BYTES: usize = if cfg!(test) { 64 } else { 1 << 20 };

/// A list of values.
pub struct Pieces<T> {
    /// All but the last are full; none is empty.
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> Pieces<T> {
    pub fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * VALUES + last.len())
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn push(&mut self, value: T) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < VALUES => last.push(value),
            // The first grows as it is used, since there may be no second.
            None => self.pieces.push(vec![value]),
            Some(_) => {
                let mut piece = Vec::with_capacity(VALUES);
                piece.push(value);
                self.pieces.push(piece);
            }
        }
    }

    pub fn pop(&mut self) -> Option<T> {
        let last = self.pieces.last_mut()?;
        let value = last.pop();
        if last.is_empty() {
            self.pieces.pop();
        }
        value
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum::<usize>() * size_of::<T>()
    }
}

impl<T> Index<usize> for Pieces<T> {
    type Output = T;

    #[inline]
    fn index(&self, place: usize) -> &T {
        &self.pieces[place / VALUES][place % VALUES]
    }
}

impl<T> IndexMut<usize> for Pieces<T> {
    #[inline]
    fn index_mut(&mut self, place: usize) -> &mut T {
        &mut self.pieces[place / VALUES][place % VALUES]
    }
}

/// Strings of bytes, one behind the other.
#[derive(Default)]
pub struct BytePieces {
    /// Each holds whole strings; one that is longer than a piece has one of its own.
    pieces: Vec<Vec<u8>>,
}

/// Where a string of [`BytePieces`] stands.
#[derive(Debug, Clone, Copy)]
pub struct BytePlace {
    piece: u32,
    start: u32,
    length: u32,
}

impl BytePlace {
    pub fn len(self) -> usize {
        self.length as usize
    }
}

impl BytePieces {
    /// Panics where one string has 4 GB or more.
    pub fn push(&mut self, bytes: &[u8]) -> BytePlace {
        let length = u32::try_from(bytes.len()).expect("a row of a batch has less than 4 GB");
        let has_room = |piece: &Vec<u8>| piece.is_empty() || piece.len() + bytes.len() <= BYTES;
        if !self.pieces.last().is_some_and(has_room) {
            let capacity = if self.pieces.is_empty() { bytes.len() } else { BYTES.max(bytes.len()) };
            self.pieces.push(Vec::with_capacity(capacity));
        }
        let number = self.pieces.len() - 1;
        let piece = &mut self.pieces[number];
        let start = piece.len() as u32;
        piece.extend_from_slice(bytes);
        BytePlace { piece: number as u32, start, length }
    }

    #[inline]
    pub fn get(&self, place: BytePlace) -> &[u8] {
        &self.pieces[place.piece as usize][place.start as usize..][..place.length as usize]
    }

    /// Takes away a string and all that came behind it.
    pub fn truncate(&mut self, first: BytePlace) {
        let BytePlace { piece, start, .. } = first;
        self.pieces.truncate(piece as usize + 1);
        self.pieces[piece as usize].truncate(start as usize);
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_places() {
        let mut values = Pieces::default();
        for count in 0..3 * VALUES {
            assert_eq!((values.len(), values.is_empty()), (count, count == 0));
            values.push(count);
        }
        values[VALUES] += 100;
        assert_eq!((values[VALUES - 1], values[VALUES], values[VALUES + 1]), (VALUES - 1, VALUES + 100, VALUES + 1));
        assert_eq!(values.size_bytes(), 3 * VALUES * size_of::<usize>());
        for count in (0..3 * VALUES).rev() {
            assert_eq!(values.pop(), Some(if count == VALUES { count + 100 } else { count }));
            assert_eq!(values.len(), count);
        }
        assert_eq!(values.pop(), None);
    }

    #[test]
    fn strings_of_any_length_are_whole_and_go_from_the_end() {
        let strings: Vec<Vec<u8>> = (0..=255).map(|number| vec![number; number as usize * 7 % 150]).collect();
        let mut bytes = BytePieces::default();
        let places: Vec<BytePlace> = strings.iter().map(|string| bytes.push(string)).collect();
        for left in (0..strings.len()).rev().step_by(5) {
            assert!(strings.iter().zip(&places).take(left + 1).all(|(string, place)| bytes.get(*place) == &string[..]));
            assert_eq!(places[left].len(), strings[left].len());
            assert!(bytes.size_bytes() >= strings.iter().take(left + 1).map(Vec::len).sum());
            bytes.truncate(places[left]);
            // Its place is free again.
            let place = bytes.push(&strings[left]);
            assert_eq!(bytes.get(place), &strings[left][..]);
            bytes.truncate(place);
        }
    }
}
