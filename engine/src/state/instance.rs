//! The durable state of one operator instance: a RocksDB that exists only once something was put, and a note.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rocksdb::DB;
use rocksdb::checkpoint::Checkpoint;

use super::KeyedState;
use super::backend::Shared;
use super::fault::state_error;
use super::restore::{self, Restored};
use super::rocks::RocksState;
use crate::Result;
use crate::checkpoint::ContentHash;
use crate::checkpoint::files;
use crate::keys::KeyGroupRange;
use crate::operator::Subtask;

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
    pub(super) backend: Arc<Shared>,
    /// The RocksDB's folder.
    folder: PathBuf,
    db: OnceLock<DB>,
    /// Held while `db` is being opened.
    opening: Mutex<()>,
    note: Mutex<Option<Vec<u8>>>,
    pub(super) restored_notes: Vec<Vec<u8>>,
    known_files: Arc<KnownFiles>,
}

/// What an instance was at a barrier. Its files stay until the staging folder is removed.
#[derive(Debug, Clone)]
pub struct InstanceSnapshot {
    pub id: InstanceId,
    /// The instance's own note, or the notes that it was restored with as long as it has none.
    pub notes: Vec<Vec<u8>>,
    /// Where `files` are.
    pub folder: PathBuf,
    /// Empty where the instance never had an entry.
    pub files: Vec<SnapshotFile>,
    pub(crate) known_files: Arc<KnownFiles>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// As RocksDB names it.
    pub name: String,
    pub length: u64,
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
    pub(super) fn open(backend: Arc<Shared>, id: InstanceId, work_dir: &Path, restored: Restored) -> Result<Self> {
        let folder = work_dir.join(folder_name(&id));
        let Restored { notes, former } = restored;
        let known_files = Arc::<KnownFiles>::default();
        let opened = restore::rebuild(&backend, &folder, id.key_groups, &former, &known_files)?;
        let db = OnceLock::new();
        if let Some(opened) = opened {
            db.get_or_init(|| opened);
        }
        let inner = Inner {
            id,
            backend,
            folder,
            db,
            opening: Mutex::new(()),
            note: Mutex::new(None),
            restored_notes: notes,
            known_files,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub fn id(&self) -> &InstanceId {
        &self.inner.id
    }

    /// What the operator reads and writes.
    pub fn view(&self) -> Box<dyn KeyedState> {
        Box::new(RocksState::new(self.inner.clone()))
    }

    /// Freezes what was written so far: flushes memory to a file and hard-links the files into a new folder below
    /// `staging`. Costs the flush of what changed, whatever the size of the state. The instance stays usable.
    ///
    /// To be called from the thread that writes, between two writes.
    pub fn snapshot(&self, staging: &Path) -> Result<InstanceSnapshot> {
        let inner = &self.inner;
        let folder = staging.join(folder_name(&inner.id));
        let files = match inner.db.get() {
            None => Vec::new(),
            Some(db) => freeze(db, &inner.folder, &folder)?,
        };
        let notes = inner.note.lock().clone().map_or_else(|| inner.restored_notes.clone(), |note| vec![note]);
        Ok(InstanceSnapshot { id: inner.id.clone(), notes, folder, files, known_files: inner.known_files.clone() })
    }

    /// Bytes of the files of this state as of its last flush.
    pub fn size_bytes(&self) -> u64 {
        let property = rocksdb::properties::LIVE_SST_FILES_SIZE;
        self.inner.db().and_then(|db| db.property_int_value(property).ok().flatten()).unwrap_or(0)
    }
}

impl Inner {
    /// The RocksDB, if anything was ever put.
    pub(super) fn db(&self) -> Option<&DB> {
        self.db.get()
    }

    /// The RocksDB, made now if need be.
    pub(super) fn db_for_writing(&self) -> Result<&DB> {
        if let Some(db) = self.db.get() {
            return Ok(db);
        }
        let _opening = self.opening.lock();
        if self.db.get().is_none() {
            files::create_folder(&self.folder)?;
            let opened = self.backend.open(&self.folder)?;
            self.db.get_or_init(|| opened);
        }
        Ok(self.db.get().expect("it was set just before, and nothing takes it away"))
    }

    pub(super) fn set_note(&self, note: Vec<u8>) {
        *self.note.lock() = Some(note);
    }

    pub(super) fn error(&self, error: rocksdb::Error) -> crate::EngineError {
        state_error(&self.folder, error)
    }
}

/// Flushes `db` and links its files into the new `folder`; gives those that a later open needs.
fn freeze(db: &DB, db_folder: &Path, folder: &Path) -> Result<Vec<SnapshotFile>> {
    if let Some(parent) = folder.parent() {
        files::create_folder(parent)?;
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
