//! OVER aggregation: each row with functions of the rows before it in its partition.
//!
//! In event time rows wait for the watermark and are handled in the order of time, so the output is appended and keeps
//! its time. In processing time they are handled as they arrive. Rows that the order leaves equal are told apart by
//! their columns where a frame counts rows. A batch is handled partition by partition, all of them at once: columns are
//! sorted, frames are ranges of rows, and aggregates run over slots.

mod frames;
mod history;
mod memory;
mod numbers;
mod running;
mod runs;
#[cfg(test)]
mod tests;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::SchemaRef;

use self::frames::FrameCalls;
use self::memory::PartitionMemory;
use self::runs::Sorter;
use super::narrow::Narrow;
use super::ordering::{RankFunction, SortColumn};
use super::waiting_rows::{DueTime, WaitingRows};
use crate::aggregate::AggregateCall;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::time::EventTime;
use crate::{Batch, Epoch, Result};

/// The rows that a function sees: from a start to the row at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Frame {
    /// All rows up to this one; with `peers`, up to the last that the order leaves equal.
    Unbounded { peers: bool },
    /// From so many rows before to so many rows before; 0 is the row itself.
    Rows { from: u64, to: u64 },
    /// From so many milliseconds before, to the last that the order leaves equal.
    Range { preceding_ms: i64 },
}

/// What is computed for each row.
#[derive(Clone)]
pub enum OverFunction {
    Aggregate(AggregateCall, Frame),
    Number(RankFunction),
    /// The value so many rows before; where there is none, that of `default`, or NULL.
    Lag {
        column: usize,
        offset: u64,
        default: Option<usize>,
    },
}

impl OverFunction {
    /// The input columns that it reads.
    fn columns(&self) -> Vec<usize> {
        match self {
            Self::Aggregate(call, _) => call.args.iter().copied().chain(call.filter).collect(),
            Self::Number(_) => Vec::new(),
            Self::Lag { column, default, .. } => std::iter::once(*column).chain(*default).collect(),
        }
    }

    /// The same over columns that have moved.
    fn over(&self, narrow: &Narrow) -> Self {
        match self {
            Self::Aggregate(call, frame) => {
                let filter = call.filter.map(|column| narrow.place(column));
                Self::Aggregate(AggregateCall { args: narrow.places(&call.args), filter, ..call.clone() }, *frame)
            }
            Self::Number(function) => Self::Number(*function),
            Self::Lag { column, offset, default } => Self::Lag {
                column: narrow.place(*column),
                offset: *offset,
                default: default.map(|column| narrow.place(column)),
            },
        }
    }
}

/// Output: the kept columns, then one per function.
#[derive(Clone)]
pub struct Over {
    /// PARTITION BY, as indices into `input`; none means one partition.
    pub keys: Vec<usize>,
    /// ORDER BY, the time first. In processing time only the arrival counts.
    pub order: Vec<SortColumn>,
    pub is_event_time: bool,
    pub functions: Vec<OverFunction>,
    pub kept: Vec<usize>,
    /// A partition that had no row for so long (wall time) is forgotten.
    pub ttl_ms: Option<i64>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for Over {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let order: &[SortColumn] = if self.is_event_time { &self.order } else { &[] };
        let read = self.functions.iter().flat_map(OverFunction::columns);
        let sorted = order.iter().map(|sort| sort.column);
        let columns = self.keys.iter().chain(&self.kept).copied().chain(sorted).chain(read);
        let narrow = Narrow::new(columns, &self.input)?;
        let keys = narrow.places(&self.keys);
        let functions: Vec<OverFunction> = self.functions.iter().map(|function| function.over(&narrow)).collect();
        let waiting = match order.first() {
            Some(time) => {
                let due = DueTime::Column(narrow.place(time.column));
                let rows = WaitingRows::new("OverAggregate", due, &keys, narrow.schema())?;
                Some(Waiting { rows, late: DueTime::Column(time.column) })
            }
            None => None,
        };
        let time = order.first().map(|time| narrow.place(time.column));
        let memory = PartitionMemory::new(&functions, narrow.schema(), self.ttl_ms)?;
        Ok(Box::new(OverOperator {
            sorter: Sorter::new(&keys, time, &narrow.sort(order), narrow.schema())?,
            frames: FrameCalls::new(&functions, memory.history_columns().clone()),
            memory,
            kept: narrow.places(&self.kept),
            functions,
            narrow,
            waiting,
            schema: self.schema.clone(),
        }))
    }
}

