//! Puts rows into TUMBLE, HOP and CUMULATE windows: each row once per window, with the window's bounds.

use arrow::datatypes::SchemaRef;

use crate::operator::{Operator, OperatorFactory};
use crate::time::window::WindowSpec;
use crate::{EngineError, Result};

/// Output: input columns, window_start, window_end, window_time. Keeps no state and drops no late row.
#[derive(Clone)]
pub struct WindowAssign {
    /// Not a session window.
    pub spec: WindowSpec,
    /// Not read in processing time.
    pub time_column: usize,
    pub schema: SchemaRef,
}

impl OperatorFactory for WindowAssign {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Err(EngineError::Unsupported("window assignment is not built yet".into()))
    }
}
