//! The checkpoints and savepoints of a job, as they lie in its folder.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tidemill_engine::checkpoint::Manifest;
use tidemill_engine::checkpoint::manifest::MANIFEST_NAME;

use super::refusal::Refusal;

/// Below a job's folder.
pub const STATE_FOLDER: &str = "state";
pub const SAVEPOINTS_FOLDER: &str = "savepoints";
const CHECKPOINTS_FOLDER: &str = "checkpoints";

/// Of a job or a savepoint: it is a folder's name, a label of metrics and a part of a URL.
pub const NAME_CHARS_MAX: usize = 100;

#[derive(Debug, Clone, Serialize)]
pub struct SavepointInfo {
    pub name: String,
    pub path: PathBuf,
    #[serde(flatten)]
    pub content: Option<CheckpointInfo>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// What a manifest says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointInfo {
    pub epoch: u64,
    pub created_ms: i64,
    pub state_bytes: u64,
    pub records_read: u64,
    /// The input had ended: nothing is left to run.
    pub finished: bool,
    pub max_parallelism: u16,
}

/// A name that is safe in paths, URLs and labels.
pub fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if is_plain && starts_well && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    Err(Refusal::wrong_with(
        format!("'{name}' is no name of a {what}"),
        format!("up to {NAME_CHARS_MAX} of the letters a-z and A-Z, digits, '-', '_' and '.', a letter or digit first"),
    ))
}

pub fn read_manifest(folder: &Path) -> Result<Manifest, String> {
    let path = folder.join(MANIFEST_NAME);
    let bytes = std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Manifest::decode(&path, &bytes).map_err(|error| error.to_string())
}

/// All savepoints of a job, by name.
pub fn savepoints(job_folder: &Path) -> Vec<SavepointInfo> {
    let folders = folders_in(&job_folder.join(SAVEPOINTS_FOLDER));
    let infos =
        folders.into_iter().filter(|(name, _)| check_name("savepoint", name).is_ok() && !name.ends_with(".tmp"));
    infos.map(|(name, path)| savepoint(name, path)).collect()
}

pub fn savepoint(name: String, path: PathBuf) -> SavepointInfo {
    let (content, damage) = match read_manifest(&path) {
        Ok(manifest) => (Some(info(&manifest)), None),
        Err(reason) => (None, Some(reason)),
    };
    SavepointInfo { name, path, content, damage }
}

/// All sound checkpoints of a job, newest first. One that retention takes away meanwhile is left out.
pub fn checkpoints(job_folder: &Path) -> Vec<CheckpointInfo> {
    let folders = folders_in(&job_folder.join(STATE_FOLDER).join(CHECKPOINTS_FOLDER));
    let manifests = folders.iter().rev().filter_map(|(_, folder)| read_manifest(folder).ok());
    manifests.map(|manifest| info(&manifest)).collect()
}

/// What all checkpoints and savepoints of a job say that can be read; `None` while a savepoint is being taken.
pub fn all_manifests(job_folder: &Path) -> Option<Vec<Manifest>> {
    let savepoints = folders_in(&job_folder.join(SAVEPOINTS_FOLDER));
    if savepoints.iter().any(|(name, _)| name.ends_with(".tmp")) {
        return None;
    }
    let checkpoints = folders_in(&job_folder.join(STATE_FOLDER).join(CHECKPOINTS_FOLDER));
    Some(savepoints.iter().chain(&checkpoints).filter_map(|(_, folder)| read_manifest(folder).ok()).collect())
}

/// What the newest sound checkpoint says.
pub fn newest_manifest(job_folder: &Path) -> Option<Manifest> {
    let folders = folders_in(&job_folder.join(STATE_FOLDER).join(CHECKPOINTS_FOLDER));
    folders.iter().rev().find_map(|(_, folder)| read_manifest(folder).ok())
}

fn info(manifest: &Manifest) -> CheckpointInfo {
    CheckpointInfo {
        epoch: manifest.epoch.0,
        created_ms: manifest.created_at_ms,
        state_bytes: manifest.state_size_bytes(),
        records_read: manifest.records_read(),
        finished: manifest.finished,
        max_parallelism: manifest.max_parallelism,
    }
}

fn folders_in(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<(String, PathBuf)> = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_are_safe_in_paths() {
        for (name, fine) in [
            ("orders-2.daily_x", true),
            ("9", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("-a", false),
            ("a b", false),
            ("ä", false),
            (&"x".repeat(101), false),
        ] {
            assert_eq!(check_name("job", name).is_ok(), fine, "{name}");
        }
    }
}
