//! Keeps a table by key and gives it as a whole at each barrier before which it changed: for sinks that replace what
//! they wrote.
//!
//! One instance. A barrier after a change costs a scan of the whole table; between barriers a row costs one write.

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::key_table::KeyColumns;
use super::row_codec::RowCodec;
use crate::batch::RowKind;
use crate::keys::KeyGroup;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::{Batch, Epoch, Result};

/// Takes upserts and appends: the last row of a key counts, `-D` and `-U` take it away.
#[derive(Clone)]
pub struct TableSnapshot {
    /// The primary key, as indices into the rows.
    pub keys: Vec<usize>,
    pub schema: SchemaRef,
}

impl OperatorFactory for TableSnapshot {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(SnapshotOperator {
            keys: KeyColumns::new(&self.keys, &self.schema)?,
            rows: RowCodec::new(&self.schema)?,
            changed: None,
        }))
    }
}

struct SnapshotOperator {
    keys: KeyColumns,
    rows: RowCodec,
    /// A row that changed since the last barrier. Nothing has to be kept over a restart: the barrier that a job is
    /// restored from has given all changes before it.
    changed: Option<RecordBatch>,
}

impl Operator for SnapshotOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let keys = self.keys.encode(batch.rows())?;
        let rows = self.rows.encode(batch.rows())?;
        for row in 0..batch.num_rows() {
            let group = KeyGroup::of(keys.hash(row), ctx.key_groups.max_parallelism);
            if batch.kind(row).is_retraction() {
                ctx.state.delete(group, keys.key(row))?;
            } else {
                ctx.state.put(group, keys.key(row), rows.row(row))?;
            }
        }
        // A slice would keep the whole batch alive, so one row is copied.
        let last = batch.rows().slice(batch.num_rows() - 1, 1);
        self.changed = Some(arrow::compute::concat_batches(&last.schema(), [&last])?);
        Ok(())
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let Some(changed) = self.changed.take() else { return Ok(()) };
        let mut given = 0;
        for group in ctx.key_groups.groups() {
            given += self.give(KeyGroup(group), ctx, out)?;
        }
        if given > 0 {
            return Ok(());
        }
        let kinds = Int8Array::from(vec![RowKind::Delete as i8]);
        out.emit(MAIN_PORT, Batch::with_kinds(changed, kinds))
    }
}

impl SnapshotOperator {
    /// Gives the rows of a key group, a batch at a time; their number.
    fn give(&self, group: KeyGroup, ctx: &OperatorContext, out: &mut dyn Collector) -> Result<usize> {
        let mut rows: Vec<Vec<u8>> = Vec::new();
        let mut given = 0;
        ctx.state.scan(group, &[], &mut |_, row| {
            rows.push(row.to_vec());
            if rows.len() >= ctx.batch_rows.max(1) {
                given += rows.len();
                self.emit(&mut rows, out)?;
            }
            Ok(true)
        })?;
        given += rows.len();
        self.emit(&mut rows, out)?;
        Ok(given)
    }

    fn emit(&self, rows: &mut Vec<Vec<u8>>, out: &mut dyn Collector) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let batch = self.rows.decode(rows.iter().map(Vec::as_slice))?;
        rows.clear();
        out.emit(MAIN_PORT, Batch::new(batch))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::testing::World;
    use super::*;

    fn batch(changes: &[(i64, i8)], schema: &SchemaRef) -> Batch {
        let keys = Int64Array::from_iter_values(changes.iter().map(|(key, _)| *key));
        let texts = StringArray::from_iter_values((0..changes.len()).map(|row| format!("v{row}")));
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(keys), Arc::new(texts)]).unwrap();
        Batch::with_kinds(rows, Int8Array::from_iter_values(changes.iter().map(|(_, kind)| *kind)))
    }

    /// What a barrier gave: the rows, or whether the table is said to be empty.
    fn table_of(batches: &[(usize, Batch)]) -> (BTreeMap<i64, String>, bool) {
        let mut table = BTreeMap::new();
        let mut empty = false;
        for (_, batch) in batches {
            empty |= batch.kinds().is_some();
            let keys = batch.column(0).as_primitive::<Int64Type>();
            let texts = batch.column(1).as_string::<i32>();
            let rows = (0..batch.num_rows()).filter(|_| batch.kinds().is_none());
            table.extend(rows.map(|row| (keys.value(row), texts.value(row).to_string())));
        }
        (table, empty)
    }

    #[test]
    fn a_barrier_gives_the_table_as_it_is_and_only_if_it_changed() {
        let fields = vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Utf8, true)];
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let factory = TableSnapshot { keys: vec![0], schema: schema.clone() };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut world = World::new(&factory, &[0], &schema, 1 << 20, 1);
        let mut twin = BTreeMap::new();
        for _ in 0..200 {
            let count = rng.random_range(0..6);
            let changes: Vec<(i64, i8)> =
                (0..count).map(|_| (rng.random_range(0..5), [0, 2, 3, 3][rng.random_range(0..4)])).collect();
            for (row, (key, kind)) in changes.iter().enumerate() {
                if *kind == 3 { drop(twin.remove(key)) } else { drop(twin.insert(*key, format!("v{row}"))) }
            }
            world.out.batches.clear();
            if count > 0 {
                world.batch(&batch(&changes, &schema));
            }
            world.barrier();
            let (table, empty) = table_of(&world.out.batches);
            if count == 0 {
                assert!(world.out.batches.is_empty(), "nothing changed");
            } else {
                assert_eq!((&table, empty), (&twin, twin.is_empty()));
            }
            if rng.random_bool(0.2) {
                (0..3).for_each(|_| world.restart(1));
            }
        }
    }
}
