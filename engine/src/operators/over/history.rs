//! The rows that later frames of a partition still see: in memory as columns, in state one entry per row, `h`, partition
//! key and running number, with the time and the row.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use super::due_index::DueIndex;
use super::frame::{Ahead, Needs};
use super::runs::Runs;
use super::spans::{Past, Segment, Span};
use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::note::{from_sortable, sortable};
use crate::operators::row_codec::RowCodec;
use crate::state::Writes;
use crate::time::EventTime;
use crate::{EngineError, Result};

pub const ROW_TAG: u8 = b'h';

/// Memory is put in order where this many more rows lie in it than are needed, or this many pieces.
const GARBAGE_ROWS_MAX: usize = 1 << 14;
const CHUNKS_MAX: usize = 256;

/// Partitions whose pending rows are given at once.
const DUE_PARTITIONS_MAX: usize = 1 << 12;

/// A row in memory.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: u32,
    row: u32,
    time: i64,
}

#[derive(Default)]
struct Partition {
    rows: VecDeque<Place>,
    /// So many of the last of them have not been given yet.
    pending: usize,
    /// Running number of the first of `rows`.
    first: u64,
    /// Running numbers of the rows in state.
    stored: Range<u64>,
    /// Time of the first pending row, as the index in state has it.
    stored_due: Option<i64>,
}

impl Partition {
    fn first_pending(&self) -> usize {
        self.rows.len() - self.pending
    }

    /// Time of the first pending row.
    fn due(&self) -> Option<i64> {
        (self.pending > 0).then(|| self.rows[self.first_pending()].time)
    }
}

pub struct History {
    needs: Needs,
    ahead: Ahead,
    codec: RowCodec,
    chunks: Vec<RecordBatch>,
    partitions: Vec<Partition>,
    /// Rows in chunks, and those of them that partitions need.
    rows: usize,
    live: usize,
    /// Partitions in memory with pending rows, by the time of the first one.
    due: BTreeSet<(i64, u32)>,
    index: DueIndex,
}

impl History {
    /// `schema` is that of the rows that are remembered.
    pub fn new(needs: Needs, ahead: Ahead, schema: &SchemaRef) -> Result<Self> {
        Ok(Self {
            needs,
            ahead,
            codec: RowCodec::new(schema)?,
            chunks: Vec::new(),
            partitions: Vec::new(),
            rows: 0,
            live: 0,
            due: BTreeSet::new(),
            index: DueIndex::default(),
        })
    }

