//! The groups in memory: a write-back cache over durable state, one entry per key.
//!
//! A key that is not here is read from state when a row asks for it. Changes are written at barriers. When memory
//! passes the budget, everything is written and the keys that were not used lately are dropped. Of groups that keep their
//! values apart, only the heads stay then; a value is read again when a row asks for it.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::changes::Results;
use super::local;
use super::stored::{CallValues, GroupHead, delete_values, group_key, scan_groups, value_writer};
use crate::aggregate::set::KeptCall;
use crate::keys::{KeyGroup, hash_key};
use crate::operator::OperatorContext;
use crate::operators::expiry::ExpirySearch;
use crate::operators::key_table::{BatchKeys, SlotSet};
use crate::operators::keyed_aggregates::{KeyedAggregates, NarrowCalls};
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
    /// Number of the last batch with a row.
    used_in_batch: u64,
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
    batches: u64,
}

impl GroupCache {
    pub fn new(calls: NarrowCalls, ttl_ms: Option<i64>) -> Result<Self> {
        Ok(Self {
            aggregates: calls.keyed()?,
            calls,
            expiry: ExpirySearch::new(ttl_ms),
            groups: Vec::new(),
            dirty: SlotSet::default(),
            batches: 0,
        })
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        self.aggregates.keys.key(slot)
    }

    /// The slots of a batch's keys, read from state where memory does not have them.
    pub fn slots_of(&mut self, keys: &BatchKeys, rows: usize, ctx: &mut OperatorContext) -> Result<Touched> {
        self.batches += 1;
        let known = self.groups.len();
        let of_row = self.aggregates.slots_of(keys, 0..rows);
        self.groups.resize(self.aggregates.len(), Group::default());
        self.read_from(known, ctx)?;
        let mut distinct = Vec::new();
        for slot in &of_row {
            if self.groups[*slot as usize].used_in_batch != self.batches {
                self.groups[*slot as usize].used_in_batch = self.batches;
                distinct.push(*slot);
            }
        }
        self.reset_expired(&distinct, ctx)?;
        self.load_results(&distinct, ctx)?;
        distinct.iter().for_each(|slot| self.groups[*slot as usize].used_at_ms = ctx.now.0);
        Ok(Touched { of_row, distinct })
    }

    /// Reads the entries of all slots from `known` on.
    fn read_from(&mut self, known: usize, ctx: &OperatorContext) -> Result<()> {
        let (mut slots, mut entries) = (Vec::new(), Vec::new());
        for slot in known as u32..self.groups.len() as u32 {
            let group = self.aggregates.keys.group(slot, ctx.key_groups);
            let Some(entry) = ctx.state.get(group, &group_key(self.key(slot)).concat())? else { continue };
            slots.push(slot);
            entries.push(entry);
        }
        let mut aggregates = Vec::with_capacity(entries.len());
        for (slot, entry) in slots.iter().zip(&entries) {
            let (head, rest) = GroupHead::split(entry)?;
            let group = Group { rows: head.rows, used_at_ms: head.used_at_ms, used_in_batch: 0 };
            self.groups[*slot as usize] = group;
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
    pub fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let (live, gone): (Vec<u32>, Vec<u32>) =
            self.dirty.iter().partition(|slot| self.groups[*slot as usize].rows > 0);
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
        writes.flush(state)?;
        self.dirty.clear();
        Ok(())
    }

    /// True where keys have to leave memory.
    pub fn is_over_budget(&self, ctx: &OperatorContext) -> bool {
        self.size_bytes() > ctx.cache_budget_bytes
    }

    /// Drops keys from memory where it holds more than the budget; those used last stay.
    pub fn keep_to_budget(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let size_bytes = self.size_bytes();
        ctx.metrics.cache_bytes.set(size_bytes as i64);
        if size_bytes <= ctx.cache_budget_bytes || self.groups.is_empty() {
            return Ok(());
        }
        self.write_back(ctx)?;
        let bytes_per_key = size_bytes / self.groups.len() + 1;
        let keep = ctx.cache_budget_bytes / 2 / bytes_per_key;
        let mut by_use: Vec<(u64, u32)> =
            self.groups.iter().zip(0u32..).map(|(group, slot)| (group.used_in_batch, slot)).collect();
        by_use.sort_unstable_by(|one, other| other.cmp(one));
        by_use.truncate(keep);
        ctx.metrics.spilled.add(self.groups.len() - by_use.len());
        self.retain(by_use.into_iter().map(|(_, slot)| slot).collect())?;
        ctx.metrics.cache_bytes.set(self.size_bytes() as i64);
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        self.aggregates.size_bytes() + self.groups.capacity() * size_of::<Group>()
    }

    /// Keeps only some groups; none of them may be dirty.
    fn retain(&mut self, slots: Vec<u32>) -> Result<()> {
        assert!(self.dirty.is_empty(), "write_back comes first");
        self.groups = slots.iter().map(|slot| self.groups[*slot as usize]).collect();
        self.aggregates.retain(&slots)
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
