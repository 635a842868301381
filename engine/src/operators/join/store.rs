//! The rows of both sides of a join, within one budget of memory. Changes are written at barriers. When memory passes the
//! budget, everything is written and the keys that were not used lately are dropped.

use super::Lifetime;
use super::entry::{self, Buckets, EntryKey, StoredRow};
use super::meeting::Own;
use super::side::{Added, Side};
use super::side_cache::{Present, SideCache};
use super::side_rows::SideRows;
use crate::Result;
use crate::keys::{KeyGroup, hash_key};
use crate::operator::OperatorContext;
use crate::operators::expiry::ExpirySearch;
use crate::operators::note::{NoteReader, NoteWriter};
use crate::state::Writes;
use crate::time::{EventTime, ProcessingTime};

/// Rows that are gone are cleared from memory when they outnumber those that are there, and so many.
const GONE_ROWS_KEPT_MAX: usize = 4096;

/// A side that takes less than this part of the budget is not made smaller.
const KEPT_SHARE: usize = 4;

pub struct JoinStore {
    pub(super) sides: [Side; 2],
    expiry: ExpirySearch,
    /// Of the next row of a side that only adds. It is above all that ever was, in any instance: so rows of one key never
    /// share a number, whatever instances their group comes to.
    next_number: u64,
    /// There was a barrier, so that there will be more.
    has_barriers: bool,
}

impl JoinStore {
    pub fn new([left, right]: [(Buckets, Option<Lifetime>); 2], ttl_ms: Option<i64>) -> Self {
        let sides = [Side::new(0, left.0, left.1), Side::new(1, right.0, right.1)];
        Self { sides, expiry: ExpirySearch::new(ttl_ms), next_number: 0, has_barriers: false }
    }

