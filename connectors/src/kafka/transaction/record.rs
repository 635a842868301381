//! The record of commits: one message per job in a compacted topic, written by the very transaction that it tells of.

use std::ops::Range;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use tidemill_engine::{EngineError, Epoch, Result};

use crate::kafka::client::{ClientSettings, failed};
use crate::kafka::context::Quiet;
use crate::kafka::lifeline::Interrupt;
use crate::kafka::reach::reach;

/// All records stand in one partition, so that none can be looked for in the wrong one.
pub const PARTITION: i32 = 0;

/// How long a request to the broker may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the broker may wait for messages to come, in milliseconds: all that is asked for is there.
const FETCH_WAIT_MS: &str = "10";

/// Longest pause between two looks at a topic that somebody else is writing to.
const LOOK: Duration = Duration::from_millis(100);

/// What the target knows of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// The newest epoch whose rows are visible; [`Epoch::ZERO`]: none yet.
    pub epoch: Epoch,
    /// The outbox that wrote this. Whoever finds another name than its own has been superseded.
    pub owner: String,
    /// The outbox that made that epoch visible; `None`: none yet.
    pub writer: Option<String>,
}

/// Where records are kept.
#[derive(Debug, Clone)]
pub struct RecordTopic {
    pub settings: ClientSettings,
    pub topic: String,
    /// A transaction of another job may hide records for as long as the broker lets it stay open.
    pub patience: Duration,
}

/// A client that asks, and is told partitions to read.
pub type Reader = BaseConsumer<Quiet>;

impl CommitRecord {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts always have a form in JSON")
    }
}

