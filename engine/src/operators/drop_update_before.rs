//! Turns a changelog into upserts by key: `-U` is left out, since the row that follows replaces the old one.
//!
//! An update may be half of one (a filter took its `+U`, or the row moved to another key, or the `+U` stands in the next
//! batch): a `-U` that is the last change of its key in a batch becomes `-D`, so that nothing stays that should go.

use arrow::array::{BooleanArray, Int8Array};
use arrow::datatypes::SchemaRef;

use super::key_table::{KeyColumns, KeyTable};
use crate::batch::RowKind;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::{Batch, Result};

/// Input and output have the same columns.
#[derive(Clone)]
pub struct DropUpdateBefore {
    /// The key that the sink upserts by, as indices into the input.
    pub keys: Vec<usize>,
    pub input: SchemaRef,
}

impl OperatorFactory for DropUpdateBefore {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(DropOperator { keys: KeyColumns::new(&self.keys, &self.input)? }))
    }
}

struct DropOperator {
    keys: KeyColumns,
}

impl Operator for DropOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        _ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let has_old_rows = |kinds: &Int8Array| kinds.values().contains(&(RowKind::UpdateBefore as i8));
        if !batch.kinds().is_some_and(has_old_rows) {
            return out.emit(MAIN_PORT, batch);
        }
        let last = self.last_of_keys(&batch)?;
        let kept = |row: usize| batch.kind(row) != RowKind::UpdateBefore || last[row];
        let keep: Vec<bool> = (0..batch.num_rows()).map(kept).collect();
        let output = batch.filter(&BooleanArray::from(keep))?;
        if output.is_empty() { Ok(()) } else { out.emit(MAIN_PORT, with_deletes(&output)) }
    }
}

impl DropOperator {
    /// For each row, whether it is the last of its key.
    fn last_of_keys(&self, batch: &Batch) -> Result<Vec<bool>> {
        let keys = self.keys.encode(batch.rows())?;
        let mut table = KeyTable::default();
        let mut last: Vec<usize> = Vec::new();
        for row in 0..batch.num_rows() {
            let slot = table.intern(keys.hash(row), keys.key(row)) as usize;
            last.resize(table.len(), row);
            last[slot] = row;
        }
        let mut is_last = vec![false; batch.num_rows()];
        last.into_iter().for_each(|row| is_last[row] = true);
        Ok(is_last)
    }
}

/// Every `-U` as `-D`.
fn with_deletes(batch: &Batch) -> Batch {
    let kind = |row: usize| match batch.kind(row) {
        RowKind::UpdateBefore => RowKind::Delete as i8,
        other => other as i8,
    };
    let kinds = Int8Array::from_iter_values((0..batch.num_rows()).map(kind));
    batch.replace_kinds(kinds)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::operators::testing::{IdChange, World, give_changes, id_and_value};

    fn plan() -> DropUpdateBefore {
        DropUpdateBefore { keys: vec![0], input: id_and_value() }
    }

    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

    #[test]
    fn half_an_update_becomes_a_delete() {
        let plan = plan();
        let mut world = World::new(&plan, &[], &plan.input, usize::MAX, 1);
        let changes = [(UpdateBefore, 1, 5), (UpdateAfter, 1, 6), (UpdateBefore, 2, 5), (Insert, 3, 7)];
        assert_eq!(give_changes(&mut world, &changes), [(UpdateAfter, 1, 6), (Delete, 2, 5), (Insert, 3, 7)]);
    }

    #[test]
    fn upserts_leave_the_table_that_the_changes_describe_wherever_batches_end() {
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let plan = plan();
            let mut world = World::new(&plan, &[], &plan.input, usize::MAX, 1);
            let (mut twin, mut table) = (BTreeMap::new(), BTreeMap::new());
            let mut changes: Vec<IdChange> = Vec::new();
            for _ in 0..60 {
                let (id, value) = (rng.random_range(0..4), rng.random_range(0..9));
                match twin.remove(&id) {
                    None => changes.push((Insert, id, value)),
                    Some(old) if rng.random_bool(0.3) => {
                        changes.push((if rng.random_bool(0.5) { Delete } else { UpdateBefore }, id, old));
                        continue;
                    }
                    Some(old) => changes.extend([(UpdateBefore, id, old), (UpdateAfter, id, value)]),
                }
                twin.insert(id, value);
            }
            while !changes.is_empty() {
                let batch: Vec<IdChange> = changes.drain(..rng.random_range(1..=changes.len().min(9))).collect();
                for (kind, id, value) in give_changes(&mut world, &batch) {
                    assert_ne!(kind, UpdateBefore, "seed {seed}");
                    if kind == Delete {
                        table.remove(&id)
                    } else {
                        table.insert(id, value)
                    };
                }
            }
            assert_eq!(table, twin, "seed {seed}");
        }
    }
}
