//! The loop of a source task: reads, tells time, and puts barriers between what it has read and what it will read.
//!
//! A source that has come to its end, or whose rows nobody needs any more, stays, since barriers still have to come from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, select};

use super::reading::{Reading, Step, TimeNews};
use crate::element::BarrierKind;
use crate::operator::{MAIN_PORT, SIDE_PORT};
use crate::runtime::chain::Chain;
use crate::runtime::events::{SourceSnapshot, TaskSnapshot};
use crate::runtime::monitor::{Monitor, SplitTimes};
use crate::runtime::task::{TICK, TaskWorld, Ticker};
use crate::task_time::Waiting;
use crate::time::{EventTime, ProcessingTime};
use crate::{Barrier, Batch, EngineError, Result};

/// How often it is shown anew which split holds time back and which are idle.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);

pub struct SourceTask {
    pub uid: String,
    /// Position of the source node in the graph.
    pub node: usize,
    pub subtask: usize,
    pub reading: Reading,
    pub chain: Chain,
    /// The coordinator's barriers.
    pub barriers: Receiver<Barrier>,
    /// Set once nobody needs further rows.
    pub unneeded: Arc<AtomicBool>,
    /// Until the checkpoint is complete that says where reading begins.
    pub held: Arc<AtomicBool>,
    /// Something may have come, or one of the two above has changed.
    pub wakes: Receiver<()>,
    pub world: TaskWorld,
    pub monitor: Arc<Monitor>,
    /// Ask for a checkpoint after so many batches.
    pub checkpoint_every_batches: Option<u64>,
}

impl SourceTask {
    /// Runs until the Stop barrier, an error, or cancellation.
    pub fn run(self) -> Result<()> {
        let ticker = Ticker::new(&self.world);
        Run { task: self, ticker, ended: false, awaits_barrier: false, batches: 0, works_ahead: false, shown_at: None }
            .run()
    }
}

struct Run {
    task: SourceTask,
    ticker: Ticker,
    ended: bool,
    /// A checkpoint was asked for: nothing is read before its barrier.
    awaits_barrier: bool,
    /// Since the last barrier.
    batches: u64,
    /// Operators behind the source may have something to do before the next barrier.
    works_ahead: bool,
    shown_at: Option<Instant>,
}

/// Whether the task goes on.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

impl Run {
    fn run(mut self) -> Result<()> {
        let now = self.task.world.now();
        self.task.chain.open(now)?;
        if self.task.reading.watermark() > EventTime::MIN {
            self.task.chain.on_watermark(self.task.reading.watermark(), now)?;
        }
        while self.turn()? == Next::GoOn {}
        Ok(())
    }

    fn turn(&mut self) -> Result<Next> {
        self.task.world.check_cancelled()?;
        self.task.world.tell_done(&mut self.task.chain);
        if let Some(barrier) = self.waiting_barrier()? {
            return self.on_barrier(barrier);
        }
        let now = self.task.world.now();
        self.ticker.tick(&mut self.task.chain, now)?;
        let reads = !(self.ended || self.awaits_barrier || self.task.held.load(Ordering::Relaxed));
        let wait = if reads { self.read(now)? } else { Duration::MAX };
        if wait.is_zero() {
            self.works_ahead = true;
            return Ok(Next::GoOn);
        }
        self.works_ahead = self.works_ahead && self.task.chain.work_ahead(now)?;
        if self.works_ahead { Ok(Next::GoOn) } else { self.rest(wait.min(self.ticker.wait(&self.task.chain, now))) }
    }

    /// Reads once, hands on what came of it, and says how long there is nothing to do.
    fn read(&mut self, now: ProcessingTime) -> Result<Duration> {
        if self.task.unneeded.load(Ordering::Relaxed) {
            return self.end(now).map(|()| Duration::ZERO);
        }
        let mut wait = Duration::ZERO;
        let read_at = Instant::now();
        match self.task.reading.step(now)? {
            Step::Read { batches, rejected } => {
                self.task.chain.set_read_at(read_at);
                self.hand_on(batches, rejected, now)?;
            }
            Step::Wait(pause) => wait = pause,
            Step::End => return self.end(now).map(|()| Duration::ZERO),
        }
        while let Some(news) = self.task.reading.time_news(now) {
            self.tell_time(news, now)?;
        }
        self.task.reading.time_is_told();
        if !wait.is_zero()
            && let Some(due) = self.task.reading.next_time()
        {
            wait = wait.min(self.task.world.clock.wait_for(due.max(now.plus(TICK))));
        }
        self.show_times(wait);
        self.ask_for_checkpoint();
        Ok(wait)
    }

