//! Subqueries that depend on the row around them in any way, computed for all such rows at once.
//!
//! The distinct values that the rows around have in the columns that are read (the *domain*) are carried through the
//! subquery as columns of its own: what groups, numbers or limits rows does so within each of these values. An
//! equality with a column of the subquery makes that column stand for the value; otherwise the domain is joined in.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::alias::AliasGenerator;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, ExprSchema, JoinType, Result, ScalarValue};
use datafusion_expr::expr::{AggregateFunction, Case, Sort as SortExpr, WindowFunction};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{
    Aggregate, BinaryExpr, Expr, ExprSchemable, FetchType, Filter, Join, Limit, LogicalPlan, Operator, Projection,
    SkipType, Union, Window, binary_expr, col, lit,
};

use super::attach::joined;
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::window_functions;

/// True for a plan that reads rows around it.
pub(super) fn has_outer(plan: &LogicalPlan) -> bool {
    plan.exists(|node| Ok(node.contains_outer_reference())).unwrap_or(true)
}

fn reads_outer(expr: &Expr) -> bool {
    expr.exists(|part| Ok(matches!(part, Expr::OuterReferenceColumn(..)))).unwrap_or(true)
}

/// References to rows around become plain columns: of the domain, once they are called so.
pub(super) fn own(expr: Expr) -> Result<Expr> {
    let own = expr.transform_up(|part| match part {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(own.data)
}

pub(super) struct Domain<'a> {
    /// The distinct values.
    plan: LogicalPlan,
    columns: Vec<Column>,
    names: &'a AliasGenerator,
}

impl<'a> Domain<'a> {
    /// `outer`: names of columns of the domain, and what they are of `around`.
    pub fn of(around: &LogicalPlan, outer: &BTreeMap<Column, Column>, names: &'a AliasGenerator) -> Result<Self> {
        let values = outer.iter().map(|(own, outer)| named(col(outer.clone()), own)).collect();
        let columns: Vec<Column> = outer.keys().cloned().collect();
        let values = project(values, around.clone())?;
        let groups = columns.iter().cloned().map(col).collect();
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(values), groups, vec![])?);
        Ok(Self { plan, columns, names })
    }

    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The rows of the subquery that are those of a row around.
    pub fn equals(&self, outer: &BTreeMap<Column, Column>) -> Expr {
        let same = |own: &Column| self.same(own, &outer[own]);
        self.columns.iter().map(same).reduce(Expr::and).unwrap_or_else(|| lit(true))
    }

    fn same(&self, own: &Column, other: &Column) -> Expr {
        let nullable = self.plan.schema().field_from_column(own).is_ok_and(|field| field.is_nullable());
        let op = if nullable { Operator::IsNotDistinctFrom } else { Operator::Eq };
        binary_expr(col(own.clone()), op, col(other.clone()))
    }

    /// The rows of a subquery for each value of the domain, with the domain's columns behind its own.
    pub fn push(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        if !has_outer(plan) {
            return joined(plan.clone(), self.plan.clone(), JoinType::Inner, lit(true));
        }
        match plan {
            LogicalPlan::Subquery(subquery) => self.push(&subquery.subquery),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => {
                let input = self.push(&projection.input)?;
                let exprs = projection.expr.iter().cloned().map(own).collect::<Result<Vec<_>>>()?;
                self.behind(exprs, input, &projection.schema)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.push(&alias.input)?;
                self.behind(alias.input.schema().columns().into_iter().map(col).collect(), input, &alias.schema)
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.push(&sort.input),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Join(join) => self.join(join),
            _ => Err(refused(
                "a correlated subquery of this kind",
                "write it as a join, or as a view that is grouped by what it compares",
            )),
        }
    }

    /// Expressions under the names of a schema, and the domain's columns.
    fn behind(&self, exprs: Vec<Expr>, input: LogicalPlan, names: &DFSchema) -> Result<LogicalPlan> {
        let exprs = exprs.into_iter().zip(names.columns()).map(|(expr, name)| named(expr.unalias(), &name));
        project(exprs.chain(self.columns.iter().cloned().map(col)).collect(), input)
    }

    fn filter(&self, filter: &Filter) -> Result<LogicalPlan> {
        let parts = split_conjunction_owned(filter.predicate.clone());
        if let Some(bound) = self.bound_by(&parts, filter) {
            let fits = |expr: &Expr| expr.clone().is_not_null();
            let nothing =
                bound.values().filter(|expr| expr.nullable(filter.input.schema().as_ref()).unwrap_or(true)).map(fits);
            let known = LogicalPlan::Filter(Filter::try_new(
                conjunction(nothing).unwrap_or_else(|| lit(true)),
                Arc::clone(&filter.input),
            )?);
            let columns = filter.input.schema().columns().into_iter().map(col);
            let values = self.columns.iter().map(|column| named(bound[column].clone(), column));
            let input = project(columns.chain(values).collect(), known)?;
            return self.filtered(parts, input);
        }
        let input = self.push(&filter.input)?;
        self.filtered(parts, input)
    }

    fn filtered(&self, parts: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan> {
        let parts = parts.into_iter().map(own).collect::<Result<Vec<_>>>()?;
        let predicate = conjunction(parts).unwrap_or_else(|| lit(true));
        Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?))
    }

    /// What each column of the domain equals in the rows below, if all of them are told by equalities.
    fn bound_by(&self, parts: &[Expr], filter: &Filter) -> Option<BTreeMap<Column, Expr>> {
        if has_outer(&filter.input) {
            return None;
        }
        let schema = filter.input.schema();
        let mut bound = BTreeMap::new();
        for part in parts {
            let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { continue };
            for (outer, inner) in [(left, right), (right, left)] {
                if let Expr::OuterReferenceColumn(field, column) = outer.as_ref()
                    && !reads_outer(inner)
                    && inner.get_type(schema.as_ref()).is_ok_and(|found| found == *field.data_type())
                    && !inner.is_volatile()
                {
                    bound.insert(column.clone(), inner.as_ref().clone());
                }
            }
        }
        self.columns.iter().all(|column| bound.contains_key(column)).then_some(bound)
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Result<LogicalPlan> {
        if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
            return Err(refused("GROUPING SETS in a correlated subquery", "write each set as a query of its own"));
        }
        let input = self.push(&aggregate.input)?;
        let groups = aggregate.group_expr.iter().cloned().map(own).collect::<Result<Vec<_>>>()?;
        let calls = aggregate.aggr_expr.iter().cloned().map(own).collect::<Result<Vec<_>>>()?;
        let all = self.columns.iter().cloned().map(col).chain(groups).collect();
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), all, calls)?);
        let places = grouped.schema().columns().into_iter().skip(self.columns.len()).map(col).collect();
        if !aggregate.group_expr.is_empty() {
            return self.behind(places, grouped, &aggregate.schema);
        }
        self.with_empty_groups(aggregate, places, grouped)
    }

    /// An aggregation of no rows is a row too: values without rows get what their aggregates are of nothing.
    fn with_empty_groups(&self, aggregate: &Aggregate, places: Vec<Expr>, grouped: LogicalPlan) -> Result<LogicalPlan> {
        let name = self.names.next("__group");
        let inner = |column: &Column| Column::new(Some(name.as_str()), column.name());
        let there = Column::new(Some(name.as_str()), "there");
        let values: Vec<Column> =
            (0..places.len()).map(|index| Column::new(Some(name.as_str()), format!("v{index}"))).collect();
        let exprs = places.into_iter().zip(&values).map(|(place, value)| named(place, value));
        let keys = self.columns.iter().map(|column| named(col(column.clone()), &inner(column)));
        let grouped = project(exprs.chain(keys).chain([named(lit(true), &there)]).collect(), grouped)?;
        let same = self.columns.iter().map(|column| self.same(column, &inner(column))).reduce(Expr::and);
        let all = joined(self.plan.clone(), grouped, JoinType::Left, same.unwrap_or_else(|| lit(true)))?;
        let value = |(value, call): (Column, &Expr)| match of_nothing(call)? {
            nothing if nothing.is_null() => Ok(col(value)),
            nothing => {
                let missing = col(there.clone()).is_null();
                let cases = vec![(Box::new(missing), Box::new(Expr::Literal(nothing, None)))];
                Ok(Expr::Case(Case::new(None, cases, Some(Box::new(col(value))))))
            }
        };
        let results = values.into_iter().zip(&aggregate.aggr_expr).map(value).collect::<Result<Vec<_>>>()?;
        self.behind(results, all, &aggregate.schema)
    }

    fn window(&self, window: &Window) -> Result<LogicalPlan> {
        let input = self.push(&window.input)?;
        let width = window.input.schema().fields().len();
        let within = |expr: &Expr| {
            let expr = own(expr.clone())?.transform_up(|part| match part {
                Expr::WindowFunction(mut call) => {
                    call.params.partition_by.extend(self.columns.iter().cloned().map(col));
                    Ok(Transformed::yes(Expr::WindowFunction(call)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(expr.data)
        };
        let exprs = window.window_expr.iter().map(within).collect::<Result<Vec<_>>>()?;
        let windowed = LogicalPlan::Window(Window::try_new(exprs, Arc::new(input))?);
        let columns = windowed.schema().columns();
        let places = columns[..width].iter().chain(&columns[width + self.columns.len()..]);
        let places = places.cloned().map(col).collect();
        self.behind(places, windowed, &window.schema)
    }

    /// The first rows of each value, by number.
    fn limit(&self, limit: &Limit) -> Result<LogicalPlan> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Err(refused("a computed LIMIT in a correlated subquery", "write the number"));
        };
        let input = match limit.input.as_ref() {
            // Rows keep their order through a projection, whose columns the order may not read.
            LogicalPlan::Projection(projection) => {
                let below = LogicalPlan::Limit(Limit { input: Arc::clone(&projection.input), ..limit.clone() });
                let input = self.push(&below)?;
                let exprs = projection.expr.iter().cloned().map(own).collect::<Result<Vec<_>>>()?;
                return self.behind(exprs, input, &projection.schema);
            }
            LogicalPlan::Sort(sort) => sort,
            _ => {
                let hint = "add ORDER BY, so that it is known which rows are meant";
                return Err(refused("LIMIT without ORDER BY in a correlated subquery", hint));
            }
        };
        let order = input.expr.iter().map(|sort| Ok(SortExpr { expr: own(sort.expr.clone())?, ..sort.clone() }));
        let order = order.collect::<Result<Vec<_>>>()?;
        self.numbered(&input.input, order, skip, fetch)
    }

    fn numbered(
        &self,
        plan: &LogicalPlan,
        order: Vec<SortExpr>,
        skip: usize,
        fetch: Option<usize>,
    ) -> Result<LogicalPlan> {
        let input = self.push(plan)?;
        let function = window_functions::find("row_number")
            .ok_or_else(|| refused("LIMIT in a correlated subquery", "number the rows with ROW_NUMBER()"))?;
        let mut call = WindowFunction::new(function, vec![]);
        call.params.partition_by = self.columns.iter().cloned().map(col).collect();
        call.params.order_by = order;
        let numbered = LogicalPlan::Window(Window::try_new(vec![Expr::from(call)], Arc::new(input))?);
        let number = numbered.schema().columns().pop().map(col).unwrap_or_else(|| lit(0_i64));
        let first = (skip > 0).then(|| number.clone().gt(lit(skip as i64)));
        let last = fetch.map(|fetch| number.lt_eq(lit((skip + fetch) as i64)));
        let chosen = conjunction(first.into_iter().chain(last)).unwrap_or_else(|| lit(true));
        let chosen = LogicalPlan::Filter(Filter::try_new(chosen, Arc::new(numbered))?);
        self.behind(plan.schema().columns().into_iter().map(col).collect(), chosen, plan.schema())
    }

    /// By place, as a union is.
    fn union(&self, union: &Union) -> Result<LogicalPlan> {
        let width = union.schema.fields().len();
        let plain = |index: usize| Column::new_unqualified(format!("__u{index}"));
        let inputs = union.inputs.iter().map(|input| {
            let input = self.push(input)?;
            let columns = input.schema().columns().into_iter().enumerate();
            Ok(Arc::new(project(columns.map(|(index, column)| named(col(column), &plain(index))).collect(), input)?))
        });
        let all = LogicalPlan::Union(Union::try_new(inputs.collect::<Result<Vec<_>>>()?)?);
        let names = union.schema.columns().into_iter().chain(self.columns.iter().cloned());
        debug_assert_eq!(all.schema().fields().len(), width + self.columns.len(), "each side has both");
        let own = all.schema().columns();
        project(own.into_iter().zip(names).map(|(own, name)| named(col(own), &name)).collect(), all)
    }

    fn join(&self, join: &Join) -> Result<LogicalPlan> {
        use JoinType::{Inner, Left, LeftAnti, LeftMark, LeftSemi};
        if !matches!(join.join_type, Inner | Left | LeftSemi | LeftAnti | LeftMark) {
            return Err(refused("a RIGHT or FULL JOIN in a correlated subquery", "write it as a LEFT JOIN"));
        }
        let mut parts: Vec<Expr> = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        parts = parts.into_iter().map(own).collect::<Result<_>>()?;
        let left = self.push(&join.left)?;
        let right = if has_outer(&join.right) {
            let name = self.names.next("__side");
            let inner = |column: &Column| Column::new(Some(name.as_str()), column.name());
            parts.extend(self.columns.iter().map(|column| self.same(column, &inner(column))));
            let right = self.push(&join.right)?;
            let own = join.right.schema().columns().into_iter().map(col);
            let keys = self.columns.iter().map(|column| named(col(column.clone()), &inner(column)));
            project(own.chain(keys).collect(), right)?
        } else {
            join.right.as_ref().clone()
        };
        let both = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            join.on.clone(),
            conjunction(parts),
            join.join_type,
            join.join_constraint,
            join.null_equality,
            false,
        )?;
        let mut places = join.schema.columns();
        if join.join_type == LeftMark {
            places.pop();
            places.extend(both.schema.columns().pop());
        }
        self.behind(places.into_iter().map(col).collect(), LogicalPlan::Join(both), &join.schema)
    }
}

/// An expression under a name with its qualifier.
fn named(expr: Expr, name: &Column) -> Expr {
    match &expr {
        Expr::Column(column) if column.relation == name.relation && column.name == name.name => expr,
        _ => expr.alias_qualified(name.relation.clone(), name.name.clone()),
    }
}

fn project(exprs: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
}

/// An aggregate's value over no rows.
fn of_nothing(call: &Expr) -> Result<ScalarValue> {
    let mut value = ScalarValue::Null;
    call.apply(|part| {
        if let Expr::AggregateFunction(AggregateFunction { func, .. }) = part {
            if func.name() == "count" {
                value = func.default_value(&DataType::Int64)?;
            }
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(value)
}

fn refused(what: &str, hint: &str) -> datafusion_common::DataFusionError {
    external(Diagnostic::new(format!("{what} over a stream is not supported yet")).with_hint(hint))
}
