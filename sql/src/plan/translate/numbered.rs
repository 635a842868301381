//! OVER windows: which operator computes their functions.
//!
//! A rank alone is left pending until the conditions on it are known, see [`super::ranked`].

use datafusion_common::Result;
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::{LogicalPlan, Window};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::operators::ordering::SortColumn;
use tidemill_engine::operators::over::whole::Complete;
use tidemill_engine::time::window::TimeDomain;

use super::Translator;
use super::aggregate::Prepared;
use super::calc::plain_schema;
use super::over::{self, Given, OverCall, OverKeys};
use super::sort;
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::display::display;
use crate::plan::over_window::{self, OverOrder, Reach};
use crate::plan::physical::{column, identity};
use crate::plan::stream::{PendingRank, Stream};

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Window(window) = plan else { return None };
    Some(translator.translate(&window.input).and_then(|input| number(translator, window, input)))
}

/// The columns of a window's input, then what its partitions and order need beside them.
pub(super) struct OverInput {
    pub input: Stream,
    /// So many columns are those of the window's input.
    pub inherited: usize,
    /// Columns of the input.
    pub partition_by: Vec<usize>,
    pub order_by: Vec<SortColumn>,
    bound: Vec<OverCall>,
}

/// What is computed over a window: a rank alone waits for conditions on it.
enum Calls {
    Rank,
    All(Given),
}

/// When the rows of other functions are given.
fn given(window: &Window, call: &WindowFunction, order: &OverOrder, input: &Stream) -> Result<Given> {
    let whole = over_window::reach_of(window) == Reach::Whole;
    match order {
        OverOrder::Time(domain) if !whole => {
            check_processing_time(window, *domain)?;
            Ok(Given::InOrder(*domain))
        }
        // The place of the end is known once the columns stand ready.
        OverOrder::Window(spec, _) => {
            check_window(spec.domain, call.fun.name())?;
            Ok(Given::Whole(Complete::WithWindow { end: 0, zone: spec.zone }))
        }
        _ if input.bounded => Ok(Given::Whole(Complete::AtEnd)),
        _ => Err(external(endless(window, call, order, input.is_updated()))),
    }
}

/// Why functions over an input without end cannot be computed.
fn endless(window: &Window, call: &WindowFunction, order: &OverOrder, updated: bool) -> Diagnostic {
    let name = call.fun.name().to_uppercase();
    let (message, hint) = match order {
        _ if updated => (
            format!(
                "{name}() OVER: its input has rows that are updated later, so that every later row would change too"
            ),
            "put a window into the inner query so that its rows are final, or GROUP BY instead",
        ),
        OverOrder::Time(_) => {
            let calls = window.window_expr.iter().filter_map(over_window::call_of);
            let whole = calls.max_by_key(|call| over_window::reach_of_call(call));
            let name = whole.map_or(name, |call| call.fun.name().to_uppercase());
            (
                format!("{name}() OVER needs all rows of a partition at once, but this input has no end"),
                "partition by window_start and window_end of a TUMBLE, HOP or CUMULATE as well: such partitions are complete \
                 when the window closes; or let the frame end at the row or so far behind it",
            )
        }
        _ if call.params.order_by.is_empty() => (
            format!(
                "{name}() OVER needs ORDER BY with a time attribute: without, each new row would change all others"
            ),
            "write OVER (PARTITION BY ... ORDER BY ts), where ts is the column of the WATERMARK; or GROUP BY instead",
        ),
        _ => (
            format!("{name}() OVER must be ordered by a time attribute first, upwards"),
            "order by the column of the table's WATERMARK, or by a PROCTIME() column, without DESC; or partition by \
             window_start and window_end as well, within which any order will do",
        ),
    };
    Diagnostic::new(message).with_hint(hint)
}

/// No row tells that some wall time has passed.
fn check_processing_time(window: &Window, domain: TimeDomain) -> Result<()> {
    let mut calls = window.window_expr.iter().filter_map(over_window::call_of);
    match calls.find(|call| over_window::reach_of_call(call) == Reach::LaterTime) {
        Some(call) if domain == TimeDomain::Processing => {
            let name = call.fun.name().to_uppercase();
            let message = format!("{name}() OVER: by processing time a RANGE cannot go on behind the row");
            Err(external(Diagnostic::new(message).with_hint("use ROWS, or order by event time")))
        }
        _ => Ok(()),
    }
}

