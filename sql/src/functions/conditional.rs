//! Functions that choose between values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::kernels::{cmp, zip};
use arrow::compute::{is_not_null, is_null, or, prep_null_mask_filter};
use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};
use datafusion_expr::type_coercion::binary::comparison_coercion;

use super::call::Call;
use super::definition::{Arg::*, Category, FunctionDef, Returns};

const CONDITIONAL: Category = Category::Conditional;

pub(super) const FUNCTIONS: &[FunctionDef] = &[
    FunctionDef::new(
        "if",
        CONDITIONAL,
        &[Boolean, Any, Any],
        Returns::Computed(|types, _, _| common_type(&types[1..])),
        choose,
    )
    .doc("IF(condition, a, b)", "a where the condition is true, else b."),
    FunctionDef::new("ifnull", CONDITIONAL, &[Any, Any], Returns::Computed(|types, _, _| common_type(types)), if_null)
        .alias(&["nvl"])
        .doc("IFNULL(a, b)", "a, or b where a is NULL."),
    FunctionDef::new("greatest", CONDITIONAL, &[Any], Returns::Computed(|types, _, _| common_type(types)), |call| {
        extreme(call, true)
    })
    .variadic()
    .doc("GREATEST(a, ...)", "The largest; NULL when any of them is NULL."),
    FunctionDef::new("least", CONDITIONAL, &[Any], Returns::Computed(|types, _, _| common_type(types)), |call| {
        extreme(call, false)
    })
    .variadic()
    .doc("LEAST(a, ...)", "The smallest; NULL when any of them is NULL."),
    FunctionDef::new("typeof", CONDITIONAL, &[Any], Returns::Text, type_of).doc("TYPEOF(x)", "The SQL type of x."),
];

fn common_type(types: &[DataType]) -> Result<DataType> {
    let mut common = DataType::Null;
    for data_type in types {
        common = match (&common, data_type) {
            (DataType::Null, other) | (other, DataType::Null) => other.clone(),
            (a, b) if a == b => a.clone(),
            (a, b) => match comparison_coercion(a, b) {
                Some(common) => common,
                None => return plan_err!("{} and {} have no common type", name(a), name(b)),
            },
        };
    }
    Ok(common)
}

fn name(data_type: &DataType) -> String {
    crate::types::flink_name(data_type, true)
}

fn typed(call: &Call, index: usize) -> Result<ArrayRef> {
    Ok(arrow::compute::cast(&call.columns[index], &call.returns)?)
}

fn choose(call: &Call) -> Result<ArrayRef> {
    let condition = call.columns[0].as_boolean();
    let known: BooleanArray = (0..call.rows).map(|row| Some(!call.is_null(0, row) && condition.value(row))).collect();
    Ok(zip::zip(&known, &typed(call, 1)?, &typed(call, 2)?)?)
}

fn if_null(call: &Call) -> Result<ArrayRef> {
    Ok(zip::zip(&is_not_null(&call.columns[0])?, &typed(call, 0)?, &typed(call, 1)?)?)
}

fn extreme(call: &Call, greatest: bool) -> Result<ArrayRef> {
    let mut best = typed(call, 0)?;
    for index in 1..call.count() {
        let other = typed(call, index)?;
        let better = if greatest { cmp::gt(&best, &other)? } else { cmp::lt(&best, &other)? };
        // A NULL on either side stays NULL: take the side that is NULL.
        let better = if better.null_count() > 0 { prep_null_mask_filter(&better) } else { better };
        let keep = or(&is_null(&best)?, &better)?;
        best = zip::zip(&keep, &best, &other)?;
    }
    Ok(best)
}

fn type_of(call: &Call) -> Result<ArrayRef> {
    let column = &call.columns[0];
    Ok(Arc::new(StringArray::from(vec![name(column.data_type()); call.rows])))
}
