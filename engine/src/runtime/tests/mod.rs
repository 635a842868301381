//! Whole jobs in one process: a source of several splits, a toy window operator with keyed state, a sink in memory.
//! Whatever the parallelism, the batch size and the crashes, the visible rows must be those of the fault-free run.

mod asking;
mod failures;
mod idle;
mod joins;
pub mod kit;
mod limits;
mod pipelines;
mod time;
