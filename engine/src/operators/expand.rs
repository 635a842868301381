//! Gives each row several times, once per grouping set: what GROUPING SETS, ROLLUP and CUBE rest on.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use super::projection::Projection;
use super::row_error::{RowErrorPolicy, per_row};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::{Batch, Result};

/// Each input row once per projection, in the order of the projections.
#[derive(Clone)]
pub struct Expand {
    pub projections: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    pub schema: SchemaRef,
}

impl OperatorFactory for Expand {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let projections = self.projections.iter().map(|columns| Projection::new(columns.clone(), self.schema.clone()));
        Ok(Box::new(ExpandOperator { projections: projections.collect::<Result<_>>()? }))
    }
}

struct ExpandOperator {
    projections: Vec<Projection>,
}

impl Operator for ExpandOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        for projection in &self.projections {
            let mut work = |part: &Batch| Ok(part.replace_rows(projection.evaluate(part.rows())?));
            for piece in per_row(RowErrorPolicy::Fail, "Expand", &batch, &ctx.metrics, &mut work)? {
                out.emit(MAIN_PORT, piece)?;
            }
        }
        Ok(())
    }
}
