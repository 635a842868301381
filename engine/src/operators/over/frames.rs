//! Functions over frames that move along with the row, and of single rows around it.
//!
//! Short frames are aggregated row by row, all at once, with one slot per frame. Long ones are put together from
//! aggregates over 16, 32, 64, ... rows, so that their cost grows with the logarithm of their length only.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::frame::{Ahead, Frame, OverFunction, ShareFunction};
use super::running::rows_of;
use super::shares;
use super::spans::{Past, Segment, Span};
use crate::Result;
use crate::aggregate::{AggregateCall, AggregateSet};
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::operators::narrow::Narrow;
use crate::operators::projection::with_schema;

/// Frames with more rows than this, on average, are put together.
const SHORT_FRAME_ROWS_MAX: usize = 32;
/// Rows that one leaf of the tree has.
const LEAF_ROWS: usize = 16;
/// Rows that are copied into short frames at once.
const BLOCK_ROWS_MAX: usize = 1 << 18;
/// Long frames that are put together at once.
const BLOCK_FRAMES_MAX: usize = 1 << 13;

/// What the rows of an operator's history have.
#[derive(Clone)]
pub struct Layout {
    /// Columns of the operator's rows.
    pub narrow: Narrow,
    /// Behind these, where the results of functions that were computed before stand.
    pub results: Vec<Option<usize>>,
    pub schema: SchemaRef,
}

impl Layout {
    /// Of a stream whose rows have these columns: what later rows see, or all of it where rows wait for later ones.
    pub fn of_stream(functions: &[OverFunction], rows: &SchemaRef) -> Result<Self> {
        if !Ahead::of(functions).is_nothing() {
            return Self::new(0..rows.fields().len(), functions, rows, OverFunction::is_early);
        }
        let read = functions.iter().filter(|function| !function.is_early()).flat_map(OverFunction::columns);
        let mut columns: Vec<usize> = read.collect();
        if columns.is_empty() {
            // Rows must be counted in any case.
            columns.push(0);
        }
        Self::new(columns, functions, rows, OverFunction::is_shifted)
    }

    /// All columns.
    pub fn of_partitions(functions: &[OverFunction], rows: &SchemaRef) -> Result<Self> {
        Self::new(0..rows.fields().len(), functions, rows, |_| false)
    }

    fn new(
        columns: impl IntoIterator<Item = usize>,
        functions: &[OverFunction],
        rows: &SchemaRef,
        keeps_result: impl Fn(&OverFunction) -> bool,
    ) -> Result<Self> {
        let narrow = Narrow::new(columns, rows)?;
        let mut fields: Vec<Field> = narrow.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        let mut results = vec![None; functions.len()];
        for (position, function) in functions.iter().enumerate().filter(|(_, function)| keeps_result(function)) {
            results[position] = Some(fields.len());
            fields.push(Field::new(format!("result {position}"), function.output_type(rows), true));
        }
        Ok(Self { narrow, results, schema: Arc::new(Schema::new(fields)) })
    }

    /// `rows` are the operator's, with `columns` as results of all functions that are kept.
    pub fn project(&self, rows: &RecordBatch, columns: &[Option<ArrayRef>]) -> Result<RecordBatch> {
        let mut kept = self.narrow.project(rows)?.columns().to_vec();
        for (result, column) in self.results.iter().zip(columns) {
            if result.is_some() {
                kept.push(column.clone().expect("what is remembered was computed"));
            }
        }
        with_schema(&self.schema, kept, rows.num_rows())
    }
}

/// What a function over a frame does.
enum Framed {
    /// Its result stands in the history.
    Early {
        result: usize,
    },
    /// The result of the frame's last row stands there; without such a row it is this value.
    Shifted {
        result: usize,
        frame: Frame,
        empty: ArrayRef,
    },
    Nth {
        column: usize,
        number: i64,
        frame: Frame,
    },
    Shift {
        column: usize,
        by: i64,
        default: Option<usize>,
    },
    Share(ShareFunction),
}

/// The framed functions of an operator, over the columns of its history.
pub struct FrameCalls {
    /// For each moving frame: the positions of its functions, and their calls.
    aggregates: Vec<(Frame, Vec<usize>, NarrowCalls)>,
    others: Vec<(usize, Framed)>,
}

