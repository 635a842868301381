//! Turns upserts by key into a changelog whose every retraction carries the full old row.
//!
//! Keeps the last row of each key. A row that says again what is there already changes nothing, a delete of a key that
//! is not there is passed over: so a changelog whose rows may repeat is put right too.

#[cfg(test)]
mod tests;

use arrow::array::{ArrayRef, Int8Array, Int64Array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;

use super::expiry::ExpirySearch;
use super::key_table::{BatchKeys, KeyColumns, KeyTable};
use super::note::{from_sortable, sortable};
use super::projection::with_schema;
use super::row_codec::{EncodedRows, RowCodec};
use crate::batch::RowKind;
use crate::keys::KeyGroup;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::state::Writes;
use crate::time::ProcessingTime;
use crate::{Batch, EngineError, Result};

/// Bytes of the time of the last row, before the row in an entry.
const ENTRY_HEAD_BYTES: usize = 8;

/// Input and output have the same columns. Each output row carries the watermark of the row that caused it.
#[derive(Clone)]
pub struct ChangelogNormalize {
    /// The primary key, as indices into the input; at least one.
    pub keys: Vec<usize>,
    /// A key that had no row for so long (wall time) is forgotten.
    pub ttl_ms: Option<i64>,
    pub input: SchemaRef,
    /// Of the output: the input's, where columns that only a delete may lack can be NOT NULL.
    pub schema: SchemaRef,
}

impl OperatorFactory for ChangelogNormalize {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(NormalizeOperator {
            keys: KeyColumns::new(&self.keys, &self.input)?,
            rows: RowCodec::new(&self.input)?,
            expiry: ExpirySearch::new(self.ttl_ms),
            schema: self.schema.clone(),
        }))
    }
}

struct NormalizeOperator {
    keys: KeyColumns,
    rows: RowCodec,
    expiry: ExpirySearch,
    schema: SchemaRef,
}

/// Where the last row of a key is to be found.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    Nothing,
    /// Number of a row that came from state.
    Stored(usize),
    /// Row of the batch.
    Given(usize),
}

/// The keys of a batch, with what is held of each.
#[derive(Default)]
struct HeldRows {
    table: KeyTable,
    before: Vec<Held>,
    now: Vec<Held>,
    /// Rows that came from state, as bytes.
    stored: Vec<Vec<u8>>,
}

/// A row to emit.
struct Change {
    row: Held,
    kind: RowKind,
    /// Row of the batch that caused it.
    cause: usize,
}

impl Operator for NormalizeOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let keys = self.keys.encode(batch.rows())?;
        let rows = self.rows.encode(batch.rows())?;
        let mut held = HeldRows::default();
        let mut changes = Vec::new();
        for row in 0..batch.num_rows() {
            let slot = self.find(&mut held, &keys, row, ctx)?;
            held.apply(slot, row, batch.kind(row).is_retraction(), &rows, &mut changes);
        }
        self.write(&held, &rows, ctx)?;
        if changes.is_empty() { Ok(()) } else { out.emit(MAIN_PORT, self.output(&batch, &held, &changes)?) }
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        match self.expiry.next_group(ctx) {
            Some(group) => self.forget_expired(group, ctx),
            None => Ok(()),
        }
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        self.expiry.next_time()
    }
}

impl NormalizeOperator {
    /// The slot of a row's key; a key that is new in this batch is read from state.
    fn find(&self, held: &mut HeldRows, keys: &BatchKeys, row: usize, ctx: &OperatorContext) -> Result<usize> {
        let slot = held.table.intern(keys.hash(row), keys.key(row)) as usize;
        if slot == held.now.len() {
            let group = held.table.group(slot as u32, ctx.key_groups);
            let entry = ctx.state.get(group, keys.key(row))?;
            let entry = entry.map(|entry| split_entry(&entry).map(|(used_at, row)| (used_at, row.to_vec())));
            let found = match entry.transpose()? {
                Some((used_at_ms, row)) if !self.expiry.is_expired(used_at_ms, ctx.now.0) => {
                    held.stored.push(row);
                    Held::Stored(held.stored.len() - 1)
                }
                _ => Held::Nothing,
            };
            held.before.push(found);
            held.now.push(found);
        }
        Ok(slot)
    }

