//! From a connector's rows to the source node's output: computed columns, event time, and for each row the
//! watermark that stood before it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::compute;
use arrow::datatypes::{
    DataType, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion_physical_expr::PhysicalExpr;

use crate::graph::ChangelogMode;
use crate::metrics::NodeMetrics;
use crate::operators::projection::{Projection, with_schema};
use crate::operators::row_error::{RowErrorPolicy, per_row, show_row};
use crate::source::{Rejected, SourceSpec, rejected_schema};
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, EngineError, Result};

/// Makes output rows. One per source task.
pub struct RowMaker {
    name: String,
    projection: Projection,
    time: Option<TimeColumns>,
    /// Of a deleted row perhaps only the key is known, so that it may lack its time.
    partial_deletes: bool,
    metrics: Arc<NodeMetrics>,
}

struct TimeColumns {
    expression: Arc<dyn PhysicalExpr>,
    time_column: usize,
}

/// Output rows before their split's progress is known.
pub struct TimedRows {
    rows: Batch,
    /// Per row, the expression in epoch milliseconds; `None` where the source has no watermark.
    times: Option<Int64Array>,
    /// Per row, its event time in epoch milliseconds; empty where the source has no watermark.
    event_times: Int64Array,
}

impl RowMaker {
    /// `name` of the node, for errors; `schema` of its output.
    pub fn new(name: &str, spec: &SourceSpec, schema: &SchemaRef, metrics: Arc<NodeMetrics>) -> Result<Self> {
        let projection = Projection::new(spec.columns.clone(), schema.clone())?;
        let time = spec.watermark.as_ref().map(|watermark| TimeColumns {
            expression: Arc::clone(&watermark.expression),
            time_column: watermark.time_column,
        });
        let partial_deletes = spec.source.changelog() == ChangelogMode::Upsert;
        Ok(Self { name: name.to_string(), projection, time, partial_deletes, metrics })
    }

    /// Errors: [`EngineError::BadRow`] where a computed column fails, or the event time is NULL.
    pub fn make(&self, raw: Batch) -> Result<TimedRows> {
        let mut work = |part: &Batch| self.projection.evaluate(part.rows());
        let pieces = per_row(RowErrorPolicy::Fail, &self.name, &raw, &self.metrics, &mut work)?;
        let rows = match <[RecordBatch; 1]>::try_from(pieces) {
            Ok([rows]) => rows,
            Err(pieces) => compute::concat_batches(self.projection.schema(), &pieces)?,
        };
        let rows = raw.replace_rows(rows);
        let Some(time) = &self.time else {
            return Ok(TimedRows { rows, times: None, event_times: Int64Array::from(Vec::<i64>::new()) });
        };
        let event_times = timestamp_ms(rows.column(time.time_column))?;
        if let Some(row) = self.without_time(&rows, &event_times) {
            return Err(self.null_time(&rows, row));
        }
        if let Some(largest) = compute::max(&event_times) {
            self.metrics.event_time_max_ms.raise_to(largest);
        }
        let times = timestamp_ms(&time.expression.evaluate(rows.rows())?.into_array(rows.num_rows())?)?;
        Ok(TimedRows { rows, times: Some(times), event_times })
    }

    /// The first row that must have a time and has none.
    fn without_time(&self, rows: &Batch, event_times: &Int64Array) -> Option<usize> {
        if event_times.null_count() == 0 {
            return None;
        }
        let may_lack = |row: usize| self.partial_deletes && rows.kind(row).is_retraction();
        (0..rows.num_rows()).find(|row| event_times.is_null(*row) && !may_lack(*row))
    }

    fn null_time(&self, rows: &Batch, row: usize) -> EngineError {
        EngineError::BadRow {
            operator: self.name.clone(),
            reason: "RowTime field should not be null: the event time of a row decides its windows".into(),
            row: show_row(rows.rows(), row),
            hint: "declare the WATERMARK on a column that always has a value, such as AS COALESCE(ts, ...)".into(),
        }
    }
}

impl TimedRows {
    /// The rows stamped each with what its split had reached before it (at least `floor`, what the subtask has
    /// said already), and what the split has reached after the last.
    pub fn stamp(self, before: EventTime, floor: EventTime) -> (Batch, EventTime) {
        let batch = self.rows;
        let Some(times) = self.times else { return (batch, before) };
        let mut reached = before.0;
        let mut advance = |time: Option<i64>| {
            let stamp = reached.max(floor.0);
            if let Some(time) = time {
                reached = reached.max(time);
            }
            stamp
        };
        let stamps: Vec<i64> = match times.null_count() {
            0 => times.values().iter().map(|time| advance(Some(*time))).collect(),
            _ => times.iter().map(advance).collect(),
        };
        (batch.with_watermarks(Int64Array::from(stamps)), EventTime(reached))
    }

    /// How far time may go while these rows, the first of their split, are still to come: to just before the first one and
    /// what it says of time, so that it is late for no window.
    pub fn hold(&self) -> EventTime {
        let said = self.times.as_ref().and_then(|times| times.iter().next().flatten());
        let own = self.event_times.iter().next().flatten();
        let (Some(said), Some(own)) = (said, own) else { return EventTime::MIN };
        EventTime(said.min(own).saturating_sub(1))
    }
}

/// A timestamp column of any unit as epoch milliseconds, rounded down.
pub fn timestamp_ms(column: &ArrayRef) -> Result<Int64Array> {
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            column.as_primitive::<TimestampSecondType>().unary(|s| s.saturating_mul(1000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().reinterpret_cast::<Int64Type>()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().unary(|us| us.div_euclid(1000))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            column.as_primitive::<TimestampNanosecondType>().unary(|ns| ns.div_euclid(1_000_000))
        }
        DataType::Int64 => column.as_primitive::<Int64Type>().clone(),
        DataType::Null => Int64Array::new_null(column.len()),
        other => return Err(EngineError::Unsupported(format!("event time must be a TIMESTAMP, not {other}"))),
    })
}

/// Rows of `<table>$errors` for records of one split.
pub fn rejected_rows(split: &str, rejected: &[Rejected], now: ProcessingTime) -> Result<Batch> {
    let offsets: Int64Array = rejected.iter().map(|one| one.offset as i64).collect();
    let reasons = StringArray::from_iter_values(rejected.iter().map(|one| one.reason.as_str()));
    let records = StringArray::from_iter_values(rejected.iter().map(|one| String::from_utf8_lossy(&one.record)));
    let splits = StringArray::from_iter_values(rejected.iter().map(|_| split));
    let seen_at = TimestampMillisecondArray::from_value(now.0, rejected.len()).with_timezone("UTC");
    let columns: Vec<ArrayRef> =
        vec![Arc::new(splits), Arc::new(offsets), Arc::new(reasons), Arc::new(records), Arc::new(seen_at)];
    Ok(Batch::new(with_schema(&rejected_schema(), columns, rejected.len())?))
}
