//! The loop of a task that reads from channels, and what all tasks share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::chain::Chain;
use super::events::{Reporter, TaskSnapshot};
use super::gate::{Gate, GateEvent};
use crate::checkpoint::CheckpointStore;
use crate::element::BarrierKind;
use crate::task_time::TaskTimes;
use crate::time::{Clock, ProcessingTime, set_call_time};
use crate::{Barrier, EngineError, Epoch, Result};

/// Calls of time-driven operators and sinks are at least so far apart.
pub const TICK: Duration = Duration::from_millis(50);

/// What a task knows of the world.
#[derive(Clone)]
pub struct TaskWorld {
    pub reporter: Reporter,
    pub clock: Arc<dyn Clock>,
    pub store: Arc<CheckpointStore>,
    /// Set when the attempt is torn down.
    pub cancelled: Arc<AtomicBool>,
    /// The number of the last checkpoint that was begun in this attempt; 0 before the first.
    pub begun_epoch: Arc<AtomicU64>,
    /// Where this task's time goes.
    pub times: Arc<TaskTimes>,
}

impl TaskWorld {
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(EngineError::Cancelled) } else { Ok(()) }
    }

    /// Says which operators have given their last row.
    pub fn tell_done(&self, chain: &mut Chain) {
        chain.newly_done().for_each(|node| self.reporter.operator_done(node));
    }

    /// The checkpoint whose barrier is on its way, or was the last one.
    pub fn awaited_epoch(&self) -> Option<Epoch> {
        Some(Epoch(self.begun_epoch.load(Ordering::Relaxed))).filter(|epoch| *epoch > Epoch::ZERO)
    }

    /// The job's clock, which also tells the expressions that are evaluated next.
    pub fn now(&self) -> ProcessingTime {
        let now = self.clock.now();
        set_call_time(now);
        now
    }
}

/// Calls a chain's `on_time` when it is due by the job's clock, and says how long a task may wait until then.
pub struct Ticker {
    clock: Arc<dyn Clock>,
    last: ProcessingTime,
}

impl Ticker {
    pub fn new(world: &TaskWorld) -> Self {
        Self { clock: Arc::clone(&world.clock), last: world.now() }
    }

    pub fn tick(&mut self, chain: &mut Chain, now: ProcessingTime) -> Result<()> {
        let elapsed_ms = now.0.saturating_sub(self.last.0);
        if (0..TICK.as_millis() as i64).contains(&elapsed_ms) || chain.next_time().is_none_or(|due| due > now) {
            return Ok(());
        }
        self.last = now;
        chain.on_time(now)
    }

    /// How long nothing is due if nothing comes.
    pub fn wait(&self, chain: &Chain, now: ProcessingTime) -> Duration {
        let tick = self.last.min(now).plus(TICK);
        self.clock.wait_for(chain.next_time().map_or(ProcessingTime::MAX, |due| due.max(tick)))
    }
}

/// A task whose head reads channels.
pub struct OperatorTask {
    pub chain: Chain,
    pub gate: Gate,
    pub world: TaskWorld,
}

impl OperatorTask {
    /// Runs until the Stop barrier, an error, or cancellation: by that the tasks in front end, and a channel without sender is one
    /// that says so at once.
    pub fn run(mut self) -> Result<()> {
        self.chain.open(self.world.now())?;
        let mut ticker = Ticker::new(&self.world);
        let mut works_ahead = false;
        loop {
            self.world.check_cancelled()?;
            self.world.tell_done(&mut self.chain);
            let wait = if works_ahead { Duration::ZERO } else { ticker.wait(&self.chain, self.world.now()) };
            let event = self.gate.next(wait)?;
            let now = self.world.now();
            works_ahead = match event {
                GateEvent::Timeout => works_ahead && self.chain.work_ahead(now)?,
                _ => true,
            };
            self.chain.hear_inputs(self.gate.input_watermarks());
            match event {
                GateEvent::Batch { input, batch } => self.chain.on_batch(input, batch, now)?,
                GateEvent::Watermark(watermark) => self.chain.on_watermark(watermark, now)?,
                GateEvent::Idle => self.chain.on_idle()?,
                GateEvent::End => self.chain.on_end(now)?,
                GateEvent::Timeout => {}
                GateEvent::Barrier(barrier) => {
                    self.on_barrier(barrier, now)?;
                    if barrier.kind == BarrierKind::Stop {
                        return Ok(());
                    }
                }
            }
            ticker.tick(&mut self.chain, now)?;
        }
    }

    fn on_barrier(&mut self, barrier: Barrier, now: ProcessingTime) -> Result<()> {
        let staging = self.world.store.staging(barrier.epoch);
        let chain = self.chain.on_barrier(barrier, &staging, now)?;
        self.world.reporter.snapshot(barrier.epoch, TaskSnapshot { chain, source: None });
        Ok(())
    }
}
