//! How long results take: from the reading of a row to the moment when a sink has taken what came of it.
//!
//! A result counts from the newest row that its task had got when it was made. For a result that waits for a window to
//! close, that is about the row that closed it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// What takes longer counts as this long, in microseconds: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Latencies are kept to one part in a hundred, which is all that anyone compares: 20 KB per sink instance.
const SIGNIFICANT_DIGITS: u8 = 2;

/// The latencies of one sink instance.
#[derive(Debug, Default)]
pub struct Latencies(Mutex<Option<Histogram<u64>>>);

/// Latencies of all rows that a sink took in this attempt of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySummary {
    pub rows: u64,
    /// Half of the rows took no longer.
    pub p50: Duration,
    pub p99: Duration,
    pub p999: Duration,
    pub max: Duration,
}

impl Latencies {
    /// Counts rows that came of what was read at `read_at`, and have been taken now.
    pub fn record(&self, read_at: Instant, rows: usize) {
        let elapsed_us = u64::try_from(read_at.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
        let mut histogram = self.0.lock();
        histogram.get_or_insert_with(empty).saturating_record_n(elapsed_us, rows as u64);
    }

    /// Over several instances; `None` where nothing was recorded.
    pub fn summary<'a>(instances: impl IntoIterator<Item = &'a Self>) -> Option<LatencySummary> {
        // Without rows this is asked for every node, at every checkpoint: it costs nothing then.
        let mut all: Option<Histogram<u64>> = None;
        for instance in instances {
            let histogram = instance.0.lock();
            match (&mut all, histogram.as_ref()) {
                (_, None) => {}
                (None, Some(first)) => all = Some(first.clone()),
                (Some(all), Some(next)) => all.add(next).expect("all histograms have the same bounds"),
            }
        }
        let all = all?;
        let at = |quantile: f64| Duration::from_micros(all.value_at_quantile(quantile));
        let summary = LatencySummary {
            rows: all.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: Duration::from_micros(all.max()),
        };
        (summary.rows > 0).then_some(summary)
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, SIGNIFICANT_DIGITS).expect("the bounds are constant and sound")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_added_up_and_nothing_recorded_is_nothing() {
        let instances = [Latencies::default(), Latencies::default(), Latencies::default()];
        assert_eq!(Latencies::summary(&instances), None);
        let now = Instant::now();
        instances[0].record(now, 990);
        instances[2].record(now - Duration::from_secs(2), 10);
        let summary = Latencies::summary(&instances).unwrap();
        assert_eq!(summary.rows, 1000);
        assert!(summary.p50 <= summary.p99 && summary.p99 < Duration::from_secs(2), "{summary:?}");
        assert!(summary.p999 >= Duration::from_secs(2) && summary.max >= summary.p999, "{summary:?}");
    }
}
