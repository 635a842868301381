//! Decides whether a failed job starts again, and after which pause. Pure.

use std::time::Duration;

use super::options::RestartStrategy;
use crate::EngineError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    RestartAfter(Duration),
    GiveUp(Reason),
}

/// Why a job is not started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The same input must fail again, or the strategy allows no restart at all.
    Hopeless,
    /// The strategy's restarts are used up.
    OutOfRestarts,
    /// So many restarts in a row have brought the job no further (I8).
    NoProgress,
}

/// What an attempt had come to when it failed.
#[derive(Debug, Clone, Copy)]
pub struct Gained {
    /// It completed a checkpoint that covers more input than any before.
    pub input: bool,
    /// It completed a checkpoint.
    pub checkpoint: bool,
    pub ran: Duration,
}

/// Longest pause before another attempt where the outside world could not be reached: it may be back at any moment.
const OUTAGE_BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Counts restarts: those since the back-off was last short, and those since the job last came further.
pub struct Restarts {
    strategy: RestartStrategy,
    attempt: u32,
    fruitless: u32,
    /// Attempts in a row that failed because the outside world could not be reached.
    outages: u32,
}

impl Restarts {
    pub fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, attempt: 0, fruitless: 0, outages: 0 }
    }

    /// Number of the restart that was last granted, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Restarts in a row that brought the job no further.
    pub fn fruitless(&self) -> u32 {
        self.fruitless
    }

    pub fn after(&mut self, error: &EngineError, gained: Gained) -> Verdict {
        if !error.is_transient() || self.strategy.attempts_max == 0 {
            return Verdict::GiveUp(Reason::Hopeless);
        }
        if error.is_outage() {
            return Verdict::RestartAfter(self.wait_for_the_world(gained));
        }
        self.outages = 0;
        let long = gained.ran >= self.strategy.reset_after;
        if long {
            self.attempt = 0;
        }
        // A quiet input gives nothing to advance over: then a long healthy run counts as progress.
        if gained.input || (gained.checkpoint && long) {
            self.fruitless = 0;
        }
        if self.fruitless >= self.strategy.fruitless_max {
            return Verdict::GiveUp(Reason::NoProgress);
        }
        if self.attempt >= self.strategy.attempts_max {
            return Verdict::GiveUp(Reason::OutOfRestarts);
        }
        self.attempt += 1;
        self.fruitless += 1;
        Verdict::RestartAfter(self.strategy.backoff(self.attempt))
    }
}

impl Restarts {
    /// An outage says nothing about the job, and counts for nothing: the job waits as long as it lasts.
    fn wait_for_the_world(&mut self, gained: Gained) -> Duration {
        if gained.checkpoint {
            self.outages = 0;
        }
        self.outages = self.outages.saturating_add(1);
        self.strategy.backoff(self.outages).min(OUTAGE_BACKOFF_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    const SHORT: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(3600);

    fn transient() -> EngineError {
        EngineError::io("write", "/data", ErrorKind::StorageFull.into())
    }

    fn gained(input: bool, checkpoint: bool, ran: Duration) -> Gained {
        Gained { input, checkpoint, ran }
    }

    fn strategy(attempts_max: u32, fruitless_max: u32) -> Restarts {
        Restarts::new(RestartStrategy { attempts_max, fruitless_max, ..RestartStrategy::default() })
    }

    fn pause_ms(verdict: Verdict) -> u128 {
        let Verdict::RestartAfter(pause) = verdict else { panic!("{verdict:?}") };
        pause.as_millis()
    }

    #[test]
    fn restarts_end_where_no_progress_is_made() {
        for (checkpoint, ran) in [(false, SHORT), (false, LONG), (true, SHORT)] {
            let mut restarts = strategy(u32::MAX, 2);
            let none = gained(false, checkpoint, ran);
            assert!(matches!(restarts.after(&transient(), none), Verdict::RestartAfter(_)));
            assert!(matches!(restarts.after(&transient(), none), Verdict::RestartAfter(_)));
            assert_eq!(restarts.after(&transient(), none), Verdict::GiveUp(Reason::NoProgress));
        }
    }

    #[test]
    fn a_job_that_comes_further_goes_on_for_ever_with_longer_pauses() {
        let mut restarts = strategy(u32::MAX, 2);
        let pauses = [(); 12].map(|()| pause_ms(restarts.after(&transient(), gained(true, true, SHORT))));
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
    }

    #[test]
    fn a_long_healthy_run_over_quiet_input_starts_both_counts_anew() {
        let mut restarts = strategy(2, 2);
        for _ in 0..10 {
            assert_eq!(pause_ms(restarts.after(&transient(), gained(false, true, LONG))), 100);
        }
    }

    #[test]
    fn restarts_that_are_used_up_end_the_job_though_it_came_further() {
        let mut restarts = strategy(1, 9);
        assert_eq!(pause_ms(restarts.after(&transient(), gained(true, true, SHORT))), 100);
        let verdict = restarts.after(&transient(), gained(true, true, SHORT));
        assert_eq!(verdict, Verdict::GiveUp(Reason::OutOfRestarts));
    }

    #[test]
    fn an_outage_is_waited_for_however_long_and_counts_for_nothing() {
        let outage = || EngineError::Unreachable { connector: "kafka".into(), reason: "nobody answers".into() };
        let mut restarts = strategy(2, 2);
        let nothing = gained(false, false, SHORT);
        let pauses = [(); 12].map(|()| pause_ms(restarts.after(&outage(), nothing)));
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
        assert_eq!(pause_ms(restarts.after(&outage(), gained(true, true, LONG))), 100, "it was back meanwhile");
        assert_eq!((restarts.attempt(), restarts.fruitless()), (0, 0));
        for _ in 0..2 {
            assert!(matches!(restarts.after(&transient(), nothing), Verdict::RestartAfter(_)));
        }
        assert_eq!(restarts.after(&transient(), nothing), Verdict::GiveUp(Reason::NoProgress), "other failures count");
        assert_eq!(strategy(0, 2).after(&outage(), nothing), Verdict::GiveUp(Reason::Hopeless), "the user said never");
    }

    #[test]
    fn what_will_not_pass_fails_at_once() {
        let permanent = [
            EngineError::StateMismatch { reasons: vec![] },
            EngineError::Compute("overflow".into()),
            EngineError::io("open", "/missing", ErrorKind::NotFound.into()),
        ];
        for error in permanent {
            let verdict = strategy(5, 5).after(&error, gained(true, true, LONG));
            assert_eq!(verdict, Verdict::GiveUp(Reason::Hopeless), "{error}");
        }
        assert_eq!(strategy(0, 5).after(&transient(), gained(true, true, LONG)), Verdict::GiveUp(Reason::Hopeless));
    }
}
