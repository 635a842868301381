//! A reference table in memory: its rows by key.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::Result;
use crate::operators::join_rows::Side;
use crate::operators::key_table::{BatchKeys, KeyTable};

/// Reference rows by key, and when they were read.
pub struct WholeTable {
    reload_interval_ms: Option<i64>,
    index: Option<Index>,
    read_at_ms: i64,
    /// The number of the question that is under way.
    pub asked: Option<u64>,
}

pub struct Index {
    pub rows: Arc<RecordBatch>,
    keys: KeyTable,
    /// Rows of each key.
    of_key: Vec<Vec<u32>>,
}

impl WholeTable {
    pub fn new(reload_interval_ms: Option<i64>) -> Self {
        Self { reload_interval_ms, index: None, read_at_ms: 0, asked: None }
    }

    /// True where rows may be joined with what is known now.
    pub fn is_fresh(&self, now_ms: i64) -> bool {
        let young = |interval: i64| now_ms.saturating_sub(self.read_at_ms) < interval;
        self.index.is_some() && self.asked.is_none() && self.reload_interval_ms.is_none_or(young)
    }

    pub fn fill(&mut self, rows: Arc<RecordBatch>, side: &Side, now_ms: i64) -> Result<()> {
        self.asked = None;
        self.read_at_ms = now_ms;
        let is_known = self.index.as_ref().is_some_and(|index| Arc::ptr_eq(&index.rows, &rows));
        if !is_known {
            self.index = Some(Index::new(rows, side)?);
        }
        Ok(())
    }

    pub fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }
}

impl Index {
    fn new(rows: Arc<RecordBatch>, side: &Side) -> Result<Self> {
        let (keys, null_keys) = (side.encode_keys(&rows)?, side.null_keys(&rows));
        let mut index = Self { keys: KeyTable::default(), of_key: Vec::new(), rows: rows.clone() };
        for row in (0..rows.num_rows()).filter(|row| !null_keys[*row]) {
            let slot = index.keys.intern(keys.hash(row), keys.key(row)) as usize;
            index.of_key.resize(index.of_key.len().max(slot + 1), Vec::new());
            index.of_key[slot].push(row as u32);
        }
        Ok(index)
    }

    /// Numbers of the rows that have the key of `row`.
    pub fn find(&self, keys: &BatchKeys, row: usize) -> &[u32] {
        let slot = self.keys.find(keys.hash(row), keys.key(row));
        slot.map_or(&[], |slot| &self.of_key[slot as usize])
    }
}
