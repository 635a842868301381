//! Aggregation per key and session: a session ends when a key has had no row for the gap.
//!
//! A row is late when it is older than the watermark that its own split had before it, even where a session of its
//! key is still open: whether one is may depend on which input was faster, and an answer must not. The rows that are
//! not late form the same sessions in whatever order they come. Two rows of a key that are more
//! than the gap apart never merge by themselves; a row between them bridges their sessions, which merges their state.
//! Sessions are measured in instants; only their bounds are shown on the local clock.
//!
//! With early results or allowed lateness a session is told more than once, as a changelog: what was told of a session
//! that has grown, gone up in another or fallen apart is taken back. Rows may be taken back too, where the plan says so.

mod cache;
#[cfg(test)]
mod emission_tests;
mod journal;
mod operator;
mod runs;
mod shown;
mod stored;
#[cfg(test)]
mod tests;
mod timers;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

pub use self::cache::SessionCache;
pub use self::operator::{SessionOperator, SessionOutput};
use self::shown::Shown;
use crate::aggregate::{AggregateCall, AggregateSet};
use crate::operator::{Operator, OperatorFactory};
use crate::operators::corrections::Correction;
use crate::operators::key_table::KeyColumns;
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::operators::window_aggregate::{Emission, Emitter, WindowProperty};
use crate::time::assign::Window;
use crate::time::window::{WindowKind, WindowSpec};
use crate::{EngineError, Result};

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
    /// Results beside the final ones, and how they are told.
    pub emission: Emission,
    pub correction: Correction,
    /// The aggregate call that counts rows, where rows may be taken back.
    pub row_count: Option<usize>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for SessionAggregate {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let keys = KeyColumns::new(&self.keys, &self.input)?;
        let emitter = Emitter::new(&self.properties, &self.schema, self.spec.zone).over_instants();
        let calls = NarrowCalls::new(&self.aggregates);
        let shown = match self.emission.is_final_only() {
            true => None,
            false => Some(Shown::new(self.emission, self.correction, &self.schema)?),
        };
        let cache = SessionCache::new(calls, gap_ms(&self.spec, "SessionAggregate")?, self.row_count, shown)?;
        let output = Box::new(ResultRows { emitter });
        let (domain, time) = (self.spec.domain, self.time_column);
        Ok(Box::new(SessionOperator::new("SessionAggregate", domain, time, keys, cache, output)))
    }
}

/// The gap of a session window; other windows are refused.
pub fn gap_ms(spec: &WindowSpec, operator: &str) -> Result<i64> {
    spec.validate().map_err(EngineError::Unsupported)?;
    match spec.kind {
        WindowKind::Session { gap_ms } => Ok(gap_ms),
        _ => Err(EngineError::Unsupported(format!("{operator} takes session windows only"))),
    }
}

/// One row per session.
struct ResultRows {
    emitter: Emitter,
}

impl SessionOutput for ResultRows {
    fn rows(
        &self,
        keys: &KeyColumns,
        key_bytes: Vec<&[u8]>,
        values: &AggregateSet,
        slots: &[u32],
        windows: &[Window],
    ) -> Result<RecordBatch> {
        self.emitter.rows(keys, key_bytes, values.evaluate(slots)?, windows)
    }
}
