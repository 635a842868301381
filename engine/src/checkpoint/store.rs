//! The state directory: where checkpoints are written, found again, kept and deleted.
//!
//! Order of a write, so that any crash leaves the old checkpoint or the new one (I3, I6): contents are made durable
//! first, then their names, then the manifest under a temporary name, then the manifest's name. A file that stands
//! in `shared/` under its final name has durable content of that hash.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::index::{self, CHECKPOINTS_FOLDER, Damage, Index, WORK_FOLDER};
use super::job::{FoundRecord, JobRecord};
use super::lock::StateLock;
use super::manifest::{MANIFEST_NAME, Manifest, PACK_NAME, SHARED_FOLDER, damaged};
use super::place::Placing;
use super::recovery::{self, Condition, Facts, Found, Plan, Recorded, RestoreRequest};
use super::savepoint::{self, Checkpoint};
use super::verify::Verified;
use super::{files, retention};
use crate::state::InstanceSnapshot;
use crate::{EngineError, Epoch, Result};

const STAGING_FOLDER: &str = "staging";

/// One state directory, locked for this process. All methods may be called from any thread.
#[derive(Debug)]
pub struct CheckpointStore {
    state_dir: PathBuf,
    index: Mutex<Index>,
    verified: Verified,
    _lock: StateLock,
}

/// A checkpoint that was passed over because it is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub path: PathBuf,
    pub reason: String,
}

/// The newest sound checkpoint. Whatever was skipped must be shown to the user.
#[derive(Debug, Clone)]
pub struct Latest {
    pub checkpoint: Checkpoint,
    pub skipped: Vec<Skipped>,
}

/// What a job goes on from.
#[derive(Debug, Clone)]
pub struct Recovery {
    pub request: RestoreRequest,
    /// `None`: from nothing.
    pub checkpoint: Option<Checkpoint>,
    /// The number for the next checkpoint.
    pub next_epoch: Epoch,
    pub skipped: Vec<Skipped>,
}

/// A new attempt at running the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub job_id: String,
    /// Never the same again in this state directory.
    pub attempt: u64,
    /// Empty; for this attempt only.
    pub work_dir: PathBuf,
}

/// A checkpoint that has become durable.
#[derive(Debug, Clone)]
pub struct Written {
    pub checkpoint: Checkpoint,
    /// Bytes that this checkpoint added to the disk; the rest was there already.
    pub new_bytes: u64,
    /// Bytes of all that it names.
    pub total_bytes: u64,
}

impl CheckpointStore {
    /// Locks the directory (making it if need be) and takes away what killed attempts left unfinished.
    ///
    /// Errors: [`EngineError::StateInUse`] where another process has it, [`EngineError::Io`]. Damaged checkpoints
    /// are no error here: see [`Self::recover`].
    pub fn open(state_dir: &Path) -> Result<Self> {
        files::create_folder(state_dir)?;
        let lock = StateLock::acquire(state_dir)?;
        files::create_folder(&state_dir.join(CHECKPOINTS_FOLDER))?;
        files::create_folder(&state_dir.join(SHARED_FOLDER))?;
        let index = Index::read(state_dir)?;
        index.clean_up(state_dir)?;
        let state_dir = state_dir.to_path_buf();
        Ok(Self { state_dir, index: Mutex::new(index), verified: Verified::default(), _lock: lock })
    }

    /// How many attempts were begun in `state_dir`, without locking it; 0 where there was none. Whoever asked for a start
    /// from a savepoint learns so, after a crash, whether that start had begun.
    ///
    /// Errors: [`EngineError::DamagedCheckpoint`] where the record of it cannot be read.
    pub fn attempts(state_dir: &Path) -> Result<u64> {
        match JobRecord::read(state_dir)? {
            FoundRecord::Absent => Ok(0),
            FoundRecord::Sound(record) => Ok(record.attempts),
            FoundRecord::Damaged(reason) => Err(damaged(state_dir, reason)),
        }
    }

    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The job's id, the same as long as the directory stands.
    pub fn job_id(&self) -> String {
        self.index.lock().record.job_id.clone()
    }

