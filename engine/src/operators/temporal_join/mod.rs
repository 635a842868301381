//! Joins each left row with the version of a right row that held at the left row's time.
//!
//! In event time left rows wait until the watermark passes them; then the version is the latest with a time not after the
//! row's. Of each key the newest version at the watermark is kept, with those that come later. A version that comes late
//! holds for left rows that its own split's watermark had not reached, so that answers do not depend on how the inputs
//! interleave. In processing time a left row meets the version that is there when it comes.

mod operator;
#[cfg(test)]
mod tests;
mod versions;
mod waiting;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::JoinType;
use datafusion_physical_expr::PhysicalExpr;

use self::operator::TemporalJoinOperator;
use super::join_rows::JoinInput;
use crate::operator::{Operator, OperatorFactory};
use crate::time::window::TimeDomain;
use crate::{EngineError, Result};

/// Output: left columns, then right columns.
#[derive(Clone)]
pub struct TemporalJoin {
    /// INNER or LEFT.
    pub kind: JoinType,
    pub domain: TimeDomain,
    /// The keys are the right side's primary key and what it is compared with.
    pub inputs: [JoinInput; 2],
    /// Columns with the time of a left row and of a version; not read in processing time.
    pub times: [usize; 2],
    /// Beyond the keys; over the left columns, then the right ones.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    pub schema: SchemaRef,
}

impl OperatorFactory for TemporalJoin {
    fn create(&self) -> Result<Box<dyn Operator>> {
        if !matches!(self.kind, JoinType::Inner | JoinType::Left) {
            return Err(EngineError::Unsupported(format!("a temporal join cannot be a {} JOIN", self.kind)));
        }
        Ok(Box::new(TemporalJoinOperator::new(self)?))
    }
}
