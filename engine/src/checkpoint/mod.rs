//! Checkpoints: everything that a job needs to go on, made durable so that a crash at any moment leaves either the
//! old checkpoint or the new one (I3, I5, I6).
//!
//! The way of a checkpoint: every task snapshots its instances ([`crate::state::StateInstance::snapshot`], into
//! [`CheckpointStore::staging`]), the coordinator puts positions, snapshots and prepared sinks together into a
//! [`Manifest`] and calls [`CheckpointStore::write`]; when that returns, the epoch is durable and may be committed.
//! [`CheckpointStore::retain`] then takes away what no kept checkpoint needs.
//!
//! The way back: [`CheckpointStore::open`] locks the state directory (I7), [`CheckpointStore::recover`] finds the
//! checkpoint to go on from, [`check_fit`] says why it may not fit the plan, [`CheckpointStore::begin`] starts the
//! attempt, and [`Checkpoint::restored`] gives each instance what it was. A fresh start is recovery from the empty
//! checkpoint; a restart within the process is `recover` and `begin` again.
//!
//! ```text
//! STATE_DIR/LOCK                       held while a process runs the job; holds its process id
//!           JOB                        the job's id, its count of attempts, where its history begins
//!           checkpoints/00000012/MANIFEST, PACK (small files of all instances)
//!           shared/<hash>-<length>.sst content-addressed, shared between checkpoints
//!           work/<attempt>/...         live RocksDBs and staging: worthless after a crash
//! ```

pub mod files;
mod index;
mod job;
mod lock;
pub mod manifest;
mod place;
pub mod recovery;
pub mod retention;
mod savepoint;
mod sealed;
mod store;
mod verify;

pub use manifest::{
    ContentHash, FileEntry, InstanceEntry, Manifest, NodeCounts, NodeFingerprint, Note, SinkEntry, SourceState,
    SplitCounts, SplitState,
};
pub use recovery::{PlanNode, Recorded, RestoreRequest, check_fit};
pub use savepoint::Checkpoint;
pub use store::{CheckpointStore, Latest, Recovery, Skipped, Start, Written};
