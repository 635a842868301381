//! The event times of a batch's rows, in milliseconds.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::time::zone::TIME_MS_MAX;
use crate::{EngineError, Result};

/// The values of a TIMESTAMP or TIMESTAMP_LTZ column in milliseconds, rounded down; a NULL is a bad row.
pub fn row_times(operator: &str, rows: &RecordBatch, column: usize) -> Result<Vec<i64>> {
    let array = rows.column(column);
    if array.null_count() > 0 {
        let row = (0..array.len()).find(|row| array.is_null(*row)).expect("some value is NULL");
        return Err(null_time(operator, rows, column, row));
    }
    times_in_ms(operator, array)
}

/// The same where a NULL is no fault, and stays one.
pub fn row_times_or_null(operator: &str, rows: &RecordBatch, column: usize) -> Result<Vec<Option<i64>>> {
    let array = rows.column(column);
    let times = times_in_ms(operator, array)?.into_iter().enumerate();
    Ok(times.map(|(row, time)| array.is_valid(row).then_some(time)).collect())
}

/// Any number in place of NULL.
fn times_in_ms(operator: &str, array: &ArrayRef) -> Result<Vec<i64>> {
    let (divisor, factor) = match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => (1, 1000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => (1, 1),
        DataType::Timestamp(TimeUnit::Microsecond, _) => (1_000, 1),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (1_000_000, 1),
        other => return Err(EngineError::Unsupported(format!("{operator}: a time column cannot be of type {other}"))),
    };
    let bounded = |ms: i64| ms.clamp(-TIME_MS_MAX, TIME_MS_MAX);
    let raw = raw_values(array)?;
    let values = raw.as_primitive::<Int64Type>().values().iter();
    Ok(match (divisor, factor) {
        (1, 1) => values.map(|value| bounded(*value)).collect(),
        (1, factor) => values.map(|value| bounded(value.saturating_mul(factor))).collect(),
        (divisor, _) => values.map(|value| bounded(value.div_euclid(divisor))).collect(),
    })
}

/// The same numbers without their meaning; no copy.
fn raw_values(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(array, &DataType::Int64)?)
}

fn null_time(operator: &str, rows: &RecordBatch, column: usize, row: usize) -> EngineError {
    let name = rows.schema_ref().field(column).name().clone();
    EngineError::BadRow {
        operator: operator.into(),
        reason: format!("the time column {name} is NULL, so the row belongs to no window"),
        row: describe_row(rows, row),
        hint: format!("leave such rows out with WHERE {name} IS NOT NULL"),
    }
}

/// A row as `column=value, ...`, for messages.
fn describe_row(rows: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let value = |column: &ArrayRef| match ArrayFormatter::try_new(column, &options) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(_) => "?".into(),
    };
    let fields = rows.schema_ref().fields().iter().zip(rows.columns());
    fields.map(|(field, column)| format!("{}={}", field.name(), value(column))).collect::<Vec<_>>().join(", ")
}
