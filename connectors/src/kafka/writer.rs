//! Writes rows as messages, and waits at a barrier until the broker has them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::json;
use tidemill_engine::operator::Subtask;
use tidemill_engine::sink::{Committable, Guarantee, Prepared, SinkWriter};
use tidemill_engine::time::ProcessingTime;
use tidemill_engine::{Batch, EngineError, Epoch, Result, failpoint};

use super::buffer::UpsertBuffer;
use super::client::{ClientSettings, failed, reason, unusable};
use super::consumer::REQUEST_TIMEOUT;
use super::encoding::{Encoding, Outgoing};
use super::lifeline::{Interrupt, Lifeline};
use super::options::{Partitioning, SinkOptions};
use super::reach::reach;
use super::transaction::{Deliveries, Outbox, Reporter, RowProducer, Turn, Undelivered, fatal};

/// How long the broker may take to acknowledge the rows before a barrier: librdkafka itself gives a message up after five minutes.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(330);

/// How long to wait for room in the client's buffer before looking again.
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// How long the brokers may take to make a topic that was asked for.
const CREATION_TIMEOUT: Duration = Duration::from_secs(5);

const CREATION_PAUSE: Duration = Duration::from_millis(50);

/// The way to the broker.
pub enum Route {
    /// Rows go into a transaction that the committer ends.
    Transactions { outbox: Arc<Outbox>, turn: Turn, producer: Option<Arc<RowProducer>> },
    /// Rows are visible as soon as they are stored; `waits`: a barrier waits for that.
    Direct { producer: Arc<RowProducer>, waits: bool, line: Line },
}

/// Whether the brokers are there, and whether anybody still wants to wait for them.
pub struct Line {
    pub lifeline: Arc<Lifeline>,
    pub interrupt: Arc<Interrupt>,
}

impl Route {
    pub fn transactions(outbox: Arc<Outbox>) -> Result<Self> {
        Ok(Self::Transactions { outbox, turn: Turn::First, producer: None })
    }

    pub fn direct(client: &ClientSettings, guarantee: Guarantee, line: Line) -> Result<Self> {
        let waits = guarantee == Guarantee::AtLeastOnce;
        reach(client, &line.interrupt)?;
        let mut config = client.producer_config();
        if waits && client.get("acks").is_none() {
            config.set("enable.idempotence", "true");
        }
        let producer: RowProducer = config
            .create_with_context(Reporter::reports(&line.lifeline, false))
            .map_err(|error| unusable("open a producer", &error))?;
        client.log_in(producer.client().native_ptr()).map_err(|error| failed("open a producer", &error))?;
        Ok(Self::Direct { producer: Arc::new(producer), waits, line })
    }

    fn producer(&mut self) -> Result<Arc<RowProducer>> {
        match self {
            Self::Direct { producer, .. } => Ok(Arc::clone(producer)),
            Self::Transactions { producer: Some(producer), .. } => Ok(Arc::clone(producer)),
            Self::Transactions { outbox, turn, producer } => Ok(Arc::clone(producer.insert(outbox.enter(*turn)?))),
        }
    }

    /// Why the producer in use, if there is one, is of no further use.
    fn broken(&self) -> Option<KafkaError> {
        match self {
            Self::Direct { producer, line, .. } => {
                fatal(producer).or_else(|| line.lifeline.is_given_up(&line.interrupt).then_some(KafkaError::Canceled))
            }
            Self::Transactions { outbox, producer: Some(producer), .. } => outbox.hopeless(producer),
            Self::Transactions { producer: None, .. } => None,
        }
    }

    fn explain(&self, doing: &str, undelivered: &Undelivered) -> EngineError {
        match (self, undelivered) {
            (Self::Transactions { outbox, .. }, undelivered) => outbox.undelivered(doing, undelivered),
            (Self::Direct { .. }, Undelivered::Failed(error)) => failed(doing, error),
            (Self::Direct { .. }, Undelivered::TimedOut { outstanding }) => EngineError::Unreachable {
                connector: "kafka".into(),
                reason: format!(
                    "cannot {doing}: {outstanding} messages were not acknowledged within {ACKNOWLEDGE_TIMEOUT:?}"
                ),
            },
        }
    }
}

/// One instance of a Kafka sink.
pub struct RowWriter {
    encoding: Encoding,
    /// Where upserts wait for later ones.
    buffer: Option<UpsertBuffer>,
    sender: Sender,
}

/// Sends messages to the partitions of a topic.
struct Sender {
    topic: String,
    partitioning: Partitioning,
    subtask: Subtask,
    route: Route,
    deliveries: Arc<Deliveries>,
    /// Where it is asked for: how many partitions the topic has.
    partitions: Option<i32>,
    /// Messages sent, for turns among partitions.
    sent: u64,
    doing: String,
}

impl RowWriter {
    pub fn new(options: &SinkOptions, subtask: Subtask, encoding: Encoding, route: Route) -> Self {
        let topic = options.topic.clone();
        let doing = format!("write to topic '{topic}'");
        let (partitioning, deliveries) = (options.partitioning, Arc::default());
        let sender = Sender { topic, partitioning, subtask, route, deliveries, partitions: None, sent: 0, doing };
        Self { encoding, buffer: options.flush.map(UpsertBuffer::new), sender }
    }

