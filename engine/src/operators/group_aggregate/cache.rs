//! The groups in memory: a write-back cache over durable state, one entry per key.
//!
//! A key that is not here is read from state when a row asks for it. Changes are written at barriers. Where memory has
//! passed the budget, some keys that were not used lately leave it after each batch, as many as have come, and new ones get
//! their slots: no row waits until all of a large cache has been written and built again. That happens only where half of the
//! slots are of no use any more, since memory is given back by no other way. Of groups that keep their values apart, only
//! the heads stay then; a value is read again when a row asks for it.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::changes::Results;
use super::local;
use super::stored::{CallValues, GroupHead, delete_values, group_key, scan_groups, value_writer};
use crate::aggregate::set::KeptCall;
use crate::keys::{KeyGroup, hash_key};
use crate::operator::OperatorContext;
use crate::operators::ahead::Ahead;
use crate::operators::expiry::ExpirySearch;
use crate::operators::key_table::{BatchKeys, SlotSet};
use crate::operators::keyed_aggregates::{KeyedAggregates, NarrowCalls};
use crate::operators::recent_use::RecentUse;
use crate::state::Writes;
use crate::time::ProcessingTime;
use crate::{Batch, Result};

/// What the input rows are.
#[derive(Clone, Copy)]
pub enum InputRows {
    Rows,
    /// Output of the first phase: so many key columns, the count of rows, then state columns.
    Partials {
        keys: usize,
    },
}

impl InputRows {
    /// How many rows a batch stands for.
    pub fn count(self, batch: &Batch) -> usize {
        match self {
            Self::Rows => batch.num_rows(),
            Self::Partials { keys } => {
                partial_rows(batch, keys).iter().map(|rows| rows.unsigned_abs().max(1) as usize).sum()
            }
        }
    }
}

fn partial_rows(batch: &Batch, keys: usize) -> &[i64] {
    batch.column(keys).as_primitive::<Int64Type>().values()
}

/// What is known of a group beside its aggregates.
#[derive(Clone, Copy, Default)]
struct Group {
    /// Rows added less rows taken back; 0 means that the group does not exist.
    rows: i64,
    /// Wall time of the last row.
    used_at_ms: i64,
}

/// The groups of a batch's rows.
pub struct Touched {
    /// Slot of each row.
    pub of_row: Vec<u32>,
    /// Each slot once, in order of first appearance.
    pub distinct: Vec<u32>,
}

pub struct GroupCache {
    calls: NarrowCalls,
    expiry: ExpirySearch,
    aggregates: KeyedAggregates,
    groups: Vec<Group>,
    /// Slots that differ from state.
    dirty: SlotSet,
    /// Slots that were not used have no group: their key is new, or has left.
    recent_use: RecentUse,
    ahead: Ahead,
}

impl GroupCache {
    pub fn new(calls: NarrowCalls, ttl_ms: Option<i64>) -> Result<Self> {
        Ok(Self {
            aggregates: calls.keyed()?,
            calls,
            expiry: ExpirySearch::new(ttl_ms),
            groups: Vec::new(),
            dirty: SlotSet::default(),
            recent_use: RecentUse::default(),
            ahead: Ahead::default(),
        })
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        self.aggregates.keys.key(slot)
    }

    /// The slots of a batch's keys, read from state where memory does not have them.
    pub fn slots_of(&mut self, keys: &BatchKeys, rows: usize, ctx: &mut OperatorContext) -> Result<Touched> {
        self.recent_use.next_batch();
        let of_row = self.aggregates.slots_of(keys, 0..rows);
        self.groups.resize(self.aggregates.len(), Group::default());
        self.recent_use.resize(self.aggregates.len());
        let (mut distinct, mut new) = (Vec::new(), Vec::new());
        for slot in &of_row {
            if !self.recent_use.is_used(*slot) {
                new.push(*slot);
            }
            if self.recent_use.touch(*slot) {
                distinct.push(*slot);
            }
        }
        self.read(&new, ctx)?;
        self.reset_expired(&distinct, ctx)?;
        self.load_results(&distinct, ctx)?;
        distinct.iter().for_each(|slot| self.groups[*slot as usize].used_at_ms = ctx.now.0);
        Ok(Touched { of_row, distinct })
    }

    /// Reads the entries of slots that have none yet.
    fn read(&mut self, new: &[u32], ctx: &OperatorContext) -> Result<()> {
        let (mut slots, mut entries) = (Vec::new(), Vec::new());
        for slot in new {
            let group = self.aggregates.keys.group(*slot, ctx.key_groups);
            let Some(entry) = ctx.state.get(group, &group_key(self.key(*slot)).concat())? else { continue };
            slots.push(*slot);
            entries.push(entry);
        }
        let mut aggregates = Vec::with_capacity(entries.len());
        for (slot, entry) in slots.iter().zip(&entries) {
            let (head, rest) = GroupHead::split(entry)?;
            let group = &mut self.groups[*slot as usize];
            (group.rows, group.used_at_ms) = (head.rows, head.used_at_ms);
            aggregates.push(rest);
        }
        self.aggregates.values.merge_encoded(&slots, aggregates)
    }

