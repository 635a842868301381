//! A checkpoint as it lies on disk, in a state directory or on its own: loaded, checked, handed to instances, and
//! copied into a savepoint.
//!
//! A savepoint is a folder with `MANIFEST`, `PACK` and `shared/`, laid out so that the manifest of the checkpoint
//! holds for it unchanged.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{self, TEMPORARY_SUFFIX};
use super::manifest::{FileEntry, InstanceEntry, MANIFEST_NAME, Manifest, PACK_NAME, SHARED_FOLDER, damaged};
use super::verify::Verified;
use crate::keys::KeyGroupRange;
use crate::state::{FormerInstance, Restored, RestoredFile};
use crate::{EngineError, Result};

/// A sound checkpoint or savepoint on disk: every file that it names was there and unchanged when it was loaded.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub manifest: Arc<Manifest>,
    /// Holds the manifest.
    pub folder: PathBuf,
    /// What shared files are relative to.
    pub(super) root: PathBuf,
}

impl Checkpoint {
    /// What the instance of node `uid` that owns `key_groups` goes on from.
    pub fn restored(&self, uid: &str, key_groups: KeyGroupRange) -> Restored {
        let mut instances: Vec<&InstanceEntry> = self.manifest.operators.iter().filter(|one| one.uid == uid).collect();
        instances.sort_by_key(|instance| instance.subtask);
        assert_eq!(key_groups.max_parallelism, self.manifest.max_parallelism, "the number of key groups is fixed");
        let notes = distinct_notes(&instances);
        let overlapping = instances.iter().filter(|one| !one.files.is_empty() && one.key_groups.overlaps(&key_groups));
        debug_assert!(
            instances.is_empty()
                || key_groups
                    .groups()
                    .all(|group| instances.iter().any(|one| one.key_groups.groups().contains(&group))),
            "every key group had an owner"
        );
        let former = overlapping.map(|instance| FormerInstance {
            key_groups: instance.key_groups,
            files: instance.files.iter().map(|file| self.restored_file(file)).collect(),
        });
        Restored { notes, former: former.collect() }
    }

    /// Checks length and content of every file; the reason names the file.
    pub(super) fn verify(&self, verified: &Verified) -> Result<(), String> {
        self.manifest.files().try_for_each(|file| verified.check(&self.path_of(file), file))
    }

    fn restored_file(&self, file: &FileEntry) -> RestoredFile {
        let path = self.path_of(file);
        RestoredFile { name: file.name.clone(), path, offset: file.offset, length: file.length, hash: file.hash }
    }

    fn path_of(&self, file: &FileEntry) -> PathBuf {
        if file.is_packed() { self.folder.join(PACK_NAME) } else { self.root.join(&file.object) }
    }
}

/// All notes; those that several instances carry on from a common restore count once.
fn distinct_notes(instances: &[&InstanceEntry]) -> Vec<Vec<u8>> {
    let mut notes: Vec<Vec<u8>> = Vec::new();
    for instance in instances {
        let is_own = instance.notes.len() == 1;
        for note in &instance.notes {
            if is_own || !notes.contains(&note.0) {
                notes.push(note.0.clone());
            }
        }
    }
    notes
}

/// Reads a savepoint, or a checkpoint in a state directory, by the path of its folder or of its manifest.
pub(super) fn load(path: &Path) -> Result<Checkpoint> {
    // The path is remembered for restarts, which may happen in another working directory.
    let path = &std::path::absolute(path).map_err(|error| EngineError::io("restore", path, error))?;
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let manifest_path = folder.join(MANIFEST_NAME);
    let Some(bytes) = files::read_if_present(&manifest_path)? else {
        let missing = io::Error::new(io::ErrorKind::NotFound, "there is no savepoint or checkpoint in this folder");
        return Err(EngineError::io("restore", path, missing));
    };
    let manifest = Arc::new(Manifest::decode(&manifest_path, &bytes)?);
    let checkpoint = Checkpoint { manifest, folder: folder.to_path_buf(), root: root_of(folder) };
    checkpoint.verify(&Verified::default()).map_err(|reason| damaged(folder, reason))?;
    Ok(checkpoint)
}

/// A savepoint brings its shared folder along; a checkpoint lies two levels below the state directory's.
fn root_of(folder: &Path) -> PathBuf {
    if folder.join(SHARED_FOLDER).is_dir() { folder.to_path_buf() } else { folder.join("..").join("..") }
}

/// Makes the savepoint `target`, complete or not at all.
pub(super) fn export(checkpoint: &Checkpoint, target: &Path) -> Result<PathBuf> {
    if !files::list_folder(target)?.is_empty() {
        let exists = io::Error::new(io::ErrorKind::AlreadyExists, "the folder is not empty");
        return Err(EngineError::io("make a savepoint in", target, exists));
    }
    let mut temporary = target.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = PathBuf::from(temporary);
    files::remove_folder(&temporary)?;
    let exported = fill(checkpoint, &temporary).and_then(|()| files::rename(&temporary, target));
    if exported.is_err() {
        // The first error counts.
        let _ = files::remove_folder(&temporary);
    }
    debug_assert!(exported.is_err() || load(target).is_ok(), "a savepoint can be loaded");
    exported.map(|()| target.to_path_buf())
}

fn fill(checkpoint: &Checkpoint, folder: &Path) -> Result<()> {
    let shared = folder.join(SHARED_FOLDER);
    files::create_folder(&shared)?;
    let objects: BTreeSet<&str> =
        checkpoint.manifest.files().filter(|file| !file.is_packed()).map(|file| file.object.as_str()).collect();
    for object in objects {
        copy_durably(&checkpoint.root.join(object), &folder.join(object))?;
    }
    if checkpoint.manifest.files().any(FileEntry::is_packed) {
        copy_durably(&checkpoint.folder.join(PACK_NAME), &folder.join(PACK_NAME))?;
    }
    files::sync_folder(&shared)?;
    files::write_file(&folder.join(MANIFEST_NAME), &checkpoint.manifest.encode()?)?;
    files::sync_folder(folder)
}

fn copy_durably(from: &Path, to: &Path) -> Result<()> {
    files::link_or_copy(from, to)?;
    files::sync_file(to)
}
