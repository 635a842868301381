//! OVER against a twin that computes every frame anew from all rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use expect_test::expect;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::aggregate::resolve;
use crate::operators::testing::{World, rows_as_text, sorted};

/// Key, time, value, number; the number tells rows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: Option<&'static str>,
    time: i64,
    value: Option<i64>,
    number: i64,
}

fn input() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        Field::new("unused", DataType::Int64, true),
        Field::new("key", DataType::Utf8, true),
        Field::new("time", time, true),
        Field::new("value", DataType::Int64, true),
        Field::new("number", DataType::Int64, true),
    ]))
}

fn aggregate_call(name: &str, args: Vec<usize>) -> AggregateCall {
    let types: Vec<DataType> = args.iter().map(|column| input().field(*column).data_type().clone()).collect();
    let factory = resolve(name, &types, &[], false).unwrap();
    let output = Field::new(name, factory.output_type(), true);
    AggregateCall { display: name.into(), output, factory, args, filter: None }
}

fn plan(functions: Vec<OverFunction>, is_event_time: bool) -> Over {
    let kept = vec![1, 2, 4];
    let mut fields: Vec<Field> = kept.iter().map(|column| input().field(*column).clone()).collect();
    for (index, function) in functions.iter().enumerate() {
        let kind = match function {
            OverFunction::Aggregate(call, _) => call.output.data_type().clone(),
            _ => DataType::Int64,
        };
        fields.push(Field::new(format!("f{index}"), kind, true));
    }
    Over {
        keys: vec![1],
        order: vec![SortColumn { column: 2, descending: false, nulls_first: true }],
        is_event_time,
        functions,
        kept,
        ttl_ms: None,
        input: input(),
        schema: Arc::new(Schema::new(fields)),
    }
}

fn batch_of(rows: &[Row]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1; rows.len()])),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.key))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.time))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.value))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.number))),
    ];
    Batch::new(RecordBatch::try_new(input(), columns).unwrap())
}

/// The rows that a frame has, of a partition's sorted rows.
fn frame_rows(rows: &[Row], at: usize, frame: Frame) -> Vec<Row> {
    let peers_end = rows.iter().filter(|row| row.time <= rows[at].time).count();
    match frame {
        Frame::Unbounded { peers: false } => rows[..=at].to_vec(),
        Frame::Unbounded { peers: true } => rows[..peers_end].to_vec(),
        Frame::Rows { from, to } => {
            let start = at.saturating_sub(from as usize);
            rows[start..(at + 1).saturating_sub(to as usize).max(start)].to_vec()
        }
        Frame::Range { preceding_ms } => {
            let in_range = |row: &&Row| row.time >= rows[at].time - preceding_ms;
            rows[..peers_end].iter().filter(in_range).copied().collect()
        }
    }
}

fn result(rows: &[Row], at: usize, function: &OverFunction) -> Option<i64> {
    match function {
        OverFunction::Aggregate(call, frame) => {
            let values = || frame_rows(rows, at, *frame).into_iter().filter_map(|row| row.value);
            match call.display.as_str() {
                "count" => Some(frame_rows(rows, at, *frame).len() as i64),
                "sum" => values().reduce(|one, other| one + other),
                "min" => values().min(),
                _ => values().next(),
            }
        }
        OverFunction::Number(RankFunction::RowNumber) => Some(at as i64 + 1),
        OverFunction::Number(RankFunction::Rank) => {
            Some(rows.iter().filter(|row| row.time < rows[at].time).count() as i64 + 1)
        }
        OverFunction::Number(RankFunction::DenseRank) => {
            let mut times: Vec<i64> = rows[..=at].iter().map(|row| row.time).collect();
            times.dedup();
            Some(times.len() as i64)
        }
        OverFunction::Lag { offset, default, .. } => match at.checked_sub(*offset as usize) {
            Some(before) => rows[before].value,
            None => default.map(|_| rows[at].number),
        },
    }
}

