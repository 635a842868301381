//! Top-1 over appended rows: the first row of each partition and nothing else, such as the last row of a key by time.
//!
//! A row that was replaced never comes back, so a partition is one entry of state: in the frame `1` of the partition key the wall
//! time of the last row, the length of the sort bytes, sort bytes and row bytes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{interleave, take_record_batch};

use super::{Order, TopN};
use crate::batch::RowKind;
use crate::keys::hash_key;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext};
use crate::operators::ahead::Ahead;
use crate::operators::expiry::ExpirySearch;
use crate::operators::key_table::{BatchKeys, KeyColumns, KeyTable, SlotSet};
use crate::operators::note::{from_sortable, sortable};
use crate::operators::ordering::{SortBytes, SortEncoder};
use crate::operators::projection::with_schema;
use crate::operators::recent_use::{RecentUse, is_state_empty};
use crate::operators::row_codec::{EncodedRows, RowCodec};
use crate::state::{FramedReads, Writes, push_frame, unframe};
use crate::time::ProcessingTime;
use crate::{Batch, EngineError, Epoch, Result};

const TAG: u8 = b'1';

/// No row of the batch.
const NONE: u32 = u32::MAX;

pub struct TopOneOperator {
    plan: TopN,
    keys: KeyColumns,
    order: SortEncoder,
    codec: RowCodec,
    cache: FirstRows,
}

impl TopOneOperator {
    pub fn new(plan: &TopN, order: SortEncoder, codec: RowCodec) -> Result<Self> {
        let keys = KeyColumns::new(&plan.keys, &plan.input)?;
        Ok(Self { plan: plan.clone(), keys, order, codec, cache: FirstRows::new(plan.ttl_ms) })
    }

    /// By place in `touched.distinct` the row of the batch that becomes the first of its partition, or [`NONE`].
    fn winners(&self, batch: &Batch, kept: &RecordBatch, order: &SortBytes, touched: &Touched) -> Result<Vec<u32>> {
        let mut winners = vec![NONE; touched.distinct.len()];
        if self.plan.order == Order::NewestFirst {
            touched.of_row.iter().zip(0..).for_each(|(place, row)| winners[*place as usize] = row);
            return Ok(winners);
        }
        let mut encoded: Option<EncodedRows> = None;
        for row in 0..batch.num_rows() {
            let place = touched.of_row[row] as usize;
            let winner = winners[place];
            let first = self.cache.row(touched.distinct[place]);
            let sort = match (winner, first) {
                (NONE, None) => None,
                (NONE, Some(first)) => Some(first.sort()),
                (winner, _) => Some(order.of(winner as usize)),
            };
            let wins = match sort.map(|sort| order.of(row).cmp(sort)) {
                None => true,
                // Rows that the order leaves equal are told apart by their columns, so that arrival does not matter.
                Some(std::cmp::Ordering::Equal) => {
                    if encoded.is_none() {
                        encoded = Some(self.codec.encode(kept)?);
                    }
                    let encoded = encoded.as_ref().expect("they were encoded");
                    let bytes = match (winner, first) {
                        (NONE, Some(first)) => first.row(),
                        _ => encoded.row(winner as usize),
                    };
                    encoded.row(row) < bytes
                }
                Some(ordering) => ordering.is_lt(),
            };
            if wins {
                winners[place] = row as u32;
            }
        }
        Ok(winners)
    }

    /// The changes: rows of the batch that come, and in front of each the row that it replaces.
    fn output(&self, kept: &RecordBatch, changes: &[Change], replaced: &[FirstRow]) -> Result<Batch> {
        let (mut columns, kinds) = if replaced.is_empty() {
            let come = UInt32Array::from_iter_values(changes.iter().map(|change| change.come));
            (rows_of(kept, &come)?.columns().to_vec(), None)
        } else {
            let replaced = self.codec.decode(replaced.iter().map(FirstRow::row))?;
            let (mut places, mut kinds) = (Vec::new(), Vec::new());
            for Change { come, replaces } in changes {
                if let Some(replaces) = replaces {
                    places.push((1, *replaces));
                    kinds.push(RowKind::UpdateBefore as i8);
                }
                places.push((0, *come as usize));
                let kind = if replaces.is_some() { RowKind::UpdateAfter } else { RowKind::Insert };
                kinds.push(kind as i8);
            }
            let columns = kept.columns().iter().zip(replaced.columns());
            let columns = columns.map(|(new, old)| Ok(interleave(&[new.as_ref(), old.as_ref()], &places)?));
            (columns.collect::<Result<Vec<ArrayRef>>>()?, Some(Int8Array::from(kinds)))
        };
        let row_count = changes.len() + replaced.len();
        if self.plan.with_rank {
            columns.push(Arc::new(Int64Array::from(vec![1; row_count])));
        }
        let rows = with_schema(&self.plan.schema, columns, row_count)?;
        Ok(match kinds {
            Some(kinds) => Batch::with_kinds(rows, kinds),
            None => Batch::new(rows),
        })
    }
}

