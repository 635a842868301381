//! The sending end of an edge between tasks: who gets which rows, over bounded channels.
//!
//! A full channel makes the sender wait: that is the only flow control. A channel whose reader is gone means that
//! the job is being torn down.

use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError};

use super::partition::HashPartitioner;
use crate::task_time::{TaskTimes, Waiting};
use crate::{Batch, Element, EngineError, Result};

/// How the rows of one sender are dealt to its receivers.
pub enum Routing {
    /// There is one receiver.
    One,
    /// Batch by batch in turn; `next` is whose turn it is.
    RoundRobin {
        next: usize,
    },
    ByKey(HashPartitioner),
}

pub struct Outlet {
    receivers: Vec<Sender<Element>>,
    routing: Routing,
    /// Larger batches are split, in bytes.
    batch_bytes_max: usize,
    /// Of the task that sends.
    times: Arc<TaskTimes>,
}

impl Outlet {
    pub fn new(receivers: Vec<Sender<Element>>, routing: Routing, batch_bytes_max: usize) -> Self {
        assert!(!receivers.is_empty(), "an edge has a receiver");
        assert!(receivers.len() == 1 || !matches!(routing, Routing::One), "several receivers need a routing");
        Self { receivers, routing, batch_bytes_max, times: Arc::default() }
    }

    /// Counts how long it waits for room.
    pub fn counting(mut self, times: Arc<TaskTimes>) -> Self {
        self.times = times;
        self
    }

    pub fn send_batch(&mut self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        match &mut self.routing {
            Routing::One => self.send_split(0, batch),
            Routing::RoundRobin { next } => {
                let receiver = *next % self.receivers.len();
                *next = receiver + 1;
                self.send_split(receiver, batch)
            }
            Routing::ByKey(partitioner) => {
                let parts = partitioner.split(&batch)?;
                parts.into_iter().try_for_each(|(receiver, part)| self.send_split(receiver, part))
            }
        }
    }

    /// Watermarks, barriers, idleness and end go to every receiver.
    pub fn broadcast(&self, control: &Element) -> Result<()> {
        self.receivers.iter().try_for_each(|receiver| self.deliver(receiver, control.clone()))
    }

    fn send_split(&self, receiver: usize, batch: Batch) -> Result<()> {
        let pieces = self.piece_count(&batch);
        let rows_per_piece = batch.num_rows().div_ceil(pieces);
        let mut offset = 0;
        while offset < batch.num_rows() {
            let rows = rows_per_piece.min(batch.num_rows() - offset);
            self.deliver(&self.receivers[receiver], Element::Batch(batch.slice(offset, rows)))?;
            offset += rows;
        }
        Ok(())
    }

    fn piece_count(&self, batch: &Batch) -> usize {
        // The cheap figure is an upper bound: a slice counts the whole buffers that it shares.
        if batch.size_bytes() <= self.batch_bytes_max {
            return 1;
        }
        let columns = batch.rows().columns().iter();
        let bytes: usize = columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        bytes.div_ceil(self.batch_bytes_max.max(1)).clamp(1, batch.num_rows())
    }

    fn deliver(&self, receiver: &Sender<Element>, element: Element) -> Result<()> {
        match receiver.try_send(element) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(EngineError::Cancelled),
            Err(TrySendError::Full(element)) => {
                let _wait = self.times.wait(Waiting::BackPressured);
                receiver.send(element).map_err(|_| EngineError::Cancelled)
            }
        }
    }
}
