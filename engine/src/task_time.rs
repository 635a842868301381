//! How the time of a task goes by: working, waiting for rows, or waiting because whoever reads its rows does not keep up.
//!
//! The clock is looked at only where a task really waits, so a task that has work pays nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Why a task waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// There are no rows.
    Idle = 1,
    /// There is no room for its rows.
    BackPressured = 2,
}

/// Of one task, written by its thread alone.
#[derive(Debug)]
pub struct TaskTimes {
    begun: Instant,
    idle_ns: AtomicU64,
    back_pressured_ns: AtomicU64,
    /// 0 while it works; else since when it waits, in nanoseconds from `begun`, four times that, and why.
    waits: AtomicU64,
}

impl Default for TaskTimes {
    fn default() -> Self {
        let (idle_ns, back_pressured_ns, waits) = Default::default();
        Self { begun: Instant::now(), idle_ns, back_pressured_ns, waits }
    }
}

/// Where time went; the three together are the time since the task began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskTime {
    pub busy: Duration,
    pub idle: Duration,
    pub back_pressured: Duration,
}

/// Ends a wait.
pub struct Wait<'a>(&'a TaskTimes);

impl TaskTimes {
    /// The task waits until the answer is dropped.
    pub fn wait(&self, why: Waiting) -> Wait<'_> {
        self.waits.store((self.now_ns() << 2) | why as u64, Ordering::Relaxed);
        Wait(self)
    }

    /// The task is over: what comes is idle.
    pub fn end(&self) {
        std::mem::forget(self.wait(Waiting::Idle));
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX) & (u64::MAX >> 2)
    }

    pub fn get(&self) -> TaskTime {
        let (mut idle, mut blocked) =
            (self.idle_ns.load(Ordering::Relaxed), self.back_pressured_ns.load(Ordering::Relaxed));
        let waits = self.waits.load(Ordering::Relaxed);
        let now = self.now_ns();
        let waited = now.saturating_sub(waits >> 2);
        match waits & 3 {
            0 => {}
            1 => idle += waited,
            _ => blocked += waited,
        }
        // A wait that ends while this looks may be counted twice: it is never more than all time.
        let (idle, blocked) = (idle.min(now), blocked.min(now.saturating_sub(idle)));
        TaskTime {
            busy: Duration::from_nanos(now - idle - blocked),
            idle: Duration::from_nanos(idle),
            back_pressured: Duration::from_nanos(blocked),
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let waits = self.0.waits.swap(0, Ordering::Relaxed);
        let waited = self.0.now_ns().saturating_sub(waits >> 2);
        let total = if waits & 3 == Waiting::Idle as u64 { &self.0.idle_ns } else { &self.0.back_pressured_ns };
        total.fetch_add(waited, Ordering::Relaxed);
    }
}

impl std::ops::AddAssign for TaskTime {
    fn add_assign(&mut self, other: Self) {
        self.busy += other.busy;
        self.idle += other.idle;
        self.back_pressured += other.back_pressured;
    }
}

impl TaskTime {
    pub fn total(&self) -> Duration {
        self.busy + self.idle + self.back_pressured
    }

    /// What has gone by since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(before.busy),
            idle: self.idle.saturating_sub(before.idle),
            back_pressured: self.back_pressured.saturating_sub(before.back_pressured),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_where_the_task_spends_it_also_while_it_still_waits() {
        let times = TaskTimes::default();
        let rest = || std::thread::sleep(Duration::from_millis(20));
        rest();
        let worked = times.get();
        assert!(worked.busy >= Duration::from_millis(20) && worked.idle.is_zero() && worked.back_pressured.is_zero());
        let wait = times.wait(Waiting::Idle);
        rest();
        assert!(times.get().idle >= Duration::from_millis(20), "before it ends");
        drop(wait);
        let wait = times.wait(Waiting::BackPressured);
        rest();
        drop(wait);
        let all = times.get();
        assert!(all.idle >= Duration::from_millis(20) && all.back_pressured >= Duration::from_millis(20));
        assert!(all.busy >= worked.busy);
        times.end();
        let busy = times.get().busy;
        rest();
        assert!(times.get().busy - busy < Duration::from_millis(15), "a task that is over is not busy");
    }
}
