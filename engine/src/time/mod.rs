//! Event time and wall time (two types that cannot be mixed), windows and watermarks.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub mod assign;
pub mod grid;
pub mod window;
pub mod zone;

/// Time as the records tell it: milliseconds since 1970-01-01 00:00:00 (of UTC for zoned columns, of the local
/// calendar for columns without a zone).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before any record: no time is known yet.
    pub const MIN: EventTime = EventTime(i64::MIN);
    /// After every record: the final watermark of a bounded input.
    pub const MAX: EventTime = EventTime(i64::MAX);
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("none"),
            Self::MAX => f.write_str("end"),
            Self(ms) => match chrono::DateTime::from_timestamp_millis(ms) {
                Some(time) => write!(f, "{}", time.format("%Y-%m-%d %H:%M:%S%.3f")),
                None => write!(f, "{ms} ms"),
            },
        }
    }
}

/// Time as the machine's clock tells it: milliseconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessingTime(pub i64);

impl ProcessingTime {
    /// Long past: what is due then is due at once.
    pub const MIN: ProcessingTime = ProcessingTime(i64::MIN);
    pub const MAX: ProcessingTime = ProcessingTime(i64::MAX);

    /// So much later, at most [`ProcessingTime::MAX`].
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// How soon to look at a clock again of which nobody knows how it runs.
const UNKNOWN_CLOCK_LOOK: Duration = Duration::from_millis(10);

/// The machine's clock may be set while somebody waits for it: it is looked at this often at least.
const MACHINE_CLOCK_LOOK: Duration = Duration::from_secs(10);

/// The one door through which wall time comes in.
pub trait Clock: Send + Sync {
    fn now(&self) -> ProcessingTime;

    /// How long a thread may sleep that waits for this time, before it looks again. [`ProcessingTime::MAX`] never comes.
    fn wait_for(&self, _time: ProcessingTime) -> Duration {
        UNKNOWN_CLOCK_LOOK
    }
}

thread_local! {
    /// What a task read off its job's clock before the call that it is in.
    static CALL_TIME: Cell<Option<ProcessingTime>> = const { Cell::new(None) };
}

/// Notes the time of the calls that the current thread makes from now on.
pub(crate) fn set_call_time(now: ProcessingTime) {
    CALL_TIME.set(Some(now));
}

/// The processing time for expressions: that of the call in which a task of a job evaluates them, so that all rows of a
/// call have one; outside of a task the machine's.
pub fn processing_time() -> ProcessingTime {
    CALL_TIME.get().unwrap_or_else(|| SystemClock.now())
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> ProcessingTime {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        ProcessingTime(since_epoch.as_millis() as i64)
    }

    fn wait_for(&self, time: ProcessingTime) -> Duration {
        if time == ProcessingTime::MAX {
            return Duration::MAX;
        }
        let left_ms = time.0.saturating_sub(self.now().0).max(0).unsigned_abs();
        Duration::from_millis(left_ms).min(MACHINE_CLOCK_LOOK)
    }
}