    fn flush(&mut self) -> Result<()> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        let producer = self.sender.route.producer()?;
        buffer.flush(|message| self.sender.send(&producer, message))
    }
}

impl Sender {
    fn partition(&mut self, producer: &RowProducer) -> Result<Option<i32>> {
        if self.partitioning == Partitioning::ByKey {
            return Ok(None);
        }
        let count = match self.partitions {
            Some(count) => count,
            None => *self.partitions.insert(partition_count(producer, &self.topic)?),
        };
        let number = match self.partitioning {
            Partitioning::Fixed => self.subtask.index as u64,
            _ => self.sent,
        };
        Ok(Some((number % count.max(1) as u64) as i32))
    }

    fn check(&self) -> Result<()> {
        match self.deliveries.failure().or_else(|| self.route.broken()) {
            None => Ok(()),
            Some(error) => Err(self.route.explain(&self.doing, &Undelivered::Failed(error))),
        }
    }

    fn send(&mut self, producer: &RowProducer, message: Outgoing<'_>) -> Result<()> {
        let partition = self.partition(producer)?;
        self.deliveries.sent();
        let mut record: BaseRecord<'_, [u8], [u8], Arc<Deliveries>> =
            BaseRecord::with_opaque_to(&self.topic, Arc::clone(&self.deliveries));
        (record.key, record.payload, record.partition) = (message.key, message.value, partition);
        (record.timestamp, record.headers) = (message.timestamp, message.headers);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                // The client's buffer is the limit: whoever fills it faster than the broker takes it waits.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.check()?;
                    std::thread::sleep(ROOM_PAUSE);
                    record = back;
                }
                Err((error, _)) => {
                    self.deliveries.not_sent();
                    return Err(self.route.explain(&self.doing, &Undelivered::Failed(error)));
                }
            }
        }
        self.sent += 1;
        Ok(())
    }

    /// Waits until the broker has all that was sent.
    fn prepare(&mut self, last: bool) -> Result<Prepared> {
        let waits = !matches!(self.route, Route::Direct { waits: false, .. }) || last;
        if waits {
            self.deliveries
                .wait(ACKNOWLEDGE_TIMEOUT, || self.route.broken())
                .map_err(|undelivered| self.route.explain(&self.doing, &undelivered))?;
        }
        failpoint::reach("kafka.flushed")?;
        let Route::Transactions { outbox, turn, producer } = &mut self.route else { return Ok(Prepared::default()) };
        let ticket = outbox.ticket(*turn);
        (*turn, *producer) = (turn.next(), None);
        Ok(Prepared { committables: vec![Committable(json!(ticket))], state: None })
    }
}

/// How many partitions a topic has. Asking makes it, where the brokers do so; that it takes them a moment is waited for.
pub fn partition_count(producer: &RowProducer, topic: &str) -> Result<i32> {
    let doing = || format!("find the partitions of topic '{topic}'");
    let deadline = Instant::now() + CREATION_TIMEOUT;
    loop {
        let metadata = producer.client().fetch_metadata(Some(topic), REQUEST_TIMEOUT);
        let metadata = metadata.map_err(|error| failed(doing(), &error))?;
        let found = metadata.topics().first();
        let count = found.map_or(0, |one| one.partitions().len());
        if let Some(count) = i32::try_from(count).ok().filter(|count| *count > 0) {
            return Ok(count);
        }
        let error = found.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from);
        let comes = matches!(
            error,
            None | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable)
        );
        if !comes || Instant::now() > deadline {
            let code = error.unwrap_or(RDKafkaErrorCode::UnknownTopicOrPartition);
            return Err(failed(doing(), &KafkaError::MetadataFetch(code)));
        }
        std::thread::sleep(CREATION_PAUSE);
    }
}

impl SinkWriter for RowWriter {
    fn write(&mut self, batch: &Batch, now: ProcessingTime) -> Result<()> {
        let Self { encoding, buffer, sender } = self;
        sender.check()?;
        let producer = sender.route.producer()?;
        let Some(buffer) = buffer else { return encoding.each(batch, |message| sender.send(&producer, message)) };
        encoding.each(batch, |message| {
            buffer.add(message, now);
            if buffer.is_due(now) { buffer.flush(|message| sender.send(&producer, message)) } else { Ok(()) }
        })
    }

    fn prepare(&mut self, _epoch: Epoch, last: bool) -> Result<Prepared> {
        failpoint::reach("kafka.prepare")?;
        self.flush()?;
        self.sender.prepare(last)
    }

    /// A writer whose rows are refused while no further row comes is told so at once.
    fn on_time(&mut self, now: ProcessingTime) -> Result<()> {
        self.sender.check()?;
        if self.buffer.as_ref().is_some_and(|buffer| buffer.is_due(now)) { self.flush() } else { Ok(()) }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(error) = self.deliveries.failure() {
            tracing::debug!(topic = self.topic, reason = reason(&error), "rows were refused");
        }
    }
}
