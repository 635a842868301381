//! Temporal joins against a twin that looks every version up in a list.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_expr::Operator as Comparison;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Batch;
use crate::batch::RowKind;
use crate::operator::SIDE_PORT;
use crate::operators::join_rows::{LEFT, RIGHT, joined_schema};
use crate::operators::testing::{World, rows_as_text, sorted};

#[derive(Debug, Clone, Copy)]
struct Row {
    kind: RowKind,
    key: Option<&'static str>,
    time: i64,
    id: i64,
    mark: i64,
}

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("id", DataType::Int64, true),
    ]))
}

fn record_batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.key).collect::<StringArray>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.time))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

/// The watermark at which all up to `time` is certainly over.
fn told(time: i64) -> i64 {
    if time == i64::MIN { time } else { time.saturating_add(1) }
}

fn batch_of(rows: &[Row]) -> Batch {
    let kinds = rows.iter().map(|row| row.kind as i8).collect::<Vec<_>>();
    let batch = Batch::with_kinds(record_batch(rows), kinds.into());
    batch.with_watermarks(rows.iter().map(|row| told(row.mark)).collect())
}

fn plan(kind: JoinType, has_condition: bool) -> TemporalJoin {
    let one = JoinInput { schema: input(), keys: vec![0] };
    let different = BinaryExpr::new(Arc::new(Column::new("id", 2)), Comparison::NotEq, Arc::new(Column::new("id", 5)));
    TemporalJoin {
        kind,
        domain: TimeDomain::Event,
        inputs: [one.clone(), one],
        times: [1, 1],
        condition: has_condition.then_some(Arc::new(different)),
        schema: joined_schema(kind, &input(), &input()),
    }
}

fn text(row: &Row) -> String {
    rows_as_text(&record_batch(&[*row])).remove(0)
}

/// The version of a left row: the latest that is not after it and that came before the row could have been joined.
fn version_of<'a>(left: &Row, versions: &'a [Row]) -> Option<&'a Row> {
    let known = versions.iter().enumerate().filter(|(_, version)| {
        let same = left.key.is_some() && version.key == left.key;
        same && version.time <= left.time && version.mark < left.time && version.kind != RowKind::UpdateBefore
    });
    let latest = known.max_by_key(|(position, version)| (version.time, *position));
    latest.map(|(_, version)| version).filter(|version| version.kind != RowKind::Delete)
}

fn naive(plan: &TemporalJoin, left: &[Row], right: &[Row]) -> (Vec<String>, Vec<String>) {
    let (late, timely): (Vec<Row>, Vec<Row>) = left.iter().partition(|row| row.time <= row.mark);
    let rows = timely.iter().filter_map(|row| {
        let version = version_of(row, right);
        match version.filter(|version| plan.condition.is_none() || version.id != row.id) {
            Some(version) => Some(format!("{}|{}", text(row), text(version))),
            None if plan.kind == JoinType::Left => Some(format!("{}|NULL|NULL|NULL", text(row))),
            None => None,
        }
    });
    (sorted(rows.collect()), sorted(late.iter().map(text).collect()))
}

fn random_rows(rng: &mut ChaCha8Rng, kinds: &[RowKind]) -> Vec<Row> {
    let (mut time, mut mark) = (rng.random_range(0..10), i64::MIN);
    let mut rows = Vec::new();
    for id in 0..rng.random_range(0..70) {
        time += rng.random_range(0..5);
        let back = if rng.random_bool(0.1) { rng.random_range(0..40) } else { rng.random_range(0..6) };
        let key = [Some("a"), Some("b"), Some("c"), None][rng.random_range(0..4)];
        let kind = kinds[rng.random_range(0..kinds.len())];
        rows.push(Row { kind, key, time: time - back, id: id / 2, mark });
        mark = mark.max(time - 6);
    }
    rows
}

