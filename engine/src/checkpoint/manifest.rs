//! The manifest of a checkpoint: what it holds, where, and how to know that nothing of it changed since.
//!
//! On disk it is a sealed file ([`super::sealed`]) with a JSON body.

use std::fmt;
use std::ops::AddAssign;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::sealed;
use crate::keys::KeyGroupRange;
use crate::metrics::Counts;
use crate::sink::Prepared;
use crate::source::{Position, Split};
use crate::time::EventTime;
use crate::{EngineError, Epoch, Result};

/// Version of the manifest and of all that it names. A reader refuses other versions.
pub const FORMAT: u32 = 5;

/// First word of every manifest.
const MAGIC: &str = "tidemill-checkpoint";

/// The xxh3-128 of a file's content; 32 hex digits in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub u128);

/// A small blob that an operator keeps beside its keyed entries; hex in text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note(pub Vec<u8>);

/// All of a job at one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    pub job_id: String,
    pub job_name: String,
    pub epoch: Epoch,
    /// The attempt that wrote it.
    pub attempt: u64,
    /// The bounded input ended: nothing is left to run.
    pub finished: bool,
    pub max_parallelism: u16,
    pub created_at_ms: i64,
    /// All nodes of the plan that wrote it.
    pub nodes: Vec<NodeFingerprint>,
    pub sources: Vec<SourceState>,
    /// One per node with state and subtask. The store fills it in from the snapshots.
    pub operators: Vec<InstanceEntry>,
    pub sinks: Vec<SinkEntry>,
    /// What every node had counted, so that the figures of a job are those of a run without crashes.
    #[serde(default)]
    pub counts: Vec<NodeCounts>,
}

/// Over all instances of a node and all attempts of the job, as of the barrier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeCounts {
    pub uid: String,
    pub counts: Counts,
}

/// What a plan must have in common with the one that wrote the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFingerprint {
    pub uid: String,
    pub name: String,
    /// [`crate::graph::Node::state_signature`].
    pub signature: Option<String>,
}

/// How far a source node has read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceState {
    pub uid: String,
    pub splits: Vec<SplitState>,
    /// The source's combined watermark at the barrier.
    pub watermark: EventTime,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitState {
    pub split: Split,
    /// `None`: not opened yet.
    pub position: Option<Position>,
    pub finished: bool,
    pub watermark: EventTime,
    /// What was read of it up to the position.
    #[serde(default)]
    pub counts: SplitCounts,
}

/// The records of one split, each counted once over all attempts (I1): read = given + rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCounts {
    /// Rows that went on to the source's readers.
    pub given: u64,
    /// Records that could not be decoded and were left out.
    pub rejected: u64,
}

/// Keyed state of one operator instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceEntry {
    pub uid: String,
    pub subtask: usize,
    pub parallelism: usize,
    pub key_groups: KeyGroupRange,
    /// The instance's note; several where it was restored from several and has not written its own yet.
    pub notes: Vec<Note>,
    /// The files of its RocksDB; empty where it never had an entry.
    pub files: Vec<FileEntry>,
}

/// A file of a RocksDB and where its content is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// As RocksDB names it.
    pub name: String,
    /// Relative path of the file with the content: `shared/...` from the state directory (or the savepoint), or
    /// [`PACK_NAME`] in the manifest's own folder.
    pub object: String,
    /// Where in `object` the content begins, in bytes.
    pub offset: u64,
    pub length: u64,
    pub hash: ContentHash,
}

/// The manifest's file in a checkpoint's folder.
pub const MANIFEST_NAME: &str = "MANIFEST";

/// Beside the manifest: the small files of all instances, one after the other.
pub const PACK_NAME: &str = "PACK";

/// Folder of the files that several checkpoints may share; their names are made of hash and length.
pub const SHARED_FOLDER: &str = "shared";

/// What a sink's writer left behind at the barrier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkEntry {
    pub uid: String,
    pub subtask: usize,
    pub prepared: Prepared,
}

impl SplitCounts {
    pub fn read(self) -> u64 {
        self.given + self.rejected
    }
}

impl AddAssign for SplitCounts {
    fn add_assign(&mut self, other: Self) {
        self.given += other.given;
        self.rejected += other.rejected;
    }
}

impl FileEntry {
    pub fn is_packed(&self) -> bool {
        self.object == PACK_NAME
    }

