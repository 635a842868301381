//! `JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON ...` becomes a plain join whose condition has a marker with the time,
//! as [`crate::window_call`] describes.

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, Select, Spanned, TableFactor, TableVersion,
    TableWithJoins,
};
use sqlparser::tokenizer::Span;

use super::expression::{function, string_literal};
use super::lookup_hint::{self, TableHint};
use super::tokens::Parsed;
use crate::diagnostic::Diagnostic;
use crate::window_call::{SYSTEM_TIME_MARKER, SystemTimeCall};

const USAGE: &str = "write orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency";

/// Rewrites all such joins of a SELECT, with the hints that stand behind it.
pub(super) fn rewrite_select(select: &mut Select) -> Parsed<()> {
    let mut hints = lookup_hint::take(select)?;
    select.from.iter_mut().try_for_each(|table| rewrite(table, &mut hints))?;
    match hints.first() {
        None => Ok(()),
        Some(TableHint { table, span, .. }) => {
            let message =
                format!("the hint LOOKUP is for `{table}`, which this SELECT does not join FOR SYSTEM_TIME AS OF");
            Err(Diagnostic::at(*span, message)
                .with_hint("'table' takes the name or the alias of a table that is looked up"))
        }
    }
}

/// Rewrites all such joins of a table; hints that are used are taken away.
pub(super) fn rewrite(table: &mut TableWithJoins, hints: &mut Vec<TableHint>) -> Parsed<()> {
    if let Some(found) = take_version(&mut table.relation)? {
        let message = "FOR SYSTEM_TIME AS OF can stand only behind the right table of a JOIN";
        return Err(Diagnostic::at(found.span, message).with_hint(USAGE));
    }
    for join in &mut table.joins {
        let Some(Versioned { table, alias, time, span }) = take_version(&mut join.relation)? else { continue };
        let condition = condition_of(join, span)?;
        let own = hints.iter().position(|hint| hint.table == table || Some(&hint.table) == alias.as_ref());
        let hint = own.map(|index| hints.remove(index).hint);
        let call = SystemTimeCall { table, line: span.start.line, column: span.start.column, hint };
        let json = serde_json::to_string(&call).expect("a text and numbers can be written as JSON");
        let marker = function(Ident::with_span(span, SYSTEM_TIME_MARKER), vec![string_literal(json, span), time]);
        let written = std::mem::replace(condition, Expr::Identifier(Ident::new("")));
        *condition = Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(written))),
            op: BinaryOperator::And,
            right: Box::new(marker),
        };
    }
    Ok(())
}

/// A table with the time that it is read at.
struct Versioned {
    table: String,
    alias: Option<String>,
    time: Expr,
    span: Span,
}

/// Takes `FOR SYSTEM_TIME AS OF` away from its table.
fn take_version(factor: &mut TableFactor) -> Parsed<Option<Versioned>> {
    let span = factor.span();
    let TableFactor::Table { name, version, alias, .. } = factor else { return Ok(None) };
    match version.take() {
        None => Ok(None),
        Some(TableVersion::ForSystemTimeAsOf(time)) => {
            let alias = alias.as_ref().map(|alias| alias.name.value.clone());
            Ok(Some(Versioned { table: name.to_string(), alias, time, span: name.span() }))
        }
        Some(_) => Err(Diagnostic::at(span, "this kind of table version is not Flink SQL").with_hint(USAGE)),
    }
}

/// What stands behind ON; joins that have no such condition, or keep rows of the versioned table, are refused.
fn condition_of(join: &mut Join, span: Span) -> Parsed<&mut Expr> {
    let constraint = match &mut join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint) => constraint,
        JoinOperator::CrossJoin(_) => return Err(without_condition(span)),
        _ => {
            let message = "a join FOR SYSTEM_TIME AS OF can be JOIN or LEFT JOIN only";
            return Err(Diagnostic::at(span, message).with_hint(USAGE));
        }
    };
    match constraint {
        JoinConstraint::On(condition) => Ok(condition),
        _ => Err(without_condition(span)),
    }
}

fn without_condition(span: Span) -> Diagnostic {
    Diagnostic::at(span, "a join FOR SYSTEM_TIME AS OF needs an ON condition that compares the table's key")
        .with_hint(USAGE)
}