    pub fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        let mut notes: Vec<_> = ctx.state.restored_notes().iter().map(|note| NoteReader::new(note)).collect();
        for note in &mut notes {
            self.next_number = self.next_number.max(note.read()? as u64);
        }
        let present = Present { expiry: &self.expiry, now_ms: ctx.now.0 };
        self.sides.iter_mut().try_for_each(|side| side.open(&mut notes, present, ctx))
    }

    pub fn has_ttl(&self) -> bool {
        self.expiry.has_ttl()
    }

    /// One side, and the time for which rows are there or not.
    pub fn side_at(&mut self, side: usize, ctx: &OperatorContext) -> (&mut SideCache, Present<'_>) {
        (self.sides[side].cache_mut(), Present { expiry: &self.expiry, now_ms: ctx.now.0 })
    }

    /// True for a row whose time to live is over, and which so is not there.
    pub fn is_expired(&self, side: usize, row: u32, now_ms: i64) -> bool {
        self.has_ttl() && self.expiry.is_expired(self.sides[side].cache().rows.facts(row).used_at_ms, now_ms)
    }

    /// True where a row of the other side that fits a row of this one always will: how many it fits need not be counted.
    pub fn matches_last(&self, side: usize) -> bool {
        self.sides[side].only_adds() && !self.has_ttl()
    }

    /// Adds the rows of a batch of a side that only adds.
    pub fn append(&mut self, side: usize, added: Added<'_>, ctx: &mut OperatorContext) -> Result<()> {
        let told = told_by(1 - side, ctx);
        self.next_number = self.sides[side].append(added, self.next_number, told, ctx)?;
        Ok(())
    }

    /// Drops rows that nothing which still comes can fit.
    fn forget(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let mut sides = self.sides.iter_mut().enumerate();
        sides.try_for_each(|(number, side)| side.forget(told_by(1 - number, ctx), ctx))
    }

    /// Brings state up to date, and clears rows that are gone from memory where they are many.
    pub fn on_barrier(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.has_barriers = true;
        self.forget(ctx)?;
        self.sides.iter_mut().enumerate().for_each(|(number, side)| side.on_barrier(told_by(1 - number, ctx)));
        self.write_back(ctx)?;
        self.tidy_up();
        Ok(())
    }

    /// Counts a row once more.
    pub fn add(&mut self, side: usize, slot: u32, hash: u64, bytes: &[u8], now_ms: i64) -> Own {
        let (known, key, in_page) = self.find(side, slot, hash, bytes, now_ms);
        let rows = self.sides[side].cache_mut().rows_of_mut(in_page);
        let (count, matches) = known.map_or((0, 0), |row| (rows.facts(row).count, rows.facts(row).matches));
        let number = rows.set(key, hash, StoredRow { count: count + 1, matches, used_at_ms: now_ms, bytes });
        rows.mark_dirty(number);
        Own::kept(number, in_page)
    }

    /// Counts a row once less, if it is there.
    pub fn take_back(&mut self, side: usize, slot: u32, hash: u64, bytes: &[u8], now_ms: i64) -> Option<Own> {
        let (known, _, in_page) = self.find(side, slot, hash, bytes, now_ms);
        let rows = self.sides[side].cache_mut().rows_of_mut(in_page);
        known.map(|number| {
            rows.take_back(number, now_ms);
            rows.mark_dirty(number);
            Own::kept(number, in_page)
        })
    }

    /// The number of a row, if it is there; the slot of its key where the row is or would be, and whether that is in a page.
    fn find(&self, side: usize, slot: u32, hash: u64, bytes: &[u8], now_ms: i64) -> (Option<u32>, u32, bool) {
        let cache = self.sides[side].cache();
        let (key, in_page) = cache.place(slot);
        let rows = cache.rows_of(in_page);
        let is_alive = |row: &u32| !self.expiry.is_expired(rows.facts(*row).used_at_ms, now_ms);
        (rows.find(key, hash, bytes).filter(is_alive), key, in_page)
    }

    /// Writes what changed since the last barrier.
    fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.caches_mut().try_for_each(|cache| cache.write_back(ctx))?;
        if self.sides.iter().any(Side::only_adds) {
            let mut note = NoteWriter::default();
            note.push(self.next_number as i64);
            self.sides.iter().for_each(|side| side.write_note(&mut note));
            ctx.state.set_note(note.finish());
        }
        Ok(())
    }

    /// After `write_back`.
    fn tidy_up(&mut self) {
        for cache in self.caches_mut() {
            if cache.rows.gone_count() > cache.rows.live_count().max(GONE_ROWS_KEPT_MAX) {
                cache.tidy_up();
            }
        }
    }

    fn caches_mut(&mut self) -> impl Iterator<Item = &mut SideCache> {
        self.sides.iter_mut().flat_map(Side::caches_mut)
    }

    /// Makes memory smaller where it holds more than the budget: keys with very many rows are paged from now on; if
    /// that is not enough, keys are dropped. Those used last stay. Where that is near, or a barrier, some of what it would
    /// have to write is written now: behind a batch of so many rows.
    pub fn keep_to_budget(&mut self, rows: usize, ctx: &mut OperatorContext) -> Result<()> {
        self.forget(ctx)?;
        let size_bytes = self.tell_size(ctx);
        let is_large = size_bytes > ctx.cache_budget_bytes / 2;
        for side in &mut self.sides {
            let is_ahead = is_large || self.has_barriers && side.outlives_barriers();
            side.caches_mut().try_for_each(|cache| cache.write_some(rows, is_ahead, ctx))?;
        }
        if size_bytes <= ctx.cache_budget_bytes {
            return Ok(());
        }
        self.write_back(ctx)?;
        self.caches_mut().for_each(|cache| cache.page_large_keys(ctx));
        if self.tell_size(ctx) > ctx.cache_budget_bytes {
            self.shrink(ctx);
            self.tell_size(ctx);
        }
        Ok(())
    }

    /// Frees half of the budget. Rows that were only added go first, since they are needed only if they are asked for.
    fn shrink(&mut self, ctx: &OperatorContext) {
        let least = ctx.cache_budget_bytes / KEPT_SHARE;
        let mut order = [0, 1];
        order.sort_by_key(|side: &usize| !self.sides[*side].only_adds());
        for side in order {
            let other = self.sides[1 - side].size_bytes();
            let bytes = (ctx.cache_budget_bytes / 2).saturating_sub(other).max(least);
            let size_bytes = self.sides[side].size_bytes();
            if size_bytes > bytes {
                let part = bytes as f64 / size_bytes as f64;
                self.sides[side]
                    .caches_mut()
                    .for_each(|cache| cache.shrink((cache.size_bytes() as f64 * part) as usize, ctx));
            }
        }
    }

    /// Memory held, in bytes.
    fn tell_size(&self, ctx: &OperatorContext) -> usize {
        let bytes = self.sides.iter().map(Side::size_bytes).sum();
        ctx.metrics.cache_bytes.set(bytes as i64);
        bytes
    }

    /// When rows are to be searched next that have not been used for long.
    pub fn next_time(&self) -> Option<ProcessingTime> {
        self.expiry.next_time()
    }

    /// Removes expired rows of one key group, now and then.
    pub fn forget_some_expired(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.expiry.next_group(ctx).map_or(Ok(()), |group| self.forget_expired_of(group, ctx))
    }

    fn forget_expired_of(&mut self, group: KeyGroup, ctx: &mut OperatorContext) -> Result<()> {
        self.caches_mut().try_for_each(|cache| cache.flush_unread(ctx))?;
        let (mut writes, mut expired) = (Writes::default(), Vec::new());
        // Sides and join keys whose entries state knows as well as memory.
        let mut added: Vec<(usize, Vec<u8>)> = Vec::new();
        ctx.state.scan(group, &[], &mut |key, value| {
            let entry = entry::read_key(key)?;
            match self.cached_expired(&entry, ctx.now.0) {
                Some(rows) => expired.extend(rows.into_iter().map(|row| (entry.side, row))),
                None => {
                    let is_changed = self.drop_expired((group, key), value, ctx.now.0, &mut writes)?;
                    let is_last =
                        added.last().is_some_and(|(side, key)| (*side, &key[..]) == (entry.side, entry.join_key));
                    if is_changed && self.sides[entry.side].only_adds() && !is_last {
                        added.push((entry.side, entry.join_key.to_vec()));
                    }
                }
            }
            Ok(true)
        })?;
        for (side, row) in expired {
            // The next barrier deletes it from state.
            let rows = &mut self.sides[side].cache_mut().rows;
            rows.remove(row);
            rows.mark_dirty(row);
        }
        for (side, key) in added {
            let (side, present) = self.side_at(side, ctx);
            side.forget_expired(&key, present);
        }
        writes.flush(ctx.state.as_mut())
    }

    /// The expired rows of an entry of which memory knows better than state; `None` where it knows nothing.
    fn cached_expired(&self, entry: &EntryKey<'_>, now_ms: i64) -> Option<Vec<u32>> {
        let (side, hash) = (self.sides[entry.side].cache(), hash_key(entry.join_key));
        let slot = side.keys.find(hash, entry.join_key)?;
        let (rows, bucket): (&SideRows, u64) = (&side.rows, entry.bucket.unwrap_or(hash));
        let is_gone = |row: &u32| rows.facts(*row).count > 0 && self.is_expired(entry.side, *row, now_ms);
        rows.knows_bucket(slot, bucket).then(|| rows.bucket(slot, bucket).filter(is_gone).collect())
    }

    /// Writes an entry that memory does not know without its expired rows; true where it had some.
    fn drop_expired(
        &self,
        (group, key): (KeyGroup, &[u8]),
        value: &[u8],
        now_ms: i64,
        writes: &mut Writes,
    ) -> Result<bool> {
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
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The watermark of one input, which no row of it is behind unless it is late.
fn told_by(input: usize, ctx: &OperatorContext) -> EventTime {
    ctx.input_watermarks.get(input).copied().unwrap_or(EventTime::MIN)
}
