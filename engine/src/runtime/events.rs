//! What tasks tell the coordinator.

use crossbeam_channel::Sender;

use super::chain::ChainSnapshot;
use super::source::pool::NumberedSplit;
use crate::time::EventTime;
use crate::{EngineError, Epoch};

/// Number of a task instance within an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub usize);

pub enum Event {
    /// The task is past the barrier of this epoch, and this is what it was there.
    Snapshot { task: TaskId, epoch: Epoch, snapshot: TaskSnapshot },
    /// A source task has read all there will ever be.
    SourceEnded { task: TaskId },
    /// An instance of this node gives no further rows (see [`crate::operator::Operator::is_done`]).
    OperatorDone { node: usize },
    /// A source task waits for a checkpoint (see `JobOptions::checkpoint_every_batches`).
    CheckpointWanted { task: TaskId },
    /// The task's thread is about to end because of this.
    Failed { error: EngineError },
}

/// What one task leaves behind at a barrier.
pub struct TaskSnapshot {
    pub chain: ChainSnapshot,
    pub source: Option<SourceSnapshot>,
}

/// How far one subtask of a source node has read.
pub struct SourceSnapshot {
    pub uid: String,
    pub splits: Vec<NumberedSplit>,
    /// The largest that it has told.
    pub watermark: EventTime,
    /// It holds nobody back.
    pub idle: bool,
}

/// A task's end of the event channel. Once the coordinator has gone there is nobody to tell, which is no error.
#[derive(Clone)]
pub struct Reporter {
    task: TaskId,
    events: Sender<Event>,
}

/// Events that one task can have under way: a snapshot, an end, a wish and a failure. Beside these, each of its operators is
/// done once.
pub const EVENTS_PER_TASK_MAX: usize = 4;

impl Reporter {
    pub fn new(task: TaskId, events: Sender<Event>) -> Self {
        Self { task, events }
    }

    pub fn snapshot(&self, epoch: Epoch, snapshot: TaskSnapshot) {
        self.send(Event::Snapshot { task: self.task, epoch, snapshot });
    }

    pub fn source_ended(&self) {
        self.send(Event::SourceEnded { task: self.task });
    }

    pub fn operator_done(&self, node: usize) {
        self.send(Event::OperatorDone { node });
    }

    pub fn checkpoint_wanted(&self) {
        self.send(Event::CheckpointWanted { task: self.task });
    }

    pub fn failed(&self, error: EngineError) {
        self.send(Event::Failed { error });
    }

    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}
