//! Waiting rows in durable state: `w`, the time, a number that tells rows apart, and the row as value.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::key_table::BatchKeys;
use crate::operators::note::{from_sortable, sortable};
use crate::operators::row_codec::RowCodec;
use crate::state::Writes;
use crate::time::EventTime;
use crate::{EngineError, Result};

const TAG: u8 = b'w';

/// Rows that are read at once at most, unless more have the same time.
const CHUNK_ROWS_MAX: usize = 1 << 16;

pub struct StoredRows {
    codec: RowCodec,
    /// The earliest time in each key group that has rows.
    earliest: BTreeMap<u16, i64>,
    /// Number of rows in state; `None` where a restored state has more than are worth counting.
    rows: Option<usize>,
    sequence: i64,
}

type Entry = (KeyGroup, Vec<u8>, Vec<u8>);

impl StoredRows {
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        Ok(Self { codec: RowCodec::new(schema)?, earliest: BTreeMap::new(), rows: Some(0), sequence: 0 })
    }

    pub fn schema(&self) -> &SchemaRef {
        self.codec.schema()
    }

    /// Numbers from here on are free.
    pub fn sequence(&self) -> i64 {
        self.sequence
    }

    pub fn continue_from(&mut self, sequence: i64) {
        self.sequence = self.sequence.max(sequence);
    }

    pub fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        let mut rows = 0;
        for group in ctx.key_groups.groups().map(KeyGroup) {
            self.look_up_earliest(group, ctx)?;
            ctx.state.scan(group, &[TAG], &mut |_, _| {
                rows += 1;
                Ok(rows <= CHUNK_ROWS_MAX)
            })?;
        }
        self.rows = Some(rows).filter(|rows| *rows <= CHUNK_ROWS_MAX);
        Ok(())
    }

    /// True where there may be more rows than should be taken at once.
    pub fn is_large(&self) -> bool {
        self.rows.is_none_or(|rows| rows > CHUNK_ROWS_MAX)
    }

    fn look_up_earliest(&mut self, group: KeyGroup, ctx: &OperatorContext) -> Result<()> {
        let mut earliest = None;
        ctx.state.scan(group, &[TAG], &mut |key, _| {
            earliest = Some(time_of(key)?);
            Ok(false)
        })?;
        match earliest {
            Some(time) => self.earliest.insert(group.0, time),
            None => self.earliest.remove(&group.0),
        };
        Ok(())
    }

    pub fn put(
        &mut self,
        rows: &RecordBatch,
        times: &[i64],
        keys: &BatchKeys,
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        let encoded = self.codec.encode(rows)?;
        let mut writes = Writes::default();
        for (row, time) in times.iter().enumerate() {
            let group = KeyGroup::of(keys.hash(row), ctx.key_groups.max_parallelism);
            writes.put(group, &[&[TAG], &sortable(*time), &sortable(self.sequence)], encoded.row(row));
            writes.flush_when_full(ctx.state.as_mut())?;
            self.sequence += 1;
            let earliest = self.earliest.entry(group.0).or_insert(*time);
            *earliest = (*earliest).min(*time);
        }
        writes.flush(ctx.state.as_mut())?;
        self.rows = self.rows.map(|rows| rows + times.len());
        Ok(())
    }

    pub fn has_due(&self, watermark: EventTime) -> bool {
        self.earliest.values().any(|time| *time <= watermark.0)
    }

    /// Takes rows that are due out of state, in no order: whole key groups, or where one has too many, its earliest ones.
    /// They are all that are due unless the state is large.
    pub fn take_due(&mut self, watermark: EventTime, ctx: &mut OperatorContext) -> Result<RecordBatch> {
        let due = self.earliest.iter().filter(|(_, time)| **time <= watermark.0).map(|(group, _)| KeyGroup(*group));
        let mut entries: Vec<Entry> = Vec::new();
        for group in due.collect::<Vec<_>>() {
            if entries.len() >= CHUNK_ROWS_MAX {
                break;
            }
            let before = entries.len();
            scan_due(group, watermark, &mut entries, ctx)?;
            let mut writes = Writes::default();
            entries[before..].iter().for_each(|(group, key, _)| writes.delete(*group, &[key]));
            writes.flush(ctx.state.as_mut())?;
            self.look_up_earliest(group, ctx)?;
        }
        self.rows = match self.earliest.is_empty() {
            true => Some(0),
            false => self.rows.map(|rows| rows - entries.len()),
        };
        self.codec.decode(entries.iter().map(|(_, _, row)| row.as_slice()))
    }
}

/// Adds the due rows of a group to `entries`, or the earliest of them where they are too many.
fn scan_due(group: KeyGroup, watermark: EventTime, entries: &mut Vec<Entry>, ctx: &OperatorContext) -> Result<()> {
    let mut last = i64::MIN;
    let first = entries.len();
    ctx.state.scan(group, &[TAG], &mut |key, row| {
        let time = time_of(key)?;
        let full = entries.len() - first >= CHUNK_ROWS_MAX && time > last;
        if time > watermark.0 || full {
            return Ok(false);
        }
        last = time;
        entries.push((group, key.to_vec(), row.to_vec()));
        Ok(true)
    })
}

fn time_of(key: &[u8]) -> Result<i64> {
    let bytes = key.get(1..1 + size_of::<i64>()).and_then(|bytes| bytes.try_into().ok());
    bytes.map(from_sortable).ok_or_else(|| EngineError::State("the time of a waiting row is damaged".into()))
}
