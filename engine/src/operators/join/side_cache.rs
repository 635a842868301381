//! The rows of one side of a join: a write-back cache over durable state, by join key.
//!
//! A key that is in memory is there with all its rows of the side, but for those that have so many that they would take a
//! good part of the budget: these are paged (see [`super::pages`]). A row of a side that only adds is not looked up, and so its
//! key need not be in memory: then the row goes to state without a look at the others of its key.

use super::entry::{self, Buckets, Frames, StoredRow, packed_rows};
use super::pages::Page;
use super::side::Added;
use super::side_rows::{NONE, SideRows};
use super::unread::Unread;
use crate::Result;
use crate::keys::{KeyGroup, KeyGroupRange, hash_key};
use crate::operator::OperatorContext;
use crate::operators::expiry::ExpirySearch;
use crate::operators::key_table::{BatchKeys, KeyTable};
use crate::operators::recent_use::RecentUse;
use crate::state::Writes;

/// A key whose rows take more than this part of the budget is paged.
const PAGED_SHARE: usize = 8;

/// A restored side is taken into memory whole if it takes less than this part of the budget, and less than so many bytes:
/// enough for the few rows that many others are tried with, little enough not to be felt at a start.
const OPENED_SHARE: usize = 16;
const OPENED_BYTES_MAX: usize = 4 << 20;

/// So many of the rows that came last are left to the barrier, which writes them in a few milliseconds: those that are changed
/// are changed soon, and so written once.
const LEFT_ROWS_MAX: usize = if cfg!(test) { 4 } else { 8 << 10 };

/// Rows that are left are written so many times as fast as they come, until few are left.
const AHEAD_FACTOR: usize = 2;

/// A side that only adds, and to which so many times as many rows come as ask for some, takes no more of them into memory once it has
/// this part of the budget: rows that nobody asks for are written to state all the same, and few keys are soon read from there.
const ASKED_FACTOR: u64 = 32;
const HARDLY_ASKED_SHARE: usize = 8;

/// What of the present time decides whether a row is there.
#[derive(Clone, Copy)]
pub struct Present<'a> {
    pub expiry: &'a ExpirySearch,
    pub now_ms: i64,
}

impl Present<'_> {
    /// False for a row whose time to live is over.
    pub fn has(&self, used_at_ms: i64) -> bool {
        !self.expiry.is_expired(used_at_ms, self.now_ms)
    }
}

pub struct SideCache {
    pub(super) frames: Frames,
    pub(super) buckets: Buckets,
    pub(super) keys: KeyTable,
    recent_use: RecentUse,
    /// By slot of the key: memory has none of its rows.
    paged: Vec<bool>,
    pub(super) rows: SideRows,
    pub(super) page: Page,
    pub(super) unread: Unread,
    /// Memory has every key that state has: a key that is not here has no rows.
    pub(super) is_complete: bool,
    /// Rows that came while memory was complete, and those of the other side that asked for some of them.
    come: u64,
    asked: u64,
}

impl SideCache {
    pub fn new(frames: Frames, buckets: Buckets) -> Self {
        Self {
            frames,
            buckets,
            keys: KeyTable::default(),
            recent_use: RecentUse::default(),
            paged: Vec::new(),
            rows: SideRows::new(buckets),
            page: Page::new(buckets),
            unread: Unread::new(buckets),
            is_complete: false,
            come: 0,
            asked: 0,
        }
    }

