//! Decides whether a failed job starts again, and after which pause. Pure.

use std::time::Duration;

use super::options::RestartStrategy;
use crate::EngineError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    RestartAfter(Duration),
    GiveUp,
}

/// Counts restarts since the last progress.
pub struct Restarts {
    strategy: RestartStrategy,
    attempt: u32,
}

impl Restarts {
    pub fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, attempt: 0 }
    }

    /// Number of the restart that was last granted, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// An attempt failed after running for `ran`; `progressed`: it completed a checkpoint.
    pub fn after(&mut self, error: &EngineError, progressed: bool, ran: Duration) -> Verdict {
        if !error.is_transient() {
            return Verdict::GiveUp;
        }
        // Without a completed checkpoint nothing was gained: the same failure could go on for ever (I8).
        if progressed && ran >= self.strategy.reset_after {
            self.attempt = 0;
        }
        if self.attempt >= self.strategy.attempts_max {
            return Verdict::GiveUp;
        }
        self.attempt += 1;
        Verdict::RestartAfter(self.strategy.backoff(self.attempt))
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    fn transient() -> EngineError {
        EngineError::io("write", "/data", ErrorKind::StorageFull.into())
    }

    fn strategy() -> RestartStrategy {
        RestartStrategy { attempts_max: 2, ..RestartStrategy::default() }
    }

    #[test]
    fn restarts_end_where_no_progress_is_made() {
        let mut restarts = Restarts::new(strategy());
        let long = Duration::from_secs(3600);
        assert_eq!(restarts.after(&transient(), false, long), Verdict::RestartAfter(Duration::from_millis(100)));
        assert_eq!(restarts.after(&transient(), false, long), Verdict::RestartAfter(Duration::from_millis(200)));
        assert_eq!(restarts.after(&transient(), false, long), Verdict::GiveUp);
    }

    #[test]
    fn progress_over_some_time_starts_the_count_anew() {
        let mut restarts = Restarts::new(strategy());
        for _ in 0..10 {
            let verdict = restarts.after(&transient(), true, Duration::from_secs(60));
            assert_eq!(verdict, Verdict::RestartAfter(Duration::from_millis(100)));
        }
        restarts.after(&transient(), true, Duration::from_secs(1));
        assert_eq!(restarts.after(&transient(), true, Duration::from_secs(1)), Verdict::GiveUp, "it fails too soon");
    }

    #[test]
    fn what_will_not_pass_fails_at_once() {
        let permanent = [
            EngineError::StateMismatch { reasons: vec![] },
            EngineError::Compute("overflow".into()),
            EngineError::io("open", "/missing", ErrorKind::NotFound.into()),
        ];
        for error in permanent {
            assert_eq!(Restarts::new(strategy()).after(&error, true, Duration::MAX), Verdict::GiveUp, "{error}");
        }
    }
}
