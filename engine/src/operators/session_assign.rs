//! Puts rows into session windows: a row leaves when its session is closed, with the window's bounds.

use arrow::datatypes::SchemaRef;

use crate::operator::{Operator, OperatorFactory};
use crate::time::window::WindowSpec;
use crate::{EngineError, Result};

/// Output: input columns, window_start, window_end, window_time. Rows wait in state until their session closes.
#[derive(Clone)]
pub struct SessionAssign {
    /// A session window.
    pub spec: WindowSpec,
    /// Not read in processing time.
    pub time_column: usize,
    /// The PARTITION BY columns; may be empty.
    pub keys: Vec<usize>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for SessionAssign {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Err(EngineError::Unsupported("session windows without aggregation are not built yet".into()))
    }
}
