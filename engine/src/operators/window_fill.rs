//! Gap filling: a key that has results in two windows gets a row in every window between them that it has none in.
//!
//! Stands behind a window aggregation with final results. A gap is filled when the key's next result comes, so the rows
//! depend on the results alone; a gap that is longer than the span is left, and the key counts as new behind it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion_common::ScalarValue;

use super::key_table::KeyColumns;
use super::note::{from_sortable, sortable};
use super::projection::with_schema;
use super::row_codec::RowCodec;
use super::window_aggregate::{WindowProperty, property_column};
use crate::keys::KeyGroup;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::time::EventTime;
use crate::time::assign::{Window, WindowGrid, closing_watermark};
use crate::time::window::WindowSpec;
use crate::{Batch, EngineError, Result};

/// What a column is in a row that fills a gap.
#[derive(Debug, Clone, PartialEq)]
pub enum FillColumn {
    /// The key's own value.
    Key,
    /// A count: 0.
    Zero,
    Null,
    /// As in the key's last result.
    Previous,
    /// This value, cast to the column's type.
    Constant(ScalarValue),
    /// Of the window that is filled.
    Property(WindowProperty),
}

/// Output: the input's rows and those that fill gaps, in the same columns.
#[derive(Clone)]
pub struct WindowFill {
    /// TUMBLE, HOP or CUMULATE.
    pub spec: WindowSpec,
    /// Per column of the schema.
    pub columns: Vec<FillColumn>,
    /// The window's end: a local TIMESTAMP(3) column.
    pub end: usize,
    /// Longer gaps are left, in milliseconds of event time.
    pub span_ms: i64,
    /// Of input and output.
    pub schema: SchemaRef,
}

impl WindowFill {
    fn keys(&self) -> Vec<usize> {
        (0..self.columns.len()).filter(|index| self.columns[*index] == FillColumn::Key).collect()
    }
}

impl OperatorFactory for WindowFill {
    fn create(&self) -> Result<Box<dyn Operator>> {
        self.spec.validate().map_err(EngineError::Unsupported)?;
        Ok(Box::new(WindowFillOperator {
            keys: KeyColumns::new(&self.keys(), &self.schema)?,
            codec: RowCodec::new(&self.schema)?,
            grid: WindowGrid::new(&self.spec),
            plan: self.clone(),
            live: BTreeSet::new(),
        }))
    }
}

/// First byte of the state keys: the last result by key, and which keys have their last result in which window.
const LAST: u8 = 0;
const ENDED: u8 = 1;

struct WindowFillOperator {
    plan: WindowFill,
    keys: KeyColumns,
    codec: RowCodec,
    grid: WindowGrid,
    /// The watermarks at which the windows of last results closed.
    live: BTreeSet<EventTime>,
}

/// Windows to be filled, each with the place of its key's last result.
#[derive(Default)]
struct Gaps {
    last_results: Vec<Vec<u8>>,
    of_window: Vec<u32>,
    windows: Vec<Window>,
}

impl WindowFillOperator {
    fn gaps(&mut self, batch: &Batch, ctx: &mut OperatorContext) -> Result<Gaps> {
        let (keys, rows) = (self.keys.encode(batch.rows())?, self.codec.encode(batch.rows())?);
        let ends = cast(batch.column(self.plan.end), &DataType::Int64)?;
        let ends = ends.as_primitive::<Int64Type>();
        let mut gaps = Gaps::default();
        for row in 0..batch.num_rows() {
            let group = KeyGroup::of(keys.hash(row), ctx.key_groups.max_parallelism);
            debug_assert!(ctx.key_groups.contains(group), "results come to where their key is");
            self.result(group, keys.key(row), ends.value(row), rows.row(row), ctx, &mut gaps)?;
        }
        Ok(gaps)
    }

    /// A key's result in the window that ends at `end`.
    fn result(
        &mut self,
        group: KeyGroup,
        key: &[u8],
        end: i64,
        row: &[u8],
        ctx: &mut OperatorContext,
        gaps: &mut Gaps,
    ) -> Result<()> {
        let entry = [&[LAST], key].concat();
        if let Some(last) = ctx.state.get(group, &entry)? {
            let (last_end, last_row) = last.split_first_chunk::<8>().ok_or_else(damaged)?;
            let last_end = from_sortable(*last_end);
            if end <= last_end {
                return Ok(());
            }
            self.find_gap(last_end, end, last_row, gaps);
            ctx.state.delete(group, &self.ended_key(last_end, key))?;
        }
        ctx.state.put(group, &entry, &[&sortable(end)[..], row].concat())?;
        ctx.state.put(group, &self.ended_key(end, key), &[])?;
        self.live.insert(self.closing(end));
        Ok(())
    }

