//! INTERVAL times a number, which the planner's library does not have.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DurationMillisecondArray, IntervalMonthDayNanoArray, IntervalYearMonthArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, DurationMillisecondType, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, TimeUnit,
};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::call::failure;

/// Name of the function in a plan; shown as `*`.
pub(crate) const MULTIPLY: &str = "flink_multiply_interval";

/// The function over an interval and a number, in this order.
pub(crate) fn multiply_function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Multiply { signature: Signature::user_defined(Volatility::Immutable) }))
}

pub(crate) fn is_interval(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::MonthDayNano)
            | DataType::Duration(TimeUnit::Millisecond)
    )
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Multiply {
    signature: Signature,
}

impl ScalarUDFImpl for Multiply {
    fn name(&self) -> &str {
        MULTIPLY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whole numbers stay exact; others multiply as DOUBLE.
    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [interval, DataType::Null] if is_interval(interval) => Ok(vec![interval.clone(), DataType::Int64]),
            [interval, number] if is_interval(interval) && number.is_integer() => {
                Ok(vec![interval.clone(), DataType::Int64])
            }
            [interval, number] if is_interval(interval) && number.is_numeric() => {
                Ok(vec![interval.clone(), DataType::Float64])
            }
            _ => plan_err!("`*` takes an interval and a number"),
        }
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args.first() {
            Some(interval) => Ok(interval.clone()),
            None => plan_err!("`*` takes an interval and a number"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let [intervals, numbers] = &columns[..] else { return Err(failure("`*` takes an interval and a number")) };
        Ok(ColumnarValue::Array(multiply(intervals, &factors(numbers)?)?))
    }
}

/// A number as the product needs it.
#[derive(Clone, Copy)]
enum Factor {
    Whole(i64),
    Real(f64),
}

fn factors(numbers: &ArrayRef) -> Result<Vec<Option<Factor>>> {
    Ok(match numbers.data_type() {
        DataType::Int64 => numbers.as_primitive::<Int64Type>().iter().map(|n| n.map(Factor::Whole)).collect(),
        _ => {
            let reals = cast(numbers, &DataType::Float64)?;
            reals.as_primitive::<Float64Type>().iter().map(|n| n.map(Factor::Real)).collect()
        }
    })
}

/// The product, cut toward zero; fails where the type cannot hold it.
fn times(length: i64, factor: Factor) -> Result<i64> {
    let too_long = || failure("an interval is too long: the number that it is multiplied with is too large");
    match factor {
        Factor::Whole(number) => length.checked_mul(number).ok_or_else(too_long),
        Factor::Real(number) => {
            let product = (length as f64 * number).trunc();
            // Both bounds of BIGINT are powers of two, which DOUBLE holds exactly.
            let fits = product >= i64::MIN as f64 && product < i64::MAX as f64;
            if fits { Ok(product as i64) } else { Err(too_long()) }
        }
    }
}

fn multiply(intervals: &ArrayRef, factors: &[Option<Factor>]) -> Result<ArrayRef> {
    let months = |length: i32, factor| {
        i32::try_from(times(length.into(), factor)?)
            .map_err(|_| failure("an interval has more months than an INT holds"))
    };
    Ok(match intervals.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            let products = intervals.as_primitive::<IntervalYearMonthType>().iter().zip(factors);
            let products = products.map(|(length, factor)| length.zip(*factor).map(|(l, f)| months(l, f)).transpose());
            Arc::new(products.collect::<Result<IntervalYearMonthArray>>()?)
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            let products = intervals.as_primitive::<DurationMillisecondType>().iter().zip(factors);
            let products = products.map(|(length, factor)| length.zip(*factor).map(|(l, f)| times(l, f)).transpose());
            Arc::new(products.collect::<Result<DurationMillisecondArray>>()?)
        }
        _ => {
            let product = |length: IntervalMonthDayNano, factor| {
                let days = i32::try_from(times(length.days.into(), factor)?);
                let days = days.map_err(|_| failure("an interval has more days than an INT holds"))?;
                // Intervals are whole milliseconds.
                let millis = times(length.nanoseconds / NANOS_PER_MILLI, factor)?;
                let nanoseconds = times(millis, Factor::Whole(NANOS_PER_MILLI))?;
                Ok(IntervalMonthDayNano { months: months(length.months, factor)?, days, nanoseconds })
            };
            let products = intervals.as_primitive::<IntervalMonthDayNanoType>().iter().zip(factors);
            let products = products.map(|(length, factor)| length.zip(*factor).map(|(l, f)| product(l, f)).transpose());
            Arc::new(products.collect::<Result<IntervalMonthDayNanoArray>>()?)
        }
    })
}

const NANOS_PER_MILLI: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_cut_toward_zero_and_checked() {
        for (length, factor, expected) in [
            (90_000, Factor::Whole(-2), Some(-180_000)),
            (1_000, Factor::Real(1.5), Some(1_500)),
            (1, Factor::Real(-0.9), Some(0)),
            (i64::MAX, Factor::Whole(2), None),
            (1, Factor::Real(f64::NAN), None),
            (1, Factor::Real(1e300), None),
        ] {
            assert_eq!(times(length, factor).ok(), expected);
        }
    }
}
