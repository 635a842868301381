//! What a state directory holds, read once when it is opened and kept up to date from then on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::job::{self, JobRecord};
use super::manifest::{MANIFEST_NAME, Manifest, SHARED_FOLDER};
use super::recovery::{Condition, Facts, Found, Recorded, RestoreRequest};
use super::{files, retention};
use crate::{EngineError, Epoch, Result};

pub(super) const CHECKPOINTS_FOLDER: &str = "checkpoints";
pub(super) const WORK_FOLDER: &str = "work";

/// Digits of an epoch in a folder name, so that names sort as epochs do.
const EPOCH_DIGITS: usize = 8;

#[derive(Debug)]
pub(super) struct Index {
    pub record: JobRecord,
    /// Checkpoints whose manifest is sound; their files are looked at when one of them is to be restored.
    pub sound: BTreeMap<Epoch, Arc<Manifest>>,
    pub damaged: BTreeMap<Epoch, Damage>,
}

#[derive(Debug)]
pub(super) struct Damage {
    pub reason: String,
    /// Where it can be read although its files cannot.
    pub manifest: Option<Arc<Manifest>>,
}

impl Index {
    pub fn read(state_dir: &Path) -> Result<Self> {
        let (mut sound, mut damaged) = (BTreeMap::new(), BTreeMap::new());
        for (epoch, folder) in checkpoint_folders(state_dir)? {
            match read_manifest(&folder, epoch)? {
                None => {}
                Some(Ok(manifest)) => drop(sound.insert(epoch, Arc::new(manifest))),
                Some(Err(reason)) => drop(damaged.insert(epoch, Damage { reason, manifest: None })),
            }
        }
        let newest = sound.values().next_back().map(|manifest| (manifest.job_id.clone(), manifest.attempt));
        let record = job::reconstruct(JobRecord::read(state_dir)?, newest, job::new_job_id);
        Ok(Self { record, sound, damaged })
    }

    /// The newest epoch that was ever completed here, damaged or not.
    pub fn newest_epoch(&self) -> Epoch {
        let newest_sound = self.sound.keys().next_back();
        newest_sound.max(self.damaged.keys().next_back()).copied().unwrap_or(Epoch::ZERO)
    }

    /// What a decision about `request` needs to know.
    pub fn facts(&self, request: &RestoreRequest, recorded: &Recorded) -> Facts {
        let sound = self.sound.iter().map(|(epoch, manifest)| Found {
            epoch: *epoch,
            condition: Condition::Unknown,
            recorded: recorded.names_sink_of(manifest),
        });
        let damaged = self.damaged.iter().map(|(epoch, damage)| Found {
            epoch: *epoch,
            condition: Condition::Damaged(damage.reason.clone()),
            // What cannot be read may have been output of such a sink.
            recorded: damage.manifest.as_ref().map_or(!recorded.sinks.is_empty(), |one| recorded.names_sink_of(one)),
        });
        let mut found: Vec<Found> = sound.chain(damaged).collect();
        found.sort_unstable_by_key(|one| std::cmp::Reverse(one.epoch));
        Facts {
            request: request.clone(),
            found,
            history_start: self.record.history_start,
            base: self.record.base.clone(),
            has_checkpoint: self.record.has_checkpoint,
            committed: recorded.committed,
        }
    }

    /// Takes away what killed attempts left behind: work, half-written checkpoints, files that nobody names.
    pub fn clean_up(&self, state_dir: &Path) -> Result<()> {
        files::remove_folder(&state_dir.join(WORK_FOLDER))?;
        // Only what this store makes: users may keep savepoints and more beside it.
        files::remove_file(&state_dir.join(job::JOB_TEMPORARY_NAME))?;
        for (epoch, folder) in checkpoint_folders(state_dir)? {
            if !self.sound.contains_key(&epoch) && !self.damaged.contains_key(&epoch) {
                files::remove_folder(&folder)?;
            }
        }
        // An unreadable manifest may name any file: then all stay until retention gives that checkpoint up.
        if self.damaged.values().any(|damage| damage.manifest.is_none()) {
            return Ok(());
        }
        for object in self.unneeded_files(state_dir)? {
            files::remove_file(&state_dir.join(object))?;
        }
        Ok(())
    }

    /// Shared files that no checkpoint names, damaged ones included as far as they can be read.
    pub fn unneeded_files(&self, state_dir: &Path) -> Result<Vec<String>> {
        let names = files::list_folder(&state_dir.join(SHARED_FOLDER))?;
        let present: Vec<String> = names.iter().map(|name| format!("{SHARED_FOLDER}/{name}")).collect();
        let readable = self.damaged.values().filter_map(|damage| damage.manifest.as_deref());
        let kept = self.sound.values().map(Arc::as_ref).chain(readable);
        Ok(retention::files_to_delete(kept, &present))
    }
}

pub(super) fn checkpoint_folder(state_dir: &Path, epoch: Epoch) -> PathBuf {
    state_dir.join(CHECKPOINTS_FOLDER).join(format!("{:0EPOCH_DIGITS$}", epoch.0))
}

/// Deletes a checkpoint: durably its manifest first, so that no crash leaves a manifest without its files.
pub(super) fn delete_checkpoint(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    files::remove_file(&folder.join(MANIFEST_NAME))?;
    files::sync_folder(folder)?;
    files::remove_folder(folder)
}

/// Folders that are named as a checkpoint's is; other things in the directory are left alone.
fn checkpoint_folders(state_dir: &Path) -> Result<Vec<(Epoch, PathBuf)>> {
    let names = files::list_folder(&state_dir.join(CHECKPOINTS_FOLDER))?;
    let epochs = names.iter().filter_map(|name| name.parse().ok().map(Epoch));
    let folders = epochs.map(|epoch| (epoch, checkpoint_folder(state_dir, epoch)));
    Ok(folders.filter(|(epoch, folder)| *epoch != Epoch::ZERO && folder.is_dir()).collect())
}

/// `None`: the checkpoint was never completed. The inner error is the reason why the manifest cannot be trusted.
fn read_manifest(folder: &Path, epoch: Epoch) -> Result<Option<Result<Manifest, String>>> {
    let path = folder.join(MANIFEST_NAME);
    let bytes = match files::read_if_present(&path) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => bytes,
        // A bad sector is damage of this checkpoint; the others may be sound.
        Err(error) => return Ok(Some(Err(error.to_string()))),
    };
    Ok(Some(match Manifest::decode(&path, &bytes) {
        Ok(manifest) if manifest.epoch == epoch => Ok(manifest),
        Ok(manifest) => Err(format!("{} is of epoch {}", path.display(), manifest.epoch)),
        Err(EngineError::DamagedCheckpoint { reason, .. }) => Err(format!("{}: {reason}", path.display())),
        Err(other) => return Err(other),
    }))
}
