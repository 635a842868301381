//! Columns that have another value each time they are computed, on rows that are taken back later.
//!
//! A row that is taken back must be the row that was given. RAND(), UUID() or the current time, computed anew for the old row,
//! make it another one, which nothing behind could find again.

use std::collections::BTreeSet;

use datafusion_common::{DataFusionError, Result};
use datafusion_expr::Expr;

use super::context::external;
use super::physical::{Physical, columns_read};
use super::stream::Stream;
use super::translate::any;
use crate::diagnostic::Diagnostic;

/// Behind a function's name in the message, by which the message is given its place.
pub(crate) const ANOTHER_VALUE: &str = "() has another value each time";

#[derive(Debug, Clone)]
pub(crate) struct Unstable {
    /// In upper case.
    function: String,
    /// Of the stream.
    pub columns: BTreeSet<usize>,
}

impl Unstable {
    /// What is unstable among columns that are computed from a stream: `exprs` as they are planned, `columns` as they run.
    pub fn of_columns(input: &Stream, exprs: &[Expr], columns: &[Physical]) -> Option<Self> {
        if !input.is_updated() {
            return None;
        }
        let known = input.unstable.as_ref();
        let function =
            exprs.iter().find_map(function_in).or_else(|| known.map(|unstable| unstable.function.clone()))?;
        let reads_known = |column: &Physical| {
            known.is_some_and(|known| columns_read(column).into_iter().any(|index| known.columns.contains(&index)))
        };
        let unstable = exprs.iter().zip(columns).enumerate();
        let unstable = unstable.filter(|(_, (expr, column))| function_in(expr).is_some() || reads_known(column));
        let columns: BTreeSet<usize> = unstable.map(|(index, _)| index).collect();
        (!columns.is_empty()).then_some(Self { function, columns })
    }

    /// Refuses a filter over updates that decides differently each time.
    pub fn check_filter(input: &Stream, predicate: &Expr, conjuncts: &[Physical]) -> Result<()> {
        if !input.is_updated() {
            return Ok(());
        }
        if let Some(function) = function_in(predicate) {
            return Err(Self { function, columns: BTreeSet::new() }.refused());
        }
        match &input.unstable {
            Some(unstable)
                if conjuncts.iter().flat_map(columns_read).any(|index| unstable.columns.contains(&index)) =>
            {
                Err(unstable.refused())
            }
            _ => Ok(()),
        }
    }

    pub fn refused(&self) -> DataFusionError {
        let message = format!(
            "{}{ANOTHER_VALUE}, but these rows are taken back later, when it can no longer be known what was given",
            self.function
        );
        let hint = "compute it before the rows are updated (in the innermost query), leave it out, or write into a sink that \
                    replaces rows by the query's key";
        external(Diagnostic::new(message).with_hint(hint))
    }
}

/// A function in the expression that has another value each time, in upper case.
fn function_in(expr: &Expr) -> Option<String> {
    let mut found = None;
    any(expr, |part| match part {
        Expr::ScalarFunction(call) if call.func.signature().volatility == datafusion_expr::Volatility::Volatile => {
            found = Some(call.name().to_uppercase());
            true
        }
        _ => false,
    });
    found
}
