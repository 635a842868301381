//! The receiving end of a task: many channels in, one sequence of events out.
//!
//! Here barriers are aligned (a channel that delivered its barrier is not read until all have), watermarks are
//! combined (the minimum over the inputs that are not idle), and idleness and end are made common.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, TryRecvError, never};

use crate::task_time::{TaskTimes, Waiting};
use crate::time::EventTime;
use crate::{Barrier, Batch, Element, EngineError, Result};

/// What the task is to do next.
// Nearly every event is a batch, and is moved once: a box would be an allocation per batch for nothing.
#[expect(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum GateEvent {
    Batch {
        input: usize,
        batch: Batch,
    },
    /// May repeat the last one: then it only says that time is no longer idle.
    Watermark(EventTime),
    Idle,
    Barrier(Barrier),
    End,
    /// Nothing came within the given time.
    Timeout,
}

pub struct Gate {
    inlets: Vec<Inlet>,
    /// Where the next look begins, so that no channel starves.
    next: usize,
    barrier: Option<Barrier>,
    watermark: EventTime,
    /// By logical input, as of the last event that was given.
    input_watermarks: Vec<EventTime>,
    has_news_of_inputs: bool,
    idle: bool,
    ended: bool,
    /// Follow-up events of the last element.
    pending: VecDeque<GateEvent>,
    /// Of the task that reads.
    times: Arc<TaskTimes>,
}

struct Inlet {
    receiver: Receiver<Element>,
    /// Index of the logical input that this channel belongs to.
    input: usize,
    /// The last watermark before the final one.
    watermark: EventTime,
    /// The final watermark came: this channel holds nothing back any more, and does not say how late it is either.
    is_final: bool,
    idle: bool,
    ended: bool,
    /// Delivered the barrier that is being aligned; not read until all have.
    aligned: bool,
}

impl Inlet {
    /// No row that it gives from now on is at or before that, unless it is late.
    fn told(&self) -> EventTime {
        if self.is_final { EventTime::MAX } else { self.watermark }
    }
}

impl Gate {
    /// Channels with the logical input that each belongs to.
    pub fn new(channels: Vec<(usize, Receiver<Element>)>) -> Self {
        let inlet = |(input, receiver)| Inlet {
            receiver,
            input,
            watermark: EventTime::MIN,
            is_final: false,
            idle: false,
            ended: false,
            aligned: false,
        };
        let inlets: Vec<Inlet> = channels.into_iter().map(inlet).collect();
        let inputs = inlets.iter().map(|inlet| inlet.input + 1).max().unwrap_or(0);
        Self {
            inlets,
            next: 0,
            barrier: None,
            watermark: EventTime::MIN,
            input_watermarks: vec![EventTime::MIN; inputs],
            has_news_of_inputs: false,
            idle: false,
            ended: false,
            pending: VecDeque::new(),
            times: Arc::default(),
        }
    }

    /// Counts how long it waits for rows.
    pub fn counting(mut self, times: Arc<TaskTimes>) -> Self {
        self.times = times;
        self
    }

    /// The next event, or [`GateEvent::Timeout`]. A channel whose sender is gone ends in [`EngineError::Cancelled`].
    pub fn next(&mut self, timeout: Duration) -> Result<GateEvent> {
        self.next_unless::<()>(timeout, &never(), true)
    }

