//! The options of a sink.

use std::time::Duration;

use tidemill_engine::sink::Guarantee;

use super::list::{COMMIT_TOPIC, DELIVERY_GUARANTEE, FLUSH_INTERVAL, FLUSH_ROWS, ID_PREFIX, PARTITIONER, TOPIC};
use super::properties::TRANSACTION_TIMEOUT;
use super::{Checked, KafkaTable, PROPERTIES, Topics};
use crate::options::OptionProblem;
use crate::table::TableSpec;

/// A broker allows 15 minutes unless told otherwise; an outage shorter than this loses no work.
const TRANSACTION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioning {
    ByKey,
    Fixed,
    RoundRobin,
}

/// Rows wait for later ones with their key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flush {
    /// At most so many keys.
    pub rows_max: usize,
    /// At most so long.
    pub interval: Duration,
}

/// How long a transaction may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionTimeout {
    Given(Duration),
    /// Nobody said so; it may be longer where checkpoints are far between.
    Default(Duration),
}

impl TransactionTimeout {
    /// As it is to be, where from the first row of an epoch to its commit it may take so long; the given one where that is too short.
    pub fn for_epochs(self, longest: Duration) -> Result<Duration, Duration> {
        match self {
            Self::Given(timeout) if timeout <= longest => Err(timeout),
            Self::Given(timeout) => Ok(timeout),
            // A quarter for the commit itself, and for checkpoints that are late.
            Self::Default(timeout) => Ok(timeout.max(longest.saturating_add(longest / 4))),
        }
    }
}

#[derive(Debug, Clone)]
pub struct SinkOptions {
    pub topic: String,
    pub partitioning: Partitioning,
    pub guarantee: Guarantee,
    pub id_prefix: String,
    pub transaction_timeout: TransactionTimeout,
    /// `None`: one of the job's own.
    pub commit_topic: Option<String>,
    /// `None`: every row is written.
    pub flush: Option<Flush>,
}

impl SinkOptions {
    pub fn of(spec: &TableSpec, table: &KafkaTable) -> Checked<Self> {
        let topic = match &table.topics {
            Topics::Named(names) if names.len() == 1 => names[0].clone(),
            _ => {
                let message = "to be written, a table has exactly one 'topic'";
                return Err(OptionProblem::at(TOPIC.key, message).hint("declare another table for what is written"));
            }
        };
        Ok(Self {
            topic,
            partitioning: partitioning(spec, table)?,
            guarantee: guarantee(spec),
            id_prefix: spec.text(&ID_PREFIX).unwrap_or_default().to_string(),
            transaction_timeout: transaction_timeout(spec)?,
            commit_topic: spec.text(&COMMIT_TOPIC).map(str::to_string),
            flush: if table.upserts { flush(spec)? } else { None },
        })
    }
}

fn partitioning(spec: &TableSpec, table: &KafkaTable) -> Checked<Partitioning> {
    let chosen = spec.text(&PARTITIONER).filter(|_| !table.upserts);
    match chosen {
        Some("fixed") => Ok(Partitioning::Fixed),
        Some("round-robin") if table.key.is_some() => {
            let message = "'round-robin' would spread the rows of a key over partitions";
            Err(OptionProblem::at(PARTITIONER.key, message).hint("leave 'sink.partitioner' or 'key.format' out"))
        }
        Some("round-robin") => Ok(Partitioning::RoundRobin),
        _ => Ok(Partitioning::ByKey),
    }
}

fn transaction_timeout(spec: &TableSpec) -> Checked<TransactionTimeout> {
    let key = format!("{PROPERTIES}{TRANSACTION_TIMEOUT}");
    match spec.options.get(&key).map(|text| text.trim().parse::<u64>()) {
        None => Ok(TransactionTimeout::Default(TRANSACTION_TIMEOUT_DEFAULT)),
        Some(Ok(ms)) if ms > 0 => Ok(TransactionTimeout::Given(Duration::from_millis(ms))),
        Some(_) => Err(OptionProblem::at(key.clone(), format!("'{key}' takes a number of milliseconds"))
            .hint("write a number such as '600000', no larger than the broker's 'transaction.max.timeout.ms'")),
    }
}

/// What the table's sink promises.
fn guarantee(spec: &TableSpec) -> Guarantee {
    match spec.text(&DELIVERY_GUARANTEE) {
        Some("at-least-once") => Guarantee::AtLeastOnce,
        Some("none") => Guarantee::None,
        _ => Guarantee::ExactlyOnce,
    }
}

fn flush(spec: &TableSpec) -> Checked<Option<Flush>> {
    let rows_max = spec.integer(&FLUSH_ROWS)?.unwrap_or(0).unsigned_abs() as usize;
    let interval = spec.duration(&FLUSH_INTERVAL)?.unwrap_or_default();
    match (rows_max, interval.is_zero()) {
        (0, true) => Ok(None),
        (0, false) => Err(half(FLUSH_INTERVAL.key, FLUSH_ROWS.key, "1000")),
        (_, true) => Err(half(FLUSH_ROWS.key, FLUSH_INTERVAL.key, "1 s")),
        (rows_max, false) => Ok(Some(Flush { rows_max, interval })),
    }
}

fn half(given: &str, missing: &str, example: &str) -> OptionProblem {
    OptionProblem::at(given, format!("'{given}' works only together with '{missing}'"))
        .hint(format!("add '{missing}' = '{example}', or leave '{given}' out"))
}
