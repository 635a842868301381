//! The frame of an OVER clause: ROWS, RANGE or GROUPS, and between which bounds.

use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use tidemill_engine::operators::over::{Frame, FrameBound, FrameUnit};

use super::over::{refuse, whole};
use crate::plan::nodes::window::describe_ms;

/// What RANGE counts in: that of the first column of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RangeUnit {
    Milliseconds,
    Numbers,
    /// It has none.
    Nothing,
}

/// The frame of a function with this name.
pub(super) fn frame_of(frame: &WindowFrame, range_unit: RangeUnit, name: &str) -> Result<Frame> {
    let unit = match frame.units {
        WindowFrameUnits::Rows => FrameUnit::Rows,
        WindowFrameUnits::Range => FrameUnit::Range,
        WindowFrameUnits::Groups => FrameUnit::Groups,
    };
    let bound = |bound: &WindowFrameBound| -> Result<FrameBound> {
        match bound {
            WindowFrameBound::CurrentRow => Ok(FrameBound::Offset(0)),
            WindowFrameBound::Preceding(value) | WindowFrameBound::Following(value) if value.is_null() => {
                Ok(FrameBound::Unbounded)
            }
            WindowFrameBound::Preceding(value) => Ok(FrameBound::Offset(-distance(value, unit, range_unit, name)?)),
            WindowFrameBound::Following(value) => Ok(FrameBound::Offset(distance(value, unit, range_unit, name)?)),
        }
    };
    let own = Frame { unit, start: bound(&frame.start_bound)?, end: bound(&frame.end_bound)? };
    match own {
        Frame { start: FrameBound::Offset(start), end: FrameBound::Offset(end), .. } if start > end => {
            let hint = "write the bound that comes first in front: BETWEEN 2 PRECEDING AND 1 FOLLOWING";
            Err(refuse(format!("{name}() OVER: the frame ends before it starts"), hint))
        }
        Frame { start: FrameBound::Unbounded, end: FrameBound::Unbounded, .. } => Ok(Frame::ALL),
        other => Ok(other),
    }
}

/// 0 or more.
fn distance(value: &ScalarValue, unit: FrameUnit, range_unit: RangeUnit, name: &str) -> Result<i64> {
    let found = match (unit, range_unit) {
        (FrameUnit::Rows | FrameUnit::Groups, _) | (FrameUnit::Range, RangeUnit::Numbers) => whole(value),
        (FrameUnit::Range, RangeUnit::Milliseconds) => milliseconds(value),
        (FrameUnit::Range, RangeUnit::Nothing) => {
            let hint = "use ROWS, or order by a time or a whole number";
            return Err(refuse(format!("{name}() OVER: RANGE cannot count in this order"), hint));
        }
    };
    found.filter(|distance| *distance >= 0).ok_or_else(|| match (unit, range_unit) {
        (FrameUnit::Range, RangeUnit::Milliseconds) => {
            let hint = "write RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW";
            refuse(format!("{name}() OVER: RANGE takes an interval of days or less"), hint)
        }
        _ => refuse(format!("{name}() OVER: the bound of a frame is a whole number, 0 or more"), "ROWS 10 PRECEDING"),
    })
}

fn milliseconds(value: &ScalarValue) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    match value {
        ScalarValue::IntervalMonthDayNano(Some(span)) if span.months == 0 => {
            i64::from(span.days).checked_mul(DAY_MS)?.checked_add(span.nanoseconds / 1_000_000)
        }
        ScalarValue::IntervalDayTime(Some(span)) => {
            i64::from(span.days).checked_mul(DAY_MS)?.checked_add(i64::from(span.milliseconds))
        }
        ScalarValue::DurationMillisecond(ms) => *ms,
        ScalarValue::DurationNanosecond(nanos) => Some((*nanos)? / 1_000_000),
        _ => None,
    }
}

/// `ROWS 3 PRECEDING`, `RANGE BETWEEN 1 h PRECEDING AND 5 s FOLLOWING`.
pub(super) fn describe_frame(frame: Frame, range_unit: RangeUnit) -> String {
    let in_ms = frame.unit == FrameUnit::Range && range_unit == RangeUnit::Milliseconds;
    let bound = |bound: FrameBound, outer: &str| match bound {
        FrameBound::Unbounded => format!("UNBOUNDED {outer}"),
        FrameBound::Offset(0) => "CURRENT ROW".into(),
        FrameBound::Offset(by) => {
            let side = if by < 0 { "PRECEDING" } else { "FOLLOWING" };
            let distance = i64::try_from(by.unsigned_abs()).unwrap_or(i64::MAX);
            format!("{} {side}", if in_ms { describe_ms(distance) } else { distance.to_string() })
        }
    };
    let unit = match frame.unit {
        FrameUnit::Rows => "ROWS",
        FrameUnit::Range => "RANGE",
        FrameUnit::Groups => "GROUPS",
    };
    let (start, end) = (bound(frame.start, "PRECEDING"), bound(frame.end, "FOLLOWING"));
    match (frame.start, frame.end) {
        (FrameBound::Unbounded | FrameBound::Offset(..0), FrameBound::Offset(0)) => format!("{unit} {start}"),
        _ => format!("{unit} BETWEEN {start} AND {end}"),
    }
}
