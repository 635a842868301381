//! Decides what a source subtask reads next, and how far time has come over its splits.
//!
//! With a watermark, the split that holds time back most is read first, so that windows close as early as they
//! can and little has to be kept. Without one, splits are read in their order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pool::{NumberedSplit, SplitPool};
use super::rows::{RowMaker, rejected_rows};
use super::split::{Look, SplitRun};
use crate::metrics::NodeMetrics;
use crate::operator::Subtask;
use crate::source::{Rejected, Source, Waker};
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, Result};

/// Readers that a subtask keeps open at a time; beyond that, those needed last are closed and opened again later.
const READERS_OPEN_MAX: usize = 32;
/// A pause of a task that is woken for whatever it waits for.
const LONG_PAUSE: Duration = Duration::from_secs(60);

pub struct Reading {
    source: Arc<dyn Source>,
    pool: Arc<SplitPool>,
    subtask: Subtask,
    maker: RowMaker,
    metrics: Arc<NodeMetrics>,
    /// The source tells event time.
    timed: bool,
    /// Splits are read one after the other.
    in_order: bool,
    idle_timeout: Option<Duration>,
    idle_time_runs: bool,
    batch_rows: usize,
    /// In the order of their numbers.
    splits: Vec<SplitRun>,
    /// What ends this task's pauses.
    waker: Waker,
    /// The largest watermark told so far.
    told: EventTime,
    idle: bool,
    /// Where both clocks stood when the last split fell idle.
    idle_since: (ProcessingTime, EventTime),
}

/// What one step gave.
// A step is moved once and is nearly always a read: nothing would be won by boxing it.
#[expect(clippy::large_enum_variant)]
pub enum Step {
    /// Possibly nothing that concerns others.
    Read {
        batches: Vec<Batch>,
        rejected: Option<Batch>,
    },
    Wait(Duration),
    /// All splits are read and no others will come.
    End,
}

/// What is new about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeNews {
    Watermark(EventTime),
    Idle,
    /// Still idle, but time has gone on to here.
    Advance(EventTime),
}

/// What a [`Reading`] is made of, beside its source.
pub struct ReadingSetup {
    pub subtask: Subtask,
    pub maker: RowMaker,
    pub metrics: Arc<NodeMetrics>,
    pub timed: bool,
    pub idle_timeout: Option<Duration>,
    pub idle_time_runs: bool,
    pub batch_rows: usize,
    pub now: ProcessingTime,
    /// The source's watermark in the restored checkpoint.
    pub restored: EventTime,
}

impl Reading {
    pub fn new(source: Arc<dyn Source>, pool: Arc<SplitPool>, setup: ReadingSetup) -> Self {
        // Taken now, so that not even the first barrier can come before the restored positions are in these hands.
        let dealt = pool.take(setup.subtask.index);
        Self {
            in_order: source.in_order(),
            source,
            waker: pool.waker(setup.subtask.index).clone(),
            pool,
            subtask: setup.subtask,
            maker: setup.maker,
            metrics: setup.metrics,
            timed: setup.timed,
            idle_timeout: setup.idle_timeout,
            idle_time_runs: setup.idle_time_runs,
            batch_rows: setup.batch_rows.max(1),
            splits: dealt.into_iter().map(|numbered| SplitRun::new(numbered, setup.now)).collect(),
            told: setup.restored,
            idle: false,
            idle_since: (setup.now, setup.restored),
        }
    }

    /// The largest watermark told so far.
    pub fn watermark(&self) -> EventTime {
        self.told
    }

    /// No split holds time back.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// All splits with their numbers, for a checkpoint.
    pub fn snapshot(&self) -> Vec<NumberedSplit> {
        self.splits.iter().map(|split| NumberedSplit { number: split.number, state: split.state() }).collect()
    }

    /// Reads one batch, looks at one split's first row, or says why not.
    pub fn step(&mut self, now: ProcessingTime) -> Result<Step> {
        self.take_new_splits(now)?;
        if let Some(index) = self.splits.iter().position(|split| self.timed && split.needs_peek()) {
            self.peek(index)?;
            return Ok(Step::Read { batches: Vec::new(), rejected: None });
        }
        match self.next_split() {
            Some(index) => self.read(index, now),
            None => Ok(self.pause()),
        }
    }

