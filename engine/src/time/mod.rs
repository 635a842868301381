//! Event time and wall time (two types that cannot be mixed), windows and watermarks.

use std::fmt;

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

/// The one door through which wall time comes in.
pub trait Clock: Send + Sync {
    fn now(&self) -> ProcessingTime;
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> ProcessingTime {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        ProcessingTime(since_epoch.as_millis() as i64)
    }
}
