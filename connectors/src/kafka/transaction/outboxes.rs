//! Finds the outbox that all sinks of a job share.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tidemill_engine::{EngineError, Result};

use super::outbox::{Outbox, OutboxSettings};
use super::protocol::Succession;
use crate::kafka::lifeline::Interrupt;

/// The outboxes of a process, by job.
#[derive(Debug, Default)]
pub struct Outboxes {
    jobs: Mutex<HashMap<String, Job>>,
}

/// What a process has of a job.
#[derive(Debug, Default)]
struct Job {
    /// Of the attempt that runs now.
    outbox: Weak<Outbox>,
    /// Of all attempts.
    succession: Arc<Mutex<Succession>>,
}

impl Outboxes {
    /// The outbox of a job; an attempt of the job that has ended leaves none behind.
    pub fn of(&self, job: &str, settings: &OutboxSettings, interrupt: &Arc<Interrupt>) -> Result<Arc<Outbox>> {
        let mut jobs = self.jobs.lock();
        let known = jobs.entry(job.to_string()).or_default();
        if let Some(outbox) = known.outbox.upgrade() {
            return check(outbox.settings(), settings).map(|()| outbox);
        }
        let (succession, interrupt) = (Arc::clone(&known.succession), Arc::clone(interrupt));
        let outbox = Arc::new(Outbox::new(job.to_string(), settings.clone(), succession, interrupt));
        known.outbox = Arc::downgrade(&outbox);
        Ok(outbox)
    }
}

/// All sinks of a job write in one transaction, and no transaction spans two clusters.
fn check(first: &OutboxSettings, other: &OutboxSettings) -> Result<()> {
    if first == other {
        return Ok(());
    }
    let (here, there) = (first.client.cluster(), other.client.cluster());
    let problem = match here == there {
        true => format!(
            "tables of one job that write exactly once to {here} must have the same 'properties.*', 'sink.transactional-id-prefix', 'sink.commit-topic' and 'transaction.timeout.ms': \
             they share one transaction\n  hint: give them the same options"
        ),
        false => format!(
            "tables of one job that write exactly once must have the same 'properties.bootstrap.servers', and not {here} and {there}: they share one transaction\n  hint: \
             write the tables of each cluster in a job of their own"
        ),
    };
    Err(EngineError::Unsupported(format!(
        "{problem}, or set 'sink.delivery-guarantee' = 'at-least-once' for one of them"
    )))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kafka::client::ClientSettings;

    fn settings(servers: &str, timeout_seconds: u64) -> OutboxSettings {
        let properties = [("bootstrap.servers".to_string(), servers.to_string())];
        OutboxSettings {
            client: ClientSettings::new(properties.into()),
            id_prefix: "p".into(),
            transaction_timeout: Duration::from_secs(timeout_seconds),
            record_topic: None,
        }
    }

    #[test]
    fn sinks_of_a_job_share_one_outbox_as_long_as_one_of_them_lives() {
        let outboxes = Outboxes::default();
        let first = outboxes.of("job", &settings("a:1", 9), &Arc::default()).unwrap();
        let owner = first.ticket(super::super::Turn::First).owner;
        assert!(Arc::ptr_eq(&first, &outboxes.of("job", &settings("a:1", 9), &Arc::default()).unwrap()));
        assert!(!Arc::ptr_eq(&first, &outboxes.of("other", &settings("b:1", 9), &Arc::default()).unwrap()));
        drop(first);
        let next = outboxes.of("job", &settings("a:1", 8), &Arc::default()).unwrap();
        assert_ne!(next.ticket(super::super::Turn::First).owner, owner);
    }

    #[test]
    fn two_clusters_or_two_timeouts_do_not_fit_into_one_transaction() {
        let outboxes = Outboxes::default();
        let _first = outboxes.of("job", &settings("a:1", 9), &Arc::default()).unwrap();
        let refused = |other| outboxes.of("job", &other, &Arc::default()).unwrap_err().to_string();
        assert!(refused(settings("a:1", 8)).contains("the same 'properties.*'"));
        assert!(refused(settings("b:1", 9)).contains("a job of their own"));
    }
}
