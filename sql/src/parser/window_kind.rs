//! The shapes of windows: their arguments, and the rules that lengths must keep.

use sqlparser::tokenizer::Span as Place;
use tidemill_engine::time::window::{Span, WindowKind};

use super::tokens::Parsed;
use crate::diagnostic::Diagnostic;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

pub(super) struct IntervalParameter {
    pub(super) name: &'static str,
    pub(super) required: bool,
}

const fn required(name: &'static str) -> IntervalParameter {
    IntervalParameter { name, required: true }
}

const OFFSET: IntervalParameter = IntervalParameter { name: "OFFSET", required: false };

impl Shape {
    pub(super) const ALL: [Shape; 4] = [Self::Tumble, Self::Hop, Self::Cumulate, Self::Session];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.name().eq_ignore_ascii_case(name))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE",
            Self::Hop => "HOP",
            Self::Cumulate => "CUMULATE",
            Self::Session => "SESSION",
        }
    }

    /// All arguments in the order in which they are given without names.
    pub(super) fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Tumble => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
            Self::Hop => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
            Self::Cumulate => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
            Self::Session => &["DATA", "TIMECOL", "GAP"],
        }
    }

    pub(super) fn intervals(self) -> &'static [IntervalParameter] {
        match self {
            Self::Tumble => &const { [required("SIZE"), OFFSET] },
            Self::Hop => &const { [required("SLIDE"), required("SIZE"), OFFSET] },
            Self::Cumulate => &const { [required("STEP"), required("SIZE"), OFFSET] },
            Self::Session => &const { [required("GAP")] },
        }
    }

    pub(super) fn usage(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTE [, offset])",
            Self::Hop => "HOP(TABLE t, DESCRIPTOR(ts), slide, size [, offset])",
            Self::Cumulate => "CUMULATE(TABLE t, DESCRIPTOR(ts), step, size [, offset])",
            Self::Session => "SESSION(TABLE t [PARTITION BY key, ...], DESCRIPTOR(ts), gap)",
        }
    }
}

/// Named interval arguments with their places.
pub(super) type Intervals = [(&'static str, Span, Place)];

/// Checks the lengths against each other and makes the window.
pub(super) fn window_kind(shape: Shape, intervals: &Intervals, call: Place) -> Parsed<WindowKind> {
    for (name, length, place) in intervals {
        let positive = matches!(length, Span::Millis(1..) | Span::Months(1..));
        if !positive && *name != "OFFSET" {
            let text = format!("the {} of {} must be positive", name.to_lowercase(), shape.name());
            return Err(Diagnostic::at(*place, text));
        }
    }
    let length = |name: &str| {
        let found = intervals.iter().find(|(bound, ..)| *bound == name).map(|(_, length, place)| (*length, *place));
        found.ok_or_else(|| {
            Diagnostic::at(call, format!("{} needs the argument {name}", shape.name())).with_hint(shape.usage())
        })
    };
    let offset_ms = offset_ms(intervals)?;
    match shape {
        Shape::Tumble => Ok(WindowKind::Tumble { size: length("SIZE")?.0, offset_ms }),
        Shape::Hop => {
            let (slide, size) = (length("SLIDE")?, length("SIZE")?);
            same_calendar(shape, slide, size.0)?;
            Ok(WindowKind::Hop { size: size.0, slide: slide.0, offset_ms })
        }
        Shape::Cumulate => {
            let (step, size) = (length("STEP")?, length("SIZE")?);
            same_calendar(shape, step, size.0)?;
            multiple(size, step.0)?;
            Ok(WindowKind::Cumulate { size: size.0, step: step.0, offset_ms })
        }
        Shape::Session => match length("GAP")? {
            (Span::Millis(gap_ms), _) => Ok(WindowKind::Session { gap_ms }),
            (Span::Months(_), place) => Err(Diagnostic::at(place, "the gap of a session cannot be in months")
                .with_hint("write it in days: INTERVAL '30' DAY")),
        },
    }
}

fn offset_ms(intervals: &Intervals) -> Parsed<i64> {
    match intervals.iter().find(|(name, ..)| *name == "OFFSET") {
        None => Ok(0),
        Some((_, Span::Millis(offset_ms), _)) => Ok(*offset_ms),
        Some((_, Span::Months(_), place)) => {
            Err(Diagnostic::at(*place, "the offset of a window cannot be in months")
                .with_hint("write it in days or hours"))
        }
    }
}

fn same_calendar(shape: Shape, (part, place): (Span, Place), size: Span) -> Parsed<()> {
    match (part, size) {
        (Span::Millis(part), Span::Millis(size)) if part > size && shape == Shape::Cumulate => {
            Err(Diagnostic::at(place, "the step of CUMULATE must not be longer than its size")
                .with_hint("the step comes first: CUMULATE(TABLE t, DESCRIPTOR(ts), step, size)"))
        }
        (Span::Millis(_), Span::Millis(_)) | (Span::Months(_), Span::Months(_)) => Ok(()),
        _ => Err(Diagnostic::at(place, format!("{} cannot mix months with days or shorter units", shape.name()))),
    }
}

fn multiple((size, place): (Span, Place), step: Span) -> Parsed<()> {
    let whole = match (size, step) {
        (Span::Millis(size), Span::Millis(step)) => size % step == 0,
        (Span::Months(size), Span::Months(step)) => size % step == 0,
        _ => false,
    };
    if whole { Ok(()) } else { Err(Diagnostic::at(place, "the size of CUMULATE must be a multiple of its step")) }
}
