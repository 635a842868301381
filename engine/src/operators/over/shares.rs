//! NTILE, PERCENT_RANK and CUME_DIST: how a row stands among all of its partition.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};

use super::frame::ShareFunction;
use super::spans::Past;

/// Of each row at hand; all rows of its partition are there.
pub fn compute(past: &Past, function: ShareFunction) -> ArrayRef {
    let rows = past.hand_rows().map(|(segment, row, peers)| {
        (segment.end - segment.start, row - segment.start, peers.start - segment.start, peers.end - segment.start)
    });
    match function {
        ShareFunction::Ntile(parts) => Arc::new(Int64Array::from_iter_values(
            rows.map(|(count, row, ..)| part_of(row as u64, count as u64, parts)),
        )),
        ShareFunction::PercentRank => {
            let share = |(count, _, before, _)| if count > 1 { before as f64 / (count - 1) as f64 } else { 0.0 };
            Arc::new(Float64Array::from_iter_values(rows.map(share)))
        }
        ShareFunction::CumeDist => {
            Arc::new(Float64Array::from_iter_values(rows.map(|(count, _, _, up_to)| up_to as f64 / count as f64)))
        }
    }
}

/// The first parts have one row more than the others, where they cannot all have the same number.
fn part_of(row: u64, count: u64, parts: u64) -> i64 {
    let (small, large_parts) = (count / parts, count % parts);
    let in_large = large_parts * (small + 1);
    let part = if row < in_large { row / (small + 1) } else { large_parts + (row - in_large) / small.max(1) };
    part as i64 + 1
}
