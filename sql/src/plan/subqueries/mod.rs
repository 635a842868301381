//! Subqueries in expressions and lateral ones in FROM become joins, at every place where SQL lets them stand.
//!
//! A condition that WHERE joins by AND becomes a semi or an anti join. EXISTS, IN, ANY and ALL anywhere else become a
//! mark join, which adds a BOOLEAN column ([`quantified`] says how NULLs make of that what SQL asks). What other nodes
//! compute of subqueries is computed by a projection below them ([`hoist`]). Which rows a correlated subquery has for
//! each row around it is worked out in [`attach`] and, where that takes more than moving conditions, in [`dependent`].

mod attach;
mod dependent;
mod hoist;
mod lateral;
mod quantified;

use std::sync::Arc;

use datafusion_common::alias::AliasGenerator;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, JoinType, Result};
use datafusion_expr::expr::Exists;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, Extension, Filter, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, col, lit};

use datafusion_optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion_optimizer::{OptimizerConfig, OptimizerContext, OptimizerRule};

use super::nodes::single_row::SingleRowNode;

/// True for an expression with a subquery in it.
pub(crate) fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|part| Ok(is_subquery(part))).unwrap_or(true)
}

fn is_subquery(part: &Expr) -> bool {
    matches!(part, Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_))
}

/// One plan's subqueries; the names that it gives are unique in the plan.
pub(crate) struct Subqueries {
    context: OptimizerContext,
}

impl Subqueries {
    pub fn new(options: &Arc<ConfigOptions>) -> Self {
        let mut options = options.as_ref().clone();
        // A scalar subquery over a stream is a table of one changing row, not a constant.
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        let context = OptimizerContext::new_with_config_options(Arc::new(options));
        Self { context: context.without_query_execution_start_time() }
    }

    fn names(&self) -> &AliasGenerator {
        self.context.alias_generator()
    }

    /// Rewrites one node, whose inputs and subqueries were rewritten before.
    pub fn resolve(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        if let LogicalPlan::Join(join) = &node
            && let Some(subquery) = lateral::subquery_of(join)
        {
            return Ok(Transformed::yes(self.lateral(join, &subquery)?));
        }
        let node = node.map_children(|input| Ok(lateral::without_lateral(input)))?;
        if !node.data.expressions().iter().any(has_subquery) {
            return Ok(node);
        }
        Ok(Transformed::yes(match node.data {
            LogicalPlan::Filter(filter) => self.filter(filter)?,
            LogicalPlan::Projection(projection) => self.projection(projection)?,
            LogicalPlan::Aggregate(aggregate) => self.below_aggregate(aggregate)?,
            LogicalPlan::Window(window) => self.below_window(window)?,
            LogicalPlan::Join(join) => self.below_join(join)?,
            other => return Ok(Transformed::no(other)),
        }))
    }

