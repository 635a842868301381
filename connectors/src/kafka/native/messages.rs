//! The messages of one partition, fetched from the client many at a time: asking for each one by itself costs more than reading it.

use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::slice;
use std::sync::Arc;

use rdkafka::bindings::{self, rd_kafka_resp_err_t as Code};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Timestamp;
use rdkafka::types::{RDKafka, RDKafkaMessage};
use tidemill_engine::source::Waker;

use crate::kafka::context::Quiet;

/// Messages that are taken out of the client's queue at a time. They keep the answer of the broker alive in which they came.
const FETCHED_MAX: usize = 1024;

/// A queue of the client that holds the messages of one partition alone.
pub struct MessageQueue {
    queue: *mut bindings::rd_kafka_queue_t,
    /// Fetched, and not yet destroyed; those before `next` were given out.
    fetched: Vec<*mut RDKafkaMessage>,
    next: usize,
    /// The client is told where this is, and calls it. In a box, so that it stays there.
    waker: Option<Box<Waker>>,
    /// The queue and its messages are parts of it.
    _consumer: Arc<BaseConsumer<Quiet>>,
}

// SAFETY: queues and messages of librdkafka belong to no thread; `&mut self` lets one at a time use them.
unsafe impl Send for MessageQueue {}

impl MessageQueue {
    /// From now on the consumer itself gives out no messages of the partition. `None`: the topic's name holds a zero byte.
    pub fn of(consumer: &Arc<BaseConsumer<Quiet>>, topic: &str, partition: i32) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the consumer is alive, the name ends with a zero; forwarding to nowhere is what takes the queue for itself.
        let queue = unsafe {
            let queue =
                bindings::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition);
            if queue.is_null() {
                return None;
            }
            bindings::rd_kafka_queue_forward(queue, ptr::null_mut());
            queue
        };
        let fetched = Vec::with_capacity(FETCHED_MAX);
        Some(Self { queue, fetched, next: 0, waker: None, _consumer: Arc::clone(consumer) })
    }

    /// From now on a message that comes while none is there calls the waker: after [`Self::next`] gave `None` no other look is needed.
    pub fn wake_with(&mut self, waker: &Waker) {
        self.sleep_on();
        let waker = self.waker.insert(Box::new(waker.clone()));
        let place = ptr::from_mut::<Waker>(waker.as_mut()).cast::<c_void>();
        // SAFETY: the queue is alive, and so is the waker until `sleep_on` has returned.
        unsafe { bindings::rd_kafka_queue_cb_event_enable(self.queue, Some(wake), place) }
    }

    /// Nobody is called any more.
    fn sleep_on(&mut self) {
        // SAFETY: the queue is alive. The client calls while it holds the queue's lock, which this takes: no call is under way behind it.
        unsafe { bindings::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut()) }
        self.waker = None;
    }

    /// The next message, or what happened in its stead; `None`: nothing has come yet. Waits for nothing.
    pub fn next(&mut self) -> Option<Result<PartitionMessage<'_>, KafkaError>> {
        if self.next == self.fetched.len() && !self.fetch() {
            return None;
        }
        // SAFETY: it was fetched, is not null, and is destroyed by `clear`, which needs `&mut self`.
        let message = unsafe { &*self.fetched[self.next] };
        self.next += 1;
        Some(match message.err {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(PartitionMessage { message }),
            Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => Err(KafkaError::PartitionEOF(message.partition)),
            code => Err(KafkaError::MessageConsumption(code.into())),
        })
    }

    fn fetch(&mut self) -> bool {
        self.clear();
        // SAFETY: the vector has room for as many pointers as are asked for, and is given the length that were written.
        unsafe {
            let room = self.fetched.as_mut_ptr();
            let count = bindings::rd_kafka_consume_batch_queue(self.queue, 0, room, FETCHED_MAX);
            self.fetched.set_len(usize::try_from(count).unwrap_or(0));
        }
        !self.fetched.is_empty()
    }

    /// Gives all messages back to the client.
    fn clear(&mut self) {
        self.next = 0;
        for message in self.fetched.drain(..) {
            // SAFETY: each was fetched once and leaves the list here; nothing borrows it, as that would borrow `self`.
            unsafe { bindings::rd_kafka_message_destroy(message) }
        }
    }
}

impl Drop for MessageQueue {
    fn drop(&mut self) {
        self.clear();
        self.sleep_on();
        // SAFETY: the queue was given to `of`, which alone holds it; the consumer is still alive.
        unsafe { bindings::rd_kafka_queue_destroy(self.queue) }
    }
}

/// Called by a thread of the client, which holds the queue's lock: it only says that something has come.
///
/// # Safety
/// `waker` is what [`MessageQueue::wake_with`] gave, and its queue has it still.
unsafe extern "C" fn wake(_client: *mut RDKafka, waker: *mut c_void) {
    // SAFETY: as the client promises; wakers may be used by several threads, and a call waits for nobody and cannot panic.
    unsafe { &*waker.cast::<Waker>() }.wake();
}

/// A message in the client's own memory.
#[derive(Clone, Copy)]
pub struct PartitionMessage<'a> {
    message: &'a RDKafkaMessage,
}

impl<'a> PartitionMessage<'a> {
    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka says so many bytes are there, alive as long as the message is.
        unsafe { bytes(self.message.key, self.message.key_len) }
    }

    pub fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: as for the key.
        unsafe { bytes(self.message.payload, self.message.len) }
    }

    pub fn offset(&self) -> i64 {
        self.message.offset
    }

    pub fn timestamp(&self) -> Timestamp {
        let mut kind = bindings::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive and only read.
        let time_ms = unsafe { bindings::rd_kafka_message_timestamp(self.message, &mut kind) };
        match kind {
            _ if time_ms == -1 => Timestamp::NotAvailable,
            bindings::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => Timestamp::NotAvailable,
            bindings::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => Timestamp::CreateTime(time_ms),
            bindings::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => {
                Timestamp::LogAppendTime(time_ms)
            }
        }
    }

    /// The epoch of the partition's leader when the message was stored; `None` where the broker did not tell.
    pub fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: the message is alive and only read.
        let epoch = unsafe { bindings::rd_kafka_message_leader_epoch(self.message) };
        (epoch >= 0).then_some(epoch)
    }

    /// Its headers in their order, a name may come twice.
    pub fn headers(&self) -> Vec<(String, Option<Vec<u8>>)> {
        let mut all = ptr::null_mut();
        let mut headers = Vec::new();
        // SAFETY: the headers that librdkafka parses here are the message's own and go with it; names end with a zero, values have the
        // length that is told. An index behind the last gives an error.
        unsafe {
            let message = ptr::from_ref(self.message);
            if bindings::rd_kafka_message_headers(message, &mut all) != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                return headers;
            }
            for index in 0..bindings::rd_kafka_header_cnt(all) {
                let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
                bindings::rd_kafka_header_get_all(all, index, &mut name, &mut value, &mut length);
                let name = CStr::from_ptr(name).to_string_lossy().into_owned();
                headers.push((name, bytes(value, length).map(<[u8]>::to_vec)));
            }
        }
        headers
    }
}

/// # Safety
/// `start` is null or begins `length` bytes that live as long as `'a`.
unsafe fn bytes<'a>(start: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    Some(unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
}
