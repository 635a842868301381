//! The producers of a job: two that take turns, shared by all of its sinks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer};
use tidemill_engine::{EngineError, Epoch, Result, failpoint};
use uuid::Uuid;

use super::leftovers;
use super::producer::{self, RowProducer, Trouble, Undelivered};
use super::protocol::{self, Answer, Commit, Next, Succession, Ticket, Turn};
use super::record::{CommitRecord, PARTITION, RecordTopic};
use crate::kafka::client::{ClientSettings, failed, is_outage, reason};
use crate::kafka::lifeline::{Interrupt, Lifeline};
use crate::kafka::writer::partition_count;

/// How long a call that begins or ends a transaction may take before its outcome counts as unknown.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Such a call is made in slices of this length, so that it can be given up: one that is made again goes on where it was.
const CALL_SLICE: Duration = Duration::from_secs(1);

/// How often a call is repeated of which the broker says that nothing happened yet.
const RETRIES_MAX: u32 = 20;

const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait for an answer that is welcome but not needed.
const PEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// The same where brokers are perhaps away.
const GLANCE_TIMEOUT: Duration = Duration::from_secs(1);

/// What all sinks of a job must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxSettings {
    pub client: ClientSettings,
    /// Begins the names of the producers; whoever uses the same name later ends what the earlier one left open.
    pub id_prefix: String,
    pub transaction_timeout: Duration,
    /// Where records are kept; `None`: in a topic of the job's own.
    pub record_topic: Option<String>,
}

/// A job's own topic begins with this, and ends with its id. What others share, one of them can hold up: a transaction of a job that
/// died hides all that comes behind it until the job is started again or the broker has lost patience.
const OWN_TOPIC: &str = "__tidemill_commits-";

/// The transactions of one attempt of a job.
pub struct Outbox {
    job: String,
    settings: OutboxSettings,
    lifeline: Arc<Lifeline>,
    interrupt: Arc<Interrupt>,
    record: RecordTopic,
    /// Unique to this outbox.
    owner: String,
    /// Of the process.
    succession: Arc<Mutex<Succession>>,
    state: Mutex<State>,
    /// For each turn whether a transaction is open. Held while one begins or ends: of the other turn rows go on meanwhile.
    turns: [Mutex<bool>; 2],
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("job", &self.job).field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    opened: Option<Opened>,
    claimed: bool,
    /// The newest epoch that was committed here.
    last: Option<Epoch>,
}

#[derive(Clone)]
struct Opened {
    producers: [Arc<RowProducer>; 2],
    /// As it was then.
    found: Option<CommitRecord>,
}

impl Outbox {
    /// `interrupt`: of any of the job's sinks, all of which are told together.
    pub(super) fn new(
        job: String,
        settings: OutboxSettings,
        succession: Arc<Mutex<Succession>>,
        interrupt: Arc<Interrupt>,
    ) -> Self {
        let record = RecordTopic {
            settings: settings.client.clone(),
            topic: settings.record_topic.clone().unwrap_or_else(|| format!("{OWN_TOPIC}{job}")),
            patience: settings.transaction_timeout,
        };
        let (state, turns) = (Mutex::default(), Default::default());
        let owner = Uuid::new_v4().to_string();
        Self { job, settings, lifeline: Arc::default(), interrupt, record, owner, succession, state, turns }
    }

    /// Of its producers.
    pub fn lifeline(&self) -> &Arc<Lifeline> {
        &self.lifeline
    }

    pub fn settings(&self) -> &OutboxSettings {
        &self.settings
    }

    pub fn ticket(&self, turn: Turn) -> Ticket {
        Ticket { owner: self.owner.clone(), turn }
    }

