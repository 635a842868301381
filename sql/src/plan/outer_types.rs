//! Types of the columns that subqueries read of the rows around them: known when names are resolved, and settled only when
//! constants and divisions have their types.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, ExprSchema, Result};
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, LogicalPlan, Subquery};

/// Gives all such references the types that the columns have now.
pub(crate) fn refresh(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|node| {
        let node = match node {
            LogicalPlan::Join(mut join) => {
                let right = lateral_right(Arc::unwrap_or_clone(join.right), join.left.schema())?;
                join.right = Arc::new(right.data);
                let join = LogicalPlan::Join(join);
                if right.transformed { Transformed::yes(join.recompute_schema()?) } else { Transformed::no(join) }
            }
            other => Transformed::no(other),
        };
        let around = merge_schema(&node.data.inputs());
        node.transform_data(|node| node.map_expressions(|expr| expr.transform_up(|part| in_subquery(part, &around))))
    })
    .data()
}

fn in_subquery(part: Expr, around: &DFSchema) -> Result<Transformed<Expr>> {
    let mut part = part;
    let subquery = match &mut part {
        Expr::InSubquery(call) => &mut call.subquery,
        Expr::SetComparison(call) => &mut call.subquery,
        Expr::Exists(call) => &mut call.subquery,
        Expr::ScalarSubquery(subquery) => subquery,
        _ => return Ok(Transformed::no(part)),
    };
    let plan = of_plan(subquery.subquery.as_ref().clone(), around)?;
    let outer_ref_columns = plan.data.all_out_ref_exprs();
    *subquery = Subquery { subquery: Arc::new(refresh(plan.data)?), outer_ref_columns, spans: subquery.spans.clone() };
    Ok(Transformed::yes(part))
}

/// The right input of a join, where it is a subquery that reads the left one.
fn lateral_right(right: LogicalPlan, left: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let is_lateral = right.exists(|node| Ok(matches!(node, LogicalPlan::Subquery(_))))?;
    if is_lateral { of_plan(right, left) } else { Ok(Transformed::no(right)) }
}

fn of_plan(plan: LogicalPlan, around: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up(|node| {
        let changed = node.map_expressions(|expr| expr.transform_up(|part| of_reference(part, around)))?;
        // A type that changes below changes those above.
        Ok(if changed.transformed { Transformed::yes(changed.data.recompute_schema()?) } else { changed })
    })
}

fn of_reference(part: Expr, around: &DFSchema) -> Result<Transformed<Expr>> {
    match part {
        Expr::OuterReferenceColumn(field, column) => Ok(match around.field_from_column(&column) {
            Ok(now) if now.data_type() != field.data_type() || now.is_nullable() != field.is_nullable() => {
                Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(now), column))
            }
            _ => Transformed::no(Expr::OuterReferenceColumn(field, column)),
        }),
        other => Ok(Transformed::no(other)),
    }
}
