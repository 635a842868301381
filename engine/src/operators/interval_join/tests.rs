//! Interval joins against a twin that compares every left row with every right one.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_expr::Operator as Comparison;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use expect_test::expect;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Batch;
use crate::operator::{SIDE_PORT, SIDE_PORT_RIGHT};
use crate::operators::join_rows::{LEFT, RIGHT, joined_schema};
use crate::operators::testing::{World, sorted};

/// A row with its number, and the watermark that its split had before it.
#[derive(Debug, Clone, Copy)]
struct Row {
    key: Option<&'static str>,
    time: i64,
    id: i64,
    mark: i64,
}

fn row(key: &'static str, time: i64, id: i64, mark: i64) -> Row {
    Row { key: Some(key), time, id, mark }
}

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("id", DataType::Int64, true),
    ]))
}

/// The watermark at which all up to `time` is certainly over.
fn told(time: i64) -> i64 {
    if time == i64::MIN { time } else { time.saturating_add(1) }
}

fn batch_of(rows: &[Row]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.key).collect::<StringArray>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.time))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
    ];
    let batch = Batch::new(RecordBatch::try_new(input(), columns).unwrap());
    batch.with_watermarks(rows.iter().map(|row| told(row.mark)).collect())
}

fn plan(kind: JoinType, lower_ms: i64, upper_ms: i64, keys: Vec<usize>) -> IntervalJoin {
    let one = JoinInput { schema: input(), keys };
    IntervalJoin {
        kind,
        domain: TimeDomain::Event,
        bounds: TimeBounds { lower_ms, upper_ms },
        inputs: [one.clone(), one],
        times: [1, 1],
        condition: None,
        schema: joined_schema(kind, &input(), &input()),
    }
}

/// `left.id <> right.id`.
fn different_ids() -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(Arc::new(Column::new("id", 2)), Comparison::NotEq, Arc::new(Column::new("id", 5))))
}

fn world(plan: &IntervalJoin, parallelism: usize) -> World<'_> {
    let inputs = plan.inputs.each_ref().map(|input| (input.keys.as_slice(), &input.schema));
    World::with_inputs(plan, &inputs, 1 << 10, parallelism)
}

fn text(row: &Row) -> String {
    let time = chrono::DateTime::from_timestamp_millis(row.time).unwrap().naive_utc();
    let column = TimestampMillisecondArray::from(vec![row.time]);
    let shown = arrow::util::display::array_value_to_string(&column, 0).unwrap();
    debug_assert!(!shown.is_empty(), "{time}");
    format!("{}|{shown}|{}", row.key.unwrap_or("NULL"), row.id)
}

const ABSENT: &str = "NULL|NULL|NULL";

/// What the join must give, and which rows are late.
struct Expected {
    rows: Vec<String>,
    late: [Vec<String>; 2],
}

fn naive(plan: &IntervalJoin, sides: [&[Row]; 2]) -> Expected {
    let TimeBounds { lower_ms, upper_ms } = plan.bounds;
    let is_late = |row: &Row| row.mark >= row.time + upper_ms - lower_ms;
    let timely = sides.map(|rows| rows.iter().filter(|row| !is_late(row)).copied().collect::<Vec<_>>());
    let joins = |left: &Row, right: &Row| {
        let same = plan.inputs[0].keys.is_empty() || (left.key.is_some() && left.key == right.key);
        let near = (lower_ms..=upper_ms).contains(&(left.time - right.time));
        let kept = left.mark < right.time + upper_ms && right.mark < left.time - lower_ms;
        same && near && kept && (plan.condition.is_none() || left.id != right.id)
    };
    let has_partner = |side: usize, row: &Row| match side {
        LEFT => timely[RIGHT].iter().any(|right| joins(row, right)),
        _ => timely[LEFT].iter().any(|left| joins(left, row)),
    };
    let mut rows = Vec::new();
    for left in &timely[LEFT] {
        let partners = timely[RIGHT].iter().filter(|right| joins(left, right));
        match plan.kind {
            JoinType::LeftSemi => rows.extend(has_partner(LEFT, left).then(|| text(left))),
            JoinType::LeftAnti => rows.extend((!has_partner(LEFT, left)).then(|| text(left))),
            _ => rows.extend(partners.map(|right| format!("{}|{}", text(left), text(right)))),
        }
    }
    if matches!(plan.kind, JoinType::Left | JoinType::Full) {
        let alone = timely[LEFT].iter().filter(|row| !has_partner(LEFT, row));
        rows.extend(alone.map(|row| format!("{}|{ABSENT}", text(row))));
    }
    if matches!(plan.kind, JoinType::Right | JoinType::Full) {
        let alone = timely[RIGHT].iter().filter(|row| !has_partner(RIGHT, row));
        rows.extend(alone.map(|row| format!("{ABSENT}|{}", text(row))));
    }
    let late = sides.map(|rows| sorted(rows.iter().filter(|row| is_late(row)).map(text).collect()));
    Expected { rows: sorted(rows), late }
}

