//! A value that stands as plain text (a JSON string, a CSV field), read into a column of any scalar type.

use arrow::datatypes::{DataType, TimeUnit};
use base64::Engine;

use super::column::{Column, Values};
use super::flaw::{Flaw, Parsed};
use super::json::TimestampStandard;
use super::number::Number;
use super::temporal::{DayCache, TimestampFlaw, parse_date, parse_time, parse_timestamp};

/// How texts are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextRules {
    pub(crate) timestamps: TimestampStandard,
    /// The option that sets `timestamps`, for hints; `None` where there is no choice.
    pub(crate) timestamps_option: Option<&'static str>,
}

/// Appends the value; on an error the column is as before.
pub(crate) fn push_text(column: &mut Column, text: &[u8], rules: &TextRules, day: &mut DayCache) -> Parsed<()> {
    let data_type = column.field.data_type();
    match &mut column.values {
        Values::Text(texts) => texts.push(text),
        Values::Boolean(values) => values.push(boolean(text, data_type)?),
        Values::Int8(values) => values.push(integer(text, data_type)?),
        Values::Int16(values) => values.push(integer(text, data_type)?),
        Values::Int32(values) => values.push(integer(text, data_type)?),
        Values::Int64(values) => values.push(integer(text, data_type)?),
        Values::Float32(values) => values.push(float(text, data_type)? as f32),
        Values::Float64(values) => values.push(float(text, data_type)?),
        Values::Decimal { values, precision, scale } => {
            let number = number(text, data_type)?;
            let value = number.to_decimal(*precision, *scale);
            values.push(value.ok_or_else(|| Flaw::out_of_range(text, data_type))?);
        }
        Values::Date(values) => values.push(parse_date(text).ok_or_else(|| Flaw::not_a(text, data_type))?),
        Values::Time(values) => {
            let (seconds, nanos) = parse_time(text).ok_or_else(|| Flaw::not_a(text, data_type))?;
            values.push((seconds * 1000 + nanos / 1_000_000) as i32);
        }
        Values::Timestamp { values, unit, local } => {
            let parsed = parse_timestamp(text, rules.timestamps, *local, *unit, day);
            values.push(parsed.map_err(|flaw| timestamp_flaw(flaw, text, data_type, rules, *local))?);
        }
        Values::Binary(texts) => {
            let engine = base64::engine::general_purpose::STANDARD;
            let bytes = engine.decode(text).map_err(|error| Flaw::new(format!("not base64: {error}")))?;
            texts.push(&bytes);
        }
        Values::List { .. } | Values::Map { .. } | Values::Row(_) => return Err(Flaw::not_a(text, data_type)),
    }
    column.mark_valid();
    Ok(())
}

fn boolean(text: &[u8], data_type: &DataType) -> Parsed<bool> {
    match text.trim_ascii() {
        text if text.eq_ignore_ascii_case(b"true") => Ok(true),
        text if text.eq_ignore_ascii_case(b"false") => Ok(false),
        _ => Err(Flaw::not_a(text, data_type)),
    }
}

fn number<'a>(text: &'a [u8], data_type: &DataType) -> Parsed<Number<'a>> {
    Number::parse(text.trim_ascii()).ok_or_else(|| Flaw::not_a(text, data_type))
}

fn integer<T: TryFrom<i64>>(text: &[u8], data_type: &DataType) -> Parsed<T> {
    let value = number(text, data_type)?.to_i64().and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| Flaw::out_of_range(text, data_type))
}

/// Also Java's words for what no digits can write.
fn float(text: &[u8], data_type: &DataType) -> Parsed<f64> {
    match text.trim_ascii() {
        b"NaN" => return Ok(f64::NAN),
        b"Infinity" | b"+Infinity" => return Ok(f64::INFINITY),
        b"-Infinity" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let number = number(text, data_type)?;
    let value = match data_type {
        // Rounded once: through a double it would be rounded twice.
        DataType::Float32 => number.to_f32().map(f64::from),
        _ => number.to_f64(),
    };
    value.ok_or_else(|| Flaw::out_of_range(text, data_type))
}

#[cold]
fn timestamp_flaw(flaw: TimestampFlaw, text: &[u8], data_type: &DataType, rules: &TextRules, local: bool) -> Flaw {
    if flaw == TimestampFlaw::OutOfRange {
        return Flaw::out_of_range(text, data_type);
    }
    let flaw = Flaw::not_a(text, data_type);
    let (other, name) = match rules.timestamps {
        TimestampStandard::Sql => (TimestampStandard::Iso8601, "ISO-8601"),
        TimestampStandard::Iso8601 => (TimestampStandard::Sql, "SQL"),
    };
    let reads = |standard, local| {
        parse_timestamp(text, standard, local, TimeUnit::Millisecond, &mut DayCache::default()).is_ok()
    };
    let fits_other = reads(other, local) || reads(other, !local);
    if let (true, Some(option)) = (fits_other, rules.timestamps_option) {
        return Flaw::new(format!("{flaw}: it is written in the other standard, set '{option}' = '{name}'"));
    }
    if reads(rules.timestamps, !local) {
        let advice = match local {
            true => "a TIMESTAMP_LTZ ends in Z; declare the column as TIMESTAMP",
            false => "it ends in Z, so declare the column as TIMESTAMP_LTZ",
        };
        return Flaw::new(format!("{flaw}: {advice}"));
    }
    let example = match (rules.timestamps, local) {
        (TimestampStandard::Sql, false) => "2024-12-31 23:59:59.123",
        (TimestampStandard::Sql, true) => "2024-12-31 23:59:59.123Z",
        (TimestampStandard::Iso8601, false) => "2024-12-31T23:59:59.123",
        (TimestampStandard::Iso8601, true) => "2024-12-31T23:59:59.123Z",
    };
    Flaw::new(format!("{flaw}, which looks like {example}"))
}
