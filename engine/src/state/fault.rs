//! RocksDB's errors in the words of the engine: what the user can do about them depends on their kind.

use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{Error, ErrorKind};

use crate::EngineError;
use crate::checkpoint::manifest::damaged;

/// `folder` is the RocksDB's own; the error names a file in it where RocksDB says which.
pub(super) fn state_error(folder: &Path, error: Error) -> EngineError {
    let kind = error.kind();
    let message = error.into_string();
    let path = named_file(&message).unwrap_or_else(|| folder.to_path_buf());
    match kind {
        ErrorKind::Corruption => damaged(&path, message),
        ErrorKind::IOError => EngineError::io("keep state in", path, io_error(message)),
        _ => EngineError::State(format!("{}: {message}", folder.display())),
    }
}

/// RocksDB gives the operating system's text only; a full disk must stay recognisable.
fn io_error(message: String) -> io::Error {
    let kind = if message.contains("No space left on device") {
        io::ErrorKind::StorageFull
    } else if message.contains("Disk quota exceeded") {
        io::ErrorKind::QuotaExceeded
    } else {
        io::ErrorKind::Other
    };
    io::Error::new(kind, message)
}

/// The first absolute path in a message.
fn named_file(message: &str) -> Option<PathBuf> {
    let words = message.split_whitespace().map(|word| word.trim_matches([':', ',', ';', '"', '\'']));
    words.filter(|word| word.starts_with('/') && word.len() > 1).map(PathBuf::from).next()
}
