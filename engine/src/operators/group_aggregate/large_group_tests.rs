//! Groups that keep their values apart, against a twin that keeps all rows: huge groups, tiny budgets, restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::aggregate::{resolve, resolve_over_updates};
use crate::batch::RowKind;
use crate::operators::testing::{World, rows_as_text};

/// Key and value; the text is the value's.
type Row = (u8, i64);

/// An aggregate: name, column (1: value, 2: text), DISTINCT, and the column of its FILTER.
type Call = (&'static str, usize, bool, Option<usize>);

/// Columns that say whether a value is a multiple of 2 or 3.
const EVEN: usize = 3;
const THIRD: usize = 4;

/// The aggregates of the twin.
const CALLS: [Call; 15] = [
    ("count", 1, false, None),
    ("min", 1, false, None),
    ("max", 1, false, None),
    ("max", 2, false, None),
    ("count", 1, true, None),
    ("count", 2, true, None),
    ("sum", 1, true, None),
    ("first_value", 1, false, None),
    ("last_value", 2, false, None),
    ("listagg", 2, false, None),
    ("median", 1, false, None),
    ("count", 1, true, Some(EVEN)),
    ("sum", 1, true, Some(THIRD)),
    ("count", 2, true, Some(EVEN)),
    ("count", 2, true, Some(THIRD)),
];

/// Those whose partials can take back what others have added.
const MERGING: [usize; 12] = [0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14];

fn plan(over_updates: bool, ttl_ms: Option<i64>) -> GroupAggregate {
    plan_of(&CALLS, over_updates, ttl_ms)
}

fn plan_of(calls: &[Call], over_updates: bool, ttl_ms: Option<i64>) -> GroupAggregate {
    let input = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("even", DataType::Boolean, true),
        Field::new("third", DataType::Boolean, true),
    ]));
    let resolve = if over_updates { resolve_over_updates } else { resolve };
    let call = |(name, column, distinct, filter): &Call| {
        let factory = resolve(name, &[input.field(*column).data_type().clone()], &[], *distinct).unwrap();
        let output = Field::new(*name, factory.output_type(), true);
        AggregateCall { display: name.to_string(), output, factory, args: vec![*column], filter: *filter }
    };
    let aggregates: Vec<AggregateCall> = calls.iter().map(call).collect();
    let outputs = aggregates.iter().map(|call| call.output.clone());
    let schema = Schema::new([input.field(0).clone()].into_iter().chain(outputs).collect::<Vec<_>>()).into();
    GroupAggregate { keys: vec![0], aggregates, ttl_ms, mini_batch: None, input, schema }
}

fn batch_of(rows: &[(RowKind, Row)], plan: &GroupAggregate) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, row)| i64::from(row.0)))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, row)| row.1))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, row)| row.1.to_string()))),
        Arc::new(rows.iter().map(|(_, row)| Some(row.1 % 2 == 0)).collect::<BooleanArray>()),
        // NULL is not true.
        Arc::new(rows.iter().map(|(_, row)| (row.1 % 3 == 0).then_some(true)).collect::<BooleanArray>()),
    ];
    let batch = RecordBatch::try_new(plan.input.clone(), columns).unwrap();
    if rows.iter().all(|(kind, _)| *kind == RowKind::Insert) {
        return Batch::new(batch);
    }
    Batch::with_kinds(batch, rows.iter().map(|(kind, _)| *kind as i8).collect::<Vec<i8>>().into())
}

/// What the changelog says of each key last; every retraction must name what was said before.
fn fold(table: &mut BTreeMap<String, String>, world: &mut World) {
    for (_, batch) in world.take_output() {
        for (row, text) in rows_as_text(batch.rows()).into_iter().enumerate() {
            let key = text.split('|').next().unwrap().to_owned();
            match batch.kind(row).is_retraction() {
                true => assert_eq!(table.remove(&key), Some(text)),
                false => assert_eq!(table.insert(key, text), None),
            }
        }
    }
}

/// Rows in order of arrival.
fn twin(rows: &[Row]) -> BTreeMap<String, String> {
    twin_of(rows, &(0..CALLS.len()).collect::<Vec<_>>())
}

/// The same for some of the aggregates.
fn twin_of(rows: &[Row], calls: &[usize]) -> BTreeMap<String, String> {
    let mut groups: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
    rows.iter().for_each(|(key, value)| groups.entry(*key).or_default().push(*value));
    let line = |(key, values): (u8, Vec<i64>)| {
        let cells = twin_cells(&values);
        let chosen = calls.iter().map(|call| cells[*call].clone());
        (key.to_string(), [key.to_string()].into_iter().chain(chosen).collect::<Vec<_>>().join("|"))
    };
    groups.into_iter().map(line).collect()
}

