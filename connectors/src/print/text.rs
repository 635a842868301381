//! Values as text: as Flink's print sink writes them (Java's `toString`), or as a person reads them in a table.

use std::fmt::Write;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{self as types, DataType, Date32Type, IntervalUnit, TimeUnit};
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use chrono_tz::Tz;
use tidemill_engine::Result;

use super::PrintStyle;

/// Days from the first day of our era, where chrono counts from, to 1970-01-01, where Arrow counts from.
const DAYS_BEFORE_1970: i32 = 719_163;

/// Appends the value at `row`.
pub fn write_value(out: &mut String, array: &dyn Array, row: usize, style: PrintStyle) -> Result<()> {
    if array.is_null(row) {
        out.push_str(if style == PrintStyle::Flink { "null" } else { "NULL" });
        return Ok(());
    }
    match array.data_type() {
        DataType::Utf8 => write_text(out, array.as_string::<i32>().value(row), style),
        DataType::Float32 => write_float(out, &format!("{:e}", array.as_primitive::<types::Float32Type>().value(row))),
        DataType::Float64 => write_float(out, &format!("{:e}", array.as_primitive::<types::Float64Type>().value(row))),
        DataType::Binary => write_bytes(out, array.as_binary::<i32>().value(row), style),
        DataType::Date32 => write_date(out, array.as_primitive::<Date32Type>().value(row)),
        DataType::Time32(TimeUnit::Millisecond) => {
            write_time(out, array.as_primitive::<types::Time32MillisecondType>().value(row), style);
        }
        DataType::Timestamp(unit, zone) => {
            write_timestamp(out, timestamp_parts(array, row, *unit), *unit, zone.as_deref(), style);
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            write_months(out, array.as_primitive::<types::IntervalYearMonthType>().value(row));
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            write_duration(out, array.as_primitive::<types::DurationMillisecondType>().value(row));
        }
        DataType::List(_) => write_list(out, array.as_list::<i32>().value(row).as_ref(), style)?,
        DataType::Map(..) => write_map(out, array, row, style)?,
        DataType::Struct(_) => write_row(out, array, row, style)?,
        _ => out.push_str(&array_value_to_string(array, row)?),
    }
    Ok(())
}

/// In tables, control characters are escaped so that no value can move the cursor.
fn write_text(out: &mut String, text: &str, style: PrintStyle) {
    if style == PrintStyle::Flink || !text.contains(char::is_control) {
        return out.push_str(text);
    }
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
}

fn write_bytes(out: &mut String, bytes: &[u8], style: PrintStyle) {
    if style == PrintStyle::Flink {
        let signed: Vec<i8> = bytes.iter().map(|byte| *byte as i8).collect();
        let _ = write!(out, "{signed:?}");
    } else {
        out.push_str("x'");
        bytes.iter().for_each(|byte| write!(out, "{byte:02x}").expect("a String takes all"));
        out.push('\'');
    }
}

/// Java's notation, from Rust's shortest digits in the form `-1.25e-7`.
fn write_float(out: &mut String, scientific: &str) {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return out.push_str(if scientific.contains("inf") { infinity(scientific) } else { "NaN" });
    };
    let exponent: i32 = exponent.parse().expect("Rust writes an exponent");
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    out.push_str(sign);
    if digits == "0" {
        out.push_str("0.0");
    } else if (-3..7).contains(&exponent) {
        write_plain(out, &digits, exponent);
    } else {
        let rest = if digits.len() > 1 { &digits[1..] } else { "0" };
        let _ = write!(out, "{}.{rest}E{exponent}", &digits[..1]);
    }
}

fn infinity(text: &str) -> &'static str {
    if text.starts_with('-') { "-Infinity" } else { "Infinity" }
}

/// `digits` with the point behind the digit number `exponent` (0 is the first), with a digit on each side of it.
fn write_plain(out: &mut String, digits: &str, exponent: i32) {
    let Ok(whole) = usize::try_from(exponent + 1) else {
        let _ = write!(out, "0.{}{digits}", "0".repeat((-exponent - 1) as usize));
        return;
    };
    if digits.len() > whole && whole > 0 {
        let _ = write!(out, "{}.{}", &digits[..whole], &digits[whole..]);
    } else if whole == 0 {
        let _ = write!(out, "0.{digits}");
    } else {
        let _ = write!(out, "{digits}{}.0", "0".repeat(whole - digits.len()));
    }
}

fn write_date(out: &mut String, days: i32) {
    match days.checked_add(DAYS_BEFORE_1970).and_then(NaiveDate::from_num_days_from_ce_opt) {
        Some(date) => write!(out, "{}", date.format("%Y-%m-%d")).expect("a String takes all"),
        None => write!(out, "{days} days").expect("a String takes all"),
    }
}

fn write_time(out: &mut String, millis: i32, style: PrintStyle) {
    let nanos = millis.rem_euclid(1000) as u32 * 1_000_000;
    let time = NaiveTime::from_num_seconds_from_midnight_opt(millis.div_euclid(1000).rem_euclid(86_400) as u32, nanos)
        .expect("within a day");
    match style {
        PrintStyle::Flink => write_java_time(out, time, false),
        PrintStyle::Table if nanos == 0 => write!(out, "{}", time.format("%H:%M:%S")).expect("a String takes all"),
        PrintStyle::Table => write!(out, "{}", time.format("%H:%M:%S%.3f")).expect("a String takes all"),
    }
}

