//! INTERSECT and EXCEPT: out of the joins that DataFusion's planner makes of them, which count repeated rows wrongly.

use std::sync::Arc;

use datafusion_common::tree_node::Transformed;
use datafusion_common::{JoinType, NullEquality, Result};
use datafusion_expr::{Distinct, Extension, Join, LogicalPlan, LogicalPlanBuilder};

use super::nodes::set_operation::SetOperationNode;

/// A semi or anti join over all columns in which NULL equals NULL can only have been a set operation; its types are
/// settled as those of a UNION ALL. Other nodes stay. Must run before subqueries become joins.
pub(crate) fn resolve(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = &node else { return Ok(Transformed::no(node)) };
    let Some(is_intersect) = is_intersect(join) else { return Ok(Transformed::no(node)) };
    // Without ALL the left side is made distinct. Where ALL meets a side that is distinct anyway, both mean the same.
    let (left, all) = match join.left.as_ref() {
        LogicalPlan::Distinct(Distinct::All(input)) => (input, false),
        _ => (&join.left, true),
    };
    let both = LogicalPlanBuilder::from(left.as_ref().clone()).union(join.right.as_ref().clone())?.build()?;
    let node = SetOperationNode::try_new(vec![both], is_intersect, all, &join.schema)?;
    Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
}

fn is_intersect(join: &Join) -> Option<bool> {
    let whole_rows = join.on.len() == join.left.schema().fields().len() && join.filter.is_none();
    if join.null_equality != NullEquality::NullEqualsNull || !whole_rows {
        return None;
    }
    match join.join_type {
        JoinType::LeftSemi => Some(true),
        JoinType::LeftAnti => Some(false),
        _ => None,
    }
}

/// Once types are settled, the two sides become inputs of their own.
pub(crate) fn separate(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Extension(extension) = &node else { return Ok(Transformed::no(node)) };
    let Some(operation) = extension.node.as_any().downcast_ref::<SetOperationNode>() else {
        return Ok(Transformed::no(node));
    };
    Ok(match operation.separated()? {
        Some(separated) => Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(separated) })),
        None => Transformed::no(node),
    })
}
