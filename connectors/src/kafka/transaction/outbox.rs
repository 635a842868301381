//! The producers of a job on one cluster: two that take turns, shared by all of its sinks there.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tidemill_engine::{EngineError, Epoch, Result};
use uuid::Uuid;

use super::deliveries::Deliveries;
use super::protocol::{self, Answer, Commit, Next, Ticket, Turn};
use super::record::{CommitRecord, PARTITION, RecordTopic};
use crate::kafka::client::{self, ClientSettings, failed, reason};

/// How long a call that begins or ends a transaction may take before its outcome counts as unknown.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a call is repeated of which the broker says that nothing happened yet.
const RETRIES_MAX: u32 = 20;

const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long the record of commits may take to be written.
const RECORD_TIMEOUT: Duration = Duration::from_secs(60);

/// A producer that tells each writer what became of its rows.
pub type RowProducer = ThreadedProducer<Reports>;

/// Hands the broker's answers to the writer that sent the row.
pub struct Reports;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, text: &str) {
        client::tell(&error, text);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Deliveries>;

    fn delivery(&self, result: &DeliveryResult<'_>, deliveries: Arc<Deliveries>) {
        deliveries.answered(result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone()));
    }
}

/// What all sinks of a job on one cluster must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxSettings {
    pub client: ClientSettings,
    /// Begins the names of the producers; whoever uses the same name later ends what the earlier one left open.
    pub id_prefix: String,
    pub transaction_timeout: Duration,
    pub record_topic: String,
}

/// All outboxes of a process that are in use.
#[derive(Debug, Default)]
pub struct Outboxes {
    /// By job and cluster.
    open: Mutex<HashMap<(String, String), Weak<Outbox>>>,
}

impl Outboxes {
    /// The outbox of a job on the cluster of `settings`; an attempt of the job that has ended leaves none behind.
    pub fn of(&self, job: &str, settings: &OutboxSettings) -> Result<Arc<Outbox>> {
        let mut open = self.open.lock();
        open.retain(|_, outbox| outbox.strong_count() > 0);
        let key = (job.to_string(), settings.client.cluster());
        if let Some(outbox) = open.get(&key).and_then(Weak::upgrade) {
            if outbox.settings != *settings {
                return Err(EngineError::Unsupported(format!(
                    "tables of one job that write exactly once to the cluster {} must have the same 'properties.*', 'sink.transactional-id-prefix' and 'transaction.timeout.ms': \
                     they share one transaction\n  hint: give them the same options, or SET 'sink.delivery-guarantee' = 'at-least-once' for one of them",
                    key.1
                )));
            }
            return Ok(outbox);
        }
        let outbox = Arc::new(Outbox::new(job.to_string(), settings.clone()));
        open.insert(key, Arc::downgrade(&outbox));
        Ok(outbox)
    }
}

/// The transactions of one attempt of a job.
pub struct Outbox {
    job: String,
    settings: OutboxSettings,
    record: RecordTopic,
    /// Unique to this outbox.
    owner: String,
    state: Mutex<State>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("job", &self.job).field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    producers: Option<[Arc<RowProducer>; 2]>,
    /// A transaction of this turn is open.
    open: [bool; 2],
    /// As found when the producers were opened; `Some(None)`: there was none.
    found: Option<Option<CommitRecord>>,
    claimed: bool,
    /// The newest epoch that was committed here.
    last: Option<Epoch>,
}

impl Outbox {
    fn new(job: String, settings: OutboxSettings) -> Self {
        let record = RecordTopic {
            settings: settings.client.clone(),
            topic: settings.record_topic.clone(),
            patience: settings.transaction_timeout,
        };
        Self { job, settings, record, owner: Uuid::new_v4().to_string(), state: Mutex::default() }
    }

    pub fn ticket(&self, turn: Turn) -> Ticket {
        Ticket { owner: self.owner.clone(), turn }
    }

    /// Opens the producers, which ends whatever an earlier attempt left open, and reads what it committed. The first call of
    /// the attempt does so; later ones give the same answer.
    pub fn open(&self) -> Result<Option<Epoch>> {
        let mut state = self.state.lock();
        if state.found.is_none() {
            self.record.ensure()?;
            let producers = [self.producer(Turn::First)?, self.producer(Turn::Second)?];
            state.found = Some(self.record.read(&self.job)?);
            state.producers = Some(producers);
        }
        let found = state.found.as_ref().expect("it was read just before");
        Ok(found.as_ref().map(|record| record.epoch))
    }

    /// Writes this outbox's name into the record: whoever still runs an older one can see that it was superseded.
    pub fn claim(&self) -> Result<()> {
        let mut state = self.state.lock();
        if state.claimed {
            return Ok(());
        }
        let epoch = state.found.as_ref().and_then(|found| found.as_ref()).map_or(Epoch::ZERO, |record| record.epoch);
        self.end(&mut state, Turn::First, epoch)?;
        state.claimed = true;
        Ok(())
    }

    /// The producer of a turn, with a transaction open.
    pub fn enter(&self, turn: Turn) -> Result<Arc<RowProducer>> {
        let mut state = self.state.lock();
        self.begin(&mut state, turn)
    }

