//! Keyed state in a sorted map: for operator tests, and for instances that never survive a restart.

use std::collections::BTreeMap;

use super::{KeyedState, Visit};
use crate::Result;
use crate::keys::KeyGroup;

#[derive(Debug, Default, Clone)]
pub struct MemoryState {
    entries: BTreeMap<(KeyGroup, Vec<u8>), Vec<u8>>,
    note: Option<Vec<u8>>,
    restored: Vec<Vec<u8>>,
}

impl MemoryState {
    /// What a restart of this instance would find.
    pub fn restarted(&self) -> Self {
        let restored = self.note.clone().map_or_else(|| self.restored.clone(), |note| vec![note]);
        Self { entries: self.entries.clone(), note: None, restored }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.values().map(Vec::as_slice)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// From a key on, which does not lie before the prefix.
    fn keys_with_prefix(
        &self,
        group: KeyGroup,
        prefix: &[u8],
        from: &[u8],
    ) -> impl Iterator<Item = (&(KeyGroup, Vec<u8>), &Vec<u8>)> {
        let prefix = prefix.to_vec();
        let from = (group, from.to_vec());
        self.entries.range(from..).take_while(move |((g, key), _)| *g == group && key.starts_with(&prefix))
    }
}

impl KeyedState for MemoryState {
    fn get(&self, group: KeyGroup, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.entries.get(&(group, key.to_vec())).cloned())
    }

    fn put(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<()> {
        self.entries.insert((group, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, group: KeyGroup, key: &[u8]) -> Result<()> {
        self.entries.remove(&(group, key.to_vec()));
        Ok(())
    }

    fn delete_prefix(&mut self, group: KeyGroup, prefix: &[u8]) -> Result<()> {
        let doomed: Vec<_> = self.keys_with_prefix(group, prefix, prefix).map(|(key, _)| key.clone()).collect();
        for key in doomed {
            self.entries.remove(&key);
        }
        Ok(())
    }

    fn scan_from(&self, group: KeyGroup, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        for ((_, key), value) in self.keys_with_prefix(group, prefix, from) {
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn set_note(&mut self, note: Vec<u8>) {
        self.note = Some(note);
    }

    fn restored_notes(&self) -> &[Vec<u8>] {
        &self.restored
    }
}
