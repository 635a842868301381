//! Aggregation per key without a window: the result is a table that changes, so the output is a changelog.
//!
//! Each input batch (or several of them, where changes are gathered) changes a key at most once, by the net effect of
//! its rows; what a reader of the changelog ends up with does not depend on how rows were batched.

mod cache;
mod changes;
mod gathered;
#[cfg(test)]
mod large_group_tests;
mod local;
mod stored;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use self::cache::{GroupCache, InputRows};
use self::changes::Changes;
use self::gathered::Gathered;
use self::local::LocalGroupOperator;
use crate::aggregate::AggregateCall;
use crate::aggregate::set::state_fields;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::operators::key_table::KeyColumns;
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::time::ProcessingTime;
use crate::{Batch, Epoch, Result};

/// Output: key columns, aggregates; `+I` for a new key, `-U`/`+U` when its values changed, `-D` when its last row went.
#[derive(Clone)]
pub struct GroupAggregate {
    /// Key columns, as indices into `input`; none means one group.
    pub keys: Vec<usize>,
    /// None means DISTINCT: each key is emitted once.
    pub aggregates: Vec<AggregateCall>,
    /// A key that had no row for so long (wall time) is forgotten.
    pub ttl_ms: Option<i64>,
    /// Gather changes and tell their net effect; `None`: tell those of each batch at once.
    pub mini_batch: Option<MiniBatch>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

/// How long changes are gathered.
#[derive(Debug, Clone, Copy)]
pub struct MiniBatch {
    /// Input rows; with so many the changes are told.
    pub rows_max: usize,
    /// Wall time since the first of them; `None`: until there are enough, or a checkpoint.
    pub latency_ms: Option<i64>,
}

impl GroupAggregate {
    /// The same aggregation split around an exchange by key, which hashes columns `0..keys.len()` of the local schema.
    /// `None` where a partial cannot tell what it takes back: then there is one phase.
    pub fn two_phase(&self, over_updates: bool) -> Option<(LocalGroupAggregate, GlobalGroupAggregate)> {
        if over_updates && !self.aggregates.iter().all(|call| call.factory.merges_retractions()) {
            return None;
        }
        let keys = self.keys.iter().map(|key| self.input.field(*key).clone());
        let rows = Field::new(ROWS_COLUMN, DataType::Int64, false);
        let fields = keys.chain([rows]).chain(state_fields(&self.aggregates));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let global = Self { keys: (0..self.keys.len()).collect(), input: Arc::clone(&schema), ..self.clone() };
        Some((LocalGroupAggregate { complete: self.clone(), schema }, GlobalGroupAggregate { complete: global }))
    }

    fn operator(&self, input: InputRows) -> Result<Box<dyn Operator>> {
        let calls = NarrowCalls::new(&self.aggregates);
        Ok(Box::new(GroupOperator {
            keys: KeyColumns::new(&self.keys, &self.input)?,
            cache: GroupCache::new(calls, self.ttl_ms)?,
            input,
            gathered: Gathered::default(),
            mini_batch: self.mini_batch,
            schema: self.schema.clone(),
        }))
    }
}

/// Column of a partial: rows added less rows taken back.
const ROWS_COLUMN: &str = "rows";

/// First phase: partial aggregates of each batch.
#[derive(Clone)]
pub struct LocalGroupAggregate {
    complete: GroupAggregate,
    /// Key columns, the count of rows, state columns.
    pub schema: SchemaRef,
}

/// Second phase: merges what the local phase gives.
#[derive(Clone)]
pub struct GlobalGroupAggregate {
    complete: GroupAggregate,
}

impl GlobalGroupAggregate {
    pub fn schema(&self) -> &SchemaRef {
        &self.complete.schema
    }

    pub fn key_count(&self) -> usize {
        self.complete.keys.len()
    }
}

impl OperatorFactory for GroupAggregate {
    fn create(&self) -> Result<Box<dyn Operator>> {
        self.operator(InputRows::Rows)
    }
}

impl OperatorFactory for LocalGroupAggregate {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(LocalGroupOperator::new(&self.complete, &self.schema)?))
    }
}

impl OperatorFactory for GlobalGroupAggregate {
    fn create(&self) -> Result<Box<dyn Operator>> {
        self.complete.operator(InputRows::Partials { keys: self.complete.keys.len() })
    }
}

struct GroupOperator {
    keys: KeyColumns,
    cache: GroupCache,
    input: InputRows,
    /// Keys whose changes were not told yet.
    gathered: Gathered,
    mini_batch: Option<MiniBatch>,
    schema: SchemaRef,
}

impl GroupOperator {
    /// Tells what has changed since the last time.
    fn flush(&mut self, out: &mut dyn Collector) -> Result<()> {
        let Some((slots, before)) = self.gathered.take()? else { return Ok(()) };
        let after = self.cache.results(&slots)?;
        let changes = Changes::between(&before, &after)?;
        if changes.is_empty() {
            return Ok(());
        }
        let keys = changes.positions().map(|position| self.cache.key(slots[position]));
        let columns = self.keys.decode(keys)?;
        out.emit(MAIN_PORT, changes.into_batch(columns, &before, &after, &self.schema)?)
    }

    /// Whether what was gathered is to be told now.
    fn is_due(&self, now_ms: i64) -> bool {
        let Some(mini_batch) = self.mini_batch else { return true };
        let late =
            mini_batch.latency_ms.is_some_and(|latency| now_ms >= self.gathered.since_ms().saturating_add(latency));
        late || self.gathered.rows() >= mini_batch.rows_max
    }
}

impl Operator for GroupOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let keys = self.keys.encode(batch.rows())?;
        let touched = self.cache.slots_of(&keys, batch.num_rows(), ctx)?;
        let new = self.gathered.new_among(&touched.distinct);
        let before = self.cache.results(&new)?;
        self.gathered.add(new, before, self.input.count(&batch), ctx.now.0);
        match self.input {
            InputRows::Rows => self.cache.apply(&batch, &touched, ctx)?,
            InputRows::Partials { keys } => self.cache.apply_partials(&batch, keys, &touched, ctx)?,
        }
        // Slots change when keys leave memory: what they stand for is told before.
        let excess = self.cache.excess(ctx);
        if self.is_due(ctx.now.0) || excess > 0 {
            self.flush(out)?;
        }
        self.cache.give_up(excess, touched.distinct.len(), ctx)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.flush(out)?;
        self.cache.on_barrier(ctx)
    }

    fn work_ahead(&mut self, ctx: &mut OperatorContext) -> Result<bool> {
        self.cache.work_ahead(ctx)
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        if self.is_due(ctx.now.0) {
            self.flush(out)?;
        }
        // A key that expires silently must not have a change left to tell.
        if self.gathered.is_empty() { self.cache.forget_some_expired(ctx) } else { Ok(()) }
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        if self.gathered.is_empty() {
            return self.cache.next_time();
        }
        let latency_ms = self.mini_batch.and_then(|mini_batch| mini_batch.latency_ms)?;
        Some(ProcessingTime(self.gathered.since_ms().saturating_add(latency_ms)))
    }

    fn on_end(&mut self, _ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.flush(out)
    }
}
