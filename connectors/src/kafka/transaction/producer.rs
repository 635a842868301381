//! A producer of rows, and what became of them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use tidemill_engine::EngineError;
use tidemill_engine::time::{Clock, SystemClock};

use crate::kafka::client::{failed, is_outage};
use crate::kafka::context::{self, Context, Listener};
use crate::kafka::lifeline::{Connection, Lifeline};
use crate::kafka::native;

/// How long the broker may take to acknowledge rows: librdkafka itself gives a message up after five minutes.
const STORE_TIMEOUT: Duration = Duration::from_secs(330);

/// How long a broker may be spoken with and nothing be acknowledged. librdkafka can lose its way when brokers come back: then it sends
/// some messages only once it has given them up, minutes later, and a new producer sends them at once.
const STALL_MAX: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });

/// How often to look meanwhile whether answers can still come.
const LOOK: Duration = Duration::from_millis(50);

/// A producer that hears of rows which the broker refused. Of those that it took nothing is said one by one.
pub type RowProducer = ThreadedProducer<Reports>;

pub type Reports = Context<Reporter>;

/// Why nothing that a producer still holds, or is given, will be stored.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// Whose row was refused; `None`: the producer itself is of no further use.
    topic: Option<String>,
    pub error: KafkaError,
}

impl Trouble {
    /// Nobody wants to wait any longer for brokers that are away.
    pub fn given_up() -> Self {
        Self { topic: None, error: KafkaError::Canceled }
    }

    /// What failed, or else `doing`, as in "read the partitions of topic 'a'".
    pub fn doing(&self, doing: &str) -> String {
        self.topic.as_ref().map_or_else(|| doing.to_string(), |topic| write_to(topic))
    }
}

/// What a writer does.
pub fn write_to(topic: &str) -> String {
    format!("write to topic '{topic}'")
}

/// Hears whether a producer has a connection, and what of its rows was refused.
pub struct Reporter {
    connection: Arc<Connection>,
    /// The first answer that was not "stored". Stays: rows behind it would be out of order.
    refused: OnceLock<Trouble>,
}

impl Listener for Reporter {
    /// That brokers are gone is said once, and not every second: the status line shows it.
    fn error(&self, error: &KafkaError, text: &str) {
        match is_outage(error) && self.connection.is_down() {
            true => tracing::debug!(reason = text, "brokers cannot be reached"),
            false => context::tell(error, text),
        }
    }

    fn statistics(&self, json: &[u8]) {
        self.connection.take(json, SystemClock.now());
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            self.0.refused.get_or_init(|| Trouble { topic: Some(message.topic().to_string()), error: error.clone() });
        }
    }
}

/// A producer of these settings, watched by `lifeline`. `always`: it speaks with a broker all the time.
pub fn producer(mut config: ClientConfig, lifeline: &Lifeline, always: bool) -> Result<RowProducer, KafkaError> {
    config.set("delivery.report.only.error", "true");
    let reporter = Reporter { connection: lifeline.connection(always), refused: OnceLock::new() };
    config.create_with_context(Context(reporter))
}

/// Why a producer is of no further use, if that is so.
pub fn broken(producer: &RowProducer) -> Option<Trouble> {
    let fatal = || {
        let (code, _) = producer.client().fatal_error()?;
        Some(Trouble { topic: None, error: KafkaError::Global(code) })
    };
    producer.context().0.refused.get().cloned().or_else(fatal)
}

/// Why waiting ended without all rows being there.
#[derive(Debug)]
pub enum Undelivered {
    Broken(Trouble),
    /// Nothing was acknowledged for so long.
    TimedOut {
        outstanding: i32,
        after: Duration,
    },
}

impl Undelivered {
    pub fn explain(&self, doing: &str) -> EngineError {
        match self {
            Self::Broken(trouble) => failed(trouble.doing(doing), &trouble.error),
            Self::TimedOut { outstanding, after } => EngineError::Unreachable {
                connector: "kafka".into(),
                reason: format!("cannot {doing}: {outstanding} messages were not acknowledged within {after:?}"),
            },
        }
    }
}

/// Waits until the broker has all rows that were handed to the producer, or until none will come there any more: a producer that the
/// broker has fenced answers nothing for the rows that it still holds.
pub fn store(producer: &RowProducer, is_given_up: impl Fn() -> bool) -> Result<(), Undelivered> {
    let begun = Instant::now();
    let (mut outstanding, mut stalled_since) = (producer.in_flight_count(), begun);
    loop {
        let all_answered = native::flush(producer.client().native_ptr(), LOOK);
        if let Some(trouble) = broken(producer) {
            return Err(Undelivered::Broken(trouble));
        }
        if all_answered {
            return Ok(());
        }
        if is_given_up() {
            return Err(Undelivered::Broken(Trouble::given_up()));
        }
        let before = std::mem::replace(&mut outstanding, producer.in_flight_count());
        if outstanding != before || producer.context().0.connection.is_down() {
            stalled_since = Instant::now();
        }
        for (since, longest) in [(begun, STORE_TIMEOUT), (stalled_since, STALL_MAX)] {
            if since.elapsed() >= longest {
                return Err(Undelivered::TimedOut { outstanding, after: longest });
            }
        }
    }
}
