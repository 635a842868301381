//! The edges: sources, sinks and formats. Knows no SQL.
