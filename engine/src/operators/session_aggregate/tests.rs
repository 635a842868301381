//! Sessions against a twin that keeps a list of open sessions and decides row by row; with aggregates and with rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono_tz::Tz;
use expect_test::expect;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Batch;
use crate::aggregate::{resolve, resolve_over_updates};
use crate::batch::RowKind;
use crate::operator::MAIN_PORT;
use crate::operators::session_assign::SessionAssign;
use crate::operators::testing::{World, sorted};
use crate::time::window::{TimeDomain, WindowKind};

const PROPERTIES: [WindowProperty; 3] = [WindowProperty::Start, WindowProperty::End, WindowProperty::Time];

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub key: Option<&'static str>,
    pub value: i64,
    pub time: i64,
    pub watermark: i64,
    pub kind: RowKind,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Rows(Vec<Row>),
    Watermark(i64),
    Barrier,
    Restart(usize),
}

pub(super) fn input_schema(zone: Option<Tz>) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Int64, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, zone.map(|zone| zone.name().into())), true),
    ]))
}

pub(super) fn spec(gap_ms: i64, domain: TimeDomain, zone: Option<Tz>) -> WindowSpec {
    WindowSpec { kind: WindowKind::Session { gap_ms }, domain, zone }
}

pub(super) fn aggregate_plan(spec: WindowSpec, keys: Vec<usize>) -> SessionAggregate {
    let input = input_schema(spec.zone);
    let call = |name: &str, args: &[usize]| {
        let factory = resolve(name, &vec![DataType::Int64; args.len()], &[], false).unwrap();
        let output = Field::new(name, factory.output_type(), true);
        AggregateCall { display: name.into(), output, factory, args: args.to_vec(), filter: None }
    };
    let aggregates = vec![call("count", &[]), call("sum", &[1]), call("max", &[1])];
    let fields = keys.iter().map(|key| input.field(*key).clone());
    let fields = fields.chain(aggregates.iter().map(|call| call.output.clone()));
    let fields = fields.chain(PROPERTIES.map(|property| property.field(spec.zone)));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let (emission, correction, row_count) = (Emission::default(), Correction::Update, None);
    let properties = PROPERTIES.to_vec();
    SessionAggregate {
        spec,
        time_column: 2,
        keys,
        aggregates,
        properties,
        emission,
        correction,
        row_count,
        input,
        schema,
    }
}

/// The same over rows that may be taken back.
pub(super) fn over_updates(mut plan: SessionAggregate) -> SessionAggregate {
    for call in &mut plan.aggregates {
        let types = vec![DataType::Int64; call.args.len()];
        call.factory = resolve_over_updates(&call.display, &types, &[], false).unwrap();
    }
    plan.row_count = Some(0);
    plan
}

fn assign_plan(spec: WindowSpec, keys: Vec<usize>) -> SessionAssign {
    let input = input_schema(spec.zone);
    let fields = input.fields().iter().map(|field| field.as_ref().clone());
    let fields = fields.chain(PROPERTIES.map(|property| property.field(spec.zone)));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    SessionAssign { spec, time_column: 2, keys, input, schema }
}

pub(super) fn batch_of(rows: &[Row], schema: &SchemaRef) -> Batch {
    let zone = match schema.field(2).data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => unreachable!(),
    };
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.time));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.key).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.value))),
        Arc::new(times.with_timezone_opt(zone)),
    ];
    let kinds: Vec<i8> = rows.iter().map(|row| row.kind as i8).collect();
    let batch = Batch::with_kinds(RecordBatch::try_new(schema.clone(), columns).unwrap(), kinds.into());
    batch.with_watermarks(rows.iter().map(|row| row.watermark).collect::<Vec<i64>>().into())
}

pub(super) struct TwinSession {
    pub key: Option<&'static str>,
    pub start: i64,
    pub end: i64,
    pub rows: Vec<Row>,
}

