//! Puts the files of snapshots where checkpoints keep them: tables into the shared folder, each content once; small
//! files one behind the other into the checkpoint's pack.

use std::path::{Path, PathBuf};

use super::files::{self, TEMPORARY_SUFFIX};
use super::manifest::{FileEntry, InstanceEntry, Note, PACK_NAME, SHARED_FOLDER};
use super::verify::Verified;
use crate::Result;
use crate::state::{InstanceSnapshot, RESIDENT_NAME, SnapshotFile};

pub(super) struct Placing<'a> {
    state_dir: &'a Path,
    verified: &'a Verified,
    pack: Vec<u8>,
    /// Bytes of the shared files that were not there before.
    new_bytes: u64,
}

impl<'a> Placing<'a> {
    pub fn new(state_dir: &'a Path, verified: &'a Verified) -> Self {
        Self { state_dir, verified, pack: Vec::new(), new_bytes: 0 }
    }

    /// Places the files of one instance; gives what the manifest says of it.
    pub fn place(&mut self, snapshot: &InstanceSnapshot) -> Result<InstanceEntry> {
        let placed = snapshot.files.iter().map(|file| self.place_file(snapshot, file));
        let mut files = placed.collect::<Result<Vec<_>>>()?;
        files.extend(snapshot.resident.iter().map(|content| self.pack(RESIDENT_NAME, content)));
        snapshot.known_files.retain(&snapshot.files);
        Ok(InstanceEntry {
            uid: snapshot.id.uid.clone(),
            subtask: snapshot.id.subtask.index,
            parallelism: snapshot.id.subtask.parallelism,
            key_groups: snapshot.id.key_groups,
            notes: snapshot.notes.iter().cloned().map(Note).collect(),
            files,
        })
    }

    /// Makes the new names in the shared folder durable; gives the pack and the bytes of new shared files.
    pub fn finish(self) -> Result<(Vec<u8>, u64)> {
        if self.new_bytes > 0 {
            files::sync_folder(&self.state_dir.join(SHARED_FOLDER))?;
        }
        Ok((self.pack, self.new_bytes))
    }

    fn place_file(&mut self, snapshot: &InstanceSnapshot, file: &SnapshotFile) -> Result<FileEntry> {
        let path = snapshot.folder.join(&file.name);
        if file.is_immutable() {
            return self.share(snapshot, file, &path);
        }
        let content = files::read_range(&path, 0, file.length)?;
        assert_eq!(content.len() as u64, file.length);
        Ok(self.pack(&file.name, &content))
    }

    fn pack(&mut self, name: &str, content: &[u8]) -> FileEntry {
        let (offset, length) = (self.pack.len() as u64, content.len() as u64);
        self.pack.extend_from_slice(content);
        assert_eq!(self.pack.len() as u64, offset + length, "packed files stand one behind the other");
        FileEntry { name: name.into(), object: PACK_NAME.into(), offset, length, hash: files::hash_bytes(content) }
    }

    fn share(&mut self, snapshot: &InstanceSnapshot, file: &SnapshotFile, path: &Path) -> Result<FileEntry> {
        let hash = match snapshot.known_files.get(&file.name, file.length) {
            Some(hash) => hash,
            None => files::hash_range(path, 0, file.length)?,
        };
        snapshot.known_files.insert(&file.name, file.length, hash);
        let object = FileEntry::shared_object(hash, file.length);
        let target = self.state_dir.join(&object);
        // What stands there is trusted only if this process wrote or read it: else it may be the very damage from
        // which the job has just recovered, and replaying makes the same content again.
        if !self.verified.holds(&target) {
            publish(path, &target)?;
            debug_assert_eq!(files::length_bytes(&target)?, file.length);
            self.verified.remember(&target);
            self.new_bytes += file.length;
        }
        Ok(FileEntry { name: file.name.clone(), object, offset: 0, length: file.length, hash })
    }
}

/// Gives `source`'s content the name `target`, whole and durable, at once; the name is durable after a sync of the folder.
fn publish(source: &Path, target: &Path) -> Result<()> {
    let mut temporary = target.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = PathBuf::from(temporary);
    files::remove_file(&temporary)?;
    files::link_or_copy(source, &temporary)?;
    files::sync_file(&temporary)?;
    files::rename_unsynced(&temporary, target)
}
