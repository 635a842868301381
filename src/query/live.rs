//! A query that runs: started, read from, cancelled.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, RecvTimeoutError, select};
use parking_lot::Mutex;
use tidemill_engine::graph::{ChangelogMode, JobGraph, NodeKind};
use tidemill_engine::runtime::{JobHandle, JobStatus, JobSummary, RestartStrategy, start};
use tidemill_engine::source::Boundedness;
use tidemill_engine::{Batch, EngineError};
use tidemill_sql::Diagnostic;
use tidemill_sql::parser::ast::{OrderByKind, Query};
use tidemill_sql::plan::{Output, PlanContext, PlannedJob, plan_job};

use super::order::{SortedBy, display_order};
use super::results::Results;
use crate::connect::PrintingTo;
use crate::options;

/// Why a query did not start.
#[derive(Debug)]
pub enum QueryError {
    /// The text is wrong.
    Wrong(Diagnostic),
    Failed(EngineError),
}

/// What is made of a query's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// They are taken as they come.
    Rows,
    /// They are folded into a table, which can sort them itself: an ORDER BY may then stand over an input without end.
    Table,
}

/// What a reader learns of a query.
#[derive(Debug)]
pub enum Event {
    Rows(Batch),
    /// Nothing came in the time given.
    Quiet,
    /// No row will come any more.
    Ended(Result<JobSummary, EngineError>),
}

/// A SELECT that runs as a job of its own. Dropping it ends the job and deletes what it kept on disk.
pub struct LiveQuery {
    /// Ends, and with it all use of the folder, before the folder goes.
    handle: JobHandle,
    rows: Receiver<Batch>,
    unwanted: Arc<AtomicBool>,
    schema: SchemaRef,
    changelog: ChangelogMode,
    reader_sorts: bool,
    bounded: bool,
    limited: bool,
    order: Vec<SortedBy>,
    warnings: Vec<String>,
    /// Deleted with the query.
    _folder: tempfile::TempDir,
}

impl LiveQuery {
    /// Plans and starts. No checkpoint is taken while it runs, and a failure ends it: its rows have been seen already, and
    /// going back would show them again.
    pub fn start(context: &PlanContext<'_>, query: &Query, reader: Reader) -> Result<Self, QueryError> {
        Self::start_in(&std::env::temp_dir(), context, query, reader)
    }

    /// As [`Self::start`], with what it keeps on disk in a new folder of `parent`.
    pub fn start_in(
        parent: &Path,
        context: &PlanContext<'_>,
        query: &Query,
        reader: Reader,
    ) -> Result<Self, QueryError> {
        let planned = plan(context, query);
        let sorted_by_reader = match (&planned, reader) {
            (Err(QueryError::Wrong(_)), Reader::Table) => plan_without_order(context, query),
            _ => None,
        };
        let reader_sorts = sorted_by_reader.is_some();
        let (planned, results) = sorted_by_reader.map_or(planned, Ok)?;
        let folder = tempfile::Builder::new().prefix("tidemill-query-").tempdir_in(parent);
        let folder = folder.map_err(|e| QueryError::Failed(EngineError::io("create a folder in", parent, e)))?;
        let mut options = options::job_options("query", context.settings, folder.path().to_path_buf());
        options.checkpoint_interval = None;
        options.restart = RestartStrategy::never();
        let (bounded, limited) = (is_bounded(&planned.graph), has_limit(&planned.graph));
        let handle = start(Arc::new(planned.graph), options).map_err(QueryError::Failed)?;
        Ok(Self {
            handle,
            rows: results.rows,
            unwanted: results.unwanted,
            order: display_order(query, &results.schema),
            schema: results.schema,
            changelog: results.changelog,
            reader_sorts,
            bounded,
            limited,
            warnings: planned.warnings,
            _folder: folder,
        })
    }

