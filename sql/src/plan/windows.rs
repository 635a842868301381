//! Window table functions: from the parser's markers to window nodes, with the time column checked.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, Result};
use datafusion_expr::{Expr, Extension, LogicalPlan, Projection, col};
use sqlparser::tokenizer::{Location, Span};
use tidemill_engine::suggestion::closest;
use tidemill_engine::time::window::{TimeDomain, WindowKind, WindowSpec};

use super::context::{CatalogTable, TableStream, external};
use super::markers::call_of;
use super::nodes::window::WindowNode;
use super::traits;
use crate::diagnostic::Diagnostic;
use crate::window_call::{
    WINDOW_END, WINDOW_END_MARKER, WINDOW_START, WINDOW_START_MARKER, WINDOW_TIME, WINDOW_TIME_MARKER, WindowCall,
};

const MARKERS: [(&str, &str); 3] =
    [(WINDOW_START_MARKER, WINDOW_START), (WINDOW_END_MARKER, WINDOW_END), (WINDOW_TIME_MARKER, WINDOW_TIME)];

/// A projection with window markers becomes a projection over a window node; other nodes stay.
pub(crate) fn resolve(node: LogicalPlan, time_zone: &str) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = node else { return Ok(Transformed::no(node)) };
    let found = projection.expr.iter().find_map(|expr| MARKERS.iter().find_map(|(marker, _)| call_of(expr, marker)));
    let Some((json, time)) = found else { return Ok(Transformed::no(LogicalPlan::Projection(projection))) };
    let call: WindowCall = serde_json::from_str(json)
        .map_err(|_| external(Diagnostic::new("a window table function is written wrongly")))?;
    let input = Arc::clone(&projection.input);
    let window =
        window_node(input, time, &call, time_zone).map_err(|diagnostic| external(diagnostic.or_at(place_of(&call))))?;
    let exprs = projection.expr.iter().map(|expr| replace_marker(expr.clone()));
    let window = LogicalPlan::Extension(Extension { node: Arc::new(window) });
    let projection = Projection::try_new(exprs.collect::<Result<_>>()?, Arc::new(window))?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}

fn place_of(call: &WindowCall) -> Span {
    let at = Location::new(call.line, call.column);
    Span::new(at, at)
}

fn replace_marker(expr: Expr) -> Result<Expr> {
    let replaced = expr.transform_up(|node| {
        let marker = MARKERS.iter().find(|(marker, _)| matches!(&node, Expr::ScalarFunction(f) if f.name() == *marker));
        Ok(match marker {
            Some((_, column)) => Transformed::yes(Expr::Column(Column::new_unqualified(*column))),
            None => Transformed::no(node),
        })
    })?;
    Ok(replaced.data)
}

fn window_node(
    input: Arc<LogicalPlan>,
    time: &Expr,
    call: &WindowCall,
    time_zone: &str,
) -> Result<WindowNode, Diagnostic> {
    let (time, domain) = time_attribute(&input, time)?;
    let spec = WindowSpec { kind: call.kind, domain, zone: zone_of(input.schema(), time, time_zone) };
    spec.validate().map_err(Diagnostic::new)?;
    let partition_by = call.partition_by.iter().map(|name| partition_column(input.schema(), name));
    let partition_by = partition_by.collect::<Result<Vec<_>, _>>()?;
    if !partition_by.is_empty() && !matches!(call.kind, WindowKind::Session { .. }) {
        return Err(Diagnostic::new("only SESSION windows take PARTITION BY")
            .with_hint("group by the column behind the window instead"));
    }
    let time = col(Column::from(input.schema().qualified_field(time)));
    WindowNode::try_new(input, time, partition_by, spec).map_err(|_| {
        Diagnostic::new("the input of this window already has columns window_start, window_end or window_time")
            .with_hint("give the inner window's columns other names: SELECT window_start AS inner_start, ...")
    })
}

/// The calendar that the window follows: of the column's zone, or none where the column is local time already.
fn zone_of(schema: &DFSchema, time: usize, time_zone: &str) -> Option<chrono_tz::Tz> {
    match schema.field(time).data_type() {
        DataType::Timestamp(_, Some(_)) => time_zone.parse().ok().or(Some(chrono_tz::UTC)),
        _ => None,
    }
}

