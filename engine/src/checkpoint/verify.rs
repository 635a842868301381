//! Looks whether the files that a manifest names are still what they were.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::files;
use super::manifest::FileEntry;

/// Tells whether a file is still the one that was hashed: inode, length, time of last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    length: u64,
    changed_s: i64,
    changed_ns: i64,
}

/// Shared files that this process has hashed already, so that restarts within the process do not read them again.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<PathBuf, Identity>>);

impl Verified {
    /// Checks length and hash of one file's content; the reason names the file.
    pub fn check(&self, path: &Path, file: &FileEntry) -> Result<(), String> {
        let identity = identity(path)?;
        let end = file.offset + file.length;
        if identity.length < end || (!file.is_packed() && identity.length != end) {
            return Err(format!("{} has {} bytes instead of {end}", path.display(), identity.length));
        }
        if !file.is_packed() && self.0.lock().get(path) == Some(&identity) {
            return Ok(());
        }
        let hash = files::hash_range(path, file.offset, file.length).map_err(|error| error.to_string())?;
        if hash != file.hash {
            return Err(format!("{}: the content of {} has changed (its hash is wrong)", path.display(), file.name));
        }
        if !file.is_packed() {
            self.0.lock().insert(path.to_path_buf(), identity);
        }
        Ok(())
    }

    /// True where this process has read or written the file, and it has not changed since.
    pub fn holds(&self, path: &Path) -> bool {
        identity(path).is_ok_and(|identity| self.0.lock().get(path) == Some(&identity))
    }

    /// Notes that a file was just written with the content that its name promises.
    pub fn remember(&self, path: &Path) {
        if let Ok(identity) = identity(path) {
            self.0.lock().insert(path.to_path_buf(), identity);
        }
    }

    pub fn forget(&self, path: &Path) {
        self.0.lock().remove(path);
    }
}

fn identity(path: &Path) -> Result<Identity, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("cannot look at {}: {error}", path.display()))?;
    Ok(Identity {
        inode: metadata.ino(),
        length: metadata.len(),
        changed_s: metadata.mtime(),
        changed_ns: metadata.mtime_nsec(),
    })
}