/// All sessions, and the number of late rows.
fn twin(steps: &[Step], gap: i64, keyed: bool) -> (Vec<TwinSession>, usize) {
    let (mut sessions, mut late, mut watermark) = (Vec::<TwinSession>::new(), 0, i64::MIN);
    for step in steps {
        match step {
            Step::Watermark(next) => watermark = watermark.max(*next),
            Step::Rows(rows) => {
                for row in rows {
                    if row.time < watermark.max(row.watermark) {
                        late += 1;
                        continue;
                    }
                    let key = row.key.filter(|_| keyed);
                    let mut joined = TwinSession { key, start: row.time, end: row.time + gap, rows: vec![] };
                    let (touched, others): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|session| {
                        let touches = session.start <= row.time + gap && row.time <= session.end;
                        session.key == key && touches
                    });
                    sessions = others;
                    for session in touched {
                        joined.start = joined.start.min(session.start);
                        joined.end = joined.end.max(session.end);
                        joined.rows.extend(session.rows);
                    }
                    joined.rows.push(row.clone());
                    sessions.push(joined);
                }
            }
            Step::Barrier | Step::Restart(_) => {}
        }
    }
    (sessions, late)
}

fn text(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms).unwrap().format("%Y-%m-%dT%H:%M:%S%.f").to_string()
}

fn bounds(session: &TwinSession) -> String {
    format!("{}|{}|{}", text(session.start), text(session.end), text(session.end - 1))
}

pub(super) fn aggregated(sessions: &[TwinSession], keyed: bool) -> Vec<String> {
    let line = |session: &TwinSession| {
        let key = if keyed { format!("{}|", session.key.unwrap_or("NULL")) } else { String::new() };
        let sum: i64 = session.rows.iter().map(|row| row.value).sum();
        let max = session.rows.iter().map(|row| row.value).max().unwrap();
        format!("{key}{}|{sum}|{max}|{}", session.rows.len(), bounds(session))
    };
    sorted(sessions.iter().map(line).collect())
}

fn listed(sessions: &[TwinSession]) -> Vec<String> {
    let line = |session: &TwinSession, row: &Row| {
        format!("{}|{}|{}|{}", row.key.unwrap_or("NULL"), row.value, text(row.time), bounds(session))
    };
    sorted(sessions.iter().flat_map(|session| session.rows.iter().map(move |row| line(session, row))).collect())
}

fn run(factory: &dyn OperatorFactory, keys: &[usize], steps: &[Step], budget: usize) -> (Vec<String>, usize, u64) {
    let input = input_schema(None);
    let mut world = World::new(factory, keys, &input, budget, 1);
    for step in steps {
        match step {
            Step::Rows(rows) => world.batch(&batch_of(rows, &input)),
            Step::Watermark(watermark) => world.watermark(*watermark),
            Step::Barrier => world.barrier(),
            Step::Restart(parallelism) => world.restart(*parallelism),
        }
    }
    world.end();
    world.barrier();
    assert_eq!(world.state_entries(), 0, "all sessions closed and nothing is left in state");
    (world.sorted_rows(), world.sorted_late_rows().len(), world.spilled_total())
}