    pub fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        if self.ahead.is_nothing() { Ok(()) } else { self.index.open(ctx) }
    }

    /// Only rows within a range of time are remembered; how far it goes back.
    pub fn range_only_ms(&self) -> Option<i64> {
        self.needs.range_ms.filter(|_| self.needs.rows == 0 && self.ahead.rows == 0)
    }

    /// Rows before this time are out of every later frame's range, when the next ones come after a watermark.
    pub fn earliest(&self, watermark: EventTime) -> i64 {
        let back =
            |range_ms: i64| watermark.0.saturating_add(1).saturating_sub(self.ahead.range_ms).saturating_sub(range_ms);
        self.needs.range_ms.map_or(i64::MAX, back)
    }

    fn is_unused(&self) -> bool {
        self.needs.is_nothing() && self.ahead.is_nothing()
    }

    /// Makes room for new partitions and reads their rows: `keys` are those behind the partitions that there are.
    pub fn load<'k>(&mut self, keys: impl Iterator<Item = (KeyGroup, &'k [u8])>, ctx: &OperatorContext) -> Result<()> {
        if self.is_unused() {
            return Ok(());
        }
        let chunk = self.chunks.len() as u32;
        let mut encoded: Vec<Vec<u8>> = Vec::new();
        for (group, key) in keys {
            let mut partition = Partition::default();
            let prefix = [&[ROW_TAG], key].concat();
            ctx.state.scan(group, &prefix, &mut |stored, value| {
                let number = number_of(&stored[prefix.len()..])?;
                if partition.rows.is_empty() {
                    partition.first = number;
                    partition.stored.start = number;
                }
                partition.stored.end = number + 1;
                let (time, row) = split_value(value)?;
                partition.rows.push_back(Place { chunk, row: encoded.len() as u32, time });
                encoded.push(row.to_vec());
                Ok(true)
            })?;
            self.partitions.push(partition);
        }
        if !encoded.is_empty() {
            self.rows += encoded.len();
            self.live += encoded.len();
            self.chunks.push(self.codec.decode(encoded.iter().map(Vec::as_slice))?);
        }
        Ok(())
    }

    /// So many of the last rows of a partition, which was just read, have not been given yet.
    pub fn set_pending(&mut self, slot: u32, pending: usize) -> Result<()> {
        let partition = &mut self.partitions[slot as usize];
        if pending > partition.rows.len() {
            return Err(damaged());
        }
        partition.pending = pending;
        partition.stored_due = partition.due();
        self.due.extend(partition.stored_due.map(|time| (time, slot)));
        Ok(())
    }

    pub fn pending(&self, slot: u32) -> usize {
        self.partitions.get(slot as usize).map_or(0, |partition| partition.pending)
    }

    /// The rows of all runs, which are at hand, with those before them. `fresh` are their columns that are remembered.
    pub fn with_past(&self, runs: &Runs, fresh: &RecordBatch) -> Result<Past> {
        let mut places = Vec::with_capacity(fresh.num_rows());
        let (mut times, mut segments) = (Vec::with_capacity(fresh.num_rows()), Vec::with_capacity(runs.runs.len()));
        let mut shifts = Vec::with_capacity(runs.runs.len());
        for run in &runs.runs {
            let start = places.len();
            if let Some(partition) = self.partitions.get(run.slot as usize) {
                places.extend(partition.rows.iter().map(at));
                times.extend(partition.rows.iter().map(|place| place.time));
            }
            let first_new = places.len();
            places.extend(run.rows.clone().map(|row| (self.chunks.len(), row)));
            times.extend_from_slice(&runs.times[run.rows.clone()]);
            segments.push(Segment { start, hand: first_new..places.len(), end: places.len() });
            shifts.resize(shifts.len() + run.rows.len(), first_new - run.rows.start);
        }
        let rows = match places.len() == fresh.num_rows() {
            true => fresh.clone(),
            false => gather(self.chunks.iter().chain([fresh]), &places)?,
        };
        let moved = |(span, by): (Span, usize)| Span { start: span.start + by, end: span.end + by };
        Ok(Past { rows, times, segments, peers: runs.peers().zip(shifts).map(moved).collect() })
    }

    /// Takes up new rows. Those that no later frame sees are dropped; where rows wait for later ones, these are pending.
    pub fn keep(&mut self, runs: &Runs, fresh: RecordBatch) -> Result<()> {
        if self.is_unused() {
            return Ok(());
        }
        let chunk = self.chunks.len() as u32;
        self.rows += fresh.num_rows();
        self.chunks.push(fresh);
        let waits = !self.ahead.is_nothing();
        for run in &runs.runs {
            let partition = &mut self.partitions[run.slot as usize];
            let place = |row: usize| Place { chunk, row: row as u32, time: runs.times[row] };
            partition.rows.extend(run.rows.clone().map(place));
            self.live += run.rows.len();
            if waits {
                partition.pending += run.rows.len();
                self.due.extend(partition.due().map(|time| (time, run.slot)));
            }
            self.drop_unseen(run.slot);
        }
        self.compact_if_worth_it()
    }

    /// Drops the rows of a partition that no pending or later row sees.
    fn drop_unseen(&mut self, slot: u32) {
        let partition = &mut self.partitions[slot as usize];
        // Later rows of a partition are not before its last one.
        let Some(next) = partition.due().or(partition.rows.back().map(|last| last.time)) else { return };
        let earliest = self.needs.range_ms.map_or(i64::MAX, |range_ms| next.saturating_sub(range_ms));
        while partition.rows.len() > self.needs.rows.saturating_add(partition.pending)
            && partition.rows[0].time < earliest
        {
            partition.rows.pop_front();
            partition.first += 1;
            self.live -= 1;
        }
    }

    /// Of some partitions the pending rows that have all that they wait for, with the rows around them. All rows of a
    /// partition up to `reached` are there, or up to its last one where that is later.
    pub fn answerable(&self, slots: &[u32], reached: Reached) -> Result<Option<(Vec<Answer>, Past)>> {
        let mut answers = Vec::new();
        let (mut places, mut times, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        for slot in slots {
            let partition = &self.partitions[*slot as usize];
            let rows = self.answerable_rows(partition, reached);
            if rows == 0 {
                continue;
            }
            answers.push(Answer { slot: *slot, rows });
            let start = places.len();
            let first = start + partition.first_pending();
            places.extend(partition.rows.iter().map(at));
            times.extend(partition.rows.iter().map(|place| place.time));
            segments.push(Segment { start, hand: first..first + rows, end: places.len() });
        }
        if answers.is_empty() {
            return Ok(None);
        }
        let rows = gather(self.chunks.iter(), &places)?;
        Ok(Some((answers, Past { rows, times, segments, peers: Vec::new() })))
    }

    fn answerable_rows(&self, partition: &Partition, reached: Reached) -> usize {
        let reached = match reached {
            Reached::End => return partition.pending,
            Reached::Time(time) => partition.rows.back().map_or(time, |last| time.max(last.time)),
        };
        let first = partition.first_pending();
        let with_rows = partition.pending.saturating_sub(self.ahead.rows);
        let in_time = |place: &&Place| place.time.saturating_add(self.ahead.range_ms) <= reached;
        partition.rows.range(first..first + with_rows).take_while(in_time).count()
    }

    /// Notes that pending rows were given.
    pub fn answered(&mut self, answers: &[Answer]) -> Result<()> {
        for Answer { slot, rows } in answers {
            let partition = &mut self.partitions[*slot as usize];
            if let Some(time) = partition.due() {
                self.due.remove(&(time, *slot));
            }
            partition.pending -= rows;
            self.due.extend(partition.due().map(|time| (time, *slot)));
            self.drop_unseen(*slot);
        }
        self.compact_if_worth_it()
    }

    /// Some partitions in memory whose first pending row has waited long enough.
    pub fn due_in_memory(&mut self, reached: Reached) -> Vec<u32> {
        if reached == Reached::End {
            let pending = self.partitions.iter().zip(0..).filter(|(partition, _)| partition.pending > 0);
            return pending.map(|(_, slot)| slot).take(DUE_PARTITIONS_MAX).collect();
        }
        let mut slots = Vec::new();
        while let Some((time, slot)) = self.due.first().copied()
            && slots.len() < DUE_PARTITIONS_MAX
            && self.is_due(time, reached)
        {
            self.due.pop_first();
            slots.push(slot);
        }
        slots
    }

    /// The keys of some such partitions that were in state alone, perhaps among others. They are to be read.
    pub fn due_in_state(&mut self, reached: Reached, ctx: &mut OperatorContext) -> Result<Vec<Vec<u8>>> {
        let latest = match reached {
            Reached::End => i64::MAX,
            Reached::Time(_) if self.ahead.range_ms == 0 => return Ok(Vec::new()),
            Reached::Time(time) => time.saturating_sub(self.ahead.range_ms),
        };
        self.index.take(latest, DUE_PARTITIONS_MAX, ctx)
    }

    fn is_due(&self, time: i64, reached: Reached) -> bool {
        match reached {
            Reached::End => true,
            // What waits for rows is looked at when they come.
            Reached::Time(reached) => self.ahead.range_ms > 0 && time.saturating_add(self.ahead.range_ms) <= reached,
        }
    }

    /// The index in state has no entry of these partitions any more.
    pub fn forget_index(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.partitions[*slot as usize].stored_due = None);
    }

    fn compact_if_worth_it(&mut self) -> Result<()> {
        let is_worth_it = self.rows > 2 * self.live + GARBAGE_ROWS_MAX || self.chunks.len() > CHUNKS_MAX;
        if is_worth_it { self.compact() } else { Ok(()) }
    }

    fn compact(&mut self) -> Result<()> {
        let places: Vec<(usize, usize)> =
            self.partitions.iter().flat_map(|partition| &partition.rows).map(at).collect();
        let chunk = gather(self.chunks.iter(), &places)?;
        let rows = self.partitions.iter_mut().flat_map(|partition| &mut partition.rows);
        rows.zip(0..).for_each(|(place, row)| (place.chunk, place.row) = (0, row));
        self.rows = chunk.num_rows();
        assert_eq!(self.rows, self.live, "only needed rows are left");
        self.chunks = if self.rows == 0 { Vec::new() } else { vec![chunk] };
        Ok(())
    }

    /// Drops rows before a time; gives the partitions that had some, and whether they have others.
    pub fn drop_before(&mut self, earliest: i64) -> Vec<(u32, bool)> {
        let mut changed = Vec::new();
        for (partition, slot) in self.partitions.iter_mut().zip(0..) {
            let given = partition.first_pending();
            let old = partition.rows.iter().take(given).take_while(|place| place.time < earliest).count();
            if old > 0 {
                partition.rows.drain(..old);
                partition.first += old as u64;
                self.live -= old;
                changed.push((slot, !partition.rows.is_empty()));
            }
        }
        changed
    }

    /// Forgets the rows of a partition, whose entries in state go at the next write.
    pub fn clear(&mut self, slot: u32) {
        if let Some(partition) = self.partitions.get_mut(slot as usize) {
            self.live -= partition.rows.len();
            debug_assert_eq!(partition.pending, 0, "rows that wait are never forgotten");
            partition.first += partition.rows.len() as u64;
            partition.rows.clear();
        }
    }

    /// Writes what changed of some partitions.
    pub fn write<'k>(
        &mut self,
        slots: &[u32],
        key_of: impl Fn(u32) -> (KeyGroup, &'k [u8]),
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        if self.is_unused() {
            return Ok(());
        }
        let fresh: Vec<(usize, usize)> = slots.iter().flat_map(|slot| self.unwritten(*slot)).map(at).collect();
        let encoded = match fresh.is_empty() {
            true => None,
            false => Some(self.codec.encode(&gather(self.chunks.iter(), &fresh)?)?),
        };
        let mut row = 0;
        let mut value = Vec::new();
        let mut writes = Writes::default();
        for slot in slots {
            let (group, key) = key_of(*slot);
            let places: Vec<Place> = self.unwritten(*slot).copied().collect();
            let partition = &mut self.partitions[*slot as usize];
            let end = partition.first + partition.rows.len() as u64;
            for number in partition.stored.start..partition.stored.end.min(partition.first) {
                writes.delete(group, &[&entry_key(key, number)]);
            }
            for (place, number) in places.iter().zip(end - places.len() as u64..) {
                value.clear();
                value.extend(sortable(place.time));
                value.extend_from_slice(encoded.as_ref().map_or(&[], |encoded| encoded.row(row)));
                row += 1;
                writes.put(group, &[&entry_key(key, number)], &value);
            }
            partition.stored = partition.first..end;
            let due = partition.due();
            if due != partition.stored_due {
                self.index.replace(group, key, partition.stored_due, due, &mut writes);
                partition.stored_due = due;
            }
            writes.flush_when_full(ctx.state.as_mut())?;
        }
        writes.flush(ctx.state.as_mut())
    }

    /// The rows of a partition that state does not have.
    fn unwritten(&self, slot: u32) -> impl Iterator<Item = &Place> {
        let partition = &self.partitions[slot as usize];
        let written = partition.stored.end.saturating_sub(partition.first) as usize;
        partition.rows.iter().skip(written)
    }

    /// Forgets everything in memory, all of which is written.
    pub fn drop_memory(&mut self) {
        self.due.clear();
        self.chunks.clear();
        self.partitions.clear();
        (self.rows, self.live) = (0, 0);
    }

    pub fn size_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(RecordBatch::get_array_memory_size).sum();
        chunks + self.live * size_of::<Place>() + self.partitions.capacity() * size_of::<Partition>()
    }
}

/// How far the rows of all partitions are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// All up to this time.
    Time(i64),
    /// There will be no others.
    End,
}

/// So many of a partition's pending rows.
pub struct Answer {
    pub slot: u32,
    pub rows: usize,
}

fn at(place: &Place) -> (usize, usize) {
    (place.chunk as usize, place.row as usize)
}

fn gather<'a>(chunks: impl Iterator<Item = &'a RecordBatch>, places: &[(usize, usize)]) -> Result<RecordBatch> {
    let chunks: Vec<&RecordBatch> = chunks.collect();
    Ok(interleave_record_batch(&chunks, places)?)
}

fn entry_key(key: &[u8], number: u64) -> Vec<u8> {
    [&[ROW_TAG], key, &number.to_be_bytes()].concat()
}

fn number_of(bytes: &[u8]) -> Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged())
}

/// The time and the row of an entry.
pub fn split_value(value: &[u8]) -> Result<(i64, &[u8])> {
    let (time, row) = value.split_first_chunk::<8>().ok_or_else(damaged)?;
    Ok((from_sortable(*time), row))
}

fn damaged() -> EngineError {
    EngineError::State("an entry of an OVER aggregation is damaged".into())
}
