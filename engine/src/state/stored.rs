//! Keyed state as an operator sees it, over memory or RocksDB. A stored key is the key group (two bytes, big-endian) and the
//! operator's key, so that a group, and a prefix within it, is one range.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use rocksdb::{DB, DBRawIterator, ReadOptions, WriteBatch};

use super::behind::Way;
use super::frames::GROUP_BYTES;
use super::instance::Inner;
use super::writes::{Write, frame_hash};
use super::{FramedReads, KeyShape, KeyedState, Visit, VisitFrame, Writes};
use crate::keys::KeyGroup;
use crate::{EngineError, Result};

/// A prefix with more entries than this is deleted as a range. A range deletion is one write, but every later read
/// in its group looks at it until compaction; single deletions cost their number and are gone sooner.
const SINGLE_DELETES_MAX: usize = 256;

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
        let beside = self.inner.behind.beside()?;
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        let mut entries = db.raw_iterator_opt(options);
        let reads: Vec<(u32, &[u8], u64)> = {
            let known_keys = self.inner.known_keys.lock();
            let hashed = reads.stored().map(|(number, stored)| (number, stored, frame_hash(stored)));
            hashed.filter(|(_, _, hash)| known_keys.may_have(*hash)).collect()
        };
        for (number, stored, hash) in reads {
            entries.seek(stored);
            let mut visit = |key: &[u8], value: &[u8]| {
                debug_assert!(key.starts_with(stored), "a scan stays below its frame");
                visit(number, &key[GROUP_BYTES..], value)
            };
            match &beside {
                None => visit_all(&mut entries, &mut visit)?,
                Some(beside) => {
                    visit_both(&mut entries, beside.range(stored, stored, Some(hash)), &mut visit)?;
                }
            }
            entries.status().map_err(|error| self.inner.error(error))?;
        }
        Ok(())
    }

    /// The stored keys that start with a stored prefix; `None` where they are many.
    fn few_keys(&self, db: &DB, prefix: &[u8]) -> Result<Option<Vec<Vec<u8>>>> {
        let mut found = Vec::new();
        let mut visit = |key: &[u8], _: &[u8]| {
            found.push(key.to_vec());
            Ok(found.len() <= SINGLE_DELETES_MAX)
        };
        self.visit_stored(db, prefix, prefix, &mut visit)?;
        Ok(Some(found).filter(|found| found.len() <= SINGLE_DELETES_MAX))
    }

    /// Deletes a stored prefix: in the batch, or beside RocksDB where files are frozen and the keys are few.
    fn delete_stored_prefix(&self, db: &DB, prefix: &[u8], batch: &mut WriteBatch) -> Result<()> {
        let keys = self.few_keys(db, prefix)?;
        match (self.inner.way(db, prefix.len())?, keys) {
            (Way::Through, Some(keys)) => keys.iter().for_each(|key| batch.delete(key)),
            (Way::Beside(mut newer), Some(keys)) => keys.iter().for_each(|key| newer.set(key, None)),
            (way, None) => {
                drop(way);
                self.inner.wait_until_frozen(db)?;
                batch.delete_range(prefix, after_prefix(prefix).as_slice());
            }
        }
        Ok(())
    }

    fn scan_stored(&self, db: &DB, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let mut visit = |key: &[u8], value: &[u8]| {
            debug_assert_eq!(key[..GROUP_BYTES], prefix[..GROUP_BYTES], "a scan stays in its group");
            visit(&key[GROUP_BYTES..], value)
        };
        self.visit_stored(db, prefix, from, &mut visit)
    }

    /// With stored keys.
    fn visit_stored(&self, db: &DB, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let beside = self.inner.behind.beside()?;
        let mut entries = self.iterate(db, prefix, from);
        match &beside {
            None => visit_all(&mut entries, visit)?,
            Some(beside) => visit_both(&mut entries, beside.range(prefix, from, None), visit)?,
        }
        entries.status().map_err(|error| self.inner.error(error))
    }

    fn write_on_disk(&self, db: &DB, writes: &mut Writes) -> Result<()> {
        writes.iter().try_for_each(|write| self.check_owned(write.split_key().0))?;
        let put = writes.iter().filter(|write| write.value.is_some());
        self.inner.known_keys.lock().extend(put.map(|write| write.key));
        if self.inner.behind.wants(writes, self.inner.backend.behind_bytes_max) {
            self.inner.hand_over(writes)?;
        } else {
            match self.inner.way(db, writes.bytes())? {
                Way::Through => self.inner.write_sorted(db, writes.sorted())?,
                Way::Beside(mut newer) => writes.iter().for_each(|write| newer.set(write.key, write.value)),
            }
        }
        // With their memory they are filled again.
        writes.clear();
        Ok(())
    }
}

/// Entries from where the iterator stands to its end, until `visit` returns false.
fn visit_all(entries: &mut DBRawIterator<'_>, visit: &mut Visit<'_>) -> Result<()> {
    while let Some((key, value)) = entries.item() {
        if !visit(key, value)? {
            break;
        }
        entries.next();
    }
    Ok(())
}

/// The same with what was written since: of entries with the same key those count, and one without a value is none.
fn visit_both<'a>(
    entries: &mut DBRawIterator<'_>,
    newer: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    visit: &mut Visit<'_>,
) -> Result<()> {
    for (key, value) in newer {
        while let Some((older, value)) = entries.item().filter(|(older, _)| *older < key) {
            if !visit(older, value)? {
                return Ok(());
            }
            entries.next();
        }
        if entries.key() == Some(key) {
            entries.next();
        }
        if let Some(value) = value
            && !visit(key, value)?
        {
            return Ok(());
        }
    }
    visit_all(entries, visit)
}

impl Drop for StoredState {
    fn drop(&mut self) {
        self.inner.behind.end();
    }
}

impl KeyedState for StoredState {
    fn get(&self, group: KeyGroup, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with_key(group, key, |stored| match self.inner.db() {
            Some(_) if !self.inner.known_keys.lock().may_have_key(stored) => Ok(None),
            Some(db) => match self.inner.behind.get(stored) {
                Some(known) => Ok(known),
                None => db.get(stored).map_err(|error| self.inner.error(error)),
            },
            None => Ok(self.inner.resident().get(stored).cloned()),
        })
    }

    fn is_freezing(&self) -> bool {
        self.inner.behind.is_freezing()
    }

    fn put(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<()> {
        self.check_owned(group)?;
        self.with_key(group, key, |stored| self.inner.put(stored, value))
    }

    fn delete(&mut self, group: KeyGroup, key: &[u8]) -> Result<()> {
        self.check_owned(group)?;
        self.with_key(group, key, |stored| match self.inner.db() {
            Some(db) => self.inner.write_one(db, &Write { key: stored, value: None }),
            None => {
                self.inner.resident_mut().delete(stored);
                Ok(())
            }
        })
    }

    fn write(&mut self, writes: &mut Writes) -> Result<()> {
        for write in writes.iter() {
            // A state may outgrow memory at any of the writes. To repeat those before changes nothing.
            if self.inner.db().is_some() {
                break;
            }
            let (group, key) = write.split_key();
            match write.value {
                Some(value) => self.put(group, key, value)?,
                None => self.delete(group, key)?,
            }
        }
        match self.inner.db() {
            Some(db) => self.write_on_disk(db, writes),
            None => {
                writes.clear();
                Ok(())
            }
        }
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
            Some(db) if !batch.is_empty() => self.inner.write_batch(db, batch),
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
