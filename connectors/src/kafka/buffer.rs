//! Upserts that wait for later ones with their key: of each key only the last is sent.

use std::collections::HashMap;

use rdkafka::message::OwnedHeaders;
use tidemill_engine::time::ProcessingTime;

use super::encoding::Outgoing;
use super::options::Flush;

/// Holds at most [`Flush::rows_max`] keys, none longer than [`Flush::interval`].
pub struct UpsertBuffer {
    flush: Flush,
    /// In the order in which their keys came first.
    waiting: Vec<Waiting>,
    by_key: HashMap<Vec<u8>, usize>,
    /// When the first of them came.
    since: Option<ProcessingTime>,
}

/// A message that waits for a later one of its key.
pub struct Waiting {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    timestamp: Option<i64>,
    headers: Option<OwnedHeaders>,
}

impl UpsertBuffer {
    pub fn new(flush: Flush) -> Self {
        Self { flush, waiting: Vec::new(), by_key: HashMap::new(), since: None }
    }

    pub fn add(&mut self, message: Outgoing<'_>, now: ProcessingTime) {
        self.since.get_or_insert(now);
        let key = message.key.unwrap_or_default().to_vec();
        let (value, timestamp) = (message.value.map(<[u8]>::to_vec), message.timestamp);
        let waiting = Waiting { key: key.clone(), value, timestamp, headers: message.headers };
        match self.by_key.get(&key) {
            Some(place) => self.waiting[*place] = waiting,
            None => {
                self.by_key.insert(key, self.waiting.len());
                self.waiting.push(waiting);
            }
        }
    }

    /// It is time to send them.
    pub fn is_due(&self, now: ProcessingTime) -> bool {
        self.waiting.len() >= self.flush.rows_max || self.due().is_some_and(|due| due <= now)
    }

    /// When they have waited long enough; `None`: nothing waits.
    pub fn due(&self) -> Option<ProcessingTime> {
        self.since.map(|since| since.plus(self.flush.interval))
    }

    /// Takes all of them out.
    pub fn flush(&mut self) -> Vec<Waiting> {
        self.since = None;
        self.by_key.clear();
        std::mem::take(&mut self.waiting)
    }
}

impl Waiting {
    /// Its headers go with the message.
    pub fn message(&mut self) -> Outgoing<'_> {
        let (key, value) = (Some(self.key.as_slice()), self.value.as_deref());
        Outgoing { key, value, timestamp: self.timestamp, headers: self.headers.take() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_each_key_the_last_is_sent_when_there_are_too_many_or_they_have_waited_long_enough() {
        let mut buffer = UpsertBuffer::new(Flush { rows_max: 3, interval: Duration::from_millis(100) });
        let add = |buffer: &mut UpsertBuffer, key: &str, value: Option<&str>, now| {
            let message = Outgoing {
                key: Some(key.as_bytes()),
                value: value.map(str::as_bytes),
                timestamp: Some(now),
                headers: None,
            };
            buffer.add(message, ProcessingTime(now));
        };
        add(&mut buffer, "a", Some("1"), 10);
        add(&mut buffer, "b", Some("2"), 20);
        add(&mut buffer, "a", None, 30);
        assert_eq!(buffer.due(), Some(ProcessingTime(110)));
        assert!(!buffer.is_due(ProcessingTime(109)));
        assert!(buffer.is_due(ProcessingTime(110)));
        add(&mut buffer, "c", Some("3"), 40);
        assert!(buffer.is_due(ProcessingTime(41)), "there are as many as may wait");
        let mut sent = Vec::new();
        for mut waiting in buffer.flush() {
            let message = waiting.message();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            sent.push((message.key.map(text), message.value.map(text), message.timestamp));
        }
        let some = |text: &str| Some(text.to_string());
        let expected =
            [(some("a"), None, Some(30)), (some("b"), some("2"), Some(20)), (some("c"), some("3"), Some(40))];
        assert_eq!(sent, expected);
        assert!(!buffer.is_due(ProcessingTime(1_000)), "nothing waits");
    }
}
