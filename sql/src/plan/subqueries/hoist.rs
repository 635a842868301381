//! Subqueries in aggregates, OVER windows and join conditions: computed as columns below.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, JoinType, Result};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Aggregate, Expr, Filter, Join, LogicalPlan, Projection, Window, col};

use super::{Subqueries, has_subquery, is_subquery, only_columns};
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;

impl Subqueries {
    pub(super) fn below_aggregate(&self, aggregate: Aggregate) -> Result<LogicalPlan> {
        let (mut added, name) = (Vec::new(), self.names().next("__computed"));
        let mut take = |exprs: Vec<Expr>| exprs.into_iter().map(|expr| taken_out(expr, &name, &mut added)).collect();
        let (group, aggregates): (Result<Vec<_>>, Result<Vec<_>>) =
            (take(aggregate.group_expr), take(aggregate.aggr_expr));
        let input = self.with_columns(Arc::unwrap_or_clone(aggregate.input), added)?;
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group?, aggregates?)?);
        named_as(grouped, &aggregate.schema)
    }

    pub(super) fn below_window(&self, window: Window) -> Result<LogicalPlan> {
        let (mut added, name) = (Vec::new(), self.names().next("__computed"));
        let kept = window.input.schema().fields().len();
        let exprs = window.window_expr.into_iter().map(|expr| taken_out(expr, &name, &mut added));
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let count = added.len();
        let input = self.with_columns(Arc::unwrap_or_clone(window.input), added)?;
        let windowed = LogicalPlan::Window(Window::try_new(exprs, Arc::new(input))?);
        let own = windowed.schema().columns();
        let places: Vec<Column> = own[..kept].iter().chain(&own[kept + count..]).cloned().collect();
        named_as(only_columns(windowed, &places)?, &window.schema)
    }

    /// A condition of an inner join can as well stand behind it. That of an outer join decides which rows stand
    /// alone, so that its subqueries are computed with the rows that they read.
    pub(super) fn below_join(&self, mut join: Join) -> Result<LogicalPlan> {
        let columns = join.schema.columns();
        let parts = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
        if join.join_type == JoinType::Inner {
            let (with, without): (Vec<_>, Vec<_>) = parts.into_iter().partition(has_subquery);
            join.filter = conjunction(without);
            let plan = LogicalPlan::Join(join);
            return match conjunction(with) {
                Some(predicate) => self.filter(Filter::try_new(predicate, Arc::new(plan))?),
                None => Ok(plan),
            };
        }
        let name = self.names().next("__computed");
        let mut added: [Vec<Expr>; 2] = Default::default();
        let sides = [Arc::clone(&join.left), Arc::clone(&join.right)];
        let mut taken = Vec::new();
        for part in parts {
            taken.push(taken_to_sides(part, &name, &sides, &mut added)?);
        }
        let [left, right] = added;
        join.left = Arc::new(self.with_columns(Arc::unwrap_or_clone(join.left), left)?);
        join.right = Arc::new(self.with_columns(Arc::unwrap_or_clone(join.right), right)?);
        join.filter = conjunction(taken);
        only_columns(LogicalPlan::Join(join).recompute_schema()?, &columns)
    }
}

/// The expression with columns in place of its subqueries, which are added to a list.
fn taken_out(expr: Expr, name: &str, added: &mut Vec<Expr>) -> Result<Expr> {
    replaced(expr, &mut |part| {
        let column = Column::new(Some(name), format!("c{}", added.len()));
        added.push(part.alias_qualified(Some(name), column.name()));
        Ok(Expr::Column(column))
    })
}

fn taken_to_sides(expr: Expr, name: &str, sides: &[Arc<LogicalPlan>; 2], added: &mut [Vec<Expr>; 2]) -> Result<Expr> {
    replaced(expr, &mut |part| {
        let read = columns_read(&part)?;
        let reads = |side: usize| read.iter().all(|column| sides[side].schema().has_column(column));
        let Some(side) = (0..2).find(|side| reads(*side)) else {
            let message = "this subquery in ON reads both sides of an outer join";
            let hint = "join the table that it reads in a subquery of its own, or use JOIN and a condition in WHERE";
            return Err(external(Diagnostic::new(message).with_hint(hint)));
        };
        let column = Column::new(Some(name), format!("s{side}c{}", added[side].len()));
        added[side].push(part.alias_qualified(Some(name), column.name()));
        Ok(Expr::Column(column))
    })
}

fn replaced(expr: Expr, replace: &mut dyn FnMut(Expr) -> Result<Expr>) -> Result<Expr> {
    let replaced = expr.transform_down(|part| {
        if !is_subquery(&part) {
            return Ok(Transformed::no(part));
        }
        Ok(Transformed::new(replace(part)?, true, TreeNodeRecursion::Jump))
    })?;
    Ok(replaced.data)
}

/// The columns of the rows around it that a subquery reads.
fn columns_read(part: &Expr) -> Result<Vec<Column>> {
    let mut read: Vec<Column> = part.column_refs().into_iter().cloned().collect();
    part.apply(|part| {
        let subquery = match part {
            Expr::InSubquery(call) => &call.subquery,
            Expr::SetComparison(call) => &call.subquery,
            Expr::Exists(call) => &call.subquery,
            Expr::ScalarSubquery(subquery) => subquery,
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        for outer in subquery.subquery.all_out_ref_exprs() {
            if let Expr::OuterReferenceColumn(_, column) = outer {
                read.push(column);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read)
}

/// The plan with its columns called as in another schema, one by one.
pub(super) fn named_as(plan: LogicalPlan, names: &DFSchema) -> Result<LogicalPlan> {
    debug_assert_eq!(plan.schema().fields().len(), names.fields().len(), "columns are renamed one by one");
    let own = plan.schema().columns().into_iter();
    let named = own.zip(names.iter()).map(|(own, (relation, field))| match (&own.relation, &own.name) {
        (own_relation, name) if own_relation.as_ref() == relation && name == field.name() => col(own.clone()),
        _ => col(own.clone()).alias_qualified(relation.cloned(), field.name()),
    });
    Ok(LogicalPlan::Projection(Projection::try_new(named.collect(), Arc::new(plan))?))
}