fn twin_cells(values: &[i64]) -> [String; CALLS.len()] {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let middle = |at: usize| sorted[at.min(sorted.len() - 1)] as f64;
    let half = (sorted.len() - 1) as f64 / 2.0;
    let median = (middle(half.floor() as usize) + middle(half.ceil() as usize)) / 2.0;
    let mut different = sorted.clone();
    different.dedup();
    let multiples = |of: i64| different.iter().copied().filter(move |value| value % of == 0);
    let thirds = multiples(3).reduce(|sum, value| sum + value);
    let texts: Vec<String> = values.iter().map(i64::to_string).collect();
    [
        values.len().to_string(),
        sorted[0].to_string(),
        sorted[sorted.len() - 1].to_string(),
        texts.iter().max().unwrap().clone(),
        different.len().to_string(),
        different.len().to_string(),
        different.iter().sum::<i64>().to_string(),
        values[0].to_string(),
        texts[texts.len() - 1].clone(),
        texts.join(","),
        format!("{median:?}"),
        multiples(2).count().to_string(),
        thirds.map_or("NULL".into(), |sum| sum.to_string()),
        multiples(2).count().to_string(),
        multiples(3).count().to_string(),
    ]
}

/// Changes rows at random and compares after every batch; how much has spilled.
fn run(seed: u64, retracts: bool) -> u64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let plan = plan(retracts, None);
    let mut world = World::new(&plan, &plan.keys, &plan.input, [usize::MAX, 1, 20_000][seed as usize % 3], 1);
    let (mut table, mut live) = (BTreeMap::new(), Vec::<Row>::new());
    let (keys, values) = (rng.random_range(1..4), [5, 60, 10_000][rng.random_range(0..3)]);
    // First it grows, then it shrinks until nothing is left.
    for step in 0..24 {
        let shrinks = if step < 12 { 0.3 } else { 0.8 };
        let before = live.clone();
        let mut rows = Vec::new();
        for _ in 0..rng.random_range(1..25) {
            if retracts && !before.is_empty() && rng.random_bool(shrinks) {
                let row = before[rng.random_range(0..before.len())];
                if let Some(at) = live.iter().position(|own| *own == row) {
                    live.remove(at);
                    rows.push((RowKind::Delete, row));
                }
            } else {
                let row = (rng.random_range(0..keys), rng.random_range(0..values));
                live.push(row);
                rows.push((RowKind::Insert, row));
            }
        }
        if rows.is_empty() {
            continue;
        }
        world.batch(&batch_of(&rows, &plan));
        match rng.random_range(0..5) {
            0 => world.barrier(),
            1 => (0..3).for_each(|_| world.restart(rng.random_range(1..4))),
            _ => {}
        }
        fold(&mut table, &mut world);
        assert_eq!(table, twin(&live), "seed {seed}, step {step}");
    }
    empty_out(&mut world, &plan, &live, retracts);
    world.spilled_total()
}

/// Takes back all rows: nothing may be left in state.
fn empty_out(world: &mut World, plan: &GroupAggregate, live: &[Row], retracts: bool) {
    world.barrier();
    if retracts && !live.is_empty() {
        let rows: Vec<(RowKind, Row)> = live.iter().map(|row| (RowKind::Delete, *row)).collect();
        world.batch(&batch_of(&rows, plan));
        world.barrier();
        assert_eq!(world.state_entries(), 0);
    }
}

/// The same in two phases, with a first phase on each of two instances.
fn run_in_two_phases(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let retracts = seed.is_multiple_of(2);
    let chosen: Vec<usize> = if retracts { MERGING.to_vec() } else { (0..CALLS.len()).collect() };
    let calls: Vec<_> = chosen.iter().map(|call| CALLS[*call]).collect();
    let plan = plan_of(&calls, retracts, None);
    let (local, global) = plan.two_phase(retracts).unwrap();
    let mut locals = [0, 1].map(|_| World::new(&local, &[], &plan.input, usize::MAX, 1));
    let budget = [usize::MAX, 1, 20_000][seed as usize % 3];
    let mut world = World::new(&global, &[0], &local.schema, budget, 2);
    let (mut table, mut live) = (BTreeMap::new(), Vec::<Row>::new());
    let (keys, values) = (rng.random_range(1..20), [5, 60, 10_000][rng.random_range(0..3)]);
    for step in 0..40 {
        let mut rows = Vec::new();
        for _ in 0..rng.random_range(1..25) {
            if retracts && !live.is_empty() && rng.random_bool(if step < 20 { 0.3 } else { 0.7 }) {
                rows.push((RowKind::Delete, live.remove(rng.random_range(0..live.len()))));
            } else {
                live.push((rng.random_range(0..keys), rng.random_range(0..values)));
                rows.push((RowKind::Insert, live[live.len() - 1]));
            }
        }
        let half = if retracts { rows.len() } else { rng.random_range(0..rows.len()) };
        for (instance, part) in
            [&rows[..half], &rows[half..]].into_iter().enumerate().filter(|(_, part)| !part.is_empty())
        {
            locals[instance].batch(&batch_of(part, &plan));
            locals[instance].take_output().iter().for_each(|(_, partials)| world.batch(partials));
        }
        match rng.random_range(0..5) {
            0 => world.barrier(),
            1 => (0..3).for_each(|_| world.restart(rng.random_range(1..4))),
            _ => {}
        }
        fold(&mut table, &mut world);
        assert_eq!(table, twin_of(&live, &chosen), "seed {seed}, step {step}");
    }
}

