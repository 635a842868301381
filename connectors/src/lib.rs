//! The edges: sources, sinks and formats. Knows no SQL.
//!
//! A table's options come in as a [`table::TableSpec`]; [`registry::Registry`] checks them and makes the
//! [`tidemill_engine::source::Source`] or [`tidemill_engine::sink::Sink`] that the engine runs.

pub mod blackhole;
pub mod compression;
pub mod datagen;
pub mod filesystem;
pub mod format;
pub mod framing;
pub mod http;
pub mod jdbc;
mod kafka;
pub mod lookup;
pub mod nexmark;
pub mod options;
mod pace;
pub mod print;
mod random;
pub mod registry;
pub mod table;

pub use options::OptionProblem;
pub use registry::{Registry, Usage};
pub use table::{MetadataColumn, TableSpec};
