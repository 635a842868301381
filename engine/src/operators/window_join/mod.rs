//! Joins rows of two inputs that belong to the same window: all of a window's rows meet when it closes.
//!
//! Rows wait in state by window; a watermark that closes the window joins them, gives the result and frees them. A row is
//! late when its window had closed at the watermark that its own split had before it.

mod operator;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;
use datafusion_common::JoinType;
use datafusion_physical_expr::PhysicalExpr;

use self::operator::WindowJoinOperator;
use super::join_rows::JoinInput;
use crate::Result;
use crate::operator::{Operator, OperatorFactory};

/// Output: left columns, then right columns (semi and anti joins: left columns alone).
#[derive(Clone)]
pub struct WindowJoin {
    /// INNER, LEFT, RIGHT, FULL, or LEFT SEMI or ANTI.
    pub kind: JoinType,
    /// The bounds of the windows are among the keys.
    pub inputs: [JoinInput; 2],
    /// Columns of the inputs with the end of the row's window, in local time.
    pub ends: [usize; 2],
    /// The calendar of the windows.
    pub zone: Option<Tz>,
    /// Beyond the keys; over the left columns, then the right ones.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    pub schema: SchemaRef,
}

impl OperatorFactory for WindowJoin {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(WindowJoinOperator::new(self)?))
    }
}
