//! Source tasks: which subtask reads which split, in which order, and what time it is there.
//!
//! [`pool`] deals splits out, [`split`] is one split while it is read, [`rows`] turns a connector's rows into the
//! node's output with event time, [`reading`] decides what to read next and how far time has come, and [`task`]
//! runs it all against barriers.

pub mod pool;
pub mod reading;
pub mod rows;
pub mod split;
pub mod task;
