//! The state directory's record of its job: who it is, how often it was started, where its history begins.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use super::sealed;
use crate::{EngineError, Epoch, Result};

const JOB_NAME: &str = "JOB";
/// What a killed write of the record leaves.
pub(super) const JOB_TEMPORARY_NAME: &str = "JOB.tmp";
const MAGIC: &str = "tidemill-job";
const FORMAT: u32 = 1;

/// Where the record is lost, attempts go on from the newest known one plus this many, so that names of attempts
/// which nobody remembers are not used again.
pub(super) const ATTEMPTS_FORGOTTEN_MAX: u64 = 1_000_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JobRecord {
    pub job_id: String,
    /// Attempts begun so far.
    pub attempts: u64,
    /// The first epoch of this history; older checkpoints belong to one that was given up.
    pub history_start: Epoch,
    /// The savepoint with which this history began.
    pub base: Option<PathBuf>,
    /// A checkpoint of this history was completed: finding none is damage, not a fresh start (I6).
    pub has_checkpoint: bool,
}

/// What the disk says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FoundRecord {
    Absent,
    Sound(JobRecord),
    Damaged(String),
}

impl JobRecord {
    pub fn read(state_dir: &Path) -> Result<FoundRecord> {
        let Some(bytes) = files::read_if_present(&state_dir.join(JOB_NAME))? else {
            return Ok(FoundRecord::Absent);
        };
        let parse = || -> Result<JobRecord, String> {
            let body = sealed::unseal(MAGIC, FORMAT, &bytes)?;
            serde_json::from_slice(body).map_err(|error| error.to_string())
        };
        Ok(parse().map_or_else(FoundRecord::Damaged, FoundRecord::Sound))
    }

    /// Durable on return.
    pub fn write(&self, state_dir: &Path) -> Result<()> {
        let body = serde_json::to_vec_pretty(self)
            .map_err(|error| EngineError::Internal { place: "job record".into(), reason: error.to_string() })?;
        files::replace_file(&state_dir.join(JOB_NAME), &sealed::seal(MAGIC, FORMAT, &body))
    }
}

/// What is known of a job whose record is gone: `newest` is (job id, attempt) of the newest readable manifest.
pub(super) fn reconstruct(
    found: FoundRecord,
    newest: Option<(String, u64)>,
    new_id: impl FnOnce() -> String,
) -> JobRecord {
    let was_damaged = matches!(found, FoundRecord::Damaged(_));
    match found {
        FoundRecord::Sound(record) => record,
        FoundRecord::Absent | FoundRecord::Damaged(_) => {
            let has_checkpoint = newest.is_some() || was_damaged;
            let forgotten = if has_checkpoint { ATTEMPTS_FORGOTTEN_MAX } else { 0 };
            let (job_id, attempt) = newest.unwrap_or_else(|| (new_id(), 0));
            JobRecord {
                job_id,
                attempts: attempt + forgotten,
                history_start: Epoch::ZERO.next(),
                base: None,
                has_checkpoint,
            }
        }
    }
}

/// A new job's id: 16 hex digits from the operating system's randomness.
pub(super) fn new_job_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}", random() ^ random().rotate_left(32) ^ u64::from(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> JobRecord {
        let base = Some(PathBuf::from("/savepoints/a"));
        JobRecord { job_id: "j".into(), attempts: 3, history_start: Epoch(7), base, has_checkpoint: true }
    }

    #[test]
    fn a_record_is_read_back_and_any_changed_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(JobRecord::read(folder.path()).unwrap(), FoundRecord::Absent);
        record().write(folder.path()).unwrap();
        assert_eq!(JobRecord::read(folder.path()).unwrap(), FoundRecord::Sound(record()));
        let path = folder.path().join(JOB_NAME);
        let sound = std::fs::read(&path).unwrap();
        for index in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[index] ^= 0x20;
            std::fs::write(&path, bytes).unwrap();
            let found = JobRecord::read(folder.path()).unwrap();
            assert!(matches!(found, FoundRecord::Damaged(_)), "byte {index}: {found:?}");
        }
    }

    #[test]
    fn a_lost_record_never_repeats_an_attempt_nor_starts_empty_in_silence() {
        let new_id = || "new".to_string();
        let fresh = reconstruct(FoundRecord::Absent, None, new_id);
        assert_eq!((fresh.job_id.as_str(), fresh.attempts, fresh.has_checkpoint), ("new", 0, false));
        let lost = reconstruct(FoundRecord::Damaged("x".into()), None, new_id);
        assert!(lost.has_checkpoint && lost.attempts >= ATTEMPTS_FORGOTTEN_MAX);
        let known = reconstruct(FoundRecord::Absent, Some(("j".into(), 5)), new_id);
        assert_eq!(
            (known.job_id.as_str(), known.attempts, known.has_checkpoint),
            ("j", 5 + ATTEMPTS_FORGOTTEN_MAX, true)
        );
        assert_eq!(reconstruct(FoundRecord::Sound(record()), Some(("k".into(), 9)), new_id), record());
    }
}
