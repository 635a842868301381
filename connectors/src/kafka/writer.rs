//! Writes rows as messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::json;
use tidemill_engine::operator::Subtask;
use tidemill_engine::sink::{Committable, Guarantee, Prepared, SinkWriter};
use tidemill_engine::time::ProcessingTime;
use tidemill_engine::{Batch, EngineError, Epoch, Result, failpoint};

use super::buffer::{UpsertBuffer, Waiting};
use super::client::{ClientSettings, failed, unusable};
use super::consumer::REQUEST_TIMEOUT;
use super::encoding::{Encoding, Outgoing};
use super::lifeline::{Interrupt, Lifeline};
use super::native::{MessageList, ProducerTopic};
use super::options::{Partitioning, SinkOptions};
use super::reach::reach;
use super::transaction::{self, Outbox, RowProducer, Trouble, Turn};

/// How long to wait for room in the client's buffer before looking again.
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// How long the brokers may take to make a topic that was asked for.
const CREATION_TIMEOUT: Duration = Duration::from_secs(5);

const CREATION_PAUSE: Duration = Duration::from_millis(50);

/// The way to the broker.
pub enum Route {
    /// Rows go into a transaction that the committer ends.
    Transactions { outbox: Arc<Outbox>, turn: Turn },
    /// Rows are visible as soon as they are stored; `waits`: a barrier waits for that.
    Direct { producer: Arc<RowProducer>, waits: bool, line: Line },
}

/// Whether the brokers are there, and whether anybody still wants to wait for them.
pub struct Line {
    pub lifeline: Arc<Lifeline>,
    pub interrupt: Arc<Interrupt>,
}

impl Route {
    pub fn transactions(outbox: Arc<Outbox>) -> Self {
        Self::Transactions { outbox, turn: Turn::First }
    }

    pub fn direct(client: &ClientSettings, guarantee: Guarantee, line: Line) -> Result<Self> {
        let waits = guarantee == Guarantee::AtLeastOnce;
        reach(client, &line.interrupt)?;
        let mut config = client.producer_config();
        if waits && client.get("acks").is_none() {
            config.set("enable.idempotence", "true");
        }
        let producer = transaction::producer(config, &line.lifeline, false)
            .map_err(|error| unusable("open a producer", &error))?;
        client.log_in(producer.client().native_ptr()).map_err(|error| failed("open a producer", &error))?;
        Ok(Self::Direct { producer: Arc::new(producer), waits, line })
    }

    /// The producer that the next rows are for.
    fn producer(&self) -> Result<Arc<RowProducer>> {
        match self {
            Self::Direct { producer, .. } => Ok(Arc::clone(producer)),
            Self::Transactions { outbox, turn } => outbox.enter(*turn),
        }
    }

    /// Why writing is of no further use, if that is so.
    fn broken(&self) -> Option<Trouble> {
        match self {
            Self::Direct { producer, line, .. } => {
                transaction::broken(producer).or_else(|| line.is_given_up().then(Trouble::given_up))
            }
            Self::Transactions { outbox, .. } => outbox.broken(),
        }
    }

    fn explain(&self, doing: &str, error: &KafkaError) -> EngineError {
        match self {
            Self::Transactions { outbox, .. } => outbox.explain(doing, error),
            Self::Direct { .. } => failed(doing, error),
        }
    }
}

impl Line {
    fn is_given_up(&self) -> bool {
        self.lifeline.is_given_up(&self.interrupt)
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
    /// The topic as the producer knows it that rows are given to now; `None`: none was given yet, of a transaction to the one whose turn it is.
    open: Option<Arc<ProducerTopic>>,
    /// Where it is asked for: how many partitions the topic has.
    partitions: Option<i32>,
    /// Messages sent, for turns among partitions.
    sent: u64,
    doing: String,
}

impl RowWriter {
    pub fn new(options: &SinkOptions, subtask: Subtask, encoding: Encoding, route: Route) -> Self {
        let topic = options.topic.clone();
        let doing = transaction::write_to(&topic);
        let partitioning = options.partitioning;
        let sender = Sender { topic, partitioning, subtask, route, open: None, partitions: None, sent: 0, doing };
        Self { encoding, buffer: options.flush.map(UpsertBuffer::new), sender }
    }

    fn flush(&mut self) -> Result<()> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        self.sender.send(buffer.flush().iter_mut().map(Waiting::message))
    }
}