    /// Takes in what state has of this side, if it is little.
    pub fn open(&mut self, present: Present<'_>, ctx: &OperatorContext) -> Result<()> {
        let bytes_max = (ctx.cache_budget_bytes / OPENED_SHARE).min(OPENED_BYTES_MAX);
        let (mut bytes, mut is_cut) = (0, false);
        for group in ctx.key_groups.groups().map(KeyGroup) {
            self.frames.scan(group, ctx.state.as_ref(), &mut |key, value| {
                bytes += key.len() + value.len();
                is_cut = bytes > bytes_max;
                if !is_cut {
                    let key = entry::read_key(key)?;
                    let hash = hash_key(key.join_key);
                    let slot = self.keys.intern(hash, key.join_key);
                    self.rows.resize_keys(self.keys.len());
                    load_rows(&mut self.rows, (slot, key.bucket.unwrap_or(hash)), value, present)?;
                }
                Ok(!is_cut)
            })?;
            if is_cut {
                *self = Self::new(self.frames, self.buckets);
                return Ok(());
            }
        }
        (0..self.keys.len() as u32).for_each(|slot| self.sort_key(slot));
        self.paged.resize(self.keys.len(), false);
        self.recent_use.resize(self.keys.len());
        self.is_complete = true;
        Ok(())
    }

    /// True where rows are added without a look at the others of their keys.
    pub fn only_adds(&self) -> bool {
        self.buckets.only_adds()
    }

    /// The slots of the keys whose rows are asked for, read from state where memory does not have them; [`NONE`] for keys
    /// without rows, and for rows that can fit nothing.
    pub fn find_keys(
        &mut self,
        keys: &BatchKeys,
        can_fit: &[bool],
        present: Present<'_>,
        ctx: &mut OperatorContext,
    ) -> Result<Vec<u32>> {
        if !self.is_complete {
            return self.take_in_keys(keys, can_fit, present, ctx);
        }
        self.recent_use.next_batch();
        self.asked += can_fit.len() as u64;
        let find = |(row, can_fit): (usize, &bool)| {
            let found = can_fit.then(|| self.keys.find(keys.hash(row), keys.key(row))).flatten();
            if let Some(slot) = found {
                self.recent_use.touch(slot);
            }
            found.unwrap_or(NONE)
        };
        Ok(can_fit.iter().enumerate().map(find).collect())
    }

    /// The same where keys without rows have a slot too, since they get some.
    pub fn take_in_keys(
        &mut self,
        keys: &BatchKeys,
        can_fit: &[bool],
        present: Present<'_>,
        ctx: &mut OperatorContext,
    ) -> Result<Vec<u32>> {
        self.recent_use.next_batch();
        let known = self.keys.len();
        let slot = |(row, can_fit): (usize, &bool)| match can_fit {
            true => {
                let slot = self.keys.intern(keys.hash(row), keys.key(row));
                self.recent_use.touch(slot);
                slot
            }
            false => NONE,
        };
        let slots: Vec<u32> = can_fit.iter().enumerate().map(slot).collect();
        self.resize_keys();
        if !self.is_complete && known < self.keys.len() {
            self.load(known as u32, present, ctx)?;
        }
        Ok(slots)
    }

    fn resize_keys(&mut self) {
        self.paged.resize(self.keys.len(), false);
        self.rows.resize_keys(self.keys.len());
    }

    /// Reads the rows of the keys from this slot on.
    fn load(&mut self, known: u32, present: Present<'_>, ctx: &mut OperatorContext) -> Result<()> {
        let bytes_max = paged_bytes(ctx);
        let Self { frames, keys, rows, paged, unread, .. } = self;
        let new = known..keys.len() as u32;
        let reads = new.clone().map(|slot| (slot, keys.group(slot, ctx.key_groups), keys.key(slot)));
        // The key at hand, its first row, and the bytes of its rows so far.
        let (mut at, mut first_row, mut bytes) = (NONE, 0, 0);
        ctx.state.scan_frames(&frames.reads(reads), &mut |slot, key, value| {
            if at != slot {
                (at, first_row, bytes) = (slot, rows.len(), 0);
            }
            bytes += value.len();
            if bytes > bytes_max {
                rows.truncate(first_row);
                paged[slot as usize] = true;
                return Ok(false);
            }
            let bucket = entry::read_key(key)?.bucket.unwrap_or_else(|| keys.hash(slot));
            load_rows(rows, (slot, bucket), value, present)?;
            Ok(true)
        })?;
        // Behind those that state has, since they came later; it will have them too before it hears of any change to them.
        for slot in new.clone().filter(|slot| !paged[*slot as usize]) {
            unread.read(keys.hash(slot), keys.key(slot), &mut |bucket, value| {
                load_rows(rows, (slot, bucket), value, present)
            })?;
        }
        new.for_each(|slot| self.sort_key(slot));
        Ok(())
    }