    /// The next rows, or the end. Several threads may ask; each batch goes to one of them.
    pub fn next(&self, patience: Duration) -> Event {
        match self.rows.recv_timeout(patience) {
            Ok(batch) => Event::Rows(batch),
            Err(RecvTimeoutError::Timeout) => Event::Quiet,
            // The job gave up its sink, and so is over but for telling how it ended.
            Err(RecvTimeoutError::Disconnected) => Event::Ended(self.handle.wait()),
        }
    }

    /// As [`Self::next`], but quiet at once when something comes from `wake`.
    pub fn next_or_woken(&self, patience: Duration, wake: &Receiver<()>) -> Event {
        select! {
            recv(self.rows) -> batch => batch.map_or_else(|_| Event::Ended(self.handle.wait()), Event::Rows),
            recv(wake) -> _ => Event::Quiet,
            default(patience) => Event::Quiet,
        }
    }

    /// Ends the job, however full the queue is; returns at once. Rows that wait can still be read.
    pub fn cancel(&self) {
        self.unwanted.store(true, Ordering::Relaxed);
        self.handle.cancel();
    }

    pub fn status(&self) -> JobStatus {
        self.handle.status()
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows are only added, never taken back.
    pub fn appends(&self) -> bool {
        self.changelog == ChangelogMode::Append
    }

    /// Its order is that of the table that its rows are folded into, and of nothing else.
    pub fn is_sorted_by_reader(&self) -> bool {
        self.reader_sorts
    }

    /// Every source comes to an end.
    pub fn is_bounded(&self) -> bool {
        self.bounded
    }

    /// Its input has no end and nothing in it counts rows, so it never ends by itself.
    pub fn is_endless(&self) -> bool {
        !self.bounded && !self.limited
    }

    /// The query's ORDER BY, as far as it can be followed in a table of its rows.
    pub fn order(&self) -> &[SortedBy] {
        &self.order
    }

    /// What the user should know, a sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Drop for LiveQuery {
    fn drop(&mut self) {
        self.cancel();
    }
}

fn plan(context: &PlanContext<'_>, query: &Query) -> Result<(PlannedJob, Results), QueryError> {
    let results = Mutex::new(None);
    let connectors = PrintingTo::new(context.connectors, |schema, changelog| {
        let (read, sink) = Results::of(schema, changelog);
        *results.lock() = Some(read);
        sink
    });
    let planned = plan_job(&PlanContext { connectors: &connectors, ..*context }, &[Output::Print(query)]);
    let planned = planned.map_err(QueryError::Wrong)?;
    let results = results.lock().take().ok_or_else(|| QueryError::Failed(without_sink()))?;
    Ok((planned, results))
}

/// The query without its ORDER BY, where its rows tell all of that order; with a LIMIT the order decides which rows there are.
fn plan_without_order(context: &PlanContext<'_>, query: &Query) -> Option<(PlannedJob, Results)> {
    let OrderByKind::Expressions(parts) = &query.order_by.as_ref()?.kind else { return None };
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return None;
    }
    let unordered = Query { order_by: None, ..query.clone() };
    let (planned, results) = plan(context, &unordered).ok()?;
    (display_order(query, &results.schema).len() == parts.len()).then_some((planned, results))
}

fn without_sink() -> EngineError {
    EngineError::Internal { place: "planner".into(), reason: "a query was planned without its sink".into() }
}

/// Reading all sources comes to an end.
pub fn is_bounded(graph: &JobGraph) -> bool {
    let unbounded = |kind: &NodeKind| match kind {
        NodeKind::Source(spec) => spec.source.boundedness() == Boundedness::Unbounded,
        NodeKind::Operator(_) | NodeKind::Sink(_) => false,
    };
    !graph.nodes().iter().any(|node| unbounded(&node.kind))
}

/// Rows are counted somewhere, so that an input without end may end all the same.
fn has_limit(graph: &JobGraph) -> bool {
    graph.nodes().iter().any(|node| node.name.contains("Limit"))
}

#[cfg(test)]
mod tests;
