//! Idempotency keys of requests that were stored, for a bounded time and number: who asks again with the same key is told
//! what became of the first request, and nothing is stored twice.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidemill_engine::{EngineError, Result};

use super::entry::{Entry, Mark};
use crate::filesystem::durable::replace_file;

/// Keys that are remembered of one table: about 20 MB of memory at their longest common form, a UUID.
pub const KEYS_MAX: usize = 100_000;
pub const KEY_BYTES_MAX: usize = 255;
/// Beside the segments: the keys of entries up to a mark.
const FILE_NAME: &str = "keys.json";

/// What was stored under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Number of its first row.
    pub first: u64,
    pub rows: u32,
    pub body_hash: u64,
    pub received_ms: i64,
}

#[derive(Debug, Default)]
pub struct Keys {
    known: HashMap<String, Known>,
    /// By age, since rows are numbered as they come.
    by_age: BTreeMap<u64, String>,
}

/// Keys of all entries in front of a mark.
#[derive(Serialize, Deserialize)]
pub struct StoredKeys {
    row: u64,
    byte: u64,
    keys: Vec<(String, Known)>,
}

impl StoredKeys {
    /// They are durable when this returns.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE_NAME);
        let text = serde_json::to_vec(self);
        let text = text.map_err(|error| EngineError::io("write", &path, std::io::Error::other(error)))?;
        replace_file(&path, &text)
    }
}

impl Keys {
    pub fn get(&self, key: &str) -> Option<Known> {
        self.known.get(key).copied()
    }

    pub fn remember(&mut self, entry: &Entry) {
        let Some(key) = &entry.key else { return };
        let Entry { first, rows, body_hash, received_ms, .. } = *entry;
        self.insert(key.clone(), Known { first: first.row, rows, body_hash, received_ms });
    }

    fn insert(&mut self, key: String, known: Known) {
        if let Some(former) = self.known.insert(key.clone(), known) {
            self.by_age.remove(&former.first);
        }
        self.by_age.insert(known.first, key);
        if self.known.len() > KEYS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets those that are older.
    pub fn forget_before(&mut self, received_ms: i64) {
        while let Some((_, key)) = self.by_age.first_key_value()
            && self.known.get(key).is_none_or(|known| known.received_ms < received_ms)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.by_age.pop_first() {
            self.known.remove(&key);
        }
    }

    /// Forgets those of rows from this one on: they could not be stored.
    pub fn forget_from(&mut self, row: u64) {
        for key in self.by_age.split_off(&row).into_values() {
            self.known.remove(&key);
        }
    }

    /// Those of the entries in front of `mark`, as they go to disk.
    pub fn stored(&self, mark: Mark) -> StoredKeys {
        let of_entries = self.by_age.range(..mark.row);
        let keys = of_entries.filter_map(|(_, key)| Some((key.clone(), self.get(key)?))).collect();
        StoredKeys { row: mark.row, byte: mark.byte, keys }
    }

    /// The stored ones, and the mark up to which they are those of all entries.
    pub fn load(folder: &Path) -> Result<(Self, Mark)> {
        let path = folder.join(FILE_NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
            Err(error) => return Err(EngineError::io("read", path, error)),
        };
        let stored: StoredKeys = serde_json::from_slice(&text)
            .map_err(|error| EngineError::io("read", path, std::io::Error::other(error)))?;
        let mut keys = Self::default();
        stored.keys.into_iter().for_each(|(key, known)| keys.insert(key, known));
        Ok((keys, Mark { row: stored.row, byte: stored.byte }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(row: u64, key: &str) -> Entry {
        let (key, text) = (Some(key.to_string()), Vec::new());
        Entry { first: Mark { row, byte: 0 }, received_ms: row as i64, rows: 1, key, body_hash: row, text }
    }

    #[test]
    fn keys_are_forgotten_by_age_and_kept_on_disk_up_to_a_mark() {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = Keys::default();
        (0..10).for_each(|row| keys.remember(&entry(row, &format!("k{row}"))));
        keys.forget_before(3);
        keys.forget_from(8);
        let remembered = |keys: &Keys| (0..10).filter(|row| keys.get(&format!("k{row}")).is_some()).collect::<Vec<_>>();
        assert_eq!(remembered(&keys), [3, 4, 5, 6, 7]);
        keys.stored(Mark { row: 6, byte: 60 }).write(folder.path()).unwrap();
        let (loaded, mark) = Keys::load(folder.path()).unwrap();
        assert_eq!((remembered(&loaded), mark), (vec![3, 4, 5], Mark { row: 6, byte: 60 }));
        assert_eq!(loaded.get("k4"), keys.get("k4"));
        (0..KEYS_MAX as u64 + 5).for_each(|row| keys.remember(&entry(100 + row, &format!("n{row}"))));
        assert!(keys.get("k7").is_none() && keys.get("n4").is_none() && keys.get("n5").is_some());
    }
}
