//! Which entries of a write-back cache were used last, and so stay when it has to shrink; and whether there is any state
//! beyond the cache.

use crate::Result;
use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::key_table::KeyTable;

/// At least one of so many slots is given up at once: fewer would cost more than they give.
const GIVEN_UP_SHARE: usize = 512;

/// The last batch that used each slot of a cache.
#[derive(Default)]
pub struct RecentUse {
    /// 0 where there was none, or what the slot was used for has left.
    by_slot: Vec<u64>,
    batch: u64,
    sweep: Sweep,
}

/// Goes round all slots to find some that were not used lately. A round spares those that were used since the one before
/// began.
#[derive(Default)]
struct Sweep {
    next: usize,
    /// The batch in which this round began; 0 before the first.
    begun: u64,
    spared_since: u64,
}

impl RecentUse {
    /// All uses from now on are of a new batch.
    pub fn next_batch(&mut self) {
        self.batch += 1;
    }

    /// True at the first use of a slot in this batch.
    pub fn touch(&mut self, slot: u32) -> bool {
        let slot = slot as usize;
        if slot >= self.by_slot.len() {
            self.by_slot.resize(slot + 1, 0);
        }
        std::mem::replace(&mut self.by_slot[slot], self.batch) != self.batch
    }

    /// Tells how much memory the cache takes; true where that is beyond the budget.
    pub fn is_beyond_budget(&self, size_bytes: usize, ctx: &OperatorContext) -> bool {
        ctx.metrics.cache_bytes.set(size_bytes as i64);
        size_bytes > ctx.cache_budget_bytes && !self.by_slot.is_empty()
    }

    /// Knows of so many slots; those that are new were not used yet.
    pub fn resize(&mut self, slots: usize) {
        self.by_slot.resize(slots, 0);
    }

    /// The present batch.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// The last batch that used a slot.
    pub fn last(&self, slot: u32) -> u64 {
        self.by_slot[slot as usize]
    }

    /// True for a slot that was used at least once.
    pub fn is_used(&self, slot: u32) -> bool {
        self.by_slot[slot as usize] > 0
    }

    /// How many keys have to leave a cache that takes so much memory; tells how much that is. It is spread over all slots: those
    /// without a key are as large, but free.
    pub fn excess(&self, size_bytes: usize, keys: &KeyTable, ctx: &OperatorContext) -> usize {
        // That of a single key counts too, though it leaves memory like any other.
        if !self.is_beyond_budget(size_bytes, ctx) {
            return 0;
        }
        let keys_max = ctx.cache_budget_bytes / (size_bytes / keys.len() + 1);
        keys.count().saturating_sub(keys_max)
    }

    /// Some of so many keys that are too many, where so many were used by the last batch: more than have come, so that there is an
    /// end to it. Those used last stay.
    pub fn take_leaving(&mut self, excess: usize, used: usize, keys: &KeyTable) -> Vec<u32> {
        let share = keys.len() / GIVEN_UP_SHARE;
        self.take_unused_lately((excess + share).min(2 * share.max(used)).min(keys.count()))
    }

    /// So many slots that were used, but not lately, in no particular order; they count as not used from here on. At least so many
    /// must have been used.
    fn take_unused_lately(&mut self, count: usize) -> Vec<u32> {
        let Self { by_slot, batch, sweep } = self;
        if sweep.begun == 0 {
            *sweep = Sweep { next: 0, begun: *batch, spared_since: *batch / 2 + 1 };
        }
        let mut found = Vec::with_capacity(count);
        let (slots, mut looks) = (by_slot.len(), 0);
        while found.len() < count {
            if sweep.next >= slots {
                *sweep = Sweep { next: 0, begun: *batch, spared_since: sweep.begun };
            }
            let used = &mut by_slot[sweep.next];
            // Behind a whole round nothing is spared.
            let is_spared = *used >= sweep.spared_since && looks < slots;
            if *used > 0 && !is_spared {
                *used = 0;
                found.push(sweep.next as u32);
            }
            sweep.next += 1;
            looks += 1;
        }
        found
    }

    /// The slots to keep so that half of the budget is free: those used last, the last one first.
    pub fn to_keep(&self, size_bytes: usize, ctx: &OperatorContext) -> Vec<u32> {
        self.last_used(size_bytes, ctx.cache_budget_bytes / 2, ctx)
    }

    /// The slots that were used last, the last one first, which of so many bytes take about `kept_bytes`.
    pub fn last_used(&self, size_bytes: usize, kept_bytes: usize, ctx: &OperatorContext) -> Vec<u32> {
        let bytes_per_slot = size_bytes / self.by_slot.len().max(1) + 1;
        let mut by_use: Vec<(u64, u32)> = self.by_slot.iter().copied().zip(0u32..).collect();
        by_use.sort_unstable_by(|one, other| other.cmp(one));
        by_use.truncate(kept_bytes / bytes_per_slot);
        ctx.metrics.spilled.add(self.by_slot.len() - by_use.len());
        by_use.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Of a cache that keeps only these slots, and gives them new numbers in this order.
    pub fn of_kept(&self, slots: &[u32]) -> Self {
        let by_slot = slots.iter().map(|slot| self.by_slot[*slot as usize]).collect();
        Self { by_slot, batch: self.batch, sweep: Sweep::default() }
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.by_slot.capacity() * size_of::<u64>()
    }
}

/// True where state has no entry: a cache that begins empty is complete then.
pub fn is_state_empty(ctx: &OperatorContext) -> Result<bool> {
    let mut is_empty = true;
    for group in ctx.key_groups.groups().map(KeyGroup) {
        ctx.state.scan(group, &[], &mut |_, _| {
            is_empty = false;
            Ok(false)
        })?;
        if !is_empty {
            break;
        }
    }
    Ok(is_empty)
}
