//! Writing rows into hidden part files, one open file per partition, and handing them over at barriers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::sink::{Committable, Prepared, SinkWriter, WriterContext};
use tidemill_engine::time::{EventTime, ProcessingTime};
use tidemill_engine::{Batch, EngineError, Epoch, Result, RowKind};

use super::names::{PartName, owner_tag};
use super::options::SinkOptions;
use super::part::{PartFile, PartFormat};
use super::partition_commit::Moment;
use super::{durable, partition};

/// Files that one writer keeps open; with more partitions than that, the one written longest ago is closed.
const OPEN_FILES_MAX: usize = 100;

/// A file that is complete but hidden; the committer renames it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiddenFile {
    /// Below the table's path, such as `day=2024-01-01`; empty where there are no partitions.
    pub folder: String,
    pub hidden: String,
    pub published: String,
    pub length: u64,
}

impl HiddenFile {
    /// Tag of the sink that wrote it.
    pub fn owner(&self) -> Option<&str> {
        // A snapshot's published name is the same for all, so that its hidden one tells.
        let from = |name: &'_ str| PartName::from_published(name).is_some() || PartName::from_hidden(name).is_some();
        let named = [&self.published, &self.hidden].into_iter().find(|name| from(name))?;
        named.trim_start_matches('.').split('-').nth(1)
    }
}

/// A file that stays open over a checkpoint, and how much of it belongs to that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    pub folder: String,
    pub hidden: String,
    pub length: u64,
    /// When it was begun, in epoch milliseconds.
    pub since_ms: i64,
}

/// What a writer leaves in a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFiles {
    pub open: Vec<KeptFile>,
}

/// What all writers of a sink share.
#[derive(Debug, Clone)]
pub struct Target {
    pub root: PathBuf,
    pub part: PartFormat,
    pub options: SinkOptions,
    /// Of the rows that come in, partition columns included.
    pub schema: SchemaRef,
    /// Names and indices of the partition columns.
    pub keys: Vec<(String, usize)>,
    pub default_partition: String,
}

struct OpenPart {
    file: PartFile,
    name: PartName,
    since: ProcessingTime,
    written: ProcessingTime,
}

/// A closed file that waits for the next barrier.
struct ClosedPart {
    folder: String,
    name: PartName,
    length: u64,
}

pub struct PartWriter {
    target: Target,
    owner: String,
    subtask: usize,
    attempt: u64,
    /// Number of the next file.
    number: u64,
    /// By folder below the root.
    open: BTreeMap<String, OpenPart>,
    closed: Vec<ClosedPart>,
    /// Folders with names that are not durable yet.
    unsynced: Vec<PathBuf>,
    checked: ProcessingTime,
    now: ProcessingTime,
    watermark: EventTime,
}

impl PartWriter {
    pub fn new(target: Target, context: &WriterContext, restored: Vec<KeptFiles>) -> Result<Self> {
        durable::create_folders(&target.root)?;
        let mut writer = Self {
            target,
            owner: owner_tag(&context.job_id),
            subtask: context.subtask.index,
            attempt: context.attempt,
            number: 0,
            open: BTreeMap::new(),
            closed: Vec::new(),
            unsynced: Vec::new(),
            checked: context.now,
            now: context.now,
            watermark: EventTime::MIN,
        };
        for kept in restored.into_iter().flat_map(|kept| kept.open) {
            writer.resume(kept, context.now)?;
        }
        Ok(writer)
    }

    fn resume(&mut self, kept: KeptFile, now: ProcessingTime) -> Result<()> {
        let mut name = PartName::from_hidden(&kept.hidden).ok_or_else(|| EngineError::StateMismatch {
            reasons: vec![format!("the checkpoint's file '{}' is not one of this sink", kept.hidden)],
        })?;
        if name.owner != self.owner {
            name = self.copy(&kept, &name)?;
        }
        let path = self.folder(&kept.folder).join(name.hidden());
        let file = self.target.part.resume(path, kept.length)?;
        // After a change of parallelism two writers' files may meet here: the second goes out at the next barrier.
        if self.open.contains_key(&kept.folder) {
            let length = file.close()?;
            self.closed.push(ClosedPart { folder: kept.folder, name, length });
            return Ok(());
        }
        let part = OpenPart { file, name, since: ProcessingTime(kept.since_ms), written: now };
        self.open.insert(kept.folder, part);
        Ok(())
    }