fn twin(rows: &[Row], functions: &[OverFunction]) -> Vec<String> {
    let mut partitions: BTreeMap<Option<&str>, Vec<Row>> = BTreeMap::new();
    rows.iter().for_each(|row| partitions.entry(row.key).or_default().push(*row));
    let mut lines = Vec::new();
    for mut rows in partitions.into_values() {
        // What is equal in time goes by the columns that are read.
        let reads_value = functions.iter().any(|function| function.columns().contains(&3));
        rows.sort_by_key(|row| (row.time, row.value.filter(|_| reads_value), row.number));
        for at in 0..rows.len() {
            let kept = rows_as_text(&batch_of(&rows[at..=at]).rows().project(&[1, 2, 4]).unwrap()).remove(0);
            let results = functions.iter().map(|function| result(&rows, at, function));
            let results = results.map(|value| value.map_or("NULL".into(), |value| value.to_string()));
            lines.push(std::iter::once(kept).chain(results).collect::<Vec<_>>().join("|"));
        }
    }
    sorted(lines)
}

fn random_function(rng: &mut ChaCha8Rng) -> OverFunction {
    let long = if rng.random_bool(0.5) { 150 } else { 0 };
    let frame = match rng.random_range(0..4) {
        0 => Frame::Unbounded { peers: false },
        1 => Frame::Unbounded { peers: true },
        2 => {
            let to = if rng.random_bool(0.8) { 0 } else { rng.random_range(0..3) };
            Frame::Rows { from: to + rng.random_range(0..long.max(4)), to }
        }
        _ => Frame::Range { preceding_ms: rng.random_range(0..long.max(5)) as i64 },
    };
    match rng.random_range(0..8) {
        0 => OverFunction::Number(RankFunction::RowNumber),
        1 => OverFunction::Number(RankFunction::Rank),
        2 => OverFunction::Number(RankFunction::DenseRank),
        3 => {
            OverFunction::Lag { column: 3, offset: rng.random_range(0..4), default: rng.random_bool(0.5).then_some(4) }
        }
        4 => OverFunction::Aggregate(aggregate_call("count", vec![]), frame),
        5 => OverFunction::Aggregate(aggregate_call("min", vec![3]), frame),
        6 => OverFunction::Aggregate(aggregate_call("first_value", vec![3]), frame),
        _ => OverFunction::Aggregate(aggregate_call("sum", vec![3]), frame),
    }
}

#[test]
fn every_row_sees_its_frame_whatever_happens_on_the_way() {
    const KEYS: [Option<&str>; 4] = [None, Some("a"), Some("bb"), Some("ccc")];
    let mut spilled = 0;
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let functions: Vec<OverFunction> = (0..rng.random_range(1..5)).map(|_| random_function(&mut rng)).collect();
        let plan = plan(functions, true);
        let mut world = World::new(&plan, &[1], &plan.input, [usize::MAX, 1, 20_000][seed as usize % 3], 1);
        let (mut rows, mut late, mut watermark, mut number) = (Vec::new(), 0, 0, 0);
        world.watermark(watermark);
        let dense = rng.random_bool(0.3);
        for _ in 0..rng.random_range(1..25) {
            let mut batch = Vec::new();
            for _ in 0..rng.random_range(1..if dense { 120 } else { 12 }) {
                number += 1;
                let key = KEYS[rng.random_range(0..if dense { 2 } else { KEYS.len() })];
                let value = rng.random_bool(0.9).then(|| rng.random_range(-9..10));
                batch.push(Row { key, time: watermark + rng.random_range(-1..12), value, number });
            }
            world.batch(&batch_of(&batch));
            late += batch.extract_if(.., |row| row.time <= watermark).count() as u64;
            rows.append(&mut batch);
            match rng.random_range(0..6) {
                0 => world.barrier(),
                1 => (0..3).for_each(|_| world.restart(rng.random_range(1..4))),
                _ => {
                    watermark += rng.random_range(1..9);
                    world.watermark(watermark);
                }
            }
        }
        world.end();
        let (given, expected) = (world.sorted_rows(), twin(&rows, &plan.functions));
        assert_eq!(given.len(), expected.len(), "seed {seed}");
        let different = given.iter().zip(&expected).find(|(given, expected)| given != expected);
        assert_eq!(different, None, "seed {seed}");
        assert_eq!(world.late_total(), late, "seed {seed}");
        spilled += world.spilled_total();
    }
    assert!(spilled > 1000, "the small budgets were felt: {spilled}");
}