impl RecordTopic {
    /// Makes the topic where it does not exist. Compaction keeps the newest record of each job.
    pub fn ensure(&self, interrupt: &Interrupt) -> Result<()> {
        reach(&self.settings, interrupt)?;
        let doing = format!("make the topic '{}', which keeps the record of commits", self.topic);
        // Whoever may not make topics can be given one that is there.
        if self.exists().map_err(|error| failed(&doing, &error))? {
            return Ok(());
        }
        let admin: AdminClient<Quiet> =
            self.settings.config().create_with_context(Quiet::default()).map_err(|error| failed(&doing, &error))?;
        self.settings.log_in(admin.inner().native_ptr()).map_err(|error| failed(&doing, &error))?;
        let topic = NewTopic::new(&self.topic, 1, TopicReplication::Fixed(-1))
            .set("cleanup.policy", "compact")
            .set("segment.ms", "600000")
            .set("min.cleanable.dirty.ratio", "0.1");
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        let made = block_on(admin.create_topics([&topic], &options));
        let outcome = made.map_err(|error| failed(&doing, &error))?.into_iter().next();
        match outcome {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) => Ok(()),
            Some(Err((_, code))) => Err(failed(&doing, &KafkaError::AdminOp(code))),
            None => Err(failed(&doing, &KafkaError::NoMessageReceived)),
        }
    }

    fn exists(&self) -> Result<bool, KafkaError> {
        let client = asker(&self.settings, "read_committed")?;
        let metadata = client.fetch_metadata(Some(&self.topic), REQUEST_TIMEOUT)?;
        Ok(metadata.topics().first().is_some_and(|topic| topic.error().is_none() && !topic.partitions().is_empty()))
    }

    /// Reads what was committed. To give it up takes a tenth of a second.
    pub fn reader(&self) -> Result<Reader> {
        let doing = || format!("open a reader of topic '{}'", self.topic);
        reader(&self.settings, "read_committed").map_err(|error| failed(doing(), &error))
    }

    /// The record of `job`. Everything that was committed before this call is seen.
    pub fn read(&self, consumer: &Reader, job: &str) -> Result<Option<CommitRecord>> {
        let doing = format!("read the record of commits in topic '{}'", self.topic);
        let fail = |error: KafkaError| failed(&doing, &error);
        let bounds = |consumer: &Reader| consumer.fetch_watermarks(&self.topic, PARTITION, REQUEST_TIMEOUT);
        let (first, end) =
            asker(&self.settings, "read_uncommitted").and_then(|consumer| bounds(&consumer)).map_err(fail)?;
        let deadline = Instant::now() + self.patience;
        while bounds(consumer).map_err(fail)?.1 < end {
            if Instant::now() >= deadline {
                let reason = format!(
                    "cannot {doing}: for {:?} a transaction of another job has kept it from being read\n  hint: start that job again, or, where it is no more, \
                     end its transaction (kafka-transactions.sh find-hanging)",
                    self.patience
                );
                return Err(EngineError::Connector { connector: "kafka".into(), reason });
            }
            std::thread::sleep(LOOK);
        }
        let newest = self.newest(consumer, job, first..end, REQUEST_TIMEOUT).map_err(fail)?;
        newest.map(|bytes| self.decode(job, &bytes)).transpose()
    }

    /// The record of `job` as far as it can be seen at once: an open transaction of another job may hide the newest. `patience`: for
    /// each answer of the broker.
    pub fn peek(&self, consumer: &Reader, job: &str, patience: Duration) -> Result<Option<CommitRecord>> {
        let bounds = consumer.fetch_watermarks(&self.topic, PARTITION, patience);
        let newest = bounds.and_then(|(first, end)| self.newest(consumer, job, first..end, patience));
        let doing = || format!("look at the record of commits in topic '{}'", self.topic);
        let newest = newest.map_err(|error| failed(doing(), &error))?;
        newest.map(|bytes| self.decode(job, &bytes)).transpose()
    }

    fn decode(&self, job: &str, bytes: &[u8]) -> Result<CommitRecord> {
        serde_json::from_slice(bytes).map_err(|error| EngineError::Connector {
            connector: "kafka".into(),
            reason: format!("topic '{}' holds a record of job {job} that nobody can read: {error}", self.topic),
        })
    }

    /// The newest committed message of the job among these. Other jobs may write all the time, so that the end of the topic never comes;
    /// and before `end` there may stand only what no reader sees.
    fn newest(
        &self,
        consumer: &Reader,
        job: &str,
        Range { start: first, end }: Range<i64>,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, KafkaError> {
        let mut partitions = TopicPartitionList::new();
        // As a number: librdkafka takes half a second to ask where the beginning is.
        partitions.add_partition_offset(&self.topic, PARTITION, Offset::Offset(first))?;
        consumer.assign(&partitions)?;
        let newest = Self::newest_of_assigned(consumer, job, first..end, patience);
        consumer.unassign().and(newest)
    }

    fn newest_of_assigned(
        consumer: &Reader,
        job: &str,
        Range { start: first, end }: Range<i64>,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, KafkaError> {
        let (mut newest, mut next) = (None, first);
        while next < end {
            match consumer.poll(patience) {
                None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => return Err(error),
                Some(Ok(message)) => {
                    next = message.offset() + 1;
                    if message.key() == Some(job.as_bytes()) {
                        newest = message.payload().map(<[u8]>::to_vec);
                    }
                }
            }
        }
        Ok(newest)
    }
}

fn reader(settings: &ClientSettings, isolation: &str) -> Result<Reader, KafkaError> {
    let mut config = settings.config();
    // A group is asked for even by a consumer that is told its partitions; nothing is committed to it.
    config.set("group.id", "tidemill-record").set("enable.auto.commit", "false");
    open(settings, config, isolation)
}

/// A client that only asks what there is: without a group, there is nothing to wait for when it is given up.
pub fn asker(settings: &ClientSettings, isolation: &str) -> Result<Reader, KafkaError> {
    let mut config = settings.config();
    config.remove("group.id");
    open(settings, config, isolation)
}

fn open(settings: &ClientSettings, mut config: ClientConfig, isolation: &str) -> Result<Reader, KafkaError> {
    config.set("enable.partition.eof", "true").set("isolation.level", isolation);
    // Where only what no reader sees is left in front of the end, the broker tells so only after this time.
    config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", FETCH_WAIT_MS);
    let consumer: Reader = config.create_with_context(Quiet::default())?;
    settings.log_in(consumer.client().native_ptr())?;
    Ok(consumer)
}
