//! The first phase of an aggregation without a window: partial aggregates of each batch, to send less through the exchange
//! and to do on every instance what the owner of a frequent key would do alone.
//!
//! Nothing is kept between batches. Where the keys of a batch are nearly all different there is nothing to gain, and
//! each row goes on as the partial that it is.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::GroupAggregate;
use crate::aggregate::AggregateSet;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext};
use crate::operators::key_table::KeyColumns;
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::{Batch, Result};

/// A partial must stand for so many rows on average to be worth its making.
const ROWS_PER_PARTIAL_MIN: usize = 2;

/// Batches that go on row by row before keys are looked at again: a look costs about as much as a partial saves.
const BATCHES_UNGROUPED: usize = 15;

pub struct LocalGroupOperator {
    /// Key columns of the input.
    columns: Vec<usize>,
    keys: KeyColumns,
    calls: NarrowCalls,
    /// Batches that are still to go on row by row.
    ungrouped: usize,
    schema: SchemaRef,
}

impl LocalGroupOperator {
    pub fn new(plan: &GroupAggregate, schema: &SchemaRef) -> Result<Self> {
        Ok(Self {
            columns: plan.keys.clone(),
            keys: KeyColumns::new(&plan.keys, &plan.input)?,
            calls: NarrowCalls::new(&plan.aggregates),
            ungrouped: 0,
            schema: schema.clone(),
        })
    }

    /// One partial per key.
    fn grouped(&mut self, batch: &Batch) -> Result<RecordBatch> {
        let mut groups = self.calls.keyed()?;
        let slots = groups.slots_of(&self.keys.encode(batch.rows())?, 0..batch.num_rows());
        apply(&mut groups.values, &slots, batch, &self.calls.project(batch.rows())?)?;
        if groups.len() * ROWS_PER_PARTIAL_MIN > batch.num_rows() && !self.columns.is_empty() {
            self.ungrouped = BATCHES_UNGROUPED;
        }
        self.partials(self.keys.decode(groups.keys.keys())?, row_counts(groups.len(), &slots, batch), &groups.values)
    }

    /// One partial per row.
    fn row_by_row(&self, batch: &Batch) -> Result<RecordBatch> {
        let slots: Vec<u32> = (0..batch.num_rows() as u32).collect();
        let mut values = self.calls.accumulators()?;
        values.resize(slots.len());
        apply(&mut values, &slots, batch, &self.calls.project(batch.rows())?)?;
        let keys = self.columns.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        self.partials(keys, row_counts(slots.len(), &slots, batch), &values)
    }

    fn partials(&self, mut columns: Vec<ArrayRef>, rows: Vec<i64>, values: &AggregateSet) -> Result<RecordBatch> {
        let slots: Vec<u32> = (0..rows.len() as u32).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        columns.push(Arc::new(Int64Array::from(rows)));
        columns.extend(values.state_columns(&slots)?);
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

/// Adds the rows of a batch to their groups, or takes them back, as their kinds say: all additions go before all
/// retractions, so that what is taken back within the batch is there by then. `columns` are those that the calls read.
pub fn apply(values: &mut AggregateSet, slots: &[u32], batch: &Batch, columns: &RecordBatch) -> Result<()> {
    if batch.kinds().is_none() {
        return values.update(slots, columns);
    }
    for retractions in [false, true] {
        let numbers = 0..batch.num_rows() as u32;
        let numbers = numbers.filter(|row| batch.kind(*row as usize).is_retraction() == retractions);
        let numbers: arrow::array::UInt32Array = numbers.collect::<Vec<u32>>().into();
        // A stream that only adds may say so row by row; its aggregates need not know how to take back.
        if numbers.is_empty() {
            continue;
        }
        let slots: Vec<u32> = numbers.values().iter().map(|row| slots[*row as usize]).collect();
        let part = match columns.num_columns() {
            0 => columns.slice(0, slots.len()),
            _ => arrow::compute::take_record_batch(columns, &numbers)?,
        };
        match retractions {
            true => values.retract(&slots, &part)?,
            false => values.update(&slots, &part)?,
        }
    }
    Ok(())
}

/// Rows added less rows taken back, per group.
fn row_counts(groups: usize, slots: &[u32], batch: &Batch) -> Vec<i64> {
    let mut counts = vec![0; groups];
    for (row, slot) in slots.iter().enumerate() {
        counts[*slot as usize] += if batch.kind(row).is_retraction() { -1 } else { 1 };
    }
    counts
}

impl Operator for LocalGroupOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        _ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let partials = match self.ungrouped.checked_sub(1) {
            Some(left) => {
                self.ungrouped = left;
                self.row_by_row(&batch)?
            }
            None => self.grouped(&batch)?,
        };
        out.emit(MAIN_PORT, Batch::new(partials).with_read_at(batch.read_at()))
    }
}
