//! Sessions that are told more than once, and sessions over rows that are taken back, against a naive twin: it keeps
//! the rows that are not late and forms sessions of them in the end. What the changes add up to must be its answer.

use arrow::array::AsArray;
use arrow::datatypes::TimestampMillisecondType;
use expect_test::expect;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tests::{
    Row, Step, TwinSession, aggregate_plan, aggregated, batch_of, input_schema, over_updates, random_steps, spec,
    split_batches,
};
use super::*;
use crate::Batch;
use crate::batch::RowKind;
use crate::operator::MAIN_PORT;
use crate::operators::testing::{World, rows_as_text, sorted};
use crate::time::window::TimeDomain;

/// The sessions of all rows that were not late when they came, nor were taken back in time; and how many were late.
fn twin(steps: &[Step], gap: i64, keyed: bool, lateness: i64) -> (Vec<TwinSession>, u64) {
    let (mut kept, mut late, mut watermark) = (Vec::<Row>::new(), 0, i64::MIN);
    for step in steps {
        match step {
            Step::Watermark(next) => watermark = watermark.max(*next),
            Step::Rows(rows) => {
                for row in rows {
                    if row.time < watermark.max(row.watermark).saturating_sub(lateness) {
                        late += 1;
                    } else if row.kind.is_retraction() {
                        let same = |other: &Row| (other.key, other.value, other.time) == (row.key, row.value, row.time);
                        kept.remove(kept.iter().position(same).expect("a row that is not late came in time"));
                    } else {
                        kept.push(row.clone());
                    }
                }
            }
            Step::Barrier | Step::Restart(_) => {}
        }
    }
    kept.sort_by_key(|row| row.time);
    let mut sessions: Vec<TwinSession> = Vec::new();
    for row in kept {
        let key = row.key.filter(|_| keyed);
        match sessions.iter_mut().find(|session| session.key == key && row.time <= session.end) {
            Some(session) => {
                session.end = row.time + gap;
                session.rows.push(row);
            }
            None => sessions.push(TwinSession { key, start: row.time, end: row.time + gap, rows: vec![row] }),
        }
    }
    (sessions, late)
}

/// The table that changes make, row by row.
struct Told {
    table: Vec<String>,
    correction: Correction,
    keys: usize,
    changes: usize,
}

impl Told {
    fn take(&mut self, batch: &Batch) {
        let ends = batch.column(self.keys + 4).as_primitive::<TimestampMillisecondType>();
        let starts = batch.column(self.keys + 3).as_primitive::<TimestampMillisecondType>();
        for (row, text) in rows_as_text(batch.rows()).into_iter().enumerate() {
            self.changes += 1;
            let kind = batch.kind(row);
            if kind.is_retraction() {
                let known = self.table.iter().position(|known| known.ends_with(&format!("#{text}")));
                self.table.remove(known.unwrap_or_else(|| panic!("{} of what is not there: {text}", kind.symbol())));
                continue;
            }
            let key = text.split('|').take(self.keys).collect::<String>();
            let (start, end) = (starts.value(row), ends.value(row));
            if self.correction == Correction::Append {
                // The last row counts, of those of a key that touch each other.
                self.table.retain(|known| {
                    let fields: Vec<&str> = known.splitn(4, '#').collect();
                    let (from, to): (i64, i64) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
                    fields[0] != key || to < start || end < from
                });
            }
            self.table.push(format!("{key}#{start}#{end}#{text}"));
        }
    }

    fn rows(&self) -> Vec<String> {
        sorted(self.table.iter().map(|row| row.splitn(4, '#').last().unwrap().to_owned()).collect())
    }
}

struct Outcome {
    rows: Vec<String>,
    changes: usize,
    late: u64,
    spilled: u64,
}

fn run(plan: &SessionAggregate, steps: &[Step], budget: usize, rng: &mut ChaCha8Rng) -> Outcome {
    let input = input_schema(None);
    let mut world = World::new(plan, &plan.keys, &input, budget, 1);
    let mut told = Told { table: Vec::new(), correction: plan.correction, keys: plan.keys.len(), changes: 0 };
    let (mut now, mut watermark) = (0, i64::MIN);
    for step in steps {
        now += rng.random_range(0..25);
        world.time(now);
        match step {
            Step::Rows(rows) => world.batch(&batch_of(rows, &input)),
            Step::Watermark(next) => world.watermark(*next),
            Step::Barrier => world.barrier(),
            Step::Restart(parallelism) => world.restart(*parallelism),
        }
        for (port, batch) in world.take_output() {
            if port == MAIN_PORT {
                let times = batch.column(plan.keys.len() + 5).as_primitive::<TimestampMillisecondType>();
                let passed = watermark.saturating_sub(plan.emission.lateness_ms).saturating_sub(2);
                assert!(
                    times.values().iter().all(|time| *time > passed),
                    "a change behind the watermark that was told"
                );
                told.take(&batch);
            }
        }
        if let Step::Watermark(next) = step {
            watermark = *next;
        }
    }
    world.end();
    world.take_output().iter().filter(|(port, _)| *port == MAIN_PORT).for_each(|(_, batch)| told.take(batch));
    world.barrier();
    assert_eq!(world.state_entries(), 0, "all sessions closed and nothing is left in state");
    Outcome { rows: told.rows(), changes: told.changes, late: world.late_total(), spilled: world.spilled_total() }
}

