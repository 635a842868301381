//! Keyed state as an operator sees it, over memory or RocksDB. A stored key is the key group (two bytes, big-endian) and the
//! operator's key, so that a group, and a prefix within it, is one range.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use rocksdb::{DB, DBRawIterator, ReadOptions, WriteBatch};

use super::instance::Inner;
use super::{FramedReads, KeyShape, KeyedState, Visit, VisitFrame, Writes};
use crate::keys::KeyGroup;
use crate::{EngineError, Result};

const GROUP_BYTES: usize = 2;

/// A prefix with more entries than this is deleted as a range. A range deletion is one write, but every later read
/// in its group looks at it until compaction; single deletions cost their number and are gone sooner.
const SINGLE_DELETES_MAX: usize = 256;

/// Bytes that go to RocksDB at a time: they are copied once more on the way, so that it should not be much.
const WRITE_BATCH_BYTES: usize = 256 << 10;

pub(super) struct StoredState {
    inner: Arc<Inner>,
    /// Reused for the stored form of the key at hand.
    key_buffer: Cell<Vec<u8>>,
}

impl StoredState {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, key_buffer: Cell::default() }
    }

    /// Runs `work` with the stored form of a key.
    fn with_key<T>(&self, group: KeyGroup, key: &[u8], work: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let mut buffer = self.key_buffer.take();
        buffer.clear();
        write_stored_key(&mut buffer, group, key);
        let result = work(&buffer);
        self.key_buffer.set(buffer);
        result
    }

    /// An entry outside of the instance's groups would be lost at the next change of parallelism (I11).
    fn check_owned(&self, group: KeyGroup) -> Result<()> {
        let id = &self.inner.id;
        if id.key_groups.contains(group) {
            return Ok(());
        }
        let groups = id.key_groups.groups();
        let reason = format!("key group {} is not one of {groups:?} of subtask {}", group.0, id.subtask.index);
        Err(EngineError::Internal { place: id.uid.clone(), reason })
    }

    /// Positioned at the first entry from a stored key on, and bounded to a stored prefix.
    fn iterate<'a>(&self, db: &'a DB, prefix: &[u8], from: &[u8]) -> DBRawIterator<'a> {
        debug_assert!(from >= prefix, "a scan begins within its prefix");
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(after_prefix(prefix));
        // A prefix need not be a frame.
        options.set_total_order_seek(true);
        let mut entries = db.raw_iterator_opt(options);
        entries.seek(from);
        entries
    }

    /// One iterator serves all frames, and leaves out the files whose filter has not the frame.
    fn scan_stored_frames(&self, db: &DB, reads: &FramedReads, visit: &mut VisitFrame<'_>) -> Result<()> {
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        let mut entries = db.raw_iterator_opt(options);
        for (number, stored) in reads.stored() {
            entries.seek(stored);
            while let Some((key, value)) = entries.item() {
                debug_assert!(key.starts_with(stored), "a scan stays below its frame");
                if !visit(number, &key[GROUP_BYTES..], value)? {
                    break;
                }
                entries.next();
            }
            entries.status().map_err(|error| self.inner.error(error))?;
        }
        Ok(())
    }

    /// Adds the deletion of a prefix to a batch.
    fn delete_stored_prefix(&self, db: &DB, prefix: &[u8], batch: &mut WriteBatch) -> Result<()> {
        let mut found = Vec::new();
        let mut entries = self.iterate(db, prefix, prefix);
        while let Some(key) = entries.key() {
            if found.len() == SINGLE_DELETES_MAX {
                batch.delete_range(prefix, after_prefix(prefix).as_slice());
                return Ok(());
            }
            found.push(key.to_vec());
            entries.next();
        }
        entries.status().map_err(|error| self.inner.error(error))?;
        found.iter().for_each(|key| batch.delete(key));
        Ok(())
    }

    fn scan_stored(&self, db: &DB, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let mut entries = self.iterate(db, prefix, from);
        while let Some((key, value)) = entries.item() {
            debug_assert_eq!(key[..GROUP_BYTES], prefix[..GROUP_BYTES], "a scan stays in its group");
            if !visit(&key[GROUP_BYTES..], value)? {
                return Ok(());
            }
            entries.next();
        }
        entries.status().map_err(|error| self.inner.error(error))
    }

    /// Sorted, so that each finds its place next to the one before.
    fn write_sorted(&self, db: &DB, writes: &Writes) -> Result<()> {
        let mut batch = WriteBatch::default();
        for write in writes.sorted() {
            self.check_owned(write.split_key().0)?;
            match write.value {
                Some(value) => batch.put(write.key, value),
                None => batch.delete(write.key),
            }
            if batch.size_in_bytes() >= WRITE_BATCH_BYTES {
                self.write_batch(db, std::mem::take(&mut batch))?;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.write_batch(db, batch) }
    }

    fn write_batch(&self, db: &DB, batch: WriteBatch) -> Result<()> {
        db.write_opt(batch, &self.inner.backend.write_options).map_err(|error| self.inner.error(error))
    }
}

impl KeyedState for StoredState {
    fn get(&self, group: KeyGroup, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with_key(group, key, |stored| match self.inner.db() {
            Some(db) => db.get(stored).map_err(|error| self.inner.error(error)),
            None => Ok(self.inner.resident().get(stored).cloned()),
        })
    }

