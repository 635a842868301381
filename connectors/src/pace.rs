//! An even rate of made-up rows: how many are due now, and how long to wait where none is.

use std::time::{Duration, Instant};

/// Rows come in small helpings so that they flow evenly; shorter would cost more than it smooths.
const TICK: Duration = Duration::from_millis(5);
/// A reader that was held up makes up for at most so many seconds' rows at once.
const DEBT_MAX_S: u64 = 1;

/// Rows that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Helping {
    pub rows: u64,
    /// When the first of them was due, however late it was asked for: who measures how long a result takes from then on leaves out no
    /// wait of a reader that was held up.
    pub due_at: Instant,
}

/// Spreads rows over time: so many per second since it was made.
pub struct Pace {
    rows_per_second: u64,
    /// The rate is shared by so many readers, each of which has a pace of its own.
    shares: u64,
    started: Instant,
    /// Rows given, or forgiven because the reader was held up.
    given: u64,
}

impl Pace {
    /// For one of `shares` readers (> 0) that together give `rows_per_second`.
    pub fn new(rows_per_second: u64, shares: u64) -> Self {
        assert!(shares > 0, "a rate is shared by at least one reader");
        Self { rows_per_second, shares, started: Instant::now(), given: 0 }
    }

    /// Which of `wanted` rows are due; how long to wait where none is.
    pub fn take(&mut self, wanted: u64) -> Result<Helping, Duration> {
        let elapsed = self.started.elapsed();
        let due = due_after(elapsed, self.rows_per_second, self.shares);
        let debt_max = (self.rows_per_second / self.shares).saturating_mul(DEBT_MAX_S);
        self.given = self.given.max(due.saturating_sub(debt_max.max(1)));
        let rows = due.saturating_sub(self.given).min(wanted);
        if rows == 0 {
            return Err(wait_after(elapsed, self.given, self.rows_per_second, self.shares));
        }
        let due_at = self.started + tick_of(self.given, self.rows_per_second, self.shares);
        self.given += rows;
        Ok(Helping { rows, due_at })
    }
}

/// Rows due by the end of the current tick.
fn due_after(elapsed: Duration, rows_per_second: u64, shares: u64) -> u64 {
    let ticks = elapsed.as_nanos() / TICK.as_nanos() + 1;
    let due = (ticks * TICK.as_nanos())
        .saturating_mul(u128::from(rows_per_second))
        .div_ceil(1_000_000_000 * u128::from(shares));
    u64::try_from(due).unwrap_or(u64::MAX)
}

/// How long until the row behind `given` is due; at least until the next tick, where nothing more was wanted.
fn wait_after(elapsed: Duration, given: u64, rows_per_second: u64, shares: u64) -> Duration {
    let tick = TICK - Duration::from_nanos((elapsed.as_nanos() % TICK.as_nanos()) as u64);
    tick.max(tick_of(given, rows_per_second, shares).saturating_sub(elapsed))
}

/// The beginning of the tick in which a row is due, as time since the first one.
fn tick_of(row: u64, rows_per_second: u64, shares: u64) -> Duration {
    let nanos = u128::from(row) * 1_000_000_000 * u128::from(shares) / u128::from(rows_per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos / TICK.as_nanos() * TICK.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_due_evenly() {
        let due = |ms, rate| due_after(Duration::from_millis(ms), rate, 1);
        assert_eq!([due(0, 1), due(5, 1), due(994, 1), due(995, 1), due(1000, 1), due(2000, 1)], [1, 1, 1, 1, 2, 3]);
        assert_eq!([due(0, 10_000), due(4, 10_000), due(5, 10_000), due(995, 10_000)], [50, 50, 100, 10_000]);
        assert_eq!(due(1000, u64::MAX), u64::MAX);
        assert_eq!(due_after(Duration::from_millis(1995), 100, 4), 50, "a quarter of 200");
    }

    #[test]
    fn a_row_is_due_when_it_can_first_be_taken() {
        for (rate, shares) in [(1, 1), (7, 1), (10_000, 1), (10_000, 3), (1_000_000, 2)] {
            for row in [0, 1, 2, 49, 50, 51, 99_999] {
                let tick = tick_of(row, rate, shares);
                assert!(due_after(tick, rate, shares) > row, "row {row} of {rate} by {shares}: it is due in its tick");
                let before = tick.checked_sub(Duration::from_nanos(1));
                assert!(before.is_none_or(|before| due_after(before, rate, shares) <= row), "and not before");
            }
        }
    }

    #[test]
    fn a_reader_sleeps_until_its_next_row_is_due() {
        let wait = |ms, given, rate| wait_after(Duration::from_millis(ms), given, rate, 1).as_millis();
        assert_eq!([wait(0, 1, 1), wait(400, 1, 1), wait(998, 1, 1)], [1000, 600, 2]);
        assert_eq!([wait(2, 50, 10_000), wait(5, 50, 10_000)], [3, 5], "the next tick, where rows come in each");
        assert_eq!(wait(1001, 0, 0), 4, "without a rate");
    }

    #[test]
    fn a_reader_that_was_held_up_is_told_since_when_its_rows_were_due() {
        let mut pace = Pace::new(1_000, 1);
        let first = pace.take(u64::MAX).unwrap();
        assert_eq!((first.rows, first.due_at), (5, pace.started));
        pace.started -= Duration::from_millis(300);
        let late = pace.take(u64::MAX).unwrap();
        assert_eq!(late.due_at, pace.started + TICK);
        assert!(late.rows >= 300 && late.due_at.elapsed() >= Duration::from_millis(295));
    }
}