    /// What to go on from. `recorded`: what the targets of its output say of the past. Reads every file of the checkpoint that it chooses; changes nothing on disk.
    ///
    /// Errors: [`EngineError::DamagedCheckpoint`] where there should be a checkpoint and none can be used (I6).
    pub fn recover(&self, request: &RestoreRequest, recorded: &Recorded) -> Result<Recovery> {
        let mut index = self.index.lock();
        let mut facts = index.facts(request, recorded);
        loop {
            match recovery::decide_recovery(&facts) {
                Plan::Examine { index: position } => {
                    let found = &mut facts.found[position];
                    found.condition = self.examine(&mut index, found.epoch);
                }
                Plan::StartEmpty => return Ok(Recovery::new(&facts, None, Vec::new())),
                Plan::RestoreSavepoint { path } => {
                    return Ok(Recovery::new(&facts, Some(Self::load(&path)?), Vec::new()));
                }
                Plan::RestoreCheckpoint { index: position, skipped } => {
                    let manifest = index.sound[&facts.found[position].epoch].clone();
                    let skipped = skipped.into_iter().map(|i| self.skipped(&facts.found[i])).collect();
                    return Ok(Recovery::new(&facts, Some(self.checkpoint(manifest)), skipped));
                }
                Plan::Refuse { reasons } => {
                    return Err(damaged(&self.state_dir.join(CHECKPOINTS_FOLDER), reasons.join("; ")));
                }
            }
        }
    }

    /// The newest sound checkpoint; `None` where a job would start from nothing.
    pub fn latest(&self) -> Result<Option<Latest>> {
        let recovery = self.recover(&RestoreRequest::Latest, &Recorded::default())?;
        Ok(recovery.checkpoint.map(|checkpoint| Latest { checkpoint, skipped: recovery.skipped }))
    }

    /// A savepoint, or a checkpoint's folder, wherever it is; all of its files are read and checked.
    pub fn load(path: &Path) -> Result<Checkpoint> {
        savepoint::load(path)
    }

    /// Begins an attempt that goes on from `recovery`. From here on the job's history is the one of `recovery`:
    /// after `From` and `Fresh`, older checkpoints of the directory will not be gone back to.
    pub fn begin(&self, recovery: &Recovery) -> Result<Start> {
        let mut index = self.index.lock();
        let mut record = index.record.clone();
        record.attempts += 1;
        if recovery.request != RestoreRequest::Latest {
            record.history_start = recovery.next_epoch;
            record.base = recovery.checkpoint.as_ref().map(|checkpoint| checkpoint.folder.clone());
            record.has_checkpoint = false;
        }
        record.write(&self.state_dir)?;
        let (job_id, attempt) = (record.job_id.clone(), record.attempts);
        assert!(attempt > index.record.attempts, "attempts never repeat (I7)");
        index.record = record;
        files::remove_folder(&self.state_dir.join(WORK_FOLDER))?;
        let work_dir = self.work_dir(attempt);
        files::create_scratch_folder(&work_dir)?;
        Ok(Start { job_id, attempt, work_dir })
    }

    /// The folder into which the instances of this attempt freeze themselves for `epoch`.
    pub fn staging(&self, epoch: Epoch) -> PathBuf {
        let attempt = self.index.lock().record.attempts;
        self.staging_of(attempt, epoch)
    }

    /// Takes away the snapshots of a checkpoint that will not be written.
    pub fn discard_staging(&self, epoch: Epoch) -> Result<()> {
        files::remove_folder(&self.staging(epoch))
    }

