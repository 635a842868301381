//! A state so small that it needs no RocksDB: a sorted map in memory, written whole into each checkpoint.
//!
//! Opening a RocksDB and freezing it costs some twenty syncs of the disk, however little it holds; a resident state
//! costs none of its own, since it travels in the checkpoint's pack. It is bounded by
//! [`RESIDENT_BYTES_MAX`]; what outgrows that moves into a RocksDB and stays there.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::Result;

/// Bound of what each checkpoint writes again although it did not change, per instance.
pub(super) const RESIDENT_BYTES_MAX: usize = 128 << 10;

/// What the map itself needs per entry, about.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Under this name a manifest lists a resident state, where it lists RocksDB's files otherwise.
pub(crate) const RESIDENT_NAME: &str = "entries";

/// Entries by stored key (key group and key).
#[derive(Debug, Default)]
pub(super) struct Resident {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    size_bytes: usize,
}

impl Resident {
    /// Memory in use, about.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    pub fn get(&self, stored: &[u8]) -> Option<&Vec<u8>> {
        self.entries.get(stored)
    }

    pub fn put(&mut self, stored: &[u8], value: &[u8]) {
        self.size_bytes += entry_bytes(stored, value);
        if let Some(old) = self.entries.insert(stored.to_vec(), value.to_vec()) {
            self.size_bytes -= entry_bytes(stored, &old);
        }
    }

    pub fn delete(&mut self, stored: &[u8]) {
        if let Some(old) = self.entries.remove(stored) {
            self.size_bytes -= entry_bytes(stored, &old);
        }
    }

    pub fn delete_prefix(&mut self, prefix: &[u8]) {
        let doomed: Vec<Vec<u8>> = self.with_prefix(prefix).map(|(key, _)| key.clone()).collect();
        doomed.iter().for_each(|key| self.delete(key));
    }

    /// Entries whose stored key starts with `prefix`, in order.
    pub fn with_prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)> {
        self.with_prefix_from(prefix, prefix)
    }

    /// The same from a stored key on, which must not lie before the prefix.
    pub fn with_prefix_from<'a>(
        &'a self,
        prefix: &'a [u8],
        from: &[u8],
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)> {
        let from = (Bound::Included(from), Bound::Unbounded);
        self.entries.range::<[u8], _>(from).take_while(move |(key, _)| key.starts_with(prefix))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.entries.iter()
    }

    /// All entries, each as length and bytes of key and value (lengths are four bytes, little-endian).
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size_bytes);
        for part in self.entries.iter().flat_map(|(key, value)| [key, value]) {
            let length = u32::try_from(part.len()).expect("a resident state is far below 4 GB");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// Calls `visit` for each entry that `encode` wrote. The bytes were checked against their hash: `None`, where
    /// they are something else, is a bug or a forged file.
    pub fn decode(mut bytes: &[u8], mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Option<Result<()>> {
        while !bytes.is_empty() {
            let key = take_part(&mut bytes)?;
            let value = take_part(&mut bytes)?;
            if let Err(error) = visit(key, value) {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }
}

fn take_part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some(part)
}

fn entry_bytes(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_sizes_follow() {
        let mut state = Resident::default();
        state.put(b"\0\x01a", b"1");
        state.put(b"\0\x01a", b"longer");
        state.put(b"\0\x01", b"");
        state.put(b"\0\x02a", b"2");
        state.put(b"\0\x02b", b"3");
        state.delete(b"\0\x02b");
        state.delete(b"absent");
        assert_eq!(state.size_bytes(), 3 + 6 + 2 + 3 + 1 + 3 * ENTRY_OVERHEAD_BYTES);
        let bytes = state.encode();
        let mut copy = Resident::default();
        let put = |copy: &mut Resident, bytes: &[u8]| {
            Resident::decode(bytes, |key, value| {
                copy.put(key, value);
                Ok(())
            })
            .is_some()
        };
        assert!(put(&mut copy, &bytes));
        assert!(copy.iter().eq(state.iter()));
        assert!((1..bytes.len()).filter(|end| put(&mut Resident::default(), &bytes[..*end])).count() <= 2);
        state.delete_prefix(b"\0\x01");
        assert_eq!(state.iter().count(), 1);
        state.delete_prefix(b"");
        assert_eq!((state.iter().count(), state.size_bytes()), (0, 0));
    }
}
