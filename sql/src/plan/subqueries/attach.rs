//! A subquery joined to the rows around it.
//!
//! Where only conditions tell which rows of a subquery belong to which row around it, and nothing in the subquery depends
//! on which rows these leave, the conditions move to the join. Everything else is left to [`super::dependent`].

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, JoinConstraint, JoinType, NullEquality, Result};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{Expr, FetchType, Filter, Join, LogicalPlan, Projection, SkipType, Subquery, col, lit};
use datafusion_optimizer::decorrelate::PullUpCorrelatedExpr;

use super::Subqueries;
use super::dependent::{Domain, has_outer};
use super::hoist::named_as;
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;

/// Name of a subquery's value behind its join.
const VALUE: &str = "value";

/// A subquery whose references to the rows around it have names that nothing else has.
pub(super) struct Isolated {
    pub plan: LogicalPlan,
    /// What these names stand for.
    pub outer: BTreeMap<Column, Column>,
}

impl Isolated {
    pub fn of(plan: &LogicalPlan, around: &DFSchema, name: &str) -> Result<Self> {
        let mut outer: BTreeMap<Column, Column> = BTreeMap::new();
        let isolated = plan.clone().transform_up(|node| {
            let names = Arc::clone(node.schema());
            let replaced = node.map_expressions(|expr| {
                expr.transform(|part| match part {
                    Expr::OuterReferenceColumn(field, column) => {
                        let index = around.maybe_index_of_column(&column).ok_or_else(|| too_far(&column))?;
                        let own = Column::new(Some(name), format!("c{index}"));
                        outer.insert(own.clone(), column);
                        Ok(Transformed::yes(Expr::OuterReferenceColumn(field, own)))
                    }
                    other => Ok(Transformed::no(other)),
                })
            })?;
            if !replaced.transformed {
                return Ok(replaced);
            }
            // Columns are called by the expressions that compute them, and so they are above.
            let node = replaced.data.recompute_schema()?;
            Ok(Transformed::yes(if node.schema().columns() == names.columns() {
                node
            } else {
                named_as(node, &names)?
            }))
        })?;
        Ok(Self { plan: isolated.data, outer })
    }
}

fn too_far(column: &Column) -> datafusion_common::DataFusionError {
    let message = format!("column `{}` is of a query more than one level further out", column.name);
    let hint = "select the column in the query between them, or write the inner subquery as a join";
    external(Diagnostic::new(message).with_hint(hint))
}

impl Subqueries {
    /// The input joined with a subquery, and what stands for the subquery then: the mark of a mark join, the value of
    /// a left join.
    pub(super) fn attach(
        &self,
        input: LogicalPlan,
        subquery: &Subquery,
        kind: JoinType,
    ) -> Result<(LogicalPlan, Expr)> {
        let name = self.names().next("__subquery");
        let mut isolated = Isolated::of(&subquery.subquery, input.schema(), &self.names().next("__outer"))?;
        if kind != JoinType::Left {
            isolated.plan = existential(isolated.plan)?;
        }
        let (right, condition) = match moved(&isolated, kind, &name)? {
            Some(moved) => moved,
            None => self.dependent(&input, &isolated, kind, &name)?,
        };
        let plan = joined(input, right, kind, condition)?;
        let stands_for = match kind {
            JoinType::LeftMark => Column::from(plan.schema().qualified_field(plan.schema().fields().len() - 1)),
            _ => Column::new(Some(name), VALUE),
        };
        Ok((plan, col(stands_for)))
    }

    fn dependent(
        &self,
        input: &LogicalPlan,
        isolated: &Isolated,
        kind: JoinType,
        name: &str,
    ) -> Result<(LogicalPlan, Expr)> {
        let domain = Domain::of(input, &isolated.outer, self.names())?;
        let plan = domain.push(&isolated.plan)?;
        let value = (kind == JoinType::Left)
            .then(|| col(plan.schema().columns()[0].clone()).alias_qualified(Some(name), VALUE));
        let columns = value.into_iter().chain(domain.columns().iter().cloned().map(col)).collect();
        let right = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
        Ok((right, domain.equals(&isolated.outer)))
    }
}

pub(super) fn joined(left: LogicalPlan, right: LogicalPlan, kind: JoinType, condition: Expr) -> Result<LogicalPlan> {
    let (left, right) = (Arc::new(left), Arc::new(right));
    let (on, nulls) = (JoinConstraint::On, NullEquality::NullEqualsNothing);
    Ok(LogicalPlan::Join(Join::try_new(left, right, vec![], Some(condition), kind, on, nulls, false)?))
}

