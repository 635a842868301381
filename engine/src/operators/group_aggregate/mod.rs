//! Aggregation per key without a window: the result is a table that changes, so the output is a changelog.
//!
//! Each input batch changes a key at most once, by the net effect of its rows; what a reader of the changelog ends up
//! with does not depend on how rows were batched.

mod cache;
mod changes;
#[cfg(test)]
mod tests;

use arrow::datatypes::SchemaRef;

use self::cache::GroupCache;
use self::changes::Changes;
use crate::aggregate::AggregateCall;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::operators::key_table::KeyColumns;
use crate::operators::keyed_aggregates::NarrowCalls;
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
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for GroupAggregate {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let calls = NarrowCalls::new(&self.aggregates);
        Ok(Box::new(GroupOperator {
            keys: KeyColumns::new(&self.keys, &self.input)?,
            cache: GroupCache::new(calls, self.ttl_ms)?,
            schema: self.schema.clone(),
        }))
    }
}

struct GroupOperator {
    keys: KeyColumns,
    cache: GroupCache,
    schema: SchemaRef,
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
        let before = self.cache.results(&touched.distinct)?;
        self.cache.apply(&batch, &touched)?;
        let after = self.cache.results(&touched.distinct)?;
        let changes = Changes::between(&before, &after)?;
        if !changes.is_empty() {
            let key_bytes = changes.positions().map(|position| self.cache.key(touched.distinct[position]));
            let columns = self.keys.decode(key_bytes)?;
            out.emit(MAIN_PORT, changes.into_batch(columns, &before, &after, &self.schema)?)?;
        }
        self.cache.keep_to_budget(ctx)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.cache.write_back(ctx)
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.cache.forget_some_expired(ctx)
    }

    fn wants_time(&self) -> bool {
        self.cache.has_ttl()
    }
}
