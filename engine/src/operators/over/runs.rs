//! Rows sorted by partition, and within it by their order.

use std::ops::Range;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;

use super::memory::PartitionMemory;
use crate::Result;
use crate::operator::OperatorContext;
use crate::operators::key_table::KeyColumns;
use crate::operators::ordering::{SortColumn, SortEncoder};
use crate::operators::row_codec::RowCodec;
use crate::operators::row_times::row_times;

pub struct Sorter {
    keys: KeyColumns,
    /// `None` in processing time.
    time: Option<usize>,
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
    /// In milliseconds; the wall time in processing time.
    pub times: Vec<i64>,
    is_event_time: bool,
}

impl Sorter {
    pub fn new(keys: &[usize], time: Option<usize>, order: &[SortColumn], schema: &SchemaRef) -> Result<Self> {
        Ok(Self {
            keys: KeyColumns::new(keys, schema)?,
            time,
            order: SortEncoder::new(order, schema)?,
            codec: RowCodec::new(schema)?,
        })
    }

    /// Sorts rows, whose partitions get slots in memory.
    pub fn sort(&self, rows: &RecordBatch, memory: &mut PartitionMemory, ctx: &mut OperatorContext) -> Result<Runs> {
        let keys = self.keys.encode(rows)?;
        let slots = memory.slots_of(&keys, rows.num_rows(), ctx)?;
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        let mut peer_ends = vec![0; order.len()];
        let times = match self.time {
            None => {
                order.sort_by_key(|row| slots[*row as usize]);
                peer_ends.iter_mut().zip(1..).for_each(|(end, next)| *end = next);
                vec![ctx.now.0; order.len()]
            }
            Some(time) => {
                self.sort_by_order(rows, &slots, &mut order, &mut peer_ends)?;
                let times = row_times("OverAggregate", rows, time)?;
                order.iter().map(|row| times[*row as usize]).collect()
            }
        };
        let mut runs: Vec<Run> = Vec::new();
        for (position, row) in order.iter().enumerate() {
            let slot = slots[*row as usize];
            match runs.last_mut().filter(|run| run.slot == slot) {
                Some(run) => run.rows.end = position + 1,
                None => runs.push(Run { slot, rows: position..position + 1 }),
            }
        }
        Ok(Runs { order: order.into(), runs, peer_ends, times, is_event_time: self.time.is_some() })
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
        if self.is_event_time {
            positions.sort_by_key(|position| self.times[*position as usize]);
        } else {
            positions.sort_unstable_by_key(|position| self.order.value(*position as usize));
        }
        positions.into()
    }
}
