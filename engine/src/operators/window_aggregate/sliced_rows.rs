//! Which slice each row of a batch belongs to, and which rows are late.

use ahash::AHashMap;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::{Emission, WindowInput};
use crate::operators::row_times::row_times;
use crate::time::assign::{Slice, Window, WindowGrid, closing_watermark, is_closed};
use crate::time::window::TimeDomain;
use crate::time::zone::{all_to_local, to_local};
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, Result};

/// Stands for rows that go into no slice.
const NO_SLICE: u32 = u32::MAX;

/// Puts rows into slices.
pub struct Slicer {
    input: WindowInput,
    /// `None` for attached windows.
    grid: Option<WindowGrid>,
    emission: Emission,
}

/// The time that rows are judged by.
#[derive(Clone, Copy)]
pub struct Clocks {
    /// Windows that end at this watermark or before take no rows.
    pub closed_until: EventTime,
    pub now: ProcessingTime,
}

/// The slices of a batch's rows.
pub struct SlicedRows {
    /// Distinct; in order of first appearance.
    pub slices: Vec<Slice>,
    /// Index into `slices` per row, or [`NO_SLICE`].
    of_row: Vec<u32>,
    /// Rows all of whose windows are closed.
    pub late: Vec<u32>,
    /// Rows that lie between the windows of a HOP.
    pub outside: usize,
}

/// Rows of one slice: their numbers in the batch and their columns.
pub struct SlicePart {
    pub slice: Slice,
    pub row_numbers: RowNumbers,
    pub rows: RecordBatch,
}

pub enum RowNumbers {
    All(usize),
    Some(Vec<u32>),
}

impl RowNumbers {
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let (all, some) = match self {
            Self::All(count) => (0..*count, &[][..]),
            Self::Some(rows) => (0..0, rows.as_slice()),
        };
        all.chain(some.iter().map(|row| *row as usize))
    }
}

impl Slicer {
    pub fn new(input: &WindowInput, emission: Emission) -> Self {
        let grid = match input {
            WindowInput::Time { spec, .. } => Some(WindowGrid::new(spec)),
            WindowInput::Attached { .. } => None,
        };
        Self { input: input.clone(), grid, emission }
    }

    pub fn grid(&self) -> Option<&WindowGrid> {
        self.grid.as_ref()
    }

    /// Decides every row of a batch by the windows that are still open at the row's own watermark and at the operator's.
    pub fn slice(&self, batch: &Batch, clocks: Clocks) -> Result<SlicedRows> {
        let mut assignment = Assignment::new(self, batch, clocks.closed_until);
        match &self.input {
            WindowInput::Time { spec, .. } if spec.domain == TimeDomain::Processing => {
                let grid = self.grid.as_ref().expect("windows over time have a grid");
                let slice = grid.slice_of(to_local(spec.zone, clocks.now.0));
                assignment.put_open(batch.num_rows(), slice);
            }
            WindowInput::Time { column, spec } => {
                let mut times = row_times("WindowAggregate", batch.rows(), *column)?;
                all_to_local(spec.zone, &mut times);
                let grid = self.grid.as_ref().expect("windows over time have a grid");
                grid.for_each_run(&times, |from, to, slice| assignment.put(from, to, slice));
            }
            WindowInput::Attached { start, end, .. } => {
                let starts = row_times("WindowAggregate", batch.rows(), *start)?;
                let ends = row_times("WindowAggregate", batch.rows(), *end)?;
                for (row, (start, end)) in starts.into_iter().zip(ends).enumerate() {
                    assignment.put(row, row + 1, Some(Slice::of_window(Window { start, end })));
                }
            }
        }
        Ok(assignment.rows)
    }

    /// What is left of a slice at a watermark; `None` where its rows are late.
    pub fn open_part(&self, slice: Slice, watermark: EventTime) -> Option<Slice> {
        match &self.grid {
            Some(grid) => grid.open_part(slice, watermark),
            None => (!is_closed(self.input.zone(), slice.last_end, watermark)).then_some(slice),
        }
    }
}

/// A batch being put into slices.
struct Assignment<'a> {
    slicer: &'a Slicer,
    batch: &'a Batch,
    closed_until: EventTime,
    ids: AHashMap<Slice, u32>,
    last: Option<(Slice, u32)>,
    /// The slice that was judged last, and the watermark from which on it is not wholly open.
    judged: Option<(Slice, EventTime)>,
    rows: SlicedRows,
}

