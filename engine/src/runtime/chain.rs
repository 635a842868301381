//! The operators of one task, called one from the other in one thread: rows go down by direct calls, and leave the
//! task through channels.
//!
//! Nodes stand in topological order and each has one input within the chain, so control (watermark, barrier, idle,
//! end) is handled by one walk: what an operator emits reaches those behind it before the control does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::edge::Outlet;
use crate::element::BarrierKind;
use crate::lookup::{Answered, Question};
use crate::metrics::{Counts, NodeMetrics};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, Stage};
use crate::sink::{Prepared, SinkWriter};
use crate::state::{PendingSnapshot, StateInstance};
use crate::time::{EventTime, ProcessingTime};
use crate::{Barrier, Batch, Element, EngineError, Result};

pub struct Chain {
    slots: Vec<Slot>,
    /// When the newest row that the task has got was read.
    read_at: Option<Instant>,
    watermark: EventTime,
    /// What the readers of a head that asks were last told.
    released: EventTime,
    ended: bool,
    /// Set when the attempt is torn down.
    cancelled: Arc<AtomicBool>,
}

/// One operator instance within a chain.
pub struct Slot {
    /// Position of the node in the graph.
    pub node: usize,
    pub uid: String,
    pub name: String,
    pub body: Body,
    pub ctx: OperatorContext,
    /// The same as `ctx.metrics`.
    pub metrics: Arc<NodeMetrics>,
    /// The state behind `ctx.state`, to take snapshots of.
    pub state: Option<StateInstance>,
    pub outputs: Vec<Output>,
    /// Of the whole job.
    pub memory_budget_bytes: usize,
    /// It was said that the operator is done.
    pub done: bool,
}

/// What one operator instance may hold in any case: a few batches, and what they touch, are never put on disk.
const MEMORY_BYTES_MIN: usize = 32 << 20;
/// How many times the job's budget one operator instance may hold in the middle of a batch, whose groups come one with the other.
const BUDGET_EXCESS_MAX: usize = 2;

pub enum Body {
    /// The head of a source task: the task itself reads, and hands the rows to [`Chain::emit`].
    Source,
    Operator(Box<dyn Operator>),
    Sink(Box<dyn SinkWriter>),
}

impl Body {
    fn next_time(&self) -> Option<ProcessingTime> {
        match self {
            Body::Source => None,
            Body::Operator(operator) => operator.next_time(),
            Body::Sink(writer) => writer.next_time(),
        }
    }
}

/// A reader of one of a slot's ports.
pub struct Output {
    pub port: usize,
    pub to: Destination,
}

pub enum Destination {
    /// A later slot of the same chain.
    Slot(usize),
    Channel(Outlet),
}

/// What the slots of a chain leave behind at a barrier.
#[derive(Default)]
pub struct ChainSnapshot {
    pub operators: Vec<PendingSnapshot>,
    /// Sinks: uid, subtask, what was prepared.
    pub sinks: Vec<(String, usize, Prepared)>,
    /// What each instance has counted in this attempt; by the node's position in the graph.
    pub counts: Vec<(usize, Counts)>,
}

impl Chain {
    /// The slots in topological order; once `cancelled` is set, nothing is emitted any more.
    pub fn new(slots: Vec<Slot>, cancelled: Arc<AtomicBool>) -> Self {
        for (index, slot) in slots.iter().enumerate() {
            let later = |output: &Output| !matches!(output.to, Destination::Slot(to) if to <= index);
            assert!(slot.outputs.iter().all(later), "rows only go forward");
        }
        Self { slots, read_at: None, watermark: EventTime::MIN, released: EventTime::MIN, ended: false, cancelled }
    }

    /// Calls every operator's `open`.
    pub fn open(&mut self, now: ProcessingTime) -> Result<()> {
        for slot in &mut self.slots {
            slot.ctx.now = now;
            if let Body::Operator(operator) = &mut slot.body {
                operator.open(&mut slot.ctx)?;
            }
        }
        Ok(())
    }

