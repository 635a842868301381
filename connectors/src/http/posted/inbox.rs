//! A table's posted rows, shared by those who post and by the job that reads: rows are acknowledged once they are durable, and
//! requests that come at the same time share one sync of the disk.
//!
//! Whoever finds nobody writing writes for all who wait; so there is no thread of its own, and an idle table costs nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tidemill_engine::source::Waker;
use tidemill_engine::{EngineError, Result};

use super::entry::{Entry, Mark};
use super::keys::{Keys, Known};
use super::log::{self, Segment, Writer};
use super::now_ms;
use crate::filesystem::durable::{remove, sync_folder};

/// A segment is deleted as a whole, so it is a small part of what a log may hold.
const SEGMENT_BYTES_MAX: u64 = 16 << 20;
const SEGMENTS_OF_A_LOG: u64 = 8;
/// Finding out what may be deleted reads the manifests of all checkpoints and savepoints.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// What a table's options say of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Text that the job may be behind.
    pub backlog_bytes: u64,
    /// Text that the log may hold, also for savepoints.
    pub log_bytes: u64,
    /// How long rows stay that were read; `None`: that alone keeps none.
    pub retention_time: Option<Duration>,
    /// How much of such rows stays.
    pub retention_bytes: Option<u64>,
    /// How long a key is remembered.
    pub key_time: Duration,
}

/// Rows that were found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRows {
    pub text: Vec<u8>,
    pub rows: u32,
    /// Of the body as it came.
    pub body_hash: u64,
}

/// What was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Numbers of the rows, from 0 on.
    pub first: u64,
    pub rows: u32,
    /// It had been stored before, by a request with the same key.
    pub repeated: bool,
}

/// Why rows were not taken. Nothing of them is stored, except where the disk failed and nobody can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// The job is too far behind.
    Behind {
        backlog: u64,
        max: u64,
    },
    /// Rows that were read are kept for savepoints or by retention.
    Full {
        held: u64,
        max: u64,
    },
    /// The key belongs to other rows.
    OtherBody,
    /// The job is being deleted.
    Closed,
    Failed(String),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InboxFigures {
    /// Of this process.
    pub rows: u64,
    pub bytes: u64,
    /// Answered from memory.
    pub repeated_requests: u64,
    pub refused_requests: u64,
    pub backlog_rows: u64,
    pub backlog_bytes: u64,
    /// Text in the log, read and not.
    pub log_bytes: u64,
}

#[derive(Debug)]
pub struct Inbox {
    folder: PathBuf,
    id: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    segments: Vec<Segment>,
    /// `None` while somebody writes.
    writer: Option<Writer>,
    keys: Keys,
    /// Entries that nobody has written yet, and the mark behind them.
    pending: Vec<u8>,
    pending_end: Mark,
    /// What becomes of them.
    batch: Arc<Batch>,
    /// All in front of it is on disk.
    durable: Mark,
    /// The disk could not even take back what it had not written: nothing more is taken.
    broken: Option<String>,
    closed: bool,
    /// How far the job has read, and how far its last checkpoint says so.
    read: Option<Mark>,
    passed: Mark,
    trimmed_at: Option<Instant>,
    /// Of those who read.
    wakers: Vec<Waker>,
    figures: InboxFigures,
}

/// Entries that are written together.
#[derive(Debug, Default)]
struct Batch {
    outcome: Mutex<Option<Result<(), String>>>,
}

