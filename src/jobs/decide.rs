//! What may be done with a job, and what is to be done with it when the server starts: decisions without I/O.

use std::fmt;

use serde::Serialize;
use tidemill_engine::EngineError;
use tidemill_engine::runtime::{JobState, Restore};

use super::record::{Desired, Ended, JobRecord, PendingRestore};

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Stopped,
    Starting,
    Running,
    /// Failed, and waiting to start again.
    Restarting,
    /// Takes its final checkpoint.
    Stopping,
    Finished,
    Failed,
}

impl Phase {
    pub const ALL: [Self; 7] =
        [Self::Stopped, Self::Starting, Self::Running, Self::Restarting, Self::Stopping, Self::Finished, Self::Failed];

    /// It has threads.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Restarting | Self::Stopping)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    /// From a savepoint or from nothing.
    StartFrom,
    Stop,
    Cancel,
    Restart,
    Rescale,
    Savepoint,
    Upgrade,
    Delete,
    /// Rows are given to it.
    Post,
}

impl Action {
    pub fn participle(self) -> &'static str {
        match self {
            Self::Start | Self::StartFrom => "started",
            Self::Stop => "stopped",
            Self::Cancel => "cancelled",
            Self::Restart => "restarted",
            Self::Rescale => "rescaled",
            Self::Savepoint => "saved",
            Self::Upgrade => "upgraded",
            Self::Delete => "deleted: stop or cancel it first",
            Self::Post => "given rows, which it would never read",
        }
    }
}

/// Whether the action has a meaning in this phase. Stopping what is stopped has: whoever asks again because an answer
/// was lost must get the same one.
pub fn is_allowed(phase: Phase, action: Action) -> bool {
    use Phase::{Failed, Finished, Running, Starting, Stopped, Stopping};
    match action {
        // A finished job has nothing left to read; only from elsewhere can it start again.
        Action::Start => matches!(phase, Stopped | Failed),
        Action::StartFrom => matches!(phase, Stopped | Finished | Failed),
        Action::Stop | Action::Cancel => phase != Finished,
        Action::Restart | Action::Rescale => phase != Stopping && phase != Finished,
        Action::Savepoint => phase == Running,
        // A stopped job reads them when it goes on.
        Action::Post => phase != Finished,
        Action::Upgrade => matches!(phase, Running | Stopped | Failed | Finished),
        Action::Delete => !matches!(phase, Starting | Running | Stopping | Phase::Restarting),
    }
}

/// What a stored job is doing, where it has no threads.
pub fn phase_at_rest(job: &JobRecord) -> Phase {
    match (&job.ended, job.desired) {
        (Some(Ended::Finished), _) => Phase::Finished,
        (Some(Ended::Failed { .. }), Desired::Running) => Phase::Failed,
        _ => Phase::Stopped,
    }
}

/// What a job with threads is doing. One that ended is on its way to be recorded so.
pub fn phase_live(state: JobState, is_stopping: bool) -> Phase {
    match state {
        _ if is_stopping => Phase::Stopping,
        JobState::Starting => Phase::Starting,
        JobState::Running => Phase::Running,
        JobState::Restarting => Phase::Restarting,
        JobState::Finished | JobState::Failed => Phase::Stopping,
    }
}

/// What to do with a stored job when the server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// Go on from its last checkpoint (or with the start that was under way).
    Resume,
    Leave,
}

/// A job that failed is tried again: whoever restarts a server may have removed the cause. Not so where that could do
/// harm, as taking back the output from another copy of the job.
pub fn at_start(job: &JobRecord) -> AtStart {
    match (job.desired, &job.ended) {
        (Desired::Stopped, _) | (_, Some(Ended::Finished | Ended::Failed { lasting: true })) => AtStart::Leave,
        (Desired::Running, None | Some(Ended::Failed { lasting: false })) => AtStart::Resume,
    }
}

/// True where starting again by itself is never right.
pub fn is_lasting(error: &EngineError) -> bool {
    match error {
        EngineError::Superseded { .. }
        | EngineError::DamagedCheckpoint { .. }
        | EngineError::StateMismatch { .. }
        | EngineError::BadRecord { .. }
        | EngineError::BadRow { .. }
        | EngineError::MemoryBudget { .. } => true,
        EngineError::GaveUp { cause, .. } => is_lasting(cause),
        _ => false,
    }
}

/// Where a run's state comes from. A start from a savepoint that has begun is part of the job's history: were it begun
/// once more, what was published since would be published again.
pub fn restore(pending: Option<&PendingRestore>, attempts_now: u64) -> Restore {
    match pending {
        Some(pending) if attempts_now <= pending.attempts_before => match &pending.savepoint {
            Some(path) => Restore::From(path.clone()),
            None => Restore::Fresh,
        },
        _ => Restore::Latest,
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
