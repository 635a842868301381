//! Top-N and deduplication within windows: rows wait until their window closes, and those in range are given then, once
//! and for all.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;

use super::key_table::{KeyColumns, KeyTable};
use super::narrow::Narrow;
use super::ordering::{RankFunction, RankRange, SortColumn, SortEncoder};
use super::row_codec::RowCodec;
use super::waiting_rows::{DueTime, WaitingRows};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::time::EventTime;
use crate::{Batch, Epoch, Result};

/// Memory is searched for rows out of range where it has so many more than after the last search.
const THIN_OUT_ROWS: usize = 1 << 14;

/// Output: the kept columns and, where wanted, the rank as BIGINT; appended when the watermark passes a window's end.
#[derive(Clone)]
pub struct WindowRank {
    /// TIMESTAMP column with the window's end, and the zone of its calendar.
    pub window_end: usize,
    pub zone: Option<Tz>,
    /// PARTITION BY, as indices into `input`: the window's bounds are among them.
    pub keys: Vec<usize>,
    pub order: Vec<SortColumn>,
    pub function: RankFunction,
    pub range: RankRange,
    pub kept: Vec<usize>,
    pub with_rank: bool,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for WindowRank {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let sorted = self.order.iter().map(|sort| sort.column);
        let columns = self.keys.iter().chain(&self.kept).copied().chain(sorted).chain([self.window_end]);
        let narrow = Narrow::new(columns, &self.input)?;
        let keys = narrow.places(&self.keys);
        let due = |column| DueTime::WindowEnd { column, zone: self.zone };
        Ok(Box::new(WindowRankOperator {
            waiting: WaitingRows::new("WindowTopN", due(narrow.place(self.window_end)), &keys, narrow.schema())?,
            late: due(self.window_end),
            keys: KeyColumns::new(&keys, narrow.schema())?,
            order: SortEncoder::new(&narrow.sort(&self.order), narrow.schema())?,
            codec: RowCodec::new(narrow.schema())?,
            kept: narrow.places(&self.kept),
            narrow,
            plan: self.clone(),
            rows_after_search: 0,
        }))
    }
}

struct WindowRankOperator {
    plan: WindowRank,
    narrow: Narrow,
    keys: KeyColumns,
    order: SortEncoder,
    codec: RowCodec,
    /// Where the output's columns stand among the narrow ones.
    kept: Vec<usize>,
    waiting: WaitingRows,
    /// The window's end in the input.
    late: DueTime,
    rows_after_search: usize,
}

/// Rows with their ranks, partition by partition.
struct Ranked {
    rows: Vec<u32>,
    ranks: Vec<i64>,
}

impl WindowRankOperator {
    /// The rows whose rank is in range, each partition in order.
    fn rank(&self, rows: &RecordBatch, range: RankRange) -> Result<Ranked> {
        let keys = self.keys.encode(rows)?;
        let mut table = KeyTable::default();
        let slots: Vec<u32> = (0..rows.num_rows()).map(|row| table.intern(keys.hash(row), keys.key(row))).collect();
        let order = self.order.encode(rows)?;
        let encoded = self.codec.encode(rows)?;
        let key = |row: &u32| (slots[*row as usize], order.of(*row as usize));
        let mut sorted: Vec<u32> = (0..rows.num_rows() as u32).collect();
        sorted.sort_unstable_by(|one, other| {
            let (left, right) = (key(one), key(other));
            left.cmp(&right).then_with(|| encoded.row(*one as usize).cmp(encoded.row(*other as usize)))
        });
        let mut ranked = Ranked { rows: Vec::new(), ranks: Vec::new() };
        let (mut number, mut rank, mut dense) = (0u64, 0, 0);
        for (position, row) in sorted.iter().enumerate() {
            let before = position.checked_sub(1).map(|before| key(&sorted[before]));
            if before.is_none_or(|before| before.0 != key(row).0) {
                (number, rank, dense) = (0, 0, 0);
            }
            number += 1;
            if number == 1 || before != Some(key(row)) {
                rank = number;
                dense += 1;
            }
            let own = match self.plan.function {
                RankFunction::RowNumber => number,
                RankFunction::Rank => rank,
                RankFunction::DenseRank => dense,
            };
            if range.contains(own) {
                ranked.rows.push(*row);
                ranked.ranks.push(own as i64);
            }
        }
        Ok(ranked)
    }

    fn output(&self, rows: &RecordBatch, ranked: Ranked) -> Result<RecordBatch> {
        let numbers = UInt32Array::from(ranked.rows);
        let columns = self.kept.iter().map(|column| Ok(take(rows.column(*column), &numbers, None)?));
        let mut columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        if self.plan.with_rank {
            columns.push(Arc::new(Int64Array::from(ranked.ranks)));
        }
        Ok(RecordBatch::try_new(self.plan.schema.clone(), columns)?)
    }

    /// Drops waiting rows that enough others come before.
    fn thin_out(&mut self) -> Result<()> {
        let bounded = self.plan.range.to < u64::MAX;
        if !bounded || self.waiting.rows_in_memory() < 2 * self.rows_after_search + THIN_OUT_ROWS {
            return Ok(());
        }
        if let Some(rows) = self.waiting.take_memory()? {
            let ranked = self.rank(&rows, RankRange { from: 1, to: self.plan.range.to })?;
            self.waiting.add(take_record_batch(&rows, &UInt32Array::from(ranked.rows))?)?;
        }
        self.rows_after_search = self.waiting.rows_in_memory();
        Ok(())
    }
}