fn random_emission(rng: &mut ChaCha8Rng, gap: i64) -> Emission {
    Emission {
        early_ms: [None, Some(0), Some(30)][rng.random_range(0..3)],
        late_ms: [0, 30][rng.random_range(0..2)],
        lateness_ms: [0, gap / 2, 4 * gap][rng.random_range(0..3)],
    }
}

#[test]
fn what_is_told_of_sessions_adds_up_to_the_twins() {
    let (mut corrected, mut late_total, mut spilled) = (0, 0, 0);
    for seed in 0..140 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let gap = rng.random_range(1..30);
        let retracts = seed % 2 == 0;
        let steps = random_steps(&mut rng, gap, retracts);
        let keys = if seed % 7 == 0 { vec![] } else { vec![0] };
        let mut plan = aggregate_plan(spec(gap, TimeDomain::Event, None), keys);
        plan.emission = random_emission(&mut rng, gap);
        if retracts {
            plan = over_updates(plan);
        } else if seed % 3 == 0 {
            plan.correction = Correction::Append;
        }
        let (sessions, late) = twin(&steps, gap, !plan.keys.is_empty(), plan.emission.lateness_ms);
        let expected = aggregated(&sessions, !plan.keys.is_empty());
        let budget = [usize::MAX, 1, 4_000][seed as usize % 3];
        for steps in [steps.clone(), split_batches(&mut rng, &steps)] {
            let outcome = run(&plan, &steps, budget, &mut rng);
            assert_eq!(outcome.rows, expected, "seed {seed}, gap {gap}, budget {budget}, {:?}", plan.emission);
            assert_eq!(outcome.late, late, "seed {seed}: late rows");
            corrected += outcome.changes - expected.len();
            spilled += outcome.spilled;
        }
        late_total += late;
    }
    assert!(corrected > 1500 && late_total > 300, "{corrected} corrections, {late_total} late rows");
    assert!(spilled > 150, "the small budgets were felt: {spilled}");
}

/// Each change as `+I key|count|sum|start-end`.
fn changes(world: &mut World) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, batch) in world.take_output() {
        let column = |index: usize| batch.column(index).as_primitive::<TimestampMillisecondType>();
        for (row, text) in rows_as_text(batch.rows()).iter().enumerate() {
            let fields: Vec<&str> = text.split('|').take(3).collect();
            let (start, end) = (column(4).value(row), column(5).value(row));
            lines.push(format!("{} {}|{start}-{end}", batch.kind(row).symbol(), fields.join("|")));
        }
    }
    lines
}

fn row(value: i64, time: i64, kind: RowKind) -> Row {
    Row { key: Some("a"), value, time, watermark: i64::MIN, kind }
}

#[test]
fn a_late_row_merges_sessions_that_have_been_told() {
    let mut plan = aggregate_plan(spec(10, TimeDomain::Event, None), vec![0]);
    plan.emission = Emission { early_ms: None, late_ms: 0, lateness_ms: 100 };
    let mut world = World::new(&plan, &[0], &plan.input, usize::MAX, 1);
    world.batch(&batch_of(&[row(1, 0, RowKind::Insert), row(2, 15, RowKind::Insert)], &plan.input));
    world.watermark(40);
    let mut lines = changes(&mut world);
    world.restart(2);
    world.batch(&batch_of(&[row(3, 4, RowKind::Insert), row(4, 8, RowKind::Insert)], &plan.input));
    lines.extend(changes(&mut world));
    world.batch(&batch_of(&[row(5, 20, RowKind::Insert)], &plan.input));
    world.watermark(300);
    lines.extend(changes(&mut world));
    expect![[r#"
        +I a|1|1|0-10
        +I a|1|2|15-25
        -D a|1|1|0-10
        -D a|1|2|15-25
        +I a|4|10|0-25
        -D a|4|10|0-25
        +I a|5|15|0-30"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn a_row_that_is_taken_back_splits_its_session() {
    let mut plan = over_updates(aggregate_plan(spec(10, TimeDomain::Event, None), vec![0]));
    plan.emission.early_ms = Some(0);
    let mut world = World::new(&plan, &[0], &plan.input, usize::MAX, 1);
    let rows = [row(1, 0, RowKind::Insert), row(2, 8, RowKind::Insert), row(4, 16, RowKind::Insert)];
    world.batch(&batch_of(&rows, &plan.input));
    let mut lines = changes(&mut world);
    world.restart(1);
    world.batch(&batch_of(&[row(2, 8, RowKind::Delete)], &plan.input));
    lines.extend(changes(&mut world));
    world.batch(&batch_of(&[row(4, 16, RowKind::UpdateBefore), row(5, 16, RowKind::UpdateAfter)], &plan.input));
    world.batch(&batch_of(&[row(1, 0, RowKind::Delete)], &plan.input));
    world.end();
    lines.extend(changes(&mut world));
    expect![[r#"
        +I a|3|7|0-26
        -D a|3|7|0-26
        +I a|1|1|0-10
        +I a|1|4|16-26
        -U a|1|4|16-26
        +U a|1|5|16-26
        -D a|1|1|0-10"#]]
    .assert_eq(&lines.join("\n"));
}
