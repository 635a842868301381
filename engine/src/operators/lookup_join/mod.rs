//! Joins each row with the reference rows that have its key when it comes: rows of a table that is held whole, or rows
//! that are asked for by key.
//!
//! The operator is a [`Stage`](crate::operator::Stage). Rows wait in [`held`] until their key is answered; [`by_key`]
//! decides what to ask and what to do about failures, over the keys in [`entries`], which are the cache, too; [`whole`]
//! is a table in memory; [`pairs`] makes the output, and [`stored`] carries rows in flight over a barrier.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::JoinType;
use datafusion_physical_expr::PhysicalExpr;

use super::join_rows::JoinInput;
use crate::lookup::{Lookup, LookupPolicy};
use crate::operator::{Operator, OperatorFactory};
use crate::{EngineError, Result};

mod by_key;
mod entries;
mod held;
mod operator;
mod pairs;
mod stored;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin_tests;
mod whole;

/// Output: left columns, then the reference table's.
#[derive(Clone)]
pub struct LookupJoin {
    /// INNER or LEFT.
    pub kind: JoinType,
    /// The left side, then the reference table. The keys of a table that is asked by key are those of the left side.
    pub inputs: [JoinInput; 2],
    pub lookup: Arc<dyn Lookup>,
    pub policy: LookupPolicy,
    /// Beyond the keys; over the left columns, then the table's.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    pub schema: SchemaRef,
}

impl OperatorFactory for LookupJoin {
    fn create(&self) -> Result<Box<dyn Operator>> {
        if !matches!(self.kind, JoinType::Inner | JoinType::Left) {
            return Err(EngineError::Unsupported(format!("a lookup join cannot be a {} JOIN", self.kind)));
        }
        Ok(Box::new(operator::LookupJoinOperator::new(self)?))
    }

    fn asks(&self) -> Option<(Arc<dyn Lookup>, usize)> {
        Some((Arc::clone(&self.lookup), self.policy.threads_max()))
    }
}
