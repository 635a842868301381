//! INTERSECT and EXCEPT of two tables, with ALL and without: how often each side has a row says how often the result
//! has it.

mod counts;
#[cfg(test)]
mod tests;

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use self::counts::RowCounts;
use crate::batch::RowKind;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::operators::key_table::KeyColumns;
use crate::time::ProcessingTime;
use crate::{Batch, Epoch, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    Intersect,
    Except,
}

/// Two inputs, whose rows and those of the output are all of `schema`. Rows are equal when all their columns are; NULL
/// equals NULL. Retractions are `-D`, all other rows `+I`.
#[derive(Clone)]
pub struct SetOperation {
    pub kind: SetKind,
    /// Repeated rows count, and are not one.
    pub all: bool,
    /// A row that did not come for so long (wall time) is forgotten.
    pub ttl_ms: Option<i64>,
    pub schema: SchemaRef,
}

impl SetOperation {
    /// How often the result has a row that the sides have so often.
    fn count(&self, [left, right]: [i64; 2]) -> i64 {
        debug_assert!(left >= 0 && right >= 0, "rows are counted, not owed");
        match (self.kind, self.all) {
            (SetKind::Intersect, true) => left.min(right),
            (SetKind::Intersect, false) => left.min(right).min(1),
            (SetKind::Except, true) => (left - right).max(0),
            (SetKind::Except, false) => i64::from(left > 0 && right == 0),
        }
    }
}

impl OperatorFactory for SetOperation {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        Ok(Box::new(SetOperator {
            plan: self.clone(),
            rows: KeyColumns::new(&all, &self.schema)?,
            counts: RowCounts::new(self.ttl_ms),
        }))
    }
}

struct SetOperator {
    plan: SetOperation,
    /// A row is its own key.
    rows: KeyColumns,
    counts: RowCounts,
}

impl SetOperator {
    /// What changed for the rows of a batch, each with how often it came (or went, below zero).
    fn changelog(&self, changed: &[(u32, i64)]) -> Result<Option<Batch>> {
        let copies = changed.iter().flat_map(|(row, delta)| (0..delta.abs()).map(move |_| (*row, *delta < 0)));
        let copies: Vec<(u32, bool)> = copies.collect();
        if copies.is_empty() {
            return Ok(None);
        }
        let columns = self.rows.decode(copies.iter().map(|(row, _)| self.counts.row(*row)))?;
        let rows = RecordBatch::try_new(self.plan.schema.clone(), columns)?;
        if copies.iter().all(|(_, is_gone)| !is_gone) {
            return Ok(Some(Batch::new(rows)));
        }
        let kind = |is_gone: bool| if is_gone { RowKind::Delete } else { RowKind::Insert };
        let kinds = Int8Array::from_iter_values(copies.iter().map(|(_, is_gone)| kind(*is_gone) as i8));
        Ok(Some(Batch::with_kinds(rows, kinds)))
    }
}

impl Operator for SetOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.counts.open(ctx)
    }

    fn on_batch(
        &mut self,
        input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let keys = self.rows.encode(batch.rows())?;
        let touched = self.counts.touch(&keys, batch.num_rows(), ctx)?;
        let results = |counts: &RowCounts| -> Vec<i64> {
            touched.distinct.iter().map(|row| self.plan.count(counts.sides(*row))).collect()
        };
        let before = results(&self.counts);
        for (row, number) in touched.of_row.iter().enumerate() {
            self.counts.add(*number, input, if batch.kind(row).is_retraction() { -1 } else { 1 });
        }
        self.counts.settle(&touched.distinct);
        let after = results(&self.counts);
        let deltas = before.iter().zip(&after).map(|(before, after)| after - before);
        let changed: Vec<(u32, i64)> = touched.distinct.iter().copied().zip(deltas).collect();
        if let Some(changes) = self.changelog(&changed)? {
            out.emit(MAIN_PORT, changes)?;
        }
        self.counts.keep_to_budget(ctx)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.counts.write_back(ctx)
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.counts.forget_some_expired(ctx)
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        self.counts.next_time()
    }
}
