//! Aggregation per key without a window: the result is a table that changes, so the output is a changelog.

use arrow::datatypes::SchemaRef;

use crate::aggregate::AggregateCall;
use crate::operator::{Operator, OperatorFactory};
use crate::{EngineError, Result};

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
        Err(EngineError::Unsupported("aggregation without a window is not built yet".into()))
    }
}
