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
        if self.columns.is_empty() {
            // Without a key all rows are one group, whose key is no bytes at all.
            let group = KeyGroup::of(hash_key(&[]), self.max_parallelism);
            return Ok(vec![(group.owner(self.max_parallelism, receivers), batch.clone())]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyGroupRange;
    use crate::runtime::tests::kit::{Row, record_batch};

    const MAX_PARALLELISM: u16 = 32;

    #[test]
    fn every_row_goes_once_to_the_owner_of_its_key_in_order() {
        let rows: Vec<Row> = (0..1000).map(|i| (i * 7919 % 83, i)).collect();
        let batch = Batch::new(record_batch(&rows));
        for receivers in [1, 2, 3, 32] {
            let parts = HashPartitioner::new(&[0], MAX_PARALLELISM, receivers).split(&batch).unwrap();
            let mut seen = 0;
            for (receiver, part) in parts {
                let range = KeyGroupRange::of_subtask(receiver, receivers, MAX_PARALLELISM);
                let encoder = KeyEncoder::new(&[part.column(0).data_type().clone()]).unwrap();
                let keys = encoder.encode(&[part.column(0).clone()]).unwrap();
                let group = |key: arrow::row::Row| KeyGroup::of(hash_key(key.data()), MAX_PARALLELISM);
                assert!(keys.iter().all(|key| range.contains(group(key))));
                let times = crate::runtime::source::rows::timestamp_ms(part.column(1)).unwrap();
                assert!(times.values().is_sorted());
                seen += part.num_rows();
            }
            assert_eq!(seen, rows.len(), "{receivers} receivers");
        }
    }

    #[test]
    fn without_a_key_all_rows_meet() {
        let batch = Batch::new(record_batch(&[(1, 1), (2, 2)]));
        let parts = HashPartitioner::new(&[], MAX_PARALLELISM, 7).split(&batch).unwrap();
        assert_eq!(parts.iter().map(|(_, part)| part.num_rows()).collect::<Vec<_>>(), [2]);
    }
}
