//! Flink's divisions in place of DataFusion's, where they mean something else, and COALESCE in a form that runs.

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, when};

use crate::functions::{divide_function, divides_decimals};

/// Divisions of DECIMALs, before types are coerced: their result has a type of its own.
pub(crate) fn divide(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    rewrite(node, |expr, schema| {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) = &expr else { return Ok(None) };
        let decimals = divides_decimals(&left.get_type(schema)?, &right.get_type(schema)?);
        let args = || vec![left.as_ref().clone(), right.as_ref().clone()];
        Ok(decimals.then(|| Expr::ScalarFunction(ScalarFunction::new_udf(divide_function(), args()))))
    })
}

/// COALESCE, once types are coerced: DataFusion leaves it to an optional rule, and cannot run it otherwise.
pub(crate) fn coalesce(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    rewrite(node, |expr, _| match expr {
        Expr::ScalarFunction(call) if call.name() == "coalesce" => first_known(&call.args).map(Some),
        _ => Ok(None),
    })
}

/// The first value that is not NULL; later ones are computed only where they are needed.
fn first_known(values: &[Expr]) -> Result<Expr> {
    let Some((last, earlier)) = values.split_last() else { return plan_err!("COALESCE takes a value") };
    let Some((first, rest)) = earlier.split_first() else { return Ok(last.clone()) };
    let mut cases = when(first.clone().is_not_null(), first.clone());
    for value in rest {
        cases.when(value.clone().is_not_null(), value.clone());
    }
    cases.otherwise(last.clone())
}

/// Replaces expressions of one node, inner ones first; output names stay.
pub(crate) fn rewrite(
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
