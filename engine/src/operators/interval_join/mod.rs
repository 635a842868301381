//! Joins rows of two inputs whose times are near each other: `lower <= left time - right time <= upper`.
//!
//! Each side's rows are kept until the watermark passes the time of their last possible partner, so state is bounded
//! by the interval. Which rows pair does not depend on how the inputs interleave: a pair counts when neither row came
//! after the other could have been freed, judged by the watermark that each row's own split had before it. Rows that
//! come out of order but not late always find all their partners; a row that none can find any more is late.

mod bounds;
mod operator;
mod rows;
#[cfg(test)]
mod tests;
mod unmatched;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::JoinType;
use datafusion_physical_expr::PhysicalExpr;

pub use self::bounds::TimeBounds;
use self::operator::IntervalJoinOperator;
use super::join_rows::JoinInput;
use crate::Result;
use crate::operator::{Operator, OperatorFactory};
use crate::time::window::TimeDomain;

/// Output: left columns, then right columns (semi and anti joins: left columns alone).
#[derive(Clone)]
pub struct IntervalJoin {
    /// INNER, LEFT, RIGHT, FULL, or LEFT SEMI or ANTI.
    pub kind: JoinType,
    pub domain: TimeDomain,
    pub bounds: TimeBounds,
    pub inputs: [JoinInput; 2],
    /// Columns of the inputs that tell their rows' times; not read in processing time.
    pub times: [usize; 2],
    /// Beyond keys and times; over the left columns, then the right ones.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    pub schema: SchemaRef,
}

impl OperatorFactory for IntervalJoin {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(IntervalJoinOperator::new(self)?))
    }
}
