//! Rows of partitions of which some are at hand, and the rows that the frames of these have.

use std::ops::Range;

use arrow::array::RecordBatch;

use super::frame::{Frame, FrameBound, FrameUnit};

/// Rows `start .. end` of those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// Rows of partitions, each in its order.
pub struct Past {
    pub rows: RecordBatch,
    /// What RANGE goes by, of each row; increasing within a partition. The least and the greatest number stand for NULL.
    pub times: Vec<i64>,
    pub segments: Vec<Segment>,
    /// Of each row at hand the rows that the order leaves equal to it, itself included.
    pub peers: Vec<Span>,
}

/// The rows of one partition.
#[derive(Debug, Clone)]
pub struct Segment {
    pub start: usize,
    /// Those for which functions are computed.
    pub hand: Range<usize>,
    pub end: usize,
}

impl Past {
    /// The rows at hand, in order.
    pub fn hand(&self) -> impl Iterator<Item = usize> {
        self.segments.iter().flat_map(|segment| segment.hand.clone())
    }

    /// The rows at hand with their partitions and peers.
    pub fn hand_rows(&self) -> impl Iterator<Item = (&Segment, usize, Span)> {
        let rows = self.segments.iter().flat_map(|segment| segment.hand.clone().map(move |row| (segment, row)));
        rows.zip(&self.peers).map(|((segment, row), peers)| (segment, row, *peers))
    }

    /// What each row at hand sees.
    pub fn spans(&self, frame: Frame) -> Vec<Span> {
        if frame.unit == FrameUnit::Groups {
            return self.spans_of_groups(frame);
        }
        let span = |(segment, row, peers): (&Segment, usize, Span)| {
            let start = match (frame.start, frame.unit) {
                (FrameBound::Unbounded, _) => segment.start,
                (FrameBound::Offset(by), FrameUnit::Rows) => moved(row, by),
                (FrameBound::Offset(by), _) if by == 0 || self.has_no_time(row) => peers.start,
                (FrameBound::Offset(by), _) => {
                    let first = self.times[row].saturating_add(by);
                    segment.start + self.times[segment.start..segment.end].partition_point(|time| *time < first)
                }
            };
            let end = match (frame.end, frame.unit) {
                (FrameBound::Unbounded, _) => segment.end,
                (FrameBound::Offset(by), FrameUnit::Rows) => moved(row + 1, by),
                (FrameBound::Offset(by), _) if by == 0 || self.has_no_time(row) => peers.end,
                (FrameBound::Offset(by), _) => {
                    let last = self.times[row].saturating_add(by);
                    segment.start + self.times[segment.start..segment.end].partition_point(|time| *time <= last)
                }
            };
            within(segment, start, end)
        };
        self.hand_rows().map(span).collect()
    }

    /// NULL has no distance from anything: such a row only sees its peers.
    fn has_no_time(&self, row: usize) -> bool {
        matches!(self.times[row], i64::MIN | i64::MAX)
    }

    /// Where all rows of the partitions are at hand.
    fn spans_of_groups(&self, frame: Frame) -> Vec<Span> {
        let mut spans = Vec::with_capacity(self.peers.len());
        let mut first = 0;
        for segment in &self.segments {
            debug_assert_eq!(segment.hand, segment.start..segment.end, "groups are counted in whole partitions");
            let peers = &self.peers[first..first + segment.hand.len()];
            first += peers.len();
            let mut groups: Vec<Span> = peers.to_vec();
            groups.dedup();
            let mut own = 0;
            for span in peers {
                own += usize::from(groups[own] != *span);
                let start = match frame.start {
                    FrameBound::Unbounded => segment.start,
                    FrameBound::Offset(by) => groups.get(moved(own, by)).map_or(segment.end, |group| group.start),
                };
                let end = match frame.end {
                    FrameBound::Unbounded => segment.end,
                    FrameBound::Offset(by) => match moved(own + 1, by) {
                        0 => segment.start,
                        behind => groups[behind.min(groups.len()) - 1].end,
                    },
                };
                spans.push(within(segment, start, end));
            }
        }
        spans
    }
}

fn moved(row: usize, by: i64) -> usize {
    let distance = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    if by < 0 { row.saturating_sub(distance) } else { row.saturating_add(distance) }
}

fn within(segment: &Segment, start: usize, end: usize) -> Span {
    let start = start.clamp(segment.start, segment.end);
    Span { start, end: end.clamp(start, segment.end) }
}
