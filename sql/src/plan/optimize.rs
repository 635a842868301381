//! From names to types to a cheaper plan of the same meaning.
//!
//! Of DataFusion's optimizer only rules that hold for unbounded input run here. Left out on purpose: rules that turn
//! DISTINCT into nested groupings (their inner result would be a changelog), that drop inputs they know to be empty
//! (a job would end that should wait), and everything about limits. What joins and subqueries need in any case is done
//! before, in [`joins`].

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::{Aggregate, Distinct, Expr, LogicalPlan, col};
use datafusion_optimizer::analyzer::Analyzer;
use datafusion_optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::optimize_unions::OptimizeUnions;
use datafusion_optimizer::{Optimizer, OptimizerContext, OptimizerRule};

use super::context::NameResolver;
use super::steady_rules::{PushDownSteady, SimplifySteady};
use super::{
    casts, event_time, exact, joins, literals, outer_types, over_window, plain_types, set_operations, temporal, unnest,
    windows,
};

/// Makes a plan of SQL's nodes and ours, with every type coerced. What must always run.
pub(crate) fn analyze(plan: LogicalPlan, resolver: &NameResolver<'_>) -> Result<LogicalPlan> {
    // Top down: the inside of a lateral UNNEST means nothing without the join that it stands in.
    let plan = plan.transform_down_with_subqueries(unnest::resolve)?.data;
    let plan = plan.transform_up_with_subqueries(set_operations::resolve)?.data;
    let plan = plan.transform_up_with_subqueries(|node| resolve_node(node, resolver))?.data;
    let plan = outer_types::refresh(plan)?;
    let coerced = Analyzer::new().execute_and_check(plan, &resolver.options, |_, _| {})?;
    let plain = plain_types::apply(coerced)?;
    let plain = match plain.transformed {
        // What was coerced to the odd types is coerced back.
        true => Analyzer::new().execute_and_check(plain.data, &resolver.options, |_, _| {})?,
        false => plain.data,
    };
    let finish = |node| casts::finish(node, &resolver.options)?.transform_data(exact::coalesce);
    let finished = plain.transform_up_with_subqueries(finish)?.data;
    let joined = joins::prepare(finished, &resolver.options)?;
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    if needs_conditions_below(&joined)? {
        rules.push(Arc::new(PushDownSteady::default()));
    }
    if has_unsteady(&joined)? {
        rules.push(Arc::new(OptimizeProjections::new()));
    }
    if rules.is_empty() { Ok(joined) } else { run(rules, joined, &resolver.options) }
}

/// Over rows that are updated, what has another value each time is refused; whether they are must not hang on a count that
/// nobody reads.
fn has_unsteady(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(node.expressions().iter().any(Expr::is_volatile)))
}

/// A rank that is joined must know the conditions on it, which may stand above the join.
fn needs_conditions_below(plan: &LogicalPlan) -> Result<bool> {
    let ranks = |node: &LogicalPlan| match node {
        LogicalPlan::Window(window) => {
            window.window_expr.iter().filter_map(over_window::call_of).any(|call| over_window::rank_of(call).is_some())
        }
        _ => false,
    };
    Ok(plan.exists(|node| Ok(ranks(node)))? && plan.exists(|node| Ok(matches!(node, LogicalPlan::Join(_))))?)
}

fn run(
    rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    plan: LogicalPlan,
    options: &Arc<ConfigOptions>,
) -> Result<LogicalPlan> {
    let context = OptimizerContext::new_with_config_options(Arc::clone(options)).without_query_execution_start_time();
    Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})
}

fn resolve_node(node: LogicalPlan, resolver: &NameResolver<'_>) -> Result<Transformed<LogicalPlan>> {
    windows::resolve(node, resolver.context.settings.time_zone())?
        .transform_data(temporal::resolve)?
        .transform_data(distinct_as_groups)?
        .transform_data(event_time::order_by_time)?
        .transform_data(literals::narrow)?
        .transform_data(exact::divide)?
        .transform_data(casts::resolve)
}

/// DISTINCT groups by all columns.
fn distinct_as_groups(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Distinct(Distinct::All(input)) = node else { return Ok(Transformed::no(node)) };
    let keys: Vec<Expr> = input.schema().columns().into_iter().map(col).collect();
    Ok(Transformed::yes(LogicalPlan::Aggregate(Aggregate::try_new(input, keys, vec![])?)))
}

/// Applies the optional rules, in passes until nothing changes.
pub(crate) fn optimize(plan: LogicalPlan, options: &Arc<ConfigOptions>) -> Result<LogicalPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifySteady::default()),
        Arc::new(PushDownSteady::default()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    run(rules, plan, options)
}
