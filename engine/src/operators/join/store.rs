//! The rows of both sides of a join: a write-back cache over durable state, by join key.
//!
//! A key that is in memory is there with all its rows, but for sides on which it has so many that they would take a good
//! part of the budget: these are paged (see [`super::pages`]). Changes are written at barriers. When memory passes the
//! budget, everything is written and the keys that were not used lately are dropped.

use super::entry::{self, Buckets, StoredRow};
use super::side_rows::{NONE, SideRows};
use crate::Result;
use crate::keys::{KeyGroup, hash_key};
use crate::operator::OperatorContext;
use crate::operators::expiry::ExpirySearch;
use crate::operators::key_table::{BatchKeys, KeyTable};
use crate::operators::recent_use::{RecentUse, is_state_empty};
use crate::state::{FramedReads, Writes, frame, push_frame, unframe};

/// Rows that are gone are cleared from memory when they outnumber those that are there, and so many.
const GONE_ROWS_KEPT_MAX: usize = 4096;

/// A key whose rows of one side take more than this part of the budget is paged.
const PAGED_SHARE: usize = 8;

pub struct JoinStore {
    pub(super) keys: KeyTable,
    recent_use: RecentUse,
    /// By slot of the key: the sides whose rows of it are not in memory.
    pub(super) paged: Vec<[bool; 2]>,
    pub(super) sides: [SideRows; 2],
    /// Rows of paged keys that are at hand.
    pub(super) pages: [SideRows; 2],
    pub(super) buckets: [Buckets; 2],
    pub(super) expiry: ExpirySearch,
    /// Memory has every key that state has: a key that is not here has no rows.
    is_complete: bool,
}

impl JoinStore {
    pub fn new(buckets: [Buckets; 2], ttl_ms: Option<i64>) -> Self {
        Self {
            keys: KeyTable::default(),
            recent_use: RecentUse::default(),
            paged: Vec::new(),
            sides: Default::default(),
            pages: Default::default(),
            buckets,
            expiry: ExpirySearch::new(ttl_ms),
            is_complete: false,
        }
    }

