//! One SELECT as a job of this process whose rows go to whoever asked, within milliseconds and without a checkpoint.
//!
//! [`LiveQuery`] runs it; its rows come as batches with row kinds through a queue that is bounded, so that a slow reader
//! slows the query down. [`FoldedView`] makes a table of such changes. Nothing here knows of terminals or of HTTP.

mod fold;
mod live;
mod order;
mod progress;
mod results;

pub use fold::FoldedView;
pub use live::{Event, LiveQuery, QueryError, Reader};
pub use order::SortedBy;
pub use progress::{Progress, ProgressMeter};
