//! Window aggregation against a naive twin that puts every row into every open window, one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono_tz::Tz;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Batch;
use crate::aggregate::resolve;
use crate::operator::MAIN_PORT;
use crate::operators::testing::{World, sorted};
use crate::operators::window_assign::WindowAssign;
use crate::time::EventTime;
use crate::time::assign::{Window, WindowGrid, closing_watermark, is_closed};
use crate::time::window::{Span, WindowKind};
use crate::time::zone::to_local;

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub key: Option<String>,
    pub value: Option<i64>,
    pub time: i64,
    /// The watermark of the row's split before it.
    pub watermark: i64,
}

fn input_schema(zone: Option<Tz>) -> SchemaRef {
    let zone = zone.map(|zone| zone.name().into());
    Arc::new(Schema::new(vec![
        Field::new("unused", DataType::Int64, true),
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Int64, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, zone), true),
    ]))
}

pub(super) fn batch_of(rows: &[Row], schema: &SchemaRef) -> Batch {
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.time));
    let times = match schema.field(3).data_type() {
        DataType::Timestamp(_, zone) => times.with_timezone_opt(zone.clone()),
        _ => unreachable!(),
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|_| 1))),
        Arc::new(rows.iter().map(|row| row.key.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()),
        Arc::new(times),
    ];
    let batch = Batch::new(RecordBatch::try_new(schema.clone(), columns).unwrap());
    batch.with_watermarks(rows.iter().map(|row| row.watermark).collect::<Vec<i64>>().into())
}

fn call(name: &str, args: &[usize]) -> AggregateCall {
    let types = vec![DataType::Int64; args.len()];
    let factory = resolve(name, &types, &[], false).unwrap();
    let output = Field::new(name, factory.output_type(), true);
    AggregateCall { display: name.into(), output, factory, args: args.to_vec(), filter: None }
}

pub(super) fn plan(kind: WindowKind, zone: Option<Tz>, keys: Vec<usize>) -> WindowAggregate {
    let input = input_schema(zone);
    let window = WindowInput::Time { column: 3, spec: WindowSpec { kind, domain: TimeDomain::Event, zone } };
    let aggregates = vec![call("count", &[]), call("sum", &[2]), call("max", &[2])];
    let properties = vec![WindowProperty::Start, WindowProperty::End, WindowProperty::Time];
    let schema = WindowAggregate::output_schema(&window, &keys, &aggregates, &properties, &input);
    let emission = Emission::default();
    WindowAggregate { window, keys, aggregates, properties, emission, input, schema }
}

/// Count, sum and maximum.
type Totals = (i64, Option<i64>, Option<i64>);

/// What happens to the operator.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Rows(Vec<Row>),
    Watermark(i64),
    Barrier,
    Restart(usize),
}

/// Counts, sums and maxima per window and key; and the late rows.
pub(super) fn twin(plan: &WindowAggregate, steps: &[Step]) -> (Vec<String>, usize) {
    let WindowInput::Time { spec, .. } = &plan.window else { unreachable!() };
    let grid = WindowGrid::new(spec);
    let mut results: BTreeMap<(Window, Option<String>), Totals> = BTreeMap::new();
    let (mut watermark, mut late) = (i64::MIN, 0);
    for step in steps {
        match step {
            Step::Watermark(next) => watermark = watermark.max(*next),
            Step::Rows(rows) => {
                for row in rows {
                    let at = plan.emission.settled(EventTime(watermark.max(row.watermark)));
                    let windows: Vec<Window> = grid.windows_of(to_local(spec.zone, row.time)).collect();
                    let open = windows.iter().filter(|window| !is_closed(spec.zone, window.end, at));
                    late += usize::from(!windows.is_empty() && open.clone().count() == 0);
                    for window in open {
                        let key = if plan.keys.is_empty() { None } else { row.key.clone() };
                        let result = results.entry((*window, key)).or_default();
                        result.0 += 1;
                        if let Some(value) = row.value {
                            result.1 = Some(result.1.unwrap_or(0) + value);
                            result.2 = Some(result.2.map_or(value, |max| max.max(value)));
                        }
                    }
                }
            }
            Step::Barrier | Step::Restart(_) => {}
        }
    }
    let rows = results.iter().map(|((window, key), result)| twin_row(plan, spec.zone, *window, key, result));
    (sorted(rows.collect()), late)
}

