//! The durable state of one operator instance: entries, in memory as long as they are few and in a RocksDB from then
//! on, and a note.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::Receiver;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, WriteBatch};

use super::backend::Shared;
use super::behind::{Behind, Way};
use super::fault::state_error;
use super::known_keys::KnownKeys;
use super::resident::Resident;
use super::restore::{self, Restored};
use super::stored::StoredState;
use super::writes::Write;
use super::{KeyShape, KeyedState};
use crate::checkpoint::ContentHash;
use crate::checkpoint::files;
use crate::keys::KeyGroupRange;
use crate::operator::Subtask;
use crate::{EngineError, Result};

/// Bytes that go to RocksDB at a time: they are copied once more on the way, so that it should not be much.
const WRITE_BATCH_BYTES: usize = 256 << 10;

/// Whose state it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceId {
    /// The node's uid.
    pub uid: String,
    pub subtask: Subtask,
    pub key_groups: KeyGroupRange,
}

/// Handle on the state of one operator instance; clones are the same state. The runtime keeps one for snapshots and
/// gives the operator a view.
#[derive(Clone)]
pub struct StateInstance {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) id: InstanceId,
    pub(super) shape: KeyShape,
    pub(super) backend: Arc<Shared>,
    /// The RocksDB's folder.
    folder: PathBuf,
    /// Set once the state has outgrown memory; `resident` is empty from then on.
    db: OnceLock<DB>,
    resident: RwLock<Resident>,
    pub(super) behind: Behind,
    /// Of the RocksDB and what is beside it.
    pub(super) known_keys: Mutex<KnownKeys>,
    note: Mutex<Option<Vec<u8>>>,
    pub(super) restored_notes: Vec<Vec<u8>>,
    known_files: Arc<KnownFiles>,
}

/// A snapshot whose files are being frozen. Dropped, it waits until nothing is written into its folder any more.
#[derive(Debug)]
pub struct PendingSnapshot {
    /// Without files.
    snapshot: InstanceSnapshot,
    freezing: Option<Freezing>,
}

#[derive(Debug)]
struct Freezing(Receiver<Result<Vec<SnapshotFile>>>);

/// What an instance was at a barrier. Its files stay until the staging folder is removed.
#[derive(Debug, Clone)]
pub struct InstanceSnapshot {
    pub id: InstanceId,
    /// The instance's own note, or the notes that it was restored with as long as it has none.
    pub notes: Vec<Vec<u8>>,
    /// Where `files` are.
    pub folder: PathBuf,
    /// The RocksDB's; empty where there is none.
    pub files: Vec<SnapshotFile>,
    /// The entries of a state in memory, encoded; `None` where there are none, or a RocksDB.
    pub(crate) resident: Option<Vec<u8>>,
    pub(crate) known_files: Arc<KnownFiles>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// As RocksDB names it.
    pub name: String,
    pub length: u64,
}

impl PendingSnapshot {
    /// Waits for the files. Errors: what keeps them from being written.
    pub fn finish(self) -> Result<InstanceSnapshot> {
        let Self { mut snapshot, freezing } = self;
        if let Some(Freezing(answer)) = &freezing {
            let gone = |_| EngineError::Internal {
                place: snapshot.id.uid.clone(),
                reason: "nobody freezes its state any more".into(),
            };
            snapshot.files = answer.recv().map_err(gone)??;
        }
        Ok(snapshot)
    }
}

impl Drop for Freezing {
    fn drop(&mut self) {
        let _ = self.0.recv();
    }
}

impl InstanceSnapshot {
    /// The instance never kept anything: a checkpoint need not name it.
    pub fn is_empty(&self) -> bool {
        // Taken apart in full, so that a new kind of content cannot be forgotten here.
        let Self { id: _, notes, folder: _, files, resident, known_files: _ } = self;
        notes.is_empty() && files.is_empty() && resident.is_none()
    }
}

impl SnapshotFile {
    /// RocksDB never changes a table file once written, and never gives its name to another within one instance.
    pub fn is_immutable(&self) -> bool {
        self.name.ends_with(".sst")
    }
}

/// Immutable files of a live RocksDB whose content hash is known, by name: they need no reading at a checkpoint.
#[derive(Debug, Default)]
pub(crate) struct KnownFiles(Mutex<HashMap<String, (u64, ContentHash)>>);

impl KnownFiles {
    pub(crate) fn get(&self, name: &str, length: u64) -> Option<ContentHash> {
        let known = self.0.lock();
        let (known_length, hash) = known.get(name)?;
        assert_eq!(*known_length, length, "table file {name} changed its length");
        Some(*hash)
    }

