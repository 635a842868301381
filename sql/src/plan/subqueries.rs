//! Subqueries in expressions, put into forms that become joins: NOT IN with its NULLs, and scalar subqueries that may
//! give more rows than one.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, ExprSchema, Result};
use datafusion_expr::expr::{Exists, InSubquery};
use datafusion_expr::{Expr, ExprSchemable, Extension, Filter, LogicalPlan, LogicalPlanBuilder, Subquery, col};

use super::nodes::single_row::SingleRowNode;

/// Rewrites the subqueries of one node's expressions.
pub(crate) fn resolve(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = match &node {
        LogicalPlan::Filter(filter) => Arc::clone(filter.input.schema()),
        other => Arc::clone(other.schema()),
    };
    node.map_expressions(|expr| {
        expr.transform_down(|part| match part {
            Expr::Not(inner) => match *inner {
                Expr::InSubquery(call) => rewrite_in(InSubquery { negated: !call.negated, ..call }, &schema),
                other => Ok(Transformed::no(Expr::Not(Box::new(other)))),
            },
            Expr::InSubquery(call) => rewrite_in(call, &schema),
            Expr::ScalarSubquery(subquery) => single_row(subquery),
            other => Ok(Transformed::no(other)),
        })
    })
}

/// `x NOT IN (s)` holds when no s equals x, no s is NULL, and x is not NULL unless there is no s at all. Three anti joins
/// say that without trying every x with every s; those that NULLs cannot concern are left out.
fn rewrite_in(call: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !call.negated {
        return Ok(Transformed::no(Expr::InSubquery(call)));
    }
    let (own, field) = (&call.expr, call.subquery.subquery.schema().qualified_field(0));
    let own_nullable = own.nullable(schema).unwrap_or(true);
    let other_nullable = field.1.is_nullable();
    let other = col(Column::from(field));
    let outer = outer(own, schema)?;
    let mut parts = vec![none_with(&call.subquery, outer.clone().eq(other.clone()))?];
    if other_nullable {
        parts.push(none_with(&call.subquery, other.is_null())?);
    }
    if own_nullable {
        parts.push(none_with(&call.subquery, outer.is_null())?);
    }
    let all = parts.into_iter().reduce(Expr::and).expect("there is at least the equality");
    // What stands in the subquery is rewritten when its own nodes are visited.
    Ok(Transformed::new(all, true, TreeNodeRecursion::Jump))
}

/// The expression as the subquery reads it.
fn outer(expr: &Expr, schema: &DFSchema) -> Result<Expr> {
    let read = expr.clone().transform(|part| match part {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(read.data)
}

/// NOT EXISTS over the rows of a subquery for which this holds.
fn none_with(subquery: &Subquery, condition: Expr) -> Result<Expr> {
    let mut outer_ref_columns = subquery.outer_ref_columns.clone();
    condition.apply(|part| {
        if matches!(part, Expr::OuterReferenceColumn(..)) {
            outer_ref_columns.push(part.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let rows = LogicalPlan::Filter(Filter::try_new(condition, Arc::clone(&subquery.subquery))?);
    let subquery = Subquery { subquery: Arc::new(rows), outer_ref_columns, spans: subquery.spans.clone() };
    Ok(Expr::Exists(Exists { subquery, negated: true }))
}

/// A subquery that is not known to give one row at most is watched when it runs.
fn single_row(subquery: Subquery) -> Result<Transformed<Expr>> {
    let plan = &subquery.subquery;
    if !subquery.outer_ref_columns.is_empty() || plan.max_rows().is_some_and(|rows| rows <= 1) || is_watched(plan) {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let node = SingleRowNode { input: Arc::clone(plan) };
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(col).collect();
    let watched = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    // Only of a projection is it known which column stands for the value.
    let watched = LogicalPlanBuilder::from(watched).project(columns)?.build()?;
    let subquery = Subquery { subquery: Arc::new(watched), ..subquery };
    Ok(Transformed::new(Expr::ScalarSubquery(subquery), true, TreeNodeRecursion::Jump))
}

fn is_watched(plan: &LogicalPlan) -> bool {
    plan.inputs().first().is_some_and(|input| match input {
        LogicalPlan::Extension(extension) => extension.node.as_any().is::<SingleRowNode>(),
        _ => false,
    })
}
