//! Counters of a running node, shared between its instances and whoever shows them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counters of one node; instances add, readers read at any time.
#[derive(Debug, Default)]
pub struct NodeMetrics {
    pub rows_in: Counter,
    pub rows_out: Counter,
    pub bytes_in: Counter,
    /// Rows that came after their last window had closed.
    pub late: Counter,
    /// Records or rows that were left out because they could not be read or computed.
    pub errors: Counter,
    /// Rows for which a WHERE or HAVING was not true.
    pub filtered: Counter,
    /// Bytes of state in memory (write-back cache).
    pub cache_bytes: Gauge,
    /// Keyed entries moved from memory to disk because of the budget.
    pub spilled: Counter,
    /// Current watermark in epoch milliseconds, the smallest over the instances; `i64::MIN` before the first.
    pub watermark_ms: Gauge,
    /// Largest event time seen, in epoch milliseconds.
    pub event_time_max_ms: Gauge,
}

/// Only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down. Starts at `i64::MIN`, which stands for "never set".
#[derive(Debug)]
pub struct Gauge(AtomicI64);

impl Default for Gauge {
    fn default() -> Self {
        Gauge(AtomicI64::new(i64::MIN))
    }
}

impl Gauge {
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn raise_to(&self, value: i64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    /// `None` before the first `set`.
    pub fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|value| *value != i64::MIN)
    }
}
