//! OVER aggregation: each row with functions of the rows around it in its partition.
//!
//! In event time rows wait for the watermark and are handled in the order of time, so the output is appended and keeps
//! its time. In processing time they are handled as they arrive. Rows that the order leaves equal are told apart by
//! their columns where a frame counts rows. A batch is handled partition by partition, all of them at once: columns are
//! sorted, frames are ranges of rows, and aggregates run over slots.
//!
//! Where a function looks at later rows, those that were handled stay pending in the history until these have come: a
//! number of rows, or all up to a time. See [`whole`] for partitions that are complete before anything is computed.

mod due_index;
mod frame;
mod frames;
mod history;
mod memory;
mod numbers;
mod running;
mod runs;
mod shares;
mod spans;
#[cfg(test)]
mod tests;
pub mod whole;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::SchemaRef;

use self::frame::Ahead;
pub use self::frame::{Frame, FrameBound, FrameUnit, OverFunction, ShareFunction};
use self::frames::{FrameCalls, Layout};
use self::history::Reached;
use self::memory::PartitionMemory;
use self::runs::{SortedBy, Sorter};
use self::spans::{Past, Span};
use super::narrow::Narrow;
use super::ordering::{SortColumn, SortEncoder};
use super::waiting_rows::{DueTime, WaitingRows};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, Epoch, Result};

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
        let by = order.first().map_or(SortedBy::Arrival, |time| SortedBy::Time(narrow.place(time.column)));
        let sorted = narrow.sort(order);
        let layout = Layout::of_stream(&functions, narrow.schema())?;
        let ahead = Ahead::of(&functions);
        let pending = match ahead.is_nothing() {
            true => None,
            false => Some(Pending { ahead, order: SortEncoder::new(&sorted, &layout.schema)? }),
        };
        Ok(Box::new(OverOperator {
            sorter: Sorter::new(&keys, by, &sorted, narrow.schema())?,
            frames: FrameCalls::new(&functions, &layout, false)?,
            memory: PartitionMemory::new(&functions, narrow.schema(), &layout, self.ttl_ms)?,
            layout,
            kept: narrow.places(&self.kept),
            functions,
            narrow,
            waiting,
            pending,
            schema: self.schema.clone(),
        }))
    }
}

struct Waiting {
    rows: WaitingRows,
    /// The time column of the input.
    late: DueTime,
}

/// Where rows wait for later ones: the history has all their columns, in the same places.
struct Pending {
    ahead: Ahead,
    order: SortEncoder,
}

struct OverOperator {
    narrow: Narrow,
    sorter: Sorter,
    functions: Vec<OverFunction>,
    frames: FrameCalls,
    layout: Layout,
    memory: PartitionMemory,
    /// Where the output's first columns stand among the narrow ones.
    kept: Vec<usize>,
    waiting: Option<Waiting>,
    pending: Option<Pending>,
    schema: SchemaRef,
}