/// These rows, each of which is named once and before those behind it.
fn rows_of(batch: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch> {
    if rows.len() == batch.num_rows() { Ok(batch.clone()) } else { Ok(take_record_batch(batch, rows)?) }
}

/// A row of the batch that becomes the first of its partition.
struct Change {
    come: u32,
    /// The place of the row that it replaces among those.
    replaces: Option<usize>,
}

impl Operator for TopOneOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.cache.open(ctx)
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let keys = self.keys.encode(batch.rows())?;
        let touched = self.cache.touch(&keys, batch.num_rows(), ctx)?;
        let kept = batch.rows().project(&self.plan.kept)?;
        let order = self.order.encode(batch.rows())?;
        let winners = self.winners(&batch, &kept, &order, &touched)?;
        let come: Vec<usize> = winners.iter().filter(|row| **row != NONE).map(|row| *row as usize).collect();
        let encoded = self.codec.encode_some(&kept, come.iter().copied())?;
        let (mut changes, mut replaced) = (Vec::with_capacity(come.len()), Vec::new());
        let winning = winners.iter().zip(&touched.distinct).filter(|(row, _)| **row != NONE);
        for ((come, slot), bytes) in winning.zip(encoded.iter()) {
            let before = self.cache.set(*slot, order.of(*come as usize), bytes);
            if !before.exists {
                changes.push(Change { come: *come, replaces: None });
            } else if before.row() != bytes {
                changes.push(Change { come: *come, replaces: Some(replaced.len()) });
                replaced.push(before);
            }
        }
        if !changes.is_empty() {
            out.emit(MAIN_PORT, self.output(&kept, &changes, &replaced)?)?;
        }
        self.cache.keep_to_budget(touched.distinct.len(), ctx)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.cache.on_barrier(ctx)
    }

    fn work_ahead(&mut self, ctx: &mut OperatorContext) -> Result<bool> {
        self.cache.work_ahead(ctx)
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.cache.forget_some_expired(ctx)
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        self.cache.expiry.next_time()
    }
}

/// The partitions of a batch's rows.
struct Touched {
    /// By row the place of its partition in `distinct`.
    of_row: Vec<u32>,
    /// Each slot once, in order of first appearance.
    distinct: Vec<u32>,
}

/// The first row of a partition.
#[derive(Default)]
struct FirstRow {
    /// Sort bytes, then row bytes.
    bytes: Box<[u8]>,
    sort_length: u32,
    /// There is one.
    exists: bool,
    /// Wall time of the last row, as far as state is to know it.
    used_at_ms: i64,
}

impl FirstRow {
    fn sort(&self) -> &[u8] {
        &self.bytes[..self.sort_length as usize]
    }

    fn row(&self) -> &[u8] {
        &self.bytes[self.sort_length as usize..]
    }
}

/// A write-back cache over durable state, by partition. Partitions leave memory as groups of an aggregate do.
struct FirstRows {
    expiry: ExpirySearch,
    keys: KeyTable,
    /// By slot.
    rows: Vec<FirstRow>,
    /// Of sort bytes and row bytes.
    row_bytes: usize,
    /// By slot the place among the distinct ones of the batch at hand.
    places: Vec<u32>,
    /// Slots that differ from state.
    dirty: SlotSet,
    /// Slots that were not used have no partition: their key is new, or has left.
    recent_use: RecentUse,
    ahead: Ahead,
    /// State has no partition that memory has not.
    is_complete: bool,
}