    /// When [`Chain::on_time`] has something to do next; `None`: not before something else happens.
    pub fn next_time(&self) -> Option<ProcessingTime> {
        self.slots.iter().filter_map(|slot| slot.body.next_time()).min()
    }

    /// Operators that have become done since the last call, by their nodes' positions in the graph.
    pub fn newly_done(&mut self) -> impl Iterator<Item = usize> {
        self.slots.iter_mut().filter_map(|slot| match &slot.body {
            Body::Operator(operator) if !slot.done && operator.is_done() => {
                slot.done = true;
                Some(slot.node)
            }
            _ => None,
        })
    }

    /// What the head emits from now on was read then.
    pub fn set_read_at(&mut self, read_at: Instant) {
        self.read_at = Some(read_at);
    }

    /// Rows for the head, from outside.
    pub fn on_batch(&mut self, input: usize, batch: Batch, now: ProcessingTime) -> Result<()> {
        self.read_at = batch.read_at().or(self.read_at);
        let turn = Turn { now, read_at: self.read_at, cancelled: &self.cancelled };
        run(&mut self.slots, 0, input, batch, turn)
    }

    /// What the inputs of the head have said of time, each for itself.
    pub fn hear_inputs(&mut self, watermarks: &[EventTime]) {
        let known = &mut self.slots[0].ctx.input_watermarks;
        if known != watermarks {
            *known = watermarks.to_vec();
        }
    }

    /// Rows of the head itself, where that is a source.
    pub fn emit(&mut self, port: usize, batch: Batch, now: ProcessingTime) -> Result<()> {
        let turn = Turn { now, read_at: self.read_at, cancelled: &self.cancelled };
        let (head, rest) = self.slots.split_first_mut().expect("a chain has a head");
        Emitter { metrics: &head.metrics, outputs: &mut head.outputs, rest, first: 1, turn }.emit(port, batch)
    }

    /// A watermark that does not move time is only handed on: it says that time is no longer idle.
    pub fn on_watermark(&mut self, watermark: EventTime, now: ProcessingTime) -> Result<()> {
        self.watermark = self.watermark.max(watermark);
        self.spread_watermark(0, self.watermark, now)
    }

    /// Tells the slots from `first` on how far time is.
    fn spread_watermark(&mut self, first: usize, mut watermark: EventTime, now: ProcessingTime) -> Result<()> {
        for index in first..self.slots.len() {
            if watermark > self.slots[index].ctx.watermark {
                self.slots[index].ctx.watermark = watermark;
                self.call(index, now, |operator, ctx, out| operator.on_watermark(watermark, ctx, out))?;
                if let Body::Sink(writer) = &mut self.slots[index].body {
                    writer.on_watermark(watermark);
                }
                self.slots[index].metrics.watermark_ms.set(watermark.0);
            }
            // Slots beside a reader get its watermark too, which is never ahead of their own.
            if let Body::Operator(operator) = &self.slots[index].body {
                watermark = operator.output_watermark(watermark);
            }
            self.slots[index].broadcast(&Element::Watermark(watermark))?;
        }
        Ok(())
    }

    /// The head, which asks the outside world.
    pub fn stage(&mut self) -> &mut dyn Stage {
        stage_of(&mut self.slots[0].body)
    }

    pub fn on_answer(&mut self, answer: Answered, now: ProcessingTime) -> Result<()> {
        let slot = &mut self.slots[0];
        slot.ctx.now = now;
        stage_of(&mut slot.body).on_answer(answer, &mut slot.ctx)
    }

    /// What the head asks now, with a number for each question.
    pub fn questions(&mut self, now: ProcessingTime) -> Result<Vec<(u64, Question)>> {
        let slot = &mut self.slots[0];
        slot.ctx.now = now;
        stage_of(&mut slot.body).questions(&mut slot.ctx)
    }