    /// Gives the rows of a key an order that does not depend on what they were read from; those that only come have that of
    /// their arrival.
    fn sort_key(&mut self, slot: u32) {
        if !self.only_adds() {
            self.rows.sort_key(slot);
        }
    }

    /// Adds the rows of a batch that can fit others, numbered from `first` on, with the number of rows that each fits now;
    /// gives the next number. Only where the side [only adds](Self::only_adds).
    pub fn append(&mut self, added: Added<'_>, first: u64, ctx: &mut OperatorContext) -> Result<u64> {
        assert!(self.only_adds(), "other rows are counted with those that equal them");
        let Added { keys, can_fit, matches, rows, .. } = added;
        let (mut next, mut key, mut value) = (first, Vec::new(), Vec::new());
        for row in (0..rows.len()).filter(|row| can_fit[*row]) {
            let stored = StoredRow { count: 1, matches: matches[row], used_at_ms: ctx.now.0, bytes: rows.row(row) };
            let (hash, join_key) = (keys.hash(row), keys.key(row));
            let slot = match self.is_complete {
                true => Some(self.keys.intern(hash, join_key)),
                false => self.keys.find(hash, join_key),
            };
            match slot {
                Some(slot) if !self.paged.get(slot as usize).is_some_and(|paged| *paged) => {
                    self.rows.resize_keys(self.keys.len());
                    let number = self.rows.set(slot, next, stored);
                    self.rows.mark_dirty(number);
                }
                _ => {
                    key.clear();
                    self.frames.push(&mut key, join_key);
                    value.clear();
                    stored.write(&mut value);
                    let group = KeyGroup::of(hash, ctx.key_groups.max_parallelism);
                    self.unread.put(hash, group, &[&key, &next.to_be_bytes()], &value);
                }
            }
            next += 1;
        }
        self.resize_keys();
        self.recent_use.resize(self.keys.len());
        if self.is_complete {
            self.come += rows.len() as u64;
            let is_asked = self.come <= ASKED_FACTOR * self.asked;
            self.is_complete = is_asked || self.size_bytes() < ctx.cache_budget_bytes / HARDLY_ASKED_SHARE;
        }
        Ok(next)
    }

    /// State has from now on what can be read from it alone.
    pub fn flush_unread(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.unread.write_all(ctx)
    }