    /// The file of another job, whose savepoint this one began from, stays as it is: that job may go on with it, and it
    /// may have published it since.
    fn copy(&mut self, kept: &KeptFile, theirs: &PartName) -> Result<PartName> {
        let (name, folder) = (self.next_name(), self.folder(&kept.folder));
        let hidden = folder.join(&kept.hidden);
        let from = if hidden.exists() { hidden } else { published_as(&folder, theirs).unwrap_or(hidden) };
        durable::copy_file(&from, &folder.join(name.hidden()))?;
        self.unsynced.push(folder);
        Ok(name)
    }

    fn next_name(&mut self) -> PartName {
        let number = self.number;
        self.number += 1;
        PartName { owner: self.owner.clone(), subtask: self.subtask, attempt: self.attempt, number }
    }

    fn folder(&self, folder: &str) -> PathBuf {
        folder_path(&self.target.root, folder)
    }

    /// Writes rows that belong into one folder.
    fn write_part(&mut self, folder: &str, rows: &Batch, now: ProcessingTime) -> Result<()> {
        if !self.open.contains_key(folder) {
            self.begin(folder, now)?;
        }
        let part = self.open.get_mut(folder).expect("just begun");
        part.written = now;
        part.file.write(rows)?;
        if part.file.size_bytes() >= self.target.options.file_size_max {
            self.close(folder)?;
        }
        Ok(())
    }

    fn begin(&mut self, folder: &str, now: ProcessingTime) -> Result<()> {
        if self.open.len() >= OPEN_FILES_MAX {
            let oldest = self.open.iter().min_by_key(|(_, part)| part.written).map(|(folder, _)| folder.clone());
            self.close(&oldest.expect("some file is open"))?;
        }
        self.target.options.partition_commit.check(folder).map_err(|text| self.without_time(folder, text))?;
        let name = self.next_name();
        let path = self.folder(folder);
        durable::create_folders(&path)?;
        let file = self.target.part.create(path.join(name.hidden()))?;
        if !self.unsynced.contains(&path) {
            self.unsynced.push(path);
        }
        self.open.insert(folder.to_string(), OpenPart { file, name, since: now, written: now });
        Ok(())
    }

    fn close(&mut self, folder: &str) -> Result<()> {
        let Some(part) = self.open.remove(folder) else { return Ok(()) };
        let length = part.file.close()?;
        self.closed.push(ClosedPart { folder: folder.to_string(), name: part.name, length });
        Ok(())
    }

    fn close_where(&mut self, due: impl Fn(&OpenPart) -> bool) -> Result<()> {
        let folders: Vec<String> =
            self.open.iter().filter(|(_, part)| due(part)).map(|(folder, _)| folder.clone()).collect();
        folders.iter().try_for_each(|folder| self.close(folder))
    }

    /// Rows by folder, without their partition columns.
    fn partition(&self, batch: Batch) -> Result<Vec<(String, Batch)>> {
        let keys = &self.target.keys;
        if keys.is_empty() {
            return Ok(vec![(String::new(), batch)]);
        }
        let rows = batch.rows();
        let mut rows_of: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut folder = String::new();
        for row in 0..rows.num_rows() {
            folder.clear();
            partition::write_folder(&mut folder, rows, row, keys, &self.target.default_partition)?;
            match rows_of.get_mut(&folder) {
                Some(indices) => indices.push(row as u32),
                None => drop(rows_of.insert(folder.clone(), vec![row as u32])),
            }
        }
        let is_key = |column: &usize| keys.iter().any(|(_, key)| key == column);
        let inside: Vec<usize> = (0..rows.num_columns()).filter(|column| !is_key(column)).collect();
        let inside = batch.replace_rows(rows.project(&inside)?);
        let parts = rows_of.into_iter();
        parts.map(|(folder, indices)| Ok((folder, inside.take(&UInt32Array::from(indices))?))).collect()
    }

    /// Rows that the table does not take: a NULL in a column that is NOT NULL.
    fn unfit(&self, error: &ArrowError) -> EngineError {
        EngineError::BadRow {
            operator: format!("files in {}", self.target.root.display()),
            reason: error.to_string(),
            row: "(among those of one batch)".to_string(),
            hint: "filter such rows out, or declare the column without NOT NULL".to_string(),
        }
    }

