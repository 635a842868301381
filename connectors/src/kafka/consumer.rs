//! One client of librdkafka for all partitions that a process reads of a table: threads and connections do not grow with them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafka;
use rdkafka::{Offset, TopicPartitionList};
use tidemill_engine::Result;
use tidemill_engine::source::SourceHealth;
use tidemill_engine::time::{Clock, SystemClock};

use super::client::{ClientSettings, failed, reason, unusable};
use super::context::Quiet;
use super::lifeline::Interrupt;
use super::native::{self, MessageQueue};
use super::options::Topics;
use super::reach::reach;
use super::watch::{self, Watch};

/// How long a request to the brokers may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a broker that has nothing new waits before it says so, in milliseconds. What is asked meanwhile, such as a partition that is
/// new to the client, waits as long; librdkafka's half second would be most of the time that a small bounded job takes.
const FETCH_WAIT_MS: &str = "100";

/// How long the client fetches nothing from a partition of which it holds more than it may, in milliseconds; its own second would leave a job
/// that reads faster waiting for most of it.
const FETCH_PAUSE_MS: &str = "10";

/// A consumer asks for a group even where it is told its partitions.
const GROUP_UNUSED: &str = "tidemill";

/// Where reading begins in a partition of which the group has no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    Earliest,
    Latest,
    /// Nobody said so.
    Unknown,
}

/// A consumer that is told its partitions, each with a queue of its own.
pub struct SharedConsumer {
    // In front of the consumer, which is given up last: what is asked of it has to be taken back before.
    watch: Mutex<Watch>,
    consumer: Arc<BaseConsumer<Quiet>>,
    /// Offsets go to the group, for tools that show how far it has come.
    commits: bool,
    reset: Reset,
    /// How far reading has come in the partitions that are open.
    progress: Mutex<HashMap<(String, i32), Arc<Progress>>>,
}

/// How far reading has come in one partition.
#[derive(Debug, Default)]
pub struct Progress {
    /// The offset of the next message.
    next: AtomicI64,
    /// Nothing that may be read stands behind it: what fills the log up to its end is no concern of a reader.
    at_end: AtomicBool,
}

impl Progress {
    pub fn set(&self, next: i64, at_end: bool) {
        self.next.store(next, Ordering::Relaxed);
        self.at_end.store(at_end, Ordering::Relaxed);
    }
}

impl SharedConsumer {
    pub fn open(settings: &ClientSettings, interrupt: &Interrupt) -> Result<Self> {
        reach(settings, interrupt)?;
        let mut config = settings.config();
        let commits = settings.get("group.id").is_some();
        if !commits {
            config.set("group.id", GROUP_UNUSED);
        }
        // Offsets that are gone are told, not passed over; positions are the checkpoint's.
        config
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        config.set("enable.partition.eof", "true").set("allow.auto.create.topics", "false");
        let ours = [
            ("isolation.level", "read_committed"),
            ("fetch.wait.max.ms", FETCH_WAIT_MS),
            ("fetch.queue.backoff.ms", FETCH_PAUSE_MS),
        ];
        for (key, value) in ours {
            if settings.get(key).is_none() {
                config.set(key, value);
            }
        }
        let consumer: BaseConsumer<Quiet> =
            config.create_with_context(Quiet::default()).map_err(|error| unusable("open a consumer", &error))?;
        settings.log_in(consumer.client().native_ptr()).map_err(|error| failed("open a consumer", &error))?;
        let reset = match settings.get("auto.offset.reset") {
            Some("earliest" | "smallest" | "beginning") => Reset::Earliest,
            Some("latest" | "largest" | "end") => Reset::Latest,
            _ => Reset::Unknown,
        };
        let (watch, progress) = (Mutex::default(), Mutex::default());
        Ok(Self { watch, consumer: Arc::new(consumer), commits, reset, progress })
    }

    pub fn reset(&self) -> Reset {
        self.reset
    }

    fn native(&self) -> *mut RDKafka {
        self.consumer.client().native_ptr()
    }

    /// The ids of topics, where the brokers tell them.
    pub fn topic_ids(&self, topics: &[&str]) -> Result<BTreeMap<String, String>> {
        watch::ids_of(self.native(), topics, REQUEST_TIMEOUT)
    }

    /// Watches a topic from here on. `id`: as it was when the split was found; another one now is refused at once.
    pub fn watch(&self, topic: &str, id: Option<&str>) -> Result<()> {
        let mut watch = self.watch.lock();
        if !watch.knows(topic) {
            watch.add(topic, self.topic_ids(&[topic])?.get(topic).map(String::as_str))?;
        }
        watch.add(topic, id)
    }

    /// Refuses to go on where a topic is not what it was. Waits for nobody.
    pub fn look(&self) -> Result<()> {
        match self.watch.try_lock() {
            Some(mut watch) => watch.look(self.native(), SystemClock.now()),
            None => Ok(()),
        }
    }