    /// Makes a checkpoint durable: `draft` says everything but `operators`, which come from the snapshots. These must
    /// be of all instances of each node; a node of which no instance keeps anything leaves no trace.
    ///
    /// On return the epoch may be committed. Costs reading, linking and syncing of what is new. On an error
    /// nothing of the checkpoint will ever be restored. The staging folder is gone either way.
    pub fn write(&self, draft: Manifest, snapshots: &[InstanceSnapshot]) -> Result<Written> {
        let mut index = self.index.lock();
        let epoch = draft.epoch;
        let newest = index.newest_epoch();
        if epoch <= newest {
            let reason = format!("I5: epoch {epoch} is written after {newest}");
            return Err(EngineError::Internal { place: "checkpoint".into(), reason });
        }
        let written = self.write_files(draft, snapshots);
        let attempt = index.record.attempts;
        let cleaned = files::remove_folder(&self.staging_of(attempt, epoch));
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                // The first error counts; what stays behind is cleaned at the next open.
                let _ = files::remove_folder(&self.checkpoint_folder(epoch));
                return Err(error);
            }
        };
        index.sound.insert(epoch, written.checkpoint.manifest.clone());
        cleaned?;
        if !index.record.has_checkpoint {
            index.record.has_checkpoint = true;
            index.record.write(&self.state_dir)?;
        }
        Ok(written)
    }

    /// Deletes all but the newest `count` sound checkpoints (at least [`retention::RETAINED_MIN`] stay), manifests
    /// first, then the shared files that no kept manifest names. Gives the epochs that are gone.
    pub fn retain(&self, count: usize) -> Result<Vec<Epoch>> {
        let mut index = self.index.lock();
        let sound: Vec<Epoch> = index.sound.keys().copied().collect();
        let damaged: Vec<Epoch> = index.damaged.keys().copied().collect();
        let doomed = retention::epochs_to_delete(&sound, &damaged, count);
        if doomed.is_empty() {
            return Ok(doomed);
        }
        for epoch in &doomed {
            // Forgotten only once it is gone: a deletion that fails is tried again at the next call.
            index::delete_checkpoint(&self.checkpoint_folder(*epoch))?;
            index.sound.remove(epoch);
            index.damaged.remove(epoch);
        }
        for object in index.unneeded_files(&self.state_dir)? {
            let path = self.state_dir.join(object);
            self.verified.forget(&path);
            files::remove_file(&path)?;
        }
        Ok(doomed)
    }

    /// Copies a checkpoint into the new folder `target`, with all that it needs: it can be moved anywhere, and
    /// nothing here ever deletes it. Files are linked where the file system can.
    pub fn savepoint(&self, checkpoint: &Checkpoint, target: &Path) -> Result<PathBuf> {
        let _no_deletion = self.index.lock();
        savepoint::export(checkpoint, target)
    }

    /// Epochs of the checkpoints whose manifests are sound, oldest first.
    pub fn epochs(&self) -> Vec<Epoch> {
        self.index.lock().sound.keys().copied().collect()
    }

    fn write_files(&self, mut manifest: Manifest, snapshots: &[InstanceSnapshot]) -> Result<Written> {
        let mut placing = Placing::new(&self.state_dir, &self.verified);
        let stateful: BTreeSet<&str> =
            snapshots.iter().filter(|one| !one.is_empty()).map(|one| one.id.uid.as_str()).collect();
        let kept = snapshots.iter().filter(|one| stateful.contains(one.id.uid.as_str()));
        manifest.operators = kept.map(|snapshot| placing.place(snapshot)).collect::<Result<_>>()?;
        let (pack, shared_bytes) = placing.finish()?;
        let folder = self.checkpoint_folder(manifest.epoch);
        files::remove_folder(&folder)?;
        files::create_folder(&folder)?;
        if !pack.is_empty() {
            files::write_file(&folder.join(PACK_NAME), &pack)?;
        }
        let bytes = manifest.encode()?;
        files::replace_file(&folder.join(MANIFEST_NAME), &bytes)?;
        let new_bytes = shared_bytes + (pack.len() + bytes.len()) as u64;
        let total_bytes = manifest.state_size_bytes() + bytes.len() as u64;
        Ok(Written { checkpoint: self.checkpoint(Arc::new(manifest)), new_bytes, total_bytes })
    }

    /// Reads all files of a checkpoint whose manifest is sound.
    fn examine(&self, index: &mut Index, epoch: Epoch) -> Condition {
        let manifest = index.sound[&epoch].clone();
        match self.checkpoint(manifest.clone()).verify(&self.verified) {
            Ok(()) => Condition::Sound,
            Err(reason) => {
                index.sound.remove(&epoch);
                index.damaged.insert(epoch, Damage { reason: reason.clone(), manifest: Some(manifest) });
                Condition::Damaged(reason)
            }
        }
    }

    fn skipped(&self, found: &Found) -> Skipped {
        let Condition::Damaged(reason) = &found.condition else { unreachable!("only damaged checkpoints are skipped") };
        Skipped { path: self.checkpoint_folder(found.epoch), reason: reason.clone() }
    }

    fn checkpoint(&self, manifest: Arc<Manifest>) -> Checkpoint {
        let folder = self.checkpoint_folder(manifest.epoch);
        Checkpoint { manifest, folder, root: self.state_dir.clone() }
    }

    fn checkpoint_folder(&self, epoch: Epoch) -> PathBuf {
        index::checkpoint_folder(&self.state_dir, epoch)
    }

    fn work_dir(&self, attempt: u64) -> PathBuf {
        self.state_dir.join(WORK_FOLDER).join(attempt.to_string())
    }

    fn staging_of(&self, attempt: u64, epoch: Epoch) -> PathBuf {
        self.work_dir(attempt).join(STAGING_FOLDER).join(epoch.to_string())
    }
}

impl Recovery {
    fn new(facts: &Facts, checkpoint: Option<Checkpoint>, skipped: Vec<Skipped>) -> Self {
        let restored = checkpoint.as_ref().map_or(Epoch::ZERO, |checkpoint| checkpoint.manifest.epoch);
        let next_epoch = recovery::next_epoch(facts, restored);
        Self { request: facts.request.clone(), checkpoint, next_epoch, skipped }
    }
}

#[cfg(test)]
#[path = "store_tests/mod.rs"]
mod tests;
