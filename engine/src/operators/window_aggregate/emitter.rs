//! Turns keys and results of a fired window into output batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMillisecondArray};
use arrow::datatypes::{DataType, SchemaRef};
use chrono_tz::Tz;

use super::WindowProperty;
use crate::Batch;
use crate::Result;
use crate::operator::{Collector, MAIN_PORT};
use crate::operators::key_table::KeyColumns;
use crate::time::assign::{Window, closing_watermark};

/// Knows the output's columns: keys, aggregates, window properties.
pub struct Emitter {
    properties: Vec<WindowProperty>,
    schema: SchemaRef,
    zone: Option<Tz>,
}

impl Emitter {
    pub fn new(properties: &[WindowProperty], schema: &SchemaRef, zone: Option<Tz>) -> Self {
        Self { properties: properties.to_vec(), schema: schema.clone(), zone }
    }

    /// Emits one row per key: all of them belong to `window`.
    pub fn emit<'a>(
        &self,
        keys: &KeyColumns,
        key_bytes: impl IntoIterator<Item = &'a [u8]>,
        values: Vec<ArrayRef>,
        rows: usize,
        window: Window,
        out: &mut dyn Collector,
    ) -> Result<()> {
        self.emit_rows(keys, key_bytes, values, &vec![window; rows], out)
    }

    /// Emits one row per key, each with its own window.
    pub fn emit_rows<'a>(
        &self,
        keys: &KeyColumns,
        key_bytes: impl IntoIterator<Item = &'a [u8]>,
        values: Vec<ArrayRef>,
        windows: &[Window],
        out: &mut dyn Collector,
    ) -> Result<()> {
        let mut columns = keys.decode(key_bytes)?;
        columns.extend(values);
        let first = self.schema.fields().len() - self.properties.len();
        for (index, property) in self.properties.iter().enumerate() {
            columns.push(property_column(*property, self.schema.field(first + index).data_type(), self.zone, windows));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(windows.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        out.emit(MAIN_PORT, Batch::new(rows))
    }
}

/// The column of a window property; a zoned type asks for the instant, any other for the local time.
pub fn property_column(property: WindowProperty, kind: &DataType, zone: Option<Tz>, windows: &[Window]) -> ArrayRef {
    let name = match kind {
        DataType::Timestamp(_, name) => name.clone(),
        _ => None,
    };
    let value = |window: &Window| match property {
        WindowProperty::Start => window.start,
        WindowProperty::End => window.end,
        WindowProperty::Time if name.is_some() => closing_watermark(zone, window.end).0,
        WindowProperty::Time => window.end - 1,
    };
    let values: TimestampMillisecondArray = windows.iter().map(value).collect::<Vec<i64>>().into();
    Arc::new(values.with_timezone_opt(name))
}
