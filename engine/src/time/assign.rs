//! Puts times into windows, by slices.
//!
//! A *slice* is the set of all rows that belong to the same windows. Windows of one query are unions of slices, so a
//! row is aggregated once, into its slice, and a window is the merge of its slices: TUMBLE has one slice per window;
//! HOP slices are cells of gcd(size, slide), neighbours of which fall together where they share all windows; CUMULATE
//! slices are one step long. All times here are local (see [`super::zone`]); only closing knows instants.

use chrono_tz::Tz;

use super::EventTime;
use super::grid::Grid;
use super::window::{Span, WindowKind, WindowSpec};
use super::zone;

/// A window `[start, end)` in local milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    pub end: i64,
    pub start: i64,
}

/// The rows that belong to exactly the windows that end at `first_end`, at `last_end` and at every window end between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slice {
    pub last_end: i64,
    pub first_end: i64,
    /// Start of the window that ends at `first_end`.
    pub start: i64,
}

impl Slice {
    /// The slice of rows that belong to one window only.
    pub fn of_window(window: Window) -> Self {
        Self { last_end: window.end, first_end: window.end, start: window.start }
    }

    /// True where the rows belong to the window of the same grid that ends at `end`.
    pub fn is_in_window(&self, end: i64) -> bool {
        self.first_end <= end && end <= self.last_end
    }
}

/// The windows of a query: TUMBLE, HOP or CUMULATE with their lengths worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowGrid {
    /// Slices begin and end on this grid.
    cells: Grid,
    /// Cells between the ends of two successive windows.
    stride: i64,
    extent: Extent,
    zone: Option<Tz>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Every window is so many cells long.
    Fixed(i64),
    /// Windows start on this grid and grow a cell at a time until its next instant.
    Growing(Grid),
}

impl WindowGrid {
    /// Panics for session windows and for specs that `validate` refuses.
    pub fn new(spec: &WindowSpec) -> Self {
        spec.validate().expect("the planner validates windows");
        let (cells, stride, extent) = match spec.kind {
            WindowKind::Tumble { size, offset_ms } => (Grid::new(size, offset_ms), 1, Extent::Fixed(1)),
            WindowKind::Hop { size, slide, offset_ms } => {
                let (cell, size, slide) = in_common_cells(size, slide);
                (Grid::new(cell, offset_ms), slide, Extent::Fixed(size))
            }
            WindowKind::Cumulate { size, step, offset_ms } => {
                (Grid::new(step, offset_ms), 1, Extent::Growing(Grid::new(size, offset_ms)))
            }
            WindowKind::Session { .. } => panic!("sessions depend on the rows and have no grid"),
        };
        Self { cells, stride, extent, zone: spec.zone }
    }

    /// The slice of a local time; `None` where HOP leaves gaps between its windows (slide > size).
    pub fn slice_of(&self, local_ms: i64) -> Option<Slice> {
        self.slice_of_cell(self.cells.index(local_ms), local_ms)
    }

    /// Calls `each` with runs of neighbours in `locals_ms` that share a slice: (first row, row after, slice).
    pub fn for_each_run(&self, locals_ms: &[i64], mut each: impl FnMut(usize, usize, Option<Slice>)) {
        let mut row = 0;
        while row < locals_ms.len() {
            let cell = self.cells.index(locals_ms[row]);
            let (from, to) = (self.cells.instant(cell), self.cells.instant(cell + 1));
            let run = locals_ms[row..].iter().position(|time| *time < from || *time >= to);
            let end = run.map_or(locals_ms.len(), |length| row + length);
            each(row, end, self.slice_of_cell(cell, locals_ms[row]));
            row = end;
        }
    }

