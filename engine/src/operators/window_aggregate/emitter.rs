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
use crate::time::zone::to_local;

/// Knows the output's columns: keys, aggregates, window properties.
pub struct Emitter {
    properties: Vec<WindowProperty>,
    schema: SchemaRef,
    zone: Option<Tz>,
    /// Windows are given in instants, as sessions are, and not in local times.
    over_instants: bool,
}

impl Emitter {
    pub fn new(properties: &[WindowProperty], schema: &SchemaRef, zone: Option<Tz>) -> Self {
        Self { properties: properties.to_vec(), schema: schema.clone(), zone, over_instants: false }
    }

    /// For windows whose bounds are instants: they are shown on the local clock.
    pub fn over_instants(self) -> Self {
        Self { over_instants: true, ..self }
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
        let rows = self.rows(keys, key_bytes, values, &vec![window; rows])?;
        out.emit(MAIN_PORT, Batch::new(rows))
    }

    /// One row per key, each with its own window.
    pub fn rows<'a>(
        &self,
        keys: &KeyColumns,
        key_bytes: impl IntoIterator<Item = &'a [u8]>,
        values: Vec<ArrayRef>,
        windows: &[Window],
    ) -> Result<RecordBatch> {
        let mut columns = keys.decode(key_bytes)?;
        columns.extend(values);
        let first = self.schema.fields().len() - self.properties.len();
        for (index, property) in self.properties.iter().enumerate() {
            let kind = self.schema.field(first + index).data_type();
            columns.push(match self.over_instants {
                true => instant_property_column(*property, kind, self.zone, windows),
                false => property_column(*property, kind, self.zone, windows),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(windows.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

/// The column of a window property; a zoned type asks for the instant, any other for the local time.
pub fn property_column(property: WindowProperty, kind: &DataType, zone: Option<Tz>, windows: &[Window]) -> ArrayRef {
    timestamps(kind, windows, |window, zoned| match property {
        WindowProperty::Start => window.start,
        WindowProperty::End => window.end,
        WindowProperty::Time if zoned => closing_watermark(zone, window.end).0,
        WindowProperty::Time => window.end - 1,
    })
}

/// Like [`property_column`] for windows whose bounds are instants.
pub fn instant_property_column(
    property: WindowProperty,
    kind: &DataType,
    zone: Option<Tz>,
    windows: &[Window],
) -> ArrayRef {
    timestamps(kind, windows, |window, zoned| match property {
        WindowProperty::Start => to_local(zone, window.start),
        WindowProperty::End => to_local(zone, window.end),
        WindowProperty::Time if zoned => window.end - 1,
        WindowProperty::Time => to_local(zone, window.end - 1),
    })
}

fn timestamps(kind: &DataType, windows: &[Window], value: impl Fn(&Window, bool) -> i64) -> ArrayRef {
    let name = match kind {
        DataType::Timestamp(_, name) => name.clone(),
        _ => None,
    };
    let values = windows.iter().map(|window| value(window, name.is_some()));
    let values: TimestampMillisecondArray = values.collect::<Vec<i64>>().into();
    Arc::new(values.with_timezone_opt(name))
}
