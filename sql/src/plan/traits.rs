//! What a stream knows about its columns beyond their types: which tell time, and which bound a window.

use datafusion_common::Column;
use datafusion_expr::{Aggregate, Distinct, Expr, LogicalPlan, Projection, Sort, TableScan};
use tidemill_engine::operators::window_aggregate::WindowProperty;
use tidemill_engine::time::window::{TimeDomain, WindowSpec};

use super::context::{CatalogTable, TableStream};
use super::nodes::temporal::TemporalNode;
use super::nodes::unnest::UnnestNode;
use super::nodes::window::{PROPERTIES, WindowNode};
use super::over_window;
use super::time_join;
use crate::catalog::{ColumnKind, TableDefinition};

/// Gives the current time; a column made of it is a processing-time attribute.
pub(crate) const PROCTIME: &str = "proctime";

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ColumnTraits {
    /// The column is a time attribute: windows can be put over it.
    pub time: Option<TimeDomain>,
    /// The column is a bound of the window that the row belongs to.
    pub window: Option<(WindowProperty, WindowSpec)>,
    /// Time in milliseconds as watermarks tell it, and no row comes behind one that has reached its value: its input drops what is late.
    pub is_punctual: bool,
}

impl ColumnTraits {
    /// A time attribute where the column is punctual, and nothing where not.
    pub fn as_punctual_time(&self) -> Self {
        Self { time: self.is_punctual.then_some(TimeDomain::Event), ..Self::default() }
    }

    /// Of a row of a window that is given once, when time has reached the window's end.
    fn of_closed_window(self) -> Self {
        let is_punctual = self.window.as_ref().is_some_and(|(property, spec)| {
            // In other zones the end of a window is shown in local time.
            let is_plain = spec.zone.is_none_or(|zone| zone == chrono_tz::UTC);
            is_plain && spec.domain == TimeDomain::Event && *property != WindowProperty::Start
        });
        Self { is_punctual, ..self }
    }

    pub fn not_punctual(self) -> Self {
        Self { is_punctual: false, ..self }
    }
}

/// The traits of a plan's output columns, in order. A plain column keeps its traits through every node; whatever is
/// computed from it has none.
pub(crate) fn of_plan(plan: &LogicalPlan) -> Vec<ColumnTraits> {
    let unknown = || vec![ColumnTraits::default(); plan.schema().fields().len()];
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan).unwrap_or_else(unknown),
        LogicalPlan::Projection(projection) => of_projection(projection),
        LogicalPlan::Filter(filter) => of_plan(&filter.input),
        LogicalPlan::Sort(sort) => of_sort(sort).unwrap_or_else(unknown),
        LogicalPlan::Limit(limit) => of_plan(&limit.input),
        LogicalPlan::SubqueryAlias(alias) => of_plan(&alias.input),
        LogicalPlan::Distinct(Distinct::All(input)) => windowed_only(of_plan(input)),
        LogicalPlan::Aggregate(aggregate) => of_aggregate(aggregate),
        LogicalPlan::Window(window) => not_punctual(over_window::traits_of(window)),
        LogicalPlan::Union(union) => {
            let mut inputs = union.inputs.iter().map(|input| of_plan(input));
            let first = inputs.next().unwrap_or_else(unknown);
            let all = inputs.fold(first, |known, next| known.into_iter().zip(next).map(common).collect());
            // Of two inputs one may be idle, and come behind the other later.
            not_punctual(all)
        }
        LogicalPlan::Join(join) => time_join::traits_of(join),
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            let window = node.downcast_ref::<WindowNode>().map(of_window);
            let unnest = || node.downcast_ref::<UnnestNode>().map(of_unnest);
            let temporal = || node.downcast_ref::<TemporalNode>().map(of_temporal);
            not_punctual(window.or_else(unnest).or_else(temporal).unwrap_or_else(unknown))
        }
        _ => unknown(),
    }
}

/// Rows in the order of time keep it; sorted by anything else they come when all are there.
fn of_sort(sort: &Sort) -> Option<Vec<ColumnTraits>> {
    let first = sort.expr.first().filter(|first| first.asc)?;
    let index = sort.input.schema().maybe_index_of_column(first.expr.try_as_col()?)?;
    let known = of_plan(&sort.input);
    known[index].time.is_some().then_some(known)
}

fn not_punctual(traits: Vec<ColumnTraits>) -> Vec<ColumnTraits> {
    traits.into_iter().map(ColumnTraits::not_punctual).collect()
}

fn common((left, right): (ColumnTraits, ColumnTraits)) -> ColumnTraits {
    if left == right { left } else { ColumnTraits::default() }
}