#[test]
fn a_range_frees_its_rows_and_partitions() {
    let function = OverFunction::Aggregate(aggregate_call("sum", vec![3]), Frame::Range { preceding_ms: 10 });
    let plan = plan(vec![function], true);
    let mut world = World::new(&plan, &[1], &plan.input, 1, 1);
    for time in 1..200 {
        let key = [Some("a"), Some("b"), None][time as usize % 3];
        world.batch(&batch_of(&[Row { key, time, value: Some(1), number: time }]));
        world.watermark(time);
        world.barrier();
        assert!(world.state_entries() < 60, "{} entries at {time}", world.state_entries());
    }
    world.end();
    world.barrier();
    assert_eq!(world.state_entries(), 0);
}

#[test]
fn in_processing_time_rows_are_handled_as_they_arrive() {
    let functions = vec![
        OverFunction::Aggregate(aggregate_call("sum", vec![3]), Frame::Unbounded { peers: true }),
        OverFunction::Aggregate(aggregate_call("count", vec![]), Frame::Range { preceding_ms: 100 }),
        OverFunction::Lag { column: 4, offset: 1, default: None },
    ];
    let plan = plan(functions, false);
    let mut world = World::new(&plan, &[1], &plan.input, usize::MAX, 1);
    let row = |number| Row { key: Some("a"), time: 0, value: Some(number), number };
    world.batch(&batch_of(&[row(1), row(2)]));
    world.restart(2);
    world.now = 60;
    world.batch(&batch_of(&[row(3)]));
    world.now = 130;
    world.batch(&batch_of(&[row(4)]));
    expect![[r#"
        a|1970-01-01T00:00:00|1|1|1|NULL
        a|1970-01-01T00:00:00|2|3|2|1
        a|1970-01-01T00:00:00|3|6|3|2
        a|1970-01-01T00:00:00|4|10|2|3"#]]
    .assert_eq(&world.rows(MAIN_PORT).join("\n"));
}

#[test]
fn a_partition_is_forgotten_after_its_time_to_live() {
    let functions = vec![
        OverFunction::Aggregate(aggregate_call("sum", vec![3]), Frame::Rows { from: 5, to: 0 }),
        OverFunction::Number(RankFunction::RowNumber),
    ];
    for (budget, search) in [(usize::MAX, false), (usize::MAX, true), (1, true)] {
        let plan = Over { ttl_ms: Some(100), ..plan(functions.clone(), false) };
        let mut world = World::new(&plan, &[1], &plan.input, budget, 1);
        let row = |number| Row { key: Some("a"), time: 0, value: Some(number), number };
        world.batch(&batch_of(&[row(1)]));
        world.now = 90;
        world.batch(&batch_of(&[row(2)]));
        if search {
            world.barrier();
            (0..20).for_each(|step| world.time(190 + step));
            world.barrier();
            assert_eq!(world.state_entries(), 0);
        }
        world.now = 230;
        world.batch(&batch_of(&[row(3)]));
        let last: Vec<String> = world.rows(MAIN_PORT).iter().map(|row| row[row.len() - 3..].to_owned()).collect();
        assert_eq!(last, ["1|1", "3|2", "3|1"]);
    }
}