fn twin_row(plan: &WindowAggregate, zone: Option<Tz>, window: Window, key: &Option<String>, result: &Totals) -> String {
    let number = |value: Option<i64>| value.map_or("NULL".into(), |value| value.to_string());
    let key = if plan.keys.is_empty() { String::new() } else { format!("{}|", key.as_deref().unwrap_or("NULL")) };
    let local = |ms: i64| {
        let time = chrono::DateTime::from_timestamp_millis(ms).unwrap().naive_utc();
        time.format("%Y-%m-%dT%H:%M:%S%.f").to_string()
    };
    let last = match zone {
        None => local(window.end - 1),
        Some(zone) => {
            let instant = closing_watermark(Some(zone), window.end).0;
            let time = chrono::DateTime::from_timestamp_millis(instant).unwrap().with_timezone(&zone);
            time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
        }
    };
    let (start, end) = (local(window.start), local(window.end));
    format!("{key}{}|{}|{}|{start}|{end}|{last}", result.0, number(result.1), number(result.2))
}

fn run(
    factory: &dyn OperatorFactory,
    plan: &WindowAggregate,
    steps: &[Step],
    budget: usize,
) -> (Vec<String>, usize, u64) {
    let mut world = World::new(factory, &plan.keys, &plan.input, budget, 1);
    for step in steps {
        match step {
            Step::Rows(rows) => world.batch(&batch_of(rows, &plan.input)),
            Step::Watermark(watermark) => world.watermark(*watermark),
            Step::Barrier => world.barrier(),
            Step::Restart(parallelism) => world.restart(*parallelism),
        }
    }
    world.end();
    assert_eq!(world.state_entries(), 0, "everything fired and nothing is left in state");
    (world.sorted_rows(), world.sorted_late_rows().len(), world.spilled_total())
}

pub(super) fn random_kind(rng: &mut ChaCha8Rng) -> WindowKind {
    let span = Span::Millis;
    let offset_ms = if rng.random_bool(0.5) { 0 } else { rng.random_range(-20..20) };
    match rng.random_range(0..5) {
        0 => WindowKind::Tumble { size: span(rng.random_range(1..40)), offset_ms },
        1 => WindowKind::Hop { size: span(rng.random_range(1..60)), slide: span(rng.random_range(1..60)), offset_ms },
        2 | 3 => {
            let slide = rng.random_range(1..8);
            WindowKind::Hop { size: span(slide * rng.random_range(1..10)), slide: span(slide), offset_ms }
        }
        _ => {
            let step = rng.random_range(1..8);
            WindowKind::Cumulate { size: span(step * rng.random_range(1..8)), step: span(step), offset_ms }
        }
    }
}

/// Rows of two splits whose watermarks run apart, in random batches, with restarts in between.
pub(super) fn random_steps(rng: &mut ChaCha8Rng, start: i64, restarts: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut splits = [(start, i64::MIN), (start, i64::MIN)];
    let disorder = rng.random_range(0..60);
    let keys = rng.random_range(1..12);
    for _ in 0..rng.random_range(1..40) {
        let mut rows = Vec::new();
        for _ in 0..rng.random_range(1..12) {
            let split = &mut splits[rng.random_range(0..2)];
            split.0 += rng.random_range(0..6);
            if rng.random_bool(0.02) {
                split.0 += 150;
            }
            let time = split.0 - rng.random_range(0..=disorder);
            let key = rng.random_range(0..keys);
            let key = (key > 0).then(|| format!("key{key}"));
            let value = rng.random_bool(0.9).then(|| rng.random_range(-50..50));
            rows.push(Row { key, value, time, watermark: split.1 });
            split.1 = split.1.max(time - disorder / 2);
        }
        steps.push(Step::Rows(rows));
        if rng.random_bool(0.5) {
            let watermark = splits[0].1.min(splits[1].1);
            if watermark > i64::MIN {
                steps.push(Step::Watermark(watermark));
            }
        }
        match rng.random_range(0..8) {
            0 => steps.push(Step::Barrier),
            1 if restarts => {
                (0..rng.random_range(1..4)).for_each(|_| steps.push(Step::Restart(rng.random_range(1..4))))
            }
            _ => {}
        }
    }
    steps
}

