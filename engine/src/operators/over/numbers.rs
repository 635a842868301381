//! ROW_NUMBER, RANK and DENSE_RANK of sorted rows.

use arrow::array::Int64Array;

use super::runs::Runs;
use crate::operators::ordering::RankFunction;

/// What a partition had before: rows, and groups of rows that the order left equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub rows: i64,
    pub groups: i64,
}

/// The numbers of sorted rows; `counts` are those of each run's partition before them.
pub fn number(runs: &Runs, counts: &[Counts], function: RankFunction) -> Int64Array {
    let mut numbers = Vec::with_capacity(runs.times.len());
    for (run, before) in runs.runs.iter().zip(counts) {
        let mut groups = before.groups;
        let mut group_start = run.rows.start;
        let mut group_end = run.rows.start;
        for position in run.rows.clone() {
            if position == group_end {
                groups += 1;
                (group_start, group_end) = (position, runs.peer_ends[position] as usize);
            }
            numbers.push(match function {
                RankFunction::RowNumber => before.rows + (position - run.rows.start) as i64 + 1,
                RankFunction::Rank => before.rows + (group_start - run.rows.start) as i64 + 1,
                RankFunction::DenseRank => groups,
            });
        }
    }
    numbers.into()
}

/// What a partition has with the rows of a run.
pub fn counts_after(runs: &Runs, rows: &std::ops::Range<usize>, before: Counts) -> Counts {
    let ends_group = |position: &usize| runs.peer_ends[*position] as usize == position + 1;
    let groups = rows.clone().filter(ends_group).count() as i64;
    Counts { rows: before.rows + rows.len() as i64, groups: before.groups + groups }
}