impl OverOperator {
    /// The functions of rows none of which comes before one that was handled already, in the order of `rows`; of those
    /// that wait for later rows, as many as these rows complete.
    fn compute(&mut self, rows: &RecordBatch, ctx: &mut OperatorContext) -> Result<Option<RecordBatch>> {
        let keys = self.sorter.keys.encode(rows)?;
        let slots = self.memory.slots_of(&keys, rows.num_rows(), ctx)?;
        let runs = self.sorter.sort(rows, &slots, ctx.now)?;
        let sorted = take_record_batch(rows, &runs.order)?;
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.functions.len()];
        self.memory.compute_early(&runs, &sorted, &self.functions, &mut columns)?;
        let fresh = self.layout.project(&sorted, &columns)?;
        if self.pending.is_some() {
            self.memory.keep(&runs, fresh)?;
            let slots: Vec<u32> = runs.runs.iter().map(|run| run.slot).collect();
            return self.answer(&slots, Reached::Time(i64::MIN));
        }
        let past = self.memory.with_past(&runs, &fresh)?;
        self.frames.compute(&past, &mut columns)?;
        self.memory.keep(&runs, fresh)?;
        self.output(&sorted, columns, &runs.by_time()).map(Some)
    }

    /// Of some partitions the pending rows that have all that they wait for.
    fn answer(&mut self, slots: &[u32], reached: Reached) -> Result<Option<RecordBatch>> {
        let Some(Pending { order, .. }) = &self.pending else { return Ok(None) };
        let Some((answers, mut past)) = self.memory.answerable(slots, reached)? else { return Ok(None) };
        past.peers = match self.waiting {
            Some(_) => peers(&past, order)?,
            None => past.hand().map(|row| Span { start: row, end: row + 1 }).collect(),
        };
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.functions.len()];
        self.frames.compute(&past, &mut columns)?;
        let hand: Vec<u32> = past.hand().map(|row| row as u32).collect();
        let mut given: Vec<u32> = (0..hand.len() as u32).collect();
        given.sort_by_key(|position| past.times[hand[*position as usize] as usize]);
        let rows = take_record_batch(&past.rows, &UInt32Array::from(hand))?;
        let output = self.output(&rows, columns, &UInt32Array::from(given))?;
        self.memory.answered(&answers)?;
        Ok(Some(output))
    }

    /// Gives the pending rows of all partitions that have waited long enough.
    fn answer_all(&mut self, reached: Reached, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        while self.pending.is_some() {
            let slots = self.memory.due_slots(reached, ctx)?;
            if slots.is_empty() {
                break;
            }
            if let Some(rows) = self.answer(&slots, reached)? {
                out.emit(MAIN_PORT, Batch::new(rows))?;
            }
            self.keep_to_budget(ctx)?;
        }
        Ok(())
    }

    /// The kept columns of rows and the functions of each, in this order.
    fn output(&self, rows: &RecordBatch, columns: Vec<Option<ArrayRef>>, order: &UInt32Array) -> Result<RecordBatch> {
        let kept = self.kept.iter().map(|column| rows.column(*column).clone());
        let computed = columns.into_iter().map(|column| column.expect("every function was computed by someone"));
        let columns = kept.chain(computed).map(|column| Ok(take(&column, order, None)?));
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

/// Of each row at hand those around it that the order leaves equal.
fn peers(past: &Past, order: &SortEncoder) -> Result<Vec<Span>> {
    let order = order.encode(&past.rows)?;
    let mut peers: Vec<Span> = Vec::new();
    for segment in &past.segments {
        let mut last = Span { start: segment.start, end: segment.start };
        for row in segment.hand.clone() {
            if row >= last.end {
                let is_peer = |other: &usize| order.of(*other) == order.of(row);
                let start = row - (segment.start..row).rev().take_while(is_peer).count();
                last = Span { start, end: row + (row..segment.end).take_while(is_peer).count() };
            }
            peers.push(last);
        }
    }
    Ok(peers)
}

impl Operator for OverOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.memory.open(ctx)?;
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
        if let Some(given) = self.compute(&rows, ctx)? {
            let same = self.pending.is_none();
            out.emit(MAIN_PORT, if same { batch.replace_rows(given) } else { Batch::new(given) })?;
        }
        self.keep_to_budget(ctx)
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        while let Some(waiting) = &mut self.waiting {
            let Some(rows) = waiting.rows.next_due(watermark, ctx)? else { break };
            if let Some(given) = self.compute(&rows, ctx)? {
                out.emit(MAIN_PORT, Batch::new(given))?;
            }
            self.keep_to_budget(ctx)?;
        }
        if self.waiting.is_some() {
            let is_last = watermark == EventTime::MAX;
            self.answer_all(if is_last { Reached::End } else { Reached::Time(watermark.0) }, ctx, out)?;
        }
        self.memory.free_before(watermark, ctx)
    }

    fn output_watermark(&self, input: EventTime) -> EventTime {
        match &self.pending {
            Some(_) if input == EventTime::MAX => input,
            // Any partition may be the last to get the rows that it waits for.
            Some(pending) if pending.ahead.rows > 0 => EventTime::MIN,
            Some(pending) => EventTime(input.0.saturating_sub(pending.ahead.range_ms)),
            None => input,
        }
    }

    fn on_end(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.answer_all(Reached::End, ctx, out)
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

    fn next_time(&self) -> Option<ProcessingTime> {
        let frees = self.memory.next_free().filter(|_| self.waiting.is_none());
        frees.into_iter().chain(self.memory.next_expiry()).min()
    }
}
