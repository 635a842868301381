//! Makes the RocksDB of an instance from the snapshots of its former instances, at the same parallelism or another.

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{DB, ReadOptions, WriteBatch};

use super::KeyShape;
use super::backend::Shared;
use super::fault::state_error;
use super::instance::KnownFiles;
use super::resident::{RESIDENT_NAME, Resident};
use crate::Result;
use crate::checkpoint::ContentHash;
use crate::checkpoint::files;
use crate::checkpoint::manifest::damaged;
use crate::keys::KeyGroupRange;

/// Bytes per write while entries are copied: large enough to hide the cost of a write, small beside any budget.
const COPY_BATCH_BYTES: usize = 256 << 10;

/// What an instance goes on from; the default is a fresh start.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// Of all former instances of the node, in the order of their subtasks.
    pub notes: Vec<Vec<u8>>,
    /// The former instances with entries whose key groups overlap those of the new one.
    pub former: Vec<FormerInstance>,
}

/// The files of one former instance. Only read and linked, never changed.
#[derive(Debug, Clone)]
pub struct FormerInstance {
    pub key_groups: KeyGroupRange,
    pub files: Vec<RestoredFile>,
}

/// `length` bytes of `path` from `offset`, which RocksDB knows as `name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredFile {
    pub name: String,
    pub path: PathBuf,
    pub offset: u64,
    pub length: u64,
    pub hash: ContentHash,
}

impl RestoredFile {
    /// A whole file of its own, which may be linked since nobody changes it.
    fn is_table(&self) -> bool {
        self.name.ends_with(".sst")
    }

    fn is_resident(&self) -> bool {
        self.name == RESIDENT_NAME
    }
}

impl FormerInstance {
    fn has_rocksdb(&self) -> bool {
        self.files.iter().any(|file| !file.is_resident())
    }

    fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }
}

/// Calls `visit` with stored key and value of each entry of `range` that a former instance kept in memory.
pub(super) fn each_resident_entry(
    former: &FormerInstance,
    range: KeyGroupRange,
    visit: impl Fn(&[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let (start, end) = (range.start.to_be_bytes(), range.end.to_be_bytes());
    for file in former.files.iter().filter(|file| file.is_resident()) {
        let content = files::read_range(&file.path, file.offset, file.length)?;
        let decoded = Resident::decode(&content, |stored, value| {
            let is_owned = *stored >= start[..] && *stored < end[..];
            if is_owned { visit(stored, value) } else { Ok(()) }
        });
        decoded.unwrap_or_else(|| Err(damaged(&file.path, "its entries cannot be decoded")))?;
    }
    Ok(())
}

/// Opens a RocksDB in `folder` with the entries of `range` of those former instances that had one; `None` where none
/// had. The files of the largest are linked and what does not belong here is cut off; only the entries of the others
/// are copied. So nothing is copied at the same parallelism or a larger one.
pub(super) fn rebuild(
    backend: &Shared,
    folder: &Path,
    (range, shape): (KeyGroupRange, KeyShape),
    former: &[FormerInstance],
    known_files: &KnownFiles,
) -> Result<Option<DB>> {
    let with_entries = former.iter().filter(|one| one.has_rocksdb() && one.key_groups.overlaps(&range));
    let mut largest_last: Vec<&FormerInstance> = with_entries.collect();
    largest_last.sort_by_key(|one| one.size_bytes());
    let Some(base) = largest_last.pop() else { return Ok(None) };
    place_files(base, folder)?;
    for file in base.files.iter().filter(|file| file.is_table()) {
        known_files.insert(&file.name, file.length, file.hash);
    }
    let target = backend.open(folder, shape)?;
    cut_off(&target, backend, base.key_groups, range).map_err(|error| state_error(folder, error))?;
    for (index, one) in largest_last.into_iter().enumerate() {
        let source_folder = folder.with_extension(format!("from-{index}"));
        place_files(one, &source_folder)?;
        let source = backend.open_read_only(&source_folder)?;
        let to_target =
            |batch| target.write_opt(batch, &backend.write_options).map_err(|error| state_error(folder, error));
        copy_range(&source, range, to_target).map_err(|error| state_error(&source_folder, error))??;
        drop(source);
        files::remove_folder(&source_folder)?;
    }
    Ok(Some(target))
}

/// Deletes what `had` has outside of `range`: whole files at once, the rest by marks that no read here ever meets.
fn cut_off(db: &DB, backend: &Shared, had: KeyGroupRange, range: KeyGroupRange) -> Result<(), rocksdb::Error> {
    for (start, end) in [(had.start, range.start), (range.end, had.end)] {
        if start < end {
            // This end is inclusive, so it must lie before the first key of the next group.
            let last_group = [(end - 1).to_be_bytes().as_slice(), &[u8::MAX; 16]].concat();
            let (start, end) = (start.to_be_bytes(), end.to_be_bytes());
            db.delete_file_in_range(start.as_slice(), &last_group)?;
            let mut batch = WriteBatch::default();
            batch.delete_range(start, end);
            db.write_opt(batch, &backend.write_options)?;
        }
    }
    Ok(())
}

/// Puts a snapshot's files into `folder` under RocksDB's names. Tables are linked, what RocksDB writes to is copied.
fn place_files(former: &FormerInstance, folder: &Path) -> Result<()> {
    files::create_scratch_folder(folder)?;
    for file in former.files.iter().filter(|file| !file.is_resident()) {
        let target = folder.join(&file.name);
        if file.is_table() {
            files::link_or_copy(&file.path, &target)?;
        } else {
            let content = files::read_range(&file.path, file.offset, file.length)?;
            fs::write(&target, content).map_err(|error| crate::EngineError::io("write", &target, error))?;
        }
    }
    Ok(())
}

/// Gives the entries of `range`, in batches, to `write`. The outer error is one of reading.
fn copy_range(
    source: &DB,
    range: KeyGroupRange,
    write: impl Fn(WriteBatch) -> Result<()>,
) -> Result<Result<()>, rocksdb::Error> {
    let mut read_options = ReadOptions::default();
    read_options.set_iterate_range(range.start.to_be_bytes().to_vec()..range.end.to_be_bytes().to_vec());
    // Each block is read once: keep it from pushing live blocks out of the cache.
    read_options.fill_cache(false);
    read_options.set_total_order_seek(true);
    let mut entries = source.raw_iterator_opt(read_options);
    entries.seek_to_first();
    while entries.valid() {
        if let Err(error) = write(next_batch(&mut entries)) {
            return Ok(Err(error));
        }
    }
    entries.status().map(Ok)
}

fn next_batch(entries: &mut rocksdb::DBRawIterator<'_>) -> WriteBatch {
    let mut batch = WriteBatch::default();
    while let Some((key, value)) = entries.item() {
        batch.put(key, value);
        entries.next();
        if batch.size_in_bytes() >= COPY_BATCH_BYTES {
            break;
        }
    }
    batch
}
