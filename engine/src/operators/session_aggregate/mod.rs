//! Aggregation per key and session: a session ends when a key has had no row for the gap.
//!
//! A row is late when it is older than the watermark that its own split had before it, even where a session of its
//! key is still open: whether one is may depend on which input was faster, and an answer must not. The rows that are
//! not late form the same sessions in whatever order they come. Two rows of a key that are more
//! than the gap apart never merge by themselves; a row between them bridges their sessions, which merges their state.
//! Sessions are measured in instants; only their bounds are shown on the local clock.

mod cache;
mod journal;
mod operator;
mod stored;
#[cfg(test)]
mod tests;
mod timers;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

pub use self::operator::{SessionOperator, SessionOutput};
use crate::Result;
use crate::aggregate::{AggregateCall, AggregateSet};
use crate::operator::{Collector, Operator, OperatorFactory};
use crate::operators::key_table::KeyColumns;
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::operators::window_aggregate::{Emitter, WindowProperty};
use crate::time::assign::Window;
use crate::time::window::WindowSpec;

/// Aggregates per key and session window. Output: key columns, aggregates, window properties.
#[derive(Clone)]
pub struct SessionAggregate {
    /// A session window.
    pub spec: WindowSpec,
    /// Not read in processing time.
    pub time_column: usize,
    pub keys: Vec<usize>,
    pub aggregates: Vec<AggregateCall>,
    pub properties: Vec<WindowProperty>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for SessionAggregate {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let keys = KeyColumns::new(&self.keys, &self.input)?;
        let emitter = Emitter::new(&self.properties, &self.schema, self.spec.zone).over_instants();
        let calls = NarrowCalls::new(&self.aggregates);
        let output = ResultRows { emitter };
        Ok(Box::new(SessionOperator::new(
            "SessionAggregate",
            &self.spec,
            self.time_column,
            keys,
            calls,
            Box::new(output),
        )?))
    }
}

/// One row per session.
struct ResultRows {
    emitter: Emitter,
}

impl SessionOutput for ResultRows {
    fn emit(
        &self,
        keys: &KeyColumns,
        key_bytes: Vec<&[u8]>,
        values: &AggregateSet,
        slots: &[u32],
        windows: &[Window],
        out: &mut dyn Collector,
    ) -> Result<()> {
        let results: Vec<ArrayRef> = values.evaluate(slots)?;
        self.emitter.emit_rows(keys, key_bytes, results, windows, out)
    }
}
