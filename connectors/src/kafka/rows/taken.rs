//! Messages on their way to rows: copied out of the client's buffers, one behind the other.

use rdkafka::message::Timestamp;

use crate::kafka::native::PartitionMessage;

/// What of each message is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    pub keys: bool,
    pub headers: bool,
    pub leader_epochs: bool,
    /// A message without a value says that its key is gone.
    pub deletes: bool,
    /// A message without a value is a row all the same; else it is given to no format, and is no row.
    pub nulls: bool,
}

/// The messages of a batch.
#[derive(Default)]
pub struct Taken {
    pub values: Parts,
    pub keys: Parts,
    /// Messages without a value.
    pub empty: Vec<u32>,
    pub offsets: Vec<i64>,
    pub timestamps: Vec<Timestamp>,
    pub leader_epochs: Vec<Option<i32>>,
    pub headers: Vec<Vec<(String, Option<Vec<u8>>)>>,
}

/// Keys, or values: those that are to be decoded.
#[derive(Default)]
pub struct Parts {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
    /// Of which message each part is.
    messages: Vec<u32>,
}

impl Parts {
    pub fn push(&mut self, part: &[u8], message: u32) {
        self.bytes.extend_from_slice(part);
        self.ends.push(self.bytes.len());
        self.messages.push(message);
    }

    fn start(&self, part: usize) -> usize {
        part.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// The part in which a byte stands; of an empty record the empty part there, the first from `from` on. Also where it begins.
    pub fn place_of(&self, at: u64, is_empty: bool, from: usize) -> (usize, usize) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let first = self.ends.partition_point(|end| *end < at).max(from);
        let mut empty = (first..self.ends.len()).filter(|part| self.start(*part) == at && self.ends[*part] == at);
        let part = match empty.next().filter(|_| is_empty) {
            Some(part) => part,
            None => self.ends.partition_point(|end| *end <= at).min(self.ends.len().saturating_sub(1)),
        };
        (part, self.start(part))
    }

    /// The part of a message, if it has one.
    pub fn of_message(&self, message: u32) -> Option<&[u8]> {
        let part = self.messages.binary_search(&message).ok()?;
        Some(&self.bytes[self.start(part)..self.ends[part]])
    }

    /// The message of a part.
    pub fn message(&self, part: usize) -> u32 {
        self.messages[part]
    }
}

impl Taken {
    pub fn take(&mut self, message: PartitionMessage<'_>, wanted: Wanted) {
        self.push(message.key(), message.value(), wanted);
        self.offsets.push(message.offset());
        self.timestamps.push(message.timestamp());
        if wanted.leader_epochs {
            self.leader_epochs.push(message.leader_epoch());
        }
        if wanted.headers {
            self.headers.push(message.headers());
        }
    }

    /// The two halves of the next message.
    pub fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, wanted: Wanted) {
        let index = self.offsets.len() as u32;
        match value {
            Some(value) => self.values.push(value, index),
            None => {
                self.empty.push(index);
                if wanted.nulls {
                    self.values.push(&[], index);
                }
            }
        }
        if wanted.keys {
            self.keys.push(key.unwrap_or_default(), index);
        }
    }

    pub fn bytes(&self) -> usize {
        self.values.bytes.len() + self.keys.bytes.len()
    }
}