    fn put(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<()> {
        self.check_owned(group)?;
        self.with_key(group, key, |stored| self.inner.put(stored, value))
    }

    fn delete(&mut self, group: KeyGroup, key: &[u8]) -> Result<()> {
        self.check_owned(group)?;
        self.with_key(group, key, |stored| match self.inner.db() {
            Some(db) => {
                let options = &self.inner.backend.write_options;
                db.delete_opt(stored, options).map_err(|error| self.inner.error(error))
            }
            None => {
                self.inner.resident_mut().delete(stored);
                Ok(())
            }
        })
    }

    fn write(&mut self, writes: &Writes) -> Result<()> {
        for write in writes.iter() {
            // A state may outgrow memory at any of the writes. To repeat those before changes nothing.
            if let Some(db) = self.inner.db() {
                return self.write_sorted(db, writes);
            }
            let (group, key) = write.split_key();
            match write.value {
                Some(value) => self.put(group, key, value)?,
                None => self.delete(group, key)?,
            }
        }
        Ok(())
    }

    fn delete_prefix(&mut self, group: KeyGroup, prefix: &[u8]) -> Result<()> {
        self.delete_prefixes(group.0..group.0 + 1, prefix)
    }

    fn delete_prefixes(&mut self, groups: Range<u16>, prefix: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for group in groups.map(KeyGroup) {
            self.check_owned(group)?;
            self.with_key(group, prefix, |stored| match self.inner.db() {
                Some(db) => self.delete_stored_prefix(db, stored, &mut batch),
                None => {
                    self.inner.resident_mut().delete_prefix(stored);
                    Ok(())
                }
            })?;
        }
        match self.inner.db() {
            Some(db) if !batch.is_empty() => self.write_batch(db, batch),
            _ => Ok(()),
        }
    }

    fn scan_from(&self, group: KeyGroup, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.check_owned(group)?;
        let (stored, from) = (stored_key(group, prefix), stored_key(group, from));
        match self.inner.db() {
            Some(db) => self.scan_stored(db, &stored, &from, visit),
            None => {
                let resident = self.inner.resident();
                for (key, value) in resident.with_prefix_from(&stored, &from) {
                    if !visit(&key[GROUP_BYTES..], value)? {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    fn scan_frames(&self, reads: &FramedReads, visit: &mut VisitFrame<'_>) -> Result<()> {
        match (self.inner.db(), self.inner.shape) {
            (Some(db), KeyShape::Framed) => self.scan_stored_frames(db, reads, visit),
            _ => reads.iter().try_for_each(|(number, group, frame)| {
                self.scan(group, frame, &mut |key, value| visit(number, key, value))
            }),
        }
    }

    fn set_note(&mut self, note: Vec<u8>) {
        self.inner.set_note(note);
    }

    fn restored_notes(&self) -> &[Vec<u8>] {
        &self.inner.restored_notes
    }
}

fn stored_key(group: KeyGroup, key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(GROUP_BYTES + key.len());
    write_stored_key(&mut stored, group, key);
    stored
}

fn write_stored_key(buffer: &mut Vec<u8>, group: KeyGroup, key: &[u8]) {
    buffer.extend_from_slice(&group.0.to_be_bytes());
    buffer.extend_from_slice(key);
}

/// The smallest byte string behind all that start with `prefix`.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX).expect("a key group is below 65,535, so not all 0xff");
    let mut after = prefix[..=kept].to_vec();
    after[kept] += 1;
    debug_assert!(after.as_slice() > prefix && !after.starts_with(prefix));
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyGroupRange;
    use crate::operator::Subtask;
    use crate::state::{InstanceId, Restored, StateBackend};

    const GROUPS: u16 = 4;

    /// Entries of two prefixes in each group, more in each than in the one before.
    fn filled(state: &mut dyn KeyedState, of_group: impl Fn(u16) -> u32) {
        for group in 0..GROUPS {
            for (prefix, number) in (0..of_group(group)).flat_map(|number| [(b'a', number), (b'b', number)]) {
                let key = [&[prefix][..], &number.to_be_bytes()].concat();
                state.put(KeyGroup(group), &key, b"value").unwrap();
            }
        }
    }

    fn count(state: &dyn KeyedState, group: u16, prefix: &[u8]) -> u32 {
        let mut count = 0;
        let mut visit = |_: &[u8], _: &[u8]| {
            count += 1;
            Ok(true)
        };
        state.scan(KeyGroup(group), prefix, &mut visit).unwrap();
        count
    }

    #[test]
    fn a_prefix_is_deleted_in_the_groups_that_are_named_whether_it_has_few_entries_or_many() {
        let many = SINGLE_DELETES_MAX as u32;
        for (in_memory, of_group) in [
            (true, Box::new(|group| u32::from(group) + 1) as Box<dyn Fn(u16) -> u32>),
            (false, Box::new(move |group| [7, many - 1, many, many + 1][usize::from(group)])),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let subtask = Subtask { index: 0, parallelism: 1 };
            let id = InstanceId { uid: "tested".into(), subtask, key_groups: KeyGroupRange::all(GROUPS) };
            let backend = StateBackend::new(8 << 20);
            let instance = backend.instance(id, KeyShape::Plain, folder.path(), Restored::default()).unwrap();
            let mut state = instance.view();
            filled(state.as_mut(), &of_group);
            let on_disk = std::fs::read_dir(folder.path()).unwrap().count() > 0;
            assert_eq!(on_disk, !in_memory, "few entries stay in memory");
            state.delete_prefixes(1..GROUPS, b"a").unwrap();
            for group in 0..GROUPS {
                let left = if group == 0 { of_group(group) } else { 0 };
                assert_eq!(
                    (count(state.as_ref(), group, b"a"), count(state.as_ref(), group, b"b")),
                    (left, of_group(group))
                );
            }
            assert!(state.delete_prefixes(GROUPS - 1..GROUPS + 1, b"b").is_err(), "not a group of this instance");
        }
    }
}
