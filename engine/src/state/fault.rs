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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_the_damaged_file_stay_recognisable() {
        let full =
            "IO error: No space left on device: While appending to file: /state/live/1/a-0/000012.sst: No space left";
        assert_eq!(io_error(full.into()).kind(), io::ErrorKind::StorageFull);
        assert_eq!(named_file(full), Some("/state/live/1/a-0/000012.sst".into()));
        assert_eq!(io_error("IO error: Input/output error".into()).kind(), io::ErrorKind::Other);
        assert_eq!(
            named_file("Corruption: block checksum mismatch in /a/000007.sst offset 1"),
            Some("/a/000007.sst".into())
        );
        assert_eq!(named_file("Corruption: bad / record"), None);
    }

    #[test]
    fn a_rocksdb_that_cannot_be_read_is_damage_with_a_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("CURRENT"), "MANIFEST-000009\n").unwrap();
        std::fs::write(folder.path().join("MANIFEST-000009"), "nonsense that is long enough to be a record").unwrap();
        let error = rocksdb::DB::open_default(folder.path()).err().map(|error| state_error(folder.path(), error));
        let Some(EngineError::DamagedCheckpoint { path, .. }) = error else { panic!("{error:?}") };
        assert!(path.starts_with(folder.path()), "{}", path.display());
    }
}
