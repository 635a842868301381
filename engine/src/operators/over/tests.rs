//! OVER against a twin that computes every frame anew from all rows.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use expect_test::expect;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::whole::{Complete, WholeOver};
use super::*;
use crate::aggregate::{AggregateCall, resolve};
use crate::operators::ordering::RankFunction;
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
            OverFunction::Share(ShareFunction::PercentRank | ShareFunction::CumeDist) => DataType::Float64,
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

/// What orders rows: those of equal value are peers.
type OrderOf = fn(&Row) -> Option<i64>;

/// The rows that a frame has, of a partition's sorted rows, in order.
fn frame_rows(rows: &[Row], at: usize, frame: Frame, order: OrderOf) -> Vec<Row> {
    let own = order(&rows[at]);
    let mut groups: Vec<Option<i64>> = Vec::new();
    if frame.unit == FrameUnit::Groups {
        groups.extend(rows.iter().map(order));
        groups.dedup();
    }
    let group = |row: &Row| groups.iter().position(|group| *group == order(row)).unwrap() as i64;
    // How far a row stands behind the one at hand; NULL stands far from all that is not.
    let distance = |index: usize| match frame.unit {
        FrameUnit::Rows => Some(index as i64 - at as i64),
        FrameUnit::Groups => Some(group(&rows[index]) - group(&rows[at])),
        FrameUnit::Range => Some(order(&rows[index])? - own?),
    };
    let is_in = |index: &usize| {
        let are_null = frame.unit == FrameUnit::Range && own.is_none() && order(&rows[*index]).is_none();
        let from_start = match frame.start {
            FrameBound::Unbounded => true,
            FrameBound::Offset(by) => are_null || distance(*index).map_or(*index > at, |distance| distance >= by),
        };
        let to_end = match frame.end {
            FrameBound::Unbounded => true,
            FrameBound::Offset(by) => are_null || distance(*index).map_or(*index < at, |distance| distance <= by),
        };
        from_start && to_end
    };
    (0..rows.len()).filter(is_in).map(|index| rows[index]).collect()
}

fn result(rows: &[Row], at: usize, function: &OverFunction, order: OrderOf) -> Option<String> {
    let before =
        |row: &&Row| rows.iter().position(|other| other == *row).unwrap() < at && order(row) != order(&rows[at]);
    let number = |number: i64| Some(number.to_string());
    let (count, rank) = (rows.len() as i64, rows[..at].iter().filter(before).count() as i64 + 1);
    match function {
        OverFunction::Aggregate(call, frame) => {
            let rows = frame_rows(rows, at, *frame, order);
            let values = || rows.iter().filter_map(|row| row.value);
            match call.display.as_str() {
                "count" => number(rows.len() as i64),
                "sum" => values().reduce(|one, other| one + other).and_then(number),
                "min" => values().min().and_then(number),
                "last_value" => values().next_back().and_then(number),
                _ => values().next().and_then(number),
            }
        }
        OverFunction::Nth { number: -1, frame, .. } => {
            frame_rows(rows, at, *frame, order).last()?.value.and_then(number)
        }
        OverFunction::Nth { number: nth, frame, .. } => {
            frame_rows(rows, at, *frame, order).get(*nth as usize - 1)?.value.and_then(number)
        }
        OverFunction::Number(RankFunction::RowNumber) => number(at as i64 + 1),
        OverFunction::Number(RankFunction::Rank) => number(rank),
        OverFunction::Number(RankFunction::DenseRank) => {
            let mut groups: Vec<Option<i64>> = rows[..=at].iter().map(order).collect();
            groups.dedup();
            number(groups.len() as i64)
        }
        OverFunction::Shift { by, default, .. } => {
            let there = usize::try_from(at as i64 + by).ok().and_then(|row| rows.get(row));
            there.map_or(default.and(Some(rows[at].number)), |row| row.value).and_then(number)
        }
        OverFunction::Share(ShareFunction::Ntile(parts)) => {
            let parts = *parts as i64;
            let sizes = (0..parts).map(|part| count / parts + i64::from(part < count % parts));
            let ends = sizes.scan(0, |end, size| {
                *end += size;
                Some(*end)
            });
            number(ends.take_while(|end| *end <= at as i64).count() as i64 + 1)
        }
        OverFunction::Share(ShareFunction::PercentRank) => {
            Some(format!("{:?}", if count > 1 { (rank - 1) as f64 / (count - 1) as f64 } else { 0.0 }))
        }
        OverFunction::Share(ShareFunction::CumeDist) => {
            let up_to = rows.iter().rposition(|row| order(row) == order(&rows[at])).unwrap() + 1;
            Some(format!("{:?}", up_to as f64 / count as f64))
        }
    }
}