fn partition_column(schema: &DFSchema, name: &str) -> Result<Expr, Diagnostic> {
    match schema.iter().find(|(_, field)| field.name() == name) {
        Some((relation, field)) => Ok(col(Column::new(relation.cloned(), field.name()))),
        None => {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            Err(Diagnostic::new(format!("column `{name}` of PARTITION BY does not exist")).with_suggestion(name, names))
        }
    }
}

/// The index of the time column, which must be a time attribute of the input.
fn time_attribute(input: &LogicalPlan, time: &Expr) -> Result<(usize, TimeDomain), Diagnostic> {
    let Expr::Column(column) = time else {
        return Err(Diagnostic::new("the time column of a window must be a column, not an expression"));
    };
    let missing = || Diagnostic::new(format!("column `{}` does not exist", column.name));
    let index = input.schema().maybe_index_of_column(column).ok_or_else(missing)?;
    match traits::of_plan(input)[index].time {
        Some(domain) => Ok((index, domain)),
        None => Err(not_a_time_attribute(input, column)),
    }
}

fn not_a_time_attribute(input: &LogicalPlan, column: &Column) -> Diagnostic {
    let message = format!("`{}` is not a time attribute, so windows cannot be put over it", column.name);
    Diagnostic::new(message).with_hint(how_to_tell_time(input, column))
}

/// What would make a column that is no time attribute one.
pub(crate) fn how_to_tell_time(input: &LogicalPlan, column: &Column) -> String {
    match origin(input, column) {
        Origin::Table { table, column: Some(own), data_type } => match data_type {
            DataType::Timestamp(..) => {
                format!("add WATERMARK FOR {own} AS {own} - INTERVAL '5' SECOND to table `{table}`")
            }
            _ => format!(
                "a time attribute is TIMESTAMP(3) or TIMESTAMP_LTZ(3): add a computed column such as \
                 ts AS TO_TIMESTAMP_LTZ({own}, 3) and WATERMARK FOR ts AS ts - INTERVAL '5' SECOND to table `{table}`"
            ),
        },
        Origin::Table { table, .. } => format!("rows of `{table}` have no order in time any more"),
        Origin::Computed => {
            "a column loses its time when it is cast or computed with: select it as it is and do the computing elsewhere"
                .into()
        }
        Origin::Window => {
            "rows that already have a window tell time by window_time: use DESCRIPTOR(window_time)".into()
        }
        Origin::Grouped => "a GROUP BY without window has no time: group by window_start, window_end".into(),
    }
}

enum Origin {
    Table { table: String, column: Option<String>, data_type: DataType },
    Computed,
    Window,
    Grouped,
}

/// Where a column that is no time attribute comes from, for the hint.
fn origin(plan: &LogicalPlan, column: &Column) -> Origin {
    let index = plan.schema().maybe_index_of_column(column);
    match plan {
        LogicalPlan::TableScan(scan) => origin_in_table(scan, column),
        LogicalPlan::Projection(projection) => {
            match index.map(|index| projection.expr[index].clone().unalias_nested().data) {
                Some(Expr::Column(inner)) => origin(&projection.input, &inner),
                _ => Origin::Computed,
            }
        }
        LogicalPlan::SubqueryAlias(alias) => match index {
            Some(index) => origin(&alias.input, &Column::from(alias.input.schema().qualified_field(index))),
            None => Origin::Computed,
        },
        LogicalPlan::Filter(filter) => origin(&filter.input, column),
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => Origin::Grouped,
        LogicalPlan::Extension(extension) if extension.node.as_any().is::<WindowNode>() => Origin::Window,
        _ => Origin::Computed,
    }
}

fn origin_in_table(scan: &datafusion_expr::TableScan, column: &Column) -> Origin {
    let table = scan.source.downcast_ref::<CatalogTable>();
    let rows = table.filter(|table| table.stream == TableStream::Rows);
    let index = scan.projected_schema.maybe_index_of_column(column);
    let field = index.map(|index| scan.projected_schema.field(index));
    Origin::Table {
        table: scan.table_name.table().to_owned(),
        column: rows.and(field).map(|field| field.name().clone()),
        data_type: field.map_or(DataType::Null, |field| field.data_type().clone()),
    }
}

/// The name of the window column that `name` was probably meant to be.
pub(crate) fn meant(name: &str) -> Option<&'static str> {
    closest(name, [WINDOW_START, WINDOW_END, WINDOW_TIME])
}
