//! Runs a streaming plan: operators, time, state, checkpoints, commit and the runtime that drives them.
//!
//! This crate knows no SQL text, no connector and no command line. A [`graph::JobGraph`] comes in, rows come out
//! through [`sink::Sink`]s, and everything that must survive a crash goes through [`checkpoint`].

pub mod aggregate;
pub mod batch;
pub mod checkpoint;
pub mod element;
pub mod error;
pub mod failpoint;
pub mod graph;
pub mod keys;
pub mod latency;
pub mod lookup;
pub mod metrics;
pub mod operator;
pub mod operators;
pub mod runtime;
pub mod sink;
pub mod source;
pub mod state;
pub mod suggestion;
pub mod task_time;
pub mod time;
pub mod type_name;

pub use batch::{Batch, RowKind};
pub use element::{Barrier, BarrierKind, Element, Epoch};
pub use error::{EngineError, Result};
