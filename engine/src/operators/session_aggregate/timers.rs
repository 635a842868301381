//! When open sessions are to be looked at: their slots in buckets of time, for a timer per session in an ordered set
//! costs more than all else that a session needs.

use std::collections::BTreeMap;

use crate::time::EventTime;

/// Many, so that few sessions are looked at before their time; few, so that finding a bucket stays cheap.
const BUCKETS_PER_GAP: i64 = 1024;

/// Slots by the bucket of the time that they were inserted with.
pub struct Timers {
    bucket_ms: i64,
    buckets: BTreeMap<i64, Vec<u32>>,
}

impl Timers {
    pub fn new(gap_ms: i64) -> Self {
        Self { bucket_ms: (gap_ms / BUCKETS_PER_GAP).max(1), buckets: BTreeMap::new() }
    }

    pub fn insert(&mut self, time: i64, slot: u32) {
        self.buckets.entry(time.div_euclid(self.bucket_ms)).or_default().push(slot);
    }

    /// The watermark at which [`Self::pop`] gives something.
    pub fn first(&self) -> Option<i64> {
        self.buckets.first_key_value().map(|(bucket, _)| bucket.saturating_mul(self.bucket_ms))
    }

    /// Takes out all slots of the earliest bucket, if that begins at or before `watermark`. Some may be of a later time.
    pub fn pop(&mut self, watermark: EventTime) -> Option<Vec<u32>> {
        let first = self.buckets.first_entry()?;
        (first.key().saturating_mul(self.bucket_ms) <= watermark.0).then(|| first.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_comes_out_when_time_reaches_its_start() {
        let mut timers = Timers::new(10 * BUCKETS_PER_GAP);
        [(-1, 1), (25, 2), (29, 3), (30, 4), (21, 5)].iter().for_each(|(time, slot)| timers.insert(*time, *slot));
        assert_eq!(timers.pop(EventTime(-11)), None);
        assert_eq!(timers.first(), Some(-10));
        assert_eq!(timers.pop(EventTime(-10)), Some(vec![1]));
        assert_eq!(timers.pop(EventTime(19)), None);
        assert_eq!(timers.pop(EventTime(20)), Some(vec![2, 3, 5]));
        assert_eq!(timers.pop(EventTime::MAX), Some(vec![4]));
        assert_eq!((timers.pop(EventTime::MAX), timers.first()), (None, None));
    }
}