    /// Opens the producers, which ends whatever an earlier attempt left open, and reads what it committed. The first call of
    /// the attempt does so; later ones give the same answer.
    pub fn open(&self) -> Result<Option<Epoch>> {
        let mut state = self.state.lock();
        if state.opened.is_none() {
            self.record.ensure(&self.interrupt)?;
            let reader = self.record.reader()?;
            // A copy that has taken over keeps its producers; to open these would end its transactions.
            self.refuse_if_superseded(self.record.peek(&reader, &self.job, PEEK_TIMEOUT)?.as_ref())?;
            failpoint::reach("kafka.open")?;
            let producers = self.producers()?;
            failpoint::reach("kafka.opened")?;
            self.end_leftovers(&producers, &self.record.topic)?;
            let found = self.record.read(&reader, &self.job)?;
            self.refuse_if_superseded(found.as_ref())?;
            self.succession.lock().open(&self.owner, found.as_ref());
            state.opened = Some(Opened { producers, found });
        }
        let found = state.opened.as_ref().and_then(|opened| opened.found.as_ref());
        Ok(found.map(|record| record.epoch))
    }

    /// Sees to it that in a topic no rows of earlier transactions wait to be committed with later ones. Before any row is written.
    pub fn settle(&self, topic: &str) -> Result<()> {
        let opened = self.opened(&self.state.lock());
        self.end_leftovers(&opened.producers, topic)
    }

    fn end_leftovers(&self, producers: &[Arc<RowProducer>; 2], topic: &str) -> Result<()> {
        let doing = || format!("look for open transactions in topic '{topic}'");
        // Opening the producers has ended all transactions of theirs that the broker knows of.
        let partitions = partition_count(&producers[0], topic)?;
        let found = leftovers::undecided(&self.settings.client, topic, partitions);
        let found = found.map_err(|error| failed(doing(), &error))?;
        if found.is_empty() {
            return Ok(());
        }
        tracing::warn!(topic, partitions = ?found, "a transaction is open that should not be; if it is this job's, it ends now");
        producers.iter().try_for_each(|producer| self.abort_in(producer, topic, &found))
    }

    /// Ends, as aborted, whatever this producer has open in these partitions. Where it has nothing, nothing happens to others.
    fn abort_in(&self, producer: &RowProducer, topic: &str, partitions: &[i32]) -> Result<()> {
        let doing = format!("end open transactions in topic '{topic}'");
        self.call(&doing, || producer.begin_transaction())?;
        for partition in partitions {
            // With a key, since a compacted topic demands one; nobody ever sees it.
            let record: BaseRecord<'_, str, str> = BaseRecord::to(topic);
            let sent = producer.send(record.partition(*partition).key("tidemill"));
            sent.map_err(|(error, _)| self.explain(&doing, &error))?;
        }
        self.store(producer, &doing)?;
        self.call(&doing, || self.patiently(|slice| producer.abort_transaction(slice)))
    }

    /// Writes this outbox's name into the record: whoever still runs an older one can see that it was superseded.
    pub fn claim(&self) -> Result<()> {
        let mut state = self.state.lock();
        if state.claimed {
            return Ok(());
        }
        failpoint::reach("kafka.claim")?;
        let opened = self.opened(&state);
        let (epoch, writer) = opened.found.map_or((Epoch::ZERO, None), |found| (found.epoch, found.writer));
        self.end(&opened.producers, Turn::First, &CommitRecord { epoch, owner: self.owner.clone(), writer })?;
        self.succession.lock().claimed(&self.owner);
        state.claimed = true;
        Ok(())
    }

    /// The producer of a turn, with a transaction open, once the broker has all rows that the other one was given: rows of a key are read
    /// in the order in which they are stored, whoever sends them.
    pub fn enter(&self, turn: Turn) -> Result<Arc<RowProducer>> {
        let opened = self.opened(&self.state.lock());
        self.store(&opened.producers[turn.next().index()], "write the rows of the epoch before")?;
        self.begin(&opened.producers, turn, &mut self.turns[turn.index()].lock())
    }