fn world(plan: &TemporalJoin, parallelism: usize) -> World<'_> {
    let inputs = plan.inputs.each_ref().map(|input| (input.keys.as_slice(), &input.schema));
    World::with_inputs(plan, &inputs, 1 << 10, parallelism)
}

fn feed(plan: &TemporalJoin, sides: [Vec<Row>; 2], rng: &mut ChaCha8Rng) {
    let (expected, late) = naive(plan, &sides[LEFT], &sides[RIGHT]);
    let mut world = world(plan, rng.random_range(1..4));
    let mut given = [0, 0];
    while given[0] < sides[0].len() || given[1] < sides[1].len() {
        let side = rng.random_range(0..2);
        let end = (given[side] + rng.random_range(1..6)).min(sides[side].len());
        if end > given[side] {
            world.batch_to(side, &batch_of(&sides[side][given[side]..end]));
        }
        given[side] = end;
        let mark = |side: usize| sides[side].get(given[side]).map_or(i64::MAX, |next| next.mark);
        let watermark = mark(0).min(mark(1));
        if watermark > i64::MIN && rng.random_bool(0.5) {
            world.watermark(told(watermark));
        }
        if rng.random_bool(0.05) {
            let parallelism = rng.random_range(1..4);
            (0..3).for_each(|_| world.restart(parallelism));
        }
    }
    world.end();
    assert_eq!(world.sorted_rows(), expected, "{:?}", plan.kind);
    assert_eq!(sorted(world.rows(SIDE_PORT)), late);
    assert!(world.state_entries() <= 3, "one version per key is kept, and no row waits");
}

#[test]
fn random_versions_join_as_the_twin_says() {
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    for seed in 0..200 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let plan = plan([JoinType::Inner, JoinType::Left][seed as usize % 2], rng.random_bool(0.3));
        let kinds = if rng.random_bool(0.5) { vec![Insert] } else { vec![Insert, UpdateBefore, UpdateAfter, Delete] };
        let sides = [random_rows(rng, &[Insert]), random_rows(rng, &kinds)];
        feed(&plan, sides, rng);
    }
}

#[test]
fn old_versions_are_forgotten_as_time_passes() {
    let plan = plan(JoinType::Inner, false);
    let mut world = world(&plan, 2);
    for step in 0..100 {
        let row = |key| Row { kind: RowKind::Insert, key: Some(key), time: step, id: step, mark: step - 1 };
        world.batch_to(RIGHT, &batch_of(&[row("a"), row("b")]));
        world.batch_to(LEFT, &batch_of(&[row("a")]));
        world.watermark(told(step));
        assert!(world.state_entries() <= 2, "{} entries at step {step}", world.state_entries());
    }
    assert_eq!(world.rows(0).len(), 100);
}

#[test]
fn in_processing_time_a_row_meets_what_is_there() {
    let mut plan = plan(JoinType::Left, false);
    plan.domain = TimeDomain::Processing;
    let mut world = world(&plan, 1);
    let row = |kind, id| Row { kind, key: Some("a"), time: 100 - id, id, mark: 50 };
    let left = |world: &mut World, id| world.batch_to(LEFT, &batch_of(&[row(RowKind::Insert, id)]));
    left(&mut world, 1);
    world.batch_to(RIGHT, &batch_of(&[row(RowKind::Insert, 10), row(RowKind::UpdateAfter, 11)]));
    left(&mut world, 2);
    world.batch_to(RIGHT, &batch_of(&[row(RowKind::Delete, 11)]));
    left(&mut world, 3);
    let ids = |row: String| row.split('|').filter_map(|part| part.parse::<i64>().ok()).collect::<Vec<_>>();
    assert_eq!(world.rows(0).into_iter().map(ids).collect::<Vec<_>>(), [vec![1], vec![2, 11], vec![3]]);
    let marks: Vec<_> = world.out.batches.iter().map(|(_, batch)| batch.watermark_before(0).0).collect();
    assert_eq!(marks, [51; 3], "rows keep the watermark of their split");
}
