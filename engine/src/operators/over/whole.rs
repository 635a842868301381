//! OVER aggregation of whole partitions: rows wait until no further one can come, then each is given once.
//!
//! A partition is complete when its window closes, or when the input ends. So frames may reach to its end, rows may be
//! ordered by anything, and functions may need to know how many rows there are. The rows of a key group that end together are in
//! memory while they are computed.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono_tz::Tz;

use super::frame::OverFunction;
use super::frames::{FrameCalls, Layout};
use super::numbers::{Counts, number};
use super::running;
use super::runs::{Runs, SortedBy, Sorter};
use super::spans::{Past, Segment};
use crate::aggregate::AggregateCall;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::operators::key_table::KeyTable;
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::operators::narrow::Narrow;
use crate::operators::ordering::SortColumn;
use crate::operators::waiting_rows::{DueTime, WaitingRows};
use crate::time::EventTime;
use crate::{Batch, Epoch, Result};

/// When a partition has all its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complete {
    /// When the window closes that ends at the local time in a column; `zone` is that of the calendar.
    WithWindow {
        end: usize,
        zone: Option<Tz>,
    },
    AtEnd,
}

/// Output: the kept columns, then one per function.
#[derive(Clone)]
pub struct WholeOver {
    pub complete: Complete,
    /// PARTITION BY, as indices into `input`; none means one partition.
    pub keys: Vec<usize>,
    pub order: Vec<SortColumn>,
    pub functions: Vec<OverFunction>,
    pub kept: Vec<usize>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for WholeOver {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let read = self.functions.iter().flat_map(OverFunction::columns);
        let sorted = self.order.iter().map(|sort| sort.column);
        let end = match self.complete {
            Complete::WithWindow { end, .. } => Some(end),
            Complete::AtEnd => None,
        };
        let columns = self.keys.iter().chain(&self.kept).copied().chain(sorted).chain(read).chain(end);
        let narrow = Narrow::new(columns, &self.input)?;
        let keys = narrow.places(&self.keys);
        let functions: Vec<OverFunction> = self.functions.iter().map(|function| function.over(&narrow)).collect();
        let due = match self.complete {
            Complete::WithWindow { end, zone } => DueTime::WindowEnd { column: narrow.place(end), zone },
            Complete::AtEnd => DueTime::InputEnd,
        };
        let late = match self.complete {
            Complete::WithWindow { end, zone } => Some(DueTime::WindowEnd { column: end, zone }),
            Complete::AtEnd => None,
        };
        let order = narrow.sort(&self.order);
        let range = order.first().copied().filter(|first| has_range(narrow.schema(), first.column));
        let layout = Layout::of_partitions(&functions, narrow.schema())?;
        Ok(Box::new(WholeOperator {
            waiting: WaitingRows::new("OverAggregate", due, &keys, narrow.schema())?,
            late,
            sorter: Sorter::new(&keys, SortedBy::Columns(range), &order, narrow.schema())?,
            frames: FrameCalls::new(&functions, &layout, true)?,
            so_far: [false, true].map(|peers| SoFar::new(&functions, peers)),
            kept: narrow.places(&self.kept),
            functions,
            narrow,
            schema: self.schema.clone(),
        }))
    }
}

/// RANGE can count in this column.
pub fn has_range(schema: &Schema, column: usize) -> bool {
    let data_type = schema.field(column).data_type();
    matches!(data_type, DataType::Timestamp(..)) || data_type.is_signed_integer()
}

struct WholeOperator {
    narrow: Narrow,
    waiting: WaitingRows,
    /// The window's end in the input.
    late: Option<DueTime>,
    sorter: Sorter,
    frames: FrameCalls,
    so_far: [SoFar; 2],
    /// Where the output's first columns stand among the narrow ones.
    kept: Vec<usize>,
    functions: Vec<OverFunction>,
    schema: SchemaRef,
}

/// Aggregates over all rows up to the row, or up to the last that the order leaves equal.
struct SoFar {
    peers: bool,
    positions: Vec<usize>,
    calls: NarrowCalls,
}

impl SoFar {
    fn new(functions: &[OverFunction], peers: bool) -> Self {
        let (mut positions, mut calls): (Vec<usize>, Vec<AggregateCall>) = (Vec::new(), Vec::new());
        for (position, function) in functions.iter().enumerate() {
            if let OverFunction::Aggregate(call, frame) = function
                && frame.is_so_far()
                && frame.has_peers() == peers
            {
                positions.push(position);
                calls.push(call.clone());
            }
        }
        Self { peers, positions, calls: NarrowCalls::new(&calls) }
    }
}

impl WholeOperator {
    /// Whole partitions with their functions, each in its order.
    fn compute(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let keys = self.sorter.keys.encode(rows)?;
        let mut table = KeyTable::default();
        let slots: Vec<u32> = (0..rows.num_rows()).map(|row| table.intern(keys.hash(row), keys.key(row))).collect();
        let runs = self.sorter.sort(rows, &slots, crate::time::ProcessingTime(0))?;
        let sorted = take_record_batch(rows, &runs.order)?;
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.functions.len()];
        let none_before = vec![Counts::default(); runs.runs.len()];
        for (function, column) in self.functions.iter().zip(&mut columns) {
            if let OverFunction::Number(function) = function {
                *column = Some(Arc::new(number(&runs, &none_before, *function)));
            }
        }
        for so_far in self.so_far.iter().filter(|so_far| !so_far.positions.is_empty()) {
            let mut values = so_far.calls.accumulators()?;
            values.resize(table.len());
            let results = running::run(&runs, &sorted, &so_far.calls, &mut values, so_far.peers)?;
            so_far.positions.iter().zip(results).for_each(|(position, result)| columns[*position] = Some(result));
        }
        self.frames.compute(&past_of(&runs, sorted.clone()), &mut columns)?;
        self.output(&runs, &sorted, columns)
    }

    fn output(&self, runs: &Runs, sorted: &RecordBatch, columns: Vec<Option<ArrayRef>>) -> Result<RecordBatch> {
        let order: UInt32Array = runs.by_time();
        let kept = self.kept.iter().map(|column| sorted.column(*column).clone());
        let computed = columns.into_iter().map(|column| column.expect("every function was computed by someone"));
        let columns = kept.chain(computed).map(|column| Ok(take(&column, &order, None)?));
        Ok(RecordBatch::try_new(self.schema.clone(), columns.collect::<Result<_>>()?)?)
    }

    fn give_due(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        while let Some(rows) = self.waiting.next_due(watermark, ctx)? {
            out.emit(MAIN_PORT, Batch::new(self.compute(&rows)?))?;
        }
        Ok(())
    }
}

/// All rows are at hand.
fn past_of(runs: &Runs, sorted: RecordBatch) -> Past {
    let segment = |rows: std::ops::Range<usize>| Segment { start: rows.start, end: rows.end, hand: rows };
    Past {
        rows: sorted,
        times: runs.times.clone(),
        segments: runs.runs.iter().map(|run| segment(run.rows.clone())).collect(),
        peers: runs.peers().collect(),
    }
}

impl Operator for WholeOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.waiting.open(ctx)
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let on_time = match self.late {
            Some(due) => self.waiting.split_late(batch, due, ctx, out)?,
            None => batch,
        };
        self.waiting.add(self.narrow.project(on_time.rows())?)?;
        self.waiting.keep_to_budget(0, ctx)
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        if self.late.is_some() { self.give_due(watermark, ctx, out) } else { Ok(()) }
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.waiting.on_barrier(ctx)
    }

    fn on_end(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.give_due(EventTime::MAX, ctx, out)
    }
}
