//! Topics as a source: one split per partition, its position the offset of the next message.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::source::{Boundedness, Position, Source, SourceHealth, Split, SplitReader};
use tidemill_engine::{EngineError, Result};

use super::consumer::{Reset, SharedConsumer};
use super::lifeline::Interrupt;
use super::options::{KafkaTable, Place, SourceOptions};
use super::reach::reach;
use super::reader::PartitionReader;
use super::rows::RowLayout;

pub struct KafkaSource {
    pub table: KafkaTable,
    pub options: SourceOptions,
    pub layout: RowLayout,
    consumer: Mutex<Option<Arc<SharedConsumer>>>,
    interrupt: Interrupt,
}

/// What a split reads; kept in checkpoints.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartitionSplit {
    pub topic: String,
    pub partition: i32,
    /// Tells the topic from a later one of the same name, where the brokers know such ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// `None`: from the first message that is there.
    pub start: Option<i64>,
    /// The first that is not read; `None`: without end.
    pub end: Option<i64>,
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource")
            .field("table", &self.table)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl KafkaSource {
    pub fn new(table: KafkaTable, options: SourceOptions, layout: RowLayout) -> Self {
        Self { table, options, layout, consumer: Mutex::default(), interrupt: Interrupt::default() }
    }

    /// Opened at the first use: planning does not need a broker.
    fn consumer(&self) -> Result<Arc<SharedConsumer>> {
        let mut consumer = self.consumer.lock();
        if let Some(consumer) = consumer.as_ref() {
            return Ok(Arc::clone(consumer));
        }
        let opened = Arc::new(SharedConsumer::open(&self.table.client, &self.interrupt)?);
        Ok(Arc::clone(consumer.insert(opened)))
    }

    fn split(&self, consumer: &SharedConsumer, found: Found, start: &Place) -> Result<Split> {
        let Found { topic, partition, topic_id } = found;
        let start = self.offset(consumer, &topic, partition, start)?;
        let end = match &self.options.end {
            None => None,
            Some(end) => Some(match self.offset(consumer, &topic, partition, end)? {
                Some(end) => end,
                None => consumer.bounds(&topic, partition)?.0,
            }),
        };
        let id = format!("{topic}-{partition}");
        Ok(Split { id, payload: json!(PartitionSplit { topic, partition, topic_id, start, end }) })
    }

    /// `None`: the first message that is there.
    fn offset(&self, consumer: &SharedConsumer, topic: &str, partition: i32, place: &Place) -> Result<Option<i64>> {
        Ok(match place {
            Place::Earliest => None,
            Place::Latest => Some(consumer.bounds(topic, partition)?.1),
            Place::Timestamp(time_ms) => Some(consumer.offset_at(topic, partition, *time_ms)?),
            Place::Offsets(offsets) if offsets.contains_key(&partition) => Some(offsets[&partition]),
            Place::Group | Place::Offsets(_) => match consumer.group_offset(topic, partition)? {
                Some(offset) => Some(offset),
                None => match consumer.reset() {
                    Reset::Earliest => None,
                    Reset::Latest => Some(consumer.bounds(topic, partition)?.1),
                    Reset::Unknown => return Err(no_group_offset(topic, partition)),
                },
            },
        })
    }

    fn splits(&self, start: &Place) -> Result<Vec<Split>> {
        let known = self.consumer.lock().is_some();
        if known {
            // A client that has lost its brokers waits half a minute for each answer, and nobody can stop it.
            reach(&self.table.client, &self.interrupt)?;
        }
        let consumer = self.consumer()?;
        let partitions = consumer.partitions(&self.table.topics)?;
        let mut topics: Vec<&str> = partitions.iter().map(|(topic, _)| topic.as_str()).collect();
        topics.dedup();
        let ids = consumer.topic_ids(&topics)?;
        let found = |(topic, partition): &(String, i32)| Found {
            topic: topic.clone(),
            partition: *partition,
            topic_id: ids.get(topic).cloned(),
        };
        partitions.iter().map(|partition| self.split(&consumer, found(partition), start)).collect()
    }
}

/// A partition that is there.
struct Found {
    topic: String,
    partition: i32,
    topic_id: Option<String>,
}

impl Source for KafkaSource {
    fn schema(&self) -> SchemaRef {
        self.layout.schema.clone()
    }

    fn boundedness(&self) -> Boundedness {
        if self.options.end.is_some() { Boundedness::Bounded } else { Boundedness::Unbounded }
    }

    fn changelog(&self) -> ChangelogMode {
        self.table.changelog()
    }

    fn discover(&self) -> Result<Vec<Split>> {
        self.splits(&self.options.start)
    }

    /// Whatever is in a partition that was not there before has never been read.
    fn discover_new(&self) -> Result<Vec<Split>> {
        self.splits(&Place::Earliest)
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.options.discovery_interval
    }

    /// The end of a topic moves, and so does a group; the first message of a time may be still to come.
    fn start_moves(&self) -> bool {
        self.options.start != Place::Earliest
    }

    fn stop_waiting(&self) {
        self.interrupt.set();
    }

    /// The group is told, for tools that show lag.
    fn completed(&self, positions: &[(&Split, &Position)], last: bool) {
        let offset = |(split, position): &(&Split, &Position)| {
            let PartitionSplit { topic, partition, .. } = PartitionSplit::deserialize(&split.payload).ok()?;
            Some((topic, partition, position.as_i64()?))
        };
        if let Some(consumer) = self.consumer.lock().as_ref() {
            let offsets: Vec<_> = positions.iter().filter_map(offset).collect();
            consumer.tell_group(&offsets, last);
        }
    }

    fn health(&self) -> SourceHealth {
        let consumer = self.consumer.try_lock();
        consumer.as_deref().and_then(Option::as_ref).map_or_else(SourceHealth::default, |consumer| consumer.health())
    }

    fn open(&self, split: &Split, position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
        let payload =
            PartitionSplit::deserialize(&split.payload).map_err(|error| foreign(&split.id, error.to_string()))?;
        let position = match position {
            None => None,
            Some(position) => {
                Some(position.as_i64().ok_or_else(|| foreign(&split.id, format!("{position} is no offset")))?)
            }
        };
        let rows = self.layout.rows(&payload.topic, payload.partition)?;
        Ok(Box::new(PartitionReader::open(self.consumer()?, payload, position, rows)?))
    }
}

fn no_group_offset(topic: &str, partition: i32) -> EngineError {
    EngineError::Unsupported(format!(
        "the group has no offset for topic '{topic}', partition {partition}\n  hint: add 'properties.auto.offset.reset' = 'earliest', \
         or 'scan.startup.mode' = 'earliest-offset'"
    ))
}

/// A split or position that this source never gave.
fn foreign(split: &str, reason: String) -> EngineError {
    EngineError::StateMismatch {
        reasons: vec![format!("the checkpoint's split {split} is not one of a topic: {reason}")],
    }
}