fn check_window(domain: TimeDomain, name: &str) -> Result<()> {
    if domain == TimeDomain::Event {
        return Ok(());
    }
    let message = format!("{}() OVER: partitions of processing-time windows are never complete", name.to_uppercase());
    Err(external(Diagnostic::new(message).with_hint("use windows of event time")))
}

fn number(translator: &mut Translator<'_>, window: &Window, input: Stream) -> Result<Stream> {
    let calls: Vec<&WindowFunction> = window.window_expr.iter().filter_map(over_window::call_of).collect();
    let [first, ..] = calls.as_slice() else {
        return Err(external(Diagnostic::new("an OVER window without a function was planned")));
    };
    let order = over_window::order_of(window);
    let updated = input.changelog != ChangelogMode::Append;
    let order = match order {
        // Rows that change later have no place in time.
        OverOrder::Time(_) | OverOrder::Window(..) if updated => OverOrder::Rows,
        other => other,
    };
    let function = over_window::rank_of(first).filter(|_| calls.len() == 1);
    let calls = if function.is_some() { Calls::Rank } else { Calls::All(given(window, first, &order, &input)?) };
    let OverInput { input, inherited, partition_by, order_by, bound } =
        prepare(translator, window, first, input, &calls)?;
    match function {
        Some(function) => {
            let name = window.schema.field(inherited).name();
            let mut columns = identity(&input.base);
            columns.truncate(inherited);
            columns.push(column(name, input.base.fields().len()));
            let rank = PendingRank { function, partition_by, order_by, order };
            Ok(Stream { columns, schema: plain_schema(&window.schema), rank: Some(Box::new(rank)), ..input })
        }
        None => {
            let Calls::All(given) = calls else { return Ok(input) };
            let given = match (given, order) {
                (Given::Whole(Complete::WithWindow { zone, .. }), OverOrder::Window(_, end)) => {
                    Given::Whole(Complete::WithWindow { end: partition_by[end], zone })
                }
                (given, _) => given,
            };
            let input =
                if given == Given::Whole(Complete::AtEnd) { sort::final_rows(translator, input)? } else { input };
            let keys = OverKeys { partition_by: &partition_by, order_by: &order_by, given };
            let kept: Vec<usize> = (0..inherited).collect();
            // The SELECT above names the columns; until then functions are called what they are.
            over::add(translator, &input, &keys, &bound, &kept)
        }
    }
}

fn prepare(
    translator: &mut Translator<'_>,
    window: &Window,
    call: &WindowFunction,
    input: Stream,
    calls: &Calls,
) -> Result<OverInput> {
    let input = if input.window.is_some() { translator.settle(input)? } else { input };
    let schema = window.input.schema();
    let inherited = input.columns.len();
    let base = input.extended_base();
    let mut prepared = Prepared {
        columns: input.columns.clone(),
        fields: input.schema.fields().iter().map(|field| field.as_ref().clone()).collect(),
    };
    let mut place = |expr: &datafusion_expr::Expr| -> Result<usize> {
        let over = translator.expr(expr, schema)?;
        let own = input.below(&over)?;
        Ok(prepared.place(&own, &display(&over), own.data_type(&base)?, 0))
    };
    let partition_by = call.params.partition_by.iter().map(&mut place).collect::<Result<Vec<_>>>()?;
    let mut order_by = Vec::new();
    for sort in &call.params.order_by {
        let column = place(&sort.expr)?;
        order_by.push(SortColumn { column, descending: !sort.asc, nulls_first: sort.nulls_first });
    }
    let bound = match calls {
        Calls::Rank => Vec::new(),
        Calls::All(_) => over::bind(translator, window, &input, &mut prepared)?,
    };
    let schema = prepared.schema();
    let input = translator.settle(Stream { columns: prepared.columns, schema, ..input })?;
    Ok(OverInput { input, inherited, partition_by, order_by, bound })
}
