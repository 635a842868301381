//! `INTERVAL '1' DAY * n` and `n * INTERVAL '1' DAY`, which DataFusion's planner refuses as soon as it sees them.

use datafusion_common::{DFSchema, Result};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{Expr, ExprSchemable};
use sqlparser::ast::BinaryOperator;

use crate::functions::{is_interval, multiply_function};

/// Makes products of intervals and numbers calls of our own function.
#[derive(Debug)]
pub(crate) struct IntervalPlanner;

impl ExprPlanner for IntervalPlanner {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if raw.op != BinaryOperator::Multiply {
            return Ok(PlannerResult::Original(raw));
        }
        // A side whose type is not known yet is wrong in a way that is said elsewhere.
        let is_length = |side: &Expr| side.get_type(schema).is_ok_and(|found| is_interval(&found));
        let (interval, number) = match (is_length(&raw.left), is_length(&raw.right)) {
            (true, false) => (raw.left, raw.right),
            (false, true) => (raw.right, raw.left),
            _ => return Ok(PlannerResult::Original(raw)),
        };
        let product = ScalarFunction::new_udf(multiply_function(), vec![interval, number]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(product)))
    }
}