    /// Makes the rows of `epoch` visible, together with the record that they are.
    pub fn commit(&self, epoch: Epoch, tickets: &[Ticket]) -> Result<()> {
        let (opened, last) = {
            let state = self.state.lock();
            (self.opened(&state), state.last.unwrap_or(Epoch::ZERO))
        };
        match protocol::decide_commit(epoch, tickets, &self.owner, opened.found.as_ref(), last) {
            Commit::AlreadyVisible => Ok(()),
            Commit::End(turn) => {
                let (owner, writer) = (self.owner.clone(), Some(self.owner.clone()));
                self.end(&opened.producers, turn, &CommitRecord { epoch, owner, writer })?;
                self.state.lock().last = Some(epoch);
                Ok(())
            }
            Commit::Foreign => Err(EngineError::StateMismatch {
                reasons: vec![format!(
                    "checkpoint {epoch} is not of the rows that are visible: another copy of this job has written epoch {epoch} instead, and only its state directory goes on from there"
                )],
            }),
            Commit::Confused => Err(EngineError::Internal {
                place: "kafka".into(),
                reason: format!("the rows of epoch {epoch} were written in different transactions"),
            }),
        }
    }

    /// The error of a job whose rows or transaction the broker refused: perhaps because another copy has taken over. Where that
    /// cannot be asked, the next start finds out.
    pub fn explain(&self, doing: &str, error: &KafkaError) -> EngineError {
        let patience = match is_outage(error) {
            false => PEEK_TIMEOUT,
            true if self.lifeline.health().unreachable_since.is_some() => return failed(doing, error),
            // Rows also run out of time in a process that stood still, and then another may have taken over.
            true => GLANCE_TIMEOUT,
        };
        let peek = |reader| self.record.peek(&reader, &self.job, patience);
        let record = self.record.reader().and_then(peek).ok().flatten();
        self.refuse_if_superseded(record.as_ref()).err().unwrap_or_else(|| failed(doing, error))
    }

    fn refuse_if_superseded(&self, record: Option<&CommitRecord>) -> Result<()> {
        if !self.succession.lock().is_broken(record) {
            return Ok(());
        }
        let output = format!("the transactions of job {} on {}", self.job, self.settings.client.cluster());
        Err(EngineError::Superseded { output })
    }

    fn opened(&self, state: &State) -> Opened {
        state.opened.clone().expect("the committer opens the outbox before any writer")
    }

    fn begin(&self, producers: &[Arc<RowProducer>; 2], turn: Turn, open: &mut bool) -> Result<Arc<RowProducer>> {
        let producer = Arc::clone(&producers[turn.index()]);
        if !*open {
            self.call("begin a transaction", || producer.begin_transaction())?;
            *open = true;
        }
        Ok(producer)
    }

    fn end(&self, producers: &[Arc<RowProducer>; 2], turn: Turn, record: &CommitRecord) -> Result<()> {
        let mut open = self.turns[turn.index()].lock();
        let producer = self.begin(producers, turn, &mut open)?;
        failpoint::reach("kafka.record")?;
        self.send_record(&producer, record)?;
        self.store(&producer, "write what is to be committed")?;
        failpoint::reach("kafka.recorded")?;
        self.call("commit a transaction", || self.patiently(|slice| producer.commit_transaction(slice)))?;
        *open = false;
        failpoint::reach("kafka.ended")
    }

    fn send_record(&self, producer: &RowProducer, record: &CommitRecord) -> Result<()> {
        let payload = record.encode();
        let record = BaseRecord::to(&self.record.topic).partition(PARTITION).key(self.job.as_str());
        let sent = producer.send(record.payload(payload.as_slice()));
        sent.map_err(|(error, _)| self.explain("write the record of commits", &error))
    }

    /// Waits until the broker has all that the producer was given.
    fn store(&self, producer: &RowProducer, doing: &str) -> Result<()> {
        let stored = producer::store(producer, || self.lifeline.is_given_up(&self.interrupt));
        stored.map_err(|undelivered| match undelivered {
            Undelivered::Broken(trouble) => self.explain(&trouble.doing(doing), &trouble.error),
            undelivered => undelivered.explain(doing),
        })
    }

