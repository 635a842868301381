//! The shell: SQL statement by statement, at a prompt or from a pipe, with results as they come.
//!
//! [`shell`] carries out statements, [`command`] what begins with a backslash, [`input`] cuts text into both. Rows are shown
//! by [`results`] where they are only written, and by [`live`] on a terminal; [`format`] says how they look. [`editor`] is
//! the line editor. Queries themselves run in [`crate::query`], or on a server ([`remote`]); [`running`] is what both have in common.

mod command;
mod editor;
mod format;
mod help;
mod input;
mod interactive;
mod jobs;
pub(crate) mod keys;
mod live;
mod output;
mod remote;
mod results;
mod running;
mod shell;
pub(crate) mod signals;
mod start;
pub(crate) mod terminal;
mod waiting;

pub(crate) use format::cells;
pub use format::{Format, rows_of, text_rows};
pub use start::run;