impl FirstRows {
    fn new(ttl_ms: Option<i64>) -> Self {
        Self {
            expiry: ExpirySearch::new(ttl_ms),
            keys: KeyTable::default(),
            rows: Vec::new(),
            row_bytes: 0,
            places: Vec::new(),
            dirty: SlotSet::default(),
            recent_use: RecentUse::default(),
            ahead: Ahead::default(),
            is_complete: false,
        }
    }

    fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        self.is_complete = is_state_empty(ctx)?;
        Ok(())
    }

    /// The partitions of a batch's rows, read from state where memory does not have them. Those that expired are empty.
    fn touch(&mut self, keys: &BatchKeys, rows: usize, ctx: &OperatorContext) -> Result<Touched> {
        self.recent_use.next_batch();
        let mut touched = Touched { of_row: Vec::with_capacity(rows), distinct: Vec::new() };
        let mut new = Vec::new();
        for row in 0..rows {
            let slot = self.keys.intern(keys.hash(row), keys.key(row));
            if slot as usize == self.rows.len() {
                self.rows.push(FirstRow::default());
                self.places.push(0);
                self.recent_use.resize(self.rows.len());
            }
            if !self.recent_use.is_used(slot) {
                new.push(slot);
            }
            if self.recent_use.touch(slot) {
                self.places[slot as usize] = touched.distinct.len() as u32;
                touched.distinct.push(slot);
            }
            touched.of_row.push(self.places[slot as usize]);
        }
        if !self.is_complete {
            self.read(&new, ctx)?;
        }
        if self.expiry.has_ttl() {
            touched.distinct.iter().for_each(|slot| self.note_use(*slot, ctx.now.0));
        }
        Ok(touched)
    }

    /// Reads partitions together: in the order of keys, and where state has nothing of most of them, a look into the filters of its
    /// files is all that it costs.
    fn read(&mut self, new: &[u32], ctx: &OperatorContext) -> Result<()> {
        let Self { keys, rows, row_bytes, .. } = self;
        let reads = new.iter().map(|slot| (*slot, keys.group(*slot, ctx.key_groups), keys.key(*slot)));
        ctx.state.scan_frames(&FramedReads::new(TAG, reads), &mut |slot, _, value| {
            rows[slot as usize] = read_value(value)?;
            *row_bytes += rows[slot as usize].bytes.len();
            Ok(true)
        })
    }

    fn note_use(&mut self, slot: u32, now_ms: i64) {
        let row = &mut self.rows[slot as usize];
        if row.exists && self.expiry.is_expired(row.used_at_ms, now_ms) {
            self.row_bytes -= row.bytes.len();
            *row = FirstRow::default();
            self.dirty.insert(slot);
        }
        let row = &mut self.rows[slot as usize];
        if !row.exists || self.expiry.is_worth_noting(row.used_at_ms, now_ms) {
            row.used_at_ms = now_ms;
            self.dirty.insert(slot);
        }
    }

    /// The first row of a partition, if it has one.
    fn row(&self, slot: u32) -> Option<&FirstRow> {
        Some(&self.rows[slot as usize]).filter(|row| row.exists)
    }

    /// Gives what was there before.
    fn set(&mut self, slot: u32, sort: &[u8], bytes: &[u8]) -> FirstRow {
        let row = &mut self.rows[slot as usize];
        let (sort_length, used_at_ms) = (sort.len() as u32, row.used_at_ms);
        let new = FirstRow { bytes: [sort, bytes].concat().into(), sort_length, exists: true, used_at_ms };
        self.row_bytes = self.row_bytes + new.bytes.len() - row.bytes.len();
        self.dirty.insert(slot);
        std::mem::replace(row, new)
    }

    /// Writes what changed since the last barrier.
    fn on_barrier(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.ahead.on_barrier();
        let dirty = std::mem::take(&mut self.dirty);
        self.write(dirty.iter(), ctx)
    }

    /// Writes some of that before it; true where there was something to write.
    fn work_ahead(&mut self, ctx: &mut OperatorContext) -> Result<bool> {
        let slots = self.ahead.take(&mut self.dirty, &self.recent_use, ctx);
        self.write(slots.iter().copied(), ctx)?;
        Ok(!slots.is_empty())
    }

    fn write(&self, slots: impl Iterator<Item = u32>, ctx: &mut OperatorContext) -> Result<()> {
        let (mut writes, mut key) = (Writes::default(), Vec::new());
        for slot in slots {
            let (group, row) = (self.keys.group(slot, ctx.key_groups), &self.rows[slot as usize]);
            key.clear();
            push_frame(&mut key, TAG, &[self.keys.key(slot)]);
            match row.exists {
                true => writes.put_parts(group, &[&key], &[&value_head(row), &row.bytes]),
                false => writes.delete(group, &[&key]),
            }
            writes.flush_when_full(ctx.state.as_mut())?;
        }
        writes.flush(ctx.state.as_mut())
    }

    /// Some partitions leave memory where it holds more than the budget, behind a batch that touched so many.
    fn keep_to_budget(&mut self, touched: usize, ctx: &mut OperatorContext) -> Result<()> {
        let excess = self.recent_use.excess(self.size_bytes(), &self.keys, ctx);
        if excess == 0 {
            return Ok(());
        }
        self.is_complete = false;
        let leaving = self.recent_use.take_leaving(excess, touched, &self.keys);
        self.write(leaving.iter().copied().filter(|slot| self.dirty.contains(*slot)), ctx)?;
        for slot in &leaving {
            self.dirty.remove(*slot);
            self.keys.remove(*slot);
            self.row_bytes -= std::mem::take(&mut self.rows[*slot as usize]).bytes.len();
        }
        ctx.metrics.spilled.add(leaving.len());
        if self.keys.is_sparse() {
            self.rebuild(ctx)?;
        }
        ctx.metrics.cache_bytes.set(self.size_bytes() as i64);
        Ok(())
    }

    /// Gives back the memory of slots that have no key.
    fn rebuild(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        self.write(dirty.iter(), ctx)?;
        let slots: Vec<u32> = (0..self.rows.len() as u32).filter(|slot| self.recent_use.is_used(*slot)).collect();
        self.rows = slots.iter().map(|slot| std::mem::take(&mut self.rows[*slot as usize])).collect();
        self.places = vec![0; slots.len()];
        self.keys = self.keys.of_kept(&slots);
        self.recent_use = self.recent_use.of_kept(&slots);
        self.ahead.forget_slots();
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        self.row_bytes
            + self.rows.capacity() * size_of::<FirstRow>()
            + self.places.capacity() * size_of::<u32>()
            + self.keys.size_bytes()
            + self.recent_use.size_bytes()
    }

    /// Removes expired partitions of one key group, now and then.
    fn forget_some_expired(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let Some(group) = self.expiry.next_group(ctx) else { return Ok(()) };
        let mut expired = Vec::new();
        ctx.state.scan(group, &[TAG], &mut |key, value| {
            let part = unframe(key).ok_or_else(damaged)?.part;
            let known = self.keys.find(hash_key(part), part);
            // Memory knows better where it has the partition.
            let used_at_ms = match known {
                Some(slot) => self.rows[slot as usize].used_at_ms,
                None => read_value(value)?.used_at_ms,
            };
            if self.expiry.is_expired(used_at_ms, ctx.now.0) {
                expired.push((known, key.to_vec()));
            }
            Ok(true)
        })?;
        for (known, key) in expired {
            if let Some(slot) = known {
                self.row_bytes -= std::mem::take(&mut self.rows[slot as usize]).bytes.len();
                self.dirty.remove(slot);
            }
            ctx.state.delete(group, &key)?;
        }
        Ok(())
    }
}

fn value_head(row: &FirstRow) -> [u8; 12] {
    let mut head = [0; 12];
    head[..8].copy_from_slice(&sortable(row.used_at_ms));
    head[8..].copy_from_slice(&row.sort_length.to_be_bytes());
    head
}

fn read_value(value: &[u8]) -> Result<FirstRow> {
    let (used_at, rest) = value.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (sort_length, bytes) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let sort_length = u32::from_be_bytes(*sort_length);
    if sort_length as usize > bytes.len() {
        return Err(damaged());
    }
    Ok(FirstRow { bytes: bytes.into(), sort_length, exists: true, used_at_ms: from_sortable(*used_at) })
}

fn damaged() -> EngineError {
    EngineError::State("an entry of a Top-1 is damaged".into())
}
