//! The rows that later frames of a partition still see: in memory as columns, in state one entry per row, `h`, partition
//! key and running number, with the time and the row.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use super::runs::Runs;
use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::narrow::Narrow;
use crate::operators::note::{from_sortable, sortable};
use crate::operators::row_codec::RowCodec;
use crate::state::Writes;
use crate::time::EventTime;
use crate::{EngineError, Result};

pub const ROW_TAG: u8 = b'h';

/// Memory is put in order where this many more rows lie in it than are needed, or this many pieces.
const GARBAGE_ROWS_MAX: usize = 1 << 14;
const CHUNKS_MAX: usize = 256;

/// What frames see of the rows before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// So many of the last rows.
    pub rows: usize,
    /// Rows so many milliseconds back.
    pub range_ms: Option<i64>,
}

impl Needs {
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Rows before this time are out of every later frame's range, when the next ones come after a watermark.
    pub fn earliest(self, watermark: EventTime) -> i64 {
        self.range_ms.map_or(i64::MAX, |range| watermark.0.saturating_add(1).saturating_sub(range))
    }
}

/// Rows of partitions with those before them.
pub struct Past {
    /// Of each run: the rows before, then the new ones.
    pub rows: RecordBatch,
    pub times: Vec<i64>,
    pub segments: Vec<Segment>,
    fresh: RecordBatch,
}

#[derive(Debug, Clone, Copy)]
pub struct Segment {
    pub start: usize,
    pub first_new: usize,
    pub end: usize,
}

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
    /// Running number of the first of `rows`.
    first: u64,
    /// Running numbers of the rows in state.
    stored: Range<u64>,
}

pub struct History {
    needs: Needs,
    narrow: Narrow,
    codec: RowCodec,
    chunks: Vec<RecordBatch>,
    partitions: Vec<Partition>,
    /// Rows in chunks, and those of them that partitions need.
    rows: usize,
    live: usize,
}

impl History {
    pub fn new(needs: Needs, narrow: Narrow) -> Result<Self> {
        let codec = RowCodec::new(narrow.schema())?;
        Ok(Self { needs, narrow, codec, chunks: Vec::new(), partitions: Vec::new(), rows: 0, live: 0 })
    }

    pub fn needs(&self) -> Needs {
        self.needs
    }

    pub fn narrow(&self) -> &Narrow {
        &self.narrow
    }

    /// Makes room for new partitions and reads their rows: `keys` are those behind the partitions that there are.
    pub fn load<'k>(&mut self, keys: impl Iterator<Item = (KeyGroup, &'k [u8])>, ctx: &OperatorContext) -> Result<()> {
        if self.needs.is_nothing() {
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

    /// The rows of all runs with those before them.
    pub fn with_past(&self, runs: &Runs, sorted: &RecordBatch) -> Result<Past> {
        let fresh = self.narrow.project(sorted)?;
        let mut places = Vec::with_capacity(fresh.num_rows());
        let (mut times, mut segments) = (Vec::with_capacity(fresh.num_rows()), Vec::with_capacity(runs.runs.len()));
        for run in &runs.runs {
            let start = places.len();
            if let Some(partition) = self.partitions.get(run.slot as usize) {
                places.extend(partition.rows.iter().map(|place| (place.chunk as usize, place.row as usize)));
                times.extend(partition.rows.iter().map(|place| place.time));
            }
            let first_new = places.len();
            places.extend(run.rows.clone().map(|row| (self.chunks.len(), row)));
            times.extend_from_slice(&runs.times[run.rows.clone()]);
            segments.push(Segment { start, first_new, end: places.len() });
        }
        let rows = match places.len() == fresh.num_rows() {
            true => fresh.clone(),
            false => gather(self.chunks.iter().chain([&fresh]), &places)?,
        };
        Ok(Past { rows, times, segments, fresh })
    }

    /// Takes up the new rows, and drops those that no later frame sees.
    pub fn keep(&mut self, runs: &Runs, past: Past) -> Result<()> {
        if self.needs.is_nothing() {
            return Ok(());
        }
        let chunk = self.chunks.len() as u32;
        self.rows += past.fresh.num_rows();
        self.chunks.push(past.fresh);
        for run in &runs.runs {
            let partition = &mut self.partitions[run.slot as usize];
            let before = partition.rows.len();
            // Later rows of a partition are not before its last one.
            let last = runs.times[run.rows.end - 1];
            let earliest = self.needs.earliest(EventTime(last.saturating_sub(1)));
            let place = |row: usize| Place { chunk, row: row as u32, time: runs.times[row] };
            partition.rows.extend(run.rows.clone().map(place));
            self.live += run.rows.len();
            debug_assert_eq!(before + run.rows.len(), partition.rows.len());
            while partition.rows.len() > self.needs.rows && partition.rows[0].time < earliest {
                partition.rows.pop_front();
                partition.first += 1;
                self.live -= 1;
            }
        }
        if self.rows > 2 * self.live + GARBAGE_ROWS_MAX || self.chunks.len() > CHUNKS_MAX {
            self.compact()?;
        }
        Ok(())
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
            let old = partition.rows.iter().take_while(|place| place.time < earliest).count();
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
        if self.needs.is_nothing() {
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
        self.chunks.clear();
        self.partitions.clear();
        (self.rows, self.live) = (0, 0);
    }

    pub fn size_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(RecordBatch::get_array_memory_size).sum();
        chunks + self.live * size_of::<Place>() + self.partitions.capacity() * size_of::<Partition>()
    }
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
