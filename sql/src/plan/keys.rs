//! Which columns tell the rows of a plan's output apart: its keys, as functions over the plan.
//!
//! A key says two things. No two rows that are there at one time agree in its columns; and all changes of rows with the
//! same values in them come in order, through one instance, so that who replaces rows by them ends with the right ones.
//! A node that spreads its rows by other columns keeps only those keys that contain these.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Extension, Filter, Join, JoinType, LogicalPlan, Operator, Projection,
    TableScan, Window,
};
use tidemill_engine::operators::ordering::RankFunction;
use tidemill_engine::time::window::WindowKind;

use super::context::{CatalogTable, TableStream};
use super::nodes::window::{PROPERTIES, WindowNode};
use super::over_window;

/// Columns of a plan's output. The empty key belongs to what has one row at most.
pub(crate) type Key = BTreeSet<usize>;

/// Keys of one plan at most: more could only help plans that nobody writes.
const KEYS_MAX: usize = 8;

/// The keys of a plan's output, none of which contains another; empty where none is known.
pub(crate) fn of_plan(plan: &LogicalPlan) -> Vec<Key> {
    let keys = match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan),
        LogicalPlan::Projection(projection) => of_projection(projection),
        LogicalPlan::Filter(filter) => of_filter(filter),
        LogicalPlan::SubqueryAlias(alias) => of_plan(&alias.input),
        LogicalPlan::Sort(sort) => of_plan(&sort.input),
        LogicalPlan::Limit(limit) => of_plan(&limit.input),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let all = (0..input.schema().fields().len()).collect();
            of_plan(input).into_iter().chain([all]).collect()
        }
        LogicalPlan::Aggregate(aggregate) => vec![of_aggregate(aggregate)],
        LogicalPlan::Window(window) => of_window(window),
        LogicalPlan::Join(join) => of_join(join),
        LogicalPlan::Extension(extension) => of_extension(extension),
        _ => Vec::new(),
    };
    smallest(keys)
}

/// Leaves out keys that contain another.
fn smallest(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_by_key(BTreeSet::len);
    let mut kept: Vec<Key> = Vec::new();
    for key in keys {
        if !kept.iter().any(|smaller| smaller.is_subset(&key)) {
            kept.push(key);
        }
    }
    kept.truncate(KEYS_MAX);
    kept
}

/// A column that has one value in all rows that are left tells none of them apart.
fn of_filter(filter: &Filter) -> Vec<Key> {
    let fixed: Key = split_conjunction(&filter.predicate)
        .into_iter()
        .filter_map(|condition| fixed_column(condition, &filter.input))
        .collect();
    let without = |key: Key| key.into_iter().filter(|column| !fixed.contains(column)).collect();
    of_plan(&filter.input).into_iter().map(without).collect()
}

/// The column of a plan that a condition lets have one value only: `c = 1`, or `n <= 1` for a row number.
fn fixed_column(condition: &Expr, plan: &LogicalPlan) -> Option<usize> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (column, op, value) = match (plain_column(left), plain_column(right)) {
        (Some(column), None) => (column, *op, right),
        (None, Some(column)) => (column, op.swap()?, left),
        _ => return None,
    };
    let value = literal(value)?;
    let index = plan.schema().maybe_index_of_column(column)?;
    let is_first = |least: i64| value.cast_to(&DataType::Int64).ok() == Some(ScalarValue::Int64(Some(least)));
    let fixes = match op {
        Operator::Eq => !value.is_null(),
        Operator::LtEq => is_first(1) && is_row_number(plan, index),
        Operator::Lt => is_first(2) && is_row_number(plan, index),
        _ => false,
    };
    fixes.then_some(index)
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        Expr::Cast(cast) => literal(&cast.expr),
        _ => None,
    }
}

/// True where a column of a plan is ROW_NUMBER of a window below.
fn is_row_number(plan: &LogicalPlan, index: usize) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_row_number(&alias.input, index),
        LogicalPlan::Filter(filter) => is_row_number(&filter.input, index),
        LogicalPlan::Projection(projection) => {
            let column = projection.expr.get(index).and_then(plain_column);
            let below = column.and_then(|column| projection.input.schema().maybe_index_of_column(column));
            below.is_some_and(|below| is_row_number(&projection.input, below))
        }
        LogicalPlan::Window(window) => match index.checked_sub(window.input.schema().fields().len()) {
            Some(own) => window.window_expr.get(own).is_some_and(is_row_number_call),
            None => is_row_number(&window.input, index),
        },
        _ => false,
    }
}

fn is_row_number_call(expr: &Expr) -> bool {
    over_window::call_of(expr).is_some_and(|call| over_window::rank_of(call) == Some(RankFunction::RowNumber))
}

