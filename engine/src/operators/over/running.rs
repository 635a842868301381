//! Aggregates over all rows so far: the first rows of all partitions are added and evaluated together, then the second
//! ones, and so on.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};

use super::runs::Runs;
use crate::Result;
use crate::aggregate::AggregateSet;
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