    /// Makes the rows of `epoch` visible, together with the record that they are.
    pub fn commit(&self, epoch: Epoch, tickets: &[Ticket]) -> Result<()> {
        let mut state = self.state.lock();
        let last = state.last.unwrap_or(Epoch::ZERO);
        match protocol::decide_commit(epoch, tickets, &self.owner, last) {
            Commit::AlreadyVisible => Ok(()),
            Commit::End(turn) => {
                self.end(&mut state, turn, epoch)?;
                state.last = Some(epoch);
                Ok(())
            }
            Commit::Confused => Err(EngineError::Internal {
                place: "kafka".into(),
                reason: format!("the rows of epoch {epoch} were written in different transactions"),
            }),
        }
    }

    /// The error of a job whose rows or transaction the broker refused.
    pub fn explain(&self, doing: &str, error: &KafkaError) -> EngineError {
        let superseded = match protocol::after(answer_of(error), 0) {
            // Where the broker cannot be asked, the next start will find out.
            Next::AskWhoOwns => {
                self.record.read(&self.job).is_ok_and(|found| protocol::is_superseded(found.as_ref(), &self.owner))
            }
            _ => false,
        };
        if superseded {
            let output = format!("the transactions of job {} on {}", self.job, self.settings.client.cluster());
            return EngineError::Superseded { output };
        }
        failed(doing, error)
    }

    fn begin(&self, state: &mut State, turn: Turn) -> Result<Arc<RowProducer>> {
        let producers = state.producers.as_ref().expect("the committer opens the outbox before any writer");
        let producer = Arc::clone(&producers[turn.index()]);
        if !state.open[turn.index()] {
            self.call("begin a transaction", || producer.begin_transaction())?;
            state.open[turn.index()] = true;
        }
        Ok(producer)
    }

    fn end(&self, state: &mut State, turn: Turn, epoch: Epoch) -> Result<()> {
        let producer = self.begin(state, turn)?;
        self.write_record(&producer, epoch)?;
        self.call("commit a transaction", || producer.commit_transaction(CALL_TIMEOUT))?;
        state.open[turn.index()] = false;
        Ok(())
    }

    fn write_record(&self, producer: &RowProducer, epoch: Epoch) -> Result<()> {
        const DOING: &str = "write the record of commits";
        let payload = CommitRecord { epoch, owner: self.owner.clone() }.encode();
        let deliveries = Arc::new(Deliveries::default());
        deliveries.sent();
        let record = BaseRecord::with_opaque_to(&self.record.topic, Arc::clone(&deliveries));
        let record = record.partition(PARTITION).key(self.job.as_str()).payload(payload.as_slice());
        producer.send(record).map_err(|(error, _)| self.explain(DOING, &error))?;
        deliveries.wait(RECORD_TIMEOUT).map_err(|undelivered| self.undelivered(DOING, &undelivered))
    }

    /// The error of rows that were not stored.
    pub fn undelivered(&self, doing: &str, undelivered: &super::deliveries::Undelivered) -> EngineError {
        match undelivered {
            super::deliveries::Undelivered::Failed(error) => self.explain(doing, error),
            super::deliveries::Undelivered::TimedOut { outstanding } => EngineError::Connector {
                connector: "kafka".into(),
                reason: format!("cannot {doing}: {outstanding} messages were not acknowledged in time"),
            },
        }
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
                (Next::Recover | Next::AskWhoOwns, Err(error)) => return Err(self.explain(doing, &error)),
            }
        }
        unreachable!("without retries left no answer asks for another")
    }

    fn producer(&self, turn: Turn) -> Result<Arc<RowProducer>> {
        let mut config = self.settings.client.config();
        let id = format!("{}-{}-{}", self.settings.id_prefix, self.job, turn.index());
        config.set("transactional.id", &id);
        config.set("transaction.timeout.ms", self.settings.transaction_timeout.as_millis().to_string());
        let producer: RowProducer = config
            .create_with_context(Reports)
            .map_err(|error| EngineError::Unsupported(format!("kafka: {}", reason(&error))))?;
        self.call("open a transactional producer", || producer.init_transactions(CALL_TIMEOUT))
            .map_err(|error| self.wrong_timeout(error))?;
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
                    "{reason}\n  hint: 'properties.transaction.timeout.ms' = '{}' is more than the broker's 'transaction.max.timeout.ms': make it smaller",
                    self.settings.transaction_timeout.as_millis()
                ))
            }
            _ => error,
        }
    }
}

fn answer_of(error: &KafkaError) -> Answer {
    use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
    if matches!(error.rdkafka_error_code(), Some(Fenced | ProducerFenced | InvalidProducerEpoch)) {
        return Answer::Fenced;
    }
    match error {
        KafkaError::Transaction(inner) if inner.is_fatal() => Answer::Indefinite,
        KafkaError::Transaction(inner) if inner.txn_requires_abort() => Answer::Abortable,
        KafkaError::Transaction(inner) if inner.is_retriable() => Answer::Retriable,
        _ => Answer::Indefinite,
    }
}