/// The rows with their functions, partition by partition; `compare` is the order of rows.
fn twin(
    rows: &[Row],
    functions: &[OverFunction],
    order: OrderOf,
    compare: impl Fn(&Row, &Row) -> Ordering,
) -> Vec<String> {
    let mut partitions: BTreeMap<Option<&str>, Vec<Row>> = BTreeMap::new();
    rows.iter().for_each(|row| partitions.entry(row.key).or_default().push(*row));
    let mut lines = Vec::new();
    for mut rows in partitions.into_values() {
        rows.sort_by(&compare);
        for at in 0..rows.len() {
            let kept = rows_as_text(&batch_of(&rows[at..=at]).rows().project(&[1, 2, 4]).unwrap()).remove(0);
            let results = functions.iter().map(|function| result(&rows, at, function, order));
            let results = results.map(|value| value.unwrap_or("NULL".into()));
            lines.push(std::iter::once(kept).chain(results).collect::<Vec<_>>().join("|"));
        }
    }
    sorted(lines)
}

/// By time; what is equal in it goes by the columns that are read.
fn twin_by_time(rows: &[Row], functions: &[OverFunction]) -> Vec<String> {
    let reads_value = functions.iter().any(|function| function.columns().contains(&3));
    let key = |row: &Row| (row.time, row.value.filter(|_| reads_value), row.number);
    twin(rows, functions, |row| Some(row.time), |one, other| key(one).cmp(&key(other)))
}

fn aggregate(name: &str, frame: Frame) -> OverFunction {
    let args = if name == "count" { vec![] } else { vec![3] };
    OverFunction::Aggregate(aggregate_call(name, args), frame)
}

const fn frame(unit: FrameUnit, start: i64, end: i64) -> Frame {
    Frame { unit, start: FrameBound::Offset(start), end: FrameBound::Offset(end) }
}

/// A frame that begins `behind` units behind the row at most.
fn random_frame(rng: &mut ChaCha8Rng, unit: FrameUnit, behind: i64) -> Frame {
    let long = if rng.random_bool(0.5) { 150 } else { 0 };
    let end = if rng.random_bool(0.6) { 0 } else { rng.random_range(-3..=behind) };
    let start = end - rng.random_range(0..long.max(5));
    match rng.random_range(0..5) {
        0 => Frame::so_far(unit),
        // The end of a RANGE that begins with the partition is not before the row.
        1 if unit == FrameUnit::Rows || end >= 0 => Frame { start: FrameBound::Unbounded, ..frame(unit, 0, end) },
        _ => frame(unit, start, end),
    }
}

fn random_function(rng: &mut ChaCha8Rng, units: &[FrameUnit], behind: i64) -> OverFunction {
    let unit = units[rng.random_range(0..units.len())];
    let frame = random_frame(rng, unit, behind);
    let by = if unit == FrameUnit::Rows { rng.random_range(-3..=behind) } else { -1 };
    match rng.random_range(0..11) {
        0 => OverFunction::Number(RankFunction::RowNumber),
        1 => OverFunction::Number(RankFunction::Rank),
        2 => OverFunction::Number(RankFunction::DenseRank),
        3 => OverFunction::Shift { column: 3, by, default: rng.random_bool(0.5).then_some(4) },
        4 => OverFunction::Nth { column: 3, number: rng.random_range(1..4), frame },
        5 => OverFunction::Nth { column: 3, number: -1, frame },
        6 => aggregate("count", frame),
        7 => aggregate("min", frame),
        8 => aggregate("first_value", frame),
        9 => aggregate("last_value", frame),
        _ => aggregate("sum", frame),
    }
}

#[test]
fn every_row_sees_its_frame_whatever_happens_on_the_way() {
    compare_with_twin(100, 0);
}

#[test]
fn rows_wait_for_those_that_their_frames_have_behind_them() {
    compare_with_twin(150, 4);
}

