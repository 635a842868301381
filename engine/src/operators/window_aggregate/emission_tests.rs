//! Early and late results against the naive twin: what the changes add up to is the twin's answer, whatever the clock.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tests::{Step, batch_of, plan, random_kind, random_steps, twin};
use super::*;
use crate::batch::RowKind;
use crate::operator::MAIN_PORT;
use crate::operators::corrections::Correction;
use crate::operators::testing::{World, rows_as_text, sorted};
use crate::operators::window_changes::WindowChanges;

fn changes_of(plan: &WindowAggregate, correction: Correction) -> WindowChanges {
    let first = plan.keys.len() + plan.aggregates.len();
    WindowChanges {
        keys: (0..plan.keys.len()).collect(),
        start: first,
        end: first + 1,
        zone: None,
        domain: TimeDomain::Event,
        correction,
        schema: plan.schema.clone(),
    }
}

/// The two operators, one behind the other as in a chain.
struct Pair<'a> {
    windows: World<'a>,
    changes: World<'a>,
    emission: Emission,
    late: usize,
}

impl Pair<'_> {
    fn forward(&mut self) {
        for (port, batch) in self.windows.take_output() {
            match port {
                MAIN_PORT => self.changes.batch(&batch),
                _ => self.late += batch.num_rows(),
            }
        }
    }

    fn step(&mut self, step: &Step, input: &SchemaRef) {
        match step {
            Step::Rows(rows) => self.windows.batch(&batch_of(rows, input)),
            Step::Watermark(watermark) => self.windows.watermark(*watermark),
            Step::Barrier => self.windows.barrier(),
            Step::Restart(parallelism) => self.windows.restart(*parallelism),
        }
        self.forward();
        match step {
            Step::Rows(_) => {}
            Step::Watermark(watermark) => self.changes.watermark(watermark.saturating_sub(self.emission.lateness_ms)),
            Step::Barrier => self.changes.barrier(),
            Step::Restart(parallelism) => self.changes.restart(*parallelism),
        }
    }

    fn time(&mut self, now: i64) {
        self.windows.time(now);
        self.forward();
        self.changes.time(now);
    }

    fn end(&mut self) {
        self.windows.end();
        self.forward();
        self.changes.end();
    }
}

/// The table that the changes make; each must fit what is there.
fn folded(world: &World) -> Vec<String> {
    let mut table: Vec<String> = Vec::new();
    for (_, batch) in &world.out.batches {
        for (row, text) in rows_as_text(batch.rows()).into_iter().enumerate() {
            match batch.kind(row) {
                RowKind::Insert | RowKind::UpdateAfter => table.push(text),
                kind => {
                    let found = table.iter().position(|known| *known == text);
                    table.remove(
                        found.unwrap_or_else(|| panic!("{} of a row that is not there: {text}", kind.symbol())),
                    );
                }
            }
        }
    }
    sorted(table)
}

/// The last row of each key and window.
fn last_rows(world: &World, plan: &WindowAggregate) -> Vec<String> {
    let mut last = BTreeMap::new();
    for text in world.rows(MAIN_PORT) {
        let fields: Vec<&str> = text.split('|').collect();
        let key: Vec<&str> = fields[..plan.keys.len()].iter().chain(&fields[fields.len() - 3..]).copied().collect();
        last.insert(key.join("|"), text.clone());
    }
    sorted(last.into_values().collect())
}

fn random_emission(rng: &mut ChaCha8Rng) -> Emission {
    Emission {
        early_ms: [None, Some(0), Some(30)][rng.random_range(0..3)],
        late_ms: [0, 30][rng.random_range(0..2)],
        lateness_ms: [0, 5, 80][rng.random_range(0..3)],
    }
}

#[test]
fn early_and_late_results_add_up_to_the_twins() {
    let (mut corrected, mut in_time) = (0, 0);
    for seed in 0..150 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut plan = plan(random_kind(&mut rng), None, if seed % 7 == 0 { vec![] } else { vec![1] });
        let strict = plan.clone();
        plan.emission = random_emission(&mut rng);
        let steps = random_steps(&mut rng, -100, seed % 2 == 0);
        let (expected, late) = twin(&plan, &steps);
        let correction = [Correction::Update, Correction::Append][seed as usize % 2];
        let changes = changes_of(&plan, correction);
        let budget = [usize::MAX, 1, 20_000][seed as usize % 3];
        let mut pair = Pair {
            windows: World::new(&plan, &plan.keys, &plan.input, budget, 1),
            changes: World::new(&changes, &changes.keys, &plan.schema, budget, 1),
            emission: plan.emission,
            late: 0,
        };
        let mut now = 0;
        for step in &steps {
            now += rng.random_range(0..25);
            pair.time(now);
            pair.step(step, &plan.input);
        }
        pair.end();
        let rows = match correction {
            Correction::Update => folded(&pair.changes),
            Correction::Append => last_rows(&pair.changes, &plan),
        };
        assert_eq!(rows, expected, "seed {seed}, {:?}, {:?}", plan.emission, plan.window);
        assert_eq!(pair.late, late, "seed {seed}: late rows");
        let left = pair.windows.state_entries() + pair.changes.state_entries();
        assert_eq!(left, 0, "seed {seed}: all windows are closed for good and nothing is left in state");
        corrected += pair.changes.rows(MAIN_PORT).len() - expected.len();
        in_time += twin(&strict, &steps).1 - late;
    }
    assert!(corrected > 1000 && in_time > 300, "{corrected} corrections, {in_time} late rows in time");
}

#[test]
fn without_early_or_late_results_there_is_nothing_to_correct() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let plan = plan(random_kind(&mut rng), None, vec![1]);
    let changes = changes_of(&plan, Correction::Update);
    let steps = random_steps(&mut rng, 0, true);
    let mut pair = Pair {
        windows: World::new(&plan, &plan.keys, &plan.input, usize::MAX, 1),
        changes: World::new(&changes, &changes.keys, &plan.schema, usize::MAX, 1),
        emission: plan.emission,
        late: 0,
    };
    steps.iter().for_each(|step| pair.step(step, &plan.input));
    pair.end();
    assert_eq!(sorted(pair.changes.rows(MAIN_PORT)), twin(&plan, &steps).0);
}