impl FrameCalls {
    /// The functions are over the operator's rows. Of whole partitions all but numbers and aggregates over all rows so far are
    /// computed here; in a stream early ones only where their results are part of the history.
    pub fn new(functions: &[OverFunction], layout: &Layout, whole_partitions: bool) -> Result<Self> {
        let mut by_frame: BTreeMap<Frame, (Vec<usize>, Vec<AggregateCall>)> = BTreeMap::new();
        let mut others = Vec::new();
        let place = |column: usize| layout.narrow.place(column);
        for (position, function) in functions.iter().enumerate() {
            if !whole_partitions && function.is_early() {
                if let Some(result) = layout.results[position] {
                    others.push((position, early(function, result, &layout.schema)?));
                }
                continue;
            }
            match function {
                OverFunction::Aggregate(_, frame) if frame.is_so_far() => {}
                OverFunction::Aggregate(call, frame) => {
                    let filter = call.filter.map(place);
                    let call = AggregateCall { args: layout.narrow.places(&call.args), filter, ..call.clone() };
                    let entry = by_frame.entry(*frame).or_default();
                    entry.0.push(position);
                    entry.1.push(call);
                }
                OverFunction::Nth { column, number, frame } => {
                    others.push((position, Framed::Nth { column: place(*column), number: *number, frame: *frame }));
                }
                OverFunction::Shift { column, by, default } => {
                    let default = default.map(place);
                    others.push((position, Framed::Shift { column: place(*column), by: *by, default }));
                }
                OverFunction::Share(function) => others.push((position, Framed::Share(*function))),
                OverFunction::Number(_) => {}
            }
        }
        let aggregates = by_frame.into_iter();
        let aggregates = aggregates.map(|(frame, (positions, calls))| (frame, positions, NarrowCalls::new(&calls)));
        Ok(Self { aggregates: aggregates.collect(), others })
    }

    /// Fills in the columns of framed functions, for each row at hand.
    pub fn compute(&self, past: &Past, columns: &mut [Option<ArrayRef>]) -> Result<()> {
        for (frame, positions, calls) in &self.aggregates {
            for (position, result) in positions.iter().zip(aggregate(calls, &past.rows, &past.spans(*frame))?) {
                columns[*position] = Some(result);
            }
        }
        for (position, function) in &self.others {
            columns[*position] = Some(function.compute(past)?);
        }
        Ok(())
    }
}

fn early(function: &OverFunction, result: usize, schema: &SchemaRef) -> Result<Framed> {
    let Some(frame) = function.frame().filter(|_| function.is_shifted()) else { return Ok(Framed::Early { result }) };
    let empty = match function {
        OverFunction::Aggregate(call, _) => {
            let mut nothing = call.factory.create()?;
            nothing.resize(1);
            nothing.evaluate(&[0])?
        }
        _ => new_null_array(schema.field(result).data_type(), 1),
    };
    Ok(Framed::Shifted { result, frame, empty })
}

impl Framed {
    fn compute(&self, past: &Past) -> Result<ArrayRef> {
        match self {
            Self::Early { result } => Ok(take(
                past.rows.column(*result),
                &UInt32Array::from_iter_values(past.hand().map(|row| row as u32)),
                None,
            )?),
            Self::Shifted { result, frame, empty } => {
                let place = |span: &Span| if span.end > span.start { (0, span.end - 1) } else { (1, 0) };
                let places: Vec<(usize, usize)> = past.spans(*frame).iter().map(place).collect();
                Ok(interleave(&[past.rows.column(*result).as_ref(), empty.as_ref()], &places)?)
            }
            Self::Nth { column, number, frame } => {
                let rows: UInt32Array = past.spans(*frame).iter().map(|span| nth(span, *number)).collect();
                Ok(take(past.rows.column(*column), &rows, None)?)
            }
            Self::Shift { column, by, default } => {
                let default = default.map(|default| past.rows.column(default));
                shift(past, past.rows.column(*column), *by, default)
            }
            Self::Share(function) => Ok(shares::compute(past, *function)),
        }
    }
}

fn nth(span: &Span, number: i64) -> Option<u32> {
    let distance = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    let row = if number < 0 { span.end.checked_sub(distance)? } else { span.start.checked_add(distance - 1)? };
    (span.start..span.end).contains(&row).then_some(row as u32)
}

fn shift(past: &Past, values: &ArrayRef, by: i64, default: Option<&ArrayRef>) -> Result<ArrayRef> {
    let source = |segment: &Segment, row: usize| {
        let row = i64::try_from(row).ok()?.checked_add(by).and_then(|row| usize::try_from(row).ok())?;
        (segment.start..segment.end).contains(&row).then_some(row)
    };
    let rows = past.hand_rows().map(|(segment, row, _)| (source(segment, row), row));
    let Some(default) = default else {
        let rows: UInt32Array = rows.map(|(source, _)| source.map(|row| row as u32)).collect();
        return Ok(take(values, &rows, None)?);
    };
    let sources: Vec<(usize, usize)> = rows.map(|(source, row)| source.map_or((1, row), |row| (0, row))).collect();
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
