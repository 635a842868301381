//! The contract of a sink: rows are written out of sight, prepared at a barrier, and made visible by a commit.

use std::fmt::Debug;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::graph::ChangelogMode;
use crate::operator::Subtask;
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, Epoch, Result};

/// What a sink promises about each row; shown by EXPLAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Visible once, and only for a durable epoch.
    ExactlyOnce,
    /// Visible at once; rows since the last checkpoint appear again after a crash.
    AtLeastOnce,
    /// Nothing is kept, so nothing is promised.
    None,
}

/// Opaque bytes that tell the committer what to publish (one file, one transaction). Kept in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committable(pub serde_json::Value);

/// Who writes: names files and ids so that two runs of one job never meet.
#[derive(Debug, Clone)]
pub struct WriterContext {
    /// Made by [`owner_id`]; the same after a restart.
    pub job_id: String,
    /// Counts the starts of this job (1, 2, ...): names of attempts never repeat.
    pub attempt: u64,
    pub subtask: Subtask,
    pub now: ProcessingTime,
}

/// Whose output it is: unique per job, state directory and sink node, so that two sinks of one job that write to the
/// same place never take each other's files for their own. What `WriterContext`, `Sink::committer` and
/// `Committer::discard_unknown` are given as `job_id`.
pub fn owner_id(job_id: &str, node_uid: &str) -> String {
    format!("{job_id}/{node_uid}")
}

/// What a sink knows of the place that it writes to, without asking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkHealth {
    /// Since when the place cannot be reached; writing goes on by itself once it can.
    pub unreachable_since: Option<ProcessingTime>,
}

/// One per subtask.
pub trait SinkWriter: Send {
    fn write(&mut self, batch: &Batch, now: ProcessingTime) -> Result<()>;

    /// Everything written so far must survive a power cut before this returns, unless the sink's committer keeps the record of
    /// commits itself: then nothing counts before the commit, which sees to that. What is returned goes into the manifest of `epoch`
    /// and is committed once that is durable. `last`: no row will follow.
    fn prepare(&mut self, epoch: Epoch, last: bool) -> Result<Prepared>;

    /// No row at or before `watermark` will follow, unless it is late. Comes before the barrier behind it.
    fn on_watermark(&mut self, _watermark: EventTime) {}

    /// Called when [`SinkWriter::next_time`] has come, so that rows do not wait in a buffer for ever, and in front of each `prepare`.
    fn on_time(&mut self, _now: ProcessingTime) -> Result<()> {
        Ok(())
    }

    /// When `on_time` has something to do next, though no row comes; `None`: never. Asked after every call. Who does not say so is
    /// called about every 50 ms, and so costs something even while nothing happens.
    fn next_time(&self) -> Option<ProcessingTime> {
        Some(ProcessingTime::MIN)
    }
}

/// What a writer leaves behind at a barrier.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Prepared {
    /// To be published when the epoch is durable.
    pub committables: Vec<Committable>,
    /// What a restarted writer must know (files still open and their valid length); given back to `Sink::writer`.
    pub state: Option<serde_json::Value>,
}

/// Makes prepared output visible. One per sink and job, called from one thread.
pub trait Committer: Send {
    /// Publishes; doing it again for the same committables changes nothing.
    fn commit(&mut self, epoch: Epoch, committables: &[Committable]) -> Result<()>;

    /// Called once at every start, after the restored epoch was committed again and before any writer opens: takes away
    /// what earlier attempts left behind that the restored checkpoint does not know. `kept` are the writers' states.
    fn discard_unknown(&mut self, job_id: &str, restored: Epoch, kept: &[serde_json::Value]) -> Result<()>;

    /// The bounded input ended and its last epoch is committed.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// The target itself keeps the record of what was committed, in the same transaction as the output, because a restarted
    /// process can neither go on with that transaction nor repeat it. Such sinks commit before all others.
    fn keeps_record(&self) -> bool {
        false
    }

    /// For a sink that keeps such a record: the newest epoch of this job whose output is visible, [`Epoch::ZERO`] where that is
    /// none, and `None` where the target knows nothing of the job. Asked once at every start, before a checkpoint is chosen;
    /// whatever an earlier attempt left open is given up first, so that the answer stays true. The record exists from
    /// [`Committer::discard_unknown`] on.
    fn committed_epoch(&mut self) -> Result<Option<Epoch>> {
        Ok(None)
    }
}

pub trait Sink: Send + Sync + Debug {
    /// The widest changelog that this sink takes.
    fn accepts(&self) -> ChangelogMode;

    fn guarantee(&self) -> Guarantee;

    /// The sink is given the whole table at every barrier before which it changed, instead of the changes: by one
    /// instance, the rows as inserts, or one `-D` where no row is left.
    fn takes_whole_table(&self) -> bool {
        false
    }

    /// `restored`: the states that writers of this sink left in the restored checkpoint and that fall to this subtask.
    fn writer(&self, context: &WriterContext, restored: Vec<serde_json::Value>) -> Result<Box<dyn SinkWriter>>;

    /// Asked now and then, by whoever shows the job's status.
    fn health(&self) -> SinkHealth {
        SinkHealth::default()
    }

    /// Before the job starts: from the first row of an epoch to its commit it may take so long. Refuses what cannot work.
    fn accept_epochs(&self, _longest: Duration) -> Result<()> {
        Ok(())
    }

    /// As [`crate::source::Source::stop_waiting`].
    fn stop_waiting(&self) {}

    /// `None` for sinks whose output is visible at once.
    fn committer(&self, job_id: &str) -> Result<Option<Box<dyn Committer>>>;
}
