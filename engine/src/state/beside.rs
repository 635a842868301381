//! What was written and RocksDB does not have yet: lists that wait, and single writes behind them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLockReadGuard;
use rocksdb::WriteBatch;

use super::writes::{SortedWrites, Write, Writes};

/// What an entry needs beside its bytes, about.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// What was written behind lists that wait, or a barrier whose files are not frozen yet: values and deletions by stored key.
#[derive(Default)]
pub struct Newer {
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Memory in use, about: too much, where keys were written again.
    size_bytes: usize,
}

/// What a scan has to add to RocksDB's entries, or to put in place of them.
pub struct Beside<'a> {
    pub newer: RwLockReadGuard<'a, Newer>,
    /// Newest first.
    pub lists: Vec<Arc<SortedWrites>>,
}

impl Newer {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory in use, about.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The value of a stored key or, as `Some(None)`, that it was deleted.
    pub fn get(&self, stored: &[u8]) -> Option<Option<Vec<u8>>> {
        self.entries.get(stored).cloned()
    }

    /// `None` deletes.
    pub fn set(&mut self, stored: &[u8], value: Option<&[u8]>) {
        self.size_bytes += stored.len() + value.map_or(0, <[u8]>::len) + ENTRY_OVERHEAD_BYTES;
        self.entries.insert(stored.to_vec(), value.map(<[u8]>::to_vec));
    }

    /// What is below a stored prefix, from a stored key on, which must not lie before it.
    pub fn range<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let entries = self.entries.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        entries
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Takes all of it, as a list.
    pub fn take(&mut self) -> Option<Arc<SortedWrites>> {
        if self.is_empty() {
            return None;
        }
        let mut writes = Writes::default();
        for (key, value) in std::mem::take(self).entries {
            writes.set_stored(Write { key: &key, value: value.as_deref() });
        }
        Some(Arc::new(writes.to_sorted()))
    }

    /// Moves the first so many bytes of it.
    pub fn drain_into(&mut self, batch: &mut WriteBatch, bytes_max: usize) {
        while batch.size_in_bytes() < bytes_max
            && let Some((key, value)) = self.entries.pop_first()
        {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        if self.entries.is_empty() {
            self.size_bytes = 0;
        }
    }
}

impl Beside<'_> {
    pub fn is_empty(&self) -> bool {
        self.newer.is_empty() && self.lists.is_empty()
    }

    /// What is below a stored prefix, from a stored key on, which must not lie before it: the newest of each key, by key. `frame_hash` tells which
    /// lists need not be asked, where the prefix is a frame.
    pub fn range<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &[u8],
        frame_hash: Option<u64>,
    ) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
        let mut found: Vec<(&[u8], Option<&[u8]>)> = self.newer.range(prefix, from).collect();
        let mut is_sorted = true;
        for list in self.lists.iter().filter(|list| frame_hash.is_none_or(|hash| list.may_have(hash))) {
            let known = found.len();
            found.extend(list.range(prefix, from).map(|Write { key, value }| (key, value)));
            is_sorted &= known == 0 || known == found.len();
        }
        if !is_sorted {
            // Stable: the newest of each key stays the first of it.
            found.sort_by_key(|(key, _)| *key);
            found.dedup_by_key(|(key, _)| *key);
        }
        found
    }
}
