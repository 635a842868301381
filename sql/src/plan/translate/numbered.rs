//! OVER windows: which operator computes their functions.
//!
//! A rank alone is left pending until the conditions on it are known, see [`super::ranked`].

use datafusion_common::Result;
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::{LogicalPlan, Window};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::operators::ordering::SortColumn;

use super::Translator;
use super::aggregate::Prepared;
use super::calc::plain_schema;
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::display::display;
use crate::plan::over_window::{self, OverOrder};
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
        OverOrder::Time(_) | OverOrder::Window(_) if updated => OverOrder::Rows,
        other => other,
    };
    let function = over_window::rank_of(first).filter(|_| calls.len() == 1);
    let prepared = prepare(translator, window, first, input)?;
    match function {
        Some(function) => {
            let OverInput { input, inherited, partition_by, order_by } = prepared;
            let name = window.schema.field(inherited).name();
            let mut columns = identity(&input.base);
            columns.truncate(inherited);
            columns.push(column(name, input.base.fields().len()));
            let rank = PendingRank { function, partition_by, order_by, order };
            Ok(Stream { columns, schema: plain_schema(&window.schema), rank: Some(Box::new(rank)), ..input })
        }
        None => Err(external(super::refused::over(first))),
    }
}

fn prepare(
    translator: &mut Translator<'_>,
    window: &Window,
    call: &WindowFunction,
    input: Stream,
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
    let schema = prepared.schema();
    let input = translator.settle(Stream { columns: prepared.columns, schema, ..input })?;
    Ok(OverInput { input, inherited, partition_by, order_by })
}
