//! Joins whose rows are needed for a known time: against a twin that keeps all rows, and what is left of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_expr::Operator as Sign;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tests::{stored_rows, world};
use super::*;
use crate::Batch;
use crate::operators::testing::World;

const AFTER_MS: [i64; 2] = [8_000, 5_000];

/// Key and time.
type Row = (i64, Option<i64>);

/// The sides whose rows have a lifetime.
type Lifetimes = [bool; 2];

const LEFT_ONLY: Lifetimes = [true, false];

/// Key, time, and as numbers the time and how long the row is needed.
fn schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("k", DataType::Int64),
        field("time", DataType::Timestamp(TimeUnit::Millisecond, None)),
        field("low", DataType::Int64),
        field("high", DataType::Int64),
    ]))
}

fn plan(lifetimes: Lifetimes) -> RegularJoin {
    let input = |side: usize| JoinInput {
        keys: vec![0],
        schema: schema(),
        row_key: RowKey::Arrival,
        alone: None,
        lifetime: lifetimes[side].then(|| Lifetime { time: 1, after_ms: AFTER_MS[side] }),
    };
    let column = |name, index| Arc::new(Column::new(name, index)) as Arc<dyn PhysicalExpr>;
    let both = |left, sign, right| Arc::new(BinaryExpr::new(left, sign, right)) as Arc<dyn PhysicalExpr>;
    let right_is_in_time = both(column("low", 6), Sign::LtEq, column("high", 3));
    let left_is_in_time = both(column("low", 2), Sign::LtEq, column("high", 7));
    let fields = [schema(), schema()].iter().flat_map(|schema| schema.fields().iter().cloned()).collect::<Vec<_>>();
    RegularJoin {
        inputs: [input(0), input(1)],
        null_fits_null: vec![false],
        condition: Some(both(right_is_in_time, Sign::And, left_is_in_time)),
        pairs: true,
        ttl_ms: None,
        on_error: RowErrorPolicy::Fail,
        schema: Arc::new(Schema::new(fields)),
    }
}

fn needed_until(side: usize, time: i64, lifetimes: Lifetimes) -> i64 {
    if lifetimes[side] { time + AFTER_MS[side] } else { i64::MAX }
}

fn batch_of(side: usize, rows: &[Row], lifetimes: Lifetimes) -> Batch {
    let times = || rows.iter().map(|row| row.1);
    let until = |time: Option<i64>| time.map(|time| needed_until(side, time, lifetimes));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(times().collect::<TimestampMillisecondArray>()),
        Arc::new(times().collect::<Int64Array>()),
        Arc::new(times().map(until).collect::<Int64Array>()),
    ];
    Batch::new(RecordBatch::try_new(schema(), columns).unwrap())
}

/// All pairs that fit, as the columns `k` and `time` of both.
fn twin(tables: &[Vec<Row>; 2], lifetimes: Lifetimes) -> Vec<(Row, Row)> {
    let [left, right] = tables;
    let fits = |(key, time): Row, (other_key, other_time): Row| match (time, other_time) {
        (Some(time), Some(other)) => {
            let in_time = other <= needed_until(0, time, lifetimes) && time <= needed_until(1, other, lifetimes);
            key == other_key && in_time
        }
        _ => false,
    };
    let pairs = left.iter().flat_map(|one| right.iter().map(|other| (*one, *other)));
    let mut pairs: Vec<_> = pairs.filter(|(one, other)| fits(*one, *other)).collect();
    pairs.sort_unstable();
    pairs
}

fn take_pairs(world: &mut World) -> Vec<(Row, Row)> {
    use arrow::array::AsArray;
    use arrow::datatypes::{Int64Type, TimestampMillisecondType};
    let mut pairs = Vec::new();
    for (_, batch) in world.take_output() {
        let row = |first: usize, row: usize| {
            let key = batch.column(first).as_primitive::<Int64Type>().value(row);
            (key, Some(batch.column(first + 1).as_primitive::<TimestampMillisecondType>().value(row)))
        };
        pairs.extend((0..batch.num_rows()).map(|number| (row(0, number), row(4, number))));
    }
    pairs
}

