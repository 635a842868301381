//! Functions of numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Decimal128Type};
use datafusion_common::{Result, ScalarValue};

use super::call::{Call, failure};
use super::definition::{Arg::*, Category, FunctionDef, Returns};

const MATH: Category = Category::Math;
/// Digits beyond those of any number: more are the same as so many.
const DIGITS_MAX: i64 = 38;

pub(super) const FUNCTIONS: &[FunctionDef] = &[
    FunctionDef::new("mod", MATH, &[Any, Any], Returns::Computed(common_number), remainder)
        .doc("MOD(a, b)", "The remainder of a / b, with the sign of a."),
    FunctionDef::new("log", MATH, &[Number, Number], Returns::Double, log)
        .optional_after(1)
        .doc("LOG(x) or LOG(base, x)", "The natural logarithm, or that to a base."),
    FunctionDef::new("e", MATH, &[], Returns::Double, |call| {
        Ok(Arc::new(Float64Array::from(vec![std::f64::consts::E; call.rows])))
    })
    .doc("E()", "Euler's number."),
    FunctionDef::new("sign", MATH, &[Any], Returns::Computed(|types, _, _| Ok(types[0].clone())), sign)
        .doc("SIGN(x)", "-1, 0 or 1, in the type of x."),
    FunctionDef::new("sqrt", MATH, &[Number], Returns::Double, |call| {
        call.to_double(|row| Ok(Some(call.number(0, row).sqrt())))
    })
    .doc("SQRT(x)", "The square root; NaN below zero."),
    FunctionDef::new("floor", MATH, &[Any], Returns::Computed(whole_type), |call| whole(call, false))
        .doc("FLOOR(x)", "The largest whole number that is not above x."),
    FunctionDef::new("ceil", MATH, &[Any], Returns::Computed(whole_type), |call| whole(call, true))
        .alias(&["ceiling"])
        .doc("CEIL(x)", "The smallest whole number that is not below x."),
    FunctionDef::new("truncate", MATH, &[Any, Integer], Returns::Computed(truncated_type), truncate)
        .optional_after(1)
        .doc("TRUNCATE(x [, digits])", "x cut to that many digits after the point, 0 unless said otherwise."),
    FunctionDef::new("rand", MATH, &[Integer], Returns::Double, rand)
        .optional_after(0)
        .volatile()
        .doc("RAND([seed])", "A number from 0 (inclusive) to 1 (exclusive), another one for each row."),
    FunctionDef::new("rand_integer", MATH, &[Integer, Integer], Returns::Int, rand_integer)
        .optional_after(1)
        .volatile()
        .doc("RAND_INTEGER([seed,] bound)", "A whole number from 0 to below the bound, another one for each row."),
    FunctionDef::new("bin", MATH, &[Integer], Returns::Text, |call| {
        call.to_text(|row| Ok(Some(format!("{:b}", call.integer(0, row)))))
    })
    .doc("BIN(n)", "Binary digits."),
    FunctionDef::new("hex", MATH, &[Any], Returns::Text, hex)
        .doc("HEX(n or text)", "Hexadecimal digits in upper case."),
    FunctionDef::new("unhex", MATH, &[Text], Returns::Bytes, |call| call.to_bytes(|row| Ok(unhex(call.text(0, row)))))
        .doc("UNHEX(text)", "The bytes that the hexadecimal digits stand for; NULL when they do not."),
];

/// The type to which both operands go for a remainder.
fn common_number(types: &[DataType], _: &[Option<ScalarValue>], _: chrono_tz::Tz) -> Result<DataType> {
    use datafusion_expr::type_coercion::binary::BinaryTypeCoercer;
    BinaryTypeCoercer::new(&types[0], &datafusion_expr::Operator::Modulo, &types[1]).get_result_type()
}

fn remainder(call: &Call) -> Result<ArrayRef> {
    let typed = |index: usize| arrow::compute::cast(&call.columns[index], &call.returns);
    Ok(arrow::compute::cast(&numeric::rem(&typed(0)?, &typed(1)?)?, &call.returns)?)
}

fn log(call: &Call) -> Result<ArrayRef> {
    call.to_double(|row| {
        Ok(Some(match call.has(1) {
            true => call.number(1, row).ln() / call.number(0, row).ln(),
            false => call.number(0, row).ln(),
        }))
    })
}

fn sign(call: &Call) -> Result<ArrayRef> {
    let numbers = arrow::compute::cast(&call.columns[0], &DataType::Float64)?;
    let values = Call { columns: vec![numbers], rows: call.rows, zone: call.zone, returns: DataType::Float64 };
    let signs = values.to_double(|row| {
        let x = values.number(0, row);
        Ok(Some(if x == 0.0 || x.is_nan() { x } else { x.signum() }))
    })?;
    Ok(arrow::compute::cast(&signs, &call.returns)?)
}

