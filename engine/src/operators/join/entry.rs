//! The stored form of a join's rows: one entry per bucket. A bucket is what one row has to itself where it may change or has a
//! unique key, and is told by a hash otherwise; so it mostly holds one row, and a few where hashes are equal or a key is not as unique
//! as it was said to be. Rows that only come and never change share one where they are written together.
//!
//! Key of an entry: the side and the join key as a frame, and what tells the bucket unless there is one per join key. Where rows are
//! kept by spans of time, that of the row stands before the join key. Value:
//! for each row its count, matches, time of last change and length, then its bytes.

use std::cmp::Ordering;

use crate::keys::KeyGroup;
use crate::operators::note::{NoteReader, NoteWriter, sortable};
use crate::state::{FramedKey, FramedReads, KeyedState, Visit, push_frame, unframe};
use crate::{EngineError, Result};

/// Of a bucket's hash or number in a key.
pub const BUCKET_BYTES: usize = 8;

/// What tells the buckets of a side apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// The join key alone: it contains a unique key.
    OnePerKey,
    /// A hash of the unique key's columns, or of the whole row.
    ByHash,
    /// The number of the row, in order of arrival: none is ever searched by what it says.
    ByArrival,
    /// The number of the first of several rows, in order of arrival, which were written together and never change.
    Packed,
}

impl Buckets {
    /// True where rows are added without a look at the others of their keys.
    pub fn only_adds(self) -> bool {
        matches!(self, Self::ByArrival | Self::Packed)
    }

    /// What an entry's key has of the bucket's hash or number.
    pub fn suffix(self, bucket: &[u8; BUCKET_BYTES]) -> &[u8] {
        match self {
            Self::OnePerKey => &[],
            Self::ByHash | Self::ByArrival | Self::Packed => bucket,
        }
    }
}

/// Rows that share an entry take up to so many bytes: enough for its key to be little beside them, less than a block of a table file.
pub const PACKED_BYTES_MAX: usize = if cfg!(test) { 400 } else { 4 << 10 };

/// Parts the rows of a key, by what each takes in an entry, into those that are written together: gives how many of the first share one.
pub fn packed_rows(sizes: impl Iterator<Item = usize>) -> usize {
    let ends = sizes.scan(0, |end, size| {
        *end += size;
        Some(*end)
    });
    ends.take_while(|end| *end <= PACKED_BYTES_MAX).count().max(1)
}

/// What the frames of a side's entries begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frames {
    side: u8,
    /// The span of time, where rows are kept by such.
    span: Option<[u8; SPAN_BYTES]>,
}

const SPAN_BYTES: usize = 8;

/// In the frame's kind, beside the side: the join key stands behind a span.
const SPANNED: u8 = 2;

impl Frames {
    pub fn of_side(side: u8) -> Self {
        Self { side, span: None }
    }

    pub fn of_span(side: u8, span: i64) -> Self {
        Self { side, span: Some(sortable(span)) }
    }

    fn kind(&self) -> u8 {
        self.side | self.span.map_or(0, |_| SPANNED)
    }

    fn head(&self) -> &[u8] {
        self.span.as_ref().map_or(&[], |span| span)
    }

    /// Appends the frame of a join key.
    pub fn push(&self, bytes: &mut Vec<u8>, join_key: &[u8]) {
        push_frame(bytes, self.kind(), &[self.head(), join_key]);
    }

    pub fn frame(&self, join_key: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(SPAN_BYTES + join_key.len() + 2);
        self.push(&mut frame, join_key);
        frame
    }

