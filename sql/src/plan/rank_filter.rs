//! Which ranks a query wants, read from its conditions: `rank <= 3`, `rank = 1`, `rank BETWEEN 2 AND 4`, ...

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, InListExpr};

use super::physical::{Physical, column_index, columns_read};
use super::unstable::volatile_in;

/// Ranks between two bounds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub from: i64,
    pub to: Option<i64>,
    /// The condition holds for all of them, and not only at most for them.
    pub exact: bool,
}

impl Bounds {
    const ALL: Self = Self { from: 1, to: None, exact: true };

    fn and(self, other: Self) -> Self {
        let to = match (self.to, other.to) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self { from: self.from.max(other.from), to, exact: self.exact && other.exact }
    }

    /// Around both.
    fn or(self, other: Self) -> Self {
        let to = self.to.zip(other.to).map(|(one, two)| one.max(two));
        Self { from: self.from.min(other.from), to, exact: false }
    }
}

/// The bounds that all conditions give together, and those conditions that they do not replace.
pub(crate) fn bounds(conjuncts: &[Physical], rank: usize) -> (Bounds, Vec<Physical>) {
    let mut all = Bounds::ALL;
    let mut rest = Vec::new();
    for conjunct in conjuncts {
        let own = bounds_of(conjunct, rank).unwrap_or(Bounds { exact: false, ..Bounds::ALL });
        all = all.and(Bounds { exact: true, ..own });
        if !own.exact {
            rest.push(conjunct.clone());
        }
    }
    (all, rest)
}

/// What a condition on the rank compares it with, where that is the same for all rows of a partition.
pub(crate) struct PartitionBound {
    /// A whole number, over the columns that the conditions are over.
    pub expr: Physical,
    /// The condition's place among all.
    pub conjunct: usize,
    /// Nothing is left to ask once no greater rank is given.
    pub exact: bool,
}

/// A bound from above that is computed from columns of the partition's key. The rank is the column behind those of `base`.
pub(crate) fn partition_bound(conjuncts: &[Physical], base: &Schema, partition_by: &[usize]) -> Option<PartitionBound> {
    let rank = base.fields().len();
    conjuncts.iter().enumerate().find_map(|(conjunct, condition)| {
        let binary = condition.downcast_ref::<BinaryExpr>()?;
        let (op, bound) = match (is_rank(binary.left(), rank), is_rank(binary.right(), rank)) {
            (true, false) => (*binary.op(), binary.right()),
            (false, true) => (binary.op().swap()?, binary.left()),
            _ => return None,
        };
        let columns = columns_read(bound);
        let of_key = !columns.is_empty() && columns.iter().all(|column| partition_by.contains(column));
        let is_whole = bound.data_type(base).is_ok_and(|data_type| data_type.is_integer());
        let bounds = matches!(op, Operator::LtEq | Operator::Lt | Operator::Eq);
        (bounds && of_key && is_whole && volatile_in(bound).is_none()).then(|| PartitionBound {
            expr: Arc::clone(bound),
            conjunct,
            exact: op == Operator::LtEq,
        })
    })
}

fn bounds_of(expr: &Physical, rank: usize) -> Option<Bounds> {
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        if list.negated() || !is_rank(list.expr(), rank) {
            return None;
        }
        let values = list.list().iter().map(constant).collect::<Option<Vec<i64>>>()?;
        let (from, to) = (*values.iter().min()?, *values.iter().max()?);
        return Some(Bounds { from: from.max(1), to: Some(to), exact: false });
    }
    let binary = expr.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    match binary.op() {
        Operator::And => match (bounds_of(left, rank), bounds_of(right, rank)) {
            (Some(one), Some(two)) => Some(one.and(two)),
            // The other side is checked later.
            (one, two) => one.or(two).map(|bounds| Bounds { exact: false, ..bounds }),
        },
        Operator::Or => Some(bounds_of(left, rank)?.or(bounds_of(right, rank)?)),
        op if is_rank(left, rank) => compared(*op, constant(right)?),
        op if is_rank(right, rank) => compared(op.swap()?, constant(left)?),
        _ => None,
    }
}

fn compared(op: Operator, value: i64) -> Option<Bounds> {
    let (from, to) = match op {
        Operator::Eq => (value, Some(value)),
        Operator::LtEq => (1, Some(value)),
        Operator::Lt => (1, Some(value.checked_sub(1)?)),
        Operator::GtEq => (value, None),
        Operator::Gt => (value.checked_add(1)?, None),
        _ => return None,
    };
    Some(Bounds { from: from.max(1), to, exact: true })
}

/// The rank's column, perhaps widened to another type of number.
fn is_rank(expr: &Physical, rank: usize) -> bool {
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return is_rank(cast.expr(), rank) && (cast.cast_type().is_numeric());
    }
    column_index(expr) == Some(rank)
}

/// The whole number that an expression without columns gives.
fn constant(expr: &Physical) -> Option<i64> {
    if !columns_read(expr).is_empty() {
        return None;
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &options).ok()?;
    let value = expr.evaluate(&row).ok()?.into_array(1).ok()?;
    let value = ScalarValue::try_from_array(&value, 0).ok()?;
    match value.cast_to(&DataType::Int64).ok()? {
        // A fraction is no rank: the condition is checked row by row.
        ScalarValue::Int64(Some(number)) if value.data_type().is_integer() || is_whole(&value, number) => Some(number),
        _ => None,
    }
}

fn is_whole(value: &ScalarValue, number: i64) -> bool {
    ScalarValue::Int64(Some(number)).cast_to(&value.data_type()).is_ok_and(|same| same == *value)
}
