//! The window that an OVER clause describes, as the plan has it: its partitions and the order within them.

use datafusion_common::Column;
use datafusion_expr::expr::{Sort, WindowFunction};
use datafusion_expr::{Expr, LogicalPlan, Window, WindowFunctionDefinition};
use tidemill_engine::operators::ordering::RankFunction;
use tidemill_engine::operators::window_aggregate::WindowProperty;
use tidemill_engine::time::window::{TimeDomain, WindowSpec};

use super::traits::{self, ColumnTraits};
use super::window_functions::OverFunction;

/// What orders the rows of a partition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OverOrder {
    /// A time attribute comes first, upwards: the rows can be handled as time passes.
    Time(TimeDomain),
    /// A processing-time attribute, downwards: the row that arrived last comes first.
    Newest,
    /// Anything within a window of the input: partitions are complete when it closes. The window's end is the partition
    /// column at this place.
    Window(WindowSpec, usize),
    /// Anything else: a new row may come in before others.
    Rows,
}

/// The call behind an expression of a window node.
pub(crate) fn call_of(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::WindowFunction(call) => Some(call),
        _ => None,
    }
}

/// ROW_NUMBER, RANK or DENSE_RANK.
pub(crate) fn rank_of(call: &WindowFunction) -> Option<RankFunction> {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) => OverFunction::of(function)?.rank(),
        WindowFunctionDefinition::AggregateUDF(_) => None,
    }
}

/// The order within the partitions of a window node, all of whose calls share it.
pub(crate) fn order_of(window: &Window) -> OverOrder {
    let Some(call) = window.window_expr.iter().find_map(call_of) else { return OverOrder::Rows };
    let inputs = traits::of_plan(&window.input);
    let traits_of = |expr: &Expr| column_traits(expr, &window.input, &inputs);
    let partition: Vec<ColumnTraits> = call.params.partition_by.iter().map(traits_of).collect();
    let is_end = |known: &ColumnTraits| matches!(known.window, Some((WindowProperty::End, _)));
    if let (Some(spec), Some(end)) = (traits::window_of(&partition), partition.iter().position(is_end))
        && rank_of(call).is_some()
    {
        return OverOrder::Window(spec.clone(), end);
    }
    match call.params.order_by.first() {
        Some(Sort { expr, asc: true, .. }) => traits_of(expr).time.map_or(OverOrder::Rows, OverOrder::Time),
        Some(Sort { expr, asc: false, .. }) if traits_of(expr).time == Some(TimeDomain::Processing) => {
            OverOrder::Newest
        }
        _ => OverOrder::Rows,
    }
}

fn column_traits(expr: &Expr, input: &LogicalPlan, inputs: &[ColumnTraits]) -> ColumnTraits {
    let column: Option<&Column> = match expr {
        Expr::Alias(alias) => return column_traits(&alias.expr, input, inputs),
        Expr::Column(column) => Some(column),
        _ => None,
    };
    let index = column.and_then(|column| input.schema().maybe_index_of_column(column));
    index.map(|index| inputs[index].clone()).unwrap_or_default()
}

/// The traits of a window node's columns: rows that are handled in the order of time keep it, rows of closed windows keep
/// their window.
pub(crate) fn traits_of(window: &Window) -> Vec<ColumnTraits> {
    let mut traits = traits::of_plan(&window.input);
    match order_of(window) {
        OverOrder::Time(_) => {}
        OverOrder::Window(..) => {
            traits.iter_mut().filter(|known| known.window.is_none()).for_each(|known| *known = ColumnTraits::default());
        }
        OverOrder::Newest | OverOrder::Rows => traits.fill(ColumnTraits::default()),
    }
    traits.resize(window.schema.fields().len(), ColumnTraits::default());
    traits
}