    fn take_new_splits(&mut self, now: ProcessingTime) -> Result<()> {
        if self.subtask.index == 0 {
            self.pool.discover_if_due()?;
        }
        let new = self.pool.take(self.subtask.index);
        self.splits.extend(new.into_iter().map(|numbered| SplitRun::new(numbered, now)));
        debug_assert!(self.splits.is_sorted_by_key(|split| split.number));
        Ok(())
    }

    fn peek(&mut self, index: usize) -> Result<()> {
        let open_count = self.open_count();
        let split = &mut self.splits[index];
        split.peek(self.source.as_ref(), &self.maker, &self.waker)?;
        if open_count >= READERS_OPEN_MAX {
            split.close();
        }
        Ok(())
    }

    fn next_split(&self) -> Option<usize> {
        if self.in_order {
            let next = self.splits.iter().position(|split| !split.finished);
            return next.filter(|index| self.splits[*index].wait().is_zero());
        }
        let ready = |split: &SplitRun| !split.finished && split.wait().is_zero();
        let candidates = self.splits.iter().enumerate().filter(|(_, split)| ready(split));
        let key = |split: &SplitRun| (if self.timed { split.hold() } else { EventTime::MIN }, split.number);
        candidates.min_by_key(|(_, split)| key(split)).map(|(index, _)| index)
    }

    fn pause(&self) -> Step {
        let unfinished = self.splits.iter().filter(|split| !split.finished);
        // Of splits that are read in order only the first has been asked.
        let asked = unfinished.take(if self.in_order { 1 } else { usize::MAX });
        let wait = asked.map(SplitRun::wait).min();
        if wait.is_none() && !self.pool.is_open() {
            return Step::End;
        }
        let discovers = self.pool.next_discovery().filter(|_| self.subtask.index == 0);
        let discovery = discovers.map(|at| at.saturating_duration_since(Instant::now()));
        Step::Wait(wait.into_iter().chain(discovery).min().unwrap_or(LONG_PAUSE))
    }

    /// Something may have come: readers are asked again.
    pub fn look_again(&mut self) {
        self.splits.iter_mut().for_each(SplitRun::look_again);
    }

    /// When there is news of time though no row comes; asked behind [`Self::time_news`].
    pub fn next_time(&self) -> Option<ProcessingTime> {
        if !self.timed {
            return None;
        }
        if self.idle && self.idle_time_runs && self.idle_since.1 > EventTime::MIN {
            return Some(ProcessingTime::MIN);
        }
        let timeout = self.idle_timeout?;
        self.splits.iter().filter(|split| !split.idle).filter_map(|split| split.idle_from(timeout)).min()
    }

    fn read(&mut self, index: usize, now: ProcessingTime) -> Result<Step> {
        if !self.splits[index].is_open() && self.open_count() >= READERS_OPEN_MAX {
            self.close_one();
        }
        match self.splits[index].read(self.source.as_ref(), self.batch_rows, &self.waker)? {
            Look::Nothing => Ok(Step::Wait(Duration::ZERO)),
            Look::Chunk(chunk) => {
                let batches = chunk.rows.map_or(Ok(Vec::new()), |rows| self.give_out(index, rows, now))?;
                if let Some(time) = chunk.time {
                    let split = &mut self.splits[index];
                    split.advance(split.watermark.max(time), now);
                }
                Ok(Step::Read { batches, rejected: self.rejected(index, &chunk.rejected, now)? })
            }
            Look::End(rejected) => {
                self.splits[index].finish();
                Ok(Step::Read { batches: Vec::new(), rejected: self.rejected(index, &rejected, now)? })
            }
        }
    }

    fn give_out(&mut self, index: usize, rows: Batch, now: ProcessingTime) -> Result<Vec<Batch>> {
        let read = rows.num_rows();
        self.metrics.rows_in.add(read);
        self.metrics.bytes_in.add(rows.size_bytes());
        let split = &mut self.splits[index];
        let (batch, reached) = self.maker.make(rows)?.stamp(split.watermark, self.told);
        split.advance(reached, now);
        split.counts.given += batch.num_rows() as u64;
        split.counts.rejected += (read - batch.num_rows()) as u64;
        let starts = (0..batch.num_rows()).step_by(self.batch_rows);
        Ok(starts.map(|start| batch.slice(start, self.batch_rows.min(batch.num_rows() - start))).collect())
    }