    fn slice_of_cell(&self, cell: i64, local_ms: i64) -> Option<Slice> {
        match self.extent {
            Extent::Fixed(size) => {
                let first_start = ((cell - size).div_euclid(self.stride) + 1) * self.stride;
                let last_start = cell.div_euclid(self.stride) * self.stride;
                (first_start <= last_start).then(|| Slice {
                    start: self.cells.instant(first_start),
                    first_end: self.cells.instant(first_start + size),
                    last_end: self.cells.instant(last_start + size),
                })
            }
            Extent::Growing(outer) => {
                let window = outer.index(local_ms);
                let (start, last_end) = (outer.instant(window), outer.instant(window + 1));
                Some(Slice { start, first_end: self.cells.instant(cell + 1), last_end })
            }
        }
    }

    /// The windows of a local time, in order of their ends.
    pub fn windows_of(&self, local_ms: i64) -> impl Iterator<Item = Window> {
        self.slice_of(local_ms).into_iter().flat_map(|slice| self.windows_of_slice(slice))
    }

    pub fn windows_of_slice(&self, slice: Slice) -> impl Iterator<Item = Window> {
        (0..self.window_count(slice)).map(move |nth| self.window_ending(self.nth_end(slice, nth)))
    }

    /// The window that ends at `end`, which must be the end of a window.
    pub fn window_ending(&self, end: i64) -> Window {
        let start = match self.extent {
            Extent::Fixed(size) => self.cells.instant(self.cells.index(end) - size),
            Extent::Growing(outer) => outer.instant(outer.index(end - 1)),
        };
        Window { end, start }
    }

    /// The end of the window after the one that ends at `end`.
    pub fn end_after(&self, end: i64) -> i64 {
        self.cells.instant(self.cells.index(end) + self.stride)
    }

    /// True where each row is in one window at most.
    pub fn is_tumbling(&self) -> bool {
        matches!(self.extent, Extent::Fixed(size) if size <= self.stride)
    }

    /// True where each window starts with the slices of the one before, until a new one starts (CUMULATE).
    pub fn is_growing(&self) -> bool {
        matches!(self.extent, Extent::Growing(_))
    }

    /// True where some time lies in exactly these windows; false where a slice is only the later part of such a set.
    pub fn is_natural(&self, slice: Slice) -> bool {
        let Extent::Fixed(size) = self.extent else { return true };
        let (first_end, last_end) = (self.cells.index(slice.first_end), self.cells.index(slice.last_end));
        let from = (last_end - size).max(first_end - self.stride);
        let to = first_end.min(last_end - size + self.stride);
        from < to
    }

    fn window_count(&self, slice: Slice) -> i64 {
        (self.cells.index(slice.last_end) - self.cells.index(slice.first_end)) / self.stride + 1
    }

    fn nth_end(&self, slice: Slice, nth: i64) -> i64 {
        self.cells.instant(self.cells.index(slice.first_end) + nth * self.stride)
    }

    /// What is left of a slice once the windows that are closed at `watermark` are taken away: `None` where the rows
    /// are late. The result again is a slice: the rows that belong to the later windows only.
    pub fn open_part(&self, slice: Slice, watermark: EventTime) -> Option<Slice> {
        if !is_closed(self.zone, slice.first_end, watermark) {
            return Some(slice);
        }
        if is_closed(self.zone, slice.last_end, watermark) {
            return None;
        }
        // Closing never goes back as ends grow: bisect for the first open window; the last one is open.
        let (mut closed, mut open) = (0, self.window_count(slice) - 1);
        while open - closed > 1 {
            let middle = closed + (open - closed) / 2;
            if is_closed(self.zone, self.nth_end(slice, middle), watermark) {
                closed = middle;
            } else {
                open = middle;
            }
        }
        let window = self.window_ending(self.nth_end(slice, open));
        Some(Slice { start: window.start, first_end: window.end, last_end: slice.last_end })
    }
}

/// The watermark at which a window that ends at a local time is complete.
pub fn closing_watermark(zone: Option<Tz>, end: i64) -> EventTime {
    EventTime(zone::last_instant(zone, end - 1))
}

/// True where no row of a window that ends at `end` can come any more.
pub fn is_closed(zone: Option<Tz>, end: i64, watermark: EventTime) -> bool {
    closing_watermark(zone, end) <= watermark
}

