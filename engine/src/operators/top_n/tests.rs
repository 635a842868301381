//! Top-N against a twin that sorts all live rows anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use expect_test::expect;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::batch::RowKind;
use crate::batch::RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
use crate::operator::MAIN_PORT;
use crate::operators::testing::{World, rows_as_text};

/// Key, value to order by, number.
type Row = (Option<&'static str>, Option<i64>, i64);

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Int64, true),
        Field::new("number", DataType::Int64, true),
        Field::new("wanted", DataType::Int64, false),
    ]))
}

/// What the column `wanted` has in the rows of this key.
fn wanted(key: Option<&str>) -> u64 {
    3 + key.map_or(0, |key| key.len() as u64)
}

fn plan(function: RankFunction, from: u64, to: u64, with_rank: bool, updated: bool) -> TopN {
    let mut fields: Vec<_> = input().fields().iter().take(3).cloned().collect();
    if with_rank {
        fields.push(Arc::new(Field::new("rank", DataType::Int64, false)));
    }
    TopN {
        keys: vec![0],
        order: Order::Columns(vec![SortColumn { column: 1, descending: true, nulls_first: false }]),
        function,
        range: RankRange { from, to },
        bound: None,
        kept: vec![0, 1, 2],
        with_rank,
        updated,
        emission: Emission::Changes,
        ttl_ms: None,
        input: input(),
        schema: Arc::new(Schema::new(fields)),
    }
}

fn world(plan: &TopN, budget_bytes: usize) -> World<'_> {
    World::new(plan, &plan.keys, &plan.input, budget_bytes, 1)
}

fn batch_of(rows: &[(RowKind, Row)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter(rows.iter().map(|(_, row)| row.0))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|(_, row)| row.1))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, row)| row.2))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, row)| wanted(row.0) as i64))),
    ];
    let kinds = Int8Array::from_iter_values(rows.iter().map(|(kind, _)| *kind as i8));
    Batch::with_kinds(RecordBatch::try_new(input(), columns).unwrap(), kinds)
}

fn changelog(world: &mut World<'_>) -> Vec<String> {
    let batches = world.take_output().into_iter().filter(|(port, _)| *port == MAIN_PORT);
    let lines = |batch: &Batch| {
        let rows = rows_as_text(batch.rows()).into_iter().enumerate();
        rows.map(|(row, text)| format!("{}|{text}", batch.kind(row).symbol())).collect::<Vec<_>>()
    };
    batches.flat_map(|(_, batch)| lines(&batch)).collect()
}

/// Applies changes to a table that may have equal rows; a row that is taken back must be there.
fn fold(table: &mut BTreeMap<String, usize>, changes: Vec<String>, context: &str) {
    for change in changes {
        let (kind, row) = change.split_once('|').unwrap();
        let count = table.entry(row.to_owned()).or_default();
        match kind {
            "+I" | "+U" => *count += 1,
            _ => *count = count.checked_sub(1).unwrap_or_else(|| panic!("{context}: {row} was never there")),
        }
        table.retain(|_, count| *count > 0);
    }
}

fn twin(rows: &[Row], plan: &TopN) -> BTreeMap<String, usize> {
    let mut partitions: BTreeMap<Option<&str>, Vec<Row>> = BTreeMap::new();
    rows.iter().for_each(|row| partitions.entry(row.0.filter(|_| !plan.keys.is_empty())).or_default().push(*row));
    let mut table = BTreeMap::new();
    for mut rows in partitions.into_values() {
        rows.sort_by_key(|row| (std::cmp::Reverse(row.1), row.0, row.2));
        for (position, row) in rows.iter().enumerate() {
            let before = rows.iter().filter(|other| other.1 > row.1);
            let rank = match plan.function {
                RankFunction::RowNumber => position + 1,
                RankFunction::Rank => before.count() + 1,
                RankFunction::DenseRank => before.map(|other| other.1).collect::<BTreeSet<_>>().len() + 1,
            };
            let is_wanted = plan.bound.is_none() || rank as u64 <= wanted(row.0);
            if is_wanted && plan.range.contains(rank as u64) {
                let cell = |value: Option<i64>| value.map_or("NULL".into(), |value: i64| value.to_string());
                let mut text = format!("{}|{}|{}", row.0.unwrap_or("NULL"), cell(row.1), row.2);
                if plan.with_rank {
                    text += &format!("|{rank}");
                }
                *table.entry(text).or_default() += 1;
            }
        }
    }
    table
}

