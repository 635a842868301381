//! What a window is: the shapes that SQL can ask for. Assignment of rows to windows belongs here too.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{EventTime, ProcessingTime};

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

/// What moves time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Event time reached this watermark.
    Watermark(EventTime),
    WallClock(ProcessingTime),
    /// The input ended; the final watermark came before.
    End,
}

impl TimeDomain {
    /// The watermark at which windows of this domain are closed by now; `None` where the moment is none of its time.
    pub fn closed_until(self, moment: Moment) -> Option<EventTime> {
        match (self, moment) {
            (Self::Event, Moment::Watermark(watermark)) => Some(watermark),
            // More rows may still come within the current millisecond.
            (Self::Processing, Moment::WallClock(now)) => Some(EventTime(now.0 - 1)),
            (Self::Processing, Moment::End) => Some(EventTime::MAX),
            (Self::Event, _) | (Self::Processing, Moment::Watermark(_)) => None,
        }
    }
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

/// Longest size, slide, step, gap or offset: ten thousand years, the range of SQL's calendar. Keeps sums of times far
/// from overflow.
pub const SPAN_MS_MAX: i64 = 10_000 * 366 * DAY_MS;
const SPAN_MONTHS_MAX: i32 = 120_000;
/// Windows per row of HOP and CUMULATE: bounds the work of one row. A day by seconds is 86,400.
pub const WINDOWS_PER_ROW_MAX: i64 = 1_000_000;
const DAY_MS: i64 = 86_400_000;

impl WindowSpec {
    /// What is wrong with the lengths, in words for the author of the query.
    pub fn validate(&self) -> Result<(), String> {
        match self.kind {
            WindowKind::Tumble { size, offset_ms } => {
                size.validate("size")?;
                validate_offset(offset_ms)
            }
            WindowKind::Hop { size, slide, offset_ms } => {
                size.validate("size")?;
                slide.validate("slide")?;
                validate_offset(offset_ms)?;
                validate_hop(size, slide)
            }
            WindowKind::Cumulate { size, step, offset_ms } => {
                size.validate("size")?;
                step.validate("step")?;
                validate_offset(offset_ms)?;
                validate_cumulate(size, step)
            }
            WindowKind::Session { gap_ms } => Span::Millis(gap_ms).validate("gap"),
        }
    }
}

impl Span {
    fn validate(self, what: &str) -> Result<(), String> {
        let (positive, in_range) = match self {
            Span::Millis(ms) => (ms > 0, ms <= SPAN_MS_MAX),
            Span::Months(months) => (months > 0, months <= SPAN_MONTHS_MAX),
        };
        match (positive, in_range) {
            (false, _) => Err(format!("the window {what} must be greater than zero")),
            (_, false) => Err(format!("the window {what} must not exceed 10,000 years")),
            _ => Ok(()),
        }
    }
}

fn validate_offset(offset_ms: i64) -> Result<(), String> {
    if offset_ms.checked_abs().is_none_or(|offset| offset > SPAN_MS_MAX) {
        return Err("the window offset must not exceed 10,000 years".into());
    }
    Ok(())
}

fn validate_hop(size: Span, slide: Span) -> Result<(), String> {
    let windows = match (size, slide) {
        (Span::Millis(size), Span::Millis(slide)) => size / slide,
        (Span::Months(size), Span::Months(slide)) => i64::from(size / slide),
        _ => return Err("HOP needs size and slide both in months or both in days and shorter units".into()),
    };
    validate_windows_per_row(windows)
}

fn validate_cumulate(size: Span, step: Span) -> Result<(), String> {
    let (windows, even) = match (size, step) {
        (Span::Millis(size), Span::Millis(step)) => (size / step, size % step == 0),
        (Span::Months(size), Span::Months(step)) => (i64::from(size / step), size % step == 0),
        // Every month is a whole number of days, so a step that divides the day divides the window.
        (Span::Months(size), Span::Millis(step)) => (i64::from(size) * 31 * DAY_MS / step, DAY_MS % step == 0),
        (Span::Millis(_), Span::Months(_)) => return Err("the step of CUMULATE must not exceed its size".into()),
    };
    if !even {
        return Err("CUMULATE needs a size that is an integral multiple of its step".into());
    }
    validate_windows_per_row(windows)
}

fn validate_windows_per_row(windows: i64) -> Result<(), String> {
    if windows > WINDOWS_PER_ROW_MAX {
        return Err(format!("each row would belong to {windows} windows: {WINDOWS_PER_ROW_MAX} are allowed"));
    }
    Ok(())
}
