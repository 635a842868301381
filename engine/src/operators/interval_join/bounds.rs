//! How far apart the times of two joined rows may be.

use std::ops::RangeInclusive;

use crate::operators::join_rows::LEFT;
use crate::time::EventTime;

/// `lower_ms <= left time - right time <= upper_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBounds {
    pub lower_ms: i64,
    pub upper_ms: i64,
}

/// Buckets of stored rows are at least so long: shorter ones would cost more to free than they save.
const BUCKET_MS_MIN: i64 = 1_000;

impl TimeBounds {
    /// True where no pair of times is near enough.
    pub fn is_empty(self) -> bool {
        self.lower_ms > self.upper_ms
    }

    /// The times of the other side that a row of `side` at `time` can be joined with.
    pub fn partners(self, side: usize, time: i64) -> RangeInclusive<i64> {
        match side {
            LEFT => time.saturating_sub(self.upper_ms)..=time.saturating_sub(self.lower_ms),
            _ => time.saturating_add(self.lower_ms)..=time.saturating_add(self.upper_ms),
        }
    }

    /// The time of a row's last possible partner: at this watermark the row is not needed any more.
    pub fn expiry(self, side: usize, time: i64) -> i64 {
        *self.partners(side, time).end()
    }

    /// The largest time whose rows have expired at this watermark.
    pub fn expired_until(self, side: usize, watermark: i64) -> i64 {
        match side {
            LEFT => watermark.saturating_add(self.lower_ms),
            _ => watermark.saturating_sub(self.upper_ms),
        }
    }

    /// A row that comes at this watermark or later finds no partner at all, whatever came before.
    pub fn late_at(self, time: i64) -> i64 {
        time.saturating_add(self.length_ms())
    }

    fn length_ms(self) -> i64 {
        self.upper_ms.saturating_sub(self.lower_ms).max(0)
    }

    /// Stored rows are grouped by so much time, so that few groups are searched and whole groups are freed.
    pub fn bucket_ms(self) -> i64 {
        (self.length_ms() / 2).max(BUCKET_MS_MIN)
    }

    /// How far times of joined rows can be behind the watermark. `sides`: whose times are read behind the join.
    pub fn delay_ms(self, sides: [bool; 2]) -> i64 {
        let left = if sides[0] { self.length_ms().max(self.lower_ms.saturating_neg()) } else { 0 };
        let right = if sides[1] { self.length_ms().max(self.upper_ms) } else { 0 };
        left.max(right).max(0)
    }

    /// What readers may be told when time is at `watermark`.
    pub fn delayed(self, watermark: EventTime, sides: [bool; 2]) -> EventTime {
        if watermark == EventTime::MAX || watermark == EventTime::MIN {
            return watermark;
        }
        EventTime(watermark.0.saturating_sub(self.delay_ms(sides)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::join_rows::RIGHT;

    #[test]
    fn both_sides_see_the_same_pairs_and_expire_together() {
        for (lower_ms, upper_ms) in [(0, 0), (-5, 0), (0, 7), (-3, 4), (2, 9), (-9, -2)] {
            let bounds = TimeBounds { lower_ms, upper_ms };
            for (left, right) in (-30i64..30).flat_map(|left| (-30i64..30).map(move |right| (left, right))) {
                let near = (lower_ms..=upper_ms).contains(&(left - right));
                assert_eq!(bounds.partners(LEFT, left).contains(&right), near);
                assert_eq!(bounds.partners(RIGHT, right).contains(&left), near);
                assert_eq!(bounds.expiry(LEFT, left) <= right, left <= bounds.expired_until(LEFT, right));
                assert_eq!(bounds.expiry(RIGHT, right) <= left, right <= bounds.expired_until(RIGHT, left));
            }
        }
    }

    #[test]
    fn the_delay_covers_rows_that_come_late() {
        assert_eq!(TimeBounds { lower_ms: -4, upper_ms: 0 }.delay_ms([true, true]), 4);
        assert_eq!(TimeBounds { lower_ms: -4, upper_ms: 4 }.delay_ms([true, true]), 8);
        assert_eq!(TimeBounds { lower_ms: 5, upper_ms: 10 }.delay_ms([true, false]), 5);
        assert_eq!(TimeBounds { lower_ms: 5, upper_ms: 10 }.delay_ms([false, true]), 10);
        assert_eq!(TimeBounds { lower_ms: -4, upper_ms: 0 }.delayed(EventTime(10), [true, true]), EventTime(6));
        assert_eq!(TimeBounds { lower_ms: -4, upper_ms: 0 }.delayed(EventTime::MAX, [true, true]), EventTime::MAX);
    }
}
