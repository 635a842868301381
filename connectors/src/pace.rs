//! An even rate of made-up rows: how many are due now, and how long to wait where none is.

use std::time::{Duration, Instant};

/// Rows come in small helpings so that they flow evenly; shorter would cost more than it smooths.
const TICK: Duration = Duration::from_millis(20);
/// A reader that was held up makes up for at most so many seconds' rows at once.
const DEBT_MAX_S: u64 = 1;

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

    /// How many of `wanted` rows are due; how long to wait where none is.
    pub fn take(&mut self, wanted: u64) -> Result<u64, Duration> {
        let elapsed = self.started.elapsed();
        let due = due_after(elapsed, self.rows_per_second, self.shares);
        let debt_max = (self.rows_per_second / self.shares).saturating_mul(DEBT_MAX_S);
        self.given = self.given.max(due.saturating_sub(debt_max.max(1)));
        let count = due.saturating_sub(self.given).min(wanted);
        if count == 0 {
            return Err(TICK - Duration::from_nanos((elapsed.as_nanos() % TICK.as_nanos()) as u64));
        }
        self.given += count;
        Ok(count)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_due_evenly() {
        let due = |ms, rate| due_after(Duration::from_millis(ms), rate, 1);
        assert_eq!([due(0, 1), due(20, 1), due(979, 1), due(980, 1), due(1000, 1), due(2000, 1)], [1, 1, 1, 1, 2, 3]);
        assert_eq!([due(0, 10_000), due(19, 10_000), due(20, 10_000), due(980, 10_000)], [200, 200, 400, 10_000]);
        assert_eq!(due(1000, u64::MAX), u64::MAX);
        assert_eq!(due_after(Duration::from_millis(1980), 100, 4), 50, "a quarter of 200");
    }
}