    /// The one name under which content of this hash and length is shared.
    pub fn shared_object(hash: ContentHash, length: u64) -> String {
        format!("{SHARED_FOLDER}/{hash}-{length}.sst")
    }

    fn check(&self) -> Result<(), String> {
        if !is_plain_name(&self.name) {
            return Err(format!("{:?} is no file name", self.name));
        }
        let expected = Self::shared_object(self.hash, self.length);
        if !self.is_packed() && (self.object != expected || self.offset != 0) {
            return Err(format!("{:?} does not name the content of {}", self.object, self.name));
        }
        self.offset.checked_add(self.length).map(|_| ()).ok_or(format!("{} has no possible length", self.name))
    }
}

impl Manifest {
    /// The bytes of the manifest file.
    pub fn encode(&self) -> Result<Vec<u8>> {
        assert_eq!(self.format, FORMAT, "only the current format is written");
        let body = serde_json::to_vec_pretty(self).map_err(|error| EngineError::Internal {
            place: "checkpoint manifest".into(),
            reason: error.to_string(),
        })?;
        let bytes = sealed::seal(MAGIC, FORMAT, &body);
        debug_assert_eq!(Self::parse(&bytes).as_ref(), Ok(self), "what is written can be read again");
        Ok(bytes)
    }

    /// The manifest that `encode` gave; any other bytes are a [`EngineError::DamagedCheckpoint`] of `path`.
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).map_err(|reason| damaged(path, reason))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let body = sealed::unseal(MAGIC, FORMAT, bytes)?;
        let manifest: Self = serde_json::from_slice(body).map_err(|error| format!("its text is not valid: {error}"))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// What a sound file can still get wrong: a file written by another program, or by hand.
    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("its body has format {}", self.format));
        }
        if self.max_parallelism == 0 || self.epoch == Epoch::ZERO {
            return Err("epoch and maximum parallelism cannot be 0".into());
        }
        for instance in &self.operators {
            let range = instance.key_groups;
            let sound = range.start <= range.end && range.end <= self.max_parallelism;
            if !sound || range.max_parallelism != self.max_parallelism {
                return Err(format!("key groups {}..{} of {} cannot be", range.start, range.end, instance.uid));
            }
            instance.files.iter().try_for_each(FileEntry::check)?;
        }
        self.check_key_groups()
    }

    /// The instances of each node own every key group exactly once: none is missing, none is there twice.
    fn check_key_groups(&self) -> Result<(), String> {
        let mut instances: Vec<&InstanceEntry> = self.operators.iter().collect();
        instances.sort_by_key(|one| (&one.uid, one.subtask));
        for node in instances.chunk_by(|a, b| a.uid == b.uid) {
            let mut owned = 0;
            for (subtask, one) in node.iter().enumerate() {
                if one.subtask != subtask || one.parallelism != node.len() || one.key_groups.start != owned {
                    return Err(format!("the instances of {} do not fit together", one.uid));
                }
                owned = one.key_groups.end;
            }
            if owned != self.max_parallelism {
                return Err(format!("{} has no instance for the key groups from {owned} on", node[0].uid));
            }
        }
        Ok(())
    }

    /// Every file entry of every instance.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.operators.iter().flat_map(|instance| &instance.files)
    }

    /// Records that all sources had read, rejected ones included.
    pub fn records_read(&self) -> u64 {
        let splits = self.sources.iter().flat_map(|source| &source.splits);
        splits.map(|split| split.counts.read()).sum()
    }

    /// Bytes of keyed state in this checkpoint, shared files included.
    pub fn state_size_bytes(&self) -> u64 {
        self.files().map(|file| file.length).sum()
    }
}

/// The error for a checkpoint file that cannot be used.
pub fn damaged(path: &Path, reason: impl Into<String>) -> EngineError {
    EngineError::DamagedCheckpoint {
        path: path.to_path_buf(),
        reason: reason.into(),
        hint: "restore an older checkpoint or a savepoint with --from, or put the file back from a copy".into(),
    }
}

/// A name that stays in its folder.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hash = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(ContentHash(hash))
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
        let text: String = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
        let digits = digits.filter(|digits| digits.len().is_multiple_of(2));
        let digits = digits.ok_or_else(|| serde::de::Error::custom("a note must be pairs of hex digits"))?;
        Ok(Note(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
pub(super) mod tests;