    /// Reads of several join keys, each with a number and its group.
    pub fn reads<'a>(&self, keys: impl Iterator<Item = (u32, KeyGroup, &'a [u8])>) -> FramedReads {
        FramedReads::below(self.kind(), self.head(), keys)
    }

    /// Shows all entries of a group, until `visit` returns false.
    pub fn scan(&self, group: KeyGroup, state: &dyn KeyedState, visit: &mut Visit<'_>) -> Result<()> {
        let kind = [self.kind()];
        let Some(span) = self.span else { return state.scan(group, &kind, visit) };
        // Those of a span stand together for each length of join keys, which comes before it.
        let mut from = Some(kind.to_vec());
        while let Some(begin) = from.take() {
            state.scan_from(group, &kind, &begin, &mut |key, value| {
                let FramedKey { part, rest, .. } = unframe(key).ok_or_else(damaged)?;
                let (own, _) = part.split_first_chunk::<SPAN_BYTES>().ok_or_else(damaged)?;
                let mut head = key[..key.len() - part.len() - rest.len()].to_vec();
                match own.cmp(&span) {
                    Ordering::Equal => return visit(key, value),
                    Ordering::Less => head.extend_from_slice(&span),
                    // Behind all of this length; its last byte is below 0x80.
                    Ordering::Greater => *head.last_mut().expect("it has a kind and a length") += 1,
                }
                from = Some(head);
                Ok(false)
            })?;
        }
        Ok(())
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
    let FramedKey { kind, part, rest } = unframe(key).filter(|key| key.kind < 2 * SPANNED).ok_or_else(damaged)?;
    let span_bytes = if kind & SPANNED == 0 { 0 } else { SPAN_BYTES };
    let join_key = part.get(span_bytes..).ok_or_else(damaged)?;
    let bucket = match rest {
        [] => None,
        rest => Some(u64::from_be_bytes(rest.try_into().map_err(|_| damaged())?)),
    };
    Ok(EntryKey { side: usize::from(kind & !SPANNED), join_key, bucket })
}

fn damaged() -> EngineError {
    EngineError::State("an entry of a join cannot be read".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::frame;
    use crate::state::memory::MemoryState;

    #[test]
    fn what_is_written_is_read() {
        let row = |count, bytes| StoredRow { count, matches: 3, used_at_ms: 1_700_000_000_000, bytes };
        let list = [row(1, &b"one"[..]), row(1 << 40, b""), row(2, b"three")];
        let mut value = Vec::new();
        list.iter().for_each(|row| row.write(&mut value));
        assert_eq!(rows(&value).map(|row| row.unwrap()).collect::<Vec<_>>(), list);
        assert!(rows(&value[..value.len() - 1]).last().is_some_and(|row| row.is_err()));
        let key = |frames: Frames, rest: &[u8]| [&frames.frame(b"key"), rest].concat();
        let read = |side, bucket| EntryKey { side, join_key: b"key", bucket };
        assert_eq!(read_key(&key(Frames::of_side(1), &[])).unwrap(), read(1, None));
        let bucket = [0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(read_key(&key(Frames::of_side(0), &bucket)).unwrap(), read(0, Some(258)));
        assert_eq!(read_key(&key(Frames::of_span(1, -7), &bucket)).unwrap(), read(1, Some(258)));
        for bad in [frame(2, b"key"), frame(4, b"a longer key"), key(Frames::of_side(0), &[1]), Vec::new()] {
            assert!(read_key(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_entries_of_a_span_are_found_whatever_the_length_of_their_keys() {
        let mut state = MemoryState::default();
        let keys: Vec<Vec<u8>> = [0, 1, 2, 118, 119, 120, 121, 20_000].map(|length| vec![b'k'; length]).into();
        let mut put = |frames: Frames, key: &[u8]| state.put(KeyGroup(1), &frames.frame(key), b"").unwrap();
        for key in &keys {
            put(Frames::of_side(0), key);
            (-2..=2).for_each(|span| put(Frames::of_span(0, span), key));
            (-2..=0).for_each(|span| put(Frames::of_span(1, span), key));
        }
        put(Frames::of_span(1, 7), b"of a length of its own");
        for (side, span, count) in [(0, -2, 8), (0, 0, 8), (0, 2, 8), (0, 3, 0), (1, 0, 8), (1, 2, 0), (1, 7, 1)] {
            let mut found = Vec::new();
            let mut visit = |key: &[u8], _: &[u8]| {
                found.push(key.to_vec());
                Ok(true)
            };
            let frames = Frames::of_span(side, span);
            frames.scan(KeyGroup(1), &state, &mut visit).unwrap();
            assert_eq!(found.len(), count, "span {span} of side {side}");
            assert!(found.iter().all(|key| *key == frames.frame(read_key(key).unwrap().join_key)));
        }
    }
}
