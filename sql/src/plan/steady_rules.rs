//! Optimizer rules that leave alone what has another value each time.
//!
//! How often and over which rows RAND() or the current time is computed is part of what a query means, and over rows that are
//! taken back it is refused: so a condition with such a call stays exactly where it was written.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion_expr::{Aggregate, Expr, Filter, Join, LogicalPlan};
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

/// Simplifies the expressions of nodes that have the same values each time.
#[derive(Debug, Default)]
pub(super) struct SimplifySteady {
    rule: SimplifyExpressions,
}

impl OptimizerRule for SimplifySteady {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if plan.expressions().iter().any(Expr::is_volatile) {
            return Ok(Transformed::no(plan));
        }
        self.rule.rewrite(plan, config)
    }
}

/// Moves conditions down that are the same each time.
#[derive(Debug, Default)]
pub(super) struct PushDownSteady {
    rule: PushDownFilter,
}

impl OptimizerRule for PushDownSteady {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter) => self.push(filter, config),
            other if keeps_conditions_above(&other, false) => Ok(Transformed::no(other)),
            other => self.rule.rewrite(other, config),
        }
    }
}

impl PushDownSteady {
    fn push(&self, filter: Filter, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let nested = matches!(filter.input.as_ref(), LogicalPlan::Filter(_));
        let (conditions, input) = together(filter);
        let (unsteady, mut steady): (Vec<Expr>, Vec<Expr>) = conditions.iter().cloned().partition(Expr::is_volatile);
        let mut seen = HashSet::new();
        steady.retain(|condition| seen.insert(condition.clone()));
        let constant = steady.iter().any(|condition| condition.column_refs().is_empty());
        let stays = |input: Arc<LogicalPlan>| {
            Ok(Transformed::new(filtered(conditions.clone(), input)?, nested, TreeNodeRecursion::Continue))
        };
        if steady.is_empty() || keeps_conditions_above(&input, constant) {
            return stays(input);
        }
        let pushed = self.rule.rewrite(filtered(steady, Arc::clone(&input))?, config)?;
        match pushed.transformed {
            true => pushed.map_data(|plan| filtered(unsteady, Arc::new(plan))),
            false => stays(input),
        }
    }
}

/// The conditions of filters that stand one on the other, lowest first, and what is below them.
fn together(filter: Filter) -> (Vec<Expr>, Arc<LogicalPlan>) {
    let own = split_conjunction_owned(filter.predicate);
    match Arc::unwrap_or_clone(filter.input) {
        LogicalPlan::Filter(below) => {
            let (mut conditions, input) = together(below);
            conditions.extend(own);
            (conditions, input)
        }
        input => (own, Arc::new(input)),
    }
}

fn filtered(conditions: Vec<Expr>, input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
    match conjunction(conditions) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, input)?)),
        None => Ok(Arc::unwrap_or_clone(input)),
    }
}

/// Nodes that no condition may move into: a join with an unsteady condition of its own, which would move along, groups by
/// unsteady keys, which would be computed again for it, and for a constant one a grouping that gives a row without any.
fn keeps_conditions_above(plan: &LogicalPlan, constant: bool) -> bool {
    match plan {
        LogicalPlan::Join(Join { filter, .. }) => filter.iter().flat_map(split_conjunction).any(Expr::is_volatile),
        LogicalPlan::Aggregate(Aggregate { group_expr, .. }) => {
            group_expr.iter().any(Expr::is_volatile) || (constant && group_expr.is_empty())
        }
        _ => false,
    }
}
