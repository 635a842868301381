//! Reads one partition.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde_json::json;
use tidemill_engine::source::{Position, Read, SplitReader, Waker};
use tidemill_engine::{EngineError, Result};

use super::client::{failed, is_outage};
use super::consumer::{Progress, SharedConsumer};
use super::native::MessageQueue;
use super::rows::MessageRows;
use super::source::PartitionSplit;

/// How soon to ask again where nothing has come: what comes wakes the reader. The client has other news, which nobody is woken for.
const PAUSE: Duration = Duration::from_millis(500);

/// How soon to ask again where the brokers cannot be reached.
const OUTAGE_PAUSE: Duration = Duration::from_millis(200);

/// Messages of one batch take at most about so many bytes.
const BATCH_BYTES_MAX: usize = 8 << 20;

pub struct PartitionReader {
    consumer: Arc<SharedConsumer>,
    queue: MessageQueue,
    waker: Option<Waker>,
    progress: Arc<Progress>,
    split: PartitionSplit,
    rows: MessageRows,
    /// Of the next message.
    offset: i64,
    /// The log was seen to reach the split's end before `queue` began.
    reaches_end: bool,
    ended: bool,
}

/// What one look at the queue gave.
enum Look {
    Taken,
    Nothing,
    /// All that may be read now has been read.
    AtEnd,
    /// A message behind the split's end.
    Passed,
    Outage,
}

impl PartitionReader {
    pub fn open(
        consumer: Arc<SharedConsumer>,
        split: PartitionSplit,
        position: Option<i64>,
        rows: MessageRows,
    ) -> Result<Self> {
        consumer.watch(&split.topic, split.topic_id.as_deref())?;
        let (first, end) = consumer.bounds(&split.topic, split.partition)?;
        let offset = match position.or(split.start) {
            None => first,
            Some(offset) if (first..=end).contains(&offset) => offset,
            Some(offset) => return Err(gone(&split, offset, first, end, position.is_some())),
        };
        let (queue, progress) = consumer.queue(&split.topic, split.partition, offset)?;
        let reaches_end = split.end.is_some_and(|last| end >= last);
        let ended = split.end.is_some_and(|end| offset >= end);
        Ok(Self { consumer, queue, waker: None, progress, split, rows, offset, reaches_end, ended })
    }

    fn look(&mut self) -> Result<Look> {
        let Some(answer) = self.queue.next() else { return Ok(Look::Nothing) };
        match answer {
            Ok(message) => {
                if self.split.end.is_some_and(|end| message.offset() >= end) {
                    return Ok(Look::Passed);
                }
                assert!(message.offset() >= self.offset, "offsets never go back");
                self.offset = message.offset() + 1;
                self.rows.take(message);
                Ok(Look::Taken)
            }
            Err(KafkaError::PartitionEOF(_)) => Ok(Look::AtEnd),
            Err(error) if is_outage(&error) => Ok(Look::Outage),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// At the end of the log: whether that is the split's end, too. In front of it there may stand only what no reader is given, and it
    /// may lie where nothing has been written yet.
    fn is_over(&mut self) -> Result<bool> {
        let Some(end) = self.split.end else { return Ok(false) };
        if self.offset >= end || self.reaches_end {
            return Ok(true);
        }
        let PartitionSplit { topic, partition, .. } = &self.split;
        self.reaches_end = self.consumer.bounds(topic, *partition)?.1 >= end;
        if self.reaches_end {
            // The log may have grown since its end was met: that is to be met once more.
            self.consumer.release(topic, *partition);
            (self.queue, self.progress) = self.consumer.queue(topic, *partition, self.offset)?;
            self.waker.iter().for_each(|waker| self.queue.wake_with(waker));
        }
        Ok(false)
    }

    fn explain(&self, error: &KafkaError) -> EngineError {
        let PartitionSplit { topic, partition, .. } = &self.split;
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                match self.consumer.bounds(topic, *partition) {
                    Ok((first, end)) => gone(&self.split, self.offset, first, end, true),
                    Err(error) => error,
                }
            }
            _ => failed(format!("read topic '{topic}', partition {partition}, at offset {}", self.offset), error),
        }
    }
}

impl SplitReader for PartitionReader {
    fn next(&mut self, rows_max: usize) -> Result<Read> {
        if self.ended {
            return Ok(Read::End);
        }
        self.consumer.look()?;
        let mut last = Look::Taken;
        while matches!(last, Look::Taken) && self.rows.len() < rows_max && self.rows.bytes() < BATCH_BYTES_MAX {
            last = self.look()?;
        }
        let at_end = matches!(last, Look::AtEnd);
        if at_end || self.rows.len() > 0 {
            self.progress.set(self.offset, at_end);
        }
        self.ended = match last {
            Look::Passed => true,
            Look::AtEnd => self.is_over()?,
            // What fills the log up to the end of a split is seen at the end of the log; where a message stands there, it was the last.
            _ => self.split.end.is_some_and(|end| self.offset >= end),
        };
        if self.rows.len() > 0 {
            let (rows, rejected) = self.rows.make()?;
            return Ok(Read::Rows { rows, rejected });
        }
        self.consumer.serve();
        match last {
            _ if self.ended => Ok(Read::End),
            Look::Outage => Ok(Read::Wait(OUTAGE_PAUSE)),
            // What stands behind it in the queue wakes nobody.
            Look::AtEnd => Ok(Read::Wait(Duration::ZERO)),
            _ => Ok(Read::Wait(PAUSE)),
        }
    }

    fn wake_with(&mut self, waker: &Waker) {
        self.queue.wake_with(waker);
        self.waker = Some(waker.clone());
    }

    /// The offset of the next message.
    fn position(&self) -> Position {
        json!(self.offset)
    }
}

impl Drop for PartitionReader {
    fn drop(&mut self) {
        self.consumer.release(&self.split.topic, self.split.partition);
    }
}

/// The messages that were to come next are not there.
fn gone(split: &PartitionSplit, offset: i64, first: i64, end: i64, restored: bool) -> EngineError {
    let PartitionSplit { topic, partition, .. } = split;
    let what = match offset > end {
        true => "the topic was deleted and made again, or cut short",
        false => "the broker has deleted the messages between",
    };
    let hint = match restored {
        true => {
            "start again without the old checkpoints (--fresh), or from a newer savepoint; a longer 'retention.ms' keeps messages until they are read"
        }
        false => "choose another 'scan.startup.mode'",
    };
    EngineError::Unsupported(format!(
        "topic '{topic}', partition {partition}: the next message to read is {offset}, but there are those from {first} to before {end}: {what}\n  hint: {hint}"
    ))
}
