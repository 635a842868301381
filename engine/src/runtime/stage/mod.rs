//! The one asynchronous stage: a task whose head has rows in flight while the outside world is asked about them.
//!
//! The head decides everything (what to ask, what to do about failures, which rows may leave); this loop only carries its
//! questions to the threads and their answers back, and keeps control in its place behind the rows: watermarks through
//! what the head says its readers may be told, idleness and the end until no row is in flight.
//!
//! At a barrier the head writes its rows in flight to state, so a checkpoint waits for no server. Rows that stand in
//! front of a barrier are taken in even while the head is full, up to a bound of its own.

use std::time::Duration;

use super::chain::Chain;
use super::events::TaskSnapshot;
use super::gate::{Gate, GateEvent};
use super::task::{TICK, TaskWorld, Ticker};
use crate::element::BarrierKind;
use crate::time::ProcessingTime;
use crate::{Barrier, Epoch, Result};

mod pool;

pub use pool::LookupThreads;

/// A task that asks.
pub struct StageTask {
    pub chain: Chain,
    pub gate: Gate,
    pub threads: LookupThreads,
    pub world: TaskWorld,
}

/// Control that waits until no row is in flight.
#[derive(Default)]
struct Held {
    idle: bool,
    end: bool,
    /// The last barrier, once the input has ended: all rows belong to its epoch.
    stop: Option<Barrier>,
    /// The last barrier that was answered.
    epoch: Option<Epoch>,
}

impl StageTask {
    /// Runs until the Stop barrier, an error, or cancellation.
    pub fn run(mut self) -> Result<()> {
        let mut held = Held::default();
        let mut ticker = Ticker::new(&self.world);
        let mut works_ahead = false;
        self.chain.open(self.world.now())?;
        loop {
            self.world.check_cancelled()?;
            self.world.tell_done(&mut self.chain);
            let now = self.world.now();
            if self.settle(&mut held, now)? {
                return Ok(());
            }
            let barrier_awaited = self.world.awaited_epoch() > held.epoch;
            let takes_rows = held.stop.is_none() && self.chain.stage().has_room(barrier_awaited);
            // What is in flight has times of its own: repeated questions, answers that are overdue.
            let wait = ticker.wait(&self.chain, now);
            let wait = match works_ahead {
                true => Duration::ZERO,
                false if self.chain.stage().is_drained() => wait,
                false => wait.min(TICK),
            };
            let event = self.gate.next_unless(wait, self.threads.answers(), takes_rows)?;
            let now = self.world.now();
            works_ahead = match event {
                GateEvent::Timeout => works_ahead && self.chain.work_ahead(now)?,
                _ => true,
            };
            if self.on_event(event, &mut held, now)? {
                return Ok(());
            }
            ticker.tick(&mut self.chain, now)?;
        }
    }

    /// Takes in answers, lets go what they set free, and asks what is to be asked next. True: the task is over.
    fn settle(&mut self, held: &mut Held, now: ProcessingTime) -> Result<bool> {
        while let Some(answer) = self.threads.next_answer() {
            self.chain.on_answer(answer, now)?;
        }
        self.chain.emit_answered(now)?;
        for (number, question) in self.chain.questions(now)? {
            self.threads.ask(number, question, now)?;
        }
        if !self.chain.stage().is_drained() {
            return Ok(false);
        }
        if std::mem::take(&mut held.end) {
            self.chain.on_end(now)?;
        } else if std::mem::take(&mut held.idle) {
            self.chain.on_idle()?;
        }
        match held.stop.take() {
            Some(barrier) => self.on_barrier(barrier, held, now).map(|()| true),
            None => Ok(false),
        }
    }

    /// True: the task is over.
    fn on_event(&mut self, event: GateEvent, held: &mut Held, now: ProcessingTime) -> Result<bool> {
        match event {
            GateEvent::Batch { input, batch } => self.chain.on_batch(input, batch, now)?,
            GateEvent::Watermark(watermark) => {
                held.idle = false;
                self.chain.on_watermark(watermark, now)?;
            }
            GateEvent::Idle => held.idle = true,
            GateEvent::End => held.end = true,
            GateEvent::Timeout => {}
            GateEvent::Barrier(barrier) if barrier.kind == BarrierKind::Stop && held.end => held.stop = Some(barrier),
            GateEvent::Barrier(barrier) => {
                self.on_barrier(barrier, held, now)?;
                return Ok(barrier.kind == BarrierKind::Stop);
            }
        }
        Ok(false)
    }

    fn on_barrier(&mut self, barrier: Barrier, held: &mut Held, now: ProcessingTime) -> Result<()> {
        held.epoch = Some(barrier.epoch);
        let staging = self.world.store.staging(barrier.epoch);
        let chain = self.chain.on_barrier(barrier, &staging, now)?;
        self.world.reporter.snapshot(barrier.epoch, TaskSnapshot { chain, source: None });
        Ok(())
    }
}