/// The same as far as it matters whether there is a row: without what only says how rows look or in which order.
fn existential(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Projection(projection) => existential(Arc::unwrap_or_clone(projection.input)),
        LogicalPlan::SubqueryAlias(alias) => existential(Arc::unwrap_or_clone(alias.input)),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => existential(Arc::unwrap_or_clone(sort.input)),
        LogicalPlan::Limit(limit) if gives_first(&limit)? => existential(Arc::unwrap_or_clone(limit.input)),
        LogicalPlan::Filter(filter) => {
            let columns: Vec<Column> = filter.input.schema().columns();
            let (exprs, input) = match filter.input.as_ref() {
                LogicalPlan::Projection(projection) => (projection.expr.clone(), &projection.input),
                LogicalPlan::SubqueryAlias(alias) => {
                    (alias.input.schema().columns().into_iter().map(col).collect(), &alias.input)
                }
                _ => return Ok(LogicalPlan::Filter(filter)),
            };
            let values: BTreeMap<Column, Expr> =
                columns.into_iter().zip(exprs.into_iter().map(Expr::unalias)).collect();
            let predicate = with_columns_replaced(filter.predicate, &values)?;
            existential(LogicalPlan::Filter(Filter::try_new(predicate, Arc::clone(input))?))
        }
        other => Ok(other),
    }
}

/// LIMIT n with n > 0, from the first row on.
fn gives_first(limit: &datafusion_expr::Limit) -> Result<bool> {
    let skips_none = matches!(limit.get_skip_type()?, SkipType::Literal(0));
    Ok(skips_none && matches!(limit.get_fetch_type()?, FetchType::Literal(Some(fetch)) if fetch > 0))
}

pub(super) fn with_columns_replaced(expr: Expr, values: &BTreeMap<Column, Expr>) -> Result<Expr> {
    let replaced = expr.transform_up(|part| match &part {
        Expr::Column(column) => {
            Ok(values.get(column).map_or(Transformed::no(part.clone()), |value| Transformed::yes(value.clone())))
        }
        _ => Ok(Transformed::no(part)),
    })?;
    Ok(replaced.data)
}

/// The subquery without the conditions that read the rows around it, and these conditions over both; `None` where they
/// cannot be moved.
fn moved(isolated: &Isolated, kind: JoinType, name: &str) -> Result<Option<(LogicalPlan, Expr)>> {
    if kind == JoinType::Left || !moves_soundly(&isolated.plan, Aggregates::Grouped) {
        return Ok(None);
    }
    let mut pull_up = PullUpCorrelatedExpr::new();
    let plan = isolated.plan.clone().rewrite(&mut pull_up).data()?;
    if !pull_up.can_pull_up {
        return Ok(None);
    }
    let condition = conjunction(pull_up.join_filters).unwrap_or_else(|| lit(true));
    let mut columns: BTreeMap<Column, Expr> =
        isolated.outer.iter().map(|(own, outer)| (own.clone(), col(outer.clone()))).collect();
    let mut exprs = Vec::new();
    for column in condition.column_refs() {
        if !columns.contains_key(column) {
            let own = Column::new(Some(name), format!("c{}", exprs.len()));
            exprs.push(col(column.clone()).alias_qualified(Some(name), own.name()));
            columns.insert(column.clone(), col(own));
        }
    }
    if exprs.is_empty() {
        exprs.push(lit(true).alias_qualified(Some(name), "c0"));
    }
    exprs.sort_by_cached_key(|expr| expr.schema_name().to_string());
    let right = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?);
    Ok(Some((right, with_columns_replaced(condition, &columns)?)))
}

/// Which aggregation may stand above conditions that move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregates {
    /// One with groups: without rows it gives none.
    Grouped,
    /// One over all rows, as the last step.
    Whole,
    None,
}

/// True where the columns of conditions can be handed up to the top, and nothing on the way gives other rows for that.
fn moves_soundly(plan: &LogicalPlan, aggregates: Aggregates) -> bool {
    if !has_outer(plan) {
        return true;
    }
    match plan {
        LogicalPlan::Filter(filter) => {
            let below_whole = aggregates == Aggregates::Whole && has_outer(&filter.input);
            !below_whole
                && moves_soundly(
                    &filter.input,
                    if aggregates == Aggregates::Whole { Aggregates::None } else { aggregates },
                )
        }
        LogicalPlan::Projection(projection) => moves_soundly(&projection.input, aggregates),
        LogicalPlan::Aggregate(aggregate) => {
            let simple = !matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
            let fits = match aggregates {
                Aggregates::Grouped => !aggregate.group_expr.is_empty(),
                Aggregates::Whole => aggregate.group_expr.is_empty(),
                Aggregates::None => false,
            };
            simple && fits && moves_soundly(&aggregate.input, Aggregates::None)
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner => {
                moves_soundly(&join.left, Aggregates::None) && moves_soundly(&join.right, Aggregates::None)
            }
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                !has_outer(&join.right) && moves_soundly(&join.left, Aggregates::None)
            }
            _ => false,
        },
        _ => false,
    }
}

/// True for a scalar subquery that a rule of the optimizer can make a grouped join of.
pub(super) fn is_movable(plan: &LogicalPlan) -> Result<bool> {
    if !moves_soundly(plan, Aggregates::Whole) {
        return Ok(false);
    }
    let mut pull_up = PullUpCorrelatedExpr::new().with_need_handle_count_bug(true);
    plan.clone().rewrite(&mut pull_up)?;
    let mut is_aggregated = false;
    plan.apply(|node| {
        is_aggregated |= matches!(node, LogicalPlan::Aggregate(_)) && has_outer(node);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(pull_up.can_pull_up && is_aggregated)
}