impl<'a> Assignment<'a> {
    fn new(slicer: &'a Slicer, batch: &'a Batch, closed_until: EventTime) -> Self {
        let of_row = Vec::with_capacity(batch.num_rows());
        let rows = SlicedRows { slices: Vec::new(), of_row, late: Vec::new(), outside: 0 };
        Self { slicer, batch, closed_until, ids: AHashMap::new(), last: None, judged: None, rows }
    }

    /// Rows that cannot be late.
    fn put_open(&mut self, count: usize, slice: Option<Slice>) {
        let id = slice.map_or(NO_SLICE, |slice| self.id(slice));
        self.rows.outside += if slice.is_none() { count } else { 0 };
        self.rows.of_row.extend(std::iter::repeat_n(id, count));
    }

    fn put(&mut self, from: usize, to: usize, slice: Option<Slice>) {
        let Some(slice) = slice else { return self.put_open(to - from, None) };
        let closes = match self.judged {
            Some((judged, closes)) if judged == slice => closes,
            _ => closing_watermark(self.slicer.input.zone(), slice.first_end),
        };
        self.judged = Some((slice, closes));
        let highest = self.batch.watermarks().and_then(|marks| marks.values()[from..to].iter().max().copied());
        if self.closed_at(EventTime(highest.unwrap_or(i64::MIN))) < closes {
            return self.put_open(to - from, Some(slice));
        }
        for row in from..to {
            self.put_row(row, slice);
        }
    }

    /// Up to where windows take no rows whose split had reached `watermark`.
    fn closed_at(&self, watermark: EventTime) -> EventTime {
        self.closed_until.max(self.slicer.emission.settled(watermark))
    }

    fn put_row(&mut self, row: usize, slice: Slice) {
        let watermark = self.closed_at(self.batch.watermark_before(row));
        match self.slicer.open_part(slice, watermark) {
            Some(open) => {
                let id = self.id(open);
                self.rows.of_row.push(id);
            }
            None => {
                self.rows.of_row.push(NO_SLICE);
                self.rows.late.push(row as u32);
            }
        }
    }

    fn id(&mut self, slice: Slice) -> u32 {
        if let Some((last, id)) = self.last
            && last == slice
        {
            return id;
        }
        let slices = &mut self.rows.slices;
        let id = *self.ids.entry(slice).or_insert_with(|| {
            slices.push(slice);
            slices.len() as u32 - 1
        });
        self.last = Some((slice, id));
        id
    }
}

impl SlicedRows {
    /// For rows whose slices are already known.
    pub fn from_slices(slices: impl Iterator<Item = Option<Slice>>) -> Self {
        let mut ids = AHashMap::new();
        let mut rows = Self { slices: Vec::new(), of_row: Vec::new(), late: Vec::new(), outside: 0 };
        for (row, slice) in slices.enumerate() {
            let Some(slice) = slice else {
                rows.late.push(row as u32);
                rows.of_row.push(NO_SLICE);
                continue;
            };
            let id = *ids.entry(slice).or_insert_with(|| {
                rows.slices.push(slice);
                rows.slices.len() as u32 - 1
            });
            rows.of_row.push(id);
        }
        rows
    }

    /// The rows of `columns` (one per row of the batch), slice by slice. One slice costs nothing; several cost one copy.
    pub fn parts(&self, columns: &RecordBatch) -> Result<Vec<SlicePart>> {
        let total = self.of_row.len();
        if self.slices.len() == 1 && self.late.is_empty() && self.outside == 0 {
            let part = SlicePart { slice: self.slices[0], row_numbers: RowNumbers::All(total), rows: columns.clone() };
            return Ok(vec![part]);
        }
        let mut numbers: Vec<Vec<u32>> = vec![Vec::new(); self.slices.len()];
        for (row, id) in self.of_row.iter().enumerate().filter(|(_, id)| **id != NO_SLICE) {
            numbers[*id as usize].push(row as u32);
        }
        let order: UInt32Array = numbers.iter().flatten().copied().collect::<Vec<u32>>().into();
        let sorted = if columns.num_columns() == 0 { columns.clone() } else { take_record_batch(columns, &order)? };
        let mut from = 0;
        let parts = self.slices.iter().zip(numbers).map(|(slice, numbers)| {
            let rows = sorted.slice(from, numbers.len());
            from += numbers.len();
            SlicePart { slice: *slice, row_numbers: RowNumbers::Some(numbers), rows }
        });
        Ok(parts.collect())
    }
}
