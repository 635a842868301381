//! The rows of both sides of a join: a write-back cache over durable state, by join key.
//!
//! A key that is in memory is there with all its rows. State holds one entry per distinct row: the key's bytes, the
//! side, the row's bytes. Changes are written at barriers. When memory passes the budget, everything is written and the
//! keys that were not used lately are dropped.

use super::side_rows::{NONE, SideRows};
use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::expiry::ExpirySearch;
use crate::operators::key_table::{BatchKeys, KeyTable};
use crate::operators::note::{NoteReader, NoteWriter};
use crate::state::Writes;
use crate::{EngineError, Result};

/// Rows that are gone are cleared from memory when they outnumber those that are there, and so many.
const GONE_ROWS_KEPT_MAX: usize = 4096;

pub struct JoinStore {
    keys: KeyTable,
    /// By slot of the key: number of the last batch with a row of it.
    used_in_batch: Vec<u64>,
    sides: [SideRows; 2],
    expiry: ExpirySearch,
    /// Memory has every key that state has: a key that is not here has no rows.
    is_complete: bool,
    batches: u64,
}

impl JoinStore {
    pub fn new(ttl_ms: Option<i64>) -> Self {
        Self {
            keys: KeyTable::default(),
            used_in_batch: Vec::new(),
            sides: Default::default(),
            expiry: ExpirySearch::new(ttl_ms),
            is_complete: false,
            batches: 0,
        }
    }