    /// Lets the head emit what is answered, and the watermarks between.
    pub fn emit_answered(&mut self, now: ProcessingTime) -> Result<()> {
        loop {
            let mut goes_on = false;
            self.call(0, now, |operator, ctx, out| {
                goes_on = operator.stage().is_some_and(|stage| stage.has_answered());
                operator.stage().map_or(Ok(()), |stage| stage.emit_answered(ctx, out))
            })?;
            self.release_time(now)?;
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Tells the head's readers of time that it had held back.
    fn release_time(&mut self, now: ProcessingTime) -> Result<()> {
        let Body::Operator(head) = &self.slots[0].body else { return Ok(()) };
        let released = head.output_watermark(self.watermark);
        if released <= self.released {
            return Ok(());
        }
        self.released = released;
        self.slots[0].broadcast(&Element::Watermark(released))?;
        self.spread_watermark(1, released, now)
    }

    pub fn on_idle(&mut self) -> Result<()> {
        self.slots.iter().try_for_each(|slot| slot.broadcast(&Element::Idle))
    }

    /// All inputs ended; the final watermark came before.
    pub fn on_end(&mut self, now: ProcessingTime) -> Result<()> {
        assert!(!self.ended, "a task ends once");
        self.ended = true;
        for index in 0..self.slots.len() {
            self.call(index, now, |operator, ctx, out| operator.on_end(ctx, out))?;
            self.slots[index].broadcast(&Element::End)?;
        }
        Ok(())
    }

    /// Sends the barrier on behind all that belongs to its epoch, then takes snapshots into `staging`.
    pub fn on_barrier(&mut self, barrier: Barrier, staging: &Path, now: ProcessingTime) -> Result<ChainSnapshot> {
        for index in 0..self.slots.len() {
            if let Some(state) = &self.slots[index].state {
                state.begin_barrier();
            }
            self.call(index, now, |operator, ctx, out| operator.on_barrier(barrier.epoch, ctx, out))?;
            self.slots[index].broadcast(&Element::Barrier(barrier))?;
        }
        let last = self.ended || barrier.kind == BarrierKind::Stop;
        let mut snapshot = ChainSnapshot::default();
        for slot in &mut self.slots {
            if let Some(state) = &slot.state {
                snapshot.operators.push(state.snapshot(staging)?);
            }
            if let Body::Sink(writer) = &mut slot.body {
                writer.on_time(now)?;
                let prepared = writer.prepare(barrier.epoch, last)?;
                snapshot.sinks.push((slot.uid.clone(), slot.ctx.subtask.index, prepared));
            }
            snapshot.counts.push((slot.node, slot.metrics.counts()));
        }
        Ok(snapshot)
    }

    /// Lets operators do a little of what the next barrier would have to; false where they have nothing left for now.
    pub fn work_ahead(&mut self, now: ProcessingTime) -> Result<bool> {
        let mut goes_on = false;
        for slot in &mut self.slots {
            if let Body::Operator(operator) = &mut slot.body {
                slot.ctx.now = now;
                goes_on |= operator.work_ahead(&mut slot.ctx)?;
            }
        }
        Ok(goes_on)
    }

    /// Calls those whose time has come.
    pub fn on_time(&mut self, now: ProcessingTime) -> Result<()> {
        for index in 0..self.slots.len() {
            if self.slots[index].body.next_time().is_none_or(|due| due > now) {
                continue;
            }
            if let Body::Sink(writer) = &mut self.slots[index].body {
                writer.on_time(now)?;
            }
            self.call(index, now, |operator, ctx, out| operator.on_time(ctx, out))?;
        }
        Ok(())
    }

    /// Calls the operator at `index`, if there is one, with a collector that reaches all behind it.
    fn call(
        &mut self,
        index: usize,
        now: ProcessingTime,
        work: impl FnOnce(&mut dyn Operator, &mut OperatorContext, &mut dyn Collector) -> Result<()>,
    ) -> Result<()> {
        let turn = Turn { now, read_at: self.read_at, cancelled: &self.cancelled };
        let (slot, rest) = self.slots[index..].split_first_mut().expect("the index is within the chain");
        let Body::Operator(operator) = &mut slot.body else { return Ok(()) };
        slot.ctx.now = now;
        let mut out = Emitter { metrics: &slot.metrics, outputs: &mut slot.outputs, rest, first: index + 1, turn };
        work(operator.as_mut(), &mut slot.ctx, &mut out)?;
        slot.check_memory()
    }
}

fn stage_of(body: &mut Body) -> &mut dyn Stage {
    match body {
        Body::Operator(operator) => operator.stage().expect("the head of a stage's task asks"),
        Body::Source | Body::Sink(_) => unreachable!("only operators ask"),
    }
}

impl Slot {
    /// An operator puts on disk what is beyond its share of the budget. What it must hold at once for all that, such as the one
    /// group that a batch belongs to, may be more; where it is far more, the job ends before it takes the memory of others.
    fn check_memory(&self) -> Result<()> {
        let used_bytes = self.metrics.cache_bytes.take_peak().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(0));
        let budget_bytes = self.memory_budget_bytes;
        if used_bytes <= budget_bytes.saturating_mul(BUDGET_EXCESS_MAX).max(MEMORY_BYTES_MIN) {
            return Ok(());
        }
        Err(EngineError::MemoryBudget { operator: self.name.clone(), used_bytes, budget_bytes })
    }

    fn broadcast(&self, control: &Element) -> Result<()> {
        self.outputs.iter().try_for_each(|output| match &output.to {
            Destination::Slot(_) => Ok(()),
            Destination::Channel(outlet) => outlet.broadcast(control),
        })
    }
}

/// What is known of the moment at which rows go down the chain.
#[derive(Clone, Copy)]
struct Turn<'a> {
    now: ProcessingTime,
    /// Of the newest row that they may have come of.
    read_at: Option<Instant>,
    cancelled: &'a AtomicBool,
}

