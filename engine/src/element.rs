//! What flows along an edge of the graph: rows, and the control that travels in band with them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Batch;
use crate::time::EventTime;

/// Number of a checkpoint within a job; starts at 1 and never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the empty checkpoint that a fresh start recovers from.
    pub const ZERO: Epoch = Epoch(0);

    pub fn next(self) -> Self {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why a barrier was sent, and so what a task does after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarrierKind {
    /// A periodic checkpoint: go on afterwards.
    Checkpoint,
    /// A checkpoint that the user named: go on afterwards.
    Savepoint,
    /// The last barrier of this run (end of input, or a requested stop): a task ends after its snapshot.
    Stop,
}

/// Separates what belongs to epoch N from what belongs to N+1 on every edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    pub epoch: Epoch,
    pub kind: BarrierKind,
}

/// One item on an edge.
// Nearly every item is a batch, and is moved once or twice: a box would be an allocation per batch for nothing.
#[expect(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub enum Element {
    Batch(Batch),
    /// No row at or before this time will follow, unless it is late.
    Watermark(EventTime),
    /// This input does not hold back time until its next watermark.
    Idle,
    Barrier(Barrier),
    /// No row will follow on this edge; barriers still do. The final watermark came before it.
    End,
}