    fn filter(&self, filter: Filter) -> Result<LogicalPlan> {
        let columns = filter.input.schema().columns();
        let (with, without): (Vec<_>, Vec<_>) =
            split_conjunction_owned(filter.predicate).into_iter().partition(has_subquery);
        let mut input = Arc::unwrap_or_clone(filter.input);
        // Rows that are dropped anyway need not be joined.
        if let Some(predicate) = conjunction(without) {
            input = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?);
        }
        let mut rest = Vec::new();
        for part in with {
            let part = self.nested_operands_below(part, &mut input)?;
            for condition in quantified::conditions(part, input.schema())? {
                match condition {
                    Expr::Exists(Exists { subquery, negated }) => {
                        let kind = if negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
                        input = self.attach(input, &subquery, kind)?.0;
                    }
                    other => rest.push(self.replace(other, &mut input)?),
                }
            }
        }
        let plan = match conjunction(rest) {
            Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?),
            None => input,
        };
        self.scalars_joined(only_columns(plan, &columns)?)
    }

    fn projection(&self, projection: Projection) -> Result<LogicalPlan> {
        let mut input = Arc::unwrap_or_clone(projection.input);
        let names = NamePreserver::new_for_projection();
        let mut exprs = Vec::with_capacity(projection.expr.len());
        for expr in projection.expr {
            let name = names.save(&expr);
            let expr = self.nested_operands_below(expr, &mut input)?;
            exprs.push(name.restore(self.replace(expr, &mut input)?));
        }
        self.scalars_joined(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
    }

    /// Scalar subqueries that are left become grouped joins.
    fn scalars_joined(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let rule = ScalarSubqueryToJoin::new();
        plan.transform_down(|node| match &node {
            LogicalPlan::Filter(_) | LogicalPlan::Projection(_) if node.expressions().iter().any(has_subquery) => {
                rule.rewrite(node, &self.context)
            }
            _ => Ok(Transformed::no(node)),
        })
        .data()
    }

    /// `(SELECT ...) IN (SELECT ...)`: the value that is looked for is computed first.
    fn nested_operands_below(&self, expr: Expr, input: &mut LogicalPlan) -> Result<Expr> {
        let nested = |part: &Expr| match part {
            Expr::InSubquery(call) => has_subquery(&call.expr),
            Expr::SetComparison(call) => has_subquery(&call.expr),
            _ => false,
        };
        if !expr.exists(|part| Ok(nested(part)))? {
            return Ok(expr);
        }
        let mut operands = Vec::new();
        let name = self.names().next("__operand");
        let mut named = |operand: Expr| {
            let column = Column::new(Some(name.as_str()), format!("o{}", operands.len()));
            operands.push(operand.alias_qualified(Some(name.as_str()), column.name()));
            Box::new(Expr::Column(column))
        };
        let replaced = expr.transform_down(|part| match part {
            Expr::InSubquery(mut call) if has_subquery(&call.expr) => {
                call.expr = named(*call.expr);
                Ok(Transformed::new(Expr::InSubquery(call), true, TreeNodeRecursion::Jump))
            }
            Expr::SetComparison(mut call) if has_subquery(&call.expr) => {
                call.expr = named(*call.expr);
                Ok(Transformed::new(Expr::SetComparison(call), true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(other)),
        })?;
        let taken = std::mem::replace(input, LogicalPlanBuilder::empty(false).build()?);
        *input = self.with_columns(taken, operands)?;
        Ok(replaced.data)
    }

    /// A plan with more columns, which may have subqueries.
    fn with_columns(&self, plan: LogicalPlan, added: Vec<Expr>) -> Result<LogicalPlan> {
        let columns = plan.schema().columns().into_iter().map(col).chain(added);
        self.projection(Projection::try_new(columns.collect(), Arc::new(plan))?)
    }

    /// The value of an expression over an input that has columns for its subqueries.
    fn replace(&self, expr: Expr, input: &mut LogicalPlan) -> Result<Expr> {
        let replaced = expr.transform_down(|part| match part {
            Expr::InSubquery(_) | Expr::SetComparison(_) => {
                let value = quantified::value(part, input.schema())?;
                Ok(Transformed::new(self.replace(value, input)?, true, TreeNodeRecursion::Jump))
            }
            Expr::Exists(Exists { subquery, negated }) => {
                if quantified::is_never(&subquery) {
                    return Ok(Transformed::yes(lit(negated)));
                }
                let taken = std::mem::replace(input, LogicalPlanBuilder::empty(false).build()?);
                let (marked, mark) = self.attach(taken, &subquery, JoinType::LeftMark)?;
                *input = marked;
                Ok(Transformed::yes(if negated { !mark } else { mark }))
            }
            Expr::ScalarSubquery(subquery) => self.scalar(subquery, input),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(replaced.data)
    }

    /// A subquery that is not known to give one row at most is watched when it runs.
    fn scalar(&self, subquery: Subquery, input: &mut LogicalPlan) -> Result<Transformed<Expr>> {
        if !subquery.outer_ref_columns.is_empty() {
            if attach::is_movable(&subquery.subquery)? {
                // A later rule makes a grouped join of it.
                return Ok(Transformed::new(Expr::ScalarSubquery(subquery), false, TreeNodeRecursion::Jump));
            }
            let taken = std::mem::replace(input, LogicalPlanBuilder::empty(false).build()?);
            let (joined, value) = self.attach(taken, &subquery, JoinType::Left)?;
            *input = joined;
            return Ok(Transformed::yes(value));
        }
        let plan = &subquery.subquery;
        if plan.max_rows().is_some_and(|rows| rows <= 1) {
            return Ok(Transformed::new(Expr::ScalarSubquery(subquery), false, TreeNodeRecursion::Jump));
        }
        let node = SingleRowNode { input: Arc::clone(plan) };
        let columns: Vec<Expr> = plan.schema().columns().into_iter().map(col).collect();
        let watched = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        // Only of a projection is it known which column stands for the value.
        let watched = LogicalPlanBuilder::from(watched).project(columns)?.build()?;
        let subquery = Subquery { subquery: Arc::new(watched), ..subquery };
        Ok(Transformed::new(Expr::ScalarSubquery(subquery), true, TreeNodeRecursion::Jump))
    }
}

/// The plan with these columns alone.
fn only_columns(plan: LogicalPlan, columns: &[Column]) -> Result<LogicalPlan> {
    if plan.schema().fields().len() == columns.len() {
        return Ok(plan);
    }
    let exprs = columns.iter().cloned().map(col).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}
