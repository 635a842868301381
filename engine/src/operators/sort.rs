//! ORDER BY: rows by time as the watermark passes them, or by anything once the input has ended.
//!
//! Both run as one instance and give appended rows in order. Rows that the order leaves equal go by their columns.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;

use super::key_table::KeyTable;
use super::narrow::Narrow;
use super::ordering::{SortColumn, SortEncoder};
use super::row_codec::RowCodec;
use super::waiting_rows::{DueTime, WaitingRows};
use crate::keys::{KeyGroup, hash_key};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::state::Writes;
use crate::time::EventTime;
use crate::{Batch, EngineError, Epoch, Result};

/// Rows by time, and further columns.
#[derive(Clone)]
pub struct TimeSort {
    /// The time first, upwards.
    pub order: Vec<SortColumn>,
    pub kept: Vec<usize>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for TimeSort {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let narrow = Narrow::new(self.kept.iter().copied().chain(columns_of(&self.order)), &self.input)?;
        let time = self.order[0].column;
        Ok(Box::new(TimeSortOperator {
            waiting: WaitingRows::new("TimeSort", DueTime::Column(narrow.place(time)), &[], narrow.schema())?,
            late: DueTime::Column(time),
            sorter: Sorter::new(&narrow.sort(&self.order), narrow.places(&self.kept), narrow.schema(), &self.schema)?,
            narrow,
        }))
    }
}

fn columns_of(order: &[SortColumn]) -> impl Iterator<Item = usize> {
    order.iter().map(|sort| sort.column)
}

/// Sorts rows and gives the columns that are kept.
struct Sorter {
    order: SortEncoder,
    codec: RowCodec,
    kept: Vec<usize>,
    schema: SchemaRef,
}

impl Sorter {
    fn new(order: &[SortColumn], kept: Vec<usize>, input: &SchemaRef, schema: &SchemaRef) -> Result<Self> {
        let order = SortEncoder::new(order, input)?;
        Ok(Self { order, codec: RowCodec::new(schema)?, kept, schema: schema.clone() })
    }

    fn kept(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        Ok(rows.project(&self.kept)?.with_schema(self.schema.clone())?)
    }

    fn sort(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let order = self.order.encode(rows)?;
        let kept = self.kept(rows)?;
        let encoded = self.codec.encode(&kept)?;
        let key = |row: &u32| (order.of(*row as usize), encoded.row(*row as usize));
        let mut sorted: Vec<u32> = (0..rows.num_rows() as u32).collect();
        sorted.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
        Ok(take_record_batch(&kept, &UInt32Array::from(sorted))?)
    }
}

struct TimeSortOperator {
    narrow: Narrow,
    waiting: WaitingRows,
    /// The time column of the input.
    late: DueTime,
    sorter: Sorter,
}

impl Operator for TimeSortOperator {
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
        let on_time = self.waiting.split_late(batch, self.late, ctx, out)?;
        self.waiting.add(self.narrow.project(on_time.rows())?)?;
        self.waiting.keep_to_budget(0, ctx)
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        while let Some(rows) = self.waiting.next_due(watermark, ctx)? {
            out.emit(MAIN_PORT, Batch::new(self.sorter.sort(&rows)?))?;
        }
        Ok(())
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.waiting.on_barrier(ctx)
    }
}

/// All rows, sorted, when the input has ended. Rows that were taken back meanwhile are not among them.
#[derive(Clone)]
pub struct EndSort {
    pub order: Vec<SortColumn>,
    pub kept: Vec<usize>,
    /// So many of the first rows are left out.
    pub skip: u64,
    /// So many are given at most.
    pub fetch: Option<u64>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for EndSort {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let sorter = Sorter::new(&self.order, self.kept.clone(), &self.input, &self.schema)?;
        Ok(Box::new(EndSortOperator { sorter, skip: self.skip, fetch: self.fetch, key: Vec::new() }))
    }
}

const ROW_TAG: u8 = b's';

/// State has one entry per different row: `s`, sort bytes, row bytes, with the number of such rows and the length of the
/// sort bytes. Its order is the answer's.
struct EndSortOperator {
    sorter: Sorter,
    skip: u64,
    fetch: Option<u64>,
    /// Reused for keys of state.
    key: Vec<u8>,
}

/// All rows are of one key, which has no columns.
fn group(ctx: &OperatorContext) -> KeyGroup {
    KeyGroup::of(hash_key(&[]), ctx.key_groups.max_parallelism)
}

impl Operator for EndSortOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        let group = group(ctx);
        let order = self.sorter.order.encode(batch.rows())?;
        let encoded = self.sorter.codec.encode(&self.sorter.kept(batch.rows())?)?;
        let mut changed = KeyTable::default();
        let mut counts: Vec<(u32, usize)> = Vec::new();
        for row in 0..batch.num_rows() {
            self.key.clear();
            self.key.push(ROW_TAG);
            self.key.extend_from_slice(order.of(row));
            self.key.extend_from_slice(encoded.row(row));
            let slot = changed.intern(hash_key(&self.key), &self.key) as usize;
            if slot == counts.len() {
                let known = ctx.state.get(group, &self.key)?;
                let known = known.map(|value| split_value(&value)).transpose()?.map_or(0, |(count, _)| count);
                counts.push((known, order.of(row).len()));
            }
            let count = &mut counts[slot].0;
            *count = if batch.kind(row).is_retraction() { count.saturating_sub(1) } else { *count + 1 };
        }
        let mut writes = Writes::default();
        for (key, (count, sort_length)) in changed.keys().zip(counts) {
            match count {
                0 => writes.delete(group, &[key]),
                count => writes.put(group, &[key], &value_of(count, sort_length)),
            }
        }
        writes.flush(ctx.state.as_mut())
    }

    fn on_end(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let group = group(ctx);
        let (mut skip, mut rest) = (self.skip, self.fetch.unwrap_or(u64::MAX));
        let mut rows: Vec<Vec<u8>> = Vec::new();
        let codec = &self.sorter.codec;
        let mut emit = |rows: &mut Vec<Vec<u8>>| {
            let batch = codec.decode(rows.iter().map(Vec::as_slice))?;
            rows.clear();
            out.emit(MAIN_PORT, Batch::new(batch))
        };
        ctx.state.scan(group, &[ROW_TAG], &mut |key, value| {
            let (count, sort_length) = split_value(value)?;
            let passed = skip.min(u64::from(count));
            skip -= passed;
            let given = (u64::from(count) - passed).min(rest);
            rest -= given;
            for _ in 0..given {
                rows.push(key[1 + sort_length as usize..].to_vec());
                if rows.len() >= ctx.batch_rows {
                    emit(&mut rows)?;
                }
            }
            Ok(rest > 0)
        })?;
        if !rows.is_empty() {
            emit(&mut rows)?;
        }
        // What was given belongs to this epoch; a restart from it has nothing left to give.
        ctx.state.delete_prefix(group, &[ROW_TAG])
    }
}

