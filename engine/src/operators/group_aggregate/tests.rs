//! Group aggregation against a twin that folds rows one by one; the changelog is folded to a table to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use expect_test::expect;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::aggregate::resolve;
use crate::batch::RowKind;
use crate::operators::testing::{World, rows_as_text};

type Row = (RowKind, Option<&'static str>, i64);

fn plan(keys: Vec<usize>, names: &[&str], ttl_ms: Option<i64>) -> GroupAggregate {
    let input = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Int64, true),
    ]));
    let call = |name: &&str| {
        let args: Vec<usize> = if *name == "count" { vec![] } else { vec![1] };
        let factory = resolve(name, &vec![DataType::Int64; args.len()], &[], false).unwrap();
        let output = Field::new(*name, factory.output_type(), true);
        AggregateCall { display: name.to_string(), output, factory, args, filter: None }
    };
    let aggregates: Vec<AggregateCall> = names.iter().map(call).collect();
    let fields =
        keys.iter().map(|key| input.field(*key).clone()).chain(aggregates.iter().map(|call| call.output.clone()));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    GroupAggregate { keys, aggregates, ttl_ms, mini_batch: None, input, schema }
}

fn batch_of(rows: &[Row], plan: &GroupAggregate) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    let batch = RecordBatch::try_new(plan.input.clone(), columns).unwrap();
    if rows.iter().all(|row| row.0 == RowKind::Insert) {
        return Batch::new(batch);
    }
    Batch::with_kinds(batch, rows.iter().map(|row| row.0 as i8).collect::<Vec<i8>>().into())
}

fn world(plan: &GroupAggregate, budget_bytes: usize, parallelism: usize) -> World<'_> {
    World::new(plan, &plan.keys, &plan.input, budget_bytes, parallelism)
}

fn changelog(world: &mut World) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, batch) in world.take_output() {
        let rows = rows_as_text(batch.rows());
        lines.extend(rows.iter().enumerate().map(|(row, text)| format!("{}|{text}", batch.kind(row).symbol())));
    }
    lines
}

/// The table that a changelog leaves behind; every retraction must name a row that is there.
fn fold(table: &mut BTreeSet<String>, changes: Vec<String>) {
    for change in changes {
        let (kind, row) = change.split_once('|').unwrap();
        match kind {
            "+I" | "+U" => assert!(table.insert(row.into()), "{change} is there already"),
            _ => assert!(table.remove(row), "{change} is not there"),
        }
    }
}

use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

