//! The few ways in which durable files are made, moved and taken away. Everything that must survive a power cut
//! (checkpoints, the output of file sinks) goes through here, so that each step is done once and in the right order.
//!
//! A file's content is durable after [`sync_file`]; its name only after [`sync_folder`] of the folder that holds it.
//! Tests make any step fail or end the process there, see [`set_fault_hook`].

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::manifest::ContentHash;
use crate::{EngineError, Result};

/// Ends the name of a file that is not complete yet; whoever opens a folder may delete it.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Read in one go while hashing; large enough that the disk's own read-ahead is never the limit.
const HASH_CHUNK_BYTES: usize = 256 * 1024;

/// One step that changes the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStep {
    Create,
    Write,
    Sync,
    Rename,
    Link,
    Remove,
}

/// Called before each step; an error is reported as if the operating system had refused the step.
pub type FaultHook = Arc<dyn Fn(FileStep, &Path) -> io::Result<()> + Send + Sync>;

static FAULT_HOOK: RwLock<Option<FaultHook>> = RwLock::new(None);
static FAULT_HOOK_SET: AtomicBool = AtomicBool::new(false);

/// For tests of crashes and full disks: one hook for the whole process, `None` takes it away.
pub fn set_fault_hook(hook: Option<FaultHook>) {
    let mut current = FAULT_HOOK.write();
    FAULT_HOOK_SET.store(hook.is_some(), Ordering::Release);
    *current = hook;
}

/// Does one step on `path`, and says what was being done where it fails.
fn step<T>(kind: FileStep, action: &'static str, path: &Path, work: impl FnOnce() -> io::Result<T>) -> Result<T> {
    let allowed = if FAULT_HOOK_SET.load(Ordering::Acquire) { ask_fault_hook(kind, path) } else { Ok(()) };
    allowed.and_then(|()| work()).map_err(|error| EngineError::io(action, path, error))
}

fn ask_fault_hook(kind: FileStep, path: &Path) -> io::Result<()> {
    let hook = FAULT_HOOK.read().clone();
    hook.map_or(Ok(()), |hook| hook(kind, path))
}

/// Makes `folder` and what is missing above it; the new names are durable.
pub fn create_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_folder(parent)?;
    }
    step(FileStep::Create, "create the folder", folder, || match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        other => other,
    })?;
    debug_assert!(folder.is_dir());
    sync_folder(parent.unwrap_or(Path::new(".")))
}

/// Makes `folder` and what is missing above it, for content that is worthless after a crash: not durable.
pub fn create_scratch_folder(folder: &Path) -> Result<()> {
    step(FileStep::Create, "create the folder", folder, || fs::create_dir_all(folder))
}

/// Writes a file whose content is durable on return; its name is not until [`sync_folder`].
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = step(FileStep::Create, "create", path, || File::create(path))?;
    step(FileStep::Write, "write", path, || file.write_all(bytes))?;
    debug_assert!(file.metadata().is_ok_and(|metadata| metadata.len() == bytes.len() as u64));
    step(FileStep::Sync, "sync", path, || file.sync_all())
}

/// Puts a file in place at once and durably: readers see the old content or the new, also after a power cut.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = PathBuf::from(temporary);
    debug_assert_eq!(folder_of(&temporary), folder_of(path), "a rename within a folder is one step");
    write_file(&temporary, bytes)?;
    rename(&temporary, path)
}

/// Gives a file another name, replacing what has that name; durable on return.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    rename_unsynced(from, to)?;
    let folder = folder_of(to);
    sync_folder(folder)?;
    let old_folder = folder_of(from);
    if old_folder != folder { sync_folder(old_folder) } else { Ok(()) }
}

/// As [`rename`], for many files in one folder: durable only after [`sync_folder`].
pub fn rename_unsynced(from: &Path, to: &Path) -> Result<()> {
    assert_ne!(from, to, "a rename gives another name");
    step(FileStep::Rename, "rename to", to, || fs::rename(from, to))
}

/// Makes the content of a file durable.
pub fn sync_file(path: &Path) -> Result<()> {
    step(FileStep::Sync, "sync", path, || File::open(path)?.sync_all())
}

/// Makes the names in a folder durable: what was created, renamed or removed there.
pub fn sync_folder(folder: &Path) -> Result<()> {
    step(FileStep::Sync, "sync the folder", folder, || File::open(folder)?.sync_all())
}

/// Gives the content of `from` the second name `to`: a hard link where the file system can, else a copy. `to` must
/// not exist. Neither content nor name is made durable here. Only for files that nobody changes any more.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    debug_assert!(!to.exists(), "{} must not exist yet", to.display());
    let linked = step(FileStep::Link, "link to", to, || match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(error) if is_link_unsupported(&error) => Ok(false),
        Err(error) => Err(error),
    })?;
    if linked { Ok(()) } else { copy(from, to) }
}

/// Copies a file's content to the new name `to`; not durable.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    step(FileStep::Write, "copy to", to, || fs::copy(from, to).map(|_| ()))
}

/// Other file system, file system without links, too many links, or links forbidden: copying still works.
fn is_link_unsupported(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
}

/// Removes a file; one that is gone already is no error. Not durable until [`sync_folder`].
pub fn remove_file(path: &Path) -> Result<()> {
    step(FileStep::Remove, "remove", path, || ignore_missing(fs::remove_file(path)))
}

/// Removes a folder with all that is in it; one that is gone already is no error. Not durable.
pub fn remove_folder(folder: &Path) -> Result<()> {
    step(FileStep::Remove, "remove the folder", folder, || ignore_missing(fs::remove_dir_all(folder)))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A file's whole content; `None` where there is no such file.
pub fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EngineError::io("read", path, error)),
    }
}

/// Names in a folder, sorted; empty where there is no such folder. Names that are not UTF-8 are left out: nothing
/// here ever makes one.
pub fn list_folder(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| EngineError::io("list the folder", folder, error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| EngineError::io("list the folder", folder, error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Length of a file in bytes.
pub fn length_bytes(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).map_err(|error| EngineError::io("look at", path, error))?;
    Ok(metadata.len())
}

/// Hash of `length` bytes of a file from `offset`; an error where the file is shorter.
pub fn hash_range(path: &Path, offset: u64, length: u64) -> Result<ContentHash> {
    use std::io::{Seek, SeekFrom};
    let read = || -> io::Result<ContentHash> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut hasher = Xxh3::new();
        let mut chunk = vec![0; HASH_CHUNK_BYTES];
        let mut left = length;
        while left > 0 {
            let wanted = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.read_exact(&mut chunk[..wanted])?;
            hasher.update(&chunk[..wanted]);
            left -= wanted as u64;
        }
        assert_eq!(left, 0, "all of the range was read");
        Ok(ContentHash(hasher.digest128()))
    };
    read().map_err(|error| EngineError::io("read", path, error))
}

/// `length` bytes of a file from `offset`; an error where the file is shorter.
pub fn read_range(path: &Path, offset: u64, length: u64) -> Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let read = || -> io::Result<Vec<u8>> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        File::open(path)?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    };
    read().map_err(|error| EngineError::io("read", path, error))
}

pub fn hash_bytes(bytes: &[u8]) -> ContentHash {
    ContentHash(xxh3_128(bytes))
}

/// The folder that holds `path`.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
