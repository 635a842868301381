//! Aggregates over all rows so far.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StructArray, UInt32Array};
use arrow::compute::{is_null, nullif, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};

use super::runs::Runs;
use crate::Result;
use crate::aggregate::{self, AggregateCall, AggregateSet};
use crate::operators::keyed_aggregates::NarrowCalls;

/// The results for each sorted row, one column per call. With `peers`, rows that the order leaves equal are added
/// together.
pub fn run(
    runs: &Runs,
    sorted: &RecordBatch,
    calls: &NarrowCalls,
    values: &mut AggregateSet,
    peers: bool,
) -> Result<Vec<ArrayRef>> {
    let columns = calls.project(sorted)?;
    let mut slots = Vec::with_capacity(sorted.num_rows());
    runs.runs.iter().for_each(|run| slots.resize(run.rows.end, run.slot));
    if !peers {
        let ends: Vec<u32> = (1..=slots.len() as u32).collect();
        return values.update_running(&slots, &ends, &columns);
    }
    let mut ends = runs.peer_ends.clone();
    ends.dedup();
    let results = values.update_running(&slots, &ends, &columns)?;
    let mut groups = Vec::with_capacity(slots.len());
    (0u32..).zip(&ends).for_each(|(group, end)| groups.resize(*end as usize, group));
    let groups = UInt32Array::from(groups);
    results.iter().map(|result| Ok(take(result, &groups, None)?)).collect()
}

/// Columns behind those of the rows, over which FIRST_VALUE gives the value in a partition's n-th row.
///
/// The value is wrapped, so that NULL is a value too, and the condition is that the row is the n-th.
pub struct NthColumns {
    /// Column and number of each call.
    wanted: Vec<(usize, i64)>,
    width: usize,
}

impl NthColumns {
    /// Of rows with so many columns.
    pub fn new(width: usize) -> Self {
        Self { wanted: Vec::new(), width }
    }

    /// A call for the value of a column in a partition's n-th row.
    pub fn add(&mut self, column: usize, number: i64, schema: &Schema) -> Result<AggregateCall> {
        let wrapped = DataType::Struct(wrapper(schema.field(column).data_type()));
        let factory = aggregate::resolve("first_value", &[wrapped], &[], false)?;
        let output = Field::new("nth_value", factory.output_type(), true);
        let place = self.width + 2 * self.wanted.len();
        self.wanted.push((column, number));
        Ok(AggregateCall { display: "NTH_VALUE".into(), output, factory, args: vec![place], filter: Some(place + 1) })
    }

    /// The rows with the further columns; `numbers` gives theirs within their partitions.
    pub fn extend(&self, rows: &RecordBatch, numbers: impl FnOnce() -> Int64Array) -> Result<RecordBatch> {
        if self.wanted.is_empty() {
            return Ok(rows.clone());
        }
        let numbers = numbers();
        let mut columns = rows.columns().to_vec();
        let mut fields: Vec<FieldRef> = rows.schema_ref().fields().iter().cloned().collect();
        for (column, number) in &self.wanted {
            let value = rows.column(*column);
            let wrapped = StructArray::try_new(wrapper(value.data_type()), vec![value.clone()], None)?;
            let is_nth = numbers.values().iter().map(|own| Some(own == number)).collect::<BooleanArray>();
            for column in [Arc::new(wrapped) as ArrayRef, Arc::new(is_nth)] {
                fields.push(Arc::new(Field::new(format!("nth {}", fields.len()), column.data_type().clone(), true)));
                columns.push(column);
            }
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

fn wrapper(data_type: &DataType) -> Fields {
    vec![Field::new("value", data_type.clone(), true)].into()
}

/// The values in a column that a call of [`NthColumns::add`] gave.
pub fn unwrapped(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(nullif(column.as_struct().column(0), &is_null(column)?)?)
}

/// Some rows; also right where there are no columns.
pub fn rows_of(columns: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch> {
    let contiguous = rows.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    match rows.first() {
        Some(first) if contiguous => Ok(columns.slice(*first as usize, rows.len())),
        None => Ok(columns.slice(0, 0)),
        _ if columns.num_columns() == 0 => {
            crate::operators::projection::with_schema(&columns.schema(), Vec::new(), rows.len())
        }
        _ => Ok(arrow::compute::take_record_batch(columns, &UInt32Array::from(rows))?),
    }
}
