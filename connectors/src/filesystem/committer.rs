//! Publishing part files of durable epochs, and taking away what no restored checkpoint knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Deserialize;
use tidemill_engine::sink::{Committable, Committer};
use tidemill_engine::{EngineError, Epoch, Result};

use super::durable;
use super::names::{PartName, owner_tag};
use super::part::lost;
use super::partition_commit::{Moment, PartitionCommit};
use super::writer::{HiddenFile, KeptFiles, folder_path};

pub struct FileCommitter {
    pub root: PathBuf,
    pub owner: String,
    pub success_file: Option<String>,
    pub partition_commit: PartitionCommit,
    /// Partitions with visible rows that are not marked as complete; since when, in epoch milliseconds.
    pub pending: BTreeMap<String, i64>,
}

impl Committer for FileCommitter {
    fn commit(&mut self, epoch: Epoch, committables: &[Committable]) -> Result<()> {
        let moment = committables.iter().filter_map(Moment::of).reduce(Moment::together);
        let files = committables.iter().filter(|committable| Moment::of(committable).is_none());
        let mut files = files.map(hidden_file).collect::<Result<Vec<_>>>()?;
        files.retain(|file| self.committed(file.owner().unwrap_or(&self.owner)) < Some(epoch));
        let mut folders = BTreeSet::new();
        for file in &files {
            let folder = folder_path(&self.root, &file.folder);
            publish(&folder, file)?;
            folders.insert(folder);
        }
        folders.iter().try_for_each(|folder| durable::sync_folder(folder))?;
        if !files.is_empty() {
            self.remember(epoch)?;
        }
        moment.map_or(Ok(()), |moment| self.mark_complete(files, moment))
    }

