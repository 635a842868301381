//! A query that a server runs: its rows come as Arrow in lines of JSON, over a connection that it lasts as long as.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{Int8Array, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::Value;
use tidemill_engine::time::EventTime;
use tidemill_engine::{Batch, RowKind};

use super::super::running::{Heard, Running};
use super::super::shell::Failure;
use crate::connection::{Connection, text_of};
use crate::query::{Progress, SortedBy};

/// Messages that wait for the shell; the server waits behind them.
const MESSAGES_WAITING_MAX: usize = 4;
/// A server tells of a query each second: one that says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Longer than any message of a server, so that what sends without end is not read without end.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// What a line of the answer says.
enum Said {
    Rows(Box<Batch>),
    Status(Progress),
    /// Nothing that the shell goes by.
    Other,
    /// With what was lost on the way, a line each.
    End(Vec<String>),
    Failed(Failure),
}

pub struct RemoteQuery {
    connection: Connection,
    id: String,
    said: Receiver<Said>,
    heard: Instant,
    ended: bool,
    progress: Progress,
    schema: SchemaRef,
    appends: bool,
    bounded: bool,
    sorted_by_reader: bool,
    order: Vec<SortedBy>,
    pub warnings: Vec<String>,
}

fn broken(what: &str) -> Failure {
    Failure::Job(format!("error: the server's answer cannot be understood: {what}"))
}

impl RemoteQuery {
    /// Begins to read the answer to a query.
    pub fn read(connection: Connection, answer: Box<dyn Read + Send>) -> Result<Self, Failure> {
        let mut lines = BufReader::new(answer);
        let head = next_line(&mut lines)?.ok_or_else(|| broken("it is empty"))?;
        if head["event"] != "schema" {
            return Err(failure(&head));
        }
        let empty = head["arrow"].as_str().ok_or_else(|| broken("its columns are missing"))?;
        let (schema, _) = decode(empty)?;
        let flag = |name: &str| head[name].as_bool().unwrap_or(false);
        let (sender, said) = bounded(MESSAGES_WAITING_MAX);
        let reader = thread::Builder::new().name("answer".into()).spawn(move || read_on(&mut lines, &sender));
        reader.map_err(|error| Failure::Job(format!("error: a thread cannot be started: {error}")))?;
        Ok(Self {
            connection,
            id: text_of(&head["query"]),
            said,
            heard: Instant::now(),
            ended: false,
            progress: Progress::default(),
            schema,
            appends: !flag("changelog"),
            bounded: flag("bounded"),
            sorted_by_reader: flag("sorted_by_client"),
            order: head["order"].as_array().into_iter().flatten().filter_map(sorted_by).collect(),
            warnings: head["warnings"].as_array().into_iter().flatten().map(text_of).collect(),
        })
    }

    /// Tells the server that nobody wants the rows any more. It would learn of it by the connection too, but later.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            let _ = self.connection.ask("DELETE", &format!("/queries/{}", self.id), None);
        }
    }
}

impl Running for RemoteQuery {
    fn next(&mut self, patience: Duration) -> Heard {
        let until = Instant::now() + patience;
        loop {
            let said = match self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(said) => said,
                Err(RecvTimeoutError::Timeout) if self.heard.elapsed() > SILENCE_MAX => {
                    let silence = SILENCE_MAX.as_secs();
                    return Heard::Ended(Err(Failure::Job(format!(
                        "error: the server has said nothing for {silence} s"
                    ))));
                }
                Err(RecvTimeoutError::Timeout) => return Heard::Quiet,
                Err(RecvTimeoutError::Disconnected) => Said::Failed(broken("it ended before the query did")),
            };
            self.heard = Instant::now();
            match said {
                Said::Rows(batch) => return Heard::Rows(batch),
                Said::Status(progress) => self.progress = progress,
                Said::Other => {}
                Said::End(losses) => {
                    self.ended = true;
                    return Heard::Ended(Ok(losses));
                }
                Said::Failed(failure) => {
                    self.ended = true;
                    return Heard::Ended(Err(failure));
                }
            }
        }
    }

    fn cancel(&mut self) {
        self.end();
    }

    fn progress(&mut self) -> Progress {
        self.progress.clone()
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn appends(&self) -> bool {
        self.appends
    }

    fn is_bounded(&self) -> bool {
        self.bounded
    }

    fn is_sorted_by_reader(&self) -> bool {
        self.sorted_by_reader
    }

    fn order(&self) -> &[SortedBy] {
        &self.order
    }
}