#[test]
fn rows_that_are_dropped_are_missed_by_nobody() {
    for seed in 0..240 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let lifetimes = [LEFT_ONLY, [false, true], [true, true]][seed as usize % 3];
        let budget = [usize::MAX, 1, 3_000, 30_000][seed as usize / 3 % 4];
        let plan = plan(lifetimes);
        let mut world = world(&plan, budget, 1 + seed as usize % 3);
        let (mut told, mut tables, mut found) = ([0i64; 2], [Vec::new(), Vec::new()], Vec::new());
        for step in 0..60 {
            let side = rng.random_range(0..2);
            let row = |rng: &mut ChaCha8Rng| {
                // Whoever is waited for is never late; the others are at times, or are ahead of all, or have no time.
                let time = match lifetimes[1 - side] {
                    true => Some(told[side] + 1 + 500 * rng.random_range(0..12)),
                    false => match rng.random_range(0..12) {
                        0 => None,
                        1 => Some(told[side] + rng.random_range(0..1_000_000)),
                        _ => Some(told[side] + 500 * rng.random_range(-24..12) + rng.random_range(0..2)),
                    },
                };
                (rng.random_range(0..4), time)
            };
            let rows: Vec<Row> = (0..rng.random_range(1..12)).map(|_| row(&mut rng)).collect();
            world.batch_to(side, &batch_of(side, &rows, lifetimes));
            tables[side].extend(rows);
            found.extend(take_pairs(&mut world));
            found.sort_unstable();
            let expected = twin(&tables, lifetimes);
            let first = found.iter().zip(&expected).find(|(one, other)| one != other);
            assert!(
                found == expected,
                "seed {seed}, step {step}: {} of {} pairs, {first:?}",
                found.len(),
                expected.len()
            );
            match rng.random_range(0..8) {
                0 => world.barrier(),
                1 => world.restart(rng.random_range(1..4)),
                2..6 => {
                    let side = rng.random_range(0..2);
                    told[side] += 500 * rng.random_range(0..8);
                    world.input_watermark(side, told[side]);
                }
                _ => {}
            }
        }
        [0, 1].into_iter().for_each(|side| world.input_watermark(side, i64::MAX));
        world.barrier();
        let kept = (0..2).filter(|side| !lifetimes[*side]).map(|side| tables[side].len()).sum::<usize>();
        assert_eq!(stored_rows(&world), kept, "seed {seed}: nothing is left of rows that nobody needs");
    }
}

#[test]
fn rows_that_come_and_go_between_barriers_are_never_written_and_others_before_a_barrier() {
    let plan = plan(LEFT_ONLY);
    let mut world = world(&plan, usize::MAX, 1);
    let mut time = 0;
    let mut round = |world: &mut World, pass_ms: i64| {
        let rows: Vec<Row> = (0..40).map(|number| (number % 4, Some(time + number))).collect();
        time += pass_ms;
        world.batch_to(0, &batch_of(0, &rows, LEFT_ONLY));
        world.input_watermark(1, time);
    };
    // Time leaps: a barrier finds the rows of the last second alone.
    for _ in 0..3 {
        (0..50).for_each(|_| round(&mut world, 1_000));
        world.barrier();
    }
    let written = world.state_writes();
    assert!(
        written <= 3 * 12 * 40 + 2 * 12 * 40,
        "{written} of 6,000 rows: those of up to 12 seconds, and their deletion"
    );
    assert!(world.cache_bytes() < 200_000, "{} bytes", world.cache_bytes());
    // Time crawls: what comes is written sooner or later, so it may be sooner.
    (0..3).for_each(|_| {
        round(&mut world, 10);
        world.barrier();
    });
    let written = stored_rows(&world);
    (0..20).for_each(|_| round(&mut world, 10));
    let ahead = stored_rows(&world) - written;
    assert!(ahead > 200, "{ahead} of 800 rows, a few behind each batch");
}

#[test]
fn a_late_row_that_fits_nothing_more_is_not_kept_and_meets_what_came_before() {
    let plan = plan(LEFT_ONLY);
    let mut world = world(&plan, usize::MAX, 1);
    world.batch_to(1, &batch_of(1, &[(1, Some(5_000))], LEFT_ONLY));
    world.input_watermark(1, 100_000);
    world.batch_to(0, &batch_of(0, &[(1, Some(2_000)), (1, None)], LEFT_ONLY));
    assert_eq!(take_pairs(&mut world), [((1, Some(2_000)), (1, Some(5_000)))]);
    world.barrier();
    assert_eq!(world.state_entries(), 1, "the right row");
}
