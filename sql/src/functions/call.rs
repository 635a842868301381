//! The arguments of one call over a batch, and the loops that turn a function of values into one of columns.
//!
//! Unless said otherwise a NULL argument gives a NULL result, as in Flink.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray,
    StringBuilder, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use chrono_tz::Tz;
use datafusion_common::{DataFusionError, Result};

/// One call: its argument columns, all of `rows` rows and of the types that the definition asked for.
pub(super) struct Call {
    pub columns: Vec<ArrayRef>,
    pub rows: usize,
    /// The session's time zone.
    pub zone: Tz,
    pub returns: DataType,
}

impl Call {
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    pub fn has(&self, index: usize) -> bool {
        index < self.columns.len()
    }

    pub fn is_null(&self, index: usize, row: usize) -> bool {
        self.columns[index].is_null(row)
    }

    pub fn any_null(&self, row: usize) -> bool {
        self.columns.iter().any(|column| column.is_null(row))
    }

    /// The text argument; the definition made it Utf8.
    pub fn texts(&self, index: usize) -> &StringArray {
        self.columns[index].as_string::<i32>()
    }

    pub fn text(&self, index: usize, row: usize) -> &str {
        self.texts(index).value(row)
    }

    /// An optional text argument; `None` where it is missing or NULL.
    pub fn text_or_none(&self, index: usize, row: usize) -> Option<&str> {
        (self.has(index) && !self.is_null(index, row)).then(|| self.text(index, row))
    }

    pub fn integer(&self, index: usize, row: usize) -> i64 {
        self.columns[index].as_primitive::<Int64Type>().value(row)
    }

    pub fn integer_or(&self, index: usize, row: usize, default: i64) -> i64 {
        if self.has(index) { self.integer(index, row) } else { default }
    }

    pub fn number(&self, index: usize, row: usize) -> f64 {
        self.columns[index].as_primitive::<Float64Type>().value(row)
    }

    /// Bytes of a Utf8 or Binary argument.
    pub fn bytes(&self, index: usize, row: usize) -> &[u8] {
        match self.columns[index].data_type() {
            DataType::Binary => self.columns[index].as_binary::<i32>().value(row),
            _ => self.text(index, row).as_bytes(),
        }
    }

    /// Rows without a NULL argument get what `compute` gives; it may still say NULL.
    fn each<T>(&self, mut compute: impl FnMut(usize) -> Result<Option<T>>) -> Result<Vec<Option<T>>> {
        (0..self.rows).map(|row| if self.any_null(row) { Ok(None) } else { compute(row) }).collect()
    }

    pub fn to_text(&self, mut compute: impl FnMut(usize) -> Result<Option<String>>) -> Result<ArrayRef> {
        let mut builder = StringBuilder::with_capacity(self.rows, self.rows * 16);
        for row in 0..self.rows {
            let value = if self.any_null(row) { None } else { compute(row)? };
            builder.append_option(value);
        }
        Ok(Arc::new(builder.finish()))
    }

    /// As `to_text`, but `compute` sees rows with NULL arguments too.
    pub fn to_text_nulls(&self, compute: impl FnMut(usize) -> Result<Option<String>>) -> Result<ArrayRef> {
        let values = (0..self.rows).map(compute).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StringArray::from(values)))
    }

    pub fn to_boolean(&self, compute: impl FnMut(usize) -> Result<Option<bool>>) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::from(self.each(compute)?)))
    }

    pub fn to_int(&self, compute: impl FnMut(usize) -> Result<Option<i32>>) -> Result<ArrayRef> {
        Ok(Arc::new(Int32Array::from(self.each(compute)?)))
    }

    pub fn to_bigint(&self, compute: impl FnMut(usize) -> Result<Option<i64>>) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(self.each(compute)?)))
    }

    pub fn to_double(&self, compute: impl FnMut(usize) -> Result<Option<f64>>) -> Result<ArrayRef> {
        Ok(Arc::new(Float64Array::from(self.each(compute)?)))
    }

    pub fn to_bytes(&self, compute: impl FnMut(usize) -> Result<Option<Vec<u8>>>) -> Result<ArrayRef> {
        let values = self.each(compute)?;
        Ok(Arc::new(BinaryArray::from_iter(values)))
    }

    /// Milliseconds to the call's timestamp type.
    pub fn to_timestamp(&self, compute: impl FnMut(usize) -> Result<Option<i64>>) -> Result<ArrayRef> {
        let millis = TimestampMillisecondArray::from(self.each(compute)?);
        let DataType::Timestamp(_, zone) = &self.returns else { return Err(failure("not a timestamp")) };
        let typed: ArrayRef = Arc::new(millis.with_timezone_opt(zone.clone()));
        Ok(arrow::compute::cast(&typed, &self.returns)?)
    }
}

/// A value that a function cannot take; fails the row.
pub(super) fn failure(message: impl Into<String>) -> DataFusionError {
    DataFusionError::Execution(message.into())
}
