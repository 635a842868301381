//! Normalization against a twin that keeps a map of rows; the changelog is folded to a table to compare.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::operators::testing::{World, rows_as_text};

type Row = (RowKind, i64, Option<&'static str>);

use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

fn plan(ttl_ms: Option<i64>) -> ChangelogNormalize {
    let input =
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]));
    ChangelogNormalize { keys: vec![0], ttl_ms, input: input.clone(), schema: input }
}

fn batch_of(rows: &[Row], plan: &ChangelogNormalize) -> Batch {
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    let names: StringArray = rows.iter().map(|row| row.2).collect();
    let batch = RecordBatch::try_new(plan.input.clone(), vec![Arc::new(ids), Arc::new(names)]).unwrap();
    Batch::with_kinds(batch, rows.iter().map(|row| row.0 as i8).collect::<Vec<i8>>().into())
}

fn changelog(world: &mut World) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, batch) in world.take_output() {
        let rows = rows_as_text(batch.rows());
        lines.extend(rows.iter().enumerate().map(|(row, text)| format!("{}|{text}", batch.kind(row).symbol())));
    }
    lines
}

fn world(plan: &ChangelogNormalize) -> World<'_> {
    World::new(plan, &plan.keys, &plan.input, usize::MAX, 1)
}

#[test]
fn upserts_become_changes_with_their_old_rows() {
    let plan = plan(None);
    let mut world = world(&plan);
    world.batch(&batch_of(&[(Insert, 1, Some("a")), (UpdateAfter, 1, Some("b")), (Insert, 2, Some("c"))], &plan));
    world.restart(2);
    world.batch(&batch_of(&[(UpdateAfter, 1, Some("b")), (Delete, 2, None), (Delete, 9, None)], &plan));
    assert_eq!(changelog(&mut world), ["+I|1|a", "-U|1|a", "+U|1|b", "+I|2|c", "-D|2|c"]);
    assert_eq!(world.state_entries(), 1);
}

#[test]
fn a_row_is_stamped_with_the_watermark_of_its_cause() {
    let plan = plan(None);
    let mut world = world(&plan);
    let batch = batch_of(&[(Insert, 1, Some("a")), (Insert, 1, Some("b"))], &plan);
    world.batch(&batch.with_watermarks(Int64Array::from(vec![3, 8])));
    let (_, output) = world.take_output().remove(0).unwrap();
    assert_eq!(output.watermarks().unwrap().values(), &[3, 8, 8]);
}

#[test]
fn a_key_that_is_not_used_is_forgotten() {
    let plan = plan(Some(100));
    let mut world = world(&plan);
    world.batch(&batch_of(&[(Insert, 1, Some("a")), (Insert, 2, Some("b"))], &plan));
    world.now = 60;
    world.batch(&batch_of(&[(Insert, 1, Some("a"))], &plan));
    (0..20).for_each(|step| world.time(120 + step));
    assert_eq!(world.state_entries(), 1, "only the first is left");
    world.batch(&batch_of(&[(Insert, 1, Some("c")), (Insert, 2, Some("d"))], &plan));
    assert_eq!(changelog(&mut world), ["+I|1|a", "+I|2|b", "-U|1|a", "+U|1|c", "+I|2|d"]);
}

#[test]
fn the_table_agrees_with_the_twin_whatever_happens_on_the_way() {
    const NAMES: [Option<&str>; 4] = [None, Some(""), Some("a"), Some("bb")];
    for seed in 0..150 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let plan = plan(None);
        let mut world = world(&plan);
        let mut twin: BTreeMap<i64, Option<&str>> = BTreeMap::new();
        let mut table: BTreeMap<String, i64> = BTreeMap::new();
        for _ in 0..rng.random_range(1..30) {
            let mut rows: Vec<Row> = Vec::new();
            for _ in 0..rng.random_range(1..10) {
                let (id, name) = (rng.random_range(0..6), NAMES[rng.random_range(0..4)]);
                let kind = [Insert, UpdateAfter, Delete, UpdateBefore][rng.random_range(0..4)];
                // A delete need not know the row.
                rows.push((kind, id, name));
                if kind.is_retraction() {
                    twin.remove(&id)
                } else {
                    twin.insert(id, name)
                };
            }
            world.batch(&batch_of(&rows, &plan));
            match rng.random_range(0..6) {
                0 => world.barrier(),
                1 => (0..3).for_each(|_| world.restart(rng.random_range(1..4))),
                _ => {}
            }
            fold(&mut table, changelog(&mut world));
            let expected = twin.iter().map(|(id, name)| (format!("{id}|{}", name.unwrap_or("NULL")), 1)).collect();
            assert_eq!(table, expected, "seed {seed}");
        }
    }
}

fn fold(table: &mut BTreeMap<String, i64>, changes: Vec<String>) {
    for change in changes {
        let (kind, row) = change.split_once('|').unwrap();
        if matches!(kind, "+I" | "+U") {
            assert!(table.insert(row.into(), 1).is_none(), "{change} is there already");
        } else {
            assert!(table.remove(row).is_some(), "{change} is not there");
        }
    }
}
