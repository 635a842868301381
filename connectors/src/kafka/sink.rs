//! A topic as a sink: rows become messages, visible when their epoch is committed.

use std::sync::Arc;

use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::sink::{Committable, Committer, Guarantee, Sink, SinkWriter, WriterContext};
use tidemill_engine::{EngineError, Epoch, Result};

use super::encoding::MessageLayout;
use super::options::{KafkaTable, SinkOptions};
use super::transaction::{Outbox, OutboxSettings, Outboxes, Ticket};
use super::writer::{Route, RowWriter};

#[derive(Debug)]
pub struct KafkaSink {
    pub table: KafkaTable,
    pub options: SinkOptions,
    pub layout: MessageLayout,
    pub outboxes: Arc<Outboxes>,
}

impl KafkaSink {
    fn outbox_settings(&self) -> OutboxSettings {
        OutboxSettings {
            client: self.table.client.clone(),
            id_prefix: self.options.id_prefix.clone(),
            transaction_timeout: self.options.transaction_timeout,
            record_topic: self.options.commit_topic.clone(),
        }
    }

    fn outbox(&self, owner: &str) -> Result<Arc<Outbox>> {
        self.outboxes.of(job_of(owner), &self.outbox_settings())
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
            Guarantee::ExactlyOnce => Route::transactions(self.outbox(&context.job_id)?)?,
            guarantee => Route::direct(&self.table.client, guarantee)?,
        };
        Ok(Box::new(RowWriter::new(&self.options, context.subtask, self.layout.encoding()?, route)))
    }

    fn committer(&self, owner: &str) -> Result<Option<Box<dyn Committer>>> {
        if self.options.guarantee != Guarantee::ExactlyOnce {
            return Ok(None);
        }
        Ok(Some(Box::new(TransactionCommitter { outbox: self.outbox(owner)? })))
    }
}

/// The job's part of what [`tidemill_engine::sink::owner_id`] makes: all sinks of a job share transactions.
fn job_of(owner: &str) -> &str {
    owner.split_once('/').map_or(owner, |(job, _)| job)
}

struct TransactionCommitter {
    outbox: Arc<Outbox>,
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
        self.outbox.open()
    }
}
