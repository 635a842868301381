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
        let end = self.plan.fetch.map_or(u64::MAX, |fetch| self.plan.skip.saturating_add(fetch));
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
}
