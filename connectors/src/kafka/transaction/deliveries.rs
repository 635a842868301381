//! What of a writer's rows the broker has not acknowledged yet.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::error::KafkaError;

/// How often to look whether answers can still come.
const LOOK: Duration = Duration::from_millis(50);

/// Counts a writer's rows from the moment when they are handed to librdkafka until the broker answers.
#[derive(Debug, Default)]
pub struct Deliveries {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outstanding: usize,
    failed: Option<KafkaError>,
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
        self.state.lock().outstanding += 1;
    }

    /// It never left: librdkafka did not take it.
    pub fn not_sent(&self) {
        self.state.lock().outstanding -= 1;
    }

    /// The broker's answer for one row.
    pub fn answered(&self, outcome: Result<(), KafkaError>) {
        let mut state = self.state.lock();
        state.outstanding -= 1;
        if let Err(error) = outcome {
            state.failed.get_or_insert(error);
        }
        if state.outstanding == 0 || state.failed.is_some() {
            self.changed.notify_all();
        }
    }

    /// The first answer that was not "stored". Stays: rows behind it would be out of order.
    pub fn failure(&self) -> Option<KafkaError> {
        self.state.lock().failed.clone()
    }

    /// Waits until every row is stored, or until `broken` says that none will be any more: a producer that the broker has fenced
    /// answers nothing for the rows that it still holds.
    pub fn wait(&self, timeout: Duration, broken: impl Fn() -> Option<KafkaError>) -> Result<(), Undelivered> {
        let deadline = Instant::now() + timeout;
        let mut state = self.state.lock();
        loop {
            if let Some(error) = &state.failed {
                return Err(Undelivered::Failed(error.clone()));
            }
            if state.outstanding == 0 {
                return Ok(());
            }
            if let Some(error) = broken() {
                return Err(Undelivered::Failed(error));
            }
            if Instant::now() >= deadline {
                return Err(Undelivered::TimedOut { outstanding: state.outstanding });
            }
            self.changed.wait_until(&mut state, deadline.min(Instant::now() + LOOK));
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
