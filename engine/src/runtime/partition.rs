//! Cuts a batch by the hash of its keys, so that equal keys meet in one instance: the one that owns their key group.

use arrow::array::{Array, UInt32Array};

use crate::keys::{KeyEncoder, KeyGroup, hash_key};
use crate::{Batch, Result};

pub struct HashPartitioner {
    columns: Vec<usize>,
    /// Made with the first batch, which tells the types.
    encoder: Option<KeyEncoder>,
    max_parallelism: u16,
    /// Rows per receiver of the batch at hand; kept for their memory.
    rows: Vec<Vec<u32>>,
}

impl HashPartitioner {
    /// Keyed by these columns; `receivers` instances share the key groups.
    pub fn new(columns: &[usize], max_parallelism: u16, receivers: usize) -> Self {
        Self { columns: columns.to_vec(), encoder: None, max_parallelism, rows: vec![Vec::new(); receivers] }
    }

    /// The non-empty parts of a batch with their receivers. Rows keep their order within a part.
    pub fn split(&mut self, batch: &Batch) -> Result<Vec<(usize, Batch)>> {
        let receivers = self.rows.len();
        if receivers == 1 {
            return Ok(vec![(0, batch.clone())]);
        }
        self.rows.iter_mut().for_each(Vec::clear);
        let columns: Vec<_> = self.columns.iter().map(|column| batch.column(*column).clone()).collect();
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => KeyEncoder::new(&columns.iter().map(|column| column.data_type().clone()).collect::<Vec<_>>())?,
        };
        let keys = self.encoder.insert(encoder).encode(&columns)?;
        for (row, key) in keys.iter().enumerate() {
            let group = KeyGroup::of(hash_key(key.data()), self.max_parallelism);
            self.rows[group.owner(self.max_parallelism, receivers)].push(row as u32);
        }
        let parts = self.rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty());
        let parts = parts.map(|(receiver, rows)| match rows.len() == batch.num_rows() {
            true => Ok((receiver, batch.clone())),
            false => Ok((receiver, batch.take(&UInt32Array::from(rows.clone()))?)),
        });
        parts.collect()
    }
}