    /// As [`Gate::next`], but not later than something can be had from `other`. Without `takes_rows` no channel is read.
    pub fn next_unless<T>(&mut self, timeout: Duration, other: &Receiver<T>, takes_rows: bool) -> Result<GateEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            self.tell_inputs();
            let received = if takes_rows { self.receive(timeout, other)? } else { self.wait(&[], timeout, other)? };
            let Some((index, element)) = received else { return Ok(GateEvent::Timeout) };
            self.accept(index, element);
        }
    }

    /// The minimum over the channels of each logical input, be they idle or not: never ahead of an event that is still to be given.
    pub fn input_watermarks(&self) -> &[EventTime] {
        &self.input_watermarks
    }

    /// To be called when all that came in was given.
    fn tell_inputs(&mut self) {
        if !std::mem::take(&mut self.has_news_of_inputs) {
            return;
        }
        for (input, watermark) in self.input_watermarks.iter_mut().enumerate() {
            let told = self.inlets.iter().filter(|inlet| inlet.input == input).map(Inlet::told);
            *watermark = told.min().unwrap_or(*watermark);
        }
    }

    fn receive<T>(&mut self, timeout: Duration, other: &Receiver<T>) -> Result<Option<(usize, Element)>> {
        let count = self.inlets.len();
        for step in 0..count {
            let index = (self.next + step) % count;
            if self.inlets[index].aligned {
                continue;
            }
            match self.inlets[index].receiver.try_recv() {
                Ok(element) => {
                    self.next = index + 1;
                    return Ok(Some((index, element)));
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Err(EngineError::Cancelled),
            }
        }
        let open: Vec<usize> = (0..count).filter(|index| !self.inlets[*index].aligned).collect();
        self.wait(&open, timeout, other)
    }

    /// What one of these inlets gives; `None` when the time is over or `other` has something.
    fn wait<T>(&mut self, open: &[usize], timeout: Duration, other: &Receiver<T>) -> Result<Option<(usize, Element)>> {
        let mut select = Select::new();
        for index in open {
            select.recv(&self.inlets[*index].receiver);
        }
        select.recv(other);
        // Where no row may be taken, the task has its hands full.
        let wait = (!open.is_empty()).then(|| self.times.wait(Waiting::Idle));
        let ready = select.ready_timeout(timeout);
        drop(wait);
        let Ok(ready) = ready else { return Ok(None) };
        let Some(index) = open.get(ready).copied() else { return Ok(None) };
        match self.inlets[index].receiver.try_recv() {
            Ok(element) => {
                self.next = index + 1;
                Ok(Some((index, element)))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(EngineError::Cancelled),
        }
    }

    fn accept(&mut self, index: usize, element: Element) {
        if self.take_in(index, element) {
            self.hear_idle_inlets();
            self.combine_time();
        }
    }

    /// True where that says something about time.
    fn take_in(&mut self, index: usize, element: Element) -> bool {
        let inlet = &mut self.inlets[index];
        match element {
            Element::Batch(batch) => {
                assert!(!inlet.ended, "rows came after the end of input {}", inlet.input);
                self.pending.push_back(GateEvent::Batch { input: inlet.input, batch });
            }
            Element::Watermark(watermark) => {
                match watermark {
                    EventTime::MAX => inlet.is_final = true,
                    _ => inlet.watermark = inlet.watermark.max(watermark),
                }
                inlet.idle = false;
                return true;
            }
            Element::Idle => {
                inlet.idle = true;
                return true;
            }
            Element::End => {
                assert!(inlet.is_final, "the final watermark comes before the end");
                inlet.ended = true;
                self.combine_end();
            }
            Element::Barrier(barrier) => self.align(index, barrier),
        }
        false
    }

    /// An input that is no longer idle may have said so before another one let time go on, and stand in its channel still.
    fn hear_idle_inlets(&mut self) {
        for index in 0..self.inlets.len() {
            while self.inlets[index].idle && !self.inlets[index].aligned {
                // That a sender is gone is noticed where its channel's turn comes.
                let Ok(element) = self.inlets[index].receiver.try_recv() else { break };
                self.take_in(index, element);
            }
        }
    }

    fn align(&mut self, index: usize, barrier: Barrier) {
        let current = *self.barrier.get_or_insert(barrier);
        assert_eq!(current, barrier, "one checkpoint at a time: barriers of two cannot mix");
        self.inlets[index].aligned = true;
        if self.inlets.iter().all(|inlet| inlet.aligned) {
            self.inlets.iter_mut().for_each(|inlet| inlet.aligned = false);
            self.barrier = None;
            self.pending.push_back(GateEvent::Barrier(barrier));
        }
    }

    /// The minimum over the inputs that are neither idle nor at their end. Where all that are left are idle, time is
    /// what the furthest input ever said: the same as if the idle ones had fallen silent before the others ended.
    fn combine_time(&mut self) {
        self.has_news_of_inputs = true;
        let live = || self.inlets.iter().filter(|inlet| !inlet.is_final);
        let idle = live().all(|inlet| inlet.idle) && live().next().is_some();
        let combined = match live().next() {
            None => Some(EventTime::MAX),
            Some(_) if idle => self.inlets.iter().map(|inlet| inlet.watermark).max(),
            Some(_) => live().filter(|inlet| !inlet.idle).map(|inlet| inlet.watermark).min(),
        };
        let combined = combined.unwrap_or(self.watermark).max(self.watermark);
        // To those downstream a watermark also says "no longer idle", so idleness is said again behind one.
        let tells_time = combined > self.watermark || (self.idle && !idle);
        if tells_time {
            self.watermark = combined;
            self.pending.push_back(GateEvent::Watermark(combined));
        }
        if idle && (tells_time || !self.idle) {
            self.pending.push_back(GateEvent::Idle);
        }
        self.idle = idle;
    }

    fn combine_end(&mut self) {
        if !self.ended && self.inlets.iter().all(|inlet| inlet.ended) {
            self.ended = true;
            self.pending.push_back(GateEvent::End);
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