    fn rejected(&mut self, index: usize, rejected: &[Rejected], now: ProcessingTime) -> Result<Option<Batch>> {
        if rejected.is_empty() {
            return Ok(None);
        }
        self.metrics.errors.add(rejected.len());
        self.splits[index].counts.rejected += rejected.len() as u64;
        rejected_rows(&self.splits[index].split.id, rejected, now).map(Some)
    }

    fn open_count(&self) -> usize {
        self.splits.iter().filter(|split| split.is_open()).count()
    }

    /// Closes the reader that will be needed last.
    fn close_one(&mut self) {
        let open = self.splits.iter_mut().filter(|split| split.is_open());
        if let Some(split) = open.max_by_key(|split| (split.hold(), split.number)) {
            split.close();
        }
    }

    /// What has become known about time since the last call.
    pub fn time_news(&mut self, now: ProcessingTime) -> Option<TimeNews> {
        if !self.timed {
            return None;
        }
        if let Some(timeout) = self.idle_timeout {
            self.splits.iter_mut().for_each(|split| split.check_idle(timeout, now));
        }
        let live = || self.splits.iter().filter(|split| !split.finished);
        let Some(lowest) = live().filter(|split| !split.idle).map(SplitRun::hold).min() else {
            return self.news_of_idleness(now);
        };
        let reached = if self.pool.holds_time(self.subtask.index) { self.told } else { self.told.max(lowest) };
        if reached == self.told && !self.idle {
            return None;
        }
        self.idle = false;
        self.told = reached;
        Some(TimeNews::Watermark(reached))
    }

    /// What [`Self::time_news`] gave was handed on: where all splits are known, each of them holds time downstream as far as it is to.
    pub fn time_is_told(&mut self) {
        if !self.timed || !self.splits.iter().any(SplitRun::needs_peek) {
            self.pool.begun(self.subtask.index);
        }
    }

    /// Nobody holds time back: it is what the furthest split says, as if that one had been read last.
    fn news_of_idleness(&mut self, now: ProcessingTime) -> Option<TimeNews> {
        if self.splits.iter().all(|split| split.finished) && !self.pool.is_open() {
            return None;
        }
        if self.pool.holds_time(self.subtask.index) {
            return None;
        }
        let furthest = self.splits.iter().map(|split| split.watermark).max();
        if let Some(furthest) = furthest.filter(|furthest| *furthest > self.told) {
            self.told = furthest;
            return Some(TimeNews::Watermark(furthest));
        }
        if !self.idle {
            self.idle = true;
            self.idle_since = (now, self.told);
            return Some(TimeNews::Idle);
        }
        self.advance(now)
    }

    /// Lets event time go on with the wall clock, if it is to, so that the last windows of a quiet stream fire.
    fn advance(&mut self, now: ProcessingTime) -> Option<TimeNews> {
        let (since, told) = self.idle_since;
        if !self.idle_time_runs || told == EventTime::MIN {
            return None;
        }
        let reached = EventTime(told.0.saturating_add(now.0.saturating_sub(since.0)));
        if reached <= self.told {
            return None;
        }
        self.told = reached;
        Some(TimeNews::Advance(reached))
    }

    /// Time is at its end: every split was read.
    pub fn finish_time(&mut self) {
        self.told = EventTime::MAX;
    }

    /// The split that holds time back, and where.
    pub fn holder(&self) -> Option<(String, EventTime)> {
        let live = self.splits.iter().filter(|split| self.timed && !split.finished && !split.idle);
        live.min_by_key(|split| (split.hold(), split.number)).map(|split| (split.split.id.clone(), split.hold()))
    }
    /// Splits that have been quiet for so long that time goes on without them.
    pub fn idle_splits(&self) -> Vec<String> {
        let idle = self.splits.iter().filter(|split| self.timed && !split.finished && split.idle);
        idle.map(|split| split.split.id.clone()).collect()
    }
}