    /// A call on a transactional producer, made again as long as the broker says that nothing happened yet.
    fn call(&self, doing: &str, call: impl Fn() -> Result<(), KafkaError>) -> Result<()> {
        for retries_left in (0..=RETRIES_MAX).rev() {
            let outcome = call();
            let answer = outcome.as_ref().map_or_else(answer_of, |()| Answer::Done);
            match (protocol::after(answer, retries_left), outcome) {
                (Next::Proceed, _) | (_, Ok(())) => return Ok(()),
                (Next::Retry, Err(error)) => {
                    tracing::debug!(doing, reason = reason(&error), "the broker asks to try again");
                    std::thread::sleep(RETRY_PAUSE);
                }
                (Next::Recover, Err(error)) => return Err(self.explain(doing, &error)),
            }
        }
        unreachable!("without retries left no answer asks for another")
    }

    /// A call that goes on where it was when it is made again after it has run out of time.
    fn patiently(&self, call: impl Fn(Duration) -> Result<(), KafkaError>) -> Result<(), KafkaError> {
        let begun = Instant::now();
        loop {
            let outcome = call(CALL_SLICE);
            let timed_out = matches!(&outcome, Err(KafkaError::Transaction(error))
                if error.code() == RDKafkaErrorCode::OperationTimedOut && error.is_retriable());
            if !timed_out || begun.elapsed() >= CALL_TIMEOUT {
                return outcome;
            }
            if self.lifeline.is_given_up(&self.interrupt) {
                return Err(KafkaError::Canceled);
            }
        }
    }

    /// Why nothing that is written now will be committed, if that is so.
    pub fn broken(&self) -> Option<Trouble> {
        let given_up = || self.lifeline.is_given_up(&self.interrupt).then(Trouble::given_up);
        let state = self.state.lock();
        let producers = &state.opened.as_ref()?.producers;
        producers.iter().find_map(|one| producer::broken(one)).or_else(given_up)
    }

    /// Both at once: where an earlier attempt left transactions open, the broker takes a while to end each.
    fn producers(&self) -> Result<[Arc<RowProducer>; 2]> {
        std::thread::scope(|scope| {
            let second = scope.spawn(|| self.producer(Turn::Second));
            let first = self.producer(Turn::First);
            let second = second.join().unwrap_or_else(|_| {
                Err(EngineError::Internal { place: "kafka".into(), reason: "opening a producer panicked".into() })
            });
            Ok([first?, second?])
        })
    }

    fn producer(&self, turn: Turn) -> Result<Arc<RowProducer>> {
        let mut config = self.settings.client.producer_config();
        let id = format!("{}-{}-{}", self.settings.id_prefix, self.job, turn.index());
        config.set("transactional.id", &id);
        config.set("transaction.timeout.ms", self.settings.transaction_timeout.as_millis().to_string());
        let producer = producer::producer(config, &self.lifeline, true)
            .map_err(|error| EngineError::Unsupported(format!("kafka: {}", reason(&error))))?;
        const DOING: &str = "open a transactional producer";
        self.settings.client.log_in(producer.client().native_ptr()).map_err(|error| failed(DOING, &error))?;
        let init = || self.patiently(|slice| producer.init_transactions(slice));
        self.call(DOING, init).map_err(|error| self.wrong_timeout(error))?;
        Ok(Arc::new(producer))
    }

    /// A timeout that the broker does not allow stays wrong: no restart will help.
    fn wrong_timeout(&self, error: EngineError) -> EngineError {
        let refused = RDKafkaErrorCode::InvalidTransactionTimeout.to_string();
        match &error {
            EngineError::Connector { reason, .. }
                if reason.contains("timeout is larger") || reason.contains(&refused) =>
            {
                EngineError::Unsupported(format!(
                    "{reason}\n  hint: transactions of {} ms are longer than the broker's 'transaction.max.timeout.ms': make 'properties.transaction.timeout.ms' smaller, or \
                     'execution.checkpointing.interval' where that asks for so long transactions",
                    self.settings.transaction_timeout.as_millis()
                ))
            }
            _ => error,
        }
    }
}

fn answer_of(error: &KafkaError) -> Answer {
    match error {
        KafkaError::Transaction(inner) if inner.is_fatal() => Answer::Indefinite,
        KafkaError::Transaction(inner) if inner.txn_requires_abort() => Answer::Abortable,
        KafkaError::Transaction(inner) if inner.is_retriable() => Answer::Retriable,
        _ => Answer::Indefinite,
    }
}