    /// Writes what changed since the last barrier.
    pub fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.flush_unread(ctx)?;
        let mut writes = Writes::default();
        let of = (self.frames, self.buckets, ctx.key_groups);
        write_dirty(&mut self.rows, of, &self.keys, 0, |group, key, value| {
            writes.set(group, key, value);
            writes.flush_when_full(ctx.state.as_mut())
        })?;
        writes.flush(ctx.state.as_mut())
    }

    /// Writes some of the rows that are not in memory and, where `is_ahead`, of what changed, so that little is left to the
    /// barrier: of a side that only adds, whose rows are written once whenever that is. `come` rows came since it was called last.
    pub fn write_some(&mut self, come: usize, is_ahead: bool, ctx: &mut OperatorContext) -> Result<()> {
        let dirty = self.rows.dirty_count();
        if is_ahead && self.only_adds() && dirty > LEFT_ROWS_MAX && !ctx.state.is_freezing() {
            let left = dirty.saturating_sub(AHEAD_FACTOR * come).max(LEFT_ROWS_MAX);
            let of = (self.frames, self.buckets, ctx.key_groups);
            write_dirty(&mut self.rows, of, &self.keys, left, |group, key, value| {
                self.unread.set(group, key, value);
                Ok(())
            })?;
        }
        self.unread.write_some(ctx)
    }

    /// True where the rows of a key are not in memory.
    pub fn is_paged(&self, slot: u32) -> bool {
        slot != NONE && self.paged[slot as usize]
    }

    /// Pages the keys with very many rows; after `write_back`.
    pub fn page_large_keys(&mut self, ctx: &OperatorContext) {
        let (all, bytes_max) = (0..self.keys.len() as u32, paged_bytes(ctx));
        if all.clone().any(|slot| self.rows.key_bytes(slot) > bytes_max) {
            self.retain(&all.collect::<Vec<_>>(), bytes_max);
            self.is_complete = false;
        }
    }

    /// Keeps about so many bytes of what was used last, and of a side that only adds nothing that was never asked for; after
    /// `write_back`.
    pub fn shrink(&mut self, bytes: usize, ctx: &OperatorContext) {
        let mut kept = self.recent_use.last_used(self.size_bytes(), bytes, ctx);
        if self.only_adds() {
            kept.retain(|slot| self.recent_use.is_used(*slot));
        }
        self.is_complete = false;
        self.retain(&kept, paged_bytes(ctx));
    }

    /// Clears rows that are gone; after `write_back`.
    pub fn tidy_up(&mut self) {
        self.retain(&(0..self.keys.len() as u32).collect::<Vec<_>>(), usize::MAX);
    }

    /// Keeps only some keys with their rows, all of which are written; those with more bytes are paged from now on.
    fn retain(&mut self, slots: &[u32], bytes_max: usize) {
        assert!(self.rows.is_clean(), "write_back comes first");
        // Without rows a key is worth remembering only where asking state for it costs a read.
        let has_rows = |slot: &u32| self.rows.first(*slot) != NONE;
        let slots: Vec<u32> = slots.iter().copied().filter(|slot| !self.is_complete || has_rows(slot)).collect();
        let (mut keys, mut rows) = (KeyTable::default(), SideRows::new(self.buckets));
        let mut paged: Vec<bool> = slots.iter().map(|slot| self.paged[*slot as usize]).collect();
        rows.resize_keys(slots.len());
        for (slot, new) in slots.iter().zip(0..) {
            keys.intern(self.keys.hash(*slot), self.keys.key(*slot));
            match self.rows.key_bytes(*slot) > bytes_max {
                true => paged[new as usize] = true,
                false => self.rows.copy_key(*slot, &mut rows, new),
            }
        }
        self.recent_use = self.recent_use.of_kept(&slots);
        (self.keys, self.rows, self.paged) = (keys, rows, paged);
    }

    /// Forgets rows in memory whose time to live is over, of a key of a side that only adds: state has deleted them.
    pub fn forget_expired(&mut self, join_key: &[u8], present: Present<'_>) {
        let Some(slot) = self.keys.find(hash_key(join_key), join_key) else { return };
        loop {
            let first = self.rows.first(slot);
            if first == NONE || present.has(self.rows.facts(first).used_at_ms) {
                return;
            }
            self.rows.remove(first);
        }
    }

    /// Deletes what state has of these rows, which nobody needs any more.
    pub fn delete_stored(&self, ctx: &mut OperatorContext) -> Result<()> {
        let mut writes = Writes::default();
        if self.is_complete {
            let mut framed = Vec::new();
            for (slot, bucket) in self.rows.stored_buckets() {
                framed.clear();
                self.frames.push(&mut framed, self.keys.key(slot));
                let group = self.keys.group(slot, ctx.key_groups);
                writes.delete(group, &[&framed, self.buckets.suffix(&bucket.to_be_bytes())]);
                writes.flush_when_full(ctx.state.as_mut())?;
            }
            return writes.flush(ctx.state.as_mut());
        }
        for group in ctx.key_groups.groups().map(KeyGroup) {
            self.frames.scan(group, ctx.state.as_ref(), &mut |key, _| {
                writes.delete(group, &[key]);
                Ok(true)
            })?;
            writes.flush_when_full(ctx.state.as_mut())?;
        }
        writes.flush(ctx.state.as_mut())
    }

    pub fn size_bytes(&self) -> usize {
        self.rows.size_bytes()
            + self.page.size_bytes()
            + self.unread.size_bytes()
            + self.keys.size_bytes()
            + self.recent_use.size_bytes()
            + self.paged.capacity()
    }
}

