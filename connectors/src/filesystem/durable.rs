//! The few ways in which this connector makes something survive a power cut, or takes it away. Nothing else in the
//! connector syncs, renames or removes.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use tidemill_engine::{EngineError, Result};

/// Creates a folder and those above it; every new name is durable in its parent.
pub fn create_folders(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = parent(path) {
        create_folders(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => parent(path).map_or(Ok(()), sync_folder),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) => {
            let hint = "\n  hint: there is a file where a folder is needed: choose another path".to_string();
            Err(EngineError::Io { action: "create folder", path: path.into(), source: error, hint })
        }
        Err(error) => Err(EngineError::io("create folder", path, error)),
    }
}

/// A new, empty file; its name is durable only after [`sync_folder`].
pub fn create_file(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| EngineError::io("create", path, error))
}

/// A copy under a new name; durable only after [`sync_file`] of the copy and [`sync_folder`].
pub fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(|error| EngineError::io("copy", from, error))
}

/// The contents and the length of a file are durable.
pub fn sync_file(file: &File, path: &Path) -> Result<()> {
    file.sync_all().map_err(|error| EngineError::io("sync", path, error))
}

/// The names in a folder are durable.
pub fn sync_folder(path: &Path) -> Result<()> {
    let folder = File::open(path).map_err(|error| EngineError::io("open folder", path, error))?;
    folder.sync_all().map_err(|error| EngineError::io("sync folder", path, error))
}

/// Moves a file within its file system; durable only after [`sync_folder`].
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| EngineError::io("rename", from, error))
}

/// Takes a file away, if it is there; durable only after [`sync_folder`].
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(EngineError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// An empty file that is there for its name.
pub fn mark(path: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path);
    sync_file(&file.map_err(|error| EngineError::io("create", path, error))?, path)?;
    parent(path).map_or(Ok(()), sync_folder)
}

/// Replaces a small file as a whole: after a crash it has its old or its new contents.
pub fn replace_file(path: &Path, contents: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    remove(&temporary)?;
    let mut file = create_file(&temporary)?;
    file.write_all(contents).map_err(|error| EngineError::io("write", &temporary, error))?;
    sync_file(&file, &temporary)?;
    rename(&temporary, path)?;
    parent(path).map_or(Ok(()), sync_folder)
}

/// The folder that holds the name of `path`.
fn parent(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}