struct Waiting {
    rows: WaitingRows,
    /// The time column of the input.
    late: DueTime,
}

struct OverOperator {
    narrow: Narrow,
    sorter: Sorter,
    functions: Vec<OverFunction>,
    frames: FrameCalls,
    memory: PartitionMemory,
    /// Where the output's first columns stand among the narrow ones.
    kept: Vec<usize>,
    waiting: Option<Waiting>,
    schema: SchemaRef,
}

impl OverOperator {
    /// The functions of rows none of which comes before one that was handled already, in the order of `rows`.
    fn compute(&mut self, rows: &RecordBatch, ctx: &mut OperatorContext) -> Result<Computed> {
        let runs = self.sorter.sort(rows, &mut self.memory, ctx)?;
        let sorted = take_record_batch(rows, &runs.order)?;
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.functions.len()];
        self.memory.number(&runs, &self.functions, &mut columns);
        self.memory.run(&runs, &sorted, &mut columns)?;
        let past = self.memory.with_past(&runs, &sorted)?;
        self.frames.compute(&runs, &past, &self.functions, &mut columns)?;
        self.memory.keep_past(&runs, past)?;
        let columns = columns.into_iter().map(|column| column.expect("every function was computed by someone"));
        Ok(Computed { order: runs.by_time(), sorted, columns: columns.collect() })
    }

    fn output(&self, computed: &Computed, order: &UInt32Array) -> Result<RecordBatch> {
        let kept = self.kept.iter().map(|column| computed.sorted.column(*column));
        let columns = kept.chain(&computed.columns).map(|column| Ok(take(column, order, None)?));
        Ok(RecordBatch::try_new(self.schema.clone(), columns.collect::<Result<_>>()?)?)
    }

    fn keep_to_budget(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let waiting_bytes = self.waiting.as_ref().map_or(0, |waiting| waiting.rows.size_bytes());
        self.memory.keep_to_budget(waiting_bytes, ctx)?;
        match &mut self.waiting {
            Some(waiting) => waiting.rows.keep_to_budget(self.memory.size_bytes(), ctx),
            None => Ok(()),
        }
    }
}

/// Functions of rows that were sorted by partition.
struct Computed {
    sorted: RecordBatch,
    columns: Vec<ArrayRef>,
    /// The positions in the order in which they are given.
    order: UInt32Array,
}

impl Operator for OverOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.waiting.as_mut().map_or(Ok(()), |waiting| waiting.rows.open(ctx))
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        if let Some(waiting) = &mut self.waiting {
            let on_time = waiting.rows.split_late(batch, waiting.late, ctx, out)?;
            waiting.rows.add(self.narrow.project(on_time.rows())?)?;
            return self.keep_to_budget(ctx);
        }
        let rows = self.narrow.project(batch.rows())?;
        let computed = self.compute(&rows, ctx)?;
        out.emit(MAIN_PORT, batch.replace_rows(self.output(&computed, &computed.order)?))?;
        self.keep_to_budget(ctx)
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        while let Some(waiting) = &mut self.waiting {
            let Some(rows) = waiting.rows.next_due(watermark, ctx)? else { break };
            let computed = self.compute(&rows, ctx)?;
            out.emit(MAIN_PORT, Batch::new(self.output(&computed, &computed.order)?))?;
            self.keep_to_budget(ctx)?;
        }
        self.memory.free_before(watermark, ctx)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.memory.write_back(ctx)?;
        self.waiting.as_mut().map_or(Ok(()), |waiting| waiting.rows.on_barrier(ctx))
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        if self.waiting.is_none() {
            self.memory.free_before(EventTime(ctx.now.0), ctx)?;
        }
        self.memory.forget_some_expired(ctx)
    }

    fn wants_time(&self) -> bool {
        self.memory.has_ttl() || self.waiting.is_none()
    }
}