    pub fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        self.is_complete = is_state_empty(ctx)?;
        Ok(())
    }

    pub fn has_ttl(&self) -> bool {
        self.expiry.has_ttl()
    }

    /// The slots of the keys of a batch's rows, read from state where memory does not have them; [`NONE`] for rows
    /// that can fit nothing.
    pub fn slots_of(&mut self, keys: &BatchKeys, can_fit: &[bool], ctx: &OperatorContext) -> Result<Vec<u32>> {
        self.recent_use.next_batch();
        let known = self.keys.len();
        let slot = |(row, can_fit): (usize, &bool)| match can_fit {
            true => self.keys.intern(keys.hash(row), keys.key(row)),
            false => NONE,
        };
        let slots: Vec<u32> = can_fit.iter().enumerate().map(slot).collect();
        self.paged.resize(self.keys.len(), [false; 2]);
        self.sides.iter_mut().for_each(|side| side.resize_keys(self.keys.len()));
        for slot in slots.iter().filter(|slot| **slot != NONE) {
            self.recent_use.touch(*slot);
        }
        if !self.is_complete && known < self.keys.len() {
            self.load(known as u32, ctx)?;
        }
        Ok(slots)
    }

    /// Reads the rows of the keys from this slot on.
    fn load(&mut self, known: u32, ctx: &OperatorContext) -> Result<()> {
        let Self { keys, sides, paged, expiry, .. } = self;
        let new = known..keys.len() as u32;
        let reads = new.map(|slot| (slot, keys.group(slot, ctx.key_groups), keys.key(slot)));
        let mut loading = Loading {
            keys,
            sides,
            paged,
            is_expired: &|row: &StoredRow<'_>| expiry.is_expired(row.used_at_ms, ctx.now.0),
            bytes_max: paged_bytes(ctx),
            at: (NONE, 0),
            first_row: 0,
            bytes: 0,
            cut: Vec::new(),
        };
        ctx.state.scan_frames(&FramedReads::new(reads), &mut |slot, key, value| loading.entry(slot, key, value))?;
        for slot in std::mem::take(&mut loading.cut) {
            let right = [frame(keys.key(slot)), vec![1]].concat();
            let group = keys.group(slot, ctx.key_groups);
            ctx.state.scan(group, &right, &mut |key, value| loading.entry(slot, key, value))?;
        }
        for slot in known..self.keys.len() as u32 {
            self.sides.iter_mut().for_each(|side| side.sort_key(slot));
        }
        Ok(())
    }

    /// True for a row whose time to live is over, and which so is not there.
    pub fn is_expired(&self, side: usize, row: u32, now_ms: i64) -> bool {
        self.has_ttl() && self.expiry.is_expired(self.sides[side].facts(row).used_at_ms, now_ms)
    }

    /// Counts a row once more; gives its number.
    pub fn add(&mut self, side: usize, slot: u32, hash: u64, bytes: &[u8], now_ms: i64) -> u32 {
        let known = self.find(side, slot, hash, bytes, now_ms);
        let rows = self.rows_mut(side, self.is_paged(side, slot));
        let (count, matches) = known.map_or((0, 0), |row| (rows.facts(row).count, rows.facts(row).matches));
        let row = rows.set(slot, hash, StoredRow { count: count + 1, matches, used_at_ms: now_ms, bytes });
        rows.mark_dirty(row);
        row
    }

    /// Counts a row once less; gives its number, if it is there.
    pub fn take_back(&mut self, side: usize, slot: u32, hash: u64, bytes: &[u8], now_ms: i64) -> Option<u32> {
        let row = self.find(side, slot, hash, bytes, now_ms)?;
        let rows = self.rows_mut(side, self.is_paged(side, slot));
        rows.take_back(row, now_ms);
        rows.mark_dirty(row);
        Some(row)
    }

    /// A row that is there.
    fn find(&self, side: usize, slot: u32, hash: u64, bytes: &[u8], now_ms: i64) -> Option<u32> {
        let rows = self.rows(side, self.is_paged(side, slot));
        let is_alive = |row: &u32| !self.expiry.is_expired(rows.facts(*row).used_at_ms, now_ms);
        rows.find(slot, hash, bytes).filter(is_alive)
    }

    /// Writes what changed since the last barrier.
    pub fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let mut writes = Writes::default();
        for (number, side) in self.sides.iter_mut().enumerate() {
            write_dirty(side, number, &self.keys, self.buckets[number], &mut writes, ctx)?;
        }
        writes.flush(ctx.state.as_mut())
    }

    /// Clears rows that are gone from memory, where they are many; after `write_back`.
    pub fn tidy_up(&mut self) {
        let gone: usize = self.sides.iter().map(SideRows::gone_count).sum();
        let live: usize = self.sides.iter().map(SideRows::live_count).sum();
        if gone > live.max(GONE_ROWS_KEPT_MAX) {
            let all: Vec<u32> = (0..self.keys.len() as u32).collect();
            self.retain(&all, usize::MAX);
        }
    }

    /// Makes memory smaller where it holds more than the budget: keys with very many rows are paged from now on; if
    /// that is not enough, keys are dropped. Those used last stay.
    pub fn keep_to_budget(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        if !self.recent_use.is_beyond_budget(self.size_bytes(), ctx) {
            return Ok(());
        }
        self.write_back(ctx)?;
        let (all, bytes_max) = (0..self.keys.len() as u32, paged_bytes(ctx));
        if all.clone().any(|slot| self.sides.iter().any(|side| side.key_bytes(slot) > bytes_max)) {
            self.retain(&all.collect::<Vec<_>>(), bytes_max);
        }
        self.is_complete = false;
        if self.recent_use.is_beyond_budget(self.size_bytes(), ctx) {
            self.retain(&self.recent_use.to_keep(self.size_bytes(), ctx), bytes_max);
            ctx.metrics.cache_bytes.set(self.size_bytes() as i64);
        }
        Ok(())
    }

    /// Keeps only some keys with their rows, all of which are written; those with more bytes are paged from now on.
    fn retain(&mut self, slots: &[u32], bytes_max: usize) {
        assert!(self.sides.iter().all(SideRows::is_clean), "write_back comes first");
        // Without rows a key is worth remembering only where asking state for it costs a read.
        let has_rows = |slot: &u32| self.sides.iter().any(|side| side.first(*slot) != NONE);
        let slots: Vec<u32> = slots.iter().copied().filter(|slot| !self.is_complete || has_rows(slot)).collect();
        let mut kept = KeyTable::default();
        for slot in &slots {
            kept.intern(self.keys.hash(*slot), self.keys.key(*slot));
        }
        let mut paged: Vec<[bool; 2]> = slots.iter().map(|slot| self.paged[*slot as usize]).collect();
        for (number, side) in self.sides.iter_mut().enumerate() {
            let mut rows = SideRows::default();
            rows.resize_keys(slots.len());
            for (new, slot) in slots.iter().enumerate() {
                match side.key_bytes(*slot) > bytes_max {
                    true => paged[new][number] = true,
                    false => side.copy_key(*slot, &mut rows, new as u32),
                }
            }
            *side = rows;
        }
        (self.recent_use, self.keys, self.paged) = (self.recent_use.of_kept(&slots), kept, paged);
    }

    pub(super) fn size_bytes(&self) -> usize {
        let rows: usize = self.sides.iter().chain(&self.pages).map(SideRows::size_bytes).sum();
        let paged = self.paged.capacity() * size_of::<[bool; 2]>();
        rows + self.keys.size_bytes() + self.recent_use.size_bytes() + paged
    }

    /// Removes expired rows of one key group, now and then.
    pub fn forget_some_expired(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.expiry.next_group(ctx).map_or(Ok(()), |group| self.forget_expired_of(group, ctx))
    }

    fn forget_expired_of(&mut self, group: KeyGroup, ctx: &mut OperatorContext) -> Result<()> {
        let (mut expired, mut writes) = (Vec::new(), Writes::default());
        ctx.state.scan(group, &[], &mut |key, value| {
            let (side, _) = entry::read_key(key)?;
            let cached = self.cached_expired(key, ctx.now.0)?;
            match cached {
                Some(rows) => expired.extend(rows.into_iter().map(|row| (side, row))),
                None => self.drop_expired((group, key), value, ctx.now.0, &mut writes)?,
            }
            Ok(true)
        })?;
        for (side, row) in expired {
            // The next barrier deletes it from state.
            self.sides[side].remove(row);
            self.sides[side].mark_dirty(row);
        }
        writes.flush(ctx.state.as_mut())
    }

    /// The expired rows of an entry of which memory knows better than state; `None` where it knows nothing.
    fn cached_expired(&self, key: &[u8], now_ms: i64) -> Result<Option<Vec<u32>>> {
        let (side, hash) = entry::read_key(key)?;
        let Some((join_key, _)) = unframe(key) else { return Ok(None) };
        let key_hash = hash_key(join_key);
        let Some(slot) = self.keys.find(key_hash, join_key) else { return Ok(None) };
        let (rows, hash) = (&self.sides[side], hash.unwrap_or(key_hash));
        let is_gone = |row: &u32| rows.facts(*row).count > 0 && self.is_expired(side, *row, now_ms);
        Ok(rows.knows_bucket(slot, hash).then(|| rows.bucket(slot, hash).filter(is_gone).collect()))
    }

    /// Writes an entry that memory does not know without its expired rows.
    fn drop_expired(
        &self,
        (group, key): (KeyGroup, &[u8]),
        value: &[u8],
        now_ms: i64,
        writes: &mut Writes,
    ) -> Result<()> {
        let mut left = Vec::new();
        for row in entry::rows(value) {
            let row = row?;
            if !self.expiry.is_expired(row.used_at_ms, now_ms) {
                row.write(&mut left);
            }
        }
        match left.len() {
            0 => writes.delete(group, &[key]),
            length if length < value.len() => writes.put(group, &[key], &left),
            _ => {}
        }
        Ok(())
    }
}

