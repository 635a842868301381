//! What the functions of an OVER clause see of their partition, and what they make of it.

use arrow::datatypes::{DataType, Schema};

use crate::aggregate::AggregateCall;
use crate::operators::narrow::Narrow;
use crate::operators::ordering::RankFunction;

/// What the bounds of a frame count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameUnit {
    Rows,
    /// The first column of the order: milliseconds of a time, or units of a whole number. The row itself stands for all rows
    /// that the order leaves equal.
    Range,
    /// Rows that the order leaves equal, together. Only of whole partitions.
    Groups,
}

/// An end of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameBound {
    /// That of the partition.
    Unbounded,
    /// So many units behind the row; those before it are negative.
    Offset(i64),
}

/// The rows that a function sees, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    pub unit: FrameUnit,
    pub start: FrameBound,
    pub end: FrameBound,
}

impl Frame {
    /// All rows up to this one, or to the last that the order leaves equal.
    pub const fn so_far(unit: FrameUnit) -> Self {
        Self { unit, start: FrameBound::Unbounded, end: FrameBound::Offset(0) }
    }

    /// The whole partition.
    pub const ALL: Self = Self { unit: FrameUnit::Rows, start: FrameBound::Unbounded, end: FrameBound::Unbounded };

    pub fn is_so_far(self) -> bool {
        self.starts_with_partition() && self.end == FrameBound::Offset(0)
    }

    pub fn starts_with_partition(self) -> bool {
        self.start == FrameBound::Unbounded
    }

    /// Its ends are those of rows that the order leaves equal.
    pub(super) fn has_peers(self) -> bool {
        self.unit != FrameUnit::Rows
    }

    /// How far it goes back: to its start, or where that is the partition's, to its end.
    fn back(self) -> u64 {
        let far = if self.starts_with_partition() { self.end } else { self.start };
        offset_of(far).min(0).unsigned_abs()
    }

    /// How far it goes on behind the row.
    fn on(self) -> u64 {
        offset_of(self.end).max(0) as u64
    }
}

fn offset_of(bound: FrameBound) -> i64 {
    match bound {
        FrameBound::Offset(offset) => offset,
        FrameBound::Unbounded => 0,
    }
}

/// Says how a row stands among all of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareFunction {
    /// One of so many parts of almost the same size, from 1 on.
    Ntile(u64),
    /// Between 0 and 1.
    PercentRank,
    /// The share of rows up to it.
    CumeDist,
}

/// What is computed for each row.
#[derive(Clone)]
pub enum OverFunction {
    Aggregate(AggregateCall, Frame),
    Number(RankFunction),
    /// The value in the frame's first (1), second (2), ... or last (-1) row, which may be NULL.
    Nth {
        column: usize,
        number: i64,
        frame: Frame,
    },
    /// The value so many rows behind the row; before it where negative. Where there is none, that of `default`, or NULL.
    Shift {
        column: usize,
        by: i64,
        default: Option<usize>,
    },
    /// Only of whole partitions.
    Share(ShareFunction),
}

impl OverFunction {
    /// The input columns that it reads.
    pub fn columns(&self) -> Vec<usize> {
        match self {
            Self::Aggregate(call, _) => call.args.iter().copied().chain(call.filter).collect(),
            Self::Nth { column, .. } => vec![*column],
            Self::Shift { column, default, .. } => std::iter::once(*column).chain(*default).collect(),
            Self::Number(_) | Self::Share(_) => Vec::new(),
        }
    }

    pub fn frame(&self) -> Option<Frame> {
        match self {
            Self::Aggregate(_, frame) | Self::Nth { frame, .. } => Some(*frame),
            Self::Number(_) | Self::Shift { .. } | Self::Share(_) => None,
        }
    }

    /// The same over columns that have moved.
    pub(super) fn over(&self, narrow: &Narrow) -> Self {
        match self {
            Self::Aggregate(call, frame) => {
                let filter = call.filter.map(|column| narrow.place(column));
                Self::Aggregate(AggregateCall { args: narrow.places(&call.args), filter, ..call.clone() }, *frame)
            }
            Self::Nth { column, number, frame } => {
                Self::Nth { column: narrow.place(*column), number: *number, frame: *frame }
            }
            Self::Shift { column, by, default } => Self::Shift {
                column: narrow.place(*column),
                by: *by,
                default: default.map(|column| narrow.place(column)),
            },
            Self::Number(_) | Self::Share(_) => self.clone(),
        }
    }

    pub(super) fn output_type(&self, input: &Schema) -> DataType {
        match self {
            Self::Aggregate(call, _) => call.factory.output_type(),
            Self::Nth { column, .. } | Self::Shift { column, .. } => input.field(*column).data_type().clone(),
            Self::Number(_) | Self::Share(ShareFunction::Ntile(_)) => DataType::Int64,
            Self::Share(_) => DataType::Float64,
        }
    }

    /// True where a stream computes it when the row's turn comes, from what is known of all rows before.
    pub(super) fn is_early(&self) -> bool {
        match self {
            Self::Number(_) => true,
            Self::Aggregate(_, frame) => frame.starts_with_partition(),
            // The last row of a frame stands near.
            Self::Nth { number, frame, .. } => *number > 0 && frame.starts_with_partition(),
            Self::Shift { .. } | Self::Share(_) => false,
        }
    }

    /// True where the early result of another row is this row's.
    pub(super) fn is_shifted(&self) -> bool {
        self.is_early() && self.frame().is_some_and(|frame| !frame.is_so_far())
    }
}

/// What frames see of the rows before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// So many of the last rows.
    pub rows: usize,
    /// Rows so many milliseconds back.
    pub range_ms: Option<i64>,
}

impl Needs {
    pub fn of(functions: &[OverFunction]) -> Self {
        let mut needs = Self::default();
        let mut add_rows = |rows: u64| needs.rows = needs.rows.max(usize::try_from(rows).unwrap_or(usize::MAX));
        let mut range_ms: Option<i64> = None;
        for function in functions {
            match (function, function.frame()) {
                (OverFunction::Shift { by, .. }, _) => add_rows(by.min(&0).unsigned_abs()),
                (_, Some(frame)) if function.is_early() && frame.is_so_far() => {}
                (_, Some(frame)) if frame.unit == FrameUnit::Rows => add_rows(frame.back()),
                (_, Some(frame)) => {
                    let back = i64::try_from(frame.back()).unwrap_or(i64::MAX);
                    range_ms = Some(range_ms.map_or(back, |range| range.max(back)));
                }
                (_, None) => {}
            }
        }
        Self { range_ms, ..needs }
    }

    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// How far functions look behind the row: it waits for these rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ahead {
    pub rows: usize,
    pub range_ms: i64,
}

impl Ahead {
    pub fn of(functions: &[OverFunction]) -> Self {
        let mut ahead = Self::default();
        for function in functions {
            match (function, function.frame()) {
                (OverFunction::Shift { by, .. }, _) => {
                    ahead.rows = ahead.rows.max(usize::try_from(*by).unwrap_or(0));
                }
                (_, Some(frame)) if frame.unit == FrameUnit::Rows => {
                    ahead.rows = ahead.rows.max(usize::try_from(frame.on()).unwrap_or(usize::MAX));
                }
                (_, Some(frame)) => {
                    ahead.range_ms = ahead.range_ms.max(i64::try_from(frame.on()).unwrap_or(i64::MAX));
                }
                (_, None) => {}
            }
        }
        ahead
    }

    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}
