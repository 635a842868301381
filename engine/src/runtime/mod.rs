//! Runs a job graph: tasks on threads, bounded channels, aligned barriers, restarts.

pub mod options;
pub mod status;

pub use options::{JobOptions, RestartStrategy, Restore};
pub use status::{CheckpointStatus, JobState, JobStatus, JobSummary, NodeStatus, Outcome, WatermarkHolder};
