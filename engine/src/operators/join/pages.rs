//! Keys with so many rows on one side that memory must not hold them at once.
//!
//! Such rows live in state alone. A row of the other side meets them a page at a time, in the order of their entries; a
//! batch with further rows of such a key reads the buckets of just these, unless its side only adds. What a batch changes is
//! written when the page, or the batch, is done: so between batches memory has none of them.

use hashbrown::HashSet;

use super::entry::{self, Buckets};
use super::side_cache::{Present, SideCache, load_rows, paged_bytes, write_dirty};
use super::side_rows::SideRows;
use crate::Result;
use crate::operator::OperatorContext;
use crate::operators::key_table::KeyTable;
use crate::state::Writes;

/// Bytes of a page: enough to hide the cost of a seek, little enough to stay in the processor's cache.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A page has so much whatever the budget says: a batch at hand takes more.
const PAGE_BYTES_MIN: usize = 4 << 10;

/// Rows of paged keys that are at hand.
pub struct Page {
    /// Only those that are here, so that a page costs what it holds.
    keys: KeyTable,
    pub rows: SideRows,
}

impl Page {
    pub fn new(buckets: Buckets) -> Self {
        Self { keys: KeyTable::default(), rows: SideRows::new(buckets) }
    }

    fn take_in_key(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slot = self.keys.intern(hash, key);
        self.rows.resize_keys(self.keys.len());
        slot
    }

    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes() + self.rows.size_bytes()
    }
}

impl SideCache {
    /// Reads a page of a paged key, from the entry `from` on (the first, where it is empty); gives the entry with which the
    /// next page begins.
    pub fn read_page(
        &mut self,
        slot: u32,
        from: &[u8],
        present: Present<'_>,
        ctx: &mut OperatorContext,
    ) -> Result<Option<Vec<u8>>> {
        assert!(self.page.rows.is_empty(), "one page at a time");
        if self.unread.may_have(self.keys.hash(slot)) {
            self.flush_unread(ctx)?;
        }
        let bytes_max = paged_bytes(ctx).clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX);
        let prefix = self.frames.frame(self.keys.key(slot));
        let from = if from.is_empty() { &prefix } else { from };
        let (group, hash) = (self.keys.group(slot, ctx.key_groups), self.keys.hash(slot));
        let at = self.page.take_in_key(hash, self.keys.key(slot));
        let rows = &mut self.page.rows;
        let (mut bytes, mut entries, mut next) = (0, 0, None);
        ctx.state.scan_from(group, &prefix, from, &mut |key, value| {
            if bytes > 0 && bytes + value.len() > bytes_max {
                next = Some(key.to_vec());
                return Ok(false);
            }
            (bytes, entries) = (bytes + value.len(), entries + 1);
            let bucket = entry::read_key(key)?.bucket.unwrap_or(hash);
            load_rows(rows, (at, bucket), value, present)?;
            Ok(true)
        })?;
        debug_assert!(bytes <= bytes_max || entries == 1, "a page is within its bound (I9)");
        if !self.only_adds() {
            self.page.rows.sort_key(at);
        }
        Ok(next)
    }

    /// Reads the buckets (slot of the key, and hash) of rows whose keys are paged.
    pub fn read_buckets(
        &mut self,
        buckets: impl Iterator<Item = (u32, u64)>,
        present: Present<'_>,
        ctx: &OperatorContext,
    ) -> Result<()> {
        let mut seen: HashSet<(u32, u64)> = HashSet::new();
        for (slot, bucket) in buckets {
            if !self.is_paged(slot) || !seen.insert((slot, bucket)) {
                continue;
            }
            let at = self.page.take_in_key(self.keys.hash(slot), self.keys.key(slot));
            let suffix = bucket.to_be_bytes();
            let key = [&self.frames.frame(self.keys.key(slot)), self.buckets.suffix(&suffix)].concat();
            if let Some(value) = ctx.state.get(self.keys.group(slot, ctx.key_groups), &key)? {
                load_rows(&mut self.page.rows, (at, bucket), &value, present)?;
            }
        }
        Ok(())
    }

    /// Writes what changed of the rows of paged keys that are at hand, and drops them.
    pub fn drop_page(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let mut page = std::mem::replace(&mut self.page, Page::new(self.buckets));
        let mut writes = Writes::default();
        let of = (self.frames, self.buckets, ctx.key_groups);
        write_dirty(&mut page.rows, of, &page.keys, 0, |group, key, value| {
            writes.set(group, key, value);
            writes.flush_when_full(ctx.state.as_mut())
        })?;
        writes.flush(ctx.state.as_mut())
    }

    /// The rows in memory, or those of paged keys that are at hand.
    pub fn rows_of(&self, in_page: bool) -> &SideRows {
        if in_page { &self.page.rows } else { &self.rows }
    }

    pub fn rows_of_mut(&mut self, in_page: bool) -> &mut SideRows {
        if in_page { &mut self.page.rows } else { &mut self.rows }
    }

    /// The slot of a key among the rows in memory or, where it is paged, among those at hand; and where that is.
    pub fn place(&self, slot: u32) -> (u32, bool) {
        match self.is_paged(slot) {
            false => (slot, false),
            true => {
                let at = self.page.keys.find(self.keys.hash(slot), self.keys.key(slot));
                (at.expect("the buckets of a batch are read first"), true)
            }
        }
    }
}