#[test]
fn without_its_number_only_the_rows_that_change_are_told() {
    let plan = plan(RankFunction::RowNumber, 1, 2, false, false);
    let mut world = world(&plan, usize::MAX);
    for (value, number) in [(5, 1), (7, 2), (6, 3), (1, 4)] {
        world.batch(&batch_of(&[(Insert, (Some("a"), Some(value), number))]));
    }
    expect![[r#"
        +I|a|5|1
        +I|a|7|2
        -D|a|5|1
        +I|a|6|3"#]]
    .assert_eq(&changelog(&mut world).join("\n"));
}

#[test]
fn with_its_number_every_row_that_moves_is_told() {
    let plan = plan(RankFunction::RowNumber, 1, 3, true, true);
    let mut world = world(&plan, usize::MAX);
    let row = |value, number| (Some("a"), Some(value), number);
    world.batch(&batch_of(&[(Insert, row(5, 1)), (Insert, row(3, 2)), (Insert, row(1, 3))]));
    world.batch(&batch_of(&[(Insert, row(4, 4))]));
    world.batch(&batch_of(&[(Delete, row(5, 1))]));
    expect![[r#"
        +I|a|5|1|1
        +I|a|3|2|2
        +I|a|1|3|3
        -U|a|3|2|2
        +U|a|4|4|2
        -U|a|1|3|3
        +U|a|3|2|3
        -U|a|5|1|1
        +U|a|4|4|1
        -U|a|4|4|2
        +U|a|3|2|2
        -U|a|3|2|3
        +U|a|1|3|3"#]]
    .assert_eq(&changelog(&mut world).join("\n"));
}

#[test]
fn the_newest_row_replaces_the_one_before() {
    let newest = TopN { order: Order::NewestFirst, ..plan(RankFunction::RowNumber, 1, 1, false, false) };
    let mut world = world(&newest, 1);
    for number in 1..4 {
        world.batch(&batch_of(&[(Insert, (Some("a"), Some(10 - number), number))]));
        world.restart(1);
    }
    expect![[r#"
        +I|a|9|1
        -U|a|9|1
        +U|a|8|2
        -U|a|8|2
        +U|a|7|3"#]]
    .assert_eq(&changelog(&mut world).join("\n"));
}

#[test]
fn at_the_end_the_first_rows_are_given_in_order() {
    for (updated, budget) in [(false, usize::MAX), (false, 1), (true, usize::MAX), (true, 1)] {
        let plan =
            TopN { keys: vec![], emission: Emission::AtEnd, ..plan(RankFunction::RowNumber, 2, 4, false, updated) };
        let mut world = world(&plan, budget);
        for number in 0..20 {
            world.batch(&batch_of(&[(Insert, (Some("a"), Some((number * 7) % 20), number))]));
        }
        if updated {
            world.batch(&batch_of(&[(Delete, (Some("a"), Some(19), 17)), (Delete, (Some("a"), Some(17), 11))]));
        }
        world.restart(1);
        assert!(world.rows(MAIN_PORT).is_empty());
        world.end();
        world.restart(1);
        world.end();
        let expected = if updated { ["a|16|8", "a|15|5", "a|14|2"] } else { ["a|18|14", "a|17|11", "a|16|8"] };
        assert_eq!(world.rows(MAIN_PORT), expected);
        assert_eq!(world.state_entries(), 0);
    }
}

#[test]
fn a_partition_expires_after_its_time_to_live() {
    let forms = [
        (RankFunction::RowNumber, 1, 1, &["+I|b|2|3"][..]),
        (RankFunction::RowNumber, 2, 1, &["-D|a|1|2", "+I|a|2|3", "+I|b|2|3"]),
        // Each row is an entry here, and so is the time of the last.
        (RankFunction::Rank, 2, 3, &["-D|a|1|2", "+I|a|2|3", "+I|b|2|3"]),
    ];
    for ((function, to, entries, expected), budget, search) in forms
        .into_iter()
        .flat_map(|form| [(form, usize::MAX, false), (form, usize::MAX, true), (form, 1, false), (form, 1, true)])
    {
        let plan = TopN { ttl_ms: Some(100), ..plan(function, 1, to, false, false) };
        let mut world = world(&plan, budget);
        let rows = [(Insert, (Some("a"), Some(9), 1)), (Insert, (Some("b"), Some(9), 1))];
        world.batch(&batch_of(&rows));
        world.now = 60;
        world.batch(&batch_of(&[(Insert, (Some("a"), Some(1), 2))]));
        world.restart(2);
        if search {
            (0..20).for_each(|step| world.time(120 + step));
            assert_eq!(world.state_entries(), entries, "only a is left");
        }
        world.now = 140;
        changelog(&mut world);
        world.batch(&batch_of(&[(Insert, (Some("a"), Some(2), 3)), (Insert, (Some("b"), Some(2), 3))]));
        // Instances give theirs one after the other.
        let mut changes = changelog(&mut world);
        changes.sort_by_key(|change| change.contains("b"));
        assert_eq!(changes, expected);
    }
}

#[test]
fn the_folded_changelog_agrees_with_the_twin_whatever_happens_on_the_way() {
    const KEYS: [Option<&str>; 4] = [None, Some("a"), Some("bb"), Some("ccc")];
    let mut spilled = 0;
    for seed in 0..400 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let function = [RankFunction::RowNumber, RankFunction::Rank, RankFunction::DenseRank][rng.random_range(0..3)];
        let from = if rng.random_bool(0.6) { 1 } else { rng.random_range(1..4) };
        let updated = seed % 2 == 0;
        let mut plan = plan(function, from, from + rng.random_range(0..4), rng.random_bool(0.5), updated);
        match seed % 5 {
            0 => plan.keys = vec![],
            1 | 2 => {
                plan.bound = Some(3);
                plan.range.to = if rng.random_bool(0.5) { u64::MAX } else { plan.range.to };
            }
            3 if !updated => {
                (plan.function, plan.range) = (RankFunction::RowNumber, RankRange { from: 1, to: 1 });
                assert!(plan.has_one_row());
            }
            _ => {}
        }
        let values = [3, 12][rng.random_range(0..2)];
        let mut world = world(&plan, [usize::MAX, 1, 3_000][seed as usize % 3]);
        let (mut table, mut live) = (BTreeMap::new(), Vec::<Row>::new());
        for _ in 0..rng.random_range(1..25) {
            let mut rows = Vec::new();
            for _ in 0..rng.random_range(1..14) {
                if updated && !live.is_empty() && rng.random_bool(0.45) {
                    let row = live.swap_remove(rng.random_range(0..live.len()));
                    rows.push((if rng.random_bool(0.5) { Delete } else { UpdateBefore }, row));
                } else {
                    let value = rng.random_bool(0.9).then(|| rng.random_range(0..values));
                    let row = (KEYS[rng.random_range(0..KEYS.len())], value, rng.random_range(0..4));
                    live.push(row);
                    rows.push((if updated && rng.random_bool(0.5) { UpdateAfter } else { Insert }, row));
                }
            }
            world.batch(&batch_of(&rows));
            match rng.random_range(0..6) {
                0 => world.barrier(),
                1 => (0..3).for_each(|_| world.restart(rng.random_range(1..4))),
                _ => {}
            }
            fold(&mut table, changelog(&mut world), &format!("seed {seed}"));
            assert_eq!(table, twin(&live, &plan), "seed {seed}");
        }
        spilled += world.spilled_total();
    }
    assert!(spilled > 100, "the small budgets were felt: {spilled}");
}
