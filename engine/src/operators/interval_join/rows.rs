//! The rows of both sides in state, in buckets of time.
//!
//! A key is: tag of the side, bucket, the join key's bytes, the row's time, a number that tells equal rows apart. A
//! bucket is freed as a whole. A value is: the watermark before the row, whether it has a partner, the row.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::keys::{KeyGroup, hash_key};
use crate::operator::OperatorContext;
use crate::operators::join_rows::LEFT;
use crate::operators::note::{NoteReader, NoteWriter, from_sortable, sortable};
use crate::{EngineError, Result};

/// Bytes before the join key: tag and bucket.
const HEAD_BYTES: usize = 9;
/// Bytes behind the join key: time and number.
const TAIL_BYTES: usize = 16;
/// Bytes of a value before the row: watermark and flag.
const MARK_BYTES: usize = 9;

/// A row as it stands in state.
pub struct StoredRow<'a> {
    /// Of the entry.
    pub entry: &'a [u8],
    pub time: i64,
    /// What the row's split had reached before it.
    pub mark: i64,
    pub row: &'a [u8],
}

/// Where a row's entry is, without the row: its join key, time and number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowPlace {
    pub group: KeyGroup,
    pub key: Vec<u8>,
    pub time: i64,
    pub number: i64,
}

pub struct RowStore {
    bucket_ms: i64,
    /// Buckets that may have rows, by side.
    live: [BTreeSet<i64>; 2],
    next_number: i64,
}

impl RowStore {
    pub fn new(bucket_ms: i64) -> Self {
        assert!(bucket_ms > 0, "a bucket has a length");
        Self { bucket_ms, live: Default::default(), next_number: 0 }
    }

    /// What [`Self::write_note`] wrote, of each former instance.
    pub fn read_note(&mut self, note: &mut NoteReader<'_>) -> Result<()> {
        self.next_number = self.next_number.max(note.read()?);
        for live in &mut self.live {
            for _ in 0..note.read()? {
                live.insert(note.read()?);
            }
        }
        Ok(())
    }

    pub fn write_note(&self, note: &mut NoteWriter) {
        note.push(self.next_number);
        for live in &self.live {
            note.push(live.len() as i64);
            live.iter().for_each(|bucket| note.push(*bucket));
        }
    }

    /// No row of a side is older.
    pub fn first(&self, side: usize) -> Option<i64> {
        self.live[side].first().map(|bucket| bucket.saturating_mul(self.bucket_ms))
    }

    /// Numbers are unique within a key group, whichever instances owned it.
    pub fn place(&mut self, group: KeyGroup, key: &[u8], time: i64) -> RowPlace {
        self.next_number += 1;
        RowPlace { group, key: key.to_vec(), time, number: self.next_number }
    }

    fn bucket(&self, time: i64) -> i64 {
        time.div_euclid(self.bucket_ms)
    }

    fn entry(&self, side: usize, place: &RowPlace) -> Vec<u8> {
        let mut entry = prefix(side, self.bucket(place.time));
        place.append_to(&mut entry);
        entry
    }

    pub fn put(
        &mut self,
        side: usize,
        place: &RowPlace,
        mark: i64,
        has_partner: bool,
        row: &[u8],
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        let mut value = Vec::with_capacity(MARK_BYTES + row.len());
        value.extend_from_slice(&sortable(mark));
        value.push(u8::from(has_partner));
        value.extend_from_slice(row);
        self.live[side].insert(self.bucket(place.time));
        ctx.state.put(place.group, &self.entry(side, place), &value)
    }

