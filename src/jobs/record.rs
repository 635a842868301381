//! What the store keeps of a job and of what was done. These are on disk: a field is added with a default, or the
//! schema's version goes up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// What the user wants of a job. The server sees to it, across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    Running,
    Stopped,
}

/// How the last run came to its end by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "how")]
pub enum Ended {
    /// All input was read and all output is visible.
    Finished,
    /// `lasting`: trying again without a person's help would do harm or cannot help.
    Failed { lasting: bool },
}

/// A start that was asked for and may not have begun yet: see [`super::decide::restore`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRestore {
    /// `None`: from nothing.
    pub savepoint: Option<PathBuf>,
    /// Attempts that the state folder counted when the start was asked for.
    pub attempts_before: u64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    pub id: String,
    /// Unique among the jobs.
    pub name: String,
    /// As the user wrote it: secrets are references in it.
    pub sql: String,
    /// Set before the script's own SETs.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Beats what the script sets.
    pub parallelism: Option<usize>,
    pub desired: Desired,
    pub ended: Option<Ended>,
    pub restore: Option<PendingRestore>,
    pub created_ms: i64,
    pub changed_ms: i64,
    /// Goes up with every change of the SQL.
    pub version: u64,
    pub last_savepoint: Option<String>,
    pub last_error: Option<String>,
}

/// Who did what to which job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub at_ms: i64,
    /// Name of the token, or `local` where there is no authentication.
    pub who: String,
    /// Address that the request came from.
    pub from: String,
    /// Such as `POST /api/v1/jobs/{id}/stop`.
    pub what: String,
    /// The path as it was asked for.
    pub target: String,
    pub status: u16,
    /// More than one for refusals that came one after the other.
    #[serde(default = "once")]
    pub times: u64,
}

fn once() -> u64 {
    1
}

/// Epoch milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
