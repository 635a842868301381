//! The edges: sources, sinks and formats. Knows no SQL.

pub mod compression;
pub mod format;
pub mod framing;