    /// Calls `visit` for every row of a side with this key and a time in the range, by buckets and then by time.
    pub fn find(
        &self,
        side: usize,
        group: KeyGroup,
        key: &[u8],
        times: &RangeInclusive<i64>,
        ctx: &OperatorContext,
        visit: &mut dyn FnMut(&StoredRow<'_>) -> Result<()>,
    ) -> Result<()> {
        let buckets = self.bucket(*times.start())..=self.bucket(*times.end());
        for bucket in self.live[side].range(buckets) {
            let mut wanted = prefix(side, *bucket);
            wanted.extend_from_slice(key);
            ctx.state.scan(group, &wanted, &mut |entry, value| {
                let stored = read(entry, value)?;
                if stored.time > *times.end() {
                    return Ok(false);
                }
                if stored.time >= *times.start() {
                    visit(&stored)?;
                }
                Ok(true)
            })?;
        }
        Ok(())
    }

    /// The row at a place, if it is there.
    pub fn get(&self, side: usize, place: &RowPlace, ctx: &OperatorContext) -> Result<Option<Vec<u8>>> {
        let value = ctx.state.get(place.group, &self.entry(side, place))?;
        Ok(value.map(|mut value| value.split_off(MARK_BYTES.min(value.len()))))
    }

    /// Notes that a row has a partner. False where that is known, or the row is not there.
    pub fn mark_partner(&self, side: usize, place: &RowPlace, ctx: &mut OperatorContext) -> Result<bool> {
        let entry = self.entry(side, place);
        let Some(mut value) = ctx.state.get(place.group, &entry)? else { return Ok(false) };
        match value.get_mut(MARK_BYTES - 1) {
            None => Err(damaged()),
            Some(1) => Ok(false),
            Some(flag) => {
                *flag = 1;
                ctx.state.put(place.group, &entry, &value)?;
                Ok(true)
            }
        }
    }

    pub fn delete(&self, side: usize, place: &RowPlace, ctx: &mut OperatorContext) -> Result<()> {
        ctx.state.delete(place.group, &self.entry(side, place))
    }

    /// Frees the buckets of a side all of whose rows are at `until` or before.
    pub fn free(&mut self, side: usize, until: i64, ctx: &mut OperatorContext) -> Result<()> {
        while let Some(bucket) = self.live[side].first().copied() {
            let end = bucket.saturating_add(1).saturating_mul(self.bucket_ms);
            if end.saturating_sub(1) > until {
                break;
            }
            ctx.state.delete_prefixes(ctx.key_groups.groups(), &prefix(side, bucket))?;
            self.live[side].pop_first();
        }
        Ok(())
    }
}

impl RowPlace {
    /// Where the stored row is whose entry (of the rows) this is.
    pub fn of_entry(entry: &[u8], ctx: &OperatorContext) -> Result<Self> {
        Self::of_bytes(entry.get(HEAD_BYTES..).ok_or_else(damaged)?, ctx)
    }

    /// The inverse of [`Self::append_to`].
    fn of_bytes(bytes: &[u8], ctx: &OperatorContext) -> Result<Self> {
        let (key, tail) = bytes.split_at_checked(bytes.len().wrapping_sub(TAIL_BYTES)).ok_or_else(damaged)?;
        let group = KeyGroup::of(hash_key(key), ctx.key_groups.max_parallelism);
        Ok(Self { group, key: key.to_vec(), time: number_at(tail, 0)?, number: number_at(tail, 8)? })
    }

    fn append_to(&self, entry: &mut Vec<u8>) {
        entry.extend_from_slice(&self.key);
        entry.extend_from_slice(&sortable(self.time));
        entry.extend_from_slice(&sortable(self.number));
    }
}

/// Entries of a side's bucket start with this.
fn prefix(side: usize, bucket: i64) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(64);
    prefix.push(if side == LEFT { b'l' } else { b'r' });
    prefix.extend_from_slice(&sortable(bucket));
    prefix
}

fn read<'a>(entry: &'a [u8], value: &'a [u8]) -> Result<StoredRow<'a>> {
    let time = number_at(entry, entry.len().wrapping_sub(TAIL_BYTES))?;
    let row = value.get(MARK_BYTES..).ok_or_else(damaged)?;
    Ok(StoredRow { entry, time, mark: number_at(value, 0)?, row })
}

/// The number that stands in its sortable form at this place.
pub fn number_at(bytes: &[u8], at: usize) -> Result<i64> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    found.map(|bytes| from_sortable(*bytes)).ok_or_else(damaged)
}

pub fn damaged() -> EngineError {
    EngineError::State("a stored row of a join cannot be read: it was written by another version".into())
}