    fn tell_time(&mut self, news: TimeNews, now: ProcessingTime) -> Result<()> {
        match news {
            TimeNews::Watermark(watermark) => self.task.chain.on_watermark(watermark, now),
            TimeNews::Idle => self.task.chain.on_idle(),
            TimeNews::Advance(watermark) => {
                self.task.chain.on_watermark(watermark, now)?;
                self.task.chain.on_idle()
            }
        }
    }

    fn hand_on(&mut self, batches: Vec<Batch>, rejected: Option<Batch>, now: ProcessingTime) -> Result<()> {
        self.batches += batches.len() as u64;
        if let Some(rejected) = rejected {
            self.task.chain.emit(SIDE_PORT, rejected, now)?;
        }
        batches.into_iter().try_for_each(|batch| self.task.chain.emit(MAIN_PORT, batch, now))
    }

    fn end(&mut self, now: ProcessingTime) -> Result<()> {
        self.ended = true;
        self.task.reading.finish_time();
        self.task.chain.on_watermark(EventTime::MAX, now)?;
        self.task.chain.on_end(now)?;
        self.task.monitor.set_split_times(self.task.node, self.task.subtask, None);
        self.task.world.reporter.source_ended();
        Ok(())
    }

    fn ask_for_checkpoint(&mut self) {
        let due = self.task.checkpoint_every_batches.is_some_and(|every| self.batches >= every.max(1));
        if due {
            self.batches = 0;
            self.task.world.reporter.checkpoint_wanted();
            self.awaits_barrier = true;
        }
    }

    /// Before a pause of such a length: what is shown stays for as long.
    fn show_times(&mut self, wait: Duration) {
        if wait >= TICK || self.shown_at.is_none_or(|at| at.elapsed() >= SHOW_INTERVAL) {
            self.shown_at = Some(Instant::now());
            let times = SplitTimes { holder: self.task.reading.holder(), idle: self.task.reading.idle_splits() };
            self.task.monitor.set_split_times(self.task.node, self.task.subtask, Some(times));
        }
    }

    fn waiting_barrier(&self) -> Result<Option<Barrier>> {
        match self.task.barriers.try_recv() {
            Ok(barrier) => Ok(Some(barrier)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(EngineError::Cancelled),
        }
    }

    /// Sleeps, but not through a barrier, nor where something has come.
    fn rest(&mut self, wait: Duration) -> Result<Next> {
        let waited = self.task.world.times.wait(Waiting::Idle);
        let barrier = select! {
            recv(self.task.barriers) -> barrier => Some(barrier),
            recv(self.task.wakes) -> _ => {
                self.task.reading.look_again();
                None
            }
            default(wait) => None,
        };
        drop(waited);
        match barrier {
            Some(Ok(barrier)) => self.on_barrier(barrier),
            Some(Err(_)) => Err(EngineError::Cancelled),
            None => Ok(Next::GoOn),
        }
    }

    fn on_barrier(&mut self, barrier: Barrier) -> Result<Next> {
        self.batches = 0;
        self.awaits_barrier = false;
        let now = self.task.world.now();
        let staging = self.task.world.store.staging(barrier.epoch);
        let reading = &self.task.reading;
        let source = SourceSnapshot {
            uid: self.task.uid.clone(),
            splits: reading.snapshot(),
            watermark: reading.watermark(),
            idle: reading.is_idle(),
        };
        let chain = self.task.chain.on_barrier(barrier, &staging, now)?;
        self.task.world.reporter.snapshot(barrier.epoch, TaskSnapshot { chain, source: Some(source) });
        Ok(if barrier.kind == BarrierKind::Stop { Next::Stop } else { Next::GoOn })
    }
}