/// Gives a batch to the first of `slots`, which stands at `index` of its chain.
fn run(slots: &mut [Slot], index: usize, input: usize, batch: Batch, turn: Turn<'_>) -> Result<()> {
    let (slot, rest) = slots.split_first_mut().expect("rows go to a slot of the chain");
    slot.metrics.rows_in.add(batch.num_rows());
    slot.ctx.now = turn.now;
    match &mut slot.body {
        Body::Source => unreachable!("nothing is chained in front of a source"),
        Body::Sink(writer) => {
            writer.write(&batch, turn.now)?;
            turn.read_at.into_iter().for_each(|read_at| slot.metrics.latencies.record(read_at, batch.num_rows()));
            Ok(())
        }
        Body::Operator(operator) => {
            let mut out = Emitter { metrics: &slot.metrics, outputs: &mut slot.outputs, rest, first: index + 1, turn };
            operator.on_batch(input, batch, &mut slot.ctx, &mut out)?;
            slot.check_memory()
        }
    }
}

/// Hands what one slot emits to its readers.
struct Emitter<'a> {
    metrics: &'a NodeMetrics,
    outputs: &'a mut [Output],
    /// The slots behind the emitting one; the first of them stands at `first` of the chain.
    rest: &'a mut [Slot],
    first: usize,
    turn: Turn<'a>,
}

impl Collector for Emitter<'_> {
    /// One call of an operator may emit without end, as when a watermark leaps over a year of windows: what is cancelled
    /// ends between two batches.
    fn emit(&mut self, port: usize, batch: Batch) -> Result<()> {
        if self.turn.cancelled.load(Ordering::Relaxed) {
            return Err(EngineError::Cancelled);
        }
        if batch.is_empty() {
            return Ok(());
        }
        if port == MAIN_PORT {
            self.metrics.rows_out.add(batch.num_rows());
        }
        // Rows that waited in the operator know better when they were read.
        let turn = Turn { read_at: batch.read_at().or(self.turn.read_at), ..self.turn };
        for output in self.outputs.iter_mut().filter(|output| output.port == port) {
            match &mut output.to {
                // The arrays of a batch are shared, so a clone per reader costs a few counters.
                Destination::Channel(outlet) => outlet.send_batch(batch.clone().with_read_at(turn.read_at))?,
                Destination::Slot(to) => run(&mut self.rest[*to - self.first..], *to, 0, batch.clone(), turn)?,
            }
        }
        Ok(())
    }
}