fn value_of(count: u32, sort_length: usize) -> [u8; 8] {
    (u64::from(count) << 32 | sort_length as u64).to_be_bytes()
}

fn split_value(value: &[u8]) -> Result<(u32, u32)> {
    let damaged = |_| EngineError::State("an entry of a sort is damaged".into());
    let number = u64::from_be_bytes(value.try_into().map_err(damaged)?);
    Ok(((number >> 32) as u32, number as u32))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int8Array, Int64Array, TimestampMillisecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::batch::RowKind;
    use crate::operators::testing::{World, rows_as_text};

    /// Time, value.
    type Row = (i64, i64);

    fn input() -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        Arc::new(Schema::new(vec![Field::new("time", time, true), Field::new("value", DataType::Int64, true)]))
    }

    fn sort(column: usize, descending: bool) -> SortColumn {
        SortColumn { column, descending, nulls_first: !descending }
    }

    fn batch_of(rows: &[(RowKind, Row)]) -> Batch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|(_, row)| row.0))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, row)| row.1))),
        ];
        let kinds = Int8Array::from_iter_values(rows.iter().map(|(kind, _)| *kind as i8));
        Batch::with_kinds(RecordBatch::try_new(input(), columns).unwrap(), kinds)
    }

    fn texts(rows: &[Row]) -> Vec<String> {
        let rows: Vec<(RowKind, Row)> = rows.iter().map(|row| (RowKind::Insert, *row)).collect();
        rows_as_text(batch_of(&rows).rows())
    }

    #[test]
    fn rows_leave_in_the_order_of_time() {
        for seed in 0..100 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let order = vec![sort(0, false), sort(1, true)];
            let plan = TimeSort { order, kept: vec![0, 1], input: input(), schema: input() };
            let mut world = World::new(&plan, &[], &plan.input, [usize::MAX, 1][seed as usize % 2], 1);
            let (mut kept, mut watermark) = (Vec::new(), 0);
            world.watermark(watermark);
            for _ in 0..rng.random_range(1..30) {
                let row = |rng: &mut ChaCha8Rng| (watermark + rng.random_range(-1..15), rng.random_range(0..3));
                let rows: Vec<(RowKind, Row)> =
                    (0..rng.random_range(1..9)).map(|_| (RowKind::Insert, row(&mut rng))).collect();
                world.batch(&batch_of(&rows));
                kept.extend(rows.iter().map(|(_, row)| *row).filter(|row| row.0 > watermark));
                match rng.random_range(0..5) {
                    0 => (0..3).for_each(|_| world.restart(1)),
                    _ => {
                        watermark += rng.random_range(0..6);
                        world.watermark(watermark);
                    }
                }
            }
            world.end();
            kept.sort_by_key(|row| (row.0, -row.1));
            assert_eq!(world.rows(MAIN_PORT), texts(&kept), "seed {seed}");
            assert_eq!(world.state_entries(), 0);
        }
    }

    #[test]
    fn the_end_gives_what_is_left_in_order() {
        for seed in 0..100 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (skip, fetch) = (rng.random_range(0..3), rng.random_bool(0.5).then(|| rng.random_range(0..20)));
            let plan =
                EndSort { order: vec![sort(1, true)], kept: vec![0, 1], skip, fetch, input: input(), schema: input() };
            let mut world = World::new(&plan, &[], &plan.input, usize::MAX, 1);
            let mut live: Vec<Row> = Vec::new();
            for _ in 0..rng.random_range(1..20) {
                let mut rows = Vec::new();
                for _ in 0..rng.random_range(1..9) {
                    if !live.is_empty() && rng.random_bool(0.4) {
                        rows.push((RowKind::Delete, live.swap_remove(rng.random_range(0..live.len()))));
                    } else {
                        live.push((rng.random_range(0..4), rng.random_range(0..4)));
                        rows.push((RowKind::Insert, live[live.len() - 1]));
                    }
                }
                world.batch(&batch_of(&rows));
                if rng.random_bool(0.2) {
                    (0..3).for_each(|_| world.restart(1));
                }
            }
            assert!(world.rows(MAIN_PORT).is_empty());
            world.end();
            world.restart(1);
            world.end();
            live.sort_by_key(|row| (-row.1, row.0));
            let live: Vec<Row> =
                live.into_iter().skip(skip as usize).take(fetch.unwrap_or(u64::MAX) as usize).collect();
            assert_eq!(world.rows(MAIN_PORT), texts(&live), "seed {seed}");
        }
    }
}