/// One row in three is one that is taken back, where `retracts`.
pub(super) fn random_steps(rng: &mut ChaCha8Rng, gap: i64, retracts: bool) -> Vec<Step> {
    const KEYS: [Option<&str>; 6] = [None, Some(""), Some("a"), Some("b"), Some("ab"), Some("abcdefghij")];
    let mut steps = Vec::new();
    let mut splits = [(-100, i64::MIN, Vec::<Row>::new()), (-100, i64::MIN, Vec::new())];
    let disorder = rng.random_range(0..3 * gap);
    let pace = rng.random_range(1..2 * gap);
    for _ in 0..rng.random_range(1..40) {
        let mut rows = Vec::new();
        for _ in 0..rng.random_range(1..12) {
            let (clock, watermark, live) = &mut splits[rng.random_range(0..2)];
            if retracts && !live.is_empty() && rng.random_bool(0.33) {
                let kind = [RowKind::Delete, RowKind::UpdateBefore][rng.random_range(0..2)];
                let row = live.swap_remove(rng.random_range(0..live.len()));
                rows.push(Row { kind, watermark: *watermark, ..row });
                continue;
            }
            *clock += rng.random_range(0..=pace);
            let time = *clock - rng.random_range(0..=disorder);
            let key = KEYS[rng.random_range(0..KEYS.len())];
            let value = rng.random_range(-50..50);
            let row = Row { key, value, time, watermark: *watermark, kind: RowKind::Insert };
            live.push(row.clone());
            rows.push(row);
            *watermark = (*watermark).max(time - disorder / 2);
        }
        steps.push(Step::Rows(rows));
        let watermark = splits[0].1.min(splits[1].1);
        if rng.random_bool(0.5) && watermark > i64::MIN {
            steps.push(Step::Watermark(watermark));
        }
        match rng.random_range(0..8) {
            0 => steps.push(Step::Barrier),
            1 => (0..rng.random_range(1..4)).for_each(|_| steps.push(Step::Restart(rng.random_range(1..4)))),
            _ => {}
        }
    }
    steps
}

pub(super) fn split_batches(rng: &mut ChaCha8Rng, steps: &[Step]) -> Vec<Step> {
    let mut split = Vec::new();
    for step in steps {
        match step {
            Step::Rows(rows) => {
                let at = rng.random_range(0..=rows.len());
                let parts = [&rows[..at], &rows[at..]];
                split.extend(parts.iter().filter(|part| !part.is_empty()).map(|part| Step::Rows(part.to_vec())));
            }
            other => split.push(other.clone()),
        }
    }
    split
}

#[test]
fn sessions_agree_with_the_naive_twin_whatever_happens_on_the_way() {
    let mut spilled_total = 0;
    for seed in 0..120 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let gap = rng.random_range(1..30);
        let steps = random_steps(&mut rng, gap, false);
        let keys = if seed % 6 == 0 { vec![] } else { vec![0] };
        let (sessions, late) = twin(&steps, gap, !keys.is_empty());
        let budget = [usize::MAX, 1, 4_000][seed as usize % 3];
        let aggregate = aggregate_plan(spec(gap, TimeDomain::Event, None), keys.clone());
        let assign = assign_plan(spec(gap, TimeDomain::Event, None), keys.clone());
        let expected = aggregated(&sessions, !keys.is_empty());
        for steps in [steps.clone(), split_batches(&mut rng, &steps)] {
            let (rows, late_rows, spilled) = run(&aggregate, &keys, &steps, budget);
            assert_eq!(rows, expected, "seed {seed}, gap {gap}, budget {budget}");
            assert_eq!(late_rows, late, "seed {seed}: late rows");
            spilled_total += spilled;
            let (rows, late_rows, _) = run(&assign, &keys, &steps, budget);
            assert_eq!(rows, listed(&sessions), "seed {seed}: rows with their windows");
            assert_eq!(late_rows, late, "seed {seed}: late rows");
        }
    }
    assert!(spilled_total > 200, "the small budgets were felt: {spilled_total}");
}

