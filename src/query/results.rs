//! The sink of a bare query: batches into a bounded queue, visible at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::sink::{Committer, Guarantee, Prepared, Sink, SinkWriter, WriterContext};
use tidemill_engine::time::ProcessingTime;
use tidemill_engine::{Batch, EngineError, Epoch, Result};

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

impl Results {
    /// The rows of a query, and the sink that gives them.
    pub fn of(schema: SchemaRef, changelog: ChangelogMode) -> (Self, Arc<dyn Sink>) {
        let (sender, rows) = bounded(BATCHES_WAITING_MAX);
        let unwanted = Arc::new(AtomicBool::new(false));
        let sink = ResultSink { sender, unwanted: Arc::clone(&unwanted) };
        (Self { schema, changelog, rows, unwanted }, Arc::new(sink))
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

    fn next_time(&self) -> Option<ProcessingTime> {
        None
    }
}
