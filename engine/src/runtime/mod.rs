//! Runs a job graph: tasks on threads, bounded channels, aligned barriers, restarts.
//!
//! [`layout`] decides which operators share a thread, [`launch`] builds and starts the tasks. Within a task a
//! [`chain`] of operators is fed by a [`gate`] (from other tasks, over an [`edge`]) or by a [`source`]; where its head asks the outside world, it is a [`stage`]. The
//! [`coordinator`] runs the checkpoints of one attempt, [`job`] goes from attempt to attempt, and [`handle`] is what
//! the rest of the program holds.
//!
//! Deliberately absent: any queue without a bound (a full channel makes the sender wait, and that is all the flow
//! control there is) and any way of stopping a thread but by its own leave (channels that disconnect, and one flag).

mod chain;
mod coordinator;
mod done;
mod draft;
mod edge;
mod events;
mod gate;
mod handle;
mod job;
mod launch;
mod layout;
mod monitor;
pub mod options;
mod partition;
mod probe;
mod publish;
mod restart;
mod source;
mod stage;
pub mod status;
mod task;
pub mod testing;
mod wiring;

pub use handle::{JobHandle, start};
pub use options::{JobOptions, RestartStrategy, Restore};
pub use status::{
    CheckpointStatus, EventTimeStatus, IdleSplit, JobState, JobStatus, JobSummary, NodeRates, NodeRole, NodeStatus,
    Outcome, WatermarkHolder,
};

/// What an edge between tasks is made of, for benchmarks of it alone.
#[doc(hidden)]
pub mod exchange {
    pub use super::edge::{Outlet, Routing};
    pub use super::gate::{Gate, GateEvent};
    pub use super::partition::HashPartitioner;
}

#[cfg(test)]
mod tests;