    fn discard_unknown(&mut self, job_id: &str, restored: Epoch, kept: &[serde_json::Value]) -> Result<()> {
        assert_eq!(owner_tag(job_id), self.owner, "a committer serves one sink");
        if self.committed(&self.owner) > Some(restored) {
            self.remember(restored)?;
        }
        let mut known = BTreeSet::new();
        for state in kept {
            known.extend(kept_files(state)?.open.into_iter().map(|file| file.hidden));
        }
        let mut own = OwnFiles::default();
        own.gather(&self.root, &self.owner)?;
        for (path, name) in own.hidden {
            if !known.contains(&name.hidden()) {
                discard(&path)?;
            }
        }
        for (path, (name, epoch)) in own.published {
            if epoch > restored {
                withdraw(&path, &name, epoch, restored, known.contains(&name.hidden()))?;
            } else {
                self.expect_marker(&path);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let Some(success) = &self.success_file else { return Ok(()) };
        let mut own = OwnFiles::default();
        own.gather(&self.root, &self.owner)?;
        let mut folders: BTreeSet<&Path> = own.published.keys().filter_map(|path| path.parent()).collect();
        folders.insert(&self.root);
        for folder in folders {
            durable::mark(&folder.join(success))?;
        }
        Ok(())
    }
}

impl FileCommitter {
    /// Marks the partitions that are complete now, those of `files` among them. A partition that gets further rows is
    /// marked again.
    fn mark_complete(&mut self, files: Vec<HiddenFile>, moment: Moment) -> Result<()> {
        let Some(success) = &self.success_file else { return Ok(()) };
        for file in files.into_iter().filter(|file| !file.folder.is_empty()) {
            self.pending.entry(file.folder).or_insert(moment.now_ms);
        }
        let (commit, root) = (&self.partition_commit, &self.root);
        let complete =
            |(folder, since): (&String, &i64)| commit.is_complete(folder, *since, moment).then(|| folder.clone());
        let complete: Vec<String> = self.pending.iter().filter_map(complete).collect();
        for folder in complete {
            durable::mark(&folder_path(root, &folder).join(success))?;
            self.pending.remove(&folder);
        }
        Ok(())
    }

    /// At a start: a partition with visible rows and no marker is still to be marked.
    fn expect_marker(&mut self, path: &Path) {
        let Some(success) = self.success_file.as_ref().filter(|_| self.partition_commit.needs_moments()) else {
            return;
        };
        let Some(folder) = path.parent().filter(|folder| !folder.join(success).exists()) else { return };
        let below = folder.strip_prefix(&self.root).ok().and_then(Path::to_str).filter(|below| !below.is_empty());
        let Some(below) = below else { return };
        let written = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let since =
            written.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |age| age.as_millis() as i64);
        let known = self.pending.entry(below.to_string()).or_insert(since);
        *known = since.min(*known);
    }

    /// The newest epoch whose files were all published by `owner` (another one where the job began from a savepoint).
    /// Redoing its commit is not needed, so files that somebody took away since then are not missed. An unreadable note
    /// counts as none.
    fn committed(&self, owner: &str) -> Option<Epoch> {
        fs::read_to_string(self.note(owner)).ok()?.trim().parse().ok().map(Epoch)
    }

    fn remember(&self, epoch: Epoch) -> Result<()> {
        durable::replace_file(&self.note(&self.owner), epoch.to_string().as_bytes())
    }

    fn note(&self, owner: &str) -> PathBuf {
        self.root.join(format!(".committed-{owner}"))
    }
}

fn hidden_file(committable: &Committable) -> Result<HiddenFile> {
    HiddenFile::deserialize(&committable.0).map_err(|error| unreadable(&error))
}

/// A writer's state, as a checkpoint kept it.
pub fn kept_files(state: &serde_json::Value) -> Result<KeptFiles> {
    KeptFiles::deserialize(state).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> EngineError {
    EngineError::StateMismatch { reasons: vec![format!("the checkpoint's output files cannot be read: {error}")] }
}

/// Renames a hidden file, unless that was done before.
fn publish(folder: &Path, file: &HiddenFile) -> Result<()> {
    let (hidden, published) = (folder.join(&file.hidden), folder.join(&file.published));
    let length_of = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.len());
    match (length_of(&hidden), length_of(&published)) {
        (Some(length), _) if length == file.length => durable::rename(&hidden, &published),
        (Some(length), _) => {
            Err(lost(&hidden, format!("it has {length} bytes, but the checkpoint counts on {}", file.length)))
        }
        (None, Some(length)) if length == file.length => Ok(()),
        (None, Some(length)) => {
            Err(lost(&published, format!("it has {length} bytes, but the checkpoint counts on {}", file.length)))
        }
        (None, None) => Err(lost(&published, format!("neither it nor {} is there", file.hidden))),
    }
}

/// Takes away a file that was never published.
fn discard(path: &Path) -> Result<()> {
    tracing::debug!(path = %path.display(), "unfinished output file removed");
    durable::remove(path)?;
    path.parent().map_or(Ok(()), durable::sync_folder)
}

/// Takes back what was published after the restored epoch, since its rows will be written again. A file that was still
/// open in the restored checkpoint becomes hidden again: its beginning is needed.
fn withdraw(path: &Path, name: &PartName, epoch: Epoch, restored: Epoch, keep: bool) -> Result<()> {
    tracing::warn!(
        path = %path.display(), %epoch, %restored,
        "published output is withdrawn: the job goes back to an older checkpoint and writes these rows again"
    );
    if keep {
        durable::rename(path, &path.with_file_name(name.hidden()))?
    } else {
        durable::remove(path)?
    }
    path.parent().map_or(Ok(()), durable::sync_folder)
}

/// The files of one sink below its root.
#[derive(Default)]
struct OwnFiles {
    hidden: BTreeMap<PathBuf, PartName>,
    published: BTreeMap<PathBuf, (PartName, Epoch)>,
}

impl OwnFiles {
    fn gather(&mut self, folder: &Path, owner: &str) -> Result<()> {
        for entry in fs::read_dir(folder).map_err(|error| EngineError::io("list", folder, error))? {
            let entry = entry.map_err(|error| EngineError::io("list", folder, error))?;
            let kind = entry.file_type().map_err(|error| EngineError::io("read", entry.path(), error))?;
            if kind.is_dir() {
                self.gather(&entry.path(), owner)?;
            } else if let Some(name) = entry.file_name().to_str() {
                self.add(entry.path(), name, owner);
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, file_name: &str, owner: &str) {
        if let Some(name) = PartName::from_hidden(file_name).filter(|name| name.owner == owner) {
            self.hidden.insert(path, name);
        } else if let Some(found) = PartName::from_published(file_name).filter(|(name, _)| name.owner == owner) {
            self.published.insert(path, found);
        }
    }
}
