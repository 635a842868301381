//! A topic as a sink: rows become messages, visible when their epoch is committed.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::sink::{Committable, Committer, Guarantee, Sink, SinkHealth, SinkWriter, WriterContext};
use tidemill_engine::{EngineError, Epoch, Result};

use super::encoding::MessageLayout;
use super::lifeline::{Interrupt, Lifeline};
use super::options::{KafkaTable, SinkOptions};
use super::transaction::{Outbox, OutboxSettings, Outboxes, Ticket};
use super::writer::{Line, Route, RowWriter};

#[derive(Debug)]
pub struct KafkaSink {
    pub table: KafkaTable,
    pub options: SinkOptions,
    pub layout: MessageLayout,
    pub outboxes: Arc<Outboxes>,
    /// From the first row of an epoch to its commit it may take so long.
    longest_epoch: Mutex<Duration>,
    /// Of the producers that write now.
    lifeline: Mutex<Arc<Lifeline>>,
    interrupt: Arc<Interrupt>,
}

impl KafkaSink {
    pub fn new(table: KafkaTable, options: SinkOptions, layout: MessageLayout, outboxes: Arc<Outboxes>) -> Self {
        let (longest_epoch, lifeline, interrupt) = Default::default();
        Self { table, options, layout, outboxes, longest_epoch, lifeline, interrupt }
    }

    fn outbox_settings(&self) -> OutboxSettings {
        let given = self.options.transaction_timeout.for_epochs(*self.longest_epoch.lock());
        OutboxSettings {
            client: self.table.client.clone(),
            id_prefix: self.options.id_prefix.clone(),
            transaction_timeout: given.unwrap_or_else(|too_short| too_short),
            record_topic: self.options.commit_topic.clone(),
        }
    }

    fn outbox(&self, owner: &str) -> Result<Arc<Outbox>> {
        let outbox = self.outboxes.of(job_of(owner), &self.outbox_settings(), &self.interrupt)?;
        *self.lifeline.lock() = Arc::clone(outbox.lifeline());
        Ok(outbox)
    }
}

impl Sink for KafkaSink {
    fn accepts(&self) -> ChangelogMode {
        self.table.changelog()
    }

    fn guarantee(&self) -> Guarantee {
        self.options.guarantee
    }

    fn writer(&self, context: &WriterContext, _restored: Vec<serde_json::Value>) -> Result<Box<dyn SinkWriter>> {
        let route = match self.options.guarantee {
            Guarantee::ExactlyOnce => Route::transactions(self.outbox(&context.job_id)?),
            guarantee => {
                let (lifeline, interrupt) = (Arc::clone(&self.lifeline.lock()), Arc::clone(&self.interrupt));
                Route::direct(&self.table.client, guarantee, Line { lifeline, interrupt })?
            }
        };
        Ok(Box::new(RowWriter::new(&self.options, context.subtask, self.layout.encoding()?, route)))
    }

    fn health(&self) -> SinkHealth {
        self.lifeline.lock().health()
    }

    fn accept_epochs(&self, longest: Duration) -> Result<()> {
        *self.longest_epoch.lock() = longest;
        if self.options.guarantee != Guarantee::ExactlyOnce {
            return Ok(());
        }
        self.options.transaction_timeout.for_epochs(longest).map(drop).map_err(|too_short| {
            EngineError::Unsupported(format!(
                "topic '{}': 'properties.transaction.timeout.ms' = '{}' is too short: transactions stay open from one checkpoint to the next, for {} ms, \
                 and the broker would abort each\n  hint: make it larger, leave it out, or make 'execution.checkpointing.interval' (and \
                 'execution.checkpointing.timeout', where it is set) smaller",
                self.options.topic,
                too_short.as_millis(),
                longest.as_millis(),
            ))
        })
    }

    fn stop_waiting(&self) {
        self.interrupt.set();
    }

    fn committer(&self, owner: &str) -> Result<Option<Box<dyn Committer>>> {
        if self.options.guarantee != Guarantee::ExactlyOnce {
            return Ok(None);
        }
        Ok(Some(Box::new(TransactionCommitter { outbox: self.outbox(owner)?, topic: self.options.topic.clone() })))
    }
}

/// The job's part of what [`tidemill_engine::sink::owner_id`] makes: all sinks of a job share transactions.
fn job_of(owner: &str) -> &str {
    owner.split_once('/').map_or(owner, |(job, _)| job)
}

struct TransactionCommitter {
    outbox: Arc<Outbox>,
    topic: String,
}

impl Committer for TransactionCommitter {
    fn commit(&mut self, epoch: Epoch, committables: &[Committable]) -> Result<()> {
        let ticket = |committable: &Committable| {
            serde_json::from_value::<Ticket>(committable.0.clone()).map_err(|error| EngineError::StateMismatch {
                reasons: vec![format!("the checkpoint's output is not of a Kafka sink: {error}")],
            })
        };
        let tickets = committables.iter().map(ticket).collect::<Result<Vec<_>>>()?;
        self.outbox.commit(epoch, &tickets)
    }

    /// What is not committed was aborted when the producers were opened.
    fn discard_unknown(&mut self, _job_id: &str, _restored: Epoch, _kept: &[serde_json::Value]) -> Result<()> {
        self.outbox.claim()
    }

    fn keeps_record(&self) -> bool {
        true
    }

    fn committed_epoch(&mut self) -> Result<Option<Epoch>> {
        let committed = self.outbox.open()?;
        self.outbox.settle(&self.topic)?;
        Ok(committed)
    }
}
