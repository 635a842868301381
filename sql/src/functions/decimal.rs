//! Quotients of DECIMALs with Flink's result types and rounding.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, i256};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::call::failure;

/// Name of the function in a plan; shown as `/`.
pub(crate) const DIVIDE: &str = "flink_divide";
const PRECISION_MAX: i32 = 38;
/// Digits after the point that a quotient keeps at least, as in Flink.
const QUOTIENT_SCALE_MIN: i32 = 6;

/// Division of DECIMALs; a whole number counts as a DECIMAL without digits after the point.
pub(crate) fn divide_function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Divide { signature: Signature::user_defined(Volatility::Immutable) }))
}

/// True when Flink divides these types as DECIMALs.
pub(crate) fn divides_decimals(left: &DataType, right: &DataType) -> bool {
    let either = matches!(left, DataType::Decimal128(..)) || matches!(right, DataType::Decimal128(..));
    either && as_decimal(left).is_some() && as_decimal(right).is_some()
}

fn as_decimal(data_type: &DataType) -> Option<(i32, i32)> {
    Some(match data_type {
        DataType::Decimal128(precision, scale) => (i32::from(*precision), i32::from(*scale)),
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        _ => return None,
    })
}

/// Precision and scale of a quotient; where 38 digits are too few, digits after the point go first.
fn quotient((p1, s1): (i32, i32), (p2, s2): (i32, i32)) -> (u8, i8) {
    let scale = QUOTIENT_SCALE_MIN.max(s1 + p2 + 1);
    let whole = p1 - s1 + s2;
    let (precision, scale) = match whole + scale {
        fits if fits <= PRECISION_MAX => (fits, scale),
        _ => (PRECISION_MAX, (PRECISION_MAX - whole).max(scale.min(QUOTIENT_SCALE_MIN))),
    };
    (precision as u8, scale as i8)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Divide {
    signature: Signature,
}

impl ScalarUDFImpl for Divide {
    fn name(&self) -> &str {
        DIVIDE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let decimal = |data_type: &DataType| as_decimal(data_type).map(|(p, s)| DataType::Decimal128(p as u8, s as i8));
        match given.iter().map(decimal).collect::<Option<Vec<_>>>() {
            Some(types) if types.len() == 2 => Ok(types),
            _ => plan_err!("`/` takes two numbers"),
        }
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match (args.first().and_then(as_decimal), args.get(1).and_then(as_decimal)) {
            (Some(left), Some(right)) => {
                let (precision, scale) = quotient(left, right);
                Ok(DataType::Decimal128(precision, scale))
            }
            _ => plan_err!("`/` takes two numbers"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Decimal128(precision, scale) = args.return_field.data_type().clone() else {
            return Err(failure("not a DECIMAL"));
        };
        let columns = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let scale_of = |column: &ArrayRef| as_decimal(column.data_type()).map_or(0, |(_, scale)| scale);
        let shift = i32::from(scale) - scale_of(&columns[0]) + scale_of(&columns[1]);
        let (left, right) = (columns[0].as_primitive::<Decimal128Type>(), columns[1].as_primitive::<Decimal128Type>());
        let quotients = left.iter().zip(right).map(|(left, right)| match (left, right) {
            (Some(left), Some(right)) => rounded_quotient(left, right, shift, precision).map(Some),
            _ => Ok(None),
        });
        let quotients = quotients.collect::<Result<Vec<_>>>()?;
        Ok(ColumnarValue::Array(Arc::new(Decimal128Array::from(quotients).with_precision_and_scale(precision, scale)?)))
    }
}

/// left * 10^shift / right, half away from zero.
fn rounded_quotient(left: i128, right: i128, shift: i32, precision: u8) -> Result<i128> {
    if right == 0 {
        return Err(failure("division by zero"));
    }
    let too_large = || failure(format!("a quotient has more than {precision} digits"));
    let (up, down) = (shift.max(0) as u32, (-shift).max(0) as u32);
    let ten = i256::from_i128(10);
    let numerator =
        ten.checked_pow(up).and_then(|unit| i256::from_i128(left).checked_mul(unit)).ok_or_else(too_large)?;
    let divisor =
        ten.checked_pow(down).and_then(|unit| i256::from_i128(right).checked_mul(unit)).ok_or_else(too_large)?;
    let (quotient, rest) = (numerator.wrapping_div(divisor), numerator.wrapping_rem(divisor));
    let twice = rest.wrapping_abs().wrapping_mul(i256::from_i128(2));
    let up = if twice >= divisor.wrapping_abs() { 1 } else { 0 };
    let negative = numerator.is_negative() != divisor.is_negative();
    let rounded = quotient.wrapping_add(i256::from_i128(if negative { -up } else { up }));
    let rounded = rounded.to_i128().ok_or_else(too_large)?;
    let limit = 10i128.checked_pow(u32::from(precision)).ok_or_else(too_large)?;
    if rounded.abs() < limit { Ok(rounded) } else { Err(too_large()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_have_flinks_types() {
        assert_eq!(quotient((10, 2), (5, 3)), (19, 8));
        assert_eq!(quotient((3, 1), (10, 0)), (14, 12));
        assert_eq!(quotient((38, 18), (38, 18)), (38, 6));
    }

    #[test]
    fn quotients_are_rounded_half_away_from_zero() {
        for (left, right, shift, expected) in
            [(1, 3, 2, 33), (2, 3, 2, 67), (-2, 3, 2, -67), (1, -8, 2, -13), (5, 1, -1, 1)]
        {
            assert_eq!(rounded_quotient(left, right, shift, 10).ok(), Some(expected), "{left}/{right}");
        }
        assert!(rounded_quotient(1, 0, 0, 10).is_err());
        assert!(rounded_quotient(1000, 1, 0, 3).is_err());
    }
}
