//! Lookup joins by key against a naive twin, over random rows, watermarks, delays, failures, barriers and restores.
//!
//! The twin joins each row at once. In order, the operator must give the very same sequence of rows; in any order, in front of
//! each watermark exactly the rows that stand in front of it in the twin's output. Over a restore, which begins with the
//! newest watermark behind all rows that were in flight, it may be told late, but never early.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion_common::JoinType;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::LookupJoin;
use super::tests::Nobody;
use crate::Batch;
use crate::lookup::{
    Access, Answer, Answered, CachePolicy, Found, KeyAccess, LookupFailure, LookupPolicy, MissRetry, Question,
};
use crate::operators::join_rows::{JoinInput, joined_schema};
use crate::operators::testing::{World, rows_as_text};
use crate::time::EventTime;

const RETRIES: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Row(String),
    Watermark(i64),
}

/// Input as it came.
#[derive(Debug, Clone)]
enum Input {
    Rows(Vec<(Option<i64>, i64)>),
    Watermark(i64),
}

fn schema(names: [&str; 2]) -> SchemaRef {
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Int64, true)).to_vec()))
}

fn batch(names: [&str; 2], rows: &[(Option<i64>, i64)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(schema(names), columns).unwrap()
}

/// The reference rows of a key: none, one or several.
fn reference(key: i64) -> Vec<i64> {
    (0..key.rem_euclid(4) - 1).map(|n| key * 10 + n).collect()
}

fn twin(kind: JoinType, input: &[Input]) -> Vec<Event> {
    let mut events = Vec::new();
    for one in input {
        match one {
            Input::Watermark(watermark) => events.push(Event::Watermark(*watermark)),
            Input::Rows(rows) => rows.iter().for_each(|(key, id)| {
                let found = key.map(reference).unwrap_or_default();
                let key = key.map_or("NULL".into(), |key| key.to_string());
                if found.is_empty() && kind == JoinType::Left {
                    events.push(Event::Row(format!("{key}|{id}|NULL|NULL")));
                }
                events.extend(found.into_iter().map(|value| Event::Row(format!("{key}|{id}|{key}|{value}"))));
            }),
        }
    }
    events
}

struct Driver<'a> {
    world: World<'a>,
    rng: ChaCha8Rng,
    /// Questions without an answer, and how often each has failed.
    open: Vec<(u64, Question)>,
    failed: HashMap<u64, u32>,
    events: Vec<Event>,
    told: i64,
    /// Everything that came, and how much of it and of the output the last barrier covers.
    input: Vec<Input>,
    covered: (usize, usize, i64),
    restores: usize,
}

