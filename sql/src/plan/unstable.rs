//! Columns that have another value each time they are computed, on rows that are taken back later.
//!
//! A row that is taken back must be the row that was given. RAND(), UUID() or the current time, computed anew for the old row,
//! make it another one, which nothing behind could find again.

use std::collections::BTreeSet;

use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{Expr, Volatility};
use datafusion_physical_expr::ScalarFunctionExpr;

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
    /// Which rows there are depends on it too.
    pub filters: bool,
}

impl Unstable {
    /// What is unstable among columns that are computed from a stream: `exprs` as they are planned, `columns` as they run.
    pub fn of_columns(input: &Stream, exprs: &[Expr], columns: &[Physical]) -> Option<Self> {
        if !may_be_updated(input) {
            return None;
        }
        let known = input.unstable.as_ref();
        let filters = known.is_some_and(|known| known.filters);
        let function =
            exprs.iter().find_map(function_in).or_else(|| known.map(|unstable| unstable.function.clone()))?;
        let reads_known = |column: &Physical| {
            known.is_some_and(|known| columns_read(column).into_iter().any(|index| known.columns.contains(&index)))
        };
        let unstable = exprs.iter().zip(columns).enumerate();
        let unstable = unstable.filter(|(_, (expr, column))| function_in(expr).is_some() || reads_known(column));
        let columns: BTreeSet<usize> = unstable.map(|(index, _)| index).collect();
        (filters || !columns.is_empty()).then_some(Self { function, columns, filters })
    }

    /// What is unstable among the columns that a source of changes computes for each of them.
    pub fn of_source(columns: &[Physical]) -> Option<Self> {
        let found: Vec<(usize, String)> =
            columns.iter().enumerate().filter_map(|(index, column)| Some((index, volatile_in(column)?))).collect();
        let function = found.first()?.1.clone();
        Some(Self { function, columns: found.into_iter().map(|(index, _)| index).collect(), filters: false })
    }

    /// What is unstable of that which is still to be computed for rows that are taken back.
    pub fn of_pending(stream: &Stream) -> Option<Self> {
        if !stream.is_updated() {
            return None;
        }
        let pending = || stream.columns.iter().chain(&stream.conjuncts).find_map(volatile_in);
        let new = || pending().map(|function| Self { function, columns: BTreeSet::new(), filters: true });
        stream.unstable.clone().or_else(new)
    }

    /// Refuses a condition of a join, over both inputs, that decides differently each time for rows that are taken back.
    pub fn check_joined(condition: Option<&Physical>, inputs: [&Stream; 2]) -> Result<()> {
        match condition.and_then(volatile_in) {
            Some(function) if inputs.iter().any(|input| input.is_updated()) => {
                Err(Self { function, columns: BTreeSet::new(), filters: true }.refused())
            }
            _ => Ok(()),
        }
    }

    /// The same of some of the columns, in another order.
    pub fn of_places(&self, places: &[usize]) -> Option<Self> {
        let kept = places.iter().enumerate().filter(|(_, place)| self.columns.contains(place));
        let columns: BTreeSet<usize> = kept.map(|(index, _)| index).collect();
        (self.filters || !columns.is_empty()).then_some(Self { columns, ..self.clone() })
    }

    /// Refuses a filter over updates that decides differently each time. Where it is not known yet whether rows are updated,
    /// the stream has what is given.
    pub fn of_filter(input: &Stream, predicate: &Expr, conjuncts: &[Physical]) -> Result<Option<Self>> {
        let known = input.unstable.clone();
        if !may_be_updated(input) {
            return Ok(known);
        }
        let reads =
            |unstable: &Self| conjuncts.iter().flat_map(columns_read).any(|index| unstable.columns.contains(&index));
        let columns = known.as_ref().map_or_else(BTreeSet::new, |known| known.columns.clone());
        let function = function_in(predicate)
            .or_else(|| known.as_ref().filter(|known| reads(known)).map(|known| known.function.clone()));
        match function.map(|function| Self { function, columns, filters: true }) {
            Some(unstable) if input.is_updated() => Err(unstable.refused()),
            Some(unstable) => Ok(Some(unstable)),
            None => Ok(known),
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

/// Rows may be taken back, or will be when what is pending is known.
fn may_be_updated(stream: &Stream) -> bool {
    stream.is_updated() || stream.rank.is_some() || stream.sort.is_some()
}

/// A function in the expression that has another value each time, in upper case.
pub(crate) fn volatile_in(expr: &Physical) -> Option<String> {
    let own = expr.downcast_ref::<ScalarFunctionExpr>();
    let own = own.filter(|call| call.fun().signature().volatility == Volatility::Volatile);
    let name = own.map(|call| call.name().to_uppercase());
    name.or_else(|| expr.children().into_iter().find_map(volatile_in))
}

/// A function in the expression that has another value each time, in upper case.
fn function_in(expr: &Expr) -> Option<String> {
    let mut found = None;
    any(expr, |part| match part {
        Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Volatile => {
            found = Some(call.name().to_uppercase());
            true
        }
        _ => false,
    });
    found
}
