//! A join's condition, taken apart into equalities between its sides and everything else.

use datafusion_common::{Column, DFSchema};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, Join, Operator};

pub(crate) struct JoinCondition {
    /// A left expression and the right one that it must equal.
    pub equal: Vec<(Expr, Expr)>,
    pub other: Vec<Expr>,
}

impl JoinCondition {
    pub fn of(join: &Join) -> Self {
        let parts: Vec<Expr> = join.filter.iter().flat_map(split_conjunction).cloned().collect();
        Self::split(join.on.clone(), &parts, [join.left.schema(), join.right.schema()])
    }

    /// `parts` are joined by AND; `schemas` are those of the left and the right side.
    pub fn split(equal: Vec<(Expr, Expr)>, parts: &[Expr], schemas: [&DFSchema; 2]) -> Self {
        let mut condition = Self { equal, other: Vec::new() };
        for part in parts {
            match equality(part, schemas) {
                Some(pair) => condition.equal.push(pair),
                None => condition.other.push(part.clone()),
            }
        }
        condition
    }
}

/// Both sides of `left = right`, whichever way round it was written.
fn equality(part: &Expr, [left_schema, right_schema]: [&DFSchema; 2]) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return None };
    if reads_only(left, left_schema) && reads_only(right, right_schema) {
        return Some((left.as_ref().clone(), right.as_ref().clone()));
    }
    let swapped = reads_only(right, left_schema) && reads_only(left, right_schema);
    swapped.then(|| (right.as_ref().clone(), left.as_ref().clone()))
}

/// True for an expression over some columns of this schema and no others.
fn reads_only(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|column| schema.has_column(column)) && !expr.is_volatile()
}

/// The side and place of a column of a join's inputs.
pub(super) fn place_of(join: &Join, column: &Column) -> Option<(usize, usize)> {
    let left = join.left.schema().maybe_index_of_column(column).map(|index| (0, index));
    left.or_else(|| join.right.schema().maybe_index_of_column(column).map(|index| (1, index)))
}
