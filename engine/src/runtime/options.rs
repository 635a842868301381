//! What a job is started with, apart from its graph.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::keys::MAX_PARALLELISM_DEFAULT;
use crate::time::{Clock, SystemClock};

/// Rows per batch: enough to amortise a call per batch, few enough to stay in the processor's cache.
pub const BATCH_ROWS_DEFAULT: usize = 8192;
/// A batch above this is split before it enters a channel, in bytes.
pub const BATCH_BYTES_DEFAULT: usize = 4 << 20;
/// Batches that may wait in one channel: two keep both ends busy, the rest smooths out bursts.
pub const CHANNEL_BATCHES_DEFAULT: usize = 4;
/// Checkpoints kept: the newest and two to fall back to.
pub const RETAINED_CHECKPOINTS_DEFAULT: usize = 3;
/// With the program's back-off these take about two minutes: longer than a service that restarts, a disk that is
/// cleared or a network that comes back, and short enough that a defect shows on the same day.
pub const FRUITLESS_RESTARTS_DEFAULT: u32 = 10;
/// As in Flink.
pub const CHECKPOINT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
/// Memory for state caches and RocksDB of a job, in bytes.
pub const MEMORY_BUDGET_DEFAULT: usize = 256 << 20;

/// Where a job's state comes from at its first start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Restore {
    /// The newest sound checkpoint of the state directory; the empty one where there is none.
    #[default]
    Latest,
    /// A savepoint, or a checkpoint of another state directory.
    From(PathBuf),
    /// The empty checkpoint, whatever the state directory holds.
    Fresh,
}

/// When a failed job is started again from its last completed checkpoint.
///
/// Only failures that may pass are retried; a bad record or state that does not fit fails the job at once. A failure
/// that comes again and again at the same place ends the job however many restarts are allowed (I8).
#[derive(Debug, Clone, PartialEq)]
pub struct RestartStrategy {
    /// Restarts since the back-off was last short, before the job fails for good; 0: never restart.
    pub attempts_max: u32,
    /// Restarts in a row after which no checkpoint covers more input than before, before the job fails for good.
    pub fruitless_max: u32,
    pub initial_backoff: Duration,
    pub max_backoff: Duration,
    pub multiplier: f64,
    /// A run of at least this long makes the count of restarts and the back-off start over.
    pub reset_after: Duration,
}

impl Default for RestartStrategy {
    fn default() -> Self {
        Self {
            attempts_max: u32::MAX,
            fruitless_max: FRUITLESS_RESTARTS_DEFAULT,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(30),
            multiplier: 2.0,
            reset_after: Duration::from_secs(30),
        }
    }
}

impl RestartStrategy {
    /// Fails at the first error.
    pub fn never() -> Self {
        Self { attempts_max: 0, ..Self::default() }
    }

    /// How long to wait before restart number `attempt` (from 1).
    pub fn backoff(&self, attempt: u32) -> Duration {
        let factor = self.multiplier.max(1.0).powi(attempt.saturating_sub(1).min(64) as i32);
        let seconds = self.initial_backoff.as_secs_f64() * factor;
        // Compared as seconds first: a Duration cannot hold what a long row of doublings gives.
        if seconds < self.max_backoff.as_secs_f64() { Duration::from_secs_f64(seconds) } else { self.max_backoff }
    }
}

/// Options of one job.
#[derive(Clone)]
pub struct JobOptions {
    pub job_name: String,
    /// Instances of every node that does not say `Parallelism::One`.
    pub parallelism: usize,
    /// Number of key groups at a fresh start; a restored job keeps what its manifest says.
    pub max_parallelism: u16,
    pub batch_rows: usize,
    /// Batches above this many bytes are split before they enter a channel.
    pub batch_bytes: usize,
    /// Batches that may wait in one channel.
    pub channel_batches: usize,
    /// `None`: checkpoints only on request and at the end.
    pub checkpoint_interval: Option<Duration>,
    /// Rest between the end of a checkpoint and the start of the next periodic one.
    pub checkpoint_min_pause: Duration,
    /// From the barrier until every task has taken its snapshot; a checkpoint that takes longer counts as failed.
    pub checkpoint_timeout: Duration,
    /// A checkpoint may exceed its timeout so many times over before the job fails and starts again.
    pub tolerated_timeouts: u32,
    /// For tests: a source asks for a checkpoint after so many batches, and waits for its barrier.
    pub checkpoint_every_batches: Option<u64>,
    /// For tests: after each completed and committed checkpoint the job is torn down and recovers from it.
    pub crash_after_checkpoint: bool,
    pub state_dir: PathBuf,
    pub restore: Restore,
    pub retained_checkpoints: usize,
    /// For state in memory, over all instances, in bytes.
    pub memory_budget_bytes: usize,
    pub restart: RestartStrategy,
    pub clock: Arc<dyn Clock>,
}

impl JobOptions {
    /// Defaults, with state in this directory.
    pub fn new(job_name: impl Into<String>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            job_name: job_name.into(),
            parallelism: 1,
            max_parallelism: MAX_PARALLELISM_DEFAULT,
            batch_rows: BATCH_ROWS_DEFAULT,
            batch_bytes: BATCH_BYTES_DEFAULT,
            channel_batches: CHANNEL_BATCHES_DEFAULT,
            checkpoint_interval: Some(Duration::from_secs(10)),
            checkpoint_min_pause: Duration::ZERO,
            checkpoint_timeout: CHECKPOINT_TIMEOUT_DEFAULT,
            tolerated_timeouts: 0,
            checkpoint_every_batches: None,
            crash_after_checkpoint: false,
            state_dir: state_dir.into(),
            restore: Restore::Latest,
            retained_checkpoints: RETAINED_CHECKPOINTS_DEFAULT,
            memory_budget_bytes: MEMORY_BUDGET_DEFAULT,
            restart: RestartStrategy::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl JobOptions {
    /// How long it may take from the first row of an epoch to its commit, as far as the user has said; `None`: nothing was said.
    pub fn longest_epoch(&self) -> Option<Duration> {
        let interval = self.checkpoint_interval?;
        let timeout = Some(self.checkpoint_timeout).filter(|timeout| *timeout != CHECKPOINT_TIMEOUT_DEFAULT);
        Some(interval.saturating_add(timeout.unwrap_or_default()))
    }
}

impl fmt::Debug for JobOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobOptions")
            .field("job_name", &self.job_name)
            .field("parallelism", &self.parallelism)
            .field("state_dir", &self.state_dir)
            .field("restore", &self.restore)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_maximum_and_never_overflows() {
        let strategy = RestartStrategy { max_backoff: Duration::from_secs(1), ..RestartStrategy::default() };
        let waits: Vec<u128> = [1, 2, 3, 4, 5, 60, u32::MAX].map(|n| strategy.backoff(n).as_millis()).to_vec();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000, 1000]);
    }
}
