//! Rows sorted by partition, and within it by their order.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit};

use super::spans::Span;
use crate::Result;
use crate::operators::key_table::KeyColumns;
use crate::operators::ordering::{SortColumn, SortEncoder};
use crate::operators::row_codec::RowCodec;
use crate::operators::row_times::row_times;
use crate::time::ProcessingTime;

/// What rows are sorted by within their partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortedBy {
    /// The columns of the order, the first of which is a time that every row has.
    Time(usize),
    /// The columns of the order. RANGE goes by the first one, where it has a time or a whole number.
    Columns(Option<SortColumn>),
    /// They stay as they came.
    Arrival,
}

pub struct Sorter {
    pub keys: KeyColumns,
    by: SortedBy,
    order: SortEncoder,
    codec: RowCodec,
}

/// The rows of one partition: positions among the sorted ones.
#[derive(Debug, Clone)]
pub struct Run {
    pub slot: u32,
    pub rows: Range<usize>,
}

pub struct Runs {
    /// The row at each sorted position.
    pub order: UInt32Array,
    pub runs: Vec<Run>,
    /// Behind the last position whose row the order leaves equal to this one's, for each position.
    pub peer_ends: Vec<u32>,
    /// What RANGE goes by: milliseconds, the wall time where rows are sorted by arrival; increasing within a partition.
    pub times: Vec<i64>,
    by: SortedBy,
}

impl Sorter {
    pub fn new(keys: &[usize], by: SortedBy, order: &[SortColumn], schema: &SchemaRef) -> Result<Self> {
        Ok(Self {
            keys: KeyColumns::new(keys, schema)?,
            by,
            order: SortEncoder::new(order, schema)?,
            codec: RowCodec::new(schema)?,
        })
    }

    /// Sorts rows, whose partitions have these slots.
    pub fn sort(&self, rows: &RecordBatch, slots: &[u32], now: ProcessingTime) -> Result<Runs> {
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        let mut peer_ends = vec![0; order.len()];
        if self.by == SortedBy::Arrival {
            order.sort_by_key(|row| slots[*row as usize]);
            peer_ends.iter_mut().zip(1..).for_each(|(end, next)| *end = next);
        } else {
            self.sort_by_order(rows, slots, &mut order, &mut peer_ends)?;
        }
        let times = match self.by {
            SortedBy::Arrival => Some(vec![now.0; rows.num_rows()]),
            SortedBy::Time(time) => Some(row_times("OverAggregate", rows, time)?),
            SortedBy::Columns(first) => first.map(|first| range_values(rows, first)).transpose()?,
        };
        let times = match times {
            Some(times) => order.iter().map(|row| times[*row as usize]).collect(),
            None => vec![0; order.len()],
        };
        let mut runs: Vec<Run> = Vec::new();
        for (position, row) in order.iter().enumerate() {
            let slot = slots[*row as usize];
            match runs.last_mut().filter(|run| run.slot == slot) {
                Some(run) => run.rows.end = position + 1,
                None => runs.push(Run { slot, rows: position..position + 1 }),
            }
        }
        Ok(Runs { order: order.into(), runs, peer_ends, times, by: self.by })
    }

    fn sort_by_order(&self, rows: &RecordBatch, slots: &[u32], order: &mut [u32], peer_ends: &mut [u32]) -> Result<()> {
        let bytes = self.order.encode(rows)?;
        let key = |row: &u32| (slots[*row as usize], bytes.of(*row as usize));
        order.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
        let mut encoded = None;
        let mut start = 0;
        while start < order.len() {
            let peers = order[start..].partition_point(|row| key(row) == key(&order[start]));
            if peers > 1 {
                let encoded = match &encoded {
                    Some(encoded) => encoded,
                    None => encoded.insert(self.codec.encode(rows)?),
                };
                order[start..start + peers].sort_by_key(|row| encoded.row(*row as usize));
            }
            peer_ends[start..start + peers].fill((start + peers) as u32);
            start += peers;
        }
        Ok(())
    }
}

impl Runs {
    /// Positions in the order in which rows are given: by time, or as they came.
    pub fn by_time(&self) -> UInt32Array {
        let mut positions: Vec<u32> = (0..self.times.len() as u32).collect();
        match self.by {
            SortedBy::Time(_) => positions.sort_by_key(|position| self.times[*position as usize]),
            SortedBy::Arrival => positions.sort_unstable_by_key(|position| self.order.value(*position as usize)),
            SortedBy::Columns(_) => {}
        }
        positions.into()
    }

    /// Of each sorted row those that the order leaves equal to it.
    pub fn peers(&self) -> impl Iterator<Item = Span> {
        let mut start = 0;
        self.peer_ends.iter().enumerate().map(move |(position, end)| {
            if position > 0 && self.peer_ends[position - 1] as usize == position {
                start = position;
            }
            Span { start, end: *end as usize }
        })
    }
}

/// Times in milliseconds or whole numbers, in the direction of the order; what is NULL stands far away from all others.
fn range_values(rows: &RecordBatch, first: SortColumn) -> Result<Vec<i64>> {
    let column = rows.column(first.column);
    let column = match column.data_type() {
        DataType::Timestamp(_, zone) => cast(column, &DataType::Timestamp(TimeUnit::Millisecond, zone.clone()))?,
        _ => Arc::clone(column),
    };
    let values = cast(&column, &DataType::Int64)?;
    let null = if first.nulls_first { i64::MIN } else { i64::MAX };
    let sign = if first.descending { -1 } else { 1 };
    let value = |value: Option<i64>| value.map_or(null, |value| value.saturating_mul(sign));
    Ok(values.as_primitive::<Int64Type>().iter().map(value).collect())
}