#[test]
fn a_row_bridges_two_sessions_and_a_restart_keeps_them_apart() {
    let plan = aggregate_plan(spec(10, TimeDomain::Event, None), vec![0]);
    let row = |value, time| Row { key: Some("a"), value, time, watermark: i64::MIN, kind: RowKind::Insert };
    let steps = [
        Step::Rows(vec![row(1, 0), row(2, 30), row(3, 15)]),
        Step::Restart(2),
        Step::Rows(vec![row(4, 8), row(5, 41)]),
        Step::Watermark(60),
    ];
    expect![[r#"
        a|1|2|2|1970-01-01T00:00:00.030|1970-01-01T00:00:00.040|1970-01-01T00:00:00.039
        a|1|5|5|1970-01-01T00:00:00.041|1970-01-01T00:00:00.051|1970-01-01T00:00:00.050
        a|3|8|4|1970-01-01T00:00:00|1970-01-01T00:00:00.025|1970-01-01T00:00:00.024"#]]
    .assert_eq(&run(&plan, &[0], &steps, usize::MAX).0.join("\n"));
}

#[test]
fn only_keys_that_are_quiet_from_barrier_to_barrier_get_entries() {
    const QUIET_ENTRIES: usize = 2;
    let plan = aggregate_plan(spec(10, TimeDomain::Event, None), vec![0]);
    let mut world = World::new(&plan, &[0], &plan.input, usize::MAX, 1);
    let add = |world: &mut World, time| {
        world.batch(&batch_of(
            &[Row { key: Some("a"), value: 1, time, watermark: i64::MIN, kind: RowKind::Insert }],
            &plan.input,
        ));
        world.barrier();
        world.state_entries()
    };
    assert_eq!(add(&mut world, 0), 1, "a list with the key");
    assert_eq!(add(&mut world, 5), 1, "changed again: the list replaces the one before");
    world.barrier();
    assert_eq!(world.state_entries(), QUIET_ENTRIES, "an entry and a timer, no list");
    world.restart(1);
    assert_eq!(add(&mut world, 9), QUIET_ENTRIES + 1, "the list overrules the entry");
    (0..3).for_each(|_| world.restart(2));
    assert_eq!(world.state_entries(), QUIET_ENTRIES);
    world.watermark(20);
    assert_eq!(world.sorted_rows(), ["a|3|3|1|1970-01-01T00:00:00|1970-01-01T00:00:00.019|1970-01-01T00:00:00.018"]);
    world.barrier();
    assert_eq!(world.state_entries(), 0);
}

#[test]
fn bounds_are_shown_on_the_local_clock() {
    let zone = Some(Tz::America__New_York);
    let plan = aggregate_plan(spec(60_000, TimeDomain::Event, zone), vec![]);
    let mut world = World::new(&plan, &[], &plan.input, usize::MAX, 1);
    // 2021-11-07 05:59:30 UTC is 01:59:30 in New York; a minute later the clock shows 01:00:30 again.
    let first = Row { key: None, value: 1, time: 1_636_264_770_000, watermark: i64::MIN, kind: RowKind::Insert };
    let second = Row { time: first.time + 60_000, ..first.clone() };
    world.batch(&batch_of(&[first, second], &plan.input));
    world.end();
    let expected = "2|2|1|2021-11-07T01:59:30|2021-11-07T01:01:30|2021-11-07T01:01:29.999-05:00";
    assert_eq!(world.sorted_rows(), [expected]);
}

#[test]
fn in_processing_time_rows_are_as_old_as_their_arrival() {
    let plan = aggregate_plan(spec(100, TimeDomain::Processing, None), vec![0]);
    let mut world = World::new(&plan, &[0], &plan.input, usize::MAX, 1);
    let row = Row { key: Some("a"), value: 1, time: 0, watermark: i64::MIN, kind: RowKind::Insert };
    for now in [1000, 1050, 1149, 1300] {
        world.time(now);
        world.batch(&batch_of(std::slice::from_ref(&row), &plan.input));
    }
    let first = "a|3|3|1|1970-01-01T00:00:01|1970-01-01T00:00:01.249|1970-01-01T00:00:01.248";
    assert_eq!(world.sorted_rows(), [first]);
    world.restart(1);
    world.end();
    let second = "a|1|1|1|1970-01-01T00:00:01.300|1970-01-01T00:00:01.400|1970-01-01T00:00:01.399";
    assert_eq!(world.rows(MAIN_PORT), [first, second]);
}
