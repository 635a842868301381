//! What a window is: the shapes that SQL can ask for. Assignment of rows to windows belongs here too.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// A length of time on the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Span {
    Millis(i64),
    /// Calendar months; their length in milliseconds depends on where they start.
    Months(i32),
}

/// How rows are put into windows. `offset_ms` shifts the grid of window starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WindowKind {
    Tumble {
        size: Span,
        offset_ms: i64,
    },
    /// Windows of `size` that start every `slide`.
    Hop {
        size: Span,
        slide: Span,
        offset_ms: i64,
    },
    /// Windows that start every `size` and grow by `step` until they reach `size`.
    Cumulate {
        size: Span,
        step: Span,
        offset_ms: i64,
    },
    /// Windows that close after `gap_ms` without a row of the same key.
    Session {
        gap_ms: i64,
    },
}

/// Which clock fires the windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimeDomain {
    Event,
    Processing,
}

/// A window table function, bound to a time column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WindowSpec {
    pub kind: WindowKind,
    pub domain: TimeDomain,
    /// `Some` for a TIMESTAMP_LTZ column: days, hours and months start where this zone's calendar says.
    /// `None` for a TIMESTAMP column, which is already local.
    pub zone: Option<Tz>,
}
