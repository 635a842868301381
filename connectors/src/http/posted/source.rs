//! The job's side of the log: one split, read in the order in which rows came, exactly once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_engine::source::{Boundedness, Position, Read, Source, SourceHealth, Split, SplitReader, Waker};
use tidemill_engine::{Batch, EngineError, Result};

use super::entry::Mark;
use super::inbox::Inbox;
use super::log::SegmentReader;
use super::table::PostedTable;
use super::{Inboxes, now_ms};
use crate::format::{Block, RowDecoder};
use crate::options::OptionProblem;
use crate::registry::MetadataDef;
use crate::table::TableSpec;

/// Text that is read at a time, but for the request that passes it.
const READ_BYTES_MAX: usize = 4 << 20;
/// How soon to look again when nothing has come: whoever posts wakes the reader, so this is for nothing but safety.
const PAUSE: Duration = Duration::from_secs(60);
const SPLIT: &str = "rows";
const SEQUENCE: &str = "sequence";
const RECEIVED: &str = "received-at";

/// A place in a log, as checkpoints keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The log's own name: a job that goes on from another job's savepoint has a log of its own, and reads all of it.
    pub log: String,
    pub row: u64,
    pub byte: u64,
}

/// The metadata columns.
pub fn metadata() -> Vec<MetadataDef> {
    let received = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    vec![
        MetadataDef { key: SEQUENCE, data_type: DataType::Int64, writable: false, doc: "the row's number, from 0 on" },
        MetadataDef { key: RECEIVED, data_type: received, writable: false, doc: "when the row was posted" },
    ]
}

/// A column that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Of what the decoder gives.
    Decoded(usize),
    Sequence,
    Received,
}

#[derive(Debug)]
pub struct PostedSource {
    table: PostedTable,
    inboxes: Arc<dyn Inboxes>,
    inbox: OnceLock<Arc<Inbox>>,
    schema: SchemaRef,
    projection: Vec<usize>,
    origins: Vec<Origin>,
}

impl PostedSource {
    pub fn new(spec: &TableSpec, columns: &[String], inboxes: Arc<dyn Inboxes>) -> Result<Self, OptionProblem> {
        let table = PostedTable::of(spec)?;
        inboxes.reads(&table);
        let (mut projection, mut origins) = (Vec::new(), Vec::new());
        for name in columns {
            let metadata = spec.metadata.iter().find(|column| column.name == *name);
            origins.push(match (table.columns.index_of(name), metadata.map(|column| column.key.as_str())) {
                (Ok(index), _) => {
                    projection.push(index);
                    Origin::Decoded(projection.len() - 1)
                }
                (_, Some(SEQUENCE)) => Origin::Sequence,
                _ => Origin::Received,
            });
        }
        Ok(Self { schema: spec.project(columns)?, table, inboxes, inbox: OnceLock::new(), projection, origins })
    }

    fn opened(&self) -> Result<&Arc<Inbox>> {
        if self.inbox.get().is_none() {
            let inbox = self.inboxes.open(&self.table)?;
            let _ = self.inbox.set(inbox);
        }
        Ok(self.inbox.get().expect("it was set"))
    }

    fn begin(&self, inbox: &Inbox, position: Option<&Position>) -> Result<Mark> {
        let position = position.and_then(|position| serde_json::from_value::<LogPosition>(position.clone()).ok());
        let (begin, end) = (inbox.begin(), inbox.durable());
        match position.filter(|position| position.log == inbox.id()) {
            None => Ok(begin),
            Some(LogPosition { row, byte, .. }) if begin.byte <= byte && byte <= end.byte => Ok(Mark { row, byte }),
            Some(LogPosition { row, .. }) => Err(EngineError::Unsupported(format!(
                "the next row of table '{}' to read is {row}, but its log holds those from {} to before {}\n  \
                 hint: start again with empty state, or restore the job's folder as a whole",
                self.table.name, begin.row, end.row
            ))),
        }
    }
}

impl Source for PostedSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn discover(&self) -> Result<Vec<Split>> {
        Ok(vec![Split { id: SPLIT.to_string(), payload: json!(null) }])
    }

    fn completed(&self, positions: &[(&Split, &Position)], _last: bool) {
        let Some(inbox) = self.inbox.get() else { return };
        let of_log = |position: &Position| serde_json::from_value::<LogPosition>(position.clone()).ok();
        let found = positions.iter().filter_map(|(_, position)| of_log(position)).find(|one| one.log == inbox.id());
        let Some(LogPosition { row, byte, .. }) = found else { return };
        let floor = || self.inboxes.floor(inbox);
        if let Err(error) = inbox.completed(Mark { row, byte }, now_ms(), floor) {
            tracing::warn!(table = self.table.name, %error, "rows that were read could not be deleted");
        }
    }

    fn health(&self) -> SourceHealth {
        let backlog = self.inbox.get().map(|inbox| inbox.figures().backlog_rows);
        SourceHealth { backlog, unreachable_since: None }
    }

    fn open(&self, _split: &Split, position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
        let inbox = Arc::clone(self.opened()?);
        let next = self.begin(&inbox, position)?;
        inbox.set_read(Some(next));
        Ok(Box::new(PostedReader {
            decoder: self.table.decoder(&self.projection)?,
            schema: self.schema.clone(),
            origins: self.origins.clone(),
            inbox,
            segment: None,
            text: Vec::new(),
            at: 0,
            received: Vec::new(),
            read_to: next,
            next,
            waker: None,
        }))
    }
}

