//! Columns have one Arrow type per SQL type: what some of DataFusion's functions give as string views and the like is
//! cast back where it becomes a column.

use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, cast};

/// Casts the columns of every node that computes some.
pub(crate) fn apply(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => cast_columns(node),
        _ => Ok(Transformed::no(node)),
    })
}

fn cast_columns(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = datafusion_expr::utils::merge_schema(&node.inputs());
    let names = NamePreserver::new(&node);
    let is_odd =
        |expr: &Expr| Ok::<_, datafusion_common::DataFusionError>(plain_type(&expr.get_type(&schema)?).is_some());
    let odd = node.expressions().iter().map(is_odd).collect::<Result<Vec<_>>>()?;
    if !odd.into_iter().any(|odd| odd) {
        return Ok(Transformed::no(node));
    }
    let rewritten = node.map_expressions(|expr| match plain_type(&expr.get_type(&schema)?) {
        Some(plain) if !matches!(expr, Expr::GroupingSet(_)) => {
            let name = names.save(&expr);
            Ok(Transformed::yes(name.restore(cast(expr, plain))))
        }
        _ => Ok(Transformed::no(expr)),
    });
    let rewritten = rewritten.data()?.recompute_schema()?;
    Ok(Transformed::yes(rewritten))
}

/// The type that stands for the same SQL type, where this is another one.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => Some(DataType::Utf8),
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => Some(DataType::Binary),
        DataType::Dictionary(_, value) => Some(plain_type(value).unwrap_or_else(|| value.as_ref().clone())),
        _ => None,
    }
}
