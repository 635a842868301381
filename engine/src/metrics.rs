//! Counters of a running node: each instance has its own, whoever shows them adds them up.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;
use crate::task_time::TaskTimes;

/// Counters of one operator instance; it adds, readers read at any time.
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
    /// Current watermark in epoch milliseconds; `i64::MIN` before the first.
    pub watermark_ms: Gauge,
    /// Largest event time seen, in epoch milliseconds.
    pub event_time_max_ms: Gauge,
    /// Of a sink's rows.
    pub latencies: Latencies,
    /// Of a node that asks the outside world.
    pub lookups: LookupMetrics,
    /// Of the task that the instance is a part of, once that runs.
    pub task: OnceLock<Arc<TaskTimes>>,
}

/// What a node has asked of the outside world.
#[derive(Debug, Default)]
pub struct LookupMetrics {
    /// Questions, repeated ones included.
    pub requests: Counter,
    /// Rows whose key was known when they came.
    pub hits: Counter,
    /// Rows that had to wait for an answer.
    pub misses: Counter,
    /// Questions that were asked again after a failure.
    pub retries: Counter,
    /// Questions that failed, whether or not they were asked again.
    pub failures: Counter,
    /// Keys that are being asked for now.
    pub in_flight: Gauge,
}

/// What the counters of an instance or a node had come to. Goes into checkpoints, so that what a job counted is
/// exact over crashes and restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    pub rows_in: u64,
    pub rows_out: u64,
    pub bytes_in: u64,
    pub late: u64,
    pub errors: u64,
    pub filtered: u64,
    pub spilled: u64,
    pub lookups: LookupCounts,
}

/// Of [`LookupMetrics`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LookupCounts {
    pub requests: u64,
    pub hits: u64,
    pub misses: u64,
    pub retries: u64,
    pub failures: u64,
}

impl LookupMetrics {
    fn counts(&self) -> LookupCounts {
        LookupCounts {
            requests: self.requests.get(),
            hits: self.hits.get(),
            misses: self.misses.get(),
            retries: self.retries.get(),
            failures: self.failures.get(),
        }
    }
}

impl NodeMetrics {
    pub fn counts(&self) -> Counts {
        Counts {
            rows_in: self.rows_in.get(),
            rows_out: self.rows_out.get(),
            bytes_in: self.bytes_in.get(),
            late: self.late.get(),
            errors: self.errors.get(),
            filtered: self.filtered.get(),
            spilled: self.spilled.get(),
            lookups: self.lookups.counts(),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.bytes_in += other.bytes_in;
        self.late += other.late;
        self.errors += other.errors;
        self.filtered += other.filtered;
        self.spilled += other.spilled;
        self.lookups += other.lookups;
    }
}

impl AddAssign for LookupCounts {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.hits += other.hits;
        self.misses += other.misses;
        self.retries += other.retries;
        self.failures += other.failures;
    }
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
pub struct Gauge {
    now: AtomicI64,
    /// The largest value since it was last asked for.
    peak: AtomicI64,
}

impl Default for Gauge {
    fn default() -> Self {
        Gauge { now: AtomicI64::new(i64::MIN), peak: AtomicI64::new(i64::MIN) }
    }
}

impl Gauge {
    pub fn set(&self, value: i64) {
        self.now.store(value, Ordering::Relaxed);
        if value > self.peak.load(Ordering::Relaxed) {
            self.peak.store(value, Ordering::Relaxed);
        }
    }

    pub fn raise_to(&self, value: i64) {
        self.set(self.now.load(Ordering::Relaxed).max(value));
    }

    /// `None` before the first `set`.
    pub fn get(&self) -> Option<i64> {
        Some(self.now.load(Ordering::Relaxed)).filter(|value| *value != i64::MIN)
    }

    /// The largest value that was set since the last call; for the one thread that sets.
    pub fn take_peak(&self) -> Option<i64> {
        Some(self.peak.swap(i64::MIN, Ordering::Relaxed)).filter(|value| *value != i64::MIN)
    }
}