/// A side's rows in splits, each with a watermark of its own, in an order of their arrival.
struct Stream {
    splits: Vec<Vec<Row>>,
    /// Rows given of each split.
    given: Vec<usize>,
}

impl Stream {
    fn random(rng: &mut ChaCha8Rng, splits: usize) -> Self {
        let mut next_id = 0;
        let mut split = |rng: &mut ChaCha8Rng| {
            let (mut time, mut mark) = (rng.random_range(0..20), i64::MIN);
            let mut rows = Vec::new();
            for _ in 0..rng.random_range(0..40) {
                time += rng.random_range(0..6);
                // Mostly a little out of order, now and then far behind.
                let back = if rng.random_bool(0.1) { rng.random_range(0..60) } else { rng.random_range(0..8) };
                let key = [Some("a"), Some("b"), Some("c"), None][rng.random_range(0..4)];
                next_id += 1;
                rows.push(Row { key, time: time - back, id: next_id / 2, mark });
                mark = mark.max(time - 8);
            }
            rows
        };
        let splits: Vec<_> = (0..splits).map(|_| split(rng)).collect();
        Self { given: vec![0; splits.len()], splits }
    }

    fn rows(&self) -> Vec<Row> {
        self.splits.iter().flatten().copied().collect()
    }

    /// What the split has reached behind its given rows.
    fn mark(&self, split: usize) -> i64 {
        match self.splits[split].get(self.given[split]) {
            Some(next) => next.mark,
            None => i64::MAX,
        }
    }

    fn watermark(&self) -> i64 {
        (0..self.splits.len()).map(|split| self.mark(split)).min().unwrap_or(i64::MAX)
    }

    fn next(&mut self, rng: &mut ChaCha8Rng) -> Vec<Row> {
        let split = rng.random_range(0..self.splits.len());
        let end = (self.given[split] + rng.random_range(1..6)).min(self.splits[split].len());
        let rows = self.splits[split][self.given[split]..end].to_vec();
        self.given[split] = end;
        rows
    }

    fn is_done(&self) -> bool {
        self.watermark() == i64::MAX
    }
}

/// Feeds both sides in a random interleaving, with watermarks, barriers and restarts between.
fn feed(plan: &IntervalJoin, sides: &mut [Stream; 2], rng: &mut ChaCha8Rng) {
    let expected = naive(plan, [&sides[0].rows(), &sides[1].rows()]);
    let parallelism = if plan.inputs[0].keys.is_empty() { 1 } else { rng.random_range(1..4) };
    let mut world = world(plan, parallelism);
    while !sides.iter().all(Stream::is_done) {
        let side = rng.random_range(0..2);
        let rows = sides[side].next(rng);
        if !rows.is_empty() {
            world.batch_to(side, &batch_of(&rows));
        }
        let watermark = sides[0].watermark().min(sides[1].watermark());
        if watermark > i64::MIN && rng.random_bool(0.5) {
            world.watermark(told(watermark));
        }
        if rng.random_bool(0.05) {
            let parallelism = if plan.inputs[0].keys.is_empty() { 1 } else { rng.random_range(1..4) };
            (0..rng.random_range(1..4)).for_each(|_| world.restart(parallelism));
        }
    }
    world.end();
    assert_eq!(world.sorted_rows(), expected.rows, "{:?} {:?}", plan.kind, plan.bounds);
    assert_eq!(sorted(world.rows(SIDE_PORT)), expected.late[LEFT]);
    assert_eq!(sorted(world.rows(SIDE_PORT_RIGHT)), expected.late[RIGHT]);
    assert_eq!(world.late_total() as usize, expected.late.iter().map(Vec::len).sum::<usize>());
    assert_eq!(world.state_entries(), 0, "the end of time frees all state");
}

