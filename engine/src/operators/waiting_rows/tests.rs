//! What is given, and when, whatever happens on the way.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::operator::{MAIN_PORT, Operator, OperatorFactory};
use crate::operators::testing::{World, sorted};
use crate::{Batch, Epoch};

/// Gives rows as they become due.
struct Plain;

struct PlainOperator(WaitingRows);

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, true), Field::new("time", time, true)]))
}

impl OperatorFactory for Plain {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(PlainOperator(WaitingRows::new("Plain", DueTime::Column(1), &[0], &schema())?)))
    }
}

impl Operator for PlainOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.0.open(ctx)
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let on_time = self.0.split_late(batch, DueTime::Column(1), ctx, out)?;
        self.0.add(on_time.rows().clone())?;
        self.0.keep_to_budget(0, ctx)
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        while let Some(rows) = self.0.next_due(watermark, ctx)? {
            out.emit(MAIN_PORT, Batch::new(rows))?;
        }
        Ok(())
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.0.on_barrier(ctx)
    }
}

fn batch_of(rows: &[(i64, i64)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.1))),
    ];
    Batch::new(RecordBatch::try_new(schema(), columns).unwrap())
}

fn texts(rows: &[(i64, i64)]) -> Vec<String> {
    batch_of(rows).num_rows();
    sorted(crate::operators::testing::rows_as_text(batch_of(rows).rows()))
}

#[test]
fn rows_come_out_at_the_first_watermark_that_is_not_before_them() {
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World::new(&Plain, &[0], &schema(), [usize::MAX, 1, 2_000][seed as usize % 3], 1);
        let (mut waiting, mut late, mut given, mut watermark) = (Vec::new(), Vec::new(), Vec::new(), i64::MIN);
        for _ in 0..rng.random_range(1..40) {
            let rows: Vec<(i64, i64)> = (0..rng.random_range(1..12))
                .map(|_| (rng.random_range(0..6), watermark.max(0) + rng.random_range(-3..20)))
                .collect();
            world.batch(&batch_of(&rows));
            let (too_late, on_time): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.1 <= watermark);
            late.extend(too_late);
            waiting.extend(on_time);
            match rng.random_range(0..5) {
                0 => world.barrier(),
                1 => (0..3).for_each(|_| world.restart(rng.random_range(1..4))),
                _ => {
                    watermark = watermark.max(0) + rng.random_range(0..12);
                    world.watermark(watermark);
                    given.extend(waiting.extract_if(.., |row| row.1 <= watermark));
                }
            }
            assert_eq!(world.sorted_rows(), texts(&given), "seed {seed}");
            assert_eq!(world.sorted_late_rows(), texts(&late), "seed {seed}");
        }
        world.end();
        given.extend(waiting);
        assert_eq!(world.sorted_rows(), texts(&given), "seed {seed}");
        assert_eq!(world.state_entries(), 0, "seed {seed}");
    }
}

#[test]
fn more_rows_than_fit_come_in_the_order_of_their_time() {
    let mut world = World::new(&Plain, &[0], &schema(), 1, 1);
    let rows: Vec<(i64, i64)> = (0..200_000).map(|row| (7, (row * 7919) % 1000)).collect();
    rows.chunks(10_000).for_each(|rows| world.batch(&batch_of(rows)));
    world.end();
    let batches: Vec<Vec<i64>> = world
        .take_output()
        .into_iter()
        .map(|(_, batch)| crate::operators::row_times::row_times("", batch.rows(), 1).unwrap())
        .collect();
    assert!(batches.len() > 1 && batches.iter().map(Vec::len).sum::<usize>() == rows.len());
    assert!(batches.windows(2).all(|pair| pair[0].iter().max() < pair[1].iter().min()));
}
