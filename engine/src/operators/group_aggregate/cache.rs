//! The groups in memory: a write-back cache over durable state, one entry per key.
//!
//! A key that is not here is read from state when a row asks for it. Changes are written at barriers. When memory
//! passes the budget, everything is written and the keys that were not used lately are dropped.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;

use super::changes::Results;
use crate::keys::{KeyGroup, hash_key};
use crate::operator::OperatorContext;
use crate::operators::expiry::ExpirySearch;
use crate::operators::key_table::{BatchKeys, SlotSet};
use crate::operators::keyed_aggregates::{KeyedAggregates, NarrowCalls};
use crate::operators::note::{from_sortable, sortable};
use crate::state::Writes;
use crate::{Batch, EngineError, Result};

/// Bytes of the row count and of the time of the last row, before the aggregates of an entry.
const ENTRY_HEAD_BYTES: usize = 16;

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

    pub fn has_ttl(&self) -> bool {
        self.expiry.has_ttl()
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        self.aggregates.keys.key(slot)
    }

    /// The slots of a batch's keys, read from state where memory does not have them.
    pub fn slots_of(&mut self, keys: &BatchKeys, rows: usize, ctx: &OperatorContext) -> Result<Touched> {
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
        self.reset_expired(&distinct, ctx);
        distinct.iter().for_each(|slot| self.groups[*slot as usize].used_at_ms = ctx.now.0);
        Ok(Touched { of_row, distinct })
    }

    /// Reads the entries of all slots from `known` on.
    fn read_from(&mut self, known: usize, ctx: &OperatorContext) -> Result<()> {
        let (mut slots, mut values) = (Vec::new(), Vec::new());
        for slot in known as u32..self.groups.len() as u32 {
            let group = self.aggregates.keys.group(slot, ctx.key_groups);
            let Some(entry) = ctx.state.get(group, self.key(slot))? else { continue };
            let (head, _) = split_entry(&entry)?;
            self.groups[slot as usize] = head;
            slots.push(slot);
            values.push(entry);
        }
        self.aggregates.values.merge_encoded(&slots, values.iter().map(|entry| &entry[ENTRY_HEAD_BYTES..]))
    }

    fn reset_expired(&mut self, slots: &[u32], ctx: &OperatorContext) {
        let expired = |slot: &u32| self.is_expired(&self.groups[*slot as usize], ctx);
        let expired: Vec<u32> = slots.iter().copied().filter(expired).collect();
        self.aggregates.values.reset(&expired);
        expired.iter().for_each(|slot| self.groups[*slot as usize].rows = 0);
    }

    fn is_expired(&self, group: &Group, ctx: &OperatorContext) -> bool {
        group.rows > 0 && self.expiry.is_expired(group.used_at_ms, ctx.now.0)
    }

    /// The current results of some groups.
    pub fn results(&self, slots: &[u32]) -> Result<Results> {
        let exists = slots.iter().map(|slot| self.groups[*slot as usize].rows > 0).collect();
        Ok(Results { exists, columns: self.aggregates.values.evaluate(slots)? })
    }

    /// Adds the rows of a batch, or takes them back, as their kinds say.
    pub fn apply(&mut self, batch: &Batch, touched: &Touched) -> Result<()> {
        let rows = self.calls.project(batch.rows())?;
        match batch.kinds() {
            None => self.aggregates.values.update(&touched.of_row, &rows)?,
            Some(_) => self.apply_changelog(batch, &rows, touched)?,
        }
        for (row, slot) in touched.of_row.iter().enumerate() {
            self.groups[*slot as usize].rows += if batch.kind(row).is_retraction() { -1 } else { 1 };
        }
        touched.distinct.iter().for_each(|slot| self.dirty.insert(*slot));
        let gone = touched.distinct.iter().copied().filter(|slot| self.groups[*slot as usize].rows <= 0);
        let gone: Vec<u32> = gone.collect();
        self.aggregates.values.reset(&gone);
        // A retraction of what never came leaves no debt behind.
        gone.iter().for_each(|slot| self.groups[*slot as usize].rows = 0);
        Ok(())
    }

    /// All additions go before all retractions: what is taken back within the batch is there by then.
    fn apply_changelog(&mut self, batch: &Batch, rows: &arrow::array::RecordBatch, touched: &Touched) -> Result<()> {
        for retractions in [false, true] {
            let numbers = 0..batch.num_rows() as u32;
            let numbers = numbers.filter(|row| batch.kind(*row as usize).is_retraction() == retractions);
            let numbers: UInt32Array = numbers.collect::<Vec<u32>>().into();
            let slots: Vec<u32> = numbers.values().iter().map(|row| touched.of_row[*row as usize]).collect();
            let part =
                if rows.num_columns() == 0 { rows.slice(0, slots.len()) } else { take_record_batch(rows, &numbers)? };
            if retractions {
                self.aggregates.values.retract(&slots, &part)?;
            } else {
                self.aggregates.values.update(&slots, &part)?;
            }
        }
        Ok(())
    }

    /// Writes what changed since the last barrier.
    pub fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let (live, gone): (Vec<u32>, Vec<u32>) =
            self.dirty.iter().partition(|slot| self.groups[*slot as usize].rows > 0);
        let values = self.aggregates.values.encode_state(&live)?;
        let mut writes = Writes::default();
        let mut entry = Vec::new();
        for (row, slot) in live.iter().enumerate() {
            let head = &self.groups[*slot as usize];
            entry.clear();
            entry.extend(sortable(head.rows));
            entry.extend(sortable(head.used_at_ms));
            entry.extend_from_slice(values.row(row).data());
            writes.put(self.aggregates.keys.group(*slot, ctx.key_groups), &[self.key(*slot)], &entry);
            writes.flush_when_full(ctx.state.as_mut())?;
        }
        for slot in gone {
            writes.delete(self.aggregates.keys.group(slot, ctx.key_groups), &[self.key(slot)]);
        }
        writes.flush(ctx.state.as_mut())?;
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
        let mut kept = self.calls.keyed()?;
        kept.merge(&self.aggregates, &slots)?;
        self.groups = slots.iter().map(|slot| self.groups[*slot as usize]).collect();
        self.aggregates = kept;
        Ok(())
    }

    /// Removes expired keys of one key group, now and then.
    pub fn forget_some_expired(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        match self.expiry.next_group(ctx) {
            Some(group) => self.forget_expired_of(group, ctx),
            None => Ok(()),
        }
    }

    fn forget_expired_of(&mut self, group: KeyGroup, ctx: &mut OperatorContext) -> Result<()> {
        let mut expired = Vec::new();
        ctx.state.scan(group, &[], &mut |key, entry| {
            // Memory knows better where it has the key.
            let cached = self.aggregates.keys.find(hash_key(key), key);
            let head = cached.map(|slot| Ok(self.groups[slot as usize]));
            if self.is_expired(&head.unwrap_or_else(|| split_entry(entry).map(|(head, _)| head))?, ctx) {
                expired.push(key.to_vec());
            }
            Ok(true)
        })?;
        for key in expired {
            match self.aggregates.keys.find(hash_key(&key), &key) {
                // The next barrier deletes the entry.
                Some(slot) => {
                    self.reset_expired(&[slot], ctx);
                    self.dirty.insert(slot);
                }
                None => ctx.state.delete(group, &key)?,
            }
        }
        Ok(())
    }
}

fn split_entry(entry: &[u8]) -> Result<(Group, &[u8])> {
    let damaged = || EngineError::State("an entry of a group aggregation is too short".into());
    let (rows, rest) = entry.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (used_at, aggregates) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    let head = Group { rows: from_sortable(*rows), used_at_ms: from_sortable(*used_at), used_in_batch: 0 };
    Ok((head, aggregates))
}