const KINDS: [JoinType; 6] =
    [JoinType::Inner, JoinType::Left, JoinType::Right, JoinType::Full, JoinType::LeftSemi, JoinType::LeftAnti];

#[test]
fn random_rows_join_as_the_twin_says() {
    for seed in 0..240 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let lower_ms = rng.random_range(-15..10);
        let upper_ms = lower_ms + rng.random_range(0..20);
        let keys = if rng.random_bool(0.8) { vec![0] } else { vec![] };
        let mut plan = plan(KINDS[seed as usize % KINDS.len()], lower_ms, upper_ms, keys);
        plan.condition = rng.random_bool(0.3).then(different_ids);
        let splits = [rng.random_range(1..4), rng.random_range(1..4)];
        let mut sides = splits.map(|splits| Stream::random(rng, splits));
        feed(&plan, &mut sides, rng);
    }
}

#[test]
fn rows_of_an_outer_join_without_partner_come_when_they_expire() {
    let plan = plan(JoinType::Left, -10, 0, vec![0]);
    let mut world = world(&plan, 1);
    world.batch_to(LEFT, &batch_of(&[row("a", 100, 1, i64::MIN), row("b", 100, 2, i64::MIN)]));
    world.batch_to(RIGHT, &batch_of(&[row("a", 105, 3, i64::MIN)]));
    world.watermark(told(109));
    expect!["a|1970-01-01T00:00:00.100|1|a|1970-01-01T00:00:00.105|3"].assert_eq(&world.rows(0).join("\n"));
    world.take_output();
    world.watermark(told(110));
    expect!["b|1970-01-01T00:00:00.100|2|NULL|NULL|NULL"].assert_eq(&world.rows(0).join("\n"));
}

#[test]
fn state_is_freed_as_time_passes() {
    let plan = plan(JoinType::Inner, -2_000, 2_000, vec![0]);
    let mut world = world(&plan, 2);
    let mut largest = 0;
    for step in 0..200 {
        let time = step * 500;
        for side in [LEFT, RIGHT] {
            world.batch_to(side, &batch_of(&[row(["a", "b"][side], time, step, time - 500)]));
        }
        world.watermark(told(time));
        largest = largest.max(world.state_entries());
    }
    assert!(largest < 20, "{largest} rows were kept");
}

#[test]
fn processing_time_goes_by_the_clock() {
    let mut plan = plan(JoinType::Left, 0, 100, vec![0]);
    plan.domain = TimeDomain::Processing;
    let mut world = world(&plan, 1);
    let far = |id| row("a", 999_999, id, i64::MIN);
    world.time(1_000);
    world.batch_to(RIGHT, &batch_of(&[far(1)]));
    world.time(1_100);
    world.batch_to(LEFT, &batch_of(&[far(2)]));
    world.time(1_101);
    world.batch_to(LEFT, &batch_of(&[far(3)]));
    world.time(1_200);
    let ids = |row: String| row.split('|').filter_map(|part| part.parse::<i64>().ok()).collect::<Vec<_>>();
    assert_eq!(world.rows(0).into_iter().map(ids).collect::<Vec<_>>(), [vec![2, 1], vec![3]]);
}