    /// Writes what changed; with a time to live also what was merely used.
    fn write(&self, held: &HeldRows, rows: &EncodedRows, ctx: &mut OperatorContext) -> Result<()> {
        let mut writes = Writes::default();
        let mut entry = Vec::new();
        for (slot, now) in held.now.iter().enumerate() {
            if *now == held.before[slot] && !self.expiry.has_ttl() {
                continue;
            }
            let group = held.table.group(slot as u32, ctx.key_groups);
            let key = held.table.key(slot as u32);
            if *now == Held::Nothing {
                writes.delete(group, &[key]);
                continue;
            }
            entry.clear();
            entry.extend(sortable(ctx.now.0));
            entry.extend_from_slice(held.bytes(*now, rows));
            writes.put(group, &[key], &entry);
        }
        writes.flush(ctx.state.as_mut())
    }

    fn output(&self, batch: &Batch, held: &HeldRows, changes: &[Change]) -> Result<Batch> {
        let stored = self.rows.decode(held.stored.iter().map(Vec::as_slice))?;
        let source = |change: &Change| match change.row {
            Held::Given(row) => (0, row),
            Held::Stored(number) => (1, number),
            Held::Nothing => unreachable!("a change has a row"),
        };
        let sources: Vec<(usize, usize)> = changes.iter().map(source).collect();
        let columns = batch.rows().columns().iter().zip(stored.columns());
        let columns = columns.map(|(given, stored)| interleave(&[given.as_ref(), stored.as_ref()], &sources));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        let rows = with_schema(&self.schema, columns, changes.len())?;
        let kinds = Int8Array::from_iter_values(changes.iter().map(|change| change.kind as i8));
        let output = Batch::with_kinds(rows, kinds);
        if batch.watermarks().is_none() {
            return Ok(output);
        }
        let stamps = changes.iter().map(|change| batch.watermark_before(change.cause).0);
        Ok(output.with_watermarks(Int64Array::from_iter_values(stamps)))
    }

    fn forget_expired(&self, group: KeyGroup, ctx: &mut OperatorContext) -> Result<()> {
        let mut expired = Vec::new();
        ctx.state.scan(group, &[], &mut |key, entry| {
            if self.expiry.is_expired(split_entry(entry)?.0, ctx.now.0) {
                expired.push(key.to_vec());
            }
            Ok(true)
        })?;
        expired.iter().try_for_each(|key| ctx.state.delete(group, key))
    }
}

impl HeldRows {
    fn bytes<'a>(&'a self, held: Held, rows: &'a EncodedRows) -> &'a [u8] {
        match held {
            Held::Nothing => &[],
            Held::Stored(number) => &self.stored[number],
            Held::Given(row) => rows.row(row),
        }
    }

    /// What a row does to its key.
    fn apply(&mut self, slot: usize, row: usize, is_retraction: bool, rows: &EncodedRows, changes: &mut Vec<Change>) {
        let (old, new) = (self.now[slot], Held::Given(row));
        let mut change = |row: Held, kind: RowKind, cause: usize| changes.push(Change { row, kind, cause });
        match (old, is_retraction) {
            (Held::Nothing, true) => {}
            (Held::Nothing, false) => change(new, RowKind::Insert, row),
            (_, true) => change(old, RowKind::Delete, row),
            (_, false) if self.bytes(old, rows) == self.bytes(new, rows) => return,
            (_, false) => {
                change(old, RowKind::UpdateBefore, row);
                change(new, RowKind::UpdateAfter, row);
            }
        }
        self.now[slot] = if is_retraction { Held::Nothing } else { new };
    }
}

/// The wall time of the last use, and the row's bytes.
fn split_entry(entry: &[u8]) -> Result<(i64, &[u8])> {
    let damaged = || EngineError::State("an entry of a changelog normalization is too short".into());
    let (used_at, row) = entry.split_first_chunk::<ENTRY_HEAD_BYTES>().ok_or_else(damaged)?;
    Ok((from_sortable(*used_at), row))
}
