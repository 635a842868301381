//! FIRST_VALUE and LAST_VALUE go by event time where the input has one, so that the answer does not depend on the
//! order in which parallel sources are read.

use datafusion_common::tree_node::Transformed;
use datafusion_common::{Column, Result};
use datafusion_expr::{Aggregate, Expr, LogicalPlan, col};
use tidemill_engine::time::window::TimeDomain;

use super::nodes::window::WindowNode;
use super::traits;

/// Gives FIRST_VALUE and LAST_VALUE the event-time column as second argument; other nodes stay.
pub(crate) fn order_by_time(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = node else { return Ok(Transformed::no(node)) };
    if !aggregate.aggr_expr.iter().any(goes_by_order) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Some(time) = event_time_column(&aggregate.input) else {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    };
    let calls = aggregate.aggr_expr.into_iter().map(|call| with_time(call, &time));
    let aggregate = Aggregate::try_new(aggregate.input, aggregate.group_expr, calls.collect())?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}

fn goes_by_order(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => goes_by_order(&alias.expr),
        Expr::AggregateFunction(call) => {
            matches!(call.func.name(), "first_value" | "first" | "last_value" | "last") && call.params.args.len() == 1
        }
        _ => false,
    }
}

/// The call with its time argument, under the name that it had without.
fn with_time(expr: Expr, time: &Column) -> Expr {
    if !goes_by_order(&expr) {
        return expr;
    }
    let name = expr.schema_name().to_string();
    match expr {
        Expr::AggregateFunction(mut call) => {
            call.params.args.push(col(time.clone()));
            Expr::AggregateFunction(call).alias(name)
        }
        Expr::Alias(mut alias) => {
            alias.expr = Box::new(with_time(*alias.expr, time));
            Expr::Alias(alias)
        }
        other => other,
    }
}

/// The event-time attribute of the rows; of windowed rows, the column that put them into their windows.
fn event_time_column(input: &LogicalPlan) -> Option<Column> {
    let traits = traits::of_plan(input);
    let index = traits.iter().position(|column| column.time == Some(TimeDomain::Event) && column.window.is_none());
    match index {
        Some(index) => Some(Column::from(input.schema().qualified_field(index))),
        None => window_time(input),
    }
}

fn window_time(plan: &LogicalPlan) -> Option<Column> {
    match plan {
        LogicalPlan::Extension(extension) => {
            let window = extension.node.as_any().downcast_ref::<WindowNode>()?;
            window.time.try_as_col().filter(|_| window.spec.domain == TimeDomain::Event).cloned()
        }
        LogicalPlan::Filter(filter) => window_time(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = window_time(&alias.input)?;
            let index = alias.input.schema().maybe_index_of_column(&inner)?;
            Some(Column::from(alias.schema.qualified_field(index)))
        }
        LogicalPlan::Projection(projection) => {
            let inner = window_time(&projection.input)?;
            let keeps = |expr: &Expr| expr.clone().unalias_nested().data.try_as_col() == Some(&inner);
            let index = projection.expr.iter().position(keeps)?;
            Some(Column::from(projection.schema.qualified_field(index)))
        }
        _ => None,
    }
}
