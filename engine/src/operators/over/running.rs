//! Aggregates over all rows so far: the first rows of all partitions are added and evaluated together, then the second
//! ones, and so on.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StructArray, UInt32Array};
use arrow::compute::{concat, is_null, nullif, take};
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
    let mut next: Vec<usize> = runs.runs.iter().map(|run| run.rows.start).collect();
    let mut live: Vec<usize> = (0..runs.runs.len()).collect();
    let mut results: Vec<Vec<ArrayRef>> = vec![Vec::new(); values.len()];
    // For each sorted row, where its result stands among those of all rounds.
    let mut places = vec![0u32; runs.times.len()];
    let mut evaluated = 0;
    while !live.is_empty() {
        let (mut slots_of_rows, mut rows, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        for index in &live {
            let (slot, start) = (runs.runs[*index].slot, next[*index]);
            let end = if peers { runs.peer_ends[start] as usize } else { start + 1 };
            next[*index] = end;
            places[start..end].fill(evaluated);
            slots_of_rows.resize(slots_of_rows.len() + end - start, slot);
            rows.extend(start as u32..end as u32);
            slots.push(slot);
            evaluated += 1;
        }
        values.update(&slots_of_rows, &rows_of(&columns, rows)?)?;
        for (column, result) in results.iter_mut().zip(values.evaluate(&slots)?) {
            column.push(result);
        }
        live.retain(|index| next[*index] < runs.runs[*index].rows.end);
    }
    let places = UInt32Array::from(places);
    let gather = |rounds: &Vec<ArrayRef>| {
        let rounds: Vec<&dyn arrow::array::Array> = rounds.iter().map(AsRef::as_ref).collect();
        Ok(take(&concat(&rounds)?, &places, None)?)
    };
    results.iter().map(gather).collect()
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