    /// Calls `work` for each aggregate that keeps values of some of these groups apart.
    fn for_each_apart(
        &mut self,
        slots: &[u32],
        ctx: &OperatorContext,
        mut work: impl FnMut(KeptCall<'_>, &CallValues<'_>) -> Result<()>,
    ) -> Result<()> {
        let KeyedAggregates { keys, values } = &mut self.aggregates;
        for call in values.kept_calls().filter(|call| call.values.any_apart(slots)) {
            let (state, key_groups) = (ctx.state.as_ref(), ctx.key_groups);
            let stored = CallValues { call: call.number, keys, key_groups, state };
            work(call, &stored)?;
        }
        Ok(())
    }

    /// Reads what the results of these groups are computed from.
    pub fn load_results(&mut self, slots: &[u32], ctx: &OperatorContext) -> Result<()> {
        self.for_each_apart(slots, ctx, |call, stored| call.values.load_results(slots, stored))
    }

    /// Makes these groups empty, in memory and, as far as they are apart, in state.
    fn reset(&mut self, slots: &[u32], ctx: &mut OperatorContext) -> Result<()> {
        let KeyedAggregates { keys, values } = &mut self.aggregates;
        for slot in slots {
            if values.kept_calls().any(|call| call.values.any_apart(&[*slot])) {
                delete_values(ctx.state.as_mut(), keys.group(*slot, ctx.key_groups), keys.key(*slot))?;
            }
            // A retraction of what never came leaves no debt behind.
            self.groups[*slot as usize].rows = 0;
        }
        values.reset(slots);
        Ok(())
    }

    fn reset_expired(&mut self, slots: &[u32], ctx: &mut OperatorContext) -> Result<()> {
        let is_expired = |group: &Group| group.rows > 0 && self.expiry.is_expired(group.used_at_ms, ctx.now.0);
        let expired = slots.iter().copied().filter(|slot| is_expired(&self.groups[*slot as usize]));
        let expired: Vec<u32> = expired.collect();
        self.reset(&expired, ctx)
    }

    /// The current results of some groups.
    pub fn results(&self, slots: &[u32]) -> Result<Results> {
        let exists = slots.iter().map(|slot| self.groups[*slot as usize].rows > 0).collect();
        Ok(Results { exists, columns: self.aggregates.values.evaluate(slots)? })
    }

    /// Adds the rows of a batch, or takes them back, as their kinds say.
    pub fn apply(&mut self, batch: &Batch, touched: &Touched, ctx: &mut OperatorContext) -> Result<()> {
        let rows = self.calls.project(batch.rows())?;
        self.for_each_apart(&touched.distinct, ctx, |mut call, stored| call.load_rows(&touched.of_row, &rows, stored))?;
        local::apply(&mut self.aggregates.values, &touched.of_row, batch, &rows)?;
        for (row, slot) in touched.of_row.iter().enumerate() {
            self.groups[*slot as usize].rows += if batch.kind(row).is_retraction() { -1 } else { 1 };
        }
        self.note_changed(touched, ctx)
    }

    /// Merges partials: so many key columns, the count of rows, then state columns.
    pub fn apply_partials(
        &mut self,
        batch: &Batch,
        keys: usize,
        touched: &Touched,
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        let states = &batch.rows().columns()[keys + 1..];
        self.for_each_apart(&touched.distinct, ctx, |mut call, stored| {
            call.load_partials(&touched.of_row, states, stored)
        })?;
        self.aggregates.values.merge_columns(&touched.of_row, states)?;
        for (rows, slot) in partial_rows(batch, keys).iter().zip(&touched.of_row) {
            self.groups[*slot as usize].rows += rows;
        }
        self.note_changed(touched, ctx)
    }

    /// What is left to do once rows were added to groups or taken back.
    fn note_changed(&mut self, touched: &Touched, ctx: &mut OperatorContext) -> Result<()> {
        touched.distinct.iter().for_each(|slot| self.dirty.insert(*slot));
        let gone = touched.distinct.iter().copied().filter(|slot| self.groups[*slot as usize].rows <= 0);
        let gone: Vec<u32> = gone.collect();
        self.reset(&gone, ctx)?;
        self.load_results(&touched.distinct, ctx)
    }

    /// Writes what changed since the last barrier.
    pub fn on_barrier(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.ahead.on_barrier();
        self.write_back(ctx)
    }

    /// Writes some of that before it; true where there was something to write.
    pub fn work_ahead(&mut self, ctx: &mut OperatorContext) -> Result<bool> {
        let slots = self.ahead.take(&mut self.dirty, &self.recent_use, ctx);
        let has_found = !slots.is_empty();
        self.write(slots, ctx)?;
        Ok(has_found)
    }

    fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.write(self.dirty.iter().collect(), ctx)?;
        self.dirty.clear();
        Ok(())
    }

    fn write(&mut self, dirty: Vec<u32>, ctx: &mut OperatorContext) -> Result<()> {
        let (live, gone): (Vec<u32>, Vec<u32>) =
            dirty.into_iter().partition(|slot| self.groups[*slot as usize].rows > 0);
        let (mut writes, state) = (Writes::default(), ctx.state.as_mut());
        let KeyedAggregates { keys, values } = &mut self.aggregates;
        let mut apart = vec![false; live.len()];
        for call in values.kept_calls() {
            let mut write = value_writer(call.number, keys, ctx.key_groups, &mut writes, state);
            call.values.write_changed(&live, &mut write)?;
            live.iter().zip(&mut apart).for_each(|(slot, apart)| *apart |= call.values.any_apart(&[*slot]));
        }
        let aggregates = values.encode_state(&live)?;
        let mut entry = Vec::new();
        for (row, (slot, is_apart)) in live.iter().zip(apart).enumerate() {
            let Group { rows, used_at_ms, .. } = self.groups[*slot as usize];
            entry.clear();
            GroupHead { rows, used_at_ms, is_apart }.write(&mut entry);
            entry.extend_from_slice(aggregates.row(row).data());
            writes.put(keys.group(*slot, ctx.key_groups), &group_key(keys.key(*slot)), &entry);
            writes.flush_when_full(state)?;
        }
        for slot in gone {
            writes.delete(keys.group(slot, ctx.key_groups), &group_key(keys.key(slot)));
        }
        writes.flush(state)
    }

    /// How many keys have to leave memory.
    pub fn excess(&self, ctx: &OperatorContext) -> usize {
        self.recent_use.excess(self.size_bytes(), &self.aggregates.keys, ctx)
    }

    /// Some of so many keys that are too many leave memory, where so many groups were touched by the last batch.
    pub fn give_up(&mut self, excess: usize, touched: usize, ctx: &mut OperatorContext) -> Result<()> {
        if excess == 0 {
            return Ok(());
        }
        let leaving = self.recent_use.take_leaving(excess, touched, &self.aggregates.keys);
        let dirty = leaving.iter().copied().filter(|slot| self.dirty.contains(*slot)).collect();
        self.write(dirty, ctx)?;
        for slot in &leaving {
            self.dirty.remove(*slot);
            self.aggregates.keys.remove(*slot);
            self.groups[*slot as usize] = Group::default();
        }
        self.aggregates.values.reset(&leaving);
        ctx.metrics.spilled.add(leaving.len());
        if self.aggregates.keys.is_sparse() {
            self.rebuild(ctx)?;
        }
        ctx.metrics.cache_bytes.set(self.size_bytes() as i64);
        Ok(())
    }

    /// Gives back the memory of slots that have no key.
    fn rebuild(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        // What is apart must be written before it leaves memory.
        self.write_back(ctx)?;
        let slots: Vec<u32> = (0..self.groups.len() as u32).filter(|slot| self.recent_use.is_used(*slot)).collect();
        self.groups = slots.iter().map(|slot| self.groups[*slot as usize]).collect();
        self.recent_use = self.recent_use.of_kept(&slots);
        self.ahead.forget_slots();
        self.aggregates.retain(&slots)
    }

    fn size_bytes(&self) -> usize {
        self.aggregates.size_bytes() + self.groups.capacity() * size_of::<Group>() + self.recent_use.size_bytes()
    }

    /// When groups are to be searched next that have not been used for long.
    pub fn next_time(&self) -> Option<ProcessingTime> {
        self.expiry.next_time()
    }

    /// Removes expired keys of one key group, now and then.
    pub fn forget_some_expired(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        match self.expiry.next_group(ctx) {
            Some(group) => self.forget_expired_of(group, ctx),
            None => Ok(()),
        }
    }

    fn forget_expired_of(&mut self, group: KeyGroup, ctx: &mut OperatorContext) -> Result<()> {
        let (mut cached, mut stored) = (Vec::new(), Vec::new());
        scan_groups(ctx.state.as_ref(), group, &mut |key, entry| {
            match self.aggregates.keys.find(hash_key(key), key) {
                // Memory knows better where it has the key.
                Some(slot) => cached.push(slot),
                None => {
                    let (head, _) = GroupHead::split(entry)?;
                    if self.expiry.is_expired(head.used_at_ms, ctx.now.0) {
                        stored.push((key.to_vec(), head.is_apart));
                    }
                }
            }
            Ok(true)
        })?;
        for (key, is_apart) in stored {
            ctx.state.delete(group, &group_key(&key).concat())?;
            if is_apart {
                delete_values(ctx.state.as_mut(), group, &key)?;
            }
        }
        self.reset_expired(&cached, ctx)?;
        // The next barrier deletes the entries of those that expired.
        cached.iter().filter(|slot| self.groups[**slot as usize].rows == 0).for_each(|slot| self.dirty.insert(*slot));
        Ok(())
    }
}
