//! Functions over frames that move along with the row: aggregates over some rows before it, and LAG.
//!
//! Short frames are aggregated row by row, all at once, with one slot per frame. Long ones are put together from
//! aggregates over 16, 32, 64, ... rows, so that their cost grows with the logarithm of their length only.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat, interleave, take};

use super::history::Past;
use super::running::rows_of;
use super::runs::Runs;
use super::{Frame, OverFunction};
use crate::Result;
use crate::aggregate::{AggregateCall, AggregateSet};
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::operators::narrow::Narrow;

/// Frames with more rows than this, on average, are put together.
const SHORT_FRAME_ROWS_MAX: usize = 32;
/// Rows that one leaf of the tree has.
const LEAF_ROWS: usize = 16;
/// Rows that are copied into short frames at once.
const BLOCK_ROWS_MAX: usize = 1 << 18;
/// Long frames that are put together at once.
const BLOCK_FRAMES_MAX: usize = 1 << 13;

/// Rows `start .. end` of the past and the new rows.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

/// The framed functions of an operator, over the columns of its history.
pub struct FrameCalls {
    /// For each moving frame: the positions of its functions, and their calls.
    aggregates: Vec<(Frame, Vec<usize>, NarrowCalls)>,
    narrow: Narrow,
}

impl FrameCalls {
    /// `narrow` has the columns of the history.
    pub fn new(functions: &[OverFunction], narrow: Narrow) -> Self {
        let mut by_frame: BTreeMap<Frame, (Vec<usize>, Vec<AggregateCall>)> = BTreeMap::new();
        for (position, function) in functions.iter().enumerate() {
            if let OverFunction::Aggregate(call, frame @ (Frame::Rows { .. } | Frame::Range { .. })) = function {
                let filter = call.filter.map(|column| narrow.place(column));
                let call = AggregateCall { args: narrow.places(&call.args), filter, ..call.clone() };
                let entry = by_frame.entry(*frame).or_default();
                entry.0.push(position);
                entry.1.push(call);
            }
        }
        let aggregates = by_frame.into_iter();
        let aggregates = aggregates.map(|(frame, (positions, calls))| (frame, positions, NarrowCalls::new(&calls)));
        Self { aggregates: aggregates.collect(), narrow }
    }

    /// Fills in the columns of framed functions, for each sorted row.
    pub fn compute(
        &self,
        runs: &Runs,
        past: &Past,
        functions: &[OverFunction],
        columns: &mut [Option<ArrayRef>],
    ) -> Result<()> {
        for (frame, positions, calls) in &self.aggregates {
            let spans = spans(runs, past, *frame);
            for (position, result) in positions.iter().zip(aggregate(calls, &past.rows, &spans)?) {
                columns[*position] = Some(result);
            }
        }
        for (function, column) in functions.iter().zip(columns) {
            if let OverFunction::Lag { column: value, offset, default } = function {
                let place = |column: &usize| past.rows.column(self.narrow.place(*column));
                *column = Some(lag(past, place(value), *offset, default.as_ref().map(place))?);
            }
        }
        Ok(())
    }
}

fn spans(runs: &Runs, past: &Past, frame: Frame) -> Vec<Span> {
    let mut spans = Vec::with_capacity(runs.times.len());
    for (run, segment) in runs.runs.iter().zip(&past.segments) {
        let mut start = segment.start;
        for (row, position) in (segment.first_new..segment.end).zip(run.rows.clone()) {
            spans.push(match frame {
                Frame::Rows { from, to } => {
                    let from = usize::try_from(from).unwrap_or(usize::MAX);
                    let to = usize::try_from(to).unwrap_or(usize::MAX);
                    let start = row.saturating_sub(from).max(segment.start);
                    Span { start, end: (row + 1).saturating_sub(to).max(start) }
                }
                Frame::Range { preceding_ms } => {
                    let earliest = past.times[row].saturating_sub(preceding_ms);
                    start += past.times[start..row].iter().take_while(|time| **time < earliest).count();
                    Span { start, end: segment.first_new + runs.peer_ends[position] as usize - run.rows.start }
                }
                Frame::Unbounded { .. } => unreachable!("only moving frames are grouped here"),
            });
        }
    }
    spans
}

fn lag(past: &Past, values: &ArrayRef, offset: u64, default: Option<&ArrayRef>) -> Result<ArrayRef> {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut before: Vec<Option<u32>> = Vec::new();
    let mut rows: Vec<usize> = Vec::new();
    for segment in &past.segments {
        for row in segment.first_new..segment.end {
            before.push(row.checked_sub(offset).filter(|before| *before >= segment.start).map(|before| before as u32));
            rows.push(row);
        }
    }
    let Some(default) = default else { return Ok(take(values, &UInt32Array::from(before), None)?) };
    let source = |(before, row): (Option<u32>, usize)| before.map_or((1, row), |before| (0, before as usize));
    let sources: Vec<(usize, usize)> = before.into_iter().zip(rows).map(source).collect();
    Ok(interleave(&[values.as_ref(), default.as_ref()], &sources)?)
}

/// The results of the calls for each span, one column per call.
fn aggregate(calls: &NarrowCalls, rows: &RecordBatch, spans: &[Span]) -> Result<Vec<ArrayRef>> {
    let columns = calls.project(rows)?;
    let total: usize = spans.iter().map(|span| span.end - span.start).sum();
    let mut blocks = Vec::new();
    if total <= spans.len() * SHORT_FRAME_ROWS_MAX {
        let mut rest = spans;
        while !rest.is_empty() {
            let (block, others) = rest.split_at(block_length(rest));
            blocks.push(short_frames(calls, &columns, block)?);
            rest = others;
        }
    } else {
        let mut tree = Tree::new(calls, &columns)?;
        for block in spans.chunks(BLOCK_FRAMES_MAX) {
            blocks.push(tree.frames(block)?);
        }
    }
    joined(blocks)
}

