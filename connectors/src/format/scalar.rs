//! Values that are not nested, as plain text without quotes: what the json and csv formats write between their marks.

use std::io::Write;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMillisecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use base64::Engine;

use super::json::TimestampStandard;
use super::number::write_decimal;
use super::temporal::{write_date, write_time_of_day, write_timestamp};

/// The types that [`write_plain`] takes.
pub(crate) fn is_scalar(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(_, _)
            | DataType::Utf8
            | DataType::Binary
            | DataType::Date32
            | DataType::Time32(TimeUnit::Millisecond)
            | DataType::Timestamp(_, _)
            | DataType::Interval(IntervalUnit::YearMonth)
            | DataType::Duration(TimeUnit::Millisecond)
            | DataType::Null
    )
}

/// A value that is not null; floats with the shortest digits that read back as the same value, BYTES as base64.
pub(crate) fn write_plain(array: &ArrayRef, row: usize, standard: TimestampStandard, out: &mut Vec<u8>) {
    match array.data_type() {
        DataType::Boolean => out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" }),
        DataType::Int8 => write_integer(array.as_primitive::<Int8Type>().value(row).into(), out),
        DataType::Int16 => write_integer(array.as_primitive::<Int16Type>().value(row).into(), out),
        DataType::Int32 => write_integer(array.as_primitive::<Int32Type>().value(row).into(), out),
        DataType::Int64 => write_integer(array.as_primitive::<Int64Type>().value(row), out),
        DataType::Interval(_) => write_integer(array.as_primitive::<IntervalYearMonthType>().value(row).into(), out),
        DataType::Duration(_) => write_integer(array.as_primitive::<DurationMillisecondType>().value(row), out),
        DataType::Float32 => write_float(array.as_primitive::<Float32Type>().value(row).into(), true, out),
        DataType::Float64 => write_float(array.as_primitive::<Float64Type>().value(row), false, out),
        DataType::Decimal128(_, scale) => write_decimal(array.as_primitive::<Decimal128Type>().value(row), *scale, out),
        DataType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => {
            let text = base64::engine::general_purpose::STANDARD.encode(array.as_binary::<i32>().value(row));
            out.extend_from_slice(text.as_bytes());
        }
        DataType::Date32 => write_date(array.as_primitive::<Date32Type>().value(row).into(), out),
        DataType::Time32(_) => write_time_of_day(array.as_primitive::<Time32MillisecondType>().value(row), out),
        DataType::Timestamp(unit, zone) => {
            write_timestamp(timestamp(array, row, *unit), *unit, standard, zone.is_some(), out);
        }
        other => unreachable!("{other} is not a scalar: the encoders check it"),
    }
}

fn timestamp(array: &ArrayRef, row: usize, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row),
    }
}

fn write_integer(value: i64, out: &mut Vec<u8>) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [0; DIGITS_MAX];
    let mut first = DIGITS_MAX;
    let mut rest = value.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[first..]);
}

/// What is not a number is written in Java's words.
fn write_float(value: f64, single: bool, out: &mut Vec<u8>) {
    let written = match value {
        f64::INFINITY => write!(out, "Infinity"),
        f64::NEG_INFINITY => write!(out, "-Infinity"),
        value if value.is_nan() => write!(out, "NaN"),
        value if single => write!(out, "{:?}", value as f32),
        value => write!(out, "{value:?}"),
    };
    written.expect("a Vec takes any bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_the_standard_library_does() {
        for value in [0, 1, -1, 9, 10, -10, 12_345, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_integer(value, &mut out);
            assert_eq!(out, value.to_string().into_bytes());
        }
    }
}
