//! LIMIT without an order: the first rows that come, and no others. Runs as one instance.

use arrow::datatypes::SchemaRef;

use super::note::{NoteReader, NoteWriter};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::{Batch, Epoch, Result};

#[derive(Clone)]
pub struct Limit {
    /// So many of the first rows are left out.
    pub skip: u64,
    /// So many are given at most.
    pub fetch: Option<u64>,
    pub schema: SchemaRef,
}

impl OperatorFactory for Limit {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(LimitOperator { plan: self.clone(), seen: 0 }))
    }
}

struct LimitOperator {
    plan: Limit,
    /// Rows that came so far.
    seen: u64,
}

impl LimitOperator {
    /// The number of the last row that is given; `None`: they never end.
    fn last(&self) -> Option<u64> {
        self.plan.fetch.map(|fetch| self.plan.skip.saturating_add(fetch))
    }
}

impl Operator for LimitOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        for note in ctx.state.restored_notes() {
            self.seen = self.seen.max(NoteReader::new(note).read()?.max(0) as u64);
        }
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let rows = batch.num_rows() as u64;
        let end = self.last().unwrap_or(u64::MAX);
        let from = self.plan.skip.saturating_sub(self.seen).min(rows);
        let to = end.saturating_sub(self.seen).min(rows);
        self.seen = self.seen.saturating_add(rows);
        let given = to.saturating_sub(from);
        ctx.metrics.filtered.add((rows - given) as usize);
        if given > 0 {
            out.emit(MAIN_PORT, batch.slice(from as usize, given as usize))?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.last().is_some_and(|last| self.seen >= last)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        let mut note = NoteWriter::default();
        note.push(i64::try_from(self.seen).unwrap_or(i64::MAX));
        ctx.state.set_note(note.finish());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::operators::testing::World;

    #[test]
    fn the_first_rows_pass_through_restarts() {
        let rows = |from: i64, to: i64| {
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(from..to)) as _)]).unwrap()
        };
        for (skip, fetch, expected) in [(0, Some(3), 0..3), (2, Some(5), 2..7), (8, None, 8..10), (0, Some(0), 0..0)] {
            let plan = Limit { skip, fetch, schema: rows(0, 1).schema() };
            let mut world = World::new(&plan, &[], &plan.schema, usize::MAX, 1);
            for (from, to) in [(0, 1), (1, 6), (6, 8), (8, 10)] {
                world.batch(&Batch::new(rows(from, to)));
                world.restart(1);
            }
            let expected: Vec<String> = expected.map(|n| n.to_string()).collect();
            assert_eq!(world.rows(MAIN_PORT), expected);
        }
    }

    /// The rows that come are numbered one by one.
    fn twin(rows: &[i64], skip: u64, fetch: Option<u64>) -> Vec<String> {
        let (mut number, mut given) = (0, Vec::new());
        for row in rows {
            number += 1;
            if number > skip && fetch.is_none_or(|fetch| number - skip <= fetch) {
                given.push(row.to_string());
            }
        }
        given
    }

    #[test]
    fn what_is_given_does_not_depend_on_batches_or_restarts() {
        for seed in 0..300 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (skip, fetch) = (rng.random_range(0..20), rng.random_bool(0.8).then(|| rng.random_range(0..40)));
            let values: Vec<i64> = (0..rng.random_range(0..80)).map(|_| rng.random_range(0..100)).collect();
            let schema =
                RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![0])) as _)]).unwrap().schema();
            let plan = Limit { skip, fetch, schema: schema.clone() };
            let mut world = World::new(&plan, &[], &plan.schema, usize::MAX, 1);
            let mut rest = values.as_slice();
            while !rest.is_empty() {
                let (batch, others) = rest.split_at(rng.random_range(1..=rest.len().min(25)));
                let column = Arc::new(Int64Array::from(batch.to_vec()));
                world.batch(&Batch::new(RecordBatch::try_new(schema.clone(), vec![column]).unwrap()));
                rest = others;
                match rng.random_range(0..4) {
                    0 => world.barrier(),
                    1 => (0..3).for_each(|_| world.restart(1)),
                    _ => {}
                }
            }
            assert_eq!(world.rows(MAIN_PORT), twin(&values, skip, fetch), "seed {seed}");
        }
    }
}
