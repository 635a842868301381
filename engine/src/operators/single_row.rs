//! Hands on a table that must have one row at most, and fails where it has more: what a scalar subquery gives.

use arrow::datatypes::SchemaRef;

use super::row_error::show_row;
use crate::keys::{KeyGroup, hash_key};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::{Batch, EngineError, Epoch, Result};

/// Where the number of rows is kept.
const COUNT_KEY: &[u8] = b"rows";

/// Runs as one instance. The number of rows is looked at behind each batch, so that an update may give the new row first.
#[derive(Clone)]
pub struct SingleRow {
    pub schema: SchemaRef,
}

impl OperatorFactory for SingleRow {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(SingleRowOperator { count: 0 }))
    }
}

struct SingleRowOperator {
    count: i64,
}

fn group(ctx: &OperatorContext) -> KeyGroup {
    KeyGroup::of(hash_key(&[]), ctx.key_groups.max_parallelism)
}

impl Operator for SingleRowOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        if let Some(stored) = ctx.state.get(group(ctx), COUNT_KEY)? {
            let stored = stored.try_into().map_err(|_| EngineError::State("a number of rows cannot be read".into()))?;
            self.count = i64::from_be_bytes(stored);
        }
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        _ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        for row in 0..batch.num_rows() {
            self.count += if batch.kind(row).is_retraction() { -1 } else { 1 };
        }
        if self.count > 1 {
            let last = (0..batch.num_rows()).rfind(|row| !batch.kind(*row).is_retraction()).unwrap_or_default();
            return Err(EngineError::BadRow {
                operator: "SingleRow".into(),
                reason: "a subquery that stands for one value gave more than one row".into(),
                row: show_row(batch.rows(), last),
                hint: "aggregate its rows, for example with MAX, or compare with IN".into(),
            });
        }
        out.emit(MAIN_PORT, batch)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        let group = group(ctx);
        ctx.state.put(group, COUNT_KEY, &self.count.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::batch::RowKind::{self, Delete, Insert, UpdateAfter, UpdateBefore};
    use crate::metrics::NodeMetrics;
    use crate::operator::{Subtask, VecCollector};
    use crate::operators::testing::{World, give_changes, id_and_value};
    use crate::state::memory::MemoryState;
    use crate::time::{EventTime, ProcessingTime};

    fn batch(rows: &[(RowKind, i64)]) -> Batch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
        let kinds: Vec<i8> = rows.iter().map(|row| row.0 as i8).collect();
        Batch::with_kinds(RecordBatch::try_new(schema, vec![values]).unwrap(), kinds.into())
    }

    fn context(state: MemoryState) -> OperatorContext {
        OperatorContext {
            subtask: Subtask { index: 0, parallelism: 1 },
            key_groups: crate::keys::KeyGroupRange::all(8),
            state: Box::new(state),
            now: ProcessingTime(0),
            watermark: EventTime::MIN,
            input_watermarks: Vec::new(),
            batch_rows: 8,
            cache_budget_bytes: 0,
            metrics: Arc::new(NodeMetrics::default()),
        }
    }

    #[test]
    fn a_row_may_change_but_never_be_two() {
        let mut ctx = context(MemoryState::default());
        let mut out = VecCollector::default();
        let factory = SingleRow { schema: batch(&[]).schema() };
        let mut operator = factory.create().unwrap();
        operator.open(&mut ctx).unwrap();
        let mut give = |operator: &mut Box<dyn Operator>, ctx: &mut OperatorContext, rows: &[(RowKind, i64)]| {
            operator.on_batch(0, batch(rows), ctx, &mut out)
        };
        give(&mut operator, &mut ctx, &[(Insert, 1)]).unwrap();
        give(&mut operator, &mut ctx, &[(UpdateBefore, 1), (UpdateAfter, 2)]).unwrap();
        give(&mut operator, &mut ctx, &[(Insert, 3), (Delete, 2)]).unwrap();
        operator.on_barrier(Epoch(1), &mut ctx, &mut VecCollector::default()).unwrap();
        let mut restarted = factory.create().unwrap();
        restarted.open(&mut ctx).unwrap();
        let error = give(&mut restarted, &mut ctx, &[(Insert, 4)]).unwrap_err();
        assert!(error.to_string().contains("more than one row"), "{error}");
        assert!(error.to_string().contains("n=4"), "{error}");
    }

    /// The twin is the row that is there, if any. Each change is handed on as it is, and a second row is never let in.
    #[test]
    fn the_row_that_is_there_is_known_through_restarts() {
        for seed in 0..50 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let plan = SingleRow { schema: id_and_value() };
            let mut world = World::new(&plan, &[], &plan.schema, usize::MAX, 1);
            let mut twin: Option<i64> = None;
            for _ in 0..40 {
                let new = rng.random_range(0..9);
                let changes = match twin {
                    None => vec![(Insert, 1, new)],
                    Some(old) if rng.random_bool(0.4) => vec![(Delete, 1, old)],
                    Some(old) => vec![(UpdateBefore, 1, old), (UpdateAfter, 1, new)],
                };
                assert_eq!(give_changes(&mut world, &changes), changes, "seed {seed}");
                twin = Some(new).filter(|_| changes[0].0 != Delete);
                if rng.random_bool(0.2) {
                    (0..3).for_each(|_| world.restart(1));
                }
            }
        }
    }
}