/// A DECIMAL loses the digits after the point; whole numbers stay as they are; all else is DOUBLE.
fn whole_type(types: &[DataType], _: &[Option<ScalarValue>], _: chrono_tz::Tz) -> Result<DataType> {
    Ok(match &types[0] {
        DataType::Decimal128(precision, scale) => DataType::Decimal128((precision + 1 - *scale as u8).clamp(1, 38), 0),
        kept @ (DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32) => {
            kept.clone()
        }
        _ => DataType::Float64,
    })
}

fn whole(call: &Call, up: bool) -> Result<ArrayRef> {
    if let (DataType::Decimal128(_, scale), DataType::Decimal128(precision, _)) =
        (call.columns[0].data_type(), &call.returns)
    {
        let unit = 10i128.pow(u32::from(scale.unsigned_abs()));
        let floor = |value: i128| if up { -(-value).div_euclid(unit) } else { value.div_euclid(unit) };
        let decimals = call.columns[0].as_primitive::<Decimal128Type>();
        let cut: Decimal128Array = decimals.iter().map(|value| value.map(floor)).collect();
        return Ok(Arc::new(cut.with_precision_and_scale(*precision, 0)?));
    }
    if call.returns.is_integer() {
        return Ok(Arc::clone(&call.columns[0]));
    }
    let columns = vec![arrow::compute::cast(&call.columns[0], &DataType::Float64)?];
    let numbers = Call { columns, rows: call.rows, zone: call.zone, returns: DataType::Float64 };
    let cut = numbers.to_double(|row| {
        let x = numbers.number(0, row);
        Ok(Some(if up { x.ceil() } else { x.floor() }))
    })?;
    Ok(arrow::compute::cast(&cut, &call.returns)?)
}

/// A DECIMAL stays one; whole numbers stay as they are; all else is DOUBLE.
fn truncated_type(types: &[DataType], _: &[Option<ScalarValue>], _: chrono_tz::Tz) -> Result<DataType> {
    Ok(match &types[0] {
        kept @ (DataType::Decimal128(..) | DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64) => {
            kept.clone()
        }
        _ => DataType::Float64,
    })
}

fn truncate(call: &Call) -> Result<ArrayRef> {
    let digits = |row: usize| call.integer_or(1, row, 0).clamp(-DIGITS_MAX, DIGITS_MAX);
    if let DataType::Decimal128(precision, scale) = call.returns {
        let decimals = call.columns[0].as_primitive::<Decimal128Type>();
        let cut = (0..call.rows).map(|row| {
            let dropped = u32::try_from(i64::from(scale) - digits(row)).unwrap_or(0);
            let unit = 10i128.checked_pow(dropped);
            (!call.any_null(row)).then(|| unit.map_or(0, |unit| decimals.value(row) / unit * unit))
        });
        return Ok(Arc::new(Decimal128Array::from_iter(cut).with_precision_and_scale(precision, scale)?));
    }
    let numbers = arrow::compute::cast(&call.columns[0], &DataType::Float64)?;
    let mut columns = call.columns.clone();
    columns[0] = numbers;
    let numbers = Call { columns, rows: call.rows, zone: call.zone, returns: DataType::Float64 };
    let cut = numbers.to_double(|row| {
        let unit = 10f64.powi(digits(row) as i32);
        Ok(Some((numbers.number(0, row) * unit).trunc() / unit))
    })?;
    Ok(arrow::compute::cast(&cut, &call.returns)?)
}

fn rand(call: &Call) -> Result<ArrayRef> {
    Ok(Arc::new(Float64Array::from_iter_values((0..call.rows).map(|_| random()))))
}

/// Uniform in [0, 1): 53 random bits of a version 4 UUID.
fn random() -> f64 {
    (uuid::Uuid::new_v4().as_u128() >> 75) as f64 / (1u64 << 53) as f64
}

fn rand_integer(call: &Call) -> Result<ArrayRef> {
    let bound = call.count() - 1;
    let values = (0..call.rows).map(|row| {
        if call.is_null(bound, row) {
            return Ok(None);
        }
        match call.integer(bound, row) {
            bound if bound > 0 => Ok(Some((random() * bound as f64) as i32)),
            bound => Err(failure(format!("the bound of RAND_INTEGER must be positive, not {bound}"))),
        }
    });
    Ok(Arc::new(Int32Array::from(values.collect::<Result<Vec<_>>>()?)))
}

fn hex(call: &Call) -> Result<ArrayRef> {
    let source = &call.columns[0];
    let target = if source.data_type().is_numeric() { DataType::Int64 } else { source.data_type().clone() };
    let typed = Call {
        columns: vec![arrow::compute::cast(source, &target)?],
        rows: call.rows,
        zone: call.zone,
        returns: DataType::Utf8,
    };
    typed.to_text(|row| {
        Ok(Some(match target {
            DataType::Int64 => format!("{:X}", typed.integer(0, row)),
            _ => typed.bytes(0, row).iter().map(|byte| format!("{byte:02X}")).collect(),
        }))
    })
}

/// An odd number of digits has a leading zero, as in Flink.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let padded = if text.len() % 2 == 1 { format!("0{text}") } else { text.to_string() };
    let digits: Option<Vec<u8>> = padded.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    Some(digits?.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}
