//! Functions of arrays and maps that DataFusion's library lacks.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};

use super::call::{Call, failure};
use super::definition::{Arg::*, Category, FunctionDef, Returns};

pub(super) const FUNCTIONS: &[FunctionDef] = &[
    FunctionDef::new(
        "element",
        Category::Collection,
        &[Any],
        Returns::Computed(|types, _, _| match &types[0] {
            DataType::List(item) => Ok(item.data_type().clone()),
            other => plan_err!("ELEMENT takes an ARRAY, not {}", crate::types::flink_name(other, true)),
        }),
        element,
    )
    .doc("ELEMENT(array)", "The only element; NULL when the array is empty, an error when it has more."),
    FunctionDef::new(
        "cardinality",
        Category::Collection,
        &[Any],
        Returns::Computed(|types, _, _| match &types[0] {
            DataType::List(_) | DataType::Map(..) => Ok(DataType::Int32),
            other => plan_err!("CARDINALITY takes an ARRAY or a MAP, not {}", crate::types::flink_name(other, true)),
        }),
        cardinality,
    )
    .doc("CARDINALITY(array or map)", "Number of elements."),
    FunctionDef::new("array_position", Category::Collection, &[Any, Any], Returns::Int, position)
        .doc("ARRAY_POSITION(array, x)", "Where x comes first, from 1; 0 when it is not there."),
];

fn position(call: &Call) -> Result<ArrayRef> {
    let DataType::List(item) = call.columns[0].data_type() else {
        return plan_err!("ARRAY_POSITION takes an ARRAY and a value");
    };
    let list = call.columns[0].as_list::<i32>();
    let wanted = arrow::compute::cast(&call.columns[1], item.data_type())?;
    call.to_int(|row| {
        let wanted = arrow::array::Scalar::new(wanted.slice(row, 1));
        let same = arrow::compute::kernels::cmp::not_distinct(&list.value(row), &wanted)?;
        Ok(Some(same.values().iter().position(|same| same).map_or(0, |index| index as i32 + 1)))
    })
}

fn cardinality(call: &Call) -> Result<ArrayRef> {
    let column = &call.columns[0];
    let offsets = match column.data_type() {
        DataType::Map(..) => column.as_map().value_offsets(),
        _ => column.as_list::<i32>().value_offsets(),
    };
    call.to_int(|row| Ok((!column.is_null(row)).then(|| offsets[row + 1] - offsets[row])))
}

fn element(call: &Call) -> Result<ArrayRef> {
    let list = call.columns[0].as_list::<i32>();
    let indices = (0..call.rows).map(|row| {
        let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
        match (list.is_null(row), end - start) {
            (true, _) | (_, 0) => Ok(None),
            (_, 1) => Ok(Some(start as u32)),
            (_, count) => Err(failure(format!("ELEMENT was given an array of {count} elements"))),
        }
    });
    let indices = UInt32Array::from(indices.collect::<Result<Vec<_>>>()?);
    Ok(arrow::compute::take(list.values(), &indices, None)?)
}
