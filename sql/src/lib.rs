//! Streaming SQL text in, operator graph out. Pure: no I/O, no clock; any text gives a plan or diagnostics.

pub mod catalog;
mod define;
pub mod diagnostic;
mod expansion;
pub mod explain;
pub mod functions;
pub mod parser;
pub mod plan;
pub mod secret;
pub mod session;
pub mod settings;
pub mod show;
mod stack;
pub mod types;
pub mod window_call;

pub use diagnostic::Diagnostic;