#[test]
fn a_key_is_inserted_then_updated_when_its_values_change() {
    let plan = plan(vec![0], &["count", "max"], None);
    let mut world = world(&plan, usize::MAX, 1);
    world.batch(&batch_of(&[(Insert, Some("a"), 1), (Insert, None, 2), (Insert, Some("a"), 3)], &plan));
    world.batch(&batch_of(&[(Insert, Some("a"), 2)], &plan));
    expect![[r#"
        +I|a|2|3
        +I|NULL|1|2
        -U|a|2|3
        +U|a|3|3"#]]
    .assert_eq(&changelog(&mut world).join("\n"));
}

#[test]
fn nothing_is_said_when_nothing_changed() {
    let plan = plan(vec![], &["max"], None);
    let mut world = world(&plan, usize::MAX, 1);
    world.batch(&batch_of(&[(Insert, None, 5)], &plan));
    world.batch(&batch_of(&[(Insert, None, 4)], &plan));
    assert_eq!(changelog(&mut world), ["+I|5"]);
}

#[test]
fn distinct_emits_each_key_once_and_forgets_it_with_its_last_row() {
    let plan = plan(vec![0], &[], None);
    let mut world = world(&plan, 1, 1);
    world.batch(&batch_of(&[(Insert, Some("a"), 1), (Insert, Some("b"), 1), (Insert, Some("a"), 1)], &plan));
    world.batch(&batch_of(&[(Insert, Some("a"), 1), (Delete, Some("b"), 1)], &plan));
    assert_eq!(changelog(&mut world), ["+I|a", "+I|b", "-D|b"]);
}

#[test]
fn a_key_expires_after_its_time_to_live() {
    for (budget, search) in [(usize::MAX, false), (usize::MAX, true), (1, false), (1, true)] {
        let plan = plan(vec![0], &["count"], Some(100));
        let mut world = world(&plan, budget, 1);
        world.batch(&batch_of(&[(Insert, Some("a"), 1), (Insert, Some("b"), 1)], &plan));
        world.now = 60;
        world.batch(&batch_of(&[(Insert, Some("a"), 1)], &plan));
        world.restart(2);
        world.now = 120;
        if search {
            (0..20).for_each(|step| world.time(120 + step));
            world.barrier();
            assert_eq!(world.state_entries(), 1, "only a is left");
        }
        world.batch(&batch_of(&[(Insert, Some("a"), 1), (Insert, Some("b"), 1)], &plan));
        let mut changes = changelog(&mut world);
        changes.sort();
        assert_eq!(changes, ["+I|a|1", "+I|b|1", "+I|b|1", "+U|a|2", "+U|a|3", "-U|a|1", "-U|a|2"]);
    }
}

#[test]
fn gathered_changes_are_told_by_their_net_effect() {
    let plan = GroupAggregate {
        mini_batch: Some(MiniBatch { rows_max: 5, latency_ms: Some(100) }),
        ..plan(vec![0], &["count"], None)
    };
    let mut world = world(&plan, usize::MAX, 1);
    world.batch(&batch_of(&[(Insert, Some("a"), 1), (Insert, Some("b"), 1)], &plan));
    world.batch(&batch_of(&[(Insert, Some("a"), 1), (Delete, Some("b"), 1)], &plan));
    assert_eq!(changelog(&mut world), [""; 0], "nothing is due");
    world.batch(&batch_of(&[(Insert, Some("a"), 1)], &plan));
    assert_eq!(changelog(&mut world), ["+I|a|3"], "the fifth row makes them due; b came and went");
    world.batch(&batch_of(&[(Insert, Some("a"), 1)], &plan));
    world.time(99);
    assert_eq!(changelog(&mut world), [""; 0]);
    world.time(100);
    assert_eq!(changelog(&mut world), ["-U|a|3", "+U|a|4"]);
    world.batch(&batch_of(&[(Insert, Some("c"), 1)], &plan));
    world.restart(2);
    assert_eq!(changelog(&mut world), ["+I|c|1"]);
    world.batch(&batch_of(&[(Delete, Some("c"), 1)], &plan));
    world.end();
    assert_eq!(changelog(&mut world), ["-D|c|1"]);
}

#[test]
fn the_folded_changelog_agrees_with_the_twin_whatever_happens_on_the_way() {
    const KEYS: [Option<&str>; 5] = [None, Some("a"), Some("b"), Some("cc"), Some("dddd")];
    let mut spilled = 0;
    for seed in 0..150 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let retracts = seed % 2 == 0;
        let names: &[&str] = if retracts { &["count", "sum"] } else { &["count", "sum", "max"] };
        let mini_batch = (seed % 4 == 3).then_some(MiniBatch { rows_max: 12, latency_ms: None });
        let plan = plan(if seed % 5 == 0 { vec![] } else { vec![0] }, names, None);
        let plan = GroupAggregate { mini_batch, ..plan };
        let mut world = world(&plan, [usize::MAX, 1, 2_000][seed as usize % 3], 1);
        let (mut table, mut live) = (BTreeSet::new(), Vec::<Row>::new());
        for _ in 0..rng.random_range(1..30) {
            let mut rows = Vec::new();
            for _ in 0..rng.random_range(1..10) {
                if retracts && !live.is_empty() && rng.random_bool(0.4) {
                    let row = live.swap_remove(rng.random_range(0..live.len()));
                    rows.push((if rng.random_bool(0.5) { Delete } else { UpdateBefore }, row.1, row.2));
                } else {
                    let row = (Insert, KEYS[rng.random_range(0..KEYS.len())], rng.random_range(-9..9));
                    live.push(row);
                    rows.push((if retracts && rng.random_bool(0.5) { UpdateAfter } else { Insert }, row.1, row.2));
                }
            }
            world.batch(&batch_of(&rows, &plan));
            match rng.random_range(0..6) {
                0 => world.barrier(),
                1 => (0..3).for_each(|_| world.restart(rng.random_range(1..4))),
                _ => {}
            }
            if mini_batch.is_some() {
                // What is gathered is told at the latest with a checkpoint.
                world.barrier();
            }
            fold(&mut table, changelog(&mut world));
            assert_eq!(table, twin(&live, &plan), "seed {seed}");
        }
        spilled += world.spilled_total();
    }
    assert!(spilled > 100, "the small budgets were felt: {spilled}");
}

fn twin(rows: &[Row], plan: &GroupAggregate) -> BTreeSet<String> {
    let mut groups: BTreeMap<Option<&str>, Vec<i64>> = BTreeMap::new();
    for (_, key, value) in rows {
        groups.entry(key.filter(|_| !plan.keys.is_empty())).or_default().push(*value);
    }
    let line = |(key, values): (Option<&str>, Vec<i64>)| {
        let mut cells = vec![values.len() as i64, values.iter().sum()];
        cells.extend(values.iter().max().filter(|_| plan.aggregates.len() > 2));
        let cells = cells.iter().map(i64::to_string);
        let keys = plan.keys.iter().map(|_| key.unwrap_or("NULL").to_string());
        keys.chain(cells).collect::<Vec<_>>().join("|")
    };
    groups.into_iter().map(line).collect()
}

#[test]
fn keys_leave_memory_some_at_a_time_and_those_in_use_stay() {
    const NEW: i64 = 100;
    const HOT: i64 = 50;
    let plan = plan(vec![1], &["count"], None);
    // For some 2,000 keys.
    let budget = 200_000;
    let mut world = world(&plan, budget, 1);
    let (mut spilled_once, mut fullest) = (0, 0);
    for batch in 0..200 {
        let (reads, spilled) = (world.state_reads(), world.spilled_total());
        let keys = (0..HOT).chain(HOT + batch * NEW..HOT + (batch + 1) * NEW);
        let rows: Vec<Row> = keys.map(|key| (RowKind::Insert, None, key)).collect();
        world.batch(&batch_of(&rows, &plan));
        let read = world.state_reads() - reads;
        assert_eq!(
            read as i64,
            if batch == 0 { NEW + HOT } else { NEW },
            "only keys that are new are read, batch {batch}"
        );
        spilled_once = spilled_once.max(world.spilled_total() - spilled);
        fullest = fullest.max(world.cache_bytes());
        if batch % 10 == 0 {
            world.barrier();
        }
    }
    world.barrier();
    assert!(world.spilled_total() > 15_000 && spilled_once as i64 <= 2 * (NEW + HOT), "{spilled_once} at once");
    assert!(fullest < 2 * budget, "{fullest} bytes");
    assert_eq!(world.state_entries() as i64, HOT + 200 * NEW);
    world.take_output();
    let again: Vec<Row> = (HOT..HOT + 200 * NEW).map(|key| (RowKind::Insert, None, key)).collect();
    world.batch(&batch_of(&again, &plan));
    let counts: BTreeSet<String> =
        changelog(&mut world).iter().map(|line| line.rsplit('|').next().unwrap().to_string()).collect();
    assert_eq!(counts, BTreeSet::from(["1".to_string(), "2".to_string()]), "each is updated from 1 to 2");
}