impl Driver<'_> {
    /// As a task does after every step.
    fn settle(&mut self) {
        loop {
            let goes_on = self.world.call(0, |operator, ctx, out| {
                let stage = operator.stage().unwrap();
                let goes_on = stage.has_answered();
                stage.emit_answered(ctx, out).unwrap();
                goes_on
            });
            for (_, batch) in self.world.take_output() {
                let marks = batch.watermarks().expect("watermarks go along").values().to_vec();
                // A row carries its own number as watermark.
                let ids = batch.rows().column(1).as_primitive::<Int64Type>().values().to_vec();
                assert_eq!(ids, marks);
                self.events.extend(rows_as_text(batch.rows()).into_iter().map(Event::Row));
            }
            let told = self.world.call(0, |operator, _, _| operator.output_watermark(EventTime::MIN)).0;
            if told > self.told {
                self.told = told;
                self.events.push(Event::Watermark(told));
            }
            if !goes_on {
                break;
            }
        }
        self.open.extend(self.world.call(0, |operator, ctx, _| operator.stage().unwrap().questions(ctx)).unwrap());
    }

    fn take(&mut self, input: &Input) {
        match input {
            Input::Rows(rows) => {
                let marks: Int64Array = rows.iter().map(|(_, id)| *id).collect();
                self.world.batch(&Batch::new(batch(["k", "id"], rows)).with_watermarks(marks));
            }
            Input::Watermark(watermark) => self.world.watermark(*watermark),
        }
        self.settle();
    }

    /// One of the open questions is answered or fails.
    fn answer(&mut self, may_fail: bool) {
        if self.open.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..self.open.len());
        let (number, question) = self.open.swap_remove(index);
        let failures = self.failed.entry(number).or_default();
        let fails = may_fail && *failures < RETRIES && self.rng.random_bool(0.3);
        *failures += u32::from(fails);
        let result = match question {
            _ if fails => Err(LookupFailure::Passing("not now".into())),
            Question::Open(_) => Ok(Answer::Ready),
            Question::Keys(keys) => Ok(Answer::Rows(self.find(&keys))),
        };
        let answered = Answered { number, result };
        self.world.call(0, |operator, ctx, _| operator.stage().unwrap().on_answer(answered, ctx)).unwrap();
        self.settle();
    }

    fn find(&mut self, keys: &RecordBatch) -> Found {
        let keys = keys.column(0).as_primitive::<Int64Type>();
        let mut found: Vec<(u32, i64, i64)> = Vec::new();
        for (index, key) in keys.values().iter().enumerate() {
            found.extend(reference(*key).into_iter().map(|value| (index as u32, *key, value)));
        }
        let rows: Vec<_> = found.iter().map(|(_, key, value)| (Some(*key), *value)).collect();
        Found { rows: batch(["key", "value"], &rows), key_of_row: found.iter().map(|row| row.0).collect() }
    }

    fn barrier(&mut self) {
        self.world.barrier();
        self.covered = (self.input.len(), self.events.len(), self.told);
    }

    /// Goes on from the last barrier: what came behind it never happened, and comes again.
    fn restore(&mut self) {
        self.world.crash(1);
        self.restores += 1;
        self.open.clear();
        self.failed.clear();
        let (input, events, told) = self.covered;
        self.events.truncate(events);
        self.told = told;
        self.settle();
        // As a source does, which goes on with the time that it had reached.
        let marks = self.input[..input].iter().rev();
        if let Some(mark) = marks.clone().find(|input| matches!(input, Input::Watermark(_))).cloned() {
            self.take(&mark);
        }
        for index in input..self.input.len() {
            let input = self.input[index].clone();
            self.take(&input);
        }
    }

    fn drain(&mut self) {
        while !self.world.call(0, |operator, _, _| operator.stage().unwrap().is_drained()) {
            self.world.now += 20_000;
            self.settle();
            self.answer(false);
        }
    }
}

fn random_plan(rng: &mut ChaCha8Rng) -> LookupJoin {
    let cache = rng.random_bool(0.6).then(|| CachePolicy {
        rows_max: rng.random_bool(0.5).then(|| rng.random_range(1..20)),
        expire_after_write_ms: rng.random_bool(0.3).then_some(500),
        expire_after_access_ms: rng.random_bool(0.3).then_some(300),
        missing_keys: rng.random_bool(0.5),
    });
    let access = KeyAccess {
        key_names: vec!["k".into()],
        capacity: rng.random_range(1..30),
        questions_max: rng.random_range(1..6),
        keys_per_question: rng.random_range(1..8),
        cache,
        miss_retry: rng.random_bool(0.3).then_some(MissRetry { delay_ms: 50, attempts_max: 3 }),
    };
    let kind = if rng.random_bool(0.5) { JoinType::Inner } else { JoinType::Left };
    let (left, right) = (schema(["k", "id"]), schema(["key", "value"]));
    LookupJoin {
        kind,
        schema: joined_schema(kind, &left, &right),
        inputs: [JoinInput { schema: left, keys: vec![0] }, JoinInput { schema: right.clone(), keys: vec![] }],
        lookup: Arc::new(Nobody(right)),
        policy: LookupPolicy {
            table: "d".into(),
            access: Access::ByKey(access),
            ordered: rng.random_bool(0.5),
            timeout_ms: i64::MAX,
            retries_max: RETRIES,
        },
        condition: None,
    }
}

fn rows_of(events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|event| matches!(event, Event::Row(_))).collect()
}

fn sorted_rows(events: &[Event]) -> Vec<&Event> {
    let mut rows = rows_of(events);
    rows.sort();
    rows
}

