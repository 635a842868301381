//! Regular joins: every row of one input with every row of the other that it fits, for as long as both are there.
//!
//! Inner, outer, semi, anti and mark joins are one operator. Each side keeps its rows by join key with the number of times
//! that they were given and, where it matters, the number of rows of the other side that each fits: from the changes of
//! that number between zero and more follows when a row stands alone. Where a side only adds rows, each is kept for itself, and
//! is added without a look at those of its key; and where it is known from when on such rows can fit nothing more, they are kept by spans
//! of time, each of which is dropped whole.

#[cfg(test)]
mod adding_tests;
mod condition;
mod emit;
mod entry;
mod meeting;
mod operator;
mod pages;
mod pieces;
mod side;
mod side_cache;
mod side_rows;
#[cfg(test)]
mod span_tests;
mod store;
#[cfg(test)]
mod tests;
mod unread;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use self::operator::JoinOperator;
use crate::Result;
use crate::operator::{Operator, OperatorFactory};
use crate::operators::row_error::RowErrorPolicy;
use crate::state::KeyShape;

/// Output: the columns of the left input, then those of the right one; without `pairs`, only of the side that may
/// stand alone, and behind them the mark, where there is one. Inner and semi joins, and rows that anti joins let through, hand on the kinds of the rows that they read;
/// all else is `+I` and `-D`.
#[derive(Clone)]
pub struct RegularJoin {
    /// Left and right.
    pub inputs: [JoinInput; 2],
    /// Per key column: NULL fits NULL (`IS NOT DISTINCT FROM`), and not nothing.
    pub null_fits_null: Vec<bool>,
    /// BOOLEAN over the columns of the left, then of the right input; what must hold beside the equality of the keys.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    /// Rows that fit each other are given side by side.
    pub pairs: bool,
    /// A row that was not changed for so long (wall time) is forgotten.
    pub ttl_ms: Option<i64>,
    pub on_error: RowErrorPolicy,
    pub schema: SchemaRef,
}

#[derive(Clone)]
pub struct JoinInput {
    /// Columns of `schema`, as many as the other input has; none means that every row is tried with every other.
    pub keys: Vec<usize>,
    pub schema: SchemaRef,
    /// What tells rows with the same keys apart.
    pub row_key: RowKey,
    pub alone: Option<Alone>,
    /// Where the other input's rows are never late and bounded by time; `None`: rows are needed for as long as they are there.
    pub lifetime: Option<Lifetime>,
}

/// How long the rows of one input are needed: a row of time `t` fits none that the other input gives once that one's watermark has
/// reached `t + after_ms`. Only in inner joins of inputs that add rows, and without a time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// TIMESTAMP column of the input's schema; a row with NULL there fits nothing.
    pub time: usize,
    pub after_ms: i64,
}

/// By what rows of one side that have the same join key are kept in state. It decides how much is read and written for a
/// change, and nothing else: rows that agree in it though they should not are kept side by side. `Arrival` alone asks something
/// of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowKey {
    /// There is one such row: the join key contains a unique key.
    JoinKey,
    /// These columns are unique, perhaps together with the join key.
    Columns(Vec<usize>),
    WholeRow,
    /// Its number: the input never takes a row back, so that none has to be found again.
    Arrival,
}

/// When a row of one input is given without one of the other: with NULLs in its place, where there are pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// While it fits no row: outer and anti joins.
    Unmatched,
    /// Once, while it fits at least one row: semi joins.
    Matched,
    /// Always, with a BOOLEAN behind it that says whether it fits a row: mark joins.
    Marked,
}

impl Alone {
    /// The mark of a row that fits so many others, if it is given alone.
    fn mark(self, matches: i64) -> Option<bool> {
        debug_assert!(matches >= 0, "rows are counted, not owed");
        let fits = matches > 0;
        match self {
            Self::Unmatched => (!fits).then_some(false),
            Self::Matched => fits.then_some(true),
            Self::Marked => Some(fits),
        }
    }
}

impl OperatorFactory for RegularJoin {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(JoinOperator::new(self)?))
    }

    fn key_shape(&self) -> KeyShape {
        KeyShape::Framed
    }
}
