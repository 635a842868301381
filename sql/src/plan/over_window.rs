//! The window that an OVER clause describes, as the plan has it: its partitions and the order within them.

use datafusion_common::Column;
use datafusion_expr::expr::{NullTreatment, Sort, WindowFunction};
use datafusion_expr::{
    Expr, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
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
    /// Anything, or nothing, within a window of the input: partitions are complete when it closes. The window's end is the partition
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

/// Which rows of its partition a function looks at, in rising order of what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// The row and those before it.
    Before,
    /// All up to some time later.
    LaterTime,
    /// A number of rows behind it, whenever they come.
    LaterRows,
    /// All of them.
    Whole,
}

/// The farthest that a function of a window node reaches.
pub(crate) fn reach_of(window: &Window) -> Reach {
    window.window_expr.iter().filter_map(call_of).map(reach_of_call).max().unwrap_or(Reach::Before)
}

pub(crate) fn reach_of_call(call: &WindowFunction) -> Reach {
    let function = match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) => OverFunction::of(function),
        WindowFunctionDefinition::AggregateUDF(_) => None,
    };
    match function {
        Some(OverFunction::Ntile | OverFunction::PercentRank | OverFunction::CumeDist) => Reach::Whole,
        Some(OverFunction::Lead) if call.params.null_treatment == Some(NullTreatment::IgnoreNulls) => Reach::Whole,
        Some(OverFunction::Lead) => Reach::LaterRows,
        Some(OverFunction::RowNumber | OverFunction::Rank | OverFunction::DenseRank | OverFunction::Lag) => {
            Reach::Before
        }
        Some(OverFunction::FirstValue | OverFunction::LastValue | OverFunction::NthValue) | None => {
            reach_of_frame(&call.params.window_frame)
        }
    }
}

fn reach_of_frame(frame: &WindowFrame) -> Reach {
    let starts_with_partition = matches!(&frame.start_bound, WindowFrameBound::Preceding(start) if start.is_null());
    match (&frame.end_bound, frame.units) {
        (_, WindowFrameUnits::Groups) => Reach::Whole,
        (WindowFrameBound::Following(end), _) if end.is_null() => Reach::Whole,
        (WindowFrameBound::Following(_), WindowFrameUnits::Rows) => Reach::LaterRows,
        (WindowFrameBound::Following(_), WindowFrameUnits::Range) => Reach::LaterTime,
        // The row that stands there may be long gone.
        (WindowFrameBound::Preceding(_), WindowFrameUnits::Range) if starts_with_partition => Reach::Whole,
        (WindowFrameBound::Preceding(_) | WindowFrameBound::CurrentRow, _) => Reach::Before,
    }
}

/// The order within the partitions of a window node, all of whose calls share it.
pub(crate) fn order_of(window: &Window) -> OverOrder {
    let Some(call) = window.window_expr.iter().find_map(call_of) else { return OverOrder::Rows };
    let inputs = traits::of_plan(&window.input);
    let traits_of = |expr: &Expr| column_traits(expr, &window.input, &inputs);
    let partition: Vec<ColumnTraits> = call.params.partition_by.iter().map(traits_of).collect();
    let is_end = |known: &ColumnTraits| matches!(known.window, Some((WindowProperty::End, _)));
    if let (Some(spec), Some(end)) = (traits::window_of(&partition), partition.iter().position(is_end)) {
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
        // What waits for others to come leaves out of order.
        OverOrder::Time(_) if reach_of(window) >= Reach::LaterRows => traits.fill(ColumnTraits::default()),
        OverOrder::Time(_) => {}
        OverOrder::Window(..) => {
            traits.iter_mut().filter(|known| known.window.is_none()).for_each(|known| *known = ColumnTraits::default());
        }
        OverOrder::Newest | OverOrder::Rows => traits.fill(ColumnTraits::default()),
    }
    traits.resize(window.schema.fields().len(), ColumnTraits::default());
    traits
}
