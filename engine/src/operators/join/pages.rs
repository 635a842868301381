//! Keys with so many rows on one side that memory must not hold them at once.
//!
//! Such rows live in state alone. A row of the other side meets them a page at a time, in the order of their entries; a
//! batch with further rows of such a key reads the buckets of just these. What a batch changes is written when the page, or
//! the batch, is done: so between batches memory has none of them.

use hashbrown::HashSet;

use super::entry::{self, StoredRow};
use super::side_rows::{NONE, SideRows};
use super::store::{JoinStore, load_rows, paged_bytes, write_dirty};
use crate::Result;
use crate::operator::OperatorContext;
use crate::state::{Writes, frame};

/// Bytes of a page: enough to hide the cost of a seek, little enough to stay in the processor's cache.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A page has so much whatever the budget says: a batch at hand takes more.
const PAGE_BYTES_MIN: usize = 4 << 10;

impl JoinStore {
    /// True where the rows of a key are not in memory.
    pub fn is_paged(&self, side: usize, slot: u32) -> bool {
        slot != NONE && self.paged[slot as usize][side]
    }

    /// The rows of one side: those in memory, or those of paged keys that are at hand.
    pub fn rows(&self, side: usize, paged: bool) -> &SideRows {
        if paged { &self.pages[side] } else { &self.sides[side] }
    }

    pub fn rows_mut(&mut self, side: usize, paged: bool) -> &mut SideRows {
        if paged { &mut self.pages[side] } else { &mut self.sides[side] }
    }

    /// Reads a page of a paged key, from the entry `from` on (the first, where it is empty); gives the entry with which the
    /// next page begins.
    pub fn read_page(&mut self, side: usize, slot: u32, from: &[u8], ctx: &OperatorContext) -> Result<Option<Vec<u8>>> {
        assert!(self.pages[side].is_empty(), "one page at a time");
        let bytes_max = paged_bytes(ctx).clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX);
        let prefix = [frame(self.keys.key(slot)), vec![side as u8]].concat();
        let from = if from.is_empty() { &prefix } else { from };
        let (group, key_hash) = (self.keys.group(slot, ctx.key_groups), self.keys.hash(slot));
        let Self { pages, keys, expiry, .. } = self;
        let page = &mut pages[side];
        page.resize_keys(keys.len());
        let is_expired = |row: &StoredRow<'_>| expiry.is_expired(row.used_at_ms, ctx.now.0);
        let (mut bytes, mut entries, mut next) = (0, 0, None);
        ctx.state.scan_from(group, &prefix, from, &mut |key, value| {
            if bytes > 0 && bytes + value.len() > bytes_max {
                next = Some(key.to_vec());
                return Ok(false);
            }
            (bytes, entries) = (bytes + value.len(), entries + 1);
            let hash = entry::read_key(key)?.1.unwrap_or(key_hash);
            load_rows(page, (slot, hash), value, &is_expired)?;
            Ok(true)
        })?;
        debug_assert!(bytes <= bytes_max || entries == 1, "a page is within its bound (I9)");
        page.sort_key(slot);
        Ok(next)
    }

    /// Reads the buckets (key and hash) of rows whose keys are paged.
    pub fn read_buckets(
        &mut self,
        side: usize,
        buckets: impl Iterator<Item = (u32, u64)>,
        ctx: &OperatorContext,
    ) -> Result<()> {
        let mut seen: HashSet<(u32, u64)> = HashSet::new();
        for (slot, hash) in buckets {
            if !self.is_paged(side, slot) || !seen.insert((slot, hash)) {
                continue;
            }
            let Self { pages, keys, expiry, .. } = self;
            let suffix = hash.to_be_bytes();
            let key = [&frame(keys.key(slot)), &[side as u8][..], self.buckets[side].suffix(&suffix)].concat();
            pages[side].resize_keys(keys.len());
            if let Some(value) = ctx.state.get(keys.group(slot, ctx.key_groups), &key)? {
                let is_expired = |row: &StoredRow<'_>| expiry.is_expired(row.used_at_ms, ctx.now.0);
                load_rows(&mut pages[side], (slot, hash), &value, &is_expired)?;
            }
        }
        Ok(())
    }

    /// Writes what changed of the rows of paged keys that are at hand, and drops them.
    pub fn drop_page(&mut self, side: usize, ctx: &mut OperatorContext) -> Result<()> {
        let mut page = std::mem::take(&mut self.pages[side]);
        let mut writes = Writes::default();
        write_dirty(&mut page, side, &self.keys, self.buckets[side], &mut writes, ctx)?;
        writes.flush(ctx.state.as_mut())
    }
}