/// The same rows in other batches, at the same places between watermarks.
fn split_batches(rng: &mut ChaCha8Rng, steps: &[Step]) -> Vec<Step> {
    let split = |step: &Step| match step {
        Step::Rows(rows) => {
            let at = rng.random_range(0..=rows.len());
            let parts = [&rows[..at], &rows[at..]];
            parts.iter().filter(|part| !part.is_empty()).map(|part| Step::Rows(part.to_vec())).collect()
        }
        other => vec![other.clone()],
    };
    steps.iter().flat_map(split).collect()
}

struct Naive<'a>(&'a WindowAggregate);

impl OperatorFactory for Naive<'_> {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(WindowOperator::over_rows(self.0)?.naive()))
    }
}

#[test]
fn windows_agree_with_the_naive_twin_whatever_happens_on_the_way() {
    let mut spilled_total = 0;
    for seed in 0..150 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let plan = plan(random_kind(&mut rng), None, if seed % 7 == 0 { vec![] } else { vec![1] });
        let steps = random_steps(&mut rng, -100, seed % 2 == 0);
        let (expected, late) = twin(&plan, &steps);
        let budget = [usize::MAX, 1, 20_000][seed as usize % 3];
        let (rows, late_rows, spilled) = run(&plan, &plan, &steps, budget);
        assert_eq!(rows, expected, "seed {seed}, budget {budget}, {:?}", plan.window);
        assert_eq!(late_rows, late, "seed {seed}: late rows");
        spilled_total += spilled;
        let steps = split_batches(&mut rng, &steps);
        assert_eq!(run(&plan, &plan, &steps, usize::MAX).0, expected, "seed {seed}: other batches");
        assert_eq!(run(&Naive(&plan), &plan, &steps, usize::MAX).0, expected, "seed {seed}: merged the slow way");
    }
    assert!(spilled_total > 300, "the small budgets were felt: {spilled_total}");
}

#[test]
fn zoned_windows_agree_with_the_naive_twin_around_clock_changes() {
    const HOUR_MS: i64 = 3_600_000;
    for seed in 0..30 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // 2021-11-07 06:00 UTC: New York falls back. 2021-03-14 07:00 UTC: it springs forward.
        let change = [1_636_264_800_000, 1_615_705_200_000][seed as usize % 2];
        let size = Span::Millis(HOUR_MS / 2 * rng.random_range(1..50));
        let slide = Span::Millis(HOUR_MS / 2 * rng.random_range(1..4));
        let kind = match seed % 3 {
            0 => WindowKind::Tumble { size, offset_ms: 0 },
            1 => WindowKind::Hop { size, slide, offset_ms: 0 },
            _ => WindowKind::Tumble { size: Span::Months(1), offset_ms: 0 },
        };
        let plan = plan(kind, Some(Tz::America__New_York), vec![1]);
        let scale = |steps: Vec<Step>| steps.into_iter().map(|step| stretched(step, change, HOUR_MS / 4));
        let steps: Vec<Step> = scale(random_steps(&mut rng, -20, true)).collect();
        let (expected, late) = twin(&plan, &steps);
        let (rows, late_rows, _) = run(&plan, &plan, &steps, usize::MAX);
        assert_eq!(rows, expected, "seed {seed}");
        assert_eq!(late_rows, late, "seed {seed}: late rows");
    }
}