fn of_scan(scan: &TableScan) -> Option<Vec<ColumnTraits>> {
    let table = scan.source.downcast_ref::<CatalogTable>()?;
    if table.stream != TableStream::Rows {
        return None;
    }
    let fields = scan.projected_schema.fields().iter();
    Some(
        fields
            .map(|field| {
                let time = declared_time(&table.definition, field.name());
                ColumnTraits { time, ..ColumnTraits::default() }
            })
            .collect(),
    )
}

/// What a table's declaration says about a column.
fn declared_time(table: &TableDefinition, column: &str) -> Option<TimeDomain> {
    if table.watermark.as_ref().is_some_and(|watermark| watermark.column == column) {
        return Some(TimeDomain::Event);
    }
    match &table.column(column)?.kind {
        ColumnKind::Computed(sqlparser::ast::Expr::Function(call))
            if call.name.to_string().eq_ignore_ascii_case(PROCTIME) =>
        {
            Some(TimeDomain::Processing)
        }
        _ => None,
    }
}

fn of_projection(projection: &Projection) -> Vec<ColumnTraits> {
    let inputs = of_plan(&projection.input);
    let schema = projection.input.schema();
    let of_column = |column: &Column| schema.maybe_index_of_column(column).map(|index| inputs[index].clone());
    projection.expr.iter().map(|expr| of_expr(expr, &of_column)).collect()
}

fn of_expr(expr: &Expr, of_column: &dyn Fn(&Column) -> Option<ColumnTraits>) -> ColumnTraits {
    match expr {
        Expr::Alias(alias) => of_expr(&alias.expr, of_column),
        Expr::Column(column) => of_column(column).unwrap_or_default(),
        Expr::ScalarFunction(call) if call.name() == PROCTIME => {
            ColumnTraits { time: Some(TimeDomain::Processing), ..ColumnTraits::default() }
        }
        _ => ColumnTraits::default(),
    }
}

/// Once rows have windows, only window_time is a time attribute.
fn of_window(node: &WindowNode) -> Vec<ColumnTraits> {
    let inherited = vec![ColumnTraits::default(); node.input.schema().fields().len()];
    let added = PROPERTIES.iter().map(|property| ColumnTraits {
        time: (*property == WindowProperty::Time).then_some(node.spec.domain),
        window: Some((*property, node.spec.clone())),
        is_punctual: false,
    });
    inherited.into_iter().chain(added).collect()
}

fn of_unnest(node: &UnnestNode) -> Vec<ColumnTraits> {
    let added = vec![ColumnTraits::default(); node.added.fields().len()];
    of_plan(&node.input).into_iter().chain(added).collect()
}

/// Left rows keep their times; those of versions are older.
fn of_temporal(node: &TemporalNode) -> Vec<ColumnTraits> {
    let versions = vec![ColumnTraits::default(); node.right.schema().fields().len()];
    of_plan(&node.left).into_iter().chain(versions).collect()
}

fn of_aggregate(aggregate: &Aggregate) -> Vec<ColumnTraits> {
    let keys = windowed_only(of_keys(aggregate));
    let mut traits: Vec<_> = keys.into_iter().map(ColumnTraits::of_closed_window).collect();
    traits.resize(aggregate.schema.fields().len(), ColumnTraits::default());
    traits
}

/// The traits of an aggregation's keys, as columns of its input.
pub(crate) fn of_keys(aggregate: &Aggregate) -> Vec<ColumnTraits> {
    let inputs = of_plan(&aggregate.input);
    let schema = aggregate.input.schema();
    let of_column = |column: &Column| schema.maybe_index_of_column(column).map(|index| inputs[index].clone());
    let grouped = datafusion_expr::utils::grouping_set_to_exprlist(&aggregate.group_expr).unwrap_or_default();
    grouped.into_iter().map(|expr| of_expr(expr, &of_column)).collect()
}

/// Grouped rows keep their windows if they are grouped by both bounds; without, a group never ends and no column
/// tells time.
fn windowed_only(keys: Vec<ColumnTraits>) -> Vec<ColumnTraits> {
    let keeps = window_of(&keys).is_some();
    let keep = |traits: ColumnTraits| if keeps && traits.window.is_some() { traits } else { ColumnTraits::default() };
    keys.into_iter().map(keep).collect()
}

/// The window that grouping by columns with these traits is over: both its bounds must be among them.
pub(crate) fn window_of(keys: &[ColumnTraits]) -> Option<&WindowSpec> {
    let bounds = |wanted: WindowProperty| {
        keys.iter().filter_map(move |key| match &key.window {
            Some((property, spec)) if *property == wanted => Some(spec),
            _ => None,
        })
    };
    let mut starts = bounds(WindowProperty::Start);
    starts.find(|start| bounds(WindowProperty::End).any(|end| end == *start))
}