impl Inbox {
    /// `passed`: what the newest checkpoint of the job says of its position, and in which log.
    pub fn open(folder: &Path, limits: Limits, passed: impl Fn(&str) -> Mark) -> Result<Self> {
        let opened = log::open(folder)?;
        let passed = passed(&opened.id).max(opened.segments[0].first).min(opened.end);
        let state = State {
            limits,
            segments: opened.segments,
            writer: Some(opened.writer),
            keys: opened.keys,
            pending: Vec::new(),
            pending_end: opened.end,
            batch: Arc::default(),
            durable: opened.end,
            broken: None,
            closed: false,
            read: None,
            passed,
            trimmed_at: None,
            wakers: Vec::new(),
            figures: InboxFigures::default(),
        };
        Ok(Self { folder: folder.to_path_buf(), id: opened.id, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// The log's own name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The SQL may have changed.
    pub fn set_limits(&self, limits: Limits) {
        self.state.lock().limits = limits;
    }

    /// Nothing more is taken or given.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Stores the rows; they are durable when this returns.
    pub fn append(&self, rows: CheckedRows, key: Option<String>, now_ms: i64) -> Result<Receipt, NotTaken> {
        let mut state = self.state.lock();
        if let Some(known) = key.as_deref().and_then(|key| state.known(key, now_ms)) {
            return self.repeat(state, &key.unwrap_or_default(), known, rows.body_hash);
        }
        if let Err(refused) = state.admit(rows.text.len() as u64) {
            state.figures.refused_requests += 1;
            return Err(refused);
        }
        let CheckedRows { text, rows, body_hash } = rows;
        let entry = Entry { first: state.pending_end, received_ms: now_ms, rows, key, body_hash, text };
        entry.write(&mut state.pending);
        state.pending_end = entry.end();
        state.keys.remember(&entry);
        let batch = Arc::clone(&state.batch);
        let receipt = Receipt { first: entry.first.row, rows, repeated: false };
        let text_bytes = entry.text.len() as u64;
        drop(entry);
        self.until_written(&mut state, &batch).map_err(NotTaken::Failed)?;
        state.figures.rows += u64::from(rows);
        state.figures.bytes += text_bytes;
        Ok(receipt)
    }

    /// The same request once more: what the first one stored, once that is durable.
    fn repeat(
        &self,
        mut state: MutexGuard<'_, State>,
        key: &str,
        known: Known,
        body_hash: u64,
    ) -> Result<Receipt, NotTaken> {
        if known.body_hash != body_hash {
            return Err(NotTaken::OtherBody);
        }
        while state.durable.row < known.first + u64::from(known.rows) {
            if state.keys.get(key) != Some(known) {
                return Err(NotTaken::Failed("the first request with this key could not be stored".to_string()));
            }
            match state.writer.take() {
                Some(writer) => self.write_pending(&mut state, writer),
                None => self.changed.wait(&mut state),
            }
        }
        state.figures.repeated_requests += 1;
        Ok(Receipt { first: known.first, rows: known.rows, repeated: true })
    }

    /// Waits until somebody has written the batch, or does it.
    fn until_written(&self, state: &mut MutexGuard<'_, State>, batch: &Arc<Batch>) -> Result<(), String> {
        loop {
            if let Some(outcome) = batch.outcome.lock().clone() {
                return outcome;
            }
            match state.writer.take() {
                Some(writer) => self.write_pending(state, writer),
                None => self.changed.wait(state),
            }
        }
    }

    /// Writes what is pending now; meanwhile others may add what is written next.
    fn write_pending(&self, state: &mut MutexGuard<'_, State>, mut writer: Writer) {
        let (bytes, batch) = (std::mem::take(&mut state.pending), std::mem::take(&mut state.batch));
        let (begin, end) = (state.durable, state.pending_end);
        let is_full = writer.length >= state.segment_bytes();
        if is_full {
            let horizon = state.key_horizon(now_ms());
            state.keys.forget_before(horizon);
        }
        // Only keys of what is durable may be remembered there.
        let keys = is_full.then(|| state.keys.stored(begin));
        let written = MutexGuard::unlocked(state, || {
            let Some(keys) = keys else { return writer.append(&bytes).map(|()| None) };
            keys.write(&self.folder)?;
            let segment = log::create_segment(&self.folder, begin)?;
            writer = Writer::open(&segment, 0)?;
            writer.append(&bytes).map(|()| Some(segment))
        });
        match written {
            Ok(segment) => {
                state.segments.extend(segment);
                state.durable = end;
                state.writer = Some(writer);
                state.wakers.iter().for_each(Waker::wake);
                *batch.outcome.lock() = Some(Ok(()));
            }
            Err(error) => state.take_back(&batch, &error),
        }
        if state.writer.is_none() && state.broken.is_none() {
            state.reopen_writer();
        }
        self.changed.notify_all();
    }

    /// What the job's reader may read.
    pub fn durable(&self) -> Mark {
        self.state.lock().durable
    }

    /// The first row that is kept.
    pub fn begin(&self) -> Mark {
        self.state.lock().segments[0].first
    }

    /// The segment that a mark lies in, or that begins at it.
    pub fn segment_at(&self, mark: Mark) -> Option<Segment> {
        let state = self.state.lock();
        state.segments.iter().rev().find(|segment| segment.first <= mark).cloned()
    }

    /// Whom to wake when rows have come.
    pub fn add_waker(&self, waker: Waker) {
        self.state.lock().wakers.push(waker);
    }

    pub fn remove_waker(&self, waker: &Waker) {
        self.state.lock().wakers.retain(|other| !other.is_same(waker));
    }

    /// The job has read so far; `None`: it does not read now.
    pub fn set_read(&self, mark: Option<Mark>) {
        self.state.lock().read = mark;
    }

    pub fn figures(&self) -> InboxFigures {
        let state = self.state.lock();
        let read = state.read.unwrap_or(state.passed);
        InboxFigures {
            backlog_rows: state.durable.row.saturating_sub(read.row),
            backlog_bytes: state.durable.byte.saturating_sub(read.byte),
            log_bytes: state.held_bytes(),
            ..state.figures
        }
    }

    /// A checkpoint is complete that says so. `floor`: in front of it nothing is needed by any checkpoint or savepoint.
    pub fn completed(&self, passed: Mark, now_ms: i64, floor: impl FnOnce() -> Option<u64>) -> Result<()> {
        let deleted = {
            let mut state = self.state.lock();
            state.passed = passed;
            let is_due = state.trimmed_at.is_none_or(|at| at.elapsed() >= TRIM_INTERVAL);
            let may_go = state.segments.get(1).is_some_and(|second| second.first.byte <= passed.byte);
            if !is_due || !may_go || state.closed {
                return Ok(());
            }
            state.trimmed_at = Some(Instant::now());
            let Some(floor) = MutexGuard::unlocked(&mut state, floor) else { return Ok(()) };
            state.trim(floor.min(passed.byte), now_ms)
        };
        for segment in &deleted {
            remove(&segment.path)?;
        }
        if deleted.is_empty() { Ok(()) } else { sync_folder(&self.folder) }
    }
}

impl State {
    /// Keys of requests before it are forgotten.
    fn key_horizon(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(i64::try_from(self.limits.key_time.as_millis()).unwrap_or(i64::MAX))
    }

    fn known(&self, key: &str, now_ms: i64) -> Option<Known> {
        self.keys.get(key).filter(|known| known.received_ms >= self.key_horizon(now_ms))
    }

    fn held_bytes(&self) -> u64 {
        self.pending_end.byte.saturating_sub(self.segments[0].first.byte)
    }

    fn segment_bytes(&self) -> u64 {
        SEGMENT_BYTES_MAX.min(self.limits.log_bytes / SEGMENTS_OF_A_LOG)
    }

    fn admit(&self, bytes: u64) -> Result<(), NotTaken> {
        if self.closed {
            return Err(NotTaken::Closed);
        }
        if let Some(reason) = &self.broken {
            return Err(NotTaken::Failed(reason.clone()));
        }
        let backlog = self.pending_end.byte.saturating_sub(self.read.unwrap_or(self.passed).byte);
        let (max, log_max) = (self.limits.backlog_bytes, self.limits.log_bytes);
        if backlog + bytes > max {
            return Err(NotTaken::Behind { backlog, max });
        }
        let held = self.held_bytes();
        if held + bytes > log_max { Err(NotTaken::Full { held, max: log_max }) } else { Ok(()) }
    }

    /// The rows of a batch that could not be written, and those that came behind them, were never there.
    fn take_back(&mut self, batch: &Batch, error: &EngineError) {
        let text = error.to_string();
        *batch.outcome.lock() = Some(Err(text.clone()));
        let behind = std::mem::take(&mut self.batch);
        *behind.outcome.lock() = Some(Err(text));
        self.pending.clear();
        self.pending_end = self.durable;
        self.keys.forget_from(self.durable.row);
    }

    /// After a failure the last segment is opened as after a crash: what is sound in it is what was durable, or the log is broken.
    fn reopen_writer(&mut self) {
        let Some(folder) = self.segments[0].path.parent().map(Path::to_path_buf) else { return };
        match log::open(&folder) {
            Ok(opened) if opened.end == self.durable => {
                self.segments = opened.segments;
                self.writer = Some(opened.writer);
            }
            Ok(opened) => {
                self.broken = Some(format!(
                    "rows {} to {} may have been stored though the disk failed: restart the server",
                    self.durable.row, opened.end.row
                ));
            }
            Err(error) => self.broken = Some(error.to_string()),
        }
    }

    /// Takes segments that nobody needs off the list; the last one always stays.
    fn trim(&mut self, floor: u64, now_ms: i64) -> Vec<Segment> {
        let passed = |end: Mark| end.byte <= floor;
        let mut count = 0;
        while self.segments.len() > count + 1 && passed(self.segments[count + 1].first) {
            let end = self.segments[count + 1].first;
            if self.is_retained(&self.segments[count], floor - end.byte.min(floor), now_ms) {
                break;
            }
            count += 1;
        }
        self.segments.drain(..count).collect()
    }

    /// `behind`: bytes that were read after this segment.
    fn is_retained(&self, segment: &Segment, behind: u64, now_ms: i64) -> bool {
        let Limits { retention_time, retention_bytes, .. } = self.limits;
        let age_ms = || {
            let modified = std::fs::metadata(&segment.path).and_then(|data| data.modified()).ok()?;
            let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(u128::try_from(now_ms).unwrap_or(0).saturating_sub(since.as_millis()))
        };
        match (retention_time, retention_bytes) {
            (None, None) => false,
            (time, bytes) => {
                let is_young = time.is_none_or(|time| age_ms().is_some_and(|age| age < time.as_millis()));
                is_young && bytes.is_none_or(|bytes| behind < bytes)
            }
        }
    }
}