/// Frames that go on so many units behind the row at most.
fn compare_with_twin(seeds: u64, behind: i64) {
    const KEYS: [Option<&str>; 4] = [None, Some("a"), Some("bb"), Some("ccc")];
    let mut spilled = 0;
    for seed in 0..seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let all = [FrameUnit::Rows, FrameUnit::Range];
        let units = [&all[..], &all[..1], &all[1..]][rng.random_range(0..3)];
        let functions: Vec<OverFunction> =
            (0..rng.random_range(1..5)).map(|_| random_function(&mut rng, units, behind)).collect();
        let plan = plan(functions, true);
        let mut world = World::new(&plan, &[1], &plan.input, [usize::MAX, 1, 20_000][seed as usize % 3], 1);
        let (mut rows, mut late, mut watermark, mut number) = (Vec::new(), 0, 0, 0);
        world.watermark(watermark);
        let dense = rng.random_bool(0.2);
        for _ in 0..rng.random_range(1..25) {
            let mut batch = Vec::new();
            for _ in 0..rng.random_range(1..if dense { 60 } else { 12 }) {
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
        let (given, expected) = (world.sorted_rows(), twin_by_time(&rows, &plan.functions));
        assert_eq!(given.len(), expected.len(), "seed {seed}");
        let different = given.iter().zip(&expected).find(|(given, expected)| given != expected);
        assert_eq!(different, None, "seed {seed}");
        assert_eq!(world.late_total(), late, "seed {seed}");
        spilled += world.spilled_total();
    }
    assert!(spilled > 500, "the small budgets were felt: {spilled}");
}

#[test]
fn a_range_frees_its_rows_and_partitions() {
    free_with_time(-10, 0);
    free_with_time(-10, 5);
    free_with_time(2, 5);
}

fn free_with_time(start: i64, end: i64) {
    let plan = plan(vec![aggregate("sum", frame(FrameUnit::Range, start, end))], true);
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
        aggregate("sum", Frame::so_far(FrameUnit::Range)),
        aggregate("count", frame(FrameUnit::Range, -100, 0)),
        OverFunction::Shift { column: 4, by: -1, default: None },
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
    let functions =
        vec![aggregate("sum", frame(FrameUnit::Rows, -5, 0)), OverFunction::Number(RankFunction::RowNumber)];
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

#[test]
fn in_processing_time_rows_wait_for_so_many_others_or_the_end() {
    let functions = vec![
        OverFunction::Shift { column: 4, by: 1, default: None },
        aggregate("count", frame(FrameUnit::Rows, 0, 2)),
        OverFunction::Number(RankFunction::RowNumber),
    ];
    let plan = plan(functions, false);
    let mut world = World::new(&plan, &[1], &plan.input, 1, 1);
    for number in 1..=4 {
        world.batch(&batch_of(&[Row { key: Some("a"), time: 0, value: None, number }]));
        (0..3).for_each(|_| world.restart(2));
        assert_eq!(world.rows(MAIN_PORT).len() as i64, (number - 2).max(0));
    }
    world.end();
    let last: Vec<String> = world.rows(MAIN_PORT).iter().map(|row| row[22..].to_owned()).collect();
    assert_eq!(last, ["1|2|3|1", "2|3|3|2", "3|4|2|3", "4|NULL|1|4"]);
}

/// Whole partitions in another order than that of time: by value downwards, then by all columns.
#[test]
fn whole_partitions_are_given_once_when_they_are_complete() {
    const KEYS: [Option<&str>; 3] = [None, Some("a"), Some("bb")];
    let by_value = |row: &Row| row.value.map(|value| -value);
    let compare = |one: &Row, other: &Row| {
        let key = |row: &Row| (by_value(row).is_some(), by_value(row), row.key, row.time, row.number);
        key(one).cmp(&key(other))
    };
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let at_end = rng.random_bool(0.5);
        let units = [FrameUnit::Rows, FrameUnit::Range, FrameUnit::Groups];
        let mut functions: Vec<OverFunction> =
            (0..rng.random_range(1..4)).map(|_| random_function(&mut rng, &units, 5)).collect();
        functions.push(match rng.random_range(0..4) {
            0 => OverFunction::Share(ShareFunction::Ntile(rng.random_range(1..5))),
            1 => OverFunction::Share(ShareFunction::PercentRank),
            2 => OverFunction::Share(ShareFunction::CumeDist),
            _ => aggregate("sum", Frame::ALL),
        });
        let (keys, complete) = match at_end {
            true => (vec![1], Complete::AtEnd),
            false => (vec![1, 2], Complete::WithWindow { end: 2, zone: None }),
        };
        let order = vec![SortColumn { column: 3, descending: true, nulls_first: true }];
        let Over { functions, kept, input, schema, .. } = plan(functions, true);
        let plan = WholeOver { complete, keys, order, functions, kept, input, schema };
        let mut world = World::new(&plan, &plan.keys, &plan.input, [usize::MAX, 1][seed as usize % 2], 1);
        let (mut rows, mut late, mut watermark, mut number) = (Vec::new(), 0, 0, 0);
        world.watermark(watermark);
        for _ in 0..rng.random_range(1..15) {
            let mut batch = Vec::new();
            for _ in 0..rng.random_range(1..20) {
                number += 1;
                let time = watermark / 10 * 10 + 10 * rng.random_range(0..3);
                let value = rng.random_bool(0.9).then(|| rng.random_range(-9..10));
                batch.push(Row { key: KEYS[rng.random_range(0..KEYS.len())], time, value, number });
            }
            world.batch(&batch_of(&batch));
            let is_late = |row: &mut Row| !at_end && row.time - 1 <= watermark;
            late += batch.extract_if(.., is_late).count() as u64;
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
        let expected = match at_end {
            true => twin(&rows, &plan.functions, by_value, compare),
            false => {
                let mut times: Vec<i64> = rows.iter().map(|row| row.time).collect();
                times.sort_unstable();
                times.dedup();
                let of_window = |time: i64| rows.iter().filter(|row| row.time == time).copied().collect::<Vec<_>>();
                let windows =
                    times.into_iter().flat_map(|time| twin(&of_window(time), &plan.functions, by_value, compare));
                sorted(windows.collect())
            }
        };
        assert_eq!(world.sorted_rows(), expected, "seed {seed}");
        assert_eq!(world.late_total(), late, "seed {seed}");
        assert_eq!(world.state_entries(), 0, "seed {seed}");
    }
}
