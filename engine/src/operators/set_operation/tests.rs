//! Set operations against a twin that counts the rows of two lists; changelogs are folded to compare.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::operators::testing::{World, rows_as_text};

type Row = (Option<i64>, &'static str);

fn plan(kind: SetKind, all: bool, ttl_ms: Option<i64>) -> SetOperation {
    let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
    SetOperation { kind, all, ttl_ms, schema: Arc::new(Schema::new(fields)) }
}

fn batch_of(plan: &SetOperation, rows: &[(RowKind, Row)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.1.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.1.1)).collect::<StringArray>()),
    ];
    let kinds: Vec<i8> = rows.iter().map(|row| row.0 as i8).collect();
    Batch::with_kinds(RecordBatch::try_new(plan.schema.clone(), columns).unwrap(), kinds.into())
}

fn fold(table: &mut BTreeMap<String, i64>, world: &mut World) {
    for (_, batch) in world.take_output() {
        for (row, text) in rows_as_text(batch.rows()).into_iter().enumerate() {
            let count = table.entry(text.clone()).or_default();
            *count += if batch.kind(row).is_retraction() { -1 } else { 1 };
            assert!(*count >= 0, "{text} is taken back and is not there");
        }
    }
    table.retain(|_, count| *count > 0);
}

fn twin(plan: &SetOperation, tables: &[Vec<Row>; 2]) -> BTreeMap<String, i64> {
    let mut result = BTreeMap::new();
    for row in &tables[0] {
        let [left, right] = [0, 1].map(|side: usize| tables[side].iter().filter(|one| *one == row).count() as i64);
        let count = match (plan.kind, plan.all) {
            (SetKind::Intersect, true) => {
                if left < right {
                    left
                } else {
                    right
                }
            }
            (SetKind::Intersect, false) => i64::from(right > 0),
            (SetKind::Except, true) => {
                if left > right {
                    left - right
                } else {
                    0
                }
            }
            (SetKind::Except, false) => i64::from(right == 0),
        };
        if count > 0 {
            result.insert(format!("{}|{}", row.0.map_or("NULL".into(), |n| n.to_string()), row.1), count);
        }
    }
    result
}

fn check_random(plan: &SetOperation, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let budget = [usize::MAX, 1, 600][seed as usize % 3];
    let inputs: [(&[usize], &SchemaRef); 2] = [(&[0, 1], &plan.schema); 2];
    let mut world = World::with_inputs(plan, &inputs, budget, 1 + seed as usize % 3);
    let (mut tables, mut result) = ([Vec::new(), Vec::new()], BTreeMap::new());
    for step in 0..40 {
        let side = rng.random_range(0..2);
        let mut changes = Vec::new();
        for _ in 0..rng.random_range(1..6) {
            let table: &mut Vec<Row> = &mut tables[side];
            if !table.is_empty() && rng.random_bool(0.4) {
                changes.push((RowKind::Delete, table.swap_remove(rng.random_range(0..table.len()))));
            } else {
                let row = (rng.random_bool(0.8).then(|| rng.random_range(0..3)), ["a", "b"][rng.random_range(0..2)]);
                table.push(row);
                changes.push((RowKind::Insert, row));
            }
        }
        world.batch_to(side, &batch_of(plan, &changes));
        fold(&mut result, &mut world);
        assert_eq!(result, twin(plan, &tables), "{:?} all={}, seed {seed}, step {step}", plan.kind, plan.all);
        if step % 9 == 8 {
            (0..3).for_each(|_| world.restart(rng.random_range(1..5)));
        }
    }
    world.barrier();
    let left: std::collections::HashSet<_> = tables.iter().flatten().collect();
    assert_eq!(world.state_entries(), left.len(), "one entry per row that is there");
}

#[test]
fn every_operation_agrees_with_the_twin_over_random_changelogs() {
    for kind in [SetKind::Intersect, SetKind::Except] {
        for all in [false, true] {
            (0..24).for_each(|seed| check_random(&plan(kind, all, None), seed));
        }
    }
}

#[test]
fn a_row_is_forgotten_after_its_time_to_live() {
    for budget in [usize::MAX, 1] {
        let plan = plan(SetKind::Except, false, Some(100));
        let inputs: [(&[usize], &SchemaRef); 2] = [(&[0, 1], &plan.schema); 2];
        let mut world = World::with_inputs(&plan, &inputs, budget, 1);
        let row = |n| batch_of(&plan, &[(RowKind::Insert, (Some(n), "a"))]);
        world.batch_to(1, &row(1));
        world.restart(1);
        (0..20).for_each(|step| world.time(100 + step));
        world.batch_to(0, &row(1));
        assert_eq!(world.rows(MAIN_PORT), ["1|a"], "the right side's row is forgotten");
        world.barrier();
        assert_eq!(world.state_entries(), 1);
    }
}
