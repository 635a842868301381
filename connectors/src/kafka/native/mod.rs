//! What librdkafka offers and its Rust wrapper does not. The only folder here that calls into C.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_int};
use std::time::Duration;

use rdkafka::bindings;
use rdkafka::client::OAuthToken;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafka;

mod messages;
mod outgoing;

pub use messages::{MessageQueue, PartitionMessage};
pub use outgoing::{MessageList, ProducerTopic};

/// Just behind the last message of a partition, as the last answer of its broker told; asks nobody.
///
/// `client` is alive.
pub fn known_end(client: *mut RDKafka, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut first, mut end) = (-1, -1);
    // SAFETY: the client is alive, the name ends with a zero, and the two numbers are there to be written to.
    let code =
        unsafe { bindings::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut first, &mut end) };
    (RDKafkaErrorCode::from(code) == RDKafkaErrorCode::NoError && end >= 0).then_some(end)
}

/// Waits until every message of a producer is answered for; messages that wait for company are sent at once meanwhile. False: not yet.
///
/// `producer` is alive, and something else serves its queue of events.
pub fn flush(producer: *mut RDKafka, patience: Duration) -> bool {
    let patience_ms = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the producer is alive.
    let code = unsafe { bindings::rd_kafka_flush(producer, patience_ms) };
    RDKafkaErrorCode::from(code) == RDKafkaErrorCode::NoError
}

/// What the brokers say of topics: the id of each, which another topic of the same name never has.
pub type TopicIds = BTreeMap<String, Result<String, RDKafkaErrorCode>>;

/// A question for the ids of topics that is on its way.
pub struct TopicQuestion {
    answers: *mut bindings::rd_kafka_queue_t,
}

// SAFETY: queues of librdkafka may be used by any thread.
unsafe impl Send for TopicQuestion {}

impl TopicQuestion {
    /// Asks without waiting. `client` is alive, and stays so for as long as the question is.
    pub fn ask(client: *mut RDKafka, topics: &[&str], timeout: Duration) -> Self {
        let names: Vec<CString> = topics.iter().filter_map(|name| CString::new(*name).ok()).collect();
        let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client is alive; the names are copied before they go; options and names are freed once, after their last use.
        unsafe {
            let answers = bindings::rd_kafka_queue_new(client);
            let kind = bindings::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let options = bindings::rd_kafka_AdminOptions_new(client, kind);
            bindings::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, std::ptr::null_mut(), 0);
            let wanted = bindings::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            bindings::rd_kafka_DescribeTopics(client, wanted, options, answers);
            bindings::rd_kafka_TopicCollection_destroy(wanted);
            bindings::rd_kafka_AdminOptions_destroy(options);
            Self { answers }
        }
    }

    /// `None`: not yet.
    pub fn answer(&self, patience: Duration) -> Option<Result<TopicIds, RDKafkaErrorCode>> {
        let patience_ms = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue lives as long as `self`; the event, and all that it holds, until it is destroyed here.
        unsafe {
            let event = bindings::rd_kafka_queue_poll(self.answers, patience_ms);
            if event.is_null() {
                return None;
            }
            let code = RDKafkaErrorCode::from(bindings::rd_kafka_event_error(event));
            let result = bindings::rd_kafka_event_DescribeTopics_result(event);
            let answer = match code {
                RDKafkaErrorCode::NoError if !result.is_null() => Ok(ids(result)),
                code => Err(code),
            };
            bindings::rd_kafka_event_destroy(event);
            Some(answer)
        }
    }
}

impl Drop for TopicQuestion {
    fn drop(&mut self) {
        // SAFETY: the queue was made by `ask` and is destroyed once.
        unsafe { bindings::rd_kafka_queue_destroy(self.answers) }
    }
}

/// # Safety
/// `result` is that of an event which is alive.
unsafe fn ids(result: *const bindings::rd_kafka_DescribeTopics_result_t) -> TopicIds {
    let mut count = 0;
    // SAFETY: librdkafka gives an array of so many descriptions, alive as long as the event; so are the texts in them.
    unsafe {
        let topics = bindings::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let text = |text| CStr::from_ptr(text).to_string_lossy().into_owned();
        let one = |index: usize| {
            let topic = *topics.add(index);
            let name = text(bindings::rd_kafka_TopicDescription_name(topic));
            let error = bindings::rd_kafka_TopicDescription_error(topic);
            if !error.is_null() {
                let code = RDKafkaErrorCode::from(bindings::rd_kafka_error_code(error));
                if code != RDKafkaErrorCode::NoError {
                    return (name, Err(code));
                }
            }
            let id = bindings::rd_kafka_TopicDescription_topic_id(topic);
            (name, Ok(text(bindings::rd_kafka_Uuid_base64str(id))))
        };
        (0..count).map(one).collect()
    }
}

/// Gives a client a token, and so what it needs to log in. `client` is alive.
pub fn set_token(client: *mut RDKafka, token: &OAuthToken) -> Result<(), String> {
    let (Ok(text), Ok(name)) = (CString::new(token.token.as_str()), CString::new(token.principal_name.as_str())) else {
        return Err("the token holds a zero byte".into());
    };
    let mut problem = [0; 256];
    // SAFETY: the client is alive, both texts end with a zero and outlive the call, the problem fits into its buffer.
    unsafe {
        let code = bindings::rd_kafka_oauthbearer_set_token(
            client,
            text.as_ptr(),
            token.lifetime_ms,
            name.as_ptr(),
            std::ptr::null_mut(),
            0,
            problem.as_mut_ptr(),
            problem.len(),
        );
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => Ok(()),
            _ => Err(CStr::from_ptr(problem.as_ptr()).to_string_lossy().into_owned()),
        }
    }
}
