//! Keeps an eye on the topics that are read: whether they are still those that they were, and whether the brokers can be reached.
//!
//! A topic that is deleted and made again has the same name and other messages under the same offsets. Its id tells the two apart; it is
//! asked for when reading begins, kept in the checkpoint, and asked for again every second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafka;
use tidemill_engine::time::ProcessingTime;
use tidemill_engine::{EngineError, Result};

use super::client::failed;
use super::native::{TopicIds, TopicQuestion};

/// How often the brokers are asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A topic that brokers do not know so many times in a row was deleted. Fewer may be a broker that has just started.
const UNKNOWN_MAX: u32 = 5;

/// What brokers give as the id of a topic where they know no ids (before Apache Kafka 2.8).
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// What is known of the topics of one table.
#[derive(Default)]
pub struct Watch {
    topics: BTreeMap<String, Watched>,
    question: Option<TopicQuestion>,
    asked_at: Option<Instant>,
    /// When the first question was asked that has had no answer since.
    unreachable_since: Option<ProcessingTime>,
}

#[derive(Default)]
struct Watched {
    /// `None`: not known yet, or the brokers know no ids.
    id: Option<String>,
    /// Answers in a row that there is no such topic.
    unknown: u32,
    replaced: bool,
}

impl Watch {
    pub fn knows(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// Begins to watch a topic. `id`: as it was in the checkpoint, or when it was found.
    pub fn add(&mut self, topic: &str, id: Option<&str>) -> Result<()> {
        let watched = self.topics.entry(topic.to_string()).or_default();
        match (&watched.id, id) {
            (Some(known), Some(id)) if known != id => Err(replaced(topic)),
            (None, Some(id)) => {
                watched.id = Some(id.to_string());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Asks when it is time to, and looks whether an answer has come; never waits. `client` outlives the watch.
    pub fn look(&mut self, client: *mut RDKafka, now: ProcessingTime) -> Result<()> {
        match &self.question {
            None if self.asked_at.is_none_or(|at| at.elapsed() >= INTERVAL) && !self.topics.is_empty() => {
                let topics: Vec<&str> = self.topics.keys().map(String::as_str).collect();
                self.question = Some(TopicQuestion::ask(client, &topics, PATIENCE));
                self.asked_at = Some(Instant::now());
            }
            Some(question) => {
                if let Some(answer) = question.answer(Duration::ZERO) {
                    self.question = None;
                    let waited = self.asked_at.map_or(Duration::ZERO, |at| at.elapsed());
                    self.take(answer, ProcessingTime(now.0 - waited.as_millis() as i64));
                }
            }
            None => {}
        }
        self.verdict()
    }

    fn take(&mut self, answer: Result<TopicIds, RDKafkaErrorCode>, asked_at: ProcessingTime) {
        let Ok(ids) = answer else {
            self.unreachable_since.get_or_insert(asked_at);
            return;
        };
        self.unreachable_since = None;
        for (topic, watched) in &mut self.topics {
            match ids.get(topic) {
                Some(Ok(id)) => {
                    watched.unknown = 0;
                    let id = known_id(id);
                    watched.replaced |= watched.id.is_some() && id.is_some() && watched.id.as_deref() != id;
                    watched.id = watched.id.take().or_else(|| id.map(Into::into));
                }
                Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
                    watched.unknown += 1;
                }
                Some(Err(_)) | None => {}
            }
        }
    }

    fn verdict(&self) -> Result<()> {
        for (topic, watched) in &self.topics {
            if watched.replaced {
                return Err(replaced(topic));
            }
            if watched.unknown >= UNKNOWN_MAX {
                return Err(EngineError::Unsupported(format!(
                    "topic '{topic}' was deleted while it was read\n  hint: what was not read is lost; start again with another topic"
                )));
            }
        }
        Ok(())
    }

    /// Since when no broker has answered.
    pub fn unreachable_since(&self) -> Option<ProcessingTime> {
        self.unreachable_since
    }
}

/// The ids of topics, asked for at once; those that the brokers do not tell are left out.
pub fn ids_of(client: *mut RDKafka, topics: &[&str], timeout: Duration) -> Result<BTreeMap<String, String>> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let fail = |code| failed("ask which topics these are", &KafkaError::AdminOp(code));
    let answer = TopicQuestion::ask(client, topics, timeout).answer(timeout + INTERVAL);
    let ids = answer.unwrap_or(Err(RDKafkaErrorCode::OperationTimedOut)).map_err(fail)?;
    let known = ids.into_iter().filter_map(|(topic, id)| Some((topic, known_id(&id.ok()?)?.to_string())));
    Ok(known.collect())
}

fn known_id(id: &str) -> Option<&str> {
    Some(id).filter(|id| *id != NO_ID && !id.is_empty())
}

fn replaced(topic: &str) -> EngineError {
    EngineError::Unsupported(format!(
        "topic '{topic}' was deleted and made again: its messages are not those that the job has read so far\n  hint: start again without the old checkpoints \
         (--fresh) to read the new topic from its start"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: Result<&str, RDKafkaErrorCode>) -> Result<TopicIds, RDKafkaErrorCode> {
        Ok(BTreeMap::from([("t".to_string(), id.map(Into::into))]))
    }

    #[test]
    fn a_topic_with_another_id_is_another_topic() {
        let mut watch = Watch::default();
        watch.add("t", None).expect("nothing known");
        watch.take(answer(Ok("one")), ProcessingTime(0));
        assert!(watch.verdict().is_ok());
        watch.take(answer(Ok(NO_ID)), ProcessingTime(0));
        assert!(watch.verdict().is_ok(), "an old broker knows no ids");
        watch.take(answer(Ok("two")), ProcessingTime(0));
        assert!(watch.verdict().expect_err("another").to_string().contains("deleted and made again"));
        let mut restored = Watch::default();
        restored.add("t", Some("two")).expect("first");
        assert!(restored.add("t", Some("one")).is_err(), "of the checkpoint");
    }

    #[test]
    fn a_topic_is_gone_when_brokers_say_so_again_and_again() {
        let mut watch = Watch::default();
        watch.add("t", Some("one")).expect("first");
        let unknown = || answer(Err(RDKafkaErrorCode::UnknownTopicOrPartition));
        (1..UNKNOWN_MAX).for_each(|_| watch.take(unknown(), ProcessingTime(0)));
        assert!(watch.verdict().is_ok());
        watch.take(answer(Ok("one")), ProcessingTime(0));
        (0..UNKNOWN_MAX).for_each(|_| watch.take(unknown(), ProcessingTime(0)));
        assert!(watch.verdict().expect_err("gone").to_string().contains("was deleted while it was read"));
    }

    #[test]
    fn brokers_are_out_of_reach_from_the_first_failure_to_the_next_answer() {
        let mut watch = Watch::default();
        watch.add("t", None).expect("nothing known");
        for now in [5, 9] {
            watch.take(Err(RDKafkaErrorCode::OperationTimedOut), ProcessingTime(now));
            assert_eq!(watch.unreachable_since(), Some(ProcessingTime(5)));
        }
        watch.take(answer(Ok("one")), ProcessingTime(12));
        assert_eq!(watch.unreachable_since(), None);
    }
}