/// The largest cell of which size and slide are multiples, and both lengths in it.
fn in_common_cells(size: Span, slide: Span) -> (Span, i64, i64) {
    match (size, slide) {
        (Span::Millis(size), Span::Millis(slide)) => {
            let cell = gcd(size, slide);
            (Span::Millis(cell), size / cell, slide / cell)
        }
        (Span::Months(size), Span::Months(slide)) => {
            let cell = gcd(i64::from(size), i64::from(slide)) as i32;
            (Span::Months(cell), i64::from(size / cell), i64::from(slide / cell))
        }
        _ => unreachable!("validation refuses mixed units"),
    }
}

fn gcd(one: i64, other: i64) -> i64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::window::TimeDomain;
    use chrono::{Datelike, NaiveDate};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const DAY_MS: i64 = 86_400_000;

    /// The obvious twin: walks over all starts of windows near a time, with the calendar library for months.
    fn naive_windows(kind: WindowKind, time: i64) -> Vec<Window> {
        let mut windows = match kind {
            WindowKind::Tumble { size, offset_ms } => naive_hops(size, size, offset_ms, time),
            WindowKind::Hop { size, slide, offset_ms } => naive_hops(size, slide, offset_ms, time),
            WindowKind::Cumulate { size, step, offset_ms } => naive_hops(size, size, offset_ms, time)
                .into_iter()
                .flat_map(|outer| {
                    let mut ends: Vec<i64> = (1..)
                        .map(|n| add(outer.start, step, n, offset_ms))
                        .take_while(|end| *end <= outer.end)
                        .collect();
                    ends.retain(|end| time < *end);
                    ends.into_iter().map(move |end| Window { start: outer.start, end })
                })
                .collect(),
            WindowKind::Session { .. } => unreachable!(),
        };
        windows.sort();
        windows
    }

    fn naive_hops(size: Span, slide: Span, offset: i64, time: i64) -> Vec<Window> {
        let near = match slide {
            Span::Millis(ms) => (time - offset).div_euclid(ms),
            Span::Months(months) => {
                let date = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()
                    + chrono::Duration::days((time - offset).div_euclid(DAY_MS));
                (i64::from(date.year() - 1970) * 12 + i64::from(date.month0())) / i64::from(months)
            }
        };
        let starts = (near - 60..=near + 60).map(|n| add(offset, slide, n, offset));
        starts
            .map(|start| Window { start, end: add(start, size, 1, offset) })
            .filter(|window| window.start <= time && time < window.end)
            .collect()
    }

    fn add(from: i64, span: Span, times: i64, offset: i64) -> i64 {
        match span {
            Span::Millis(ms) => from + ms * times,
            Span::Months(months) => {
                let date = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()
                    + chrono::Duration::days((from - offset).div_euclid(DAY_MS));
                let month = i64::from(date.year()) * 12 + i64::from(date.month0()) + i64::from(months) * times;
                let date =
                    NaiveDate::from_ymd_opt(month.div_euclid(12) as i32, month.rem_euclid(12) as u32 + 1, 1).unwrap();
                date.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_millis() + offset
            }
        }
    }

    fn random_kind(rng: &mut ChaCha8Rng) -> WindowKind {
        let offset_ms = [0, 0, 3, -7, 1_000_003, -DAY_MS - 1][rng.random_range(0..6)];
        let months = rng.random_bool(0.3);
        let span = |n: i64| if months { Span::Months(n as i32) } else { Span::Millis(n) };
        match rng.random_range(0..4) {
            0 => WindowKind::Tumble { size: span(rng.random_range(1..20)), offset_ms },
            1 => {
                WindowKind::Hop { size: span(rng.random_range(1..20)), slide: span(rng.random_range(1..20)), offset_ms }
            }
            2 => {
                let step = rng.random_range(1..5);
                WindowKind::Cumulate { size: span(step * rng.random_range(1..6)), step: span(step), offset_ms }
            }
            _ => WindowKind::Cumulate { size: Span::Months(2), step: Span::Millis(DAY_MS / 2), offset_ms },
        }
    }

    fn unit_of(grid: &WindowGrid) -> Span {
        if grid.cells.instant(1) - grid.cells.instant(0) < DAY_MS / 2 { Span::Millis(1) } else { Span::Months(1) }
    }

    fn grid_of(kind: WindowKind, zone: Option<Tz>) -> WindowGrid {
        WindowGrid::new(&WindowSpec { kind, domain: TimeDomain::Event, zone })
    }

    #[test]
    fn windows_agree_with_the_naive_twin() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..5_000 {
            let kind = random_kind(&mut rng);
            let grid = grid_of(kind, None);
            let far = if rng.random_bool(0.5) { 40 } else { 1_700_000_000_000 };
            let time = rng.random_range(-far..far);
            let expected = naive_windows(kind, time);
            assert_eq!(grid.windows_of(time).collect::<Vec<_>>(), expected, "{kind:?} at {time}");
            for pair in expected.windows(2) {
                assert_eq!(grid.end_after(pair[0].end), pair[1].end, "{kind:?} at {time}");
            }
        }
    }

    #[test]
    fn equal_slices_mean_equal_windows_and_runs_agree_with_single_rows() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for _ in 0..500 {
            let grid = grid_of(random_kind(&mut rng), None);
            let times: Vec<i64> = (0..50).map(|_| rng.random_range(-60..60)).collect();
            let mut covered = 0;
            grid.for_each_run(&times, |from, to, slice| {
                assert_eq!(from, covered);
                covered = to;
                times[from..to].iter().for_each(|time| assert_eq!(grid.slice_of(*time), slice));
            });
            assert_eq!(covered, times.len());
            for (one, other) in times.iter().zip(&times[1..]) {
                let same_windows = grid.windows_of(*one).eq(grid.windows_of(*other));
                assert_eq!(grid.slice_of(*one) == grid.slice_of(*other), same_windows);
                assert!(grid.slice_of(*one).is_none_or(|slice| grid.is_natural(slice)));
            }
        }
    }

    #[test]
    fn the_open_part_holds_the_windows_that_are_not_closed() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for round in 0..3_000 {
            let zone = [None, Some(Tz::Europe__Berlin)][round % 2];
            let grid = grid_of(random_kind(&mut rng), zone);
            let time = rng.random_range(-100..100);
            let watermark = EventTime(time + rng.random_range(-30..60) - if zone.is_some() { 3_600_000 } else { 0 });
            let Some(slice) = grid.slice_of(time) else { continue };
            let open: Vec<Window> =
                grid.windows_of(time).filter(|window| !is_closed(zone, window.end, watermark)).collect();
            let part = grid.open_part(slice, watermark);
            let near = time - 2_000..time + 2_000;
            if let (Some(part), Span::Millis(_)) = (part, unit_of(&grid)) {
                assert_eq!(grid.is_natural(part), near.clone().any(|time| grid.slice_of(time) == Some(part)));
            }
            assert_eq!(part.into_iter().flat_map(|part| grid.windows_of_slice(part)).collect::<Vec<_>>(), open);
        }
    }

    #[test]
    fn times_far_out_do_not_overflow() {
        let kinds = [
            WindowKind::Tumble { size: Span::Millis(i64::from(i32::MAX)), offset_ms: -5 },
            WindowKind::Hop { size: Span::Months(13), slide: Span::Months(5), offset_ms: 5 },
        ];
        for kind in kinds {
            let grid = grid_of(kind, Some(Tz::America__New_York));
            for time in [-zone::TIME_MS_MAX, zone::TIME_MS_MAX] {
                let windows: Vec<Window> = grid.windows_of(time).collect();
                assert!(!windows.is_empty());
                assert!(windows.iter().all(|window| window.start <= time && time < window.end));
                assert!(!is_closed(Some(Tz::America__New_York), windows[0].end, EventTime::MIN));
            }
        }
    }
}