    fn find_gap(&self, last_end: i64, end: i64, last_row: &[u8], gaps: &mut Gaps) {
        if self.closing(end).0 - self.closing(last_end).0 > self.plan.span_ms {
            return;
        }
        let mut next = self.grid.end_after(last_end);
        if next >= end {
            return;
        }
        let place = gaps.last_results.len() as u32;
        gaps.last_results.push(last_row.to_vec());
        while next < end {
            gaps.of_window.push(place);
            gaps.windows.push(self.grid.window_ending(next));
            next = self.grid.end_after(next);
        }
    }

    fn closing(&self, end: i64) -> EventTime {
        closing_watermark(self.plan.spec.zone, end)
    }

    fn ended_key(&self, end: i64, key: &[u8]) -> Vec<u8> {
        [&[ENDED], &sortable(self.closing(end).0)[..], key].concat()
    }

    fn emit(&self, gaps: &Gaps, batch_rows: usize, out: &mut dyn Collector) -> Result<()> {
        if gaps.windows.is_empty() {
            return Ok(());
        }
        let last = self.codec.decode(gaps.last_results.iter().map(Vec::as_slice))?;
        let chunks = gaps.of_window.chunks(batch_rows.max(1)).zip(gaps.windows.chunks(batch_rows.max(1)));
        for (places, windows) in chunks {
            out.emit(MAIN_PORT, Batch::new(self.filled(&last, places, windows)?))?;
        }
        Ok(())
    }

    fn filled(&self, last: &RecordBatch, places: &[u32], windows: &[Window]) -> Result<RecordBatch> {
        let places = UInt32Array::from(places.to_vec());
        let columns = self.plan.columns.iter().zip(self.plan.schema.fields()).zip(last.columns());
        let columns = columns.map(|((column, field), last)| -> Result<ArrayRef> {
            let kind = field.data_type();
            Ok(match column {
                FillColumn::Key | FillColumn::Previous => take(last, &places, None)?,
                FillColumn::Zero => cast(&(Arc::new(Int64Array::from(vec![0; windows.len()])) as ArrayRef), kind)?,
                FillColumn::Null => new_null_array(kind, windows.len()),
                FillColumn::Constant(value) => value.cast_to(kind)?.to_array_of_size(windows.len())?,
                FillColumn::Property(property) => property_column(*property, kind, self.plan.spec.zone, windows),
            })
        });
        with_schema(&self.plan.schema, columns.collect::<Result<_>>()?, windows.len())
    }

    /// Forgets the keys whose last result is so old that no gap behind it is filled any more.
    fn forget(&mut self, watermark: EventTime, ctx: &mut OperatorContext) -> Result<()> {
        let is_past = |closing: EventTime| closing.0.saturating_add(self.plan.span_ms) < watermark.0;
        while let Some(closing) = self.live.first().copied().filter(|closing| is_past(*closing)) {
            let prefix = [&[ENDED], &sortable(closing.0)[..]].concat();
            for group in ctx.key_groups.groups().map(KeyGroup) {
                let mut keys = Vec::new();
                ctx.state.scan(group, &prefix, &mut |entry, _| {
                    keys.push(entry.get(prefix.len()..).ok_or_else(damaged)?.to_vec());
                    Ok(true)
                })?;
                keys.iter().try_for_each(|key| ctx.state.delete(group, &[&[LAST], key.as_slice()].concat()))?;
                ctx.state.delete_prefix(group, &prefix)?;
            }
            self.live.pop_first();
        }
        Ok(())
    }
}

impl Operator for WindowFillOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        for group in ctx.key_groups.groups().map(KeyGroup) {
            ctx.state.scan(group, &[ENDED], &mut |key, _| {
                let closing = key.get(1..).and_then(|key| key.first_chunk::<8>()).ok_or_else(damaged)?;
                self.live.insert(EventTime(from_sortable(*closing)));
                Ok(true)
            })?;
        }
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let gaps = self.gaps(&batch, ctx)?;
        self.emit(&gaps, ctx.batch_rows, out)?;
        out.emit(MAIN_PORT, batch)
    }

    fn on_watermark(
        &mut self,
        watermark: EventTime,
        ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        self.forget(watermark, ctx)
    }

    /// A row that fills a gap is at most a span older than the result that it comes with.
    fn output_watermark(&self, input: EventTime) -> EventTime {
        if input == EventTime::MAX { input } else { EventTime(input.0.saturating_sub(self.plan.span_ms)) }
    }
}