fn stretched(step: Step, origin: i64, factor: i64) -> Step {
    let map = |time: i64| if time == i64::MIN { time } else { origin + time * factor };
    match step {
        Step::Watermark(time) => Step::Watermark(map(time)),
        Step::Rows(rows) => {
            let stretched = |row: Row| Row { time: map(row.time), watermark: map(row.watermark), ..row };
            Step::Rows(rows.into_iter().map(stretched).collect())
        }
        other => other,
    }
}

/// The same steps through both phases: what the first gives goes to the second before the watermark or barrier does.
fn run_two_phases(plan: &WindowAggregate, steps: &[Step], budget: usize) -> (Vec<String>, usize) {
    let (local, global) = plan.two_phase().unwrap();
    let keys: Vec<usize> = (0..plan.keys.len()).collect();
    let mut first = World::new(&local, &plan.keys, &plan.input, budget, 1);
    let mut second = World::new(&global, &keys, &local.schema, budget, 1);
    let mut late = 0;
    let mut forward = |first: &mut World, second: &mut World| {
        for (port, batch) in first.take_output() {
            match port {
                MAIN_PORT => second.batch(&batch),
                _ => late += batch.num_rows(),
            }
        }
    };
    for step in steps {
        match step {
            Step::Rows(rows) => first.batch(&batch_of(rows, &plan.input)),
            Step::Watermark(watermark) => first.watermark(*watermark),
            Step::Barrier => first.barrier(),
            Step::Restart(parallelism) => first.restart(*parallelism),
        }
        forward(&mut first, &mut second);
        match step {
            Step::Rows(_) => {}
            Step::Watermark(watermark) => second.watermark(*watermark),
            Step::Barrier => second.barrier(),
            Step::Restart(parallelism) => second.restart(*parallelism),
        }
    }
    first.end();
    forward(&mut first, &mut second);
    second.end();
    assert_eq!(second.late_total(), 0, "the first phase judges lateness");
    (second.sorted_rows(), late)
}

#[test]
fn two_phases_give_what_one_gives() {
    for seed in 0..100 {
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + seed);
        let plan = plan(random_kind(&mut rng), None, if seed % 7 == 0 { vec![] } else { vec![1] });
        let steps = random_steps(&mut rng, -100, seed % 2 == 0);
        let (expected, late) = twin(&plan, &steps);
        let budget = [usize::MAX, 1, 20_000][seed as usize % 3];
        assert_eq!(run_two_phases(&plan, &steps, budget), (expected, late), "seed {seed}, {:?}", plan.window);
    }
}

#[test]
fn windows_over_windowed_rows_take_their_bounds() {
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(2000 + seed);
        let plain = plan(random_kind(&mut rng), None, vec![1]);
        let WindowInput::Time { spec, .. } = plain.window.clone() else { unreachable!() };
        let properties = [WindowProperty::Start, WindowProperty::End, WindowProperty::Time];
        let fields = plain.input.fields().iter().map(|field| field.as_ref().clone());
        let fields = fields.chain(properties.map(|property| property.field(None)));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let assign = WindowAssign { spec, time_column: 3, schema: schema.clone() };
        let window = WindowInput::Attached { start: 4, end: 5, zone: None };
        let attached = WindowAggregate { window, input: schema.clone(), ..plain.clone() };

        let steps = random_steps(&mut rng, -100, true);
        let (expected, _) = twin(&plain, &steps);
        let mut assigned = World::new(&assign, &plain.keys, &plain.input, usize::MAX, 1);
        let mut world = World::new(&attached, &plain.keys, &schema, [usize::MAX, 1][seed as usize % 2], 1);
        for step in &steps {
            match step {
                Step::Rows(rows) => assigned.batch(&batch_of(rows, &plain.input)),
                Step::Watermark(watermark) => world.watermark(*watermark),
                Step::Barrier => world.barrier(),
                Step::Restart(parallelism) => world.restart(*parallelism),
            }
            assigned.take_output().iter().for_each(|(_, batch)| world.batch(batch));
        }
        world.end();
        assert_eq!(world.sorted_rows(), expected, "seed {seed}, {:?}", plain.window);
        assert_eq!(world.state_entries(), 0);
    }
}