    pub(crate) fn insert(&self, name: &str, length: u64, hash: ContentHash) {
        self.0.lock().insert(name.to_string(), (length, hash));
    }

    /// Forgets files that the RocksDB has deleted.
    pub(crate) fn retain(&self, live: &[SnapshotFile]) {
        let live: std::collections::HashSet<&str> = live.iter().map(|file| file.name.as_str()).collect();
        self.0.lock().retain(|name, _| live.contains(name.as_str()));
    }
}

impl StateInstance {
    pub(super) fn open(
        backend: Arc<Shared>,
        id: InstanceId,
        shape: KeyShape,
        work_dir: &Path,
        restored: Restored,
    ) -> Result<Self> {
        assert!(id.key_groups.start <= id.key_groups.end && id.key_groups.end <= id.key_groups.max_parallelism);
        assert!(id.subtask.index < id.subtask.parallelism);
        let folder = work_dir.join(folder_name(&id));
        let Restored { notes, former } = restored;
        let known_files = Arc::<KnownFiles>::default();
        let db = OnceLock::new();
        let mut known_keys = KnownKeys::new(backend.clone());
        if let Some(opened) = restore::rebuild(&backend, &folder, (id.key_groups, shape), &former, &known_files)? {
            db.get_or_init(|| opened);
            known_keys.give_up();
        }
        let inner = Arc::new(Inner {
            id,
            shape,
            backend,
            folder,
            db,
            resident: RwLock::default(),
            behind: Behind::default(),
            known_keys: Mutex::new(known_keys),
            note: Mutex::new(None),
            restored_notes: notes,
            known_files,
        });
        for one in &former {
            restore::each_resident_entry(one, inner.id.key_groups, |stored, value| inner.put(stored, value))?;
        }
        Ok(Self { inner })
    }

    pub fn id(&self) -> &InstanceId {
        &self.inner.id
    }

    /// What the operator reads and writes.
    pub fn view(&self) -> Box<dyn KeyedState> {
        Box::new(StoredState::new(self.inner.clone()))
    }

    #[cfg(test)]
    pub fn delay_freezes(&self, ms: u64) {
        self.inner.behind.freeze_delay_ms.store(ms, std::sync::atomic::Ordering::Relaxed);
    }

    /// To be called before what the operator does at a barrier: of that, long lists of writes go on beside it.
    pub fn begin_barrier(&self) {
        self.inner.behind.begin_barrier(&self.inner.backend);
    }

    /// Freezes what was written so far. A state in memory is encoded; else a thread beside the operator's lets RocksDB
    /// flush its memory to a file and hard-links its files into a new folder below `staging`, which costs what changed,
    /// whatever the size of the state. The instance stays usable meanwhile.
    ///
    /// To be called from the thread that writes, between two writes, and not before the snapshot of the barrier before
    /// is finished or dropped.
    pub fn snapshot(&self, staging: &Path) -> Result<PendingSnapshot> {
        let inner = &self.inner;
        let folder = staging.join(folder_name(&inner.id));
        let (freezing, resident) = match inner.db.get() {
            Some(_) => (Some(Freezing(inner.freeze_behind(folder.clone())?)), None),
            None => {
                let resident = inner.resident.read();
                (None, Some(resident.encode()).filter(|bytes| !bytes.is_empty()))
            }
        };
        let notes = inner.note.lock().clone().map_or_else(|| inner.restored_notes.clone(), |note| vec![note]);
        let (id, known_files) = (inner.id.clone(), inner.known_files.clone());
        let snapshot = InstanceSnapshot { id, notes, folder, files: Vec::new(), resident, known_files };
        Ok(PendingSnapshot { snapshot, freezing })
    }

    /// Bytes of this state: in memory, or of its files as of their last flush.
    pub fn size_bytes(&self) -> u64 {
        let property = rocksdb::properties::LIVE_SST_FILES_SIZE;
        match self.inner.db() {
            Some(db) => db.property_int_value(property).ok().flatten().unwrap_or(0),
            None => self.inner.resident.read().size_bytes() as u64,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.behind.clear(&self.backend);
    }
}

impl Inner {
    /// The RocksDB, if the state has outgrown memory.
    pub(super) fn db(&self) -> Option<&DB> {
        self.db.get()
    }

    /// The entries in memory: all of them as long as there is no RocksDB. Readers may nest.
    pub(super) fn resident(&self) -> RwLockReadGuard<'_, Resident> {
        self.resident.read_recursive()
    }