/// Seconds and nanoseconds since 1970.
fn timestamp_parts(array: &dyn Array, row: usize, unit: TimeUnit) -> (i64, u32) {
    let (value, per_second) = match unit {
        TimeUnit::Second => (array.as_primitive::<types::TimestampSecondType>().value(row), 1),
        TimeUnit::Millisecond => (array.as_primitive::<types::TimestampMillisecondType>().value(row), 1_000),
        TimeUnit::Microsecond => (array.as_primitive::<types::TimestampMicrosecondType>().value(row), 1_000_000),
        TimeUnit::Nanosecond => (array.as_primitive::<types::TimestampNanosecondType>().value(row), 1_000_000_000),
    };
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    (value.div_euclid(per_second), nanos as u32)
}

fn write_timestamp(out: &mut String, parts: (i64, u32), unit: TimeUnit, zone: Option<&str>, style: PrintStyle) {
    let Some(utc) = DateTime::from_timestamp(parts.0, parts.1) else {
        return write!(out, "{} s", parts.0).expect("a String takes all");
    };
    match (style, zone) {
        (PrintStyle::Flink, None) => write_java_timestamp(out, utc.naive_utc(), false),
        (PrintStyle::Flink, Some(_)) => {
            write_java_timestamp(out, utc.naive_utc(), true);
            out.push('Z');
        }
        (PrintStyle::Table, zone) => {
            let zone = zone.and_then(|name| name.parse::<Tz>().ok()).unwrap_or(Tz::UTC);
            let local = utc.with_timezone(&zone).naive_local();
            let _ = write!(out, "{}{}", local.format("%Y-%m-%d %H:%M:%S"), fraction(parts.1, unit));
        }
    }
}

/// The digits that the column's precision has, with their point.
fn fraction(nanos: u32, unit: TimeUnit) -> String {
    match unit {
        TimeUnit::Second => String::new(),
        TimeUnit::Millisecond => format!(".{:03}", nanos / 1_000_000),
        TimeUnit::Microsecond => format!(".{:06}", nanos / 1_000),
        TimeUnit::Nanosecond => format!(".{nanos:09}"),
    }
}

/// `LocalDateTime.toString`, or `Instant.toString` without its Z (which always has seconds).
fn write_java_timestamp(out: &mut String, time: NaiveDateTime, seconds: bool) {
    let _ = write!(out, "{}T", time.date().format("%Y-%m-%d"));
    write_java_time(out, time.time(), seconds);
}

/// `LocalTime.toString`: seconds only where needed (or `seconds`), the fraction in three, six or nine digits.
fn write_java_time(out: &mut String, time: NaiveTime, seconds: bool) {
    let _ = write!(out, "{:02}:{:02}", time.hour(), time.minute());
    let nanos = time.nanosecond();
    if seconds || time.second() != 0 || nanos != 0 {
        let _ = write!(out, ":{:02}", time.second());
    }
    match nanos {
        0 => {}
        n if n % 1_000_000 == 0 => write!(out, ".{:03}", n / 1_000_000).expect("a String takes all"),
        n if n % 1_000 == 0 => write!(out, ".{:06}", n / 1_000).expect("a String takes all"),
        n => write!(out, ".{n:09}").expect("a String takes all"),
    }
}

/// `Period.toString` of years and months.
fn write_months(out: &mut String, months: i32) {
    let (years, months) = (months / 12, months % 12);
    out.push('P');
    if years != 0 {
        let _ = write!(out, "{years}Y");
    }
    if months != 0 {
        let _ = write!(out, "{months}M");
    }
    if years == 0 && months == 0 {
        out.push_str("0D");
    }
}

/// `Duration.toString`: `PT48H1M0.5S`.
fn write_duration(out: &mut String, millis: i64) {
    let (hours, minutes, rest) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
    out.push_str("PT");
    if hours != 0 {
        let _ = write!(out, "{hours}H");
    }
    if minutes != 0 {
        let _ = write!(out, "{minutes}M");
    }
    if rest != 0 || millis == 0 {
        let sign = if rest < 0 { "-" } else { "" };
        let fraction = format!(".{:03}", rest.abs() % 1000);
        let _ = write!(out, "{sign}{}{}S", rest.abs() / 1000, fraction.trim_end_matches('0').trim_end_matches('.'));
    }
}

fn write_list(out: &mut String, elements: &dyn Array, style: PrintStyle) -> Result<()> {
    out.push('[');
    for index in 0..elements.len() {
        out.push_str(if index == 0 { "" } else { ", " });
        write_value(out, elements, index, style)?;
    }
    out.push(']');
    Ok(())
}

fn write_map(out: &mut String, array: &dyn Array, row: usize, style: PrintStyle) -> Result<()> {
    let entries = array.as_map().value(row);
    out.push('{');
    for index in 0..entries.len() {
        out.push_str(if index == 0 { "" } else { ", " });
        write_value(out, entries.column(0), index, style)?;
        out.push('=');
        write_value(out, entries.column(1), index, style)?;
    }
    out.push('}');
    Ok(())
}

fn write_row(out: &mut String, array: &dyn Array, row: usize, style: PrintStyle) -> Result<()> {
    let (open, close) = if style == PrintStyle::Flink { ("+I[", "]") } else { ("(", ")") };
    out.push_str(open);
    for (index, column) in array.as_struct().columns().iter().enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        write_value(out, column, row, style)?;
    }
    out.push_str(close);
    Ok(())
}

#[cfg(test)]
mod tests;