impl Sender {
    fn topic(&mut self) -> Result<Arc<ProducerTopic>> {
        if let Some(open) = &self.open {
            return Ok(Arc::clone(open));
        }
        let topic = ProducerTopic::of(self.route.producer()?, &self.topic);
        let topic = topic.map_err(|error| self.route.explain(&self.doing, &error))?;
        Ok(Arc::clone(self.open.insert(Arc::new(topic))))
    }

    /// `None`: the client chooses.
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
        let Some(trouble) = self.route.broken() else { return Ok(()) };
        Err(self.route.explain(&trouble.doing(&self.doing), &trouble.error))
    }

    /// Rows were given to the client that the broker may not have.
    fn holds_rows(&self) -> bool {
        match &self.route {
            Route::Direct { producer, .. } => producer.in_flight_count() > 0,
            Route::Transactions { .. } => self.open.is_some(),
        }
    }

    /// Gives the messages to the client in their order: many at a time, but for those that have to be told one by one.
    fn send<'a>(&mut self, messages: impl Iterator<Item = Outgoing<'a>>) -> Result<()> {
        let topic = self.topic()?;
        let mut list = MessageList::default();
        for message in messages {
            let is_plain = message.headers.is_none() && message.timestamp.is_none();
            if is_plain && self.partitioning != Partitioning::RoundRobin {
                list.push(message.key, message.value);
                if list.is_full() {
                    self.send_list(&topic, &mut list)?;
                }
            } else {
                self.send_list(&topic, &mut list)?;
                self.send_one(topic.producer(), message)?;
            }
        }
        self.send_list(&topic, &mut list)
    }

    fn send_list(&mut self, topic: &ProducerTopic, list: &mut MessageList<'_>) -> Result<()> {
        while !list.is_empty() {
            let partition = self.partition(topic.producer())?;
            let taken = topic.send(partition, list);
            self.sent += taken.map_err(|error| self.route.explain(&self.doing, &error))? as u64;
            if !list.is_empty() {
                self.wait_for_room()?;
            }
        }
        Ok(())
    }

    fn send_one(&mut self, producer: &RowProducer, message: Outgoing<'_>) -> Result<()> {
        let partition = self.partition(producer)?;
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic);
        (record.key, record.payload, record.partition) = (message.key, message.value, partition);
        (record.timestamp, record.headers) = (message.timestamp, message.headers);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.wait_for_room()?;
                    record = back;
                }
                Err((error, _)) => return Err(self.route.explain(&self.doing, &error)),
            }
        }
        self.sent += 1;
        Ok(())
    }

    /// The client's buffer is the limit: whoever fills it faster than the broker takes it waits.
    fn wait_for_room(&self) -> Result<()> {
        self.check()?;
        std::thread::sleep(ROOM_PAUSE);
        Ok(())
    }

    /// Whoever commits waits until the broker has what was sent; where nobody does, that is waited for here.
    fn prepare(&mut self, last: bool) -> Result<Prepared> {
        match &mut self.route {
            Route::Transactions { outbox, turn } => {
                let ticket = outbox.ticket(*turn);
                (*turn, self.open) = (turn.next(), None);
                Ok(Prepared { committables: vec![Committable(json!(ticket))], state: None })
            }
            Route::Direct { producer, waits, line } => {
                if *waits || last {
                    let stored = transaction::store(producer, || line.is_given_up());
                    stored.map_err(|undelivered| undelivered.explain(&self.doing))?;
                }
                Ok(Prepared::default())
            }
        }
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
        let messages = encoding.messages(batch)?;
        let Some(buffer) = buffer else { return sender.send(messages) };
        for message in messages {
            buffer.add(message, now);
            if buffer.is_due(now) {
                sender.send(buffer.flush().iter_mut().map(Waiting::message))?;
            }
        }
        Ok(())
    }

    fn prepare(&mut self, _epoch: Epoch, last: bool) -> Result<Prepared> {
        failpoint::reach("kafka.prepare")?;
        self.flush()?;
        let prepared = self.sender.prepare(last)?;
        failpoint::reach("kafka.prepared")?;
        Ok(prepared)
    }

    /// A writer whose rows are refused while no further row comes is told so at once.
    fn on_time(&mut self, now: ProcessingTime) -> Result<()> {
        self.sender.check()?;
        if self.buffer.as_ref().is_some_and(|buffer| buffer.is_due(now)) { self.flush() } else { Ok(()) }
    }

    /// While rows may be refused, that is looked for now and then.
    fn next_time(&self) -> Option<ProcessingTime> {
        match self.sender.holds_rows() {
            true => Some(ProcessingTime::MIN),
            false => self.buffer.as_ref().and_then(UpsertBuffer::due),
        }
    }
}