/// Bytes of the rows of one key from which on they are paged.
pub(super) fn paged_bytes(ctx: &OperatorContext) -> usize {
    ctx.cache_budget_bytes / PAGED_SHARE
}

/// Tells `set` what brings state's entries up to date with rows of one side, until so many rows are left.
pub(super) fn write_dirty(
    rows: &mut SideRows,
    of: (Frames, Buckets, KeyGroupRange),
    keys: &KeyTable,
    left: usize,
    mut set: impl FnMut(KeyGroup, &[&[u8]], Option<&[u8]>) -> Result<()>,
) -> Result<()> {
    let (frames, buckets, key_groups) = of;
    if buckets == Buckets::Packed {
        return write_packed(rows, of, keys, left, set);
    }
    let (mut framed, mut value, mut live) = (Vec::new(), Vec::new(), Vec::new());
    while rows.dirty_count() > left {
        let Some(dirty) = rows.take_dirty(&mut live) else { break };
        let group = keys.group(dirty.key, key_groups);
        framed.clear();
        frames.push(&mut framed, keys.key(dirty.key));
        let bucket = dirty.bucket.to_be_bytes();
        let key: [&[u8]; 2] = [&framed, buckets.suffix(&bucket)];
        value.clear();
        live.iter().for_each(|row| rows.stored(*row).write(&mut value));
        if !live.is_empty() {
            set(group, &key, Some(&value))?;
        } else if dirty.was_stored {
            set(group, &key, None)?;
        }
    }
    Ok(())
}

/// The same where rows of a key share entries.
fn write_packed(
    rows: &mut SideRows,
    (frames, buckets, key_groups): (Frames, Buckets, KeyGroupRange),
    keys: &KeyTable,
    left: usize,
    mut set: impl FnMut(KeyGroup, &[&[u8]], Option<&[u8]>) -> Result<()>,
) -> Result<()> {
    let mut dirty = rows.take_dirty_by_key(rows.dirty_count().saturating_sub(left));
    // Their time to live was over before they were written.
    dirty.retain(|row| rows.facts(*row).count > 0);
    let (mut rest, mut framed, mut value) = (&dirty[..], Vec::new(), Vec::new());
    while let Some(first) = rest.first() {
        let (slot, bucket) = rows.bucket_of(*first);
        let of_key = rest.iter().take_while(|row| rows.bucket_of(**row).0 == slot);
        let (together, behind) = rest.split_at(packed_rows(of_key.map(|row| rows.bytes(*row).len())));
        value.clear();
        together.iter().for_each(|row| rows.stored(*row).write(&mut value));
        rows.mark_stored(*first);
        framed.clear();
        frames.push(&mut framed, keys.key(slot));
        set(keys.group(slot, key_groups), &[&framed, buckets.suffix(&bucket.to_be_bytes())], Some(&value))?;
        rest = behind;
    }
    Ok(())
}

/// Adds the rows of an entry, as state has them.
pub(super) fn load_rows(
    rows: &mut SideRows,
    (slot, bucket): (u32, u64),
    value: &[u8],
    present: Present<'_>,
) -> Result<()> {
    for (row, place) in entry::rows(value).zip(0..) {
        let row = row?;
        if present.has(row.used_at_ms) {
            let number = rows.set(slot, bucket, row);
            if place == 0 || rows.are_searched() {
                rows.mark_stored(number);
            }
        }
    }
    Ok(())
}
