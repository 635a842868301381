//! Messages on their way to one topic, given to the client many at a time: asking for the topic's name, the client's locks and a text
//! that ends with a zero for each one costs more than storing it.

use std::ffi::{CString, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use rdkafka::bindings::{self, rd_kafka_resp_err_t as Code};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use rdkafka::types::RDKafkaMessage;

use crate::kafka::transaction::RowProducer;

/// Messages that are given to the client at a time: it holds the topic's lock meanwhile, which the news of a new leader need.
const GIVEN_MAX: usize = 512;

/// The client chooses the partition by the key.
const BY_KEY: i32 = -1;

/// A topic as one producer knows it.
pub struct ProducerTopic {
    topic: *mut bindings::rd_kafka_topic_t,
    /// The topic is a part of it.
    producer: Arc<RowProducer>,
}

// SAFETY: topics of librdkafka belong to no thread; it locks them itself.
unsafe impl Send for ProducerTopic {}
// SAFETY: as above; `send` is the only use of a shared one.
unsafe impl Sync for ProducerTopic {}

/// Keys and values of messages, which are alive as long as the list.
pub struct MessageList<'a> {
    messages: Vec<RDKafkaMessage>,
    alive: PhantomData<&'a [u8]>,
}

impl ProducerTopic {
    /// Asks the brokers for the topic where the producer did not know it yet, and waits for no answer.
    pub fn of(producer: Arc<RowProducer>, name: &str) -> Result<Self, KafkaError> {
        let name = CString::new(name)?;
        // SAFETY: the producer is alive, the name ends with a zero and is copied; without settings the producer's own are the topic's.
        let topic =
            unsafe { bindings::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        if topic.is_null() {
            // SAFETY: this only reads what the last call on this thread left.
            let code = unsafe { bindings::rd_kafka_last_error() };
            return Err(KafkaError::MessageProduction(code.into()));
        }
        Ok(Self { topic, producer })
    }

    pub fn producer(&self) -> &RowProducer {
        &self.producer
    }

    /// Gives the client copies of the messages in their order, and says how many: for those that stay in the list it has no room now. A
    /// message that it refuses is an error; some behind it may have been taken all the same.
    pub fn send(&self, partition: Option<i32>, list: &mut MessageList<'_>) -> Result<usize, KafkaError> {
        let count = c_int::try_from(list.messages.len()).expect("a full list is given away before it grows further");
        // SAFETY: the topic is alive; there are so many messages, whose keys and values the list keeps alive, and which are copied before
        // the call returns. Only `err` of each is written to.
        unsafe {
            let (partition, copy) = (partition.unwrap_or(BY_KEY), bindings::RD_KAFKA_MSG_F_COPY as c_int);
            bindings::rd_kafka_produce_batch(self.topic, partition, copy, list.messages.as_mut_ptr(), count);
        }
        list.take_sent()
    }
}

impl Drop for ProducerTopic {
    fn drop(&mut self) {
        // SAFETY: the topic was made by `of`, is given back once, and the producer is still alive. Messages hold topics of their own accord.
        unsafe { bindings::rd_kafka_topic_destroy(self.topic) }
    }
}

impl Default for MessageList<'_> {
    fn default() -> Self {
        Self { messages: Vec::with_capacity(GIVEN_MAX), alive: PhantomData }
    }
}

impl<'a> MessageList<'a> {
    pub fn push(&mut self, key: Option<&'a [u8]>, value: Option<&'a [u8]>) {
        assert!(!self.is_full(), "a full list is given away first");
        // The client only reads them. An empty half is not a missing one: its address is not null.
        let start =
            |half: Option<&[u8]>| half.map_or(ptr::null_mut(), |half| half.as_ptr().cast::<c_void>().cast_mut());
        self.messages.push(RDKafkaMessage {
            err: Code::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: ptr::null_mut(),
            partition: BY_KEY,
            payload: start(value),
            len: value.map_or(0, <[u8]>::len),
            key: start(key),
            key_len: key.map_or(0, <[u8]>::len),
            offset: 0,
            _private: ptr::null_mut(),
        });
    }

    pub fn is_full(&self) -> bool {
        self.messages.len() == GIVEN_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Takes those out that the client has taken. Behind the first for which it had no room it takes none.
    fn take_sent(&mut self) -> Result<usize, KafkaError> {
        let outcome = |message: &RDKafkaMessage| RDKafkaErrorCode::from(message.err);
        let is_left = |message: &RDKafkaMessage| outcome(message) == RDKafkaErrorCode::QueueFull;
        let sent = self.messages.iter().position(is_left).unwrap_or(self.messages.len());
        let refused = self.messages[..sent].iter().map(outcome).find(|code| *code != RDKafkaErrorCode::NoError);
        if let Some(code) = refused {
            return Err(KafkaError::MessageProduction(code));
        }
        assert!(self.messages[sent..].iter().all(is_left), "messages keep their order");
        self.messages.drain(..sent);
        self.messages.iter_mut().for_each(|message| message.err = Code::RD_KAFKA_RESP_ERR_NO_ERROR);
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(outcomes: &[Code]) -> MessageList<'static> {
        let mut list = MessageList::default();
        for code in outcomes {
            list.push(Some(b"k"), None);
            list.messages.last_mut().expect("one was pushed").err = *code;
        }
        list
    }

    #[test]
    fn what_the_client_had_no_room_for_stays_and_what_it_refused_is_an_error() {
        use Code::{
            RD_KAFKA_RESP_ERR__QUEUE_FULL as Full, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as Large,
            RD_KAFKA_RESP_ERR_NO_ERROR as Taken,
        };
        let taken = |outcomes: &[Code]| {
            let mut list = list_of(outcomes);
            (list.take_sent(), list.messages.len())
        };
        assert_eq!(taken(&[Taken, Taken]), (Ok(2), 0));
        assert_eq!(taken(&[Taken, Full, Full]), (Ok(1), 2));
        assert_eq!(taken(&[Full]), (Ok(0), 1));
        let (outcome, _) = taken(&[Taken, Large, Full]);
        assert_eq!(outcome, Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)));
    }

    #[test]
    fn an_empty_half_is_told_from_a_missing_one() {
        let mut list = MessageList::default();
        list.push(Some(b""), None);
        assert!(!list.messages[0].key.is_null() && list.messages[0].payload.is_null());
    }
}
