//! Top-N: the first rows of each partition by an order, kept up to date as rows come and go.
//!
//! Over appended rows only those in the range are kept, since a row that fell out never comes back. Over an updated
//! input all rows are kept in state, and the first of them in memory. Rows that the order leaves equal are told apart by
//! their columns, so that the answer depends neither on the order of arrival nor on batches.

mod changes;
mod partition;
mod store;
#[cfg(test)]
mod tests;
mod together;
mod top_one;

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, SchemaRef};

use self::changes::Changes;
use self::partition::Limits;
use self::store::{Layout, PartitionStore};
use self::top_one::TopOneOperator;
use super::key_table::KeyColumns;
pub use super::ordering::{RankFunction, RankRange, SortColumn};
use super::ordering::{SortBytes, SortEncoder};
use super::row_codec::RowCodec;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::state::KeyShape;
use crate::time::ProcessingTime;
use crate::{Batch, Epoch, Result};

/// What comes first within a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// By columns; none means that any row may come first.
    Columns(Vec<SortColumn>),
    /// The row that arrived last. Only over appended rows.
    NewestFirst,
}

/// When rows are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emission {
    /// Each change as it comes.
    Changes,
    /// What is in range when the input has ended, in order. Only without partitions.
    AtEnd,
}

/// Output: the kept columns and, where wanted, the rank as BIGINT.
#[derive(Clone)]
pub struct TopN {
    /// PARTITION BY, as indices into `input`; none means one partition.
    pub keys: Vec<usize>,
    pub order: Order,
    pub function: RankFunction,
    pub range: RankRange,
    /// A BIGINT column of the input that bounds the range as well: the same in all rows of a partition, and never below the
    /// range's first.
    pub bound: Option<usize>,
    /// Columns of the input that are kept and given.
    pub kept: Vec<usize>,
    pub with_rank: bool,
    /// The input has rows that take others back.
    pub updated: bool,
    pub emission: Emission,
    /// A partition that had no row for so long (wall time) is forgotten.
    pub ttl_ms: Option<i64>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl TopN {
    /// One row of each partition is ever needed: those that come are compared with it, and none goes.
    fn has_one_row(&self) -> bool {
        let one = RankRange { from: 1, to: 1 };
        let is_first = self.function == RankFunction::RowNumber && self.range == one && self.bound.is_none();
        is_first && !self.updated && self.emission == Emission::Changes
    }

    /// A partition that has few rows is one entry of state, which is written anew with each change.
    fn layout(&self) -> Layout {
        /// With rows of a few hundred bytes that is some kilobytes.
        const TOGETHER_ROWS_MAX: u64 = 32;
        let has_few =
            self.function == RankFunction::RowNumber && self.range.to <= TOGETHER_ROWS_MAX && self.bound.is_none();
        match (self.updated, has_few) {
            (true, _) => Layout::AllRows,
            (false, false) => Layout::RowsInRange,
            (false, true) => Layout::Together,
        }
    }
}

impl OperatorFactory for TopN {
    fn create(&self) -> Result<Box<dyn Operator>> {
        assert!(self.range.from >= 1 && self.range.from <= self.range.to, "an empty range is no Top-N");
        assert!(self.emission == Emission::Changes || self.keys.is_empty(), "only one partition has an end");
        assert!(!self.updated || self.order != Order::NewestFirst, "arrival does not order rows that are taken back");
        let order: &[SortColumn] = match &self.order {
            Order::Columns(columns) => columns,
            Order::NewestFirst => &[],
        };
        let order = SortEncoder::new(order, &self.input)?;
        let rows = RowCodec::new(&Arc::new(self.input.project(&self.kept)?))?;
        if self.has_one_row() {
            return Ok(Box::new(TopOneOperator::new(self, order, rows)?));
        }
        let limits = Limits { function: self.function, range: self.range };
        Ok(Box::new(TopNOperator {
            keys: KeyColumns::new(&self.keys, &self.input)?,
            order,
            rows,
            store: PartitionStore::new(limits, self.layout(), self.ttl_ms),
            changes: Changes::new(self.with_rank),
            plan: self.clone(),
        }))
    }

    fn key_shape(&self) -> KeyShape {
        KeyShape::Framed
    }
}

struct TopNOperator {
    plan: TopN,
    keys: KeyColumns,
    order: SortEncoder,
    rows: RowCodec,
    store: PartitionStore,
    /// Of the batch at hand.
    changes: Changes,
}

impl TopNOperator {
    /// Rows that may enter their partition's range; over an updated input all.
    fn candidates(&self, slots: &[u32], order: &SortBytes) -> Vec<usize> {
        let rows = 0..slots.len();
        if self.plan.updated || self.plan.order == Order::NewestFirst {
            return rows.collect();
        }
        rows.filter(|row| self.store.may_enter(slots[*row], order.of(*row))).collect()
    }
}

impl Operator for TopNOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.store.open(ctx)
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let keys = self.keys.encode(batch.rows())?;
        let bounds = self.plan.bound.map(|column| batch.column(column).as_primitive::<Int64Type>());
        let slots = self.store.slots_of(&keys, batch.num_rows(), bounds, ctx)?;
        let order = self.order.encode(batch.rows())?;
        let candidates = self.candidates(&slots, &order);
        let rows = self.rows.encode_some(&batch.rows().project(&self.plan.kept)?, candidates.iter().copied())?;
        for (row, number) in rows.iter().zip(candidates) {
            let slot = slots[number];
            match (&self.plan.order, batch.kind(number).is_retraction()) {
                (Order::NewestFirst, _) => self.store.insert_newest(slot, row),
                (_, false) => self.store.insert(slot, order.of(number), row, ctx)?,
                (_, true) => self.store.remove(slot, order.of(number), row, ctx)?,
            }
        }
        let emits = self.plan.emission == Emission::Changes;
        self.store.settle(ctx, |partition, limits| {
            if emits {
                self.changes.add(partition, limits);
            }
        })?;
        if !self.changes.is_empty() {
            out.emit(MAIN_PORT, self.changes.take_batch(&self.rows, &self.plan.schema)?)?;
        }
        self.store.keep_to_budget(ctx)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.store.on_barrier(ctx)
    }

    fn work_ahead(&mut self, ctx: &mut OperatorContext) -> Result<bool> {
        self.store.work_ahead(ctx)
    }

    fn on_end(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        if self.plan.emission == Emission::Changes {
            return Ok(());
        }
        self.store.take_only(ctx, |partition, limits| self.changes.add_all(partition, limits))?;
        if !self.changes.is_empty() {
            let rows = self.changes.take_batch(&self.rows, &self.plan.schema)?;
            out.emit(MAIN_PORT, Batch::new(rows.rows().clone()))?;
        }
        Ok(())
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.store.forget_some_expired(ctx)
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        self.store.next_time()
    }
}