impl Operator for WindowRankOperator {
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
        self.thin_out()?;
        self.waiting.keep_to_budget(0, ctx)
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        while let Some(rows) = self.waiting.next_due(watermark, ctx)? {
            let ranked = self.rank(&rows, self.plan.range)?;
            if !ranked.rows.is_empty() {
                out.emit(MAIN_PORT, Batch::new(self.output(&rows, ranked)?))?;
            }
        }
        Ok(())
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.waiting.on_barrier(ctx)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::TimestampMillisecondArray;
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::operators::testing::{World, rows_as_text, sorted};

    const WINDOW_MS: i64 = 10;

    /// Window's end, key, value, number.
    type Row = (i64, i64, i64, i64);

    fn plan(function: RankFunction, range: RankRange, with_rank: bool) -> WindowRank {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let input: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("window_end", time, true),
            Field::new("key", DataType::Int64, true),
            Field::new("value", DataType::Int64, true),
            Field::new("number", DataType::Int64, true),
        ]));
        let rank = with_rank.then(|| Arc::new(Field::new("rank", DataType::Int64, false)));
        let fields: Vec<_> = input.fields().iter().cloned().chain(rank).collect();
        WindowRank {
            window_end: 0,
            zone: None,
            keys: vec![0, 1],
            order: vec![SortColumn { column: 2, descending: true, nulls_first: false }],
            function,
            range,
            kept: vec![0, 1, 2, 3],
            with_rank,
            input,
            schema: Arc::new(Schema::new(fields)),
        }
    }

    fn batch_of(rows: &[Row], plan: &WindowRank) -> Batch {
        let number = |of: fn(&Row) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
        let ends = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.0));
        let columns = vec![Arc::new(ends) as ArrayRef, number(|row| row.1), number(|row| row.2), number(|row| row.3)];
        Batch::new(RecordBatch::try_new(plan.input.clone(), columns).unwrap())
    }

    fn twin(rows: &[Row], plan: &WindowRank) -> Vec<String> {
        let mut partitions: BTreeMap<(i64, i64), Vec<Row>> = BTreeMap::new();
        rows.iter().for_each(|row| partitions.entry((row.0, row.1)).or_default().push(*row));
        let mut lines = Vec::new();
        for mut rows in partitions.into_values() {
            rows.sort_by_key(|row| (-row.2, row.3));
            for (position, row) in rows.iter().enumerate() {
                let mut before: Vec<i64> = rows.iter().map(|row| row.2).filter(|value| *value > row.2).collect();
                let rank = match plan.function {
                    RankFunction::RowNumber => position + 1,
                    RankFunction::Rank => before.len() + 1,
                    RankFunction::DenseRank => {
                        before.dedup();
                        before.len() + 1
                    }
                };
                if plan.range.contains(rank as u64) {
                    let text = rows_as_text(batch_of(&[*row], plan).rows()).remove(0);
                    lines.push(if plan.with_rank { format!("{text}|{rank}") } else { text });
                }
            }
        }
        sorted(lines)
    }

    #[test]
    fn each_window_gives_its_range_when_it_closes() {
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let function =
                [RankFunction::RowNumber, RankFunction::Rank, RankFunction::DenseRank][rng.random_range(0..3)];
            let from = rng.random_range(1..3);
            let to = if rng.random_bool(0.2) { u64::MAX } else { from + rng.random_range(0..3) };
            let plan = plan(function, RankRange { from, to }, rng.random_bool(0.5));
            let mut world = World::new(&plan, &plan.keys, &plan.input, [usize::MAX, 1][seed as usize % 2], 1);
            let (mut kept, mut late, mut watermark) = (Vec::new(), 0, 0);
            world.watermark(watermark);
            for _ in 0..rng.random_range(1..30) {
                let mut rows: Vec<Row> = (0..rng.random_range(1..12))
                    .map(|_| {
                        let end = (watermark / WINDOW_MS + rng.random_range(0..3)) * WINDOW_MS;
                        (end, rng.random_range(0..3), rng.random_range(0..4), rng.random_range(0..100))
                    })
                    .collect();
                world.batch(&batch_of(&rows, &plan));
                late += rows.extract_if(.., |row| row.0 - 1 <= watermark).count() as u64;
                kept.append(&mut rows);
                match rng.random_range(0..6) {
                    0 => world.barrier(),
                    1 => (0..3).for_each(|_| world.restart(rng.random_range(1..4))),
                    _ => {
                        watermark += rng.random_range(1..8);
                        world.watermark(watermark);
                    }
                }
            }
            world.end();
            assert_eq!(world.sorted_rows(), twin(&kept, &plan), "seed {seed}");
            assert_eq!(world.late_total(), late, "seed {seed}");
            assert_eq!(world.state_entries(), 0, "seed {seed}");
        }
    }

    #[test]
    fn rows_out_of_range_do_not_pile_up() {
        let plan = plan(RankFunction::RowNumber, RankRange { from: 1, to: 2 }, false);
        let mut world = World::new(&plan, &plan.keys, &plan.input, usize::MAX, 1);
        let mut rows = Vec::new();
        for batch in 0..100 {
            let more: Vec<Row> = (0..1000).map(|row| (WINDOW_MS, row % 7, (row * 31 + batch) % 5000, row)).collect();
            world.batch(&batch_of(&more, &plan));
            rows.extend(more);
            assert!(world.cache_bytes() < 3 << 20, "{} bytes", world.cache_bytes());
        }
        world.end();
        assert_eq!(world.sorted_rows(), twin(&rows, &plan));
    }
}