    /// What is known of the brokers and of what is left to read; asks nobody.
    pub fn health(&self) -> SourceHealth {
        let unreachable_since = self.watch.try_lock().and_then(|watch| watch.unreachable_since());
        let progress = self.progress.lock();
        let left = progress.iter().map(|((topic, partition), progress)| {
            if progress.at_end.load(Ordering::Relaxed) {
                return Some(0);
            }
            let end = native::known_end(self.native(), topic, *partition)?;
            Some(end.saturating_sub(progress.next.load(Ordering::Relaxed)).max(0).unsigned_abs())
        });
        // Where not even one is known, nothing is.
        let backlog = left.flatten().reduce(|a, b| a + b);
        SourceHealth { backlog, unreachable_since }
    }

    /// All partitions of the topics, in their order.
    pub fn partitions(&self, topics: &Topics) -> Result<Vec<(String, i32)>> {
        let mut found = Vec::new();
        match topics {
            Topics::Named(names) => {
                for name in names {
                    found.extend(self.partitions_of(Some(name))?);
                }
            }
            Topics::Matching(pattern) => {
                found = self.partitions_of(None)?;
                found.retain(|(topic, _)| pattern.is_match(topic));
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn partitions_of(&self, topic: Option<&str>) -> Result<Vec<(String, i32)>> {
        let doing = || match topic {
            Some(topic) => format!("find the partitions of topic '{topic}'"),
            None => "list the topics".to_string(),
        };
        let metadata = self.consumer.fetch_metadata(topic, REQUEST_TIMEOUT).map_err(|error| failed(doing(), &error))?;
        let mut found = Vec::new();
        for one in metadata.topics() {
            if let Some(error) = one.error().filter(|_| topic.is_some()) {
                return Err(failed(doing(), &KafkaError::MetadataFetch(RDKafkaErrorCode::from(error))));
            }
            found.extend(one.partitions().iter().map(|partition| (one.name().to_string(), partition.id())));
        }
        Ok(found)
    }

    /// The first offset that is there, and the one behind the last that may be read.
    pub fn bounds(&self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        let bounds = self.consumer.fetch_watermarks(topic, partition, REQUEST_TIMEOUT);
        bounds.map_err(|error| failed(format!("find the ends of topic '{topic}', partition {partition}"), &error))
    }

    /// The group's offset, if it has one.
    pub fn group_offset(&self, topic: &str, partition: i32) -> Result<Option<i64>> {
        let doing = || format!("read the group's offset of topic '{topic}', partition {partition}");
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let found = self.consumer.committed_offsets(list, REQUEST_TIMEOUT).map_err(|error| failed(doing(), &error))?;
        Ok(found.elements().first().and_then(|element| element.offset().to_raw()).filter(|offset| *offset >= 0))
    }

    /// The first offset at or behind a time in milliseconds since 1970; the end where there is none.
    pub fn offset_at(&self, topic: &str, partition: i32, time_ms: i64) -> Result<i64> {
        let fail = |error: &KafkaError| failed(format!("find a time in topic '{topic}', partition {partition}"), error);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(time_ms)).map_err(|error| fail(&error))?;
        let found = self.consumer.offsets_for_times(list, REQUEST_TIMEOUT).map_err(|error| fail(&error))?;
        match found.elements().first().map(|element| element.offset()) {
            Some(Offset::Offset(offset)) if offset >= 0 => Ok(offset),
            _ => Ok(self.bounds(topic, partition)?.1),
        }
    }

    /// Begins to fetch a partition at an offset.
    pub fn queue(&self, topic: &str, partition: i32, offset: i64) -> Result<(MessageQueue, Arc<Progress>)> {
        let doing = || format!("read topic '{topic}', partition {partition}");
        let queue = MessageQueue::of(&self.consumer, topic, partition);
        let queue = queue.ok_or_else(|| failed(doing(), &KafkaError::NoMessageReceived))?;
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(topic, partition, Offset::Offset(offset));
        added.and_then(|()| self.consumer.incremental_assign(&list)).map_err(|error| failed(doing(), &error))?;
        let progress = Arc::<Progress>::default();
        progress.set(offset, false);
        self.progress.lock().insert((topic.to_string(), partition), Arc::clone(&progress));
        Ok((queue, progress))
    }

    /// Stops fetching it; nothing is left to read of it.
    pub fn release(&self, topic: &str, partition: i32) {
        self.progress.lock().remove(&(topic.to_string(), partition));
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::debug!(topic, partition, reason = reason(&error), "a partition could not be given back");
        }
    }

    /// Lets the client hand over what is of no single partition; errors are told through [`Quiet`].
    pub fn serve(&self) {
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
            tracing::debug!(reason = reason(&error), "kafka");
        }
    }

    /// Tells the group how far reading has come: by topic and partition the next offset. Nothing of ours depends on it. `wait`: until
    /// the brokers know.
    pub fn tell_group(&self, offsets: &[(String, i32, i64)], wait: bool) {
        if !self.commits || offsets.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        let added = offsets.iter().try_for_each(|(topic, partition, offset)| {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
        });
        let mode = if wait { CommitMode::Sync } else { CommitMode::Async };
        if let Err(error) = added.and_then(|()| self.consumer.commit(&list, mode)) {
            tracing::debug!(reason = reason(&error), "the group's offsets could not be told");
        }
    }
}
