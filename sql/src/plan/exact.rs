//! Flink's casts and divisions in place of DataFusion's, where they mean something else.

use chrono_tz::Tz;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, when};

use crate::functions::{cast_function, divide_function, divides_decimals, is_flinks_cast};

/// Divisions of DECIMALs, before types are coerced: their result has a type of its own.
pub(crate) fn divide(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    rewrite(node, |expr, schema| {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) = &expr else { return Ok(None) };
        let decimals = divides_decimals(&left.get_type(schema)?, &right.get_type(schema)?);
        let args = || vec![left.as_ref().clone(), right.as_ref().clone()];
        Ok(decimals.then(|| Expr::ScalarFunction(ScalarFunction::new_udf(divide_function(), args()))))
    })
}

/// Casts, once types are coerced.
pub(crate) fn cast(node: LogicalPlan, options: &ConfigOptions) -> Result<Transformed<LogicalPlan>> {
    let zone = zone_of(options);
    rewrite(node, |expr, schema| {
        let (operand, target, safe) = match &expr {
            Expr::Cast(cast) => (&cast.expr, cast.field.data_type(), false),
            Expr::TryCast(cast) => (&cast.expr, cast.field.data_type(), true),
            // DataFusion leaves this to an optional rule, and cannot run it otherwise.
            Expr::ScalarFunction(call) if call.name() == "coalesce" => return coalesce(&call.args).map(Some),
            _ => return Ok(None),
        };
        if !is_flinks_cast(&operand.get_type(schema)?, target) {
            return Ok(None);
        }
        let call = ScalarFunction::new_udf(cast_function(target, safe, zone), vec![operand.as_ref().clone()]);
        Ok(Some(Expr::ScalarFunction(call)))
    })
}

/// The first value that is not NULL; later ones are computed only where they are needed.
fn coalesce(values: &[Expr]) -> Result<Expr> {
    let Some((last, earlier)) = values.split_last() else { return plan_err!("COALESCE takes a value") };
    let Some((first, rest)) = earlier.split_first() else { return Ok(last.clone()) };
    let mut cases = when(first.clone().is_not_null(), first.clone());
    for value in rest {
        cases.when(value.clone().is_not_null(), value.clone());
    }
    cases.otherwise(last.clone())
}

fn zone_of(options: &ConfigOptions) -> Tz {
    options.execution.time_zone.as_deref().and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
}

/// Replaces expressions of one node, inner ones first; output names stay.
fn rewrite(
    node: LogicalPlan,
    replace: impl Fn(&Expr, &DFSchema) -> Result<Option<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let mut schema = DFSchema::empty();
    for input in node.inputs() {
        schema.merge(input.schema());
    }
    let names = NamePreserver::new(&node);
    let rewritten = node.map_expressions(|expr| {
        let name = names.save(&expr);
        let replaced = expr.transform_up(|part| {
            Ok(match replace(&part, &schema)? {
                Some(replacement) => Transformed::yes(replacement),
                None => Transformed::no(part),
            })
        })?;
        Ok(replaced.update_data(|expr| name.restore(expr)))
    })?;
    if !rewritten.transformed {
        return Ok(rewritten);
    }
    rewritten.map_data(LogicalPlan::recompute_schema)
}