    pub(super) fn resident_mut(&self) -> RwLockWriteGuard<'_, Resident> {
        self.resident.write()
    }

    pub(super) fn put(self: &Arc<Self>, stored: &[u8], value: &[u8]) -> Result<()> {
        if let Some(db) = self.db() {
            return self.write_one(db, &Write { key: stored, value: Some(value) });
        }
        let mut resident = self.resident.write();
        resident.put(stored, value);
        if resident.size_bytes() <= self.backend.resident_bytes_max {
            return Ok(());
        }
        self.move_to_disk(&mut resident)
    }

    /// Opens the RocksDB and puts all entries into it.
    fn move_to_disk(&self, resident: &mut Resident) -> Result<()> {
        assert!(!self.folder.exists(), "a new RocksDB begins empty");
        files::create_scratch_folder(&self.folder)?;
        let db = self.backend.open(&self.folder, self.shape)?;
        let mut batch = WriteBatch::default();
        resident.iter().for_each(|(key, value)| batch.put(key, value));
        self.known_keys.lock().extend(resident.iter().map(|(key, _)| key.as_ref()));
        self.write_batch(&db, batch)?;
        *resident = Resident::default();
        assert!(self.db.set(db).is_ok(), "a state moves to disk once");
        Ok(())
    }

    /// Through to RocksDB, or beside it where files are frozen.
    pub(super) fn write_one(self: &Arc<Self>, db: &DB, write: &Write<'_>) -> Result<()> {
        let options = &self.backend.write_options;
        if write.value.is_some() {
            self.known_keys.lock().extend(std::iter::once(write.key));
        }
        let written = match (self.way(db, write.key.len() + write.value.map_or(0, <[u8]>::len))?, write.value) {
            (Way::Through, Some(value)) => db.put_opt(write.key, value, options),
            (Way::Through, None) => db.delete_opt(write.key, options),
            (Way::Beside(mut newer), value) => {
                newer.set(write.key, value);
                Ok(())
            }
        };
        written.map_err(|error| self.error(error))
    }

    /// Writes that are sorted, so that each finds its place next to the one before.
    pub(super) fn write_sorted<'a>(&self, db: &DB, writes: impl Iterator<Item = Write<'a>>) -> Result<()> {
        let mut batch = WriteBatch::default();
        for write in writes {
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

    pub(super) fn write_batch(&self, db: &DB, batch: WriteBatch) -> Result<()> {
        db.write_opt(batch, &self.backend.write_options).map_err(|error| self.error(error))
    }

    /// The RocksDB's.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn set_note(&self, note: Vec<u8>) {
        *self.note.lock() = Some(note);
    }

    pub(super) fn error(&self, error: rocksdb::Error) -> EngineError {
        state_error(&self.folder, error)
    }
}

/// Flushes `db` and links its files into the new `folder`; gives those that a later open needs.
pub(super) fn freeze(db: &DB, db_folder: &Path, folder: &Path) -> Result<Vec<SnapshotFile>> {
    if let Some(parent) = folder.parent() {
        files::create_scratch_folder(parent)?;
    }
    let checkpoint = Checkpoint::new(db).map_err(|error| state_error(db_folder, error))?;
    // RocksDB flushes its write buffers first: with the log off, that is what makes the snapshot complete.
    checkpoint.create_checkpoint(folder).map_err(|error| state_error(db_folder, error))?;
    let mut frozen = Vec::new();
    for name in files::list_folder(folder)? {
        if is_needed_to_open(&name) {
            let length = files::length_bytes(&folder.join(&name))?;
            frozen.push(SnapshotFile { name, length });
        }
    }
    assert!(frozen.iter().any(|file| file.name == "CURRENT"), "a snapshot names its RocksDB manifest");
    Ok(frozen)
}

/// Tables and RocksDB's own manifest. Options and logs are made anew at every open.
fn is_needed_to_open(name: &str) -> bool {
    name.ends_with(".sst") || name == "CURRENT" || name.starts_with("MANIFEST-")
}

/// One folder name per instance: readable, and different for different uids whatever characters these have.
fn folder_name(id: &InstanceId) -> String {
    /// Leaves room for the hash and the subtask within the 255 bytes of a file name.
    const READABLE_CHARS_MAX: usize = 60;
    let readable: String = id
        .uid
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .take(READABLE_CHARS_MAX)
        .collect();
    let hash = xxhash_rust::xxh3::xxh3_64(id.uid.as_bytes()) as u32;
    format!("{readable}-{hash:08x}-{}", id.subtask.index)
}