/// The primary key, if all of it is read.
fn of_scan(scan: &TableScan) -> Vec<Key> {
    let Some(table) = scan.source.downcast_ref::<CatalogTable>() else { return Vec::new() };
    let key = &table.definition.primary_key;
    if table.stream != TableStream::Rows || key.is_empty() {
        return Vec::new();
    }
    let fields = scan.projected_schema.fields();
    let place = |name: &String| fields.iter().position(|field| field.name() == name);
    key.iter().map(place).collect::<Option<Key>>().into_iter().collect()
}

/// A key stays where each of its columns is handed on as it is.
fn of_projection(projection: &Projection) -> Vec<Key> {
    let schema = projection.input.schema();
    let origin = |expr: &Expr| plain_column(expr).and_then(|column| schema.maybe_index_of_column(column));
    let origins: Vec<Option<usize>> = projection.expr.iter().map(origin).collect();
    let place = |input: usize| origins.iter().position(|origin| *origin == Some(input));
    let keys = of_plan(&projection.input).into_iter();
    keys.filter_map(|key| key.into_iter().map(place).collect::<Option<Key>>()).collect()
}

fn plain_column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Alias(alias) => plain_column(&alias.expr),
        Expr::Column(column) => Some(column),
        _ => None,
    }
}

/// The grouping columns, with the grouping id where there are several sets.
fn of_aggregate(aggregate: &Aggregate) -> Key {
    let columns = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    (0..columns).collect()
}

/// Rows keep their keys where these hold the partition; a row number tells the rows of a partition apart.
fn of_window(window: &Window) -> Vec<Key> {
    let schema = window.input.schema();
    let mut keys = of_plan(&window.input);
    for (index, expr) in window.window_expr.iter().enumerate() {
        let Some(call) = over_window::call_of(expr) else { return Vec::new() };
        let place = |expr: &Expr| plain_column(expr).and_then(|column| schema.maybe_index_of_column(column));
        let Some(partition) = call.params.partition_by.iter().map(place).collect::<Option<Key>>() else {
            return Vec::new();
        };
        keys.retain(|key| partition.is_subset(key));
        if is_row_number_call(expr) {
            keys.push(partition.into_iter().chain([schema.fields().len() + index]).collect());
        }
    }
    keys
}

/// One side of a join.
struct Side {
    /// Those that hold the columns by which rows are joined, and so spread.
    keys: Vec<Key>,
    /// A row of the other side finds one row here at most.
    is_unique: bool,
}

impl Side {
    fn new(plan: &LogicalPlan, joined_by: &Key) -> Self {
        let keys = of_plan(plan);
        let is_unique = keys.iter().any(|key| key.is_subset(joined_by));
        Self { keys: keys.into_iter().filter(|key| joined_by.is_subset(key)).collect(), is_unique }
    }

    fn shifted(&self, by: usize) -> Vec<Key> {
        self.keys.iter().map(|key| key.iter().map(|column| column + by).collect()).collect()
    }
}

/// The keys of one side where the other has one row at most for each of its rows, else those of both sides together.
fn of_join(join: &Join) -> Vec<Key> {
    let columns = |plan: &LogicalPlan, exprs: &mut dyn Iterator<Item = &Expr>| {
        let place = |expr: &Expr| plain_column(expr).and_then(|column| plan.schema().maybe_index_of_column(column));
        exprs.map(place).collect::<Option<Key>>()
    };
    let left_by = columns(&join.left, &mut join.on.iter().map(|(left, _)| left));
    let right_by = columns(&join.right, &mut join.on.iter().map(|(_, right)| right));
    let (Some(left_by), Some(right_by)) = (left_by, right_by) else { return Vec::new() };
    if left_by.is_empty() {
        return Vec::new();
    }
    let (left, right) = (Side::new(&join.left, &left_by), Side::new(&join.right, &right_by));
    let right_keys = right.shifted(join.left.schema().fields().len());
    let both = || {
        let pairs =
            left.keys.iter().flat_map(|one| right_keys.iter().map(move |other| one.union(other).copied().collect()));
        pairs.collect::<Vec<Key>>()
    };
    match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left.keys,
        JoinType::RightSemi | JoinType::RightAnti => right.keys,
        JoinType::Inner => {
            let of_left = left.keys.iter().filter(|_| right.is_unique).cloned();
            let of_right = right_keys.iter().filter(|_| left.is_unique).cloned();
            of_left.chain(of_right).chain(both()).collect()
        }
        JoinType::Left if right.is_unique => left.keys,
        JoinType::Right if left.is_unique => right_keys,
        _ => Vec::new(),
    }
}

/// A row stands once in a TUMBLE or a SESSION, and once per window in the others.
fn of_extension(extension: &Extension) -> Vec<Key> {
    let Some(node) = extension.node.as_any().downcast_ref::<WindowNode>() else { return Vec::new() };
    let inherited = node.input.schema().fields().len();
    let once = matches!(node.spec.kind, WindowKind::Tumble { .. } | WindowKind::Session { .. });
    let added = if once { Key::new() } else { (inherited..inherited + PROPERTIES.len()).collect() };
    of_plan(&node.input).into_iter().map(|key| key.union(&added).copied().collect()).collect()
}