    pub fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        let mut is_empty = true;
        for group in ctx.key_groups.groups() {
            ctx.state.scan(KeyGroup(group), &[], &mut |_, _| {
                is_empty = false;
                Ok(false)
            })?;
        }
        self.is_complete = is_empty;
        Ok(())
    }

    pub fn side(&self, side: usize) -> &SideRows {
        &self.sides[side]
    }

    pub fn side_mut(&mut self, side: usize) -> &mut SideRows {
        &mut self.sides[side]
    }

    pub fn has_ttl(&self) -> bool {
        self.expiry.has_ttl()
    }

    /// The slots of the keys of a batch's rows, read from state where memory does not have them; [`NONE`] for rows
    /// that can fit nothing.
    pub fn slots_of(&mut self, keys: &BatchKeys, can_fit: &[bool], ctx: &OperatorContext) -> Result<Vec<u32>> {
        self.batches += 1;
        let known = self.keys.len();
        let slot = |(row, can_fit): (usize, &bool)| match can_fit {
            true => self.keys.intern(keys.hash(row), keys.key(row)),
            false => NONE,
        };
        let slots: Vec<u32> = can_fit.iter().enumerate().map(slot).collect();
        self.used_in_batch.resize(self.keys.len(), self.batches);
        self.sides.iter_mut().for_each(|side| side.resize_keys(self.keys.len()));
        for slot in slots.iter().filter(|slot| **slot != NONE) {
            self.used_in_batch[*slot as usize] = self.batches;
        }
        if !self.is_complete {
            (known..self.keys.len()).try_for_each(|slot| self.load(slot as u32, ctx))?;
        }
        Ok(slots)
    }

    /// Reads the rows of a key.
    fn load(&mut self, slot: u32, ctx: &OperatorContext) -> Result<()> {
        let Self { keys, sides, expiry, .. } = self;
        ctx.state.scan(keys.group(slot, ctx.key_groups), keys.key(slot), &mut |key, value| {
            let entry = Entry::read(key, value)?;
            if !expiry.is_expired(entry.used_at_ms, ctx.now.0) {
                let side = &mut sides[entry.side];
                let row = side.set(slot, entry.row, entry.count, entry.matches, entry.used_at_ms);
                side.mark_stored(row);
            }
            Ok(true)
        })
    }

    /// True for a row whose time to live is over, and which so is not there.
    pub fn is_expired(&self, side: usize, row: u32, now_ms: i64) -> bool {
        self.has_ttl() && self.expiry.is_expired(self.sides[side].facts(row).used_at_ms, now_ms)
    }

    /// A row that is there.
    pub fn find(&self, side: usize, bytes: &[u8], now_ms: i64) -> Option<u32> {
        self.sides[side].find(bytes).filter(|row| !self.is_expired(side, *row, now_ms))
    }

    /// Counts a row once more.
    pub fn add(&mut self, side: usize, slot: u32, bytes: &[u8], matches: i64, now_ms: i64) {
        let known = self.find(side, bytes, now_ms);
        let count = known.map_or(0, |row| self.sides[side].facts(row).count);
        let row = self.sides[side].set(slot, bytes, count + 1, matches, now_ms);
        self.sides[side].mark_dirty(row);
    }

    /// Counts a row that is there once less.
    pub fn take_back(&mut self, side: usize, row: u32, now_ms: i64) {
        let rows = &mut self.sides[side];
        rows.take_back(row, now_ms);
        rows.mark_dirty(row);
    }

    /// Writes what changed since the last barrier.
    pub fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let mut writes = Writes::default();
        for (number, side) in self.sides.iter_mut().enumerate() {
            for (row, was_stored) in side.take_dirty() {
                let facts = side.facts(row);
                let key = self.keys.key(facts.key);
                let stored_key: [&[u8]; 3] = [key, &[number as u8], side.bytes(row)];
                let group = self.keys.group(facts.key, ctx.key_groups);
                if facts.count > 0 {
                    let value = [facts.count, facts.matches, facts.used_at_ms, key.len() as i64];
                    writes.put(group, &stored_key, &Entry::value(value));
                } else if was_stored {
                    writes.delete(group, &stored_key);
                }
                writes.flush_when_full(ctx.state.as_mut())?;
            }
        }
        writes.flush(ctx.state.as_mut())
    }

    /// Clears rows that are gone from memory, where they are many; after `write_back`.
    pub fn tidy_up(&mut self) {
        let gone: usize = self.sides.iter().map(SideRows::gone_count).sum();
        let live: usize = self.sides.iter().map(SideRows::live_count).sum();
        if gone > live.max(GONE_ROWS_KEPT_MAX) {
            self.retain((0..self.keys.len() as u32).collect());
        }
    }

    /// Drops keys from memory where it holds more than the budget; those used last stay.
    pub fn keep_to_budget(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let size_bytes = self.size_bytes();
        ctx.metrics.cache_bytes.set(size_bytes as i64);
        if size_bytes <= ctx.cache_budget_bytes || self.keys.is_empty() {
            return Ok(());
        }
        self.write_back(ctx)?;
        let bytes_per_key = size_bytes / self.keys.len() + 1;
        let keep = ctx.cache_budget_bytes / 2 / bytes_per_key;
        let mut by_use: Vec<(u64, u32)> = self.used_in_batch.iter().copied().zip(0u32..).collect();
        by_use.sort_unstable_by(|one, other| other.cmp(one));
        by_use.truncate(keep);
        ctx.metrics.spilled.add(self.keys.len() - by_use.len());
        self.retain(by_use.into_iter().map(|(_, slot)| slot).collect());
        self.is_complete = false;
        ctx.metrics.cache_bytes.set(self.size_bytes() as i64);
        Ok(())
    }

    /// Keeps only some keys, with their rows; all must be written.
    fn retain(&mut self, slots: Vec<u32>) {
        assert!(self.sides.iter().all(SideRows::is_clean), "write_back comes first");
        let expiry = std::mem::replace(&mut self.expiry, ExpirySearch::new(None));
        let mut kept = Self { batches: self.batches, is_complete: self.is_complete, expiry, ..Self::new(None) };
        for slot in slots {
            let has_rows = self.sides.iter().any(|side| side.first(slot) != NONE);
            // Without rows a key is worth remembering only where asking state for it costs a read.
            if !has_rows && self.is_complete {
                continue;
            }
            let new = kept.keys.intern(self.keys.hash(slot), self.keys.key(slot));
            kept.used_in_batch.push(self.used_in_batch[slot as usize]);
            for (from, to) in self.sides.iter().zip(&mut kept.sides) {
                to.resize_keys(kept.keys.len());
                from.copy_key(slot, to, new);
            }
        }
        *self = kept;
    }

    fn size_bytes(&self) -> usize {
        let sides: usize = self.sides.iter().map(SideRows::size_bytes).sum();
        sides + self.keys.size_bytes() + self.used_in_batch.capacity() * size_of::<u64>()
    }

    /// Removes expired rows of one key group, now and then.
    pub fn forget_some_expired(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.expiry.next_group(ctx).map_or(Ok(()), |group| self.forget_expired_of(group, ctx))
    }

    fn forget_expired_of(&mut self, group: KeyGroup, ctx: &mut OperatorContext) -> Result<()> {
        let now_ms = ctx.now.0;
        let (mut expired, mut cached) = (Vec::new(), Vec::new());
        ctx.state.scan(group, &[], &mut |key, value| {
            let entry = Entry::read(key, value)?;
            // Memory knows better where it has the row.
            match self.sides[entry.side].find(entry.row) {
                Some(row) if self.is_expired(entry.side, row, now_ms) => cached.push((entry.side, row)),
                Some(_) => {}
                None if self.expiry.is_expired(entry.used_at_ms, now_ms) => expired.push(key.to_vec()),
                None => {}
            }
            Ok(true)
        })?;
        for (side, row) in cached {
            // The next barrier deletes the entry.
            self.sides[side].remove(row);
            self.sides[side].mark_dirty(row);
        }
        expired.iter().try_for_each(|key| ctx.state.delete(group, key))
    }
}

/// An entry of state, taken apart.
struct Entry<'a> {
    side: usize,
    row: &'a [u8],
    count: i64,
    matches: i64,
    used_at_ms: i64,
}

impl<'a> Entry<'a> {
    /// Count, matches, time of the last change, and the length of the join key within the entry's key.
    fn value(numbers: [i64; 4]) -> Vec<u8> {
        let mut writer = NoteWriter::default();
        numbers.iter().for_each(|number| writer.push(*number));
        writer.finish()
    }

    fn read(key: &'a [u8], value: &[u8]) -> Result<Self> {
        let mut numbers = NoteReader::new(value);
        let (count, matches, used_at_ms) = (numbers.read()?, numbers.read()?, numbers.read()?);
        let key_length = numbers.read()?;
        let damaged = || EngineError::State("an entry of a join cannot be read".into());
        let (side, row) = key.get(key_length as usize..).and_then(<[u8]>::split_first).ok_or_else(damaged)?;
        if *side > 1 || count < 1 {
            return Err(damaged());
        }
        Ok(Self { side: usize::from(*side), row, count, matches, used_at_ms })
    }
}