/// As many spans, at least one, as have no more rows than a block.
fn block_length(spans: &[Span]) -> usize {
    let mut rows = 0;
    let fits = |span: &&Span| {
        rows += span.end - span.start;
        rows <= BLOCK_ROWS_MAX
    };
    spans.iter().take_while(fits).count().max(1)
}

fn short_frames(calls: &NarrowCalls, columns: &RecordBatch, spans: &[Span]) -> Result<Vec<ArrayRef>> {
    let mut values = calls.accumulators()?;
    values.resize(spans.len());
    let (mut slots, mut rows) = (Vec::new(), Vec::new());
    for (slot, span) in spans.iter().enumerate() {
        slots.extend(std::iter::repeat_n(slot as u32, span.end - span.start));
        rows.extend(span.start as u32..span.end as u32);
    }
    values.update(&slots, &rows_of(columns, rows)?)?;
    values.evaluate(&(0..spans.len() as u32).collect::<Vec<_>>())
}

fn joined(mut blocks: Vec<Vec<ArrayRef>>) -> Result<Vec<ArrayRef>> {
    if blocks.len() == 1 {
        return Ok(blocks.remove(0));
    }
    let calls = blocks.first().map_or(0, Vec::len);
    let join = |call: usize| {
        let parts: Vec<&dyn Array> = blocks.iter().map(|block| block[call].as_ref()).collect();
        Ok(concat(&parts)?)
    };
    (0..calls).map(join).collect()
}

/// Aggregates over 16 rows, 32 rows, ... Slots of the nodes come first, level by level; those of frames behind them.
struct Tree<'a> {
    values: AggregateSet,
    columns: &'a RecordBatch,
    /// The first slot of each level; the last entry is behind all nodes.
    levels: Vec<usize>,
}

/// What a frame is made of, in this order.
#[derive(Default)]
struct Parts {
    left_slots: Vec<u32>,
    left_rows: Vec<u32>,
    into: Vec<u32>,
    nodes: Vec<u32>,
    right_slots: Vec<u32>,
    right_rows: Vec<u32>,
}

impl<'a> Tree<'a> {
    fn new(calls: &NarrowCalls, columns: &'a RecordBatch) -> Result<Self> {
        let mut values = calls.accumulators()?;
        let mut levels = vec![0];
        let mut width = columns.num_rows().div_ceil(LEAF_ROWS);
        values.resize(width);
        let leaves: Vec<u32> = (0..columns.num_rows()).map(|row| (row / LEAF_ROWS) as u32).collect();
        values.update(&leaves, columns)?;
        loop {
            let first = levels[levels.len() - 1];
            let next = first + width;
            levels.push(next);
            if width <= 1 {
                return Ok(Self { values, columns, levels });
            }
            let into: Vec<u32> = (0..width).map(|child| (next + child / 2) as u32).collect();
            width = width.div_ceil(2);
            values.resize(next + width);
            let children: Vec<u32> = (first as u32..next as u32).collect();
            values.merge_within(&into, &children)?;
        }
    }

    fn frames(&mut self, spans: &[Span]) -> Result<Vec<ArrayRef>> {
        let first = self.levels[self.levels.len() - 1];
        let slots: Vec<u32> = (first..first + spans.len()).map(|slot| slot as u32).collect();
        self.values.resize(first + spans.len());
        self.values.reset(&slots);
        let mut parts = Parts::default();
        for (slot, span) in slots.iter().zip(spans) {
            self.add_parts(*slot, *span, &mut parts);
        }
        self.values.update(&parts.left_slots, &rows_of(self.columns, parts.left_rows)?)?;
        self.values.merge_within(&parts.into, &parts.nodes)?;
        self.values.update(&parts.right_slots, &rows_of(self.columns, parts.right_rows)?)?;
        self.values.evaluate(&slots)
    }

    fn add_parts(&self, slot: u32, span: Span, parts: &mut Parts) {
        let (first_leaf, end_leaf) = (span.start.div_ceil(LEAF_ROWS), span.end / LEAF_ROWS);
        let (left_end, right_start) = match first_leaf < end_leaf {
            true => (first_leaf * LEAF_ROWS, end_leaf * LEAF_ROWS),
            false => (span.end, span.end),
        };
        parts.left_rows.extend(span.start as u32..left_end as u32);
        parts.left_slots.resize(parts.left_rows.len(), slot);
        parts.right_rows.extend(right_start as u32..span.end as u32);
        parts.right_slots.resize(parts.right_rows.len(), slot);
        if first_leaf < end_leaf {
            self.add_nodes(first_leaf, end_leaf, &mut parts.nodes);
            parts.into.resize(parts.nodes.len(), slot);
        }
    }

    /// The fewest nodes that cover leaves `start .. end`, from left to right.
    fn add_nodes(&self, mut start: usize, mut end: usize, nodes: &mut Vec<u32>) {
        let mut right = Vec::new();
        for first in &self.levels {
            if start >= end {
                break;
            }
            if start % 2 == 1 {
                nodes.push((first + start) as u32);
                start += 1;
            }
            if end % 2 == 1 {
                end -= 1;
                right.push((first + end) as u32);
            }
            (start, end) = (start / 2, end / 2);
        }
        nodes.extend(right.into_iter().rev());
    }
}
