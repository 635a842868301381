//! Durable keyed state: what operators write, RocksDB keeps and checkpoints copy.
//!
//! Operators see [`KeyedState`] only. The runtime makes one [`StateInstance`] per operator instance from the
//! process's one [`StateBackend`], gives the operator its [`StateInstance::view`], and calls
//! [`StateInstance::begin_barrier`] and [`StateInstance::snapshot`] around what each does at a barrier. A small state is a map in memory; it moves into a RocksDB of its own
//! when it outgrows a bound. [`MemoryState`](memory::MemoryState) is the twin for tests.

use std::ops::Range;

use crate::Result;
use crate::keys::KeyGroup;

pub mod backend;
mod behind;
#[cfg(test)]
mod behind_tests;
mod beside;
mod fault;
mod filter;
mod frames;
pub mod instance;
mod known_keys;
pub mod memory;
mod resident;
mod restore;
mod stored;
mod writes;

pub use backend::StateBackend;
pub use frames::{FramedKey, FramedReads, KeyShape, frame, push_frame, unframe};
pub use instance::{InstanceId, InstanceSnapshot, PendingSnapshot, SnapshotFile, StateInstance};
pub(crate) use resident::RESIDENT_NAME;
pub use restore::{FormerInstance, Restored, RestoredFile};
pub use writes::Writes;

/// An entry of a scan: key (without group) and value.
pub type Entry = (Box<[u8]>, Box<[u8]>);

/// Called for each entry of a scan, with its key (without group) and value, until it returns false.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool> + 'a;

/// The same for the scan of several frames, with the number of the frame's read in front.
pub type VisitFrame<'a> = dyn FnMut(u32, &[u8], &[u8]) -> Result<bool> + 'a;

/// State of one operator instance, addressed by key group and key bytes. Keys are ordered as bytes within a group.
///
/// Writes are visible to later reads at once. They become durable with the checkpoint of the next barrier.
pub trait KeyedState: Send {
    fn get(&self, group: KeyGroup, key: &[u8]) -> Result<Option<Vec<u8>>>;

    fn put(&mut self, group: KeyGroup, key: &[u8], value: &[u8]) -> Result<()>;

    fn delete(&mut self, group: KeyGroup, key: &[u8]) -> Result<()>;

    /// Puts and deletes many keys at once, which costs less than one by one. The list is empty afterwards.
    fn write(&mut self, writes: &mut Writes) -> Result<()> {
        for write in writes.iter() {
            let (group, key) = write.split_key();
            match write.value {
                Some(value) => self.put(group, key, value)?,
                None => self.delete(group, key)?,
            }
        }
        writes.clear();
        Ok(())
    }

    /// True while files are frozen for a checkpoint: what is written then is kept beside them, so who can wait with it should.
    fn is_freezing(&self) -> bool {
        false
    }

    /// Removes all keys of `group` that start with `prefix`.
    fn delete_prefix(&mut self, group: KeyGroup, prefix: &[u8]) -> Result<()>;

    /// The same in several groups at once, which costs less than one after the other.
    fn delete_prefixes(&mut self, mut groups: Range<u16>, prefix: &[u8]) -> Result<()> {
        groups.try_for_each(|group| self.delete_prefix(KeyGroup(group), prefix))
    }

    /// Calls `visit` for every entry of `group` whose key starts with `prefix`, in key order, until it returns false.
    fn scan(&self, group: KeyGroup, prefix: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.scan_from(group, prefix, prefix, visit)
    }

    /// The same from a key on, which must not lie before the prefix.
    fn scan_from(&self, group: KeyGroup, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<()>;

    /// Calls `visit` with the number of the read, key (without group) and value for every entry below each frame, until
    /// it returns false, which goes on with the next frame. For operators whose keys are of [`KeyShape::Framed`].
    fn scan_frames(&self, reads: &FramedReads, visit: &mut VisitFrame<'_>) -> Result<()> {
        reads
            .iter()
            .try_for_each(|(number, group, frame)| self.scan(group, frame, &mut |key, value| visit(number, key, value)))
    }

    /// Replaces the small note that this instance keeps beside its keyed entries (clocks, lists of live slices).
    /// An instance that never sets one keeps the notes that it was restored with.
    fn set_note(&mut self, note: Vec<u8>);

    /// The notes that instances of this operator had at the restored checkpoint: one per former subtask, none at a
    /// fresh start. After a change of parallelism every new instance sees all of them.
    fn restored_notes(&self) -> &[Vec<u8>];
}
