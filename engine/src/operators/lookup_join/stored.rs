//! Rows in flight in durable state: `r` and a number that says where the row stands, with the row and the watermark of its
//! split as value. Which key group holds a row says nothing but which instance gets it after a change of parallelism.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::held::HeldRows;
use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::join_rows::pick;
use crate::operators::note::{NoteReader, NoteWriter};
use crate::operators::projection::with_schema;
use crate::operators::row_codec::RowCodec;
use crate::state::Writes;
use crate::time::EventTime;
use crate::{Batch, Result};

const TAG: u8 = b'r';

pub struct StoredRows {
    /// The left columns, then the watermark before the row.
    codec: RowCodec,
    left: SchemaRef,
    /// What the last barrier, or the checkpoint that was restored, left in state.
    stored: Vec<(KeyGroup, u64)>,
}

impl StoredRows {
    pub fn new(left: &SchemaRef) -> Result<Self> {
        let mark = Field::new("watermark", DataType::Int64, true);
        let fields = left.fields().iter().map(|field| field.as_ref().clone()).chain([mark]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self { codec: RowCodec::new(&schema)?, left: Arc::clone(left), stored: Vec::new() })
    }

    /// The rows that were in flight, in order, in batches; and the watermark that readers had been told.
    pub fn restore(&mut self, ctx: &OperatorContext) -> Result<(Vec<Batch>, EventTime)> {
        let mut found: Vec<(u64, KeyGroup, Box<[u8]>)> = Vec::new();
        for group in ctx.key_groups.groups().map(KeyGroup) {
            ctx.state.scan(group, &[TAG], &mut |key, value| {
                let number = key[1..].try_into().map_or(0, u64::from_be_bytes);
                found.push((number, group, value.into()));
                Ok(true)
            })?;
        }
        found.sort_unstable_by_key(|(number, group, _)| (*number, *group));
        self.stored = found.iter().map(|(number, group, _)| (*group, *number)).collect();
        let chunks = found.chunks(ctx.batch_rows.max(1));
        let batches = chunks.map(|rows| self.decode(rows.iter().map(|(_, _, value)| value.as_ref())));
        Ok((batches.collect::<Result<_>>()?, told_before(ctx)?))
    }

    fn decode<'a>(&self, rows: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<Batch> {
        let rows = self.codec.decode(rows)?;
        let (marks, left) = rows.columns().split_last().expect("the last column is the watermark");
        let marks = marks.as_primitive::<Int64Type>();
        let batch = Batch::new(with_schema(&self.left, left.to_vec(), rows.num_rows())?);
        if marks.iter().all(|mark| mark.is_none()) {
            return Ok(batch);
        }
        Ok(batch.with_watermarks(marks.iter().map(|mark| mark.unwrap_or(EventTime::MIN.0)).collect()))
    }

    /// At a barrier: state holds exactly the rows in flight, and the note what readers were told.
    pub fn write(&mut self, held: &HeldRows, ctx: &mut OperatorContext) -> Result<()> {
        let mut writes = Writes::default();
        let old = std::mem::take(&mut self.stored);
        old.iter().for_each(|(group, number)| writes.delete(*group, &[&[TAG], &number.to_be_bytes()]));
        writes.flush(ctx.state.as_mut())?;
        let groups = u64::from(ctx.key_groups.end - ctx.key_groups.start).max(1);
        let mut number = 0;
        for (batch, rows) in held.waiting() {
            let encoded = self.codec.encode(&with_marks(&self.codec, batch, &rows)?)?;
            for row in encoded.iter() {
                let group = KeyGroup(ctx.key_groups.start + (number % groups) as u16);
                writes.put(group, &[&[TAG], &number.to_be_bytes()], row);
                self.stored.push((group, number));
                number += 1;
            }
            writes.flush_when_full(ctx.state.as_mut())?;
        }
        writes.flush(ctx.state.as_mut())?;
        let mut note = NoteWriter::default();
        note.push(held.released().0);
        ctx.state.set_note(note.finish());
        Ok(())
    }
}

/// The least that any former instance had told its readers.
fn told_before(ctx: &OperatorContext) -> Result<EventTime> {
    let notes = ctx.state.restored_notes().iter().map(|note| NoteReader::new(note).read());
    let told = notes.collect::<Result<Vec<i64>>>()?;
    Ok(told.into_iter().min().map_or(EventTime::MIN, EventTime))
}

fn with_marks(codec: &RowCodec, batch: &Batch, rows: &[u32]) -> Result<RecordBatch> {
    let mark = |row: &u32| batch.watermarks().map(|marks| marks.value(*row as usize));
    let marks: ArrayRef = Arc::new(rows.iter().map(mark).collect::<Int64Array>());
    let columns = pick(batch.rows(), rows)?.columns().iter().cloned().chain([marks]).collect();
    with_schema(codec.schema(), columns, rows.len())
}
