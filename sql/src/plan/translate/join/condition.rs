//! The condition of a join, taken apart: equalities between the sides, and the rest.

use datafusion_common::{DFSchema, NullEquality, Result, ScalarValue};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Join, Operator};

/// `left = right`, each over its own side.
#[derive(Debug, Clone)]
pub(in crate::plan::translate) struct JoinKey {
    pub left: Expr,
    pub right: Expr,
    /// `IS NOT DISTINCT FROM`.
    pub null_fits_null: bool,
}

#[derive(Debug, Clone, Default)]
pub(in crate::plan::translate) struct JoinCondition {
    pub keys: Vec<JoinKey>,
    /// Over both sides; all must be true.
    pub rest: Vec<Expr>,
}

impl JoinCondition {
    pub fn of(join: &Join) -> Result<Self> {
        let null_fits_null = join.null_equality == NullEquality::NullEqualsNull;
        let key = |(left, right): &(Expr, Expr)| JoinKey { left: left.clone(), right: right.clone(), null_fits_null };
        let mut condition = Self { keys: join.on.iter().map(key).collect(), rest: Vec::new() };
        let parts = join.filter.iter().flat_map(split_conjunction).filter(|part| !is_true(part));
        for part in parts {
            match key_of(part, join.left.schema(), join.right.schema())? {
                Some(key) => condition.keys.push(key),
                None => condition.rest.push(part.clone()),
            }
        }
        Ok(condition)
    }
}

fn is_true(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

/// An equality whose sides read one input each.
fn key_of(expr: &Expr, left: &DFSchema, right: &DFSchema) -> Result<Option<JoinKey>> {
    let Expr::BinaryExpr(BinaryExpr { left: one, op, right: other }) = expr else { return Ok(None) };
    let null_fits_null = match op {
        Operator::Eq => false,
        Operator::IsNotDistinctFrom => true,
        _ => return Ok(None),
    };
    let (one, other) = match (reads_only(one, left), reads_only(other, right)) {
        (true, true) => (one, other),
        _ if reads_only(one, right) && reads_only(other, left) => (other, one),
        _ => return Ok(None),
    };
    // Keys meet by their bytes, so their types must be the same.
    let same = one.get_type(left)? == other.get_type(right)?;
    Ok(same.then(|| JoinKey { left: one.as_ref().clone(), right: other.as_ref().clone(), null_fits_null }))
}

/// True for an expression that reads columns, all of which are of this schema.
pub(super) fn reads_only(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && !expr.is_volatile() && columns.iter().all(|column| schema.has_column(column))
}
