//! `FOR SYSTEM_TIME AS OF`: from the parser's marker in a join's condition to a temporal join, with its tables checked.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{Column, Result};
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{Expr, ExprSchemable, Extension, Join, LogicalPlan, col};
use sqlparser::tokenizer::{Location, Span};
use tidemill_engine::time::window::TimeDomain;

use super::context::external;
use super::markers::call_of;
use super::nodes::temporal::TemporalNode;
use super::traits;
use super::versions::Versions;
use crate::diagnostic::Diagnostic;
use crate::types::flink_name;
use crate::window_call::{SYSTEM_TIME_MARKER, SystemTimeCall};

/// A join with the marker becomes a temporal join; other nodes stay.
pub(crate) fn resolve(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(mut join) = node else { return Ok(Transformed::no(node)) };
    let marker = |part: &Expr| call_of(part, SYSTEM_TIME_MARKER).is_some();
    let parts = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
    let (markers, condition): (Vec<Expr>, Vec<Expr>) = parts.into_iter().partition(marker);
    let Some((json, time)) = markers.first().and_then(|marker| call_of(marker, SYSTEM_TIME_MARKER)) else {
        join.filter = condition.into_iter().reduce(Expr::and);
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    };
    let call: SystemTimeCall = serde_json::from_str(json)
        .map_err(|_| external(Diagnostic::new("FOR SYSTEM_TIME AS OF is written wrongly")))?;
    let at = Location::new(call.line, call.column);
    let node = temporal_node(&join, time, condition, call.clone())
        .map_err(|diagnostic| external(diagnostic.or_at(Span::new(at, at))))?;
    Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
}

fn temporal_node(
    join: &Join,
    time: &Expr,
    condition: Vec<Expr>,
    call: SystemTimeCall,
) -> Result<TemporalNode, Diagnostic> {
    let table = &call.table;
    let domain = time_domain(join, time)?;
    let versions = Versions::of(&join.right).ok_or_else(|| no_versions(table))?;
    let column = |index: usize| col(Column::from(join.right.schema().qualified_field(index)));
    // Rows of a bounded table are looked up whole: whether it is one, and needs no key, is known later.
    if versions.key.is_empty() && domain == TimeDomain::Event {
        return Err(without_key(table));
    }
    let version = match (domain, versions.time) {
        (TimeDomain::Processing, _) => None,
        (TimeDomain::Event, Some(index)) => {
            check_clocks(join, time, index, table)?;
            Some(column(index))
        }
        (TimeDomain::Event, None) => {
            let message = format!("`{table}` has no event time, so there is no telling since when its rows hold");
            let hint = format!("add WATERMARK FOR ts AS ts - INTERVAL '5' SECOND to CREATE TABLE {table}");
            return Err(Diagnostic::new(message).with_hint(hint));
        }
    };
    let equal = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
    Ok(TemporalNode {
        left: Arc::clone(&join.left),
        right: Arc::new(versions.plan),
        kind: join.join_type,
        domain,
        table: table.clone(),
        hint: call.hint.clone(),
        keeps_last: versions.keeps_last,
        time: time.clone(),
        version,
        key: versions.key.into_iter().map(column).collect(),
        condition: equal.chain(condition).collect(),
        schema: Arc::clone(&join.schema),
    })
}

/// The clock of the left column that decides which version holds.
fn time_domain(join: &Join, time: &Expr) -> Result<TimeDomain, Diagnostic> {
    let hint = "write FOR SYSTEM_TIME AS OF o.ts, where ts is the left table's column with a WATERMARK or PROCTIME()";
    let index = match time {
        Expr::Column(column) => join.left.schema().maybe_index_of_column(column),
        _ => None,
    };
    let Some(index) = index else {
        let message = "FOR SYSTEM_TIME AS OF takes a time column of the left table";
        return Err(Diagnostic::new(message).with_hint(hint));
    };
    traits::of_plan(&join.left)[index].time.ok_or_else(|| {
        let name = join.left.schema().field(index).name();
        let message = format!("`{name}` is not a time attribute, so no version can be looked up by it");
        Diagnostic::new(message).with_hint(hint)
    })
}

/// Instants and local times do not compare.
fn check_clocks(join: &Join, time: &Expr, version: usize, table: &str) -> Result<(), Diagnostic> {
    let is_instant = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, Some(_)));
    let left = time.get_type(join.left.schema()).map_err(|error| Diagnostic::new(error.to_string()))?;
    let right = join.right.schema().field(version);
    if is_instant(&left) == is_instant(right.data_type()) {
        return Ok(());
    }
    let message = format!(
        "`{time}` is {}, but `{}` of `{table}` is {}: no telling which came first",
        flink_name(&left, true),
        right.name(),
        flink_name(right.data_type(), true)
    );
    Err(Diagnostic::new(message).with_hint("declare both times as TIMESTAMP(3), or both as TIMESTAMP_LTZ(3)"))
}

pub(crate) fn without_key(table: &str) -> Diagnostic {
    Diagnostic::new(format!("`{table}` has no primary key, so there is no telling which row a version replaces"))
        .with_hint(format!("declare PRIMARY KEY (...) NOT ENFORCED in CREATE TABLE {table}"))
}

fn no_versions(table: &str) -> Diagnostic {
    Diagnostic::new(format!("`{table}` is not a versioned table"))
        .with_hint("a versioned table has PRIMARY KEY and WATERMARK, or is a view of the last row of each key: ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) = 1")
}