struct PostedReader {
    inbox: Arc<Inbox>,
    decoder: Box<dyn RowDecoder>,
    schema: SchemaRef,
    origins: Vec<Origin>,
    segment: Option<SegmentReader>,
    /// Of whole requests, from which rows up to `at` were given.
    text: Vec<u8>,
    at: usize,
    /// Per request in `text`: number behind its last row, and when it came.
    received: Vec<(u64, i64)>,
    /// Behind `text`.
    read_to: Mark,
    /// Behind the rows that were given.
    next: Mark,
    waker: Option<Waker>,
}

impl PostedReader {
    /// Reads further requests once all rows of the former ones were given.
    fn fill(&mut self, rows_max: usize) -> Result<()> {
        self.text.clear();
        self.received.clear();
        self.at = 0;
        let durable = self.inbox.durable();
        let enough = self.next.row + rows_max as u64;
        while self.read_to.byte < durable.byte && self.read_to.row < enough && self.text.len() < READ_BYTES_MAX {
            let Some(segment) = &mut self.segment else {
                let found = self.inbox.segment_at(self.read_to);
                let found = found.ok_or_else(|| self.lost())?;
                self.segment = Some(SegmentReader::open(&found)?);
                continue;
            };
            let Some(entry) = segment.read()? else {
                if segment.next.byte < self.read_to.byte {
                    return Err(self.lost());
                }
                self.segment = None;
                continue;
            };
            if entry.end().byte <= self.read_to.byte {
                continue;
            }
            let skipped = self.read_to.byte.saturating_sub(entry.first.byte) as usize;
            self.text.extend_from_slice(&entry.text[skipped..]);
            self.received.push((entry.end().row, entry.received_ms));
            self.read_to = entry.end();
        }
        Ok(())
    }

    fn lost(&self) -> EngineError {
        EngineError::Unsupported(format!("the log of posted rows has none at row {}", self.read_to.row))
    }

    fn columns(&self, decoded: &RecordBatch) -> Result<Batch> {
        let rows = decoded.num_rows();
        let numbers = self.next.row..self.next.row + rows as u64;
        let column = |(origin, field): (&Origin, &arrow::datatypes::FieldRef)| -> Result<ArrayRef> {
            let column: ArrayRef = match origin {
                Origin::Decoded(index) => return Ok(Arc::clone(decoded.column(*index))),
                Origin::Sequence => Arc::new(Int64Array::from_iter_values(numbers.clone().map(|row| row as i64))),
                Origin::Received => Arc::new(self.received_at(numbers.clone())),
            };
            Ok(cast(&column, field.data_type())?)
        };
        let columns = self.origins.iter().zip(self.schema.fields()).map(column).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Batch::new(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?))
    }

    fn received_at(&self, rows: std::ops::Range<u64>) -> TimestampMillisecondArray {
        let mut requests = self.received.iter();
        let mut request = requests.next();
        let times = rows.map(|row| {
            while request.is_some_and(|(end, _)| *end <= row) {
                request = requests.next();
            }
            request.map_or(0, |(_, received_ms)| *received_ms)
        });
        TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC")
    }
}

impl SplitReader for PostedReader {
    fn next(&mut self, rows_max: usize) -> Result<Read> {
        if self.at == self.text.len() {
            self.fill(rows_max)?;
        }
        if self.text.is_empty() {
            return Ok(Read::Wait(PAUSE));
        }
        let block = Block::lines(&self.text[self.at..], self.next.byte, true);
        let decoded = self.decoder.decode(block, rows_max)?;
        assert!(decoded.consumed > 0, "what was acknowledged are whole rows");
        let rows = self.columns(&decoded.rows)?;
        self.at += decoded.consumed;
        self.next.row += rows.num_rows() as u64;
        self.next.byte += decoded.consumed as u64;
        assert!(self.next.byte <= self.read_to.byte && self.next.row <= self.read_to.row, "I5: within what was read");
        self.inbox.set_read(Some(self.next));
        Ok(Read::Rows { rows, rejected: Vec::new() })
    }

    fn wake_with(&mut self, waker: &Waker) {
        self.inbox.add_waker(waker.clone());
        self.waker = Some(waker.clone());
    }

    fn position(&self) -> Position {
        json!(LogPosition { log: self.inbox.id().to_string(), row: self.next.row, byte: self.next.byte })
    }
}

impl Drop for PostedReader {
    fn drop(&mut self) {
        self.inbox.set_read(None);
        self.waker.iter().for_each(|waker| self.inbox.remove_waker(waker));
    }
}
