//! The stored form of a join's rows: one entry per bucket. A bucket is what one row has to itself where a side only adds
//! rows or they have a unique key, and is told by a hash otherwise; so it mostly holds one row, and a few where hashes are
//! equal or a key is not as unique as it was said to be.
//!
//! Key of an entry: the side and the join key as a frame, and what tells the bucket unless there is one per join key. Value:
//! for each row its count, matches, time of last change and length, then its bytes.

use crate::operators::note::{NoteReader, NoteWriter};
use crate::state::{FramedKey, unframe};
use crate::{EngineError, Result};

/// What tells the buckets of a side apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// The join key alone: it contains a unique key.
    OnePerKey,
    /// A hash of the unique key's columns, or of the whole row.
    ByHash,
    /// The number of the row, in order of arrival: none is ever searched by what it says.
    ByArrival,
}

impl Buckets {
    /// What an entry's key has of the bucket's hash or number.
    pub fn suffix(self, bucket: &[u8; 8]) -> &[u8] {
        match self {
            Self::OnePerKey => &[],
            Self::ByHash | Self::ByArrival => bucket,
        }
    }
}

/// A row of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRow<'a> {
    pub count: i64,
    pub matches: i64,
    pub used_at_ms: i64,
    pub bytes: &'a [u8],
}

impl StoredRow<'_> {
    pub fn write(&self, value: &mut Vec<u8>) {
        debug_assert!(self.count > 0, "a row that is kept is there");
        let mut numbers = NoteWriter::behind(std::mem::take(value));
        let length = self.bytes.len() as i64;
        [self.count, self.matches, self.used_at_ms, length].iter().for_each(|number| numbers.push(*number));
        *value = numbers.finish();
        value.extend_from_slice(self.bytes);
    }
}

/// The rows of an entry's value.
pub fn rows(value: &[u8]) -> impl Iterator<Item = Result<StoredRow<'_>>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        (!rest.is_empty()).then(|| {
            let read = read_row(rest);
            rest = read.as_ref().map_or(&[], |(_, behind)| behind);
            read.map(|(row, _)| row)
        })
    })
}

fn read_row(bytes: &[u8]) -> Result<(StoredRow<'_>, &[u8])> {
    let mut numbers = NoteReader::new(bytes);
    let (count, matches, used_at_ms) = (numbers.read()?, numbers.read()?, numbers.read()?);
    let length = usize::try_from(numbers.read()?).map_err(|_| damaged())?;
    let (bytes, behind) = numbers.rest().split_at_checked(length).ok_or_else(damaged)?;
    if count < 1 {
        return Err(damaged());
    }
    Ok((StoredRow { count, matches, used_at_ms, bytes }, behind))
}

/// The key of an entry, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryKey<'a> {
    pub side: usize,
    pub join_key: &'a [u8],
    /// Hash or number; `None` where the join key has one bucket.
    pub bucket: Option<u64>,
}

pub fn read_key(key: &[u8]) -> Result<EntryKey<'_>> {
    let FramedKey { kind, part, rest } = unframe(key).filter(|key| key.kind < 2).ok_or_else(damaged)?;
    let bucket = match rest {
        [] => None,
        rest => Some(u64::from_be_bytes(rest.try_into().map_err(|_| damaged())?)),
    };
    Ok(EntryKey { side: usize::from(kind), join_key: part, bucket })
}

fn damaged() -> EngineError {
    EngineError::State("an entry of a join cannot be read".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::frame;

    #[test]
    fn what_is_written_is_read() {
        let row = |count, bytes| StoredRow { count, matches: 3, used_at_ms: 1_700_000_000_000, bytes };
        let list = [row(1, &b"one"[..]), row(1 << 40, b""), row(2, b"three")];
        let mut value = Vec::new();
        list.iter().for_each(|row| row.write(&mut value));
        assert_eq!(rows(&value).map(|row| row.unwrap()).collect::<Vec<_>>(), list);
        assert!(rows(&value[..value.len() - 1]).last().is_some_and(|row| row.is_err()));
        let key = |side, rest: &[u8]| [&frame(side, b"key"), rest].concat();
        let read = |side, bucket| EntryKey { side, join_key: b"key", bucket };
        assert_eq!(read_key(&key(1, &[])).unwrap(), read(1, None));
        assert_eq!(read_key(&key(0, &[0, 0, 0, 0, 0, 0, 1, 2])).unwrap(), read(0, Some(258)));
        for bad in [key(2, &[]), key(0, &[1]), Vec::new()] {
            assert!(read_key(&bad).is_err(), "{bad:?}");
        }
    }
}
