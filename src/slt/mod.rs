//! SQL tests as files: rows with event times, watermark moves, restarts, and the answers that must come out.
//!
//! [`file`] reads a file into cases, [`world`] says under which conditions a case must give the same answer,
//! [`source`] plays the rows, [`run`] brings them together. docs/sql-tests.md describes the format for users.

pub mod answers;
pub mod compare;
pub mod file;
pub mod lookup;
pub mod run;
pub mod source;
pub mod world;