impl Drop for RemoteQuery {
    fn drop(&mut self) {
        self.end();
    }
}

/// Until the answer ends, or until nobody takes it any more.
fn read_on(lines: &mut BufReader<Box<dyn Read + Send>>, sender: &Sender<Said>) {
    loop {
        let said = match next_line(lines) {
            Ok(Some(line)) => understood(&line).unwrap_or_else(Said::Failed),
            Ok(None) => return,
            Err(failure) => Said::Failed(failure),
        };
        let is_last = matches!(said, Said::End(_) | Said::Failed(_));
        if sender.send(said).is_err() || is_last {
            return;
        }
    }
}

fn next_line(lines: &mut BufReader<Box<dyn Read + Send>>) -> Result<Option<Value>, Failure> {
    let mut line = Vec::new();
    let read = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
    let length = read.map_err(|error| Failure::Job(format!("error: the connection to the server is lost: {error}")))?;
    if length == 0 {
        return Ok(None);
    }
    serde_json::from_slice(&line).map(Some).map_err(|error| broken(&error.to_string()))
}

fn understood(line: &Value) -> Result<Said, Failure> {
    Ok(match line["event"].as_str().unwrap_or_default() {
        "rows" => Said::Rows(Box::new(batch(line)?)),
        "status" => Said::Status(Progress {
            uptime: Duration::from_millis(line["uptime_ms"].as_u64().unwrap_or(0)),
            rows_read: line["rows_read"].as_u64().unwrap_or(0),
            rows_per_second: line["rows_per_second"].as_u64().unwrap_or(0),
            watermark: line["watermark_ms"].as_i64().map(EventTime),
            waiting: line["waiting"].as_str().map(str::to_string),
        }),
        "end" => match line["reason"].as_str().unwrap_or_default() {
            "finished" | "cancelled" => {
                Said::End(line["losses"].as_array().into_iter().flatten().map(text_of).collect())
            }
            "server-ending" => Said::Failed(Failure::Job("error: the server ends, and the query with it".into())),
            other => Said::Failed(Failure::Job(format!("error: the server ended the query: {other}"))),
        },
        "error" => Said::Failed(failure(line)),
        _ => Said::Other,
    })
}

/// A problem that came when the query was running already.
fn failure(problem: &Value) -> Failure {
    let hint = problem["hint"].as_str().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    Failure::Job(format!("error: {}{hint}", text_of(&problem["detail"])))
}

fn batch(line: &Value) -> Result<Batch, Failure> {
    let (_, rows) = decode(line["arrow"].as_str().unwrap_or_default())?;
    let rows = rows.ok_or_else(|| broken("a message of rows has none"))?;
    let Some(kinds) = line["kinds"].as_array() else { return Ok(Batch::new(rows)) };
    let code = |kind: &Value| {
        let all = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
        all.into_iter().find(|one| kind == one.symbol()).map(|one| one as i8)
    };
    let kinds: Int8Array = kinds.iter().map(code).collect();
    if kinds.len() != rows.num_rows() || kinds.iter().any(|kind| kind.is_none()) {
        return Err(broken("its rows and their kinds do not fit together"));
    }
    Ok(Batch::with_kinds(rows, kinds))
}

fn decode(text: &str) -> Result<(SchemaRef, Option<RecordBatch>), Failure> {
    let bytes = STANDARD.decode(text).map_err(|error| broken(&error.to_string()))?;
    let reader = StreamReader::try_new(bytes.as_slice(), None).map_err(|error| broken(&error.to_string()))?;
    let schema: Arc<Schema> = reader.schema();
    let rows = reader.into_iter().next().transpose().map_err(|error| broken(&error.to_string()))?;
    Ok((schema, rows))
}

fn sorted_by(by: &Value) -> Option<SortedBy> {
    let column = usize::try_from(by["column"].as_u64()?).ok()?;
    let options = SortOptions { descending: by["descending"].as_bool()?, nulls_first: by["nulls_first"].as_bool()? };
    Some(SortedBy { column, options })
}
