//! Window joins against a twin that compares every left row with every right one.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_expr::Operator as Comparison;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Batch;
use crate::operator::{SIDE_PORT, SIDE_PORT_RIGHT};
use crate::operators::join_rows::{LEFT, RIGHT, joined_schema};
use crate::operators::testing::{World, rows_as_text, sorted};

const SIZE_MS: i64 = 10;

#[derive(Debug, Clone, Copy)]
struct Row {
    key: Option<&'static str>,
    /// Of the window, which is `SIZE_MS` long.
    end: i64,
    id: i64,
    mark: i64,
}

fn input() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("window_start", time.clone(), true),
        Field::new("window_end", time, true),
        Field::new("id", DataType::Int64, true),
    ]))
}

fn record_batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.key).collect::<StringArray>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.end - SIZE_MS))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.end))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

fn plan(kind: JoinType, keys: Vec<usize>, has_condition: bool) -> WindowJoin {
    let keys = keys.into_iter().chain([1, 2]).collect();
    let one = JoinInput { schema: input(), keys };
    let different = BinaryExpr::new(Arc::new(Column::new("id", 3)), Comparison::NotEq, Arc::new(Column::new("id", 7)));
    WindowJoin {
        kind,
        inputs: [one.clone(), one],
        ends: [2, 2],
        zone: None,
        condition: has_condition.then_some(Arc::new(different)),
        schema: joined_schema(kind, &input(), &input()),
    }
}

fn text(row: &Row) -> String {
    rows_as_text(&record_batch(&[*row])).remove(0)
}

const ABSENT: &str = "NULL|NULL|NULL|NULL";

fn naive(plan: &WindowJoin, sides: [&[Row]; 2]) -> (Vec<String>, [Vec<String>; 2]) {
    let is_late = |row: &Row| row.end - 1 <= row.mark;
    let timely = sides.map(|rows| rows.iter().filter(|row| !is_late(row)).copied().collect::<Vec<_>>());
    let joins = |left: &Row, right: &Row| {
        let same = plan.inputs[0].keys.len() == 2 || (left.key.is_some() && left.key == right.key);
        same && left.end == right.end && (plan.condition.is_none() || left.id != right.id)
    };
    let alone = |side: usize, partner: bool| -> Vec<&Row> {
        let has_partner = |row: &&Row| match side {
            LEFT => timely[RIGHT].iter().any(|right| joins(row, right)),
            _ => timely[LEFT].iter().any(|left| joins(left, row)),
        };
        timely[side].iter().filter(|row| has_partner(row) == partner).collect()
    };
    let mut rows: Vec<String> = match plan.kind {
        JoinType::LeftSemi => alone(LEFT, true).into_iter().map(text).collect(),
        JoinType::LeftAnti => alone(LEFT, false).into_iter().map(text).collect(),
        _ => {
            let pairs = timely[LEFT].iter().flat_map(|left| timely[RIGHT].iter().map(move |right| (left, right)));
            pairs.filter(|(left, right)| joins(left, right)).map(|(l, r)| format!("{}|{}", text(l), text(r))).collect()
        }
    };
    if matches!(plan.kind, JoinType::Left | JoinType::Full) {
        rows.extend(alone(LEFT, false).into_iter().map(|row| format!("{}|{ABSENT}", text(row))));
    }
    if matches!(plan.kind, JoinType::Right | JoinType::Full) {
        rows.extend(alone(RIGHT, false).into_iter().map(|row| format!("{ABSENT}|{}", text(row))));
    }
    let late = sides.map(|rows| sorted(rows.iter().filter(|row| is_late(row)).map(text).collect()));
    (sorted(rows), late)
}

/// Rows in order of arrival, of one split.
fn random_rows(rng: &mut ChaCha8Rng) -> Vec<Row> {
    let (mut time, mut mark) = (0i64, i64::MIN);
    let mut rows = Vec::new();
    for id in 0..rng.random_range(0..60) {
        time += rng.random_range(0..4);
        let back = if rng.random_bool(0.1) { rng.random_range(0..30) } else { rng.random_range(0..5) };
        let end = ((time - back).div_euclid(SIZE_MS) + 1) * SIZE_MS;
        let key = [Some("a"), Some("b"), Some("c"), None][rng.random_range(0..4)];
        rows.push(Row { key, end, id: id / 2, mark });
        mark = mark.max(time - 5);
    }
    rows
}

fn feed(plan: &WindowJoin, sides: [Vec<Row>; 2], rng: &mut ChaCha8Rng) {
    let (expected, late) = naive(plan, [&sides[0], &sides[1]]);
    let inputs = plan.inputs.each_ref().map(|input| (input.keys.as_slice(), &input.schema));
    let mut world = World::with_inputs(plan, &inputs, 1 << 10, rng.random_range(1..4));
    let mut given = [0, 0];
    while given[0] < sides[0].len() || given[1] < sides[1].len() {
        let side = rng.random_range(0..2);
        let end = (given[side] + rng.random_range(1..6)).min(sides[side].len());
        let rows = &sides[side][given[side]..end];
        if !rows.is_empty() {
            let marks = rows.iter().map(|row| row.mark).collect();
            world.batch_to(side, &Batch::new(record_batch(rows)).with_watermarks(marks));
        }
        given[side] = end;
        let mark = |side: usize| sides[side].get(given[side]).map_or(i64::MAX, |next| next.mark);
        let watermark = mark(0).min(mark(1));
        if watermark > i64::MIN && rng.random_bool(0.5) {
            world.watermark(watermark);
        }
        if rng.random_bool(0.05) {
            let parallelism = rng.random_range(1..4);
            (0..3).for_each(|_| world.restart(parallelism));
        }
    }
    world.end();
    assert_eq!(world.sorted_rows(), expected, "{:?}", plan.kind);
    assert_eq!(sorted(world.rows(SIDE_PORT)), late[LEFT]);
    assert_eq!(sorted(world.rows(SIDE_PORT_RIGHT)), late[RIGHT]);
    assert_eq!(world.state_entries(), 0, "windows free their rows");
}

#[test]
fn random_windows_join_as_the_twin_says() {
    let kinds =
        [JoinType::Inner, JoinType::Left, JoinType::Right, JoinType::Full, JoinType::LeftSemi, JoinType::LeftAnti];
    for seed in 0..180 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let keys = if rng.random_bool(0.7) { vec![0] } else { vec![] };
        let plan = plan(kinds[seed as usize % kinds.len()], keys, rng.random_bool(0.3));
        let sides = [random_rows(rng), random_rows(rng)];
        feed(&plan, sides, rng);
    }
}

#[test]
fn a_window_gives_its_rows_when_it_closes() {
    let plan = plan(JoinType::Inner, vec![0], false);
    let inputs = plan.inputs.each_ref().map(|input| (input.keys.as_slice(), &input.schema));
    let mut world = World::with_inputs(&plan, &inputs, 1 << 10, 1);
    for side in [LEFT, RIGHT] {
        let row = Row { key: Some("a"), end: 10, id: side as i64, mark: i64::MIN };
        world.batch_to(side, &Batch::new(record_batch(&[row])));
    }
    world.watermark(8);
    assert!(world.rows(0).is_empty());
    world.watermark(9);
    assert_eq!(world.rows(0).len(), 1);
}
