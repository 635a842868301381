//! The contract of a source: splits that can be read from a position, each on its own.
//!
//! The engine owns everything else: which subtask reads which split, in which order, computed columns, watermarks,
//! idleness, checkpointed positions.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, Sender, bounded};
use datafusion_physical_expr::PhysicalExpr;
use serde::{Deserialize, Serialize};

use crate::graph::ChangelogMode;
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, Result};

/// A part of the input that is read in order: a file, a range of a file, a partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Unique in the source and the same at every discovery.
    pub id: String,
    /// What the source needs to open it.
    pub payload: serde_json::Value,
}

/// Where reading goes on; the source's own notation. Goes into checkpoints.
pub type Position = serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundedness {
    Bounded,
    Unbounded,
}

/// A record that could not be decoded and was left out, because the table's options say so.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Byte offset (or record number) within the split's file.
    pub offset: u64,
    pub record: Vec<u8>,
    pub reason: String,
}

/// What one call of [`SplitReader::next`] gives.
// A read is moved once and is nearly always rows: nothing would be won by boxing them.
#[expect(clippy::large_enum_variant)]
pub enum Read {
    Rows {
        /// With row kinds where the source's changelog is more than appends.
        rows: Batch,
        rejected: Vec<Rejected>,
    },
    /// The split itself says that time is here: no row at or before it will follow, unless it is late.
    Watermark(EventTime),
    /// Nothing now; ask again after this long at the earliest.
    Wait(Duration),
    /// The split is read to its end and will never give more.
    End,
}

/// What a source knows of the place that it reads from, without asking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceHealth {
    /// Records that are there and not read yet; `None`: not known.
    pub backlog: Option<u64>,
    /// Since when the place cannot be reached; reading goes on by itself once it can.
    pub unreachable_since: Option<ProcessingTime>,
}

/// Ends the pause of a source task: something may have come.
#[derive(Debug, Clone)]
pub struct Waker(Sender<()>);

impl Waker {
    /// One, and where the task hears of it. Calls that it has not heard are one.
    pub fn new() -> (Self, Receiver<()>) {
        let (sender, receiver) = bounded(1);
        (Self(sender), receiver)
    }

    /// Waits for nobody.
    pub fn wake(&self) {
        // Full: the task is about to look.
        let _ = self.0.try_send(());
    }

    pub fn is_same(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

pub trait SplitReader: Send {
    /// Up to `rows_max` further rows.
    fn next(&mut self, rows_max: usize) -> Result<Read>;

    /// Called before the first `next`. A reader that is told when something comes says so here, and may answer with long waits.
    fn wake_with(&mut self, _waker: &Waker) {}

    /// Just behind the last row that `next` gave: opening here gives the row after it.
    fn position(&self) -> Position;
}

pub trait Source: Send + Sync + Debug {
    /// Of the batches that readers give: the physical and metadata columns that the plan reads.
    fn schema(&self) -> SchemaRef;

    fn boundedness(&self) -> Boundedness;

    /// What the rows mean together.
    fn changelog(&self) -> ChangelogMode {
        ChangelogMode::Append
    }

    /// Splits are read one after the other, in the order of their discovery, by one instance: rows of a key may stand
    /// in any of them, and their order counts.
    fn in_order(&self) -> bool {
        false
    }

    /// All splits that exist now, in the order in which they are best read.
    fn discover(&self) -> Result<Vec<Split>>;

    /// As [`Source::discover`], after the first: what was not there then is new.
    fn discover_new(&self) -> Result<Vec<Split>> {
        self.discover()
    }

    /// What a split is a part of, such as a file that is read in ranges. The parts of one whole are those of its first
    /// discovery: where it has grown since, other parts of it are not read.
    fn whole(&self, split: &Split) -> String {
        split.id.clone()
    }

    /// How often to look for new splits; `None` where the first discovery is final.
    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    /// A checkpoint with these positions is complete: what is in front of them will not be read again. For outside tools that show how
    /// far reading has come. `last`: the job ends with it.
    fn completed(&self, _positions: &[(&Split, &Position)], _last: bool) {}

    /// Asked now and then, by whoever shows the job's status.
    fn health(&self) -> SourceHealth {
        SourceHealth::default()
    }

    /// Where reading begins depends on when `discover` is called. No row is read before the first discovery is part of a durable
    /// checkpoint: a crash would otherwise move the beginning past rows that came meanwhile.
    fn start_moves(&self) -> bool {
        false
    }

    /// The job is to end: whoever waits here until the outside world can be reached gives up, with [`crate::EngineError::Cancelled`].
    fn stop_waiting(&self) {}

    /// Opens a split at its start, or behind a position that its reader once gave.
    fn open(&self, split: &Split, position: Option<&Position>) -> Result<Box<dyn SplitReader>>;
}

/// How a source's rows tell time.
#[derive(Debug, Clone)]
pub struct WatermarkSpec {
    /// Over the source node's output schema; a timestamp. Its running maximum per split is the split's watermark.
    pub expression: Arc<dyn PhysicalExpr>,
    /// Index of the event-time column in the source node's output schema.
    pub time_column: usize,
    /// A split that gives no row for so long stops holding time back.
    pub idle_timeout: Option<Duration>,
    /// While all splits are idle, event time goes on as the wall clock does.
    pub idle_time_runs: bool,
}

/// A source node: the connector's rows, then computed columns, then the watermark.
pub struct SourceSpec {
    pub source: Arc<dyn Source>,
    /// The output columns, over `source.schema()`.
    pub columns: Vec<Arc<dyn PhysicalExpr>>,
    pub watermark: Option<WatermarkSpec>,
}

/// Columns of `<table>$errors`, the rows that a source node gives on its side port:
/// split STRING, offset BIGINT, reason STRING, record STRING (lossy UTF-8), seen_at TIMESTAMP_LTZ(3) in UTC.
pub fn rejected_schema() -> SchemaRef {
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    Arc::new(Schema::new(vec![
        Field::new("split", DataType::Utf8, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("record", DataType::Utf8, false),
        Field::new("seen_at", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
    ]))
}
