//! A query as the shell reads it, whether it runs in this process or on a server.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use tidemill_engine::Batch;

use super::shell::Failure;
use crate::query::{Event, LiveQuery, Progress, ProgressMeter, SortedBy};
use crate::status;

/// What comes of waiting for rows.
pub enum Heard {
    Rows(Box<Batch>),
    /// Nothing in the time given.
    Quiet,
    /// No row will come any more; what was lost on the way, a line each.
    Ended(Result<Vec<String>, Failure>),
}

/// Dropping it ends the query.
pub trait Running {
    fn next(&mut self, patience: Duration) -> Heard;
    /// Ends the query; returns soon.
    fn cancel(&mut self);
    fn progress(&mut self) -> Progress;
    fn schema(&self) -> &SchemaRef;
    /// Rows are only added, never taken back.
    fn appends(&self) -> bool;
    fn is_bounded(&self) -> bool;
    /// Its order is that of the table that its rows are folded into, and of nothing else.
    fn is_sorted_by_reader(&self) -> bool;
    fn order(&self) -> &[SortedBy];
}

/// In this process.
pub struct LocalQuery {
    query: LiveQuery,
    meter: ProgressMeter,
}

impl LocalQuery {
    pub fn new(query: LiveQuery) -> Self {
        let meter = ProgressMeter::new(query.is_bounded());
        Self { query, meter }
    }
}

impl Running for LocalQuery {
    fn next(&mut self, patience: Duration) -> Heard {
        match self.query.next(patience) {
            Event::Rows(batch) => Heard::Rows(Box::new(batch)),
            Event::Quiet => Heard::Quiet,
            Event::Ended(outcome) => {
                Heard::Ended(outcome.map(|summary| status::losses(&summary.nodes)).map_err(Failure::from))
            }
        }
    }

    fn cancel(&mut self) {
        self.query.cancel();
    }

    fn progress(&mut self) -> Progress {
        self.meter.of(&self.query.status())
    }

    fn schema(&self) -> &SchemaRef {
        self.query.schema()
    }

    fn appends(&self) -> bool {
        self.query.appends()
    }

    fn is_bounded(&self) -> bool {
        self.query.is_bounded()
    }

    fn is_sorted_by_reader(&self) -> bool {
        self.query.is_sorted_by_reader()
    }

    fn order(&self) -> &[SortedBy] {
        self.query.order()
    }
}