#[test]
fn two_phases_agree_with_the_twin() {
    (0..60).for_each(run_in_two_phases);
}

#[test]
fn what_only_the_whole_group_can_take_back_has_one_phase() {
    assert!(plan(true, None).two_phase(true).is_none());
    assert!(plan(false, None).two_phase(false).is_some());
}

#[test]
fn groups_that_give_rows_back_agree_with_the_twin() {
    let spilled: u64 = (0..90).map(|seed| run(seed, true)).sum();
    assert!(spilled > 300, "the small budgets were felt: {spilled}");
}

#[test]
fn groups_that_only_grow_agree_with_the_twin() {
    let spilled: u64 = (0..30).map(|seed| run(seed, false)).sum();
    assert!(spilled > 50, "the small budgets were felt: {spilled}");
}

#[test]
fn only_what_changed_of_a_large_group_is_read_and_written() {
    let plan = plan(true, None);
    let mut world = World::new(&plan, &plan.keys, &plan.input, usize::MAX, 1);
    let rows: Vec<(RowKind, Row)> = (0..1000).map(|value| (RowKind::Insert, (1, value))).collect();
    world.batch(&batch_of(&rows, &plan));
    world.restart(1);
    let whole = world.state_entries();
    assert!(whole > 8 * 1000, "each value of each aggregate that keeps them has an entry: {whole}");
    let written = world.state_writes();
    world.batch(&batch_of(&[(RowKind::Delete, (1, 0)), (RowKind::Insert, (1, 5))], &plan));
    world.barrier();
    let written = world.state_writes() - written;
    assert!(written < 40, "two rows change a few entries: {written}");
}

#[test]
fn the_values_of_a_large_group_expire_with_it() {
    for budget in [usize::MAX, 1] {
        let plan = plan(true, Some(100));
        let mut world = World::new(&plan, &plan.keys, &plan.input, budget, 1);
        let rows: Vec<(RowKind, Row)> = (0..50).map(|value| (RowKind::Insert, (1, value))).collect();
        world.batch(&batch_of(&rows, &plan));
        world.barrier();
        assert!(world.state_entries() > 50);
        (0..20).for_each(|step| world.time(120 + step));
        world.barrier();
        assert_eq!(world.state_entries(), 0, "budget {budget}");
        let mut table = BTreeMap::new();
        world.take_output();
        world.batch(&batch_of(&[(RowKind::Insert, (1, 7))], &plan));
        fold(&mut table, &mut world);
        assert_eq!(table, twin(&[(1, 7)]), "nothing of the old group is left");
    }
}

#[test]
fn a_large_group_begins_anew_when_its_last_row_has_gone() {
    let plan = plan(true, None);
    let mut world = World::new(&plan, &plan.keys, &plan.input, 1, 1);
    let rows = |kind: RowKind| (0..50).map(|value| (kind, (1, value))).collect::<Vec<_>>();
    world.batch(&batch_of(&rows(RowKind::Insert), &plan));
    world.barrier();
    world.batch(&batch_of(&rows(RowKind::Delete), &plan));
    world.take_output();
    // Before the barrier that writes it.
    world.batch(&batch_of(&[(RowKind::Insert, (1, 60))], &plan));
    (0..3).for_each(|_| world.restart(2));
    let mut table = BTreeMap::new();
    fold(&mut table, &mut world);
    assert_eq!(table, twin(&[(1, 60)]));
    world.batch(&batch_of(&[(RowKind::Insert, (1, 3))], &plan));
    fold(&mut table, &mut world);
    assert_eq!(table, twin(&[(1, 60), (1, 3)]));
}
