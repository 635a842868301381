//! What of a writer's rows the broker has not acknowledged yet.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::error::KafkaError;

/// How often to look whether answers can still come.
const LOOK: Duration = Duration::from_millis(50);

/// Counts a writer's rows from the moment when they are handed to librdkafka until the broker answers. Counting takes no lock: each row is
/// counted twice, by two threads.
#[derive(Debug, Default)]
pub struct Deliveries {
    outstanding: AtomicUsize,
    has_failed: AtomicBool,
    failed: Mutex<Option<KafkaError>>,
    changed: Condvar,
}

/// Why waiting ended without all rows being there.
#[derive(Debug)]
pub enum Undelivered {
    /// The first answer that was not "stored".
    Failed(KafkaError),
    TimedOut {
        outstanding: usize,
    },
}

impl Deliveries {
    /// A row is on its way.
    pub fn sent(&self) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
    }

    /// It never left: librdkafka did not take it.
    pub fn not_sent(&self) {
        self.outstanding.fetch_sub(1, Ordering::Release);
    }

    /// The broker's answer for one row.
    pub fn answered(&self, outcome: Result<(), KafkaError>) {
        if let Err(error) = outcome {
            self.failed.lock().get_or_insert(error);
            self.has_failed.store(true, Ordering::Release);
        }
        let before = self.outstanding.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "what is answered was sent");
        if before == 1 || self.has_failed.load(Ordering::Acquire) {
            // Behind the lock, so that no waiter is between its look and its sleep.
            let _behind = self.failed.lock();
            self.changed.notify_all();
        }
    }

    /// The first answer that was not "stored". Stays: rows behind it would be out of order.
    pub fn failure(&self) -> Option<KafkaError> {
        if self.has_failed.load(Ordering::Acquire) { self.failed.lock().clone() } else { None }
    }

    /// Waits until every row is stored, or until `broken` says that none will be any more: a producer that the broker has fenced
    /// answers nothing for the rows that it still holds.
    pub fn wait(&self, timeout: Duration, broken: impl Fn() -> Option<KafkaError>) -> Result<(), Undelivered> {
        let deadline = Instant::now() + timeout;
        let mut failed = self.failed.lock();
        loop {
            if let Some(error) = failed.as_ref() {
                return Err(Undelivered::Failed(error.clone()));
            }
            let outstanding = self.outstanding.load(Ordering::Acquire);
            if outstanding == 0 {
                return Ok(());
            }
            if let Some(error) = broken() {
                return Err(Undelivered::Failed(error));
            }
            if Instant::now() >= deadline {
                return Err(Undelivered::TimedOut { outstanding });
            }
            self.changed.wait_until(&mut failed, deadline.min(Instant::now() + LOOK));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdkafka::error::RDKafkaErrorCode;

    use super::*;

    #[test]
    fn waiting_ends_with_the_last_answer_the_first_failure_or_the_time() {
        let (deliveries, sound) = (Arc::new(Deliveries::default()), || None);
        let long = Duration::from_secs(60);
        assert!(deliveries.wait(Duration::ZERO, sound).is_ok());
        deliveries.sent();
        deliveries.sent();
        assert!(matches!(deliveries.wait(Duration::ZERO, sound), Err(Undelivered::TimedOut { outstanding: 2 })));
        let answering = Arc::clone(&deliveries);
        let thread = std::thread::spawn(move || (0..2).for_each(|_| answering.answered(Ok(()))));
        assert!(deliveries.wait(long, sound).is_ok());
        thread.join().unwrap();
        deliveries.sent();
        deliveries.answered(Err(KafkaError::MessageProduction(RDKafkaErrorCode::Fenced)));
        deliveries.sent();
        assert!(matches!(deliveries.wait(long, sound), Err(Undelivered::Failed(_))));
        assert!(deliveries.failure().is_some());
    }

    #[test]
    fn nobody_waits_for_rows_that_a_fenced_producer_holds() {
        let deliveries = Deliveries::default();
        deliveries.sent();
        let fenced = || Some(KafkaError::Global(RDKafkaErrorCode::Fenced));
        assert!(matches!(deliveries.wait(Duration::from_secs(60), fenced), Err(Undelivered::Failed(_))));
    }
}