#[test]
fn processing_time_windows_fire_by_the_clock_and_at_the_end() {
    let mut plan = plan(WindowKind::Tumble { size: Span::Millis(1000), offset_ms: 0 }, None, vec![1]);
    let WindowInput::Time { spec, .. } = &mut plan.window else { unreachable!() };
    spec.domain = TimeDomain::Processing;
    assert!(plan.two_phase().is_err());
    let mut world = World::new(&plan, &plan.keys, &plan.input, usize::MAX, 1);
    let row = Row { key: Some("a".into()), value: Some(1), time: 0, watermark: i64::MIN };
    for now in [500, 999, 1000, 1700] {
        world.now = now;
        world.batch(&batch_of(std::slice::from_ref(&row), &plan.input));
    }
    world.time(999);
    assert!(world.rows(MAIN_PORT).is_empty());
    world.time(1000);
    let first = "a|2|2|1|1970-01-01T00:00:00|1970-01-01T00:00:01|1970-01-01T00:00:00.999";
    assert_eq!(world.rows(MAIN_PORT), [first]);
    world.restart(2);
    // A clock that went back does not open a window again that has fired.
    world.now = 10;
    world.batch(&batch_of(std::slice::from_ref(&row), &plan.input));
    world.end();
    let second = "a|3|3|1|1970-01-01T00:00:01|1970-01-01T00:00:02|1970-01-01T00:00:01.999";
    assert_eq!(world.rows(MAIN_PORT), [first, second]);
}

#[test]
fn a_null_time_fails_with_the_row() {
    let plan = plan(WindowKind::Tumble { size: Span::Millis(10), offset_ms: 0 }, None, vec![1]);
    let mut columns =
        batch_of(&[Row { key: None, value: Some(7), time: 0, watermark: 0 }], &plan.input).rows().columns().to_vec();
    columns[3] = arrow::array::new_null_array(columns[3].data_type(), 1);
    let rows = RecordBatch::try_new(plan.input.clone(), columns).unwrap();
    let error = crate::operators::row_times::row_times("WindowAggregate", &rows, 3).unwrap_err();
    let expected = "WindowAggregate: the time column time is NULL, so the row belongs to no window
  row: unused=1, key=NULL, value=7, time=NULL
  hint: leave such rows out with WHERE time IS NOT NULL";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn state_ten_times_the_budget_gives_the_same_rows() {
    const BUDGET_BYTES: usize = 200_000;
    for kind in [
        WindowKind::Tumble { size: Span::Millis(1000), offset_ms: 0 },
        WindowKind::Hop { size: Span::Millis(1000), slide: Span::Millis(250), offset_ms: 0 },
        WindowKind::Cumulate { size: Span::Millis(1000), step: Span::Millis(500), offset_ms: 0 },
    ] {
        let plan = plan(kind, None, vec![1]);
        let mut world = World::new(&plan, &plan.keys, &plan.input, BUDGET_BYTES, 1);
        let mut steps = Vec::new();
        for batch in 0..40i64 {
            let row = |n: i64| Row {
                key: Some(format!("a key of some length {}", (batch * 700 + n) % 20_000)),
                value: Some(n),
                time: (batch * 1000 + n) / 40,
                watermark: i64::MIN,
            };
            steps.push(Step::Rows((0..1000).map(row).collect()));
        }
        for step in &steps {
            let Step::Rows(rows) = step else { unreachable!() };
            world.batch(&batch_of(rows, &plan.input));
            assert!(world.cache_bytes() <= BUDGET_BYTES, "{kind:?}: {} bytes", world.cache_bytes());
        }
        world.end();
        assert!(world.spilled_total() > 20_000);
        assert_eq!(world.sorted_rows(), twin(&plan, &steps).0, "{kind:?}");
    }
}
