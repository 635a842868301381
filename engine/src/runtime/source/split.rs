//! One split while it is read: its reader, what was read ahead of time, how far it has come.

use std::time::{Duration, Instant};

use super::pool::NumberedSplit;
use super::rows::RowMaker;
use crate::checkpoint::{SplitCounts, SplitState};
use crate::source::{Position, Read, Rejected, Source, Split, SplitReader, Waker};
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, Result};

/// A reader that says "nothing now" is left alone for at least this long, so that no thread spins.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// A peek that has met so many rejected records and still no row gives up: the split then holds time back until
/// it is read, and nothing more has to be kept in memory.
const PEEK_REJECTED_MAX: usize = 256;

pub struct SplitRun {
    pub number: usize,
    pub split: Split,
    pub finished: bool,
    /// Running maximum over the rows that were given out.
    pub watermark: EventTime,
    /// Before the first row was given out: how far time may go without it, once known.
    first: Option<EventTime>,
    /// Behind the last row that was given out, unless `reader` knows it better.
    position: Option<Position>,
    reader: Option<Box<dyn SplitReader>>,
    /// Read ahead and not given out: `position` stays in front of it.
    ahead: Option<Chunk>,
    /// The reader had nothing and is not to be asked before this.
    waits_until: Option<Instant>,
    /// When a row last came, or when reading began.
    active_at: ProcessingTime,
    pub idle: bool,
    /// Of the records up to the position.
    pub counts: SplitCounts,
}

/// What a reader gave, still in the connector's columns.
pub struct Chunk {
    pub rows: Option<Batch>,
    pub rejected: Vec<Rejected>,
    /// Time as the reader told it, behind the rows.
    pub time: Option<EventTime>,
    /// Nothing comes behind this.
    ends: bool,
}

/// What one look into a split gave.
// A look is moved once and is nearly always rows: nothing would be won by boxing them.
#[expect(clippy::large_enum_variant)]
pub enum Look {
    Chunk(Chunk),
    Nothing,
    End(Vec<Rejected>),
}

impl Chunk {
    fn says_something(&self) -> bool {
        self.rows.is_some() || self.time.is_some() || self.ends || !self.rejected.is_empty()
    }
}

impl SplitRun {
    pub fn new(numbered: NumberedSplit, now: ProcessingTime) -> Self {
        let SplitState { split, position, finished, watermark, counts } = numbered.state;
        Self {
            number: numbered.number,
            split,
            finished,
            watermark,
            first: None,
            position,
            reader: None,
            ahead: None,
            waits_until: None,
            active_at: now,
            idle: false,
            counts,
        }
    }

    /// No watermark of the subtask may pass this while the split is unfinished.
    pub fn hold(&self) -> EventTime {
        if self.watermark > EventTime::MIN { self.watermark } else { self.first.unwrap_or(EventTime::MIN) }
    }

    /// The first row has to be looked at before anything can be said of time.
    pub fn needs_peek(&self) -> bool {
        !self.finished && self.watermark == EventTime::MIN && self.first.is_none() && self.waits_until.is_none()
    }

    pub fn is_open(&self) -> bool {
        self.reader.is_some()
    }

    /// How long until it is worth asking again.
    pub fn wait(&self) -> Duration {
        self.waits_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Something may have come: its reader is asked again before the time that it named.
    pub fn look_again(&mut self) {
        self.waits_until = self.waits_until.map(|_| Instant::now());
    }

    /// Reads up to the first row and keeps it: so the split's hold is known without giving anything out.
    pub fn peek(&mut self, source: &dyn Source, maker: &RowMaker, waker: &Waker) -> Result<()> {
        let mut chunk = Chunk { rows: None, rejected: Vec::new(), time: None, ends: false };
        while chunk.rows.is_none() && chunk.time.is_none() && !chunk.ends && chunk.rejected.len() < PEEK_REJECTED_MAX {
            match self.reader(source, waker)?.next(1)? {
                Read::Rows { rows, rejected } => {
                    chunk.rejected.extend(rejected);
                    chunk.rows = Some(rows).filter(|rows| rows.num_rows() > 0);
                }
                Read::Watermark(time) => chunk.time = Some(time),
                Read::End => chunk.ends = true,
                Read::Wait(pause) => {
                    self.waits_until = Some(Instant::now() + pause.max(PAUSE_MIN));
                    break;
                }
            }
        }
        self.first = match &chunk.rows {
            Some(rows) => Some(maker.make(rows.clone())?.hold()),
            None if chunk.time.is_some() => chunk.time,
            None if chunk.ends => Some(EventTime::MAX),
            // Unknown yet; but peeked is peeked, and MIN makes it the next to be read.
            None => Some(EventTime::MIN),
        };
        self.ahead = Some(chunk).filter(Chunk::says_something);
        Ok(())
    }

    /// The next rows. `Nothing` sets [`Self::wait`].
    pub fn read(&mut self, source: &dyn Source, rows_max: usize, waker: &Waker) -> Result<Look> {
        if let Some(chunk) = self.ahead.take() {
            return Ok(if chunk.ends { Look::End(chunk.rejected) } else { Look::Chunk(chunk) });
        }
        let look = match self.reader(source, waker)?.next(rows_max)? {
            Read::Rows { rows, rejected } => {
                self.waits_until = None;
                let rows = Some(rows).filter(|rows| rows.num_rows() > 0);
                Look::Chunk(Chunk { rows, rejected, time: None, ends: false })
            }
            Read::Watermark(time) => {
                self.waits_until = None;
                Look::Chunk(Chunk { rows: None, rejected: Vec::new(), time: Some(time), ends: false })
            }
            Read::Wait(pause) => {
                self.waits_until = Some(Instant::now() + pause.max(PAUSE_MIN));
                Look::Nothing
            }
            Read::End => Look::End(Vec::new()),
        };
        Ok(look)
    }

    /// Rows were given out, at `now`.
    pub fn advance(&mut self, watermark: EventTime, now: ProcessingTime) {
        assert!(watermark >= self.watermark, "I5: the watermark of {} went back", self.split.id);
        self.watermark = watermark;
        self.active_at = now;
        self.idle = false;
    }

    pub fn finish(&mut self) {
        self.close();
        self.finished = true;
    }

    /// Gives the reader back to the system; reading goes on later from the same place.
    pub fn close(&mut self) {
        self.position = self.current_position();
        self.reader = None;
        self.ahead = None;
    }

    /// Idle: asked for rows, it has had none for this long.
    pub fn check_idle(&mut self, timeout: Duration, now: ProcessingTime) {
        self.idle = self.idle_from(timeout).is_some_and(|from| from <= now);
    }

    /// When it is idle, if no row comes until then.
    pub fn idle_from(&self, timeout: Duration) -> Option<ProcessingTime> {
        let waits = self.waits_until.is_some() && !self.finished;
        waits.then(|| self.active_at.plus(timeout))
    }

    pub fn state(&self) -> SplitState {
        SplitState {
            split: self.split.clone(),
            position: self.current_position(),
            finished: self.finished,
            watermark: self.watermark,
            counts: self.counts,
        }
    }

    fn current_position(&self) -> Option<Position> {
        match (&self.reader, &self.ahead) {
            (Some(reader), None) => Some(reader.position()),
            _ => self.position.clone(),
        }
    }

    fn reader(&mut self, source: &dyn Source, waker: &Waker) -> Result<&mut Box<dyn SplitReader>> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                let mut reader = source.open(&self.split, self.position.as_ref())?;
                reader.wake_with(waker);
                reader
            }
        };
        Ok(self.reader.insert(reader))
    }
}
