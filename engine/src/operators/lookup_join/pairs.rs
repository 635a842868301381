//! The output of a lookup join: each left row with its reference rows, in the order of the left rows.

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use datafusion_common::JoinType;

use crate::operator::{Collector, MAIN_PORT};
use crate::operators::join_rows::{JoinedRows, LEFT, pick};
use crate::operators::projection::with_schema;
use crate::{Batch, Result};

/// Left rows of one batch, one after the other, with the reference rows that they met.
pub struct Pairs<'a> {
    pub joined: &'a JoinedRows,
    pub batch: &'a Batch,
    /// Left rows, and up to which reference row those of each reach.
    pub left: Vec<u32>,
    pub ends: Vec<usize>,
}

impl<'a> Pairs<'a> {
    pub fn new(joined: &'a JoinedRows, batch: &'a Batch) -> Self {
        Self { joined, batch, left: Vec::new(), ends: Vec::new() }
    }

    /// The next left row, whose reference rows end there.
    pub fn push(&mut self, left: u32, end: usize) {
        self.left.push(left);
        self.ends.push(end);
    }

    pub fn clear(&mut self) {
        self.left.clear();
        self.ends.clear();
    }

    /// Emits what the left rows and `right`, their reference rows in the same order, give.
    pub fn emit(&self, right: &RecordBatch, out: &mut dyn Collector) -> Result<()> {
        assert_eq!(
            self.ends.last().copied().unwrap_or_default(),
            right.num_rows(),
            "every reference row has a left row"
        );
        let (pairs, keep) = self.joined.pair(&pick(self.batch.rows(), &self.left_of_pairs())?, right)?;
        let kept = |pair: usize| keep.as_ref().is_none_or(|keep| keep.value(pair));
        let keeps_unmatched = self.joined.kind() == JoinType::Left;
        let (mut lefts, mut rights) = (Vec::with_capacity(pairs.num_rows()), Vec::with_capacity(pairs.num_rows()));
        let mut start = 0;
        for (left, end) in self.left.iter().zip(&self.ends) {
            let before = lefts.len();
            for pair in (start..*end).filter(|pair| kept(*pair)) {
                lefts.push(*left);
                rights.push(Some(pair as u32));
            }
            if keeps_unmatched && lefts.len() == before {
                lefts.push(*left);
                rights.push(None);
            }
            start = *end;
        }
        let all = lefts.len() == right.num_rows() && rights.iter().all(Option::is_some);
        let rows = if all { self.joined.matched(pairs, None)? } else { self.side_by_side(&lefts, right, rights)? };
        self.emit_rows(rows, &lefts, out)
    }

    /// The left row of each reference row.
    fn left_of_pairs(&self) -> Vec<u32> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let counts = self.ends.iter().zip(starts).map(|(end, start)| end - start);
        self.left.iter().zip(counts).flat_map(|(left, count)| std::iter::repeat_n(*left, count)).collect()
    }

    /// Left rows, and reference rows or NULLs.
    fn side_by_side(&self, lefts: &[u32], right: &RecordBatch, rights: Vec<Option<u32>>) -> Result<RecordBatch> {
        let left = pick(self.batch.rows(), lefts)?;
        if right.num_rows() == 0 {
            return self.joined.alone(LEFT, &left);
        }
        let rights = UInt32Array::from(rights);
        let taken = right.columns().iter().map(|column| take(column, &rights, None));
        let columns = left.columns().iter().cloned().map(Ok).chain(taken).collect::<Result<Vec<_>, _>>()?;
        with_schema(self.joined.schema(), columns, lefts.len())
    }

    /// Each output row is made of the left row with this number, whose watermark goes along.
    fn emit_rows(&self, rows: RecordBatch, lefts: &[u32], out: &mut dyn Collector) -> Result<()> {
        assert_eq!(rows.num_rows(), lefts.len(), "every output row has a left row");
        if lefts.is_empty() {
            return Ok(());
        }
        let batch = Batch::new(rows).with_read_at(self.batch.read_at());
        let batch = match self.batch.watermarks() {
            None => batch,
            Some(marks) => {
                let marks: Int64Array = lefts.iter().map(|row| marks.value(*row as usize)).collect();
                batch.with_watermarks(marks)
            }
        };
        out.emit(MAIN_PORT, batch)
    }
}
