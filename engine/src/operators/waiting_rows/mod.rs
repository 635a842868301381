//! Rows that wait until event time has passed them: in memory as columns, in durable state from a barrier on or where
//! memory is short.
//!
//! Every operator that handles rows in the order of time stands on this. It decides which rows are late, and gives
//! the others once no earlier row can come. Rows of equal time are given together; what orders them is the operator's.

mod memory;
mod stored;
#[cfg(test)]
mod tests;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;

use self::memory::MemoryRows;
use self::stored::StoredRows;
use super::key_table::KeyColumns;
use super::late::emit_late;
use super::note::{NoteReader, NoteWriter};
use super::row_times::row_times;
use crate::operator::{Collector, OperatorContext};
use crate::time::EventTime;
use crate::time::assign::closing_watermark;
use crate::{Batch, Result};

/// When a row is due: at the first watermark that is not before this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueTime {
    /// The time in a column.
    Column(usize),
    /// The last instant of the window that ends at the local time in a column; `zone` is that of the calendar.
    WindowEnd { column: usize, zone: Option<Tz> },
    /// When there will be no more rows.
    InputEnd,
}

impl DueTime {
    /// Of each row, in epoch milliseconds.
    fn of_rows(self, operator: &str, rows: &RecordBatch) -> Result<Vec<i64>> {
        match self {
            Self::Column(column) => row_times(operator, rows, column),
            Self::WindowEnd { column, zone } => {
                let mut times = row_times(operator, rows, column)?;
                times.iter_mut().for_each(|time| *time = closing_watermark(zone, *time).0);
                Ok(times)
            }
            Self::InputEnd => Ok(vec![EventTime::MAX.0; rows.num_rows()]),
        }
    }
}

/// What waits, and what is given.
pub struct WaitingRows {
    operator: &'static str,
    due: DueTime,
    /// Over the rows that wait: these keys' groups hold them in state.
    keys: KeyColumns,
    memory: MemoryRows,
    stored: StoredRows,
    /// All rows that were due at this watermark have been given.
    given_until: EventTime,
}

impl WaitingRows {
    /// `due` and `keys` are columns of `schema`, which is that of the rows that wait.
    pub fn new(operator: &'static str, due: DueTime, keys: &[usize], schema: &SchemaRef) -> Result<Self> {
        Ok(Self {
            operator,
            due,
            keys: KeyColumns::new(keys, schema)?,
            memory: MemoryRows::default(),
            stored: StoredRows::new(schema)?,
            given_until: EventTime::MIN,
        })
    }

    /// Finds what waits in restored state.
    pub fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        let mut given_until: Option<EventTime> = None;
        for note in ctx.state.restored_notes() {
            let mut note = NoteReader::new(note);
            let (start, end) = (note.read()?, note.read()?);
            let (own, sequence) = (EventTime(note.read()?), note.read()?);
            self.stored.continue_from(sequence);
            if start < i64::from(ctx.key_groups.end) && i64::from(ctx.key_groups.start) < end {
                given_until = Some(given_until.map_or(own, |other| other.min(own)));
            }
        }
        self.given_until = given_until.unwrap_or(EventTime::MIN);
        self.stored.open(ctx)
    }

    /// The rows of a batch that are not late. Late ones are counted and go, whole, to the side port.
    pub fn split_late(
        &self,
        batch: Batch,
        due: DueTime,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<Batch> {
        let times = due.of_rows(self.operator, batch.rows())?;
        let reached = ctx.watermark.max(self.given_until);
        let is_late = |row: usize| times[row] <= reached.max(batch.watermark_before(row)).0;
        let late: Vec<u32> = (0..times.len() as u32).filter(|row| is_late(*row as usize)).collect();
        if late.is_empty() {
            return Ok(batch);
        }
        emit_late(&batch, &late, ctx, out)?;
        let mut on_time = vec![true; times.len()];
        late.iter().for_each(|row| on_time[*row as usize] = false);
        batch.filter(&BooleanArray::from(on_time))
    }

    /// Lets rows wait, none of which is late.
    pub fn add(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() > 0 {
            let times = self.due.of_rows(self.operator, &rows)?;
            self.memory.add(rows, &times)?;
        }
        Ok(())
    }

    /// Some of the rows that are due at a watermark, until there are none: of each key, those given later are later. Rows
    /// of one key and time come together.
    pub fn next_due(&mut self, watermark: EventTime, ctx: &mut OperatorContext) -> Result<Option<RecordBatch>> {
        if self.stored.has_due(watermark) {
            if self.stored.is_large() {
                // More than memory should hold at once: state sorts all.
                self.write(ctx)?;
                return self.stored.take_due(watermark, ctx).map(Some);
            }
            let found = self.stored.take_due(watermark, ctx)?;
            let fresh = self.memory.take_due(watermark)?;
            let both: Vec<RecordBatch> = std::iter::once(found).chain(fresh).collect();
            return Ok(Some(arrow::compute::concat_batches(self.stored.schema(), &both)?));
        }
        let due = self.memory.take_due(watermark)?;
        if due.is_none() {
            self.given_until = self.given_until.max(watermark);
        }
        Ok(due)
    }

    /// Takes the rows in memory, of which those that go on waiting are to be added again.
    pub fn take_memory(&mut self) -> Result<Option<RecordBatch>> {
        self.memory.take_all()
    }

    /// Moves all rows in memory to state.
    pub fn write(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let Some(rows) = self.memory.take_all()? else { return Ok(()) };
        let times = self.due.of_rows(self.operator, &rows)?;
        let keys = self.keys.encode(&rows)?;
        self.stored.put(&rows, &times, &keys, ctx)
    }

    /// Moves rows to state where memory holds more than its budget.
    pub fn keep_to_budget(&mut self, other_bytes: usize, ctx: &mut OperatorContext) -> Result<()> {
        if self.memory.size_bytes() + other_bytes > ctx.cache_budget_bytes {
            ctx.metrics.spilled.add(self.memory.rows());
            self.write(ctx)?;
        }
        ctx.metrics.cache_bytes.set((self.memory.size_bytes() + other_bytes) as i64);
        Ok(())
    }

    /// At a barrier: everything goes to state, and the clocks to the note.
    pub fn on_barrier(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.write(ctx)?;
        let mut note = NoteWriter::default();
        note.push(i64::from(ctx.key_groups.start));
        note.push(i64::from(ctx.key_groups.end));
        note.push(self.given_until.0);
        note.push(self.stored.sequence());
        ctx.state.set_note(note.finish());
        Ok(())
    }

    pub fn rows_in_memory(&self) -> usize {
        self.memory.rows()
    }

    pub fn size_bytes(&self) -> usize {
        self.memory.size_bytes()
    }
}