    fn without_time(&self, folder: &str, text: String) -> EngineError {
        EngineError::BadRow {
            operator: format!("files in {}", self.target.root.display()),
            reason: format!("the partition {folder} tells no time: '{text}' is not like '2024-12-31 23:59:59'"),
            row: "(the partition's first)".to_string(),
            hint: "let 'partition.time-extractor.timestamp-pattern' make such a text, and filter other rows out"
                .to_string(),
        }
    }

    fn sync_folders(&mut self) -> Result<()> {
        self.unsynced.drain(..).try_for_each(|folder| durable::sync_folder(&folder))
    }

    fn keep_open(&mut self) -> Result<Option<serde_json::Value>> {
        let mut kept = KeptFiles::default();
        for (folder, part) in &mut self.open {
            let length = part.file.settle()?;
            let hidden = part.name.hidden();
            kept.open.push(KeptFile { folder: folder.clone(), hidden, length, since_ms: part.since.0 });
        }
        Ok((!kept.open.is_empty()).then(|| json!(kept)))
    }
}

impl SinkWriter for PartWriter {
    fn write(&mut self, batch: &Batch, now: ProcessingTime) -> Result<()> {
        if self.target.options.snapshot && batch.kinds().is_some() {
            // The table is empty now: so is its file.
            assert!((0..batch.num_rows()).all(|row| batch.kind(row) == RowKind::Delete), "a snapshot holds rows");
            return if self.open.is_empty() { self.begin("", now) } else { Ok(()) };
        }
        let appends = batch.kinds().is_none() || (0..batch.num_rows()).all(|row| batch.kind(row) == RowKind::Insert);
        self.now = self.now.max(now);
        let changes = self.target.part.format.changelog() != ChangelogMode::Append;
        assert!(appends || changes, "this format takes appends only, so no plan sends it other changes");
        // The table's own column names, whatever the query called them.
        let rows = RecordBatch::try_new(self.target.schema.clone(), batch.rows().columns().to_vec())
            .map_err(|error| self.unfit(&error))?;
        // Kinds that say nothing are left out: a format of rows takes none.
        let batch = if changes { batch.replace_rows(rows) } else { Batch::new(rows) };
        for (folder, rows) in self.partition(batch)? {
            self.write_part(&folder, &rows, now)?;
        }
        Ok(())
    }

    fn prepare(&mut self, epoch: Epoch, last: bool) -> Result<Prepared> {
        if last || self.target.options.roll_on_checkpoint {
            self.close_where(|_| true)?;
        }
        let state = self.keep_open()?;
        self.sync_folders()?;
        let ending = self.target.part.ending();
        let snapshot = self.target.options.snapshot;
        let files = self.closed.drain(..).map(|part| {
            let ClosedPart { folder, name, length } = part;
            let published = if snapshot { format!("snapshot.{ending}") } else { name.published(epoch, &ending) };
            let file = HiddenFile { folder, hidden: name.hidden(), published, length };
            Committable(json!(file))
        });
        let moment = Moment::new(self.now, self.watermark).committable();
        let moment = self.target.options.partition_commit.needs_moments().then_some(moment);
        Ok(Prepared { committables: files.chain(moment).collect(), state })
    }

    fn on_watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(watermark);
    }

    fn on_time(&mut self, now: ProcessingTime) -> Result<()> {
        self.now = self.now.max(now);
        let options = &self.target.options;
        let age_ms = |then: ProcessingTime| u128::try_from(now.0.saturating_sub(then.0)).unwrap_or(0);
        if age_ms(self.checked) < options.check_interval.as_millis() {
            return Ok(());
        }
        self.checked = now;
        let (rollover, inactivity) = (options.rollover_interval.as_millis(), options.inactivity_interval.as_millis());
        self.close_where(|part| age_ms(part.since) >= rollover || age_ms(part.written) >= inactivity)
    }

    /// Files that are open are looked at now and then.
    fn next_time(&self) -> Option<ProcessingTime> {
        (!self.open.is_empty()).then(|| self.checked.plus(self.target.options.check_interval))
    }
}

/// Where the file is that was begun under this name, if it was published.
fn published_as(folder: &Path, name: &PartName) -> Option<PathBuf> {
    let is_it = |entry: &std::fs::DirEntry| {
        let found = entry.file_name().to_str().and_then(PartName::from_published);
        found.is_some_and(|(found, _)| found == *name)
    };
    std::fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()).find(is_it).map(|entry| entry.path())
}

/// The path of a folder below the root.
pub fn folder_path(root: &Path, folder: &str) -> PathBuf {
    if folder.is_empty() { root.to_path_buf() } else { root.join(folder) }
}
