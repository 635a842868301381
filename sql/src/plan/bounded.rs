//! Library functions whose result is as long as a number says: bounded, so that no number makes a process run out of memory.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion_common::{Result, exec_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Characters or elements that one call may make for all rows of a batch together. A batch of 8,192 rows may have texts of
/// 32 kB each; what one row needs is far less.
const LENGTH_MAX: i64 = 256 << 20;

/// How long the result for a row is, by the function's name.
type Length = fn(&[Option<i64>]) -> i64;

const BOUNDED: &[(&str, Length)] = &[
    // The first one is the length of the text.
    ("repeat", |args| number(args, 0).saturating_mul(number(args, 1))),
    ("array_repeat", |args| number(args, 1)),
    ("array_resize", |args| number(args, 1)),
    ("range", steps),
    ("generate_series", steps),
];

fn number(args: &[Option<i64>], index: usize) -> i64 {
    args.get(index).copied().flatten().unwrap_or(0).max(0)
}

/// `range(stop)`, `range(start, stop)`, `range(start, stop, step)`.
fn steps(args: &[Option<i64>]) -> i64 {
    let given: Vec<i64> = args.iter().map(|arg| arg.unwrap_or(0)).collect();
    let (start, stop, step) = match given.as_slice() {
        [stop] => (0, *stop, 1),
        [start, stop] => (*start, *stop, 1),
        [start, stop, step, ..] => (*start, *stop, *step),
        [] => (0, 0, 1),
    };
    let distance = i128::from(stop) - i128::from(start);
    let count = distance.checked_div(i128::from(step)).unwrap_or(0).max(0);
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The function, bounded where its name is in the list.
pub(super) fn bounded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match BOUNDED.iter().find(|(name, _)| *name == function.name()) {
        Some((_, length)) => Arc::new(ScalarUDF::new_from_impl(Bounded { inner: function, length: *length })),
        None => function,
    }
}

#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    length: Length,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl std::hash::Hash for Bounded {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|arg| whole_numbers(arg, rows)).collect::<Result<Vec<_>>>()?;
        let mut total = 0i64;
        for row in 0..rows {
            let values: Vec<Option<i64>> = columns.iter().map(|column| column.as_ref().and_then(|c| c[row])).collect();
            total = total.saturating_add((self.length)(&values));
        }
        if total > LENGTH_MAX {
            return exec_err!("{} would make {total} characters or elements, at most {LENGTH_MAX} can be", self.name());
        }
        Ok(())
    }
}

/// The numbers of a column, or the lengths of its texts; `None` for a column of other things.
fn whole_numbers(column: &ColumnarValue, rows: usize) -> Result<Option<Vec<Option<i64>>>> {
    let array = column.to_array(rows)?;
    if matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        let texts = cast(&array, &DataType::Utf8View)?;
        let lengths = texts.as_string_view().iter().map(|text| text.map(|text| text.len() as i64));
        return Ok(Some(lengths.collect()));
    }
    if !array.data_type().is_integer() {
        return Ok(None);
    }
    let numbers = cast(&array, &DataType::Int64)?;
    Ok(Some(numbers.as_primitive::<Int64Type>().iter().collect()))
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.inner.inner().invoke_with_args(args)
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(args, info)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(arg_types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.inner().documentation()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_without_making_the_result() {
        assert_eq!(steps(&[Some(5)]), 5);
        assert_eq!(steps(&[Some(2), Some(12)]), 10);
        assert_eq!(steps(&[Some(i64::MIN), Some(i64::MAX), Some(1)]), i64::MAX);
        assert_eq!(steps(&[Some(9), Some(0), Some(-3)]), 3);
        assert_eq!(steps(&[Some(0), Some(9), Some(0)]), 0);
        for (name, _) in BOUNDED {
            let all = datafusion_functions::all_default_functions().into_iter();
            let mut all = all.chain(datafusion_functions_nested::all_default_nested_functions());
            assert!(all.any(|function| function.name() == *name), "there is no function {name}");
        }
    }
}