/// Bytes of the rows of one side of a key from which on they are paged.
pub(super) fn paged_bytes(ctx: &OperatorContext) -> usize {
    ctx.cache_budget_bytes / PAGED_SHARE
}

/// Brings state's entries up to date with the rows of one side.
pub(super) fn write_dirty(
    rows: &mut SideRows,
    side: usize,
    keys: &KeyTable,
    buckets: Buckets,
    writes: &mut Writes,
    ctx: &mut OperatorContext,
) -> Result<()> {
    let (mut framed, mut value, mut live) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(bucket) = rows.take_dirty(&mut live) {
        let group = keys.group(bucket.key, ctx.key_groups);
        framed.clear();
        push_frame(&mut framed, keys.key(bucket.key));
        let hash = bucket.hash.to_be_bytes();
        let key: [&[u8]; 3] = [&framed, &[side as u8], buckets.suffix(&hash)];
        value.clear();
        live.iter().for_each(|row| rows.stored(*row).write(&mut value));
        if !live.is_empty() {
            writes.put(group, &key, &value);
        } else if bucket.was_stored {
            writes.delete(group, &key);
        }
        writes.flush_when_full(ctx.state.as_mut())?;
    }
    Ok(())
}

/// Entries on their way into memory, key by key and side by side.
struct Loading<'a> {
    keys: &'a KeyTable,
    sides: &'a mut [SideRows; 2],
    paged: &'a mut [[bool; 2]],
    is_expired: &'a dyn Fn(&StoredRow<'_>) -> bool,
    /// Of the rows of one side of a key.
    bytes_max: usize,
    /// Slot and side of the last entry, its first row, and the bytes of its rows so far.
    at: (u32, usize),
    first_row: usize,
    bytes: usize,
    /// Keys whose left side was given up, so that their right one is still to be read.
    cut: Vec<u32>,
}

impl Loading<'_> {
    /// Takes an entry; false where the rest of its key is not wanted now.
    fn entry(&mut self, slot: u32, key: &[u8], value: &[u8]) -> Result<bool> {
        let (side, hash) = entry::read_key(key)?;
        if self.at != (slot, side) {
            (self.at, self.first_row, self.bytes) = ((slot, side), self.sides[side].len(), 0);
        }
        self.bytes += value.len();
        if self.bytes > self.bytes_max {
            self.sides[side].truncate(self.first_row);
            self.paged[slot as usize][side] = true;
            self.cut.extend((side == 0).then_some(slot));
            return Ok(false);
        }
        let hash = hash.unwrap_or_else(|| self.keys.hash(slot));
        load_rows(&mut self.sides[side], (slot, hash), value, self.is_expired)?;
        Ok(true)
    }
}

/// Adds the rows of an entry, as state has them.
pub(super) fn load_rows(
    rows: &mut SideRows,
    (slot, hash): (u32, u64),
    value: &[u8],
    is_expired: &dyn Fn(&StoredRow<'_>) -> bool,
) -> Result<()> {
    for row in entry::rows(value) {
        let row = row?;
        if !is_expired(&row) {
            let number = rows.set(slot, hash, row);
            rows.mark_stored(number);
        }
    }
    Ok(())
}
