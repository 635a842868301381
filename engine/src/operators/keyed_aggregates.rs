//! Aggregates per key: a key table and a set of accumulators that share their slots.

use arrow::array::{RecordBatch, RecordBatchOptions};

use super::key_table::{BatchKeys, KeyTable};
use crate::Result;
use crate::aggregate::{AggregateCall, AggregateSet};

/// Aggregate calls over only those input columns that they read, so that rows can be copied without the others.
#[derive(Clone)]
pub struct NarrowCalls {
    columns: Vec<usize>,
    calls: Vec<AggregateCall>,
}

impl NarrowCalls {
    pub fn new(calls: &[AggregateCall]) -> Self {
        let mut columns: Vec<usize> =
            calls.iter().flat_map(|call| call.args.iter().copied().chain(call.filter)).collect();
        columns.sort_unstable();
        columns.dedup();
        let narrow = |column: &usize| columns.binary_search(column).expect("all columns were collected");
        let narrowed = |call: &AggregateCall| AggregateCall {
            args: call.args.iter().map(narrow).collect(),
            filter: call.filter.as_ref().map(narrow),
            ..call.clone()
        };
        Self { calls: calls.iter().map(narrowed).collect(), columns }
    }

    /// The columns that the calls read, all rows, without a copy.
    pub fn project(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        if self.columns.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let schema = arrow::datatypes::Schema::empty().into();
            return Ok(RecordBatch::try_new_with_options(schema, Vec::new(), &options)?);
        }
        Ok(rows.project(&self.columns)?)
    }

    pub fn accumulators(&self) -> Result<AggregateSet> {
        AggregateSet::new(&self.calls)
    }

    pub fn keyed(&self) -> Result<KeyedAggregates> {
        Ok(KeyedAggregates { keys: KeyTable::default(), values: self.accumulators()? })
    }
}

/// One slot per key in both members.
pub struct KeyedAggregates {
    pub keys: KeyTable,
    pub values: AggregateSet,
}

impl KeyedAggregates {
    /// The slots of the keys of some rows; new keys get empty aggregates.
    pub fn slots_of(&mut self, keys: &BatchKeys, rows: impl Iterator<Item = usize>) -> Vec<u32> {
        let slots = rows.map(|row| self.keys.intern(keys.hash(row), keys.key(row))).collect();
        self.values.resize(self.keys.len());
        slots
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn all_slots(&self) -> Vec<u32> {
        (0..self.keys.len() as u32).collect()
    }

    /// Adds the aggregates of some slots of `other` to those of the same keys here.
    pub fn merge(&mut self, other: &KeyedAggregates, other_slots: &[u32]) -> Result<()> {
        let own = other_slots.iter().map(|slot| self.keys.intern(other.keys.hash(*slot), other.keys.key(*slot)));
        let own: Vec<u32> = own.collect();
        self.values.resize(self.keys.len());
        self.values.merge_from(&own, &other.values, other_slots)
    }

    /// Keeps only some slots, which are `0..` from then on in this order. What differs from state must have been written.
    pub fn retain(&mut self, slots: &[u32]) -> Result<()> {
        self.keys = self.keys.of_kept(slots);
        self.values.retain(slots)
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes() + self.values.size_bytes()
    }
}
