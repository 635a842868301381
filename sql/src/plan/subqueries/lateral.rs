//! `LATERAL (SELECT ...)`: for each row of the left input the rows of a subquery that reads it.

use std::sync::Arc;

use datafusion_common::tree_node::Transformed;
use datafusion_common::{JoinConstraint, NullEquality, Result};
use datafusion_expr::{Expr, Join, LogicalPlan};

use super::attach::Isolated;
use super::dependent::{Domain, has_outer, own};
use super::{Subqueries, only_columns};

/// The right input of a join, if it is a subquery that reads the left one.
pub(super) fn subquery_of(join: &Join) -> Option<LogicalPlan> {
    let mut plan = join.right.as_ref();
    loop {
        plan = match plan {
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::Subquery(_) => return has_outer(plan).then(|| join.right.as_ref().clone()),
            _ => return None,
        };
    }
}

/// LATERAL over a subquery that reads nothing around it says nothing.
pub(super) fn without_lateral(input: LogicalPlan) -> Transformed<LogicalPlan> {
    match input {
        LogicalPlan::Subquery(lateral) if !has_outer(&lateral.subquery) => {
            Transformed::yes(Arc::unwrap_or_clone(lateral.subquery))
        }
        other => Transformed::no(other),
    }
}

impl Subqueries {
    pub(super) fn lateral(&self, join: &Join, right: &LogicalPlan) -> Result<LogicalPlan> {
        let isolated = Isolated::of(right, join.left.schema(), &self.names().next("__outer"))?;
        let domain = Domain::of(&join.left, &isolated.outer, self.names())?;
        let right = domain.push(&isolated.plan)?;
        // Names of the left input mean it also within ON.
        let filter = join.filter.clone().map(own).transpose()?;
        let filter = filter.into_iter().fold(domain.equals(&isolated.outer), Expr::and);
        let joined = Join::try_new(
            Arc::clone(&join.left),
            Arc::new(right),
            join.on.clone(),
            Some(filter),
            join.join_type,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        only_columns(LogicalPlan::Join(joined), &join.schema.columns())
    }
}
