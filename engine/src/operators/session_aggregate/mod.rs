//! Aggregation per key and session: a session ends when a key has had no row for the gap.

use arrow::datatypes::SchemaRef;

use crate::aggregate::AggregateCall;
use crate::operator::{Operator, OperatorFactory};
use crate::operators::window_aggregate::WindowProperty;
use crate::time::window::WindowSpec;
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
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for SessionAggregate {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Err(EngineError::Unsupported("session aggregation is not built yet".into()))
    }
}
