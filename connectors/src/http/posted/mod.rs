//! Tables whose rows are posted to the server: a durable log for each, which takes rows from requests and gives them to the job.
//!
//! [`table`] knows what a table's rows are, [`log`] keeps them on disk, [`inbox`] takes requests at the same time, [`source`] is what the
//! job reads. Who posts is not known here: the server calls [`Inbox::append`].

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tidemill_engine::Result;

mod array;
mod entry;
mod inbox;
mod keys;
mod log;
mod source;
pub(super) mod table;
#[cfg(test)]
mod tests;

pub use entry::Mark;
pub use inbox::{CheckedRows, Inbox, InboxFigures, Limits, NotTaken, Receipt};
pub use keys::KEY_BYTES_MAX;
pub(super) use source::PostedSource;
pub use source::{LogPosition, metadata};
pub use table::{BadRows, PostedTable};

/// Where the logs of a job's tables are. The program's server has them; nothing else does.
pub trait Inboxes: Debug + Send + Sync {
    /// A plan reads this table.
    fn reads(&self, table: &PostedTable);

    /// The table's log, opened once for all who use it.
    fn open(&self, table: &PostedTable) -> Result<Arc<Inbox>>;

    /// The byte of the log in front of which no checkpoint or savepoint needs anything; `None`: that cannot be said now.
    fn floor(&self, inbox: &Inbox) -> Option<u64>;
}

/// Epoch milliseconds.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
