//! What joins and subqueries need before they can be translated, with or without the optimizer: subqueries become
//! joins, and conditions between two relations move to where these meet.

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{JoinType, Result};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, Filter, Join, LogicalPlan, lit};
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::{Optimizer, OptimizerContext};

use super::set_operations;
use super::subqueries::{self, Subqueries};

/// Rewrites a plan whose types are settled.
pub(crate) fn prepare(plan: LogicalPlan, options: &Arc<ConfigOptions>) -> Result<LogicalPlan> {
    let has_joins = plan.exists(|node| Ok(matches!(node, LogicalPlan::Join(_)) || has_subquery(node)))?;
    let plan = plan.transform_up_with_subqueries(set_operations::separate)?.data;
    if !has_joins {
        return Ok(plan);
    }
    let subqueries = Subqueries::new(options);
    let plan = plan.transform_up_with_subqueries(|node| subqueries.resolve(node))?.data;
    let plan = plan.transform_up(unsteady_above)?.data;
    let plan = plan.transform_down(conditions_to_joins)?.data;
    let context = OptimizerContext::new_with_config_options(Arc::clone(options)).without_query_execution_start_time();
    Optimizer::with_rules(vec![Arc::new(ExtractEquijoinPredicate::new())]).optimize(plan, &context, |_, _| {})
}

fn has_subquery(node: &LogicalPlan) -> bool {
    node.expressions().iter().any(subqueries::has_subquery)
}

/// What has another value each time is asked of the pairs that an inner join gives, where it stays.
fn unsteady_above(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(mut join) = node else { return Ok(Transformed::no(node)) };
    let conditions = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
    let (unsteady, steady): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(Expr::is_volatile);
    if join.join_type != JoinType::Inner || unsteady.is_empty() {
        join.filter = conjunction(steady.into_iter().chain(unsteady));
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    join.filter = conjunction(steady);
    let unsteady = conjunction(unsteady).unwrap_or_else(|| lit(true));
    let above = Filter::try_new(unsteady, Arc::new(LogicalPlan::Join(join)))?;
    Ok(Transformed::yes(LogicalPlan::Filter(above)))
}

/// `FROM a, b WHERE a.x = b.x`: what reads both sides of a join becomes its condition.
fn conditions_to_joins(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Filter(filter) = node else { return Ok(Transformed::no(node)) };
    let LogicalPlan::Join(join) = filter.input.as_ref() else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    if join.join_type != JoinType::Inner {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let mut join = join.clone();
    let mut above = Vec::new();
    for part in split_conjunction_owned(filter.predicate) {
        above.extend(sink(part, &mut join)?);
    }
    let join = LogicalPlan::Join(join);
    Ok(Transformed::yes(match conjunction(above) {
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(join))?),
        None => join,
    }))
}

/// Moves a condition to the lowest join that has all its columns, on both sides. What reads one relation comes back.
fn sink(condition: Expr, join: &mut Join) -> Result<Option<Expr>> {
    let columns = condition.column_refs();
    let within = |plan: &LogicalPlan| columns.iter().all(|column| plan.schema().has_column(column));
    for side in [&mut join.left, &mut join.right] {
        if !columns.is_empty() && within(side) {
            let LogicalPlan::Join(inner) = side.as_ref() else { return Ok(Some(condition)) };
            if inner.join_type != JoinType::Inner {
                return Ok(Some(condition));
            }
            let mut inner = inner.clone();
            let back = sink(condition, &mut inner)?;
            *side = Arc::new(LogicalPlan::Join(inner));
            return Ok(back);
        }
    }
    if columns.is_empty() || condition.is_volatile() {
        return Ok(Some(condition));
    }
    join.filter = conjunction(join.filter.take().into_iter().chain([condition]));
    Ok(None)
}