fn damaged() -> EngineError {
    EngineError::State("the last results of windows cannot be read: they were written by another version".into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{StringArray, TimestampMillisecondArray};
    use arrow::datatypes::{Field, Schema, TimeUnit};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::operators::testing::{World, sorted};
    use crate::time::window::{Span, TimeDomain, WindowKind};

    const SIZE_MS: i64 = 10;
    const SLIDE_MS: i64 = 5;

    fn plan(sliding: bool, span_ms: i64, other: FillColumn) -> WindowFill {
        let (size, slide) = (Span::Millis(SIZE_MS), Span::Millis(SLIDE_MS));
        let kind = match sliding {
            true => WindowKind::Hop { size, slide, offset_ms: 0 },
            false => WindowKind::Tumble { size, offset_ms: 0 },
        };
        let time = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), false);
        let schema = Arc::new(Schema::new(vec![
            Field::new("key", DataType::Utf8, true),
            Field::new("n", DataType::Int64, false),
            Field::new("total", DataType::Int64, true),
            time("window_start"),
            time("window_end"),
        ]));
        let columns = vec![
            FillColumn::Key,
            FillColumn::Zero,
            other,
            FillColumn::Property(WindowProperty::Start),
            FillColumn::Property(WindowProperty::End),
        ];
        let spec = WindowSpec { kind, domain: TimeDomain::Event, zone: None };
        WindowFill { spec, columns, end: 4, span_ms, schema }
    }

    fn results(rows: &[(u32, i64)], end: i64, schema: &SchemaRef) -> Batch {
        let times = |time: i64| Arc::new(TimestampMillisecondArray::from(vec![time; rows.len()])) as ArrayRef;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|(key, _)| (*key > 0).then(|| format!("k{key}"))).collect::<StringArray>()),
            Arc::new(Int64Array::from(vec![1; rows.len()])),
            Arc::new(rows.iter().map(|(_, total)| Some(*total)).collect::<Int64Array>()),
            times(end - SIZE_MS),
            times(end),
        ];
        Batch::new(RecordBatch::try_new(schema.clone(), columns).unwrap())
    }

    fn text(key: u32, n: i64, total: &str, end: i64) -> String {
        let at = |ms: i64| chrono::DateTime::from_timestamp_millis(ms).unwrap().format("%Y-%m-%dT%H:%M:%S%.f");
        let key = if key > 0 { format!("k{key}") } else { "NULL".into() };
        format!("{key}|{n}|{total}|{}|{}", at(end - SIZE_MS), at(end))
    }

    #[test]
    fn gaps_are_filled_as_the_naive_twin_says() {
        let mut filled_total = 0;
        for seed in 0..120 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (sliding, span_ms) = (seed % 2 == 0, [15, 40, 1_000][seed as usize % 3]);
            let other = [FillColumn::Null, FillColumn::Previous, FillColumn::Constant(ScalarValue::from(7_i32))];
            let other = other[rng.random_range(0..3)].clone();
            let plan = plan(sliding, span_ms, other.clone());
            let step = if sliding { SLIDE_MS } else { SIZE_MS };
            let mut world = World::new(&plan, &[0], &plan.schema, usize::MAX, 1);
            let (mut expected, mut last) = (Vec::new(), BTreeMap::<u32, (i64, i64)>::new());
            for window in 0..rng.random_range(1..60) {
                let end = SIZE_MS + window * step;
                let keys: Vec<u32> = (0..6).filter(|_| rng.random_bool(0.2)).collect();
                let rows: Vec<(u32, i64)> = keys.into_iter().map(|key| (key, rng.random_range(-9..9))).collect();
                for (key, total) in &rows {
                    if let Some((last_end, last_total)) = last.insert(*key, (end, *total))
                        && end - last_end <= span_ms
                    {
                        let total = match &other {
                            FillColumn::Null => "NULL".to_string(),
                            FillColumn::Previous => last_total.to_string(),
                            _ => "7".to_string(),
                        };
                        let ends = (1..).map(|nth| last_end + nth * step).take_while(|next| *next < end);
                        expected.extend(ends.map(|end| text(*key, 0, &total, end)));
                    }
                    expected.push(text(*key, 1, &total.to_string(), end));
                }
                if !rows.is_empty() {
                    world.batch(&results(&rows, end, &plan.schema));
                }
                world.watermark(end - 1);
                if rng.random_bool(0.1) {
                    (0..rng.random_range(1..4)).for_each(|_| world.restart(rng.random_range(1..4)));
                }
            }
            world.end();
            assert_eq!(world.state_entries(), 0, "seed {seed}: all keys are forgotten in the end");
            filled_total += world.rows(MAIN_PORT).iter().filter(|row| row.split('|').nth(1) == Some("0")).count();
            assert_eq!(world.sorted_rows(), sorted(expected), "seed {seed}");
        }
        assert!(filled_total > 500, "{filled_total} gaps");
    }
}