/// Both sorted; rows repeat.
fn contains_all(rows: &[&Event], wanted: &[&Event]) -> bool {
    let mut rest = rows.iter();
    wanted.iter().all(|row| rest.any(|other| other == row))
}

fn check(plan: &LookupJoin, given: &[Event], expected: &[Event], restored: bool, seed: u64) {
    if plan.policy.ordered {
        assert_eq!(rows_of(given), rows_of(expected), "seed {seed}");
    }
    let last_mark = |events: &[Event]| events.iter().rev().find(|event| matches!(event, Event::Watermark(_))).cloned();
    assert_eq!(last_mark(given), last_mark(expected), "seed {seed}");
    for (place, mark) in given.iter().enumerate().filter(|(_, event)| matches!(event, Event::Watermark(_))) {
        let there = expected.iter().position(|event| event == mark).unwrap_or_else(|| panic!("seed {seed}: {mark:?}"));
        let (before, wanted) = (sorted_rows(&given[..place]), sorted_rows(&expected[..there]));
        match restored {
            true => assert!(contains_all(&before, &wanted), "seed {seed}: in front of {mark:?}"),
            false => assert_eq!(before, wanted, "seed {seed}: in front of {mark:?}"),
        }
    }
    assert_eq!(sorted_rows(given), sorted_rows(expected), "seed {seed}");
}

fn run(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let plan = random_plan(&mut rng);
    // Without restores, watermarks are exact.
    let restores = rng.random_bool(0.6);
    let world = World::new(&plan, &[0], &schema(["k", "id"]), 4_000, 1);
    let mut driver = Driver {
        world,
        rng,
        open: Vec::new(),
        failed: HashMap::new(),
        events: Vec::new(),
        told: i64::MIN,
        input: Vec::new(),
        covered: (0, 0, i64::MIN),
        restores: 0,
    };
    driver.settle();
    let (mut id, mut time) = (0, 0);
    for _ in 0..200 {
        match driver.rng.random_range(0..100) {
            0..25 if driver.world.call(0, |operator, _, _| operator.stage().unwrap().has_room(false)) => {
                let count = driver.rng.random_range(1..12);
                let row = |rng: &mut ChaCha8Rng, id: i64| (rng.random_bool(0.9).then(|| rng.random_range(0..25)), id);
                let rows = (0..count).map(|n| row(&mut driver.rng, id + n)).collect();
                id += count;
                driver.input.push(Input::Rows(rows));
                driver.take(&driver.input.last().unwrap().clone());
            }
            25..35 => {
                time += 1;
                driver.input.push(Input::Watermark(time));
                driver.take(&Input::Watermark(time));
            }
            35..75 => driver.answer(true),
            75..88 => {
                driver.world.now += driver.rng.random_range(1..200);
                driver.settle();
            }
            88..94 => driver.barrier(),
            94.. if !restores => {}
            94..97 => (0..3).for_each(|_| driver.restore()),
            97..100 => {
                // Restored three times in a row, with a barrier each time.
                for _ in 0..3 {
                    driver.barrier();
                    driver.restore();
                }
            }
            _ => {}
        }
    }
    driver.drain();
    check(&plan, &driver.events, &twin(plan.kind, &driver.input), driver.restores > 0, seed);
    driver.world.barrier();
    assert_eq!(driver.world.state_entries(), 0, "seed {seed}: nothing is left behind");
}

#[test]
fn rows_leave_as_if_every_answer_came_at_once() {
    (0..300).for_each(run);
}

#[test]
fn rows_in_flight_go_to_as_many_instances_as_there_are() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let plan = random_plan(&mut rng);
    let mut world = World::new(&plan, &[0], &schema(["k", "id"]), usize::MAX, 1);
    let rows: Vec<_> = (0..50).map(|id| (Some(id % 7), id)).collect();
    world.batch(&Batch::new(batch(["k", "id"], &rows)));
    for parallelism in [3, 2, 5, 1] {
        world.restart(parallelism);
    }
    world.barrier();
    assert_eq!(world.state_entries(), rows.len());
    let marks = world.call(0, |operator, _, _| operator.output_watermark(EventTime::MAX));
    assert_eq!(marks, EventTime::MIN, "no watermark passes rows that wait");
}
