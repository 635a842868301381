//! What can be seen of a job from outside: a snapshot while it runs, a summary when it ended.

use std::time::Duration;

use crate::Epoch;
use crate::latency::LatencySummary;
use crate::metrics::LookupCounts;
use crate::task_time::TaskTime;
use crate::time::{EventTime, ProcessingTime};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Restoring state and opening operators.
    Starting,
    Running,
    /// Failed, and waiting to start again.
    Restarting,
    /// Ended without an error: input at its end, stopped, or cancelled.
    Finished,
    Failed,
}

/// A job at one moment.
#[derive(Debug, Clone)]
pub struct JobStatus {
    pub state: JobState,
    pub job_name: String,
    pub job_id: String,
    pub parallelism: usize,
    /// Since the first start of this run, restarts included.
    pub uptime: Duration,
    /// The last completed checkpoint.
    pub epoch: Epoch,
    pub checkpoint: CheckpointStatus,
    /// In the order of the graph.
    pub nodes: Vec<NodeStatus>,
    /// Restarts since the last reset of the restart counter.
    pub attempts: u32,
    /// Restarts in this run.
    pub restarts: u64,
    pub last_error: Option<String>,
    /// Since when attempts have failed because the outside world cannot be reached; the job waits for it.
    pub unreachable_since: Option<ProcessingTime>,
    /// What the user should know: a checkpoint that was damaged and skipped, state that was dropped.
    pub notes: Vec<String>,
    pub event_time: EventTimeStatus,
}

/// What holds event time back, and who does not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventTimeStatus {
    /// The source split that holds event time back furthest.
    pub holder: Option<WatermarkHolder>,
    /// Splits that have given no row for so long that time does not wait for them.
    pub idle: Vec<IdleSplit>,
}

/// A split that time goes on without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdleSplit {
    /// Name of the source node.
    pub source: String,
    pub split: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckpointStatus {
    /// Completed in this run.
    pub completed: u64,
    /// Time since the last one was completed.
    pub last_age: Option<Duration>,
    /// From the barrier to the end of the commit.
    pub last_duration: Option<Duration>,
    /// Of that, how long it took to make the output visible.
    pub last_commit: Option<Duration>,
    /// Size of the state that the last one names.
    pub last_bytes: Option<u64>,
    /// Time since the barrier of the one that is under way.
    pub running_for: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRole {
    Source,
    Operator,
    Sink,
}

/// Counters of one node, over all of its instances and over all attempts: exact at every checkpoint, since a
/// restart begins with what the checkpoint had counted.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    pub name: String,
    pub uid: String,
    pub role: NodeRole,
    pub rows_in: u64,
    pub rows_out: u64,
    pub bytes_in: u64,
    pub late: u64,
    pub errors: u64,
    pub filtered: u64,
    pub spilled: u64,
    /// What the node asked of the outside world; all zero for nodes that ask nothing.
    pub lookups: LookupCounts,
    /// Keys that are being asked for now.
    pub lookups_in_flight: Option<i64>,
    pub cache_bytes: Option<i64>,
    /// The smallest over the instances; `None` before every instance has one.
    pub watermark: Option<EventTime>,
    /// Largest event time seen.
    pub event_time_max: Option<EventTime>,
    /// Of a source: records that are there and not read yet, where it knows.
    pub backlog: Option<u64>,
    /// Of a source or a sink: since when the place that it reads from or writes to cannot be reached.
    pub unreachable_since: Option<ProcessingTime>,
    /// Of a sink's rows in this attempt.
    pub latency: Option<LatencySummary>,
    /// Name of the node at the head of its task: nodes that are chained share a thread, and so the times below.
    pub stage: String,
    pub instances: usize,
    /// Of its task, over all instances and since the attempt began.
    pub time: TaskTime,
    pub rates: NodeRates,
}

/// How a node does lately: over the last seconds, or since it was last looked at where that is longer ago.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct NodeRates {
    pub rows_in_per_second: f64,
    pub rows_out_per_second: f64,
    /// Shares of the task's time, on average over its instances; together they are 1 once there is time to share.
    pub busy: f64,
    pub idle: f64,
    pub back_pressured: f64,
}

/// A split that no later watermark can pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkHolder {
    /// Name of the source node.
    pub source: String,
    pub split: String,
    pub watermark: EventTime,
    /// How long it has held time at this watermark.
    pub since: Duration,
}

/// How a job ended, where it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All inputs were read to their end and all output is visible.
    Finished,
    /// All output is visible, and nothing that was still to be read could add to it.
    Satisfied,
    /// An earlier run had finished already: nothing was run.
    AlreadyComplete,
    /// Stopped on request, with a final checkpoint.
    Stopped,
    /// Cancelled on request; what came after the last checkpoint will be read again.
    Cancelled,
}

#[derive(Debug, Clone)]
pub struct JobSummary {
    pub outcome: Outcome,
    pub job_id: String,
    /// The last completed checkpoint.
    pub epoch: Epoch,
    pub uptime: Duration,
    pub checkpoints: u64,
    pub restarts: u64,
    pub nodes: Vec<NodeStatus>,
    pub notes: Vec<String>,
    /// When the sources were last asked; nothing where they had ended.
    pub event_time: EventTimeStatus,
}

impl JobSummary {
    /// Rows that all sources read.
    pub fn rows_read(&self) -> u64 {
        self.total(NodeRole::Source, |node| node.rows_in)
    }

    /// Rows that all sinks took.
    pub fn rows_written(&self) -> u64 {
        self.total(NodeRole::Sink, |node| node.rows_in)
    }

    pub fn late(&self) -> u64 {
        self.nodes.iter().map(|node| node.late).sum()
    }

    pub fn errors(&self) -> u64 {
        self.nodes.iter().map(|node| node.errors).sum()
    }

    fn total(&self, role: NodeRole, count: impl Fn(&NodeStatus) -> u64) -> u64 {
        self.nodes.iter().filter(|node| node.role == role).map(count).sum()
    }
}
