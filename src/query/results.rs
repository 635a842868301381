//! The sink of a bare query: batches into a bounded queue, visible at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::lookup::KeyedLookup;
use tidemill_engine::sink::{Committer, Guarantee, Prepared, Sink, SinkWriter, WriterContext};
use tidemill_engine::source::Source;
use tidemill_engine::time::ProcessingTime;
use tidemill_engine::{Batch, EngineError, Epoch, Result};
use tidemill_sql::catalog::{Connectors, OptionProblem, TableDefinition, Usage};

/// Batches that may wait for the reader: enough to bridge a redraw of the screen, few enough that what is shown is fresh.
const BATCHES_WAITING_MAX: usize = 4;
/// How often a writer that waits for the reader looks whether there still is one.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Both ends of a query's rows.
pub struct Results {
    pub schema: SchemaRef,
    pub changelog: ChangelogMode,
    pub rows: Receiver<Batch>,
    /// True once nobody wants the rows any more.
    pub unwanted: Arc<AtomicBool>,
}

/// The session's connectors, but for the sink of a bare query.
pub struct WithResults<'a> {
    inner: &'a dyn Connectors,
    results: Mutex<Option<Results>>,
}

impl<'a> WithResults<'a> {
    pub fn new(inner: &'a dyn Connectors) -> Self {
        Self { inner, results: Mutex::new(None) }
    }

    /// Where the rows come out, once the query is planned.
    pub fn into_results(self) -> Option<Results> {
        self.results.into_inner()
    }
}

impl Connectors for WithResults<'_> {
    fn check(&self, table: &TableDefinition, usage: Usage) -> std::result::Result<(), Vec<OptionProblem>> {
        self.inner.check(table, usage)
    }

    fn source(
        &self,
        table: &TableDefinition,
        columns: &[String],
        time_zone: &str,
    ) -> std::result::Result<Arc<dyn Source>, OptionProblem> {
        self.inner.source(table, columns, time_zone)
    }

    fn looks_up(&self, table: &TableDefinition) -> bool {
        self.inner.looks_up(table)
    }

    fn lookup(
        &self,
        table: &TableDefinition,
        columns: &[String],
        keys: &[(String, DataType)],
        time_zone: &str,
    ) -> std::result::Result<KeyedLookup, OptionProblem> {
        self.inner.lookup(table, columns, keys, time_zone)
    }

    fn sink(
        &self,
        table: &TableDefinition,
        schema: SchemaRef,
        time_zone: &str,
    ) -> std::result::Result<Arc<dyn Sink>, OptionProblem> {
        self.inner.sink(table, schema, time_zone)
    }

    fn sink_accepts(&self, table: &TableDefinition) -> ChangelogMode {
        self.inner.sink_accepts(table)
    }

    fn takes_updates_with(&self, table: &TableDefinition) -> Option<String> {
        self.inner.takes_updates_with(table)
    }

    fn source_changelog(&self, table: &TableDefinition) -> ChangelogMode {
        self.inner.source_changelog(table)
    }

    fn print_sink(&self, schema: SchemaRef, changelog: ChangelogMode) -> Arc<dyn Sink> {
        let (sender, rows) = bounded(BATCHES_WAITING_MAX);
        let unwanted = Arc::new(AtomicBool::new(false));
        let results = Results { schema, changelog, rows, unwanted: Arc::clone(&unwanted) };
        *self.results.lock() = Some(results);
        Arc::new(ResultSink { sender, unwanted })
    }

    fn metadata(&self, table: &TableDefinition) -> Vec<(String, DataType)> {
        self.inner.metadata(table)
    }
}

#[derive(Debug)]
struct ResultSink {
    sender: Sender<Batch>,
    unwanted: Arc<AtomicBool>,
}

impl Sink for ResultSink {
    fn accepts(&self) -> ChangelogMode {
        ChangelogMode::Retract
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    fn writer(&self, _: &WriterContext, _restored: Vec<serde_json::Value>) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(ResultWriter { sender: self.sender.clone(), unwanted: Arc::clone(&self.unwanted) }))
    }

    fn committer(&self, _job_id: &str) -> Result<Option<Box<dyn Committer>>> {
        Ok(None)
    }
}

struct ResultWriter {
    sender: Sender<Batch>,
    unwanted: Arc<AtomicBool>,
}

impl SinkWriter for ResultWriter {
    /// Waits while the queue is full: that is the back-pressure.
    fn write(&mut self, batch: &Batch, _now: ProcessingTime) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut batch = batch.clone();
        while !self.unwanted.load(Ordering::Relaxed) {
            match self.sender.send_timeout(batch, LOOK_INTERVAL) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Timeout(back)) => batch = back,
                Err(SendTimeoutError::Disconnected(_)) => break,
            }
        }
        Err(EngineError::OutputClosed { output: "the query's reader".into() })
    }

    fn prepare(&mut self, _epoch: Epoch, _last: bool) -> Result<Prepared> {
        Ok(Prepared::default())
    }
}
