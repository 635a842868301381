//! Results beside the final one: of windows that are still open, and of windows that have fired and take late rows.
//!
//! A window with allowed lateness is closed so much later: until then it takes rows, and what it holds can be shown
//! at any time. Rows that are shown repeat what was shown before where nothing changed; an operator behind
//! ([`crate::operators::window_changes`]) makes changes of them.

use std::collections::BTreeSet;

use chrono_tz::Tz;

use crate::time::assign::{Slice, Window, WindowGrid, closing_watermark};
use crate::time::{EventTime, ProcessingTime};

/// When windows give results beside their final one. Times are in milliseconds of the wall clock, but for `lateness_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Emission {
    /// How long after a change an open window shows it; 0: at once. `None`: a window shows nothing before it fires.
    pub early_ms: Option<i64>,
    /// The same for windows that have fired.
    pub late_ms: i64,
    /// For so long, in event time, a window that has fired takes late rows.
    pub lateness_ms: i64,
}

impl Emission {
    /// True where every window has one result only.
    pub fn is_final_only(&self) -> bool {
        self.early_ms.is_none() && self.lateness_ms == 0
    }

    /// Windows that end at this watermark or before take no rows any more when time is at `watermark`.
    pub fn settled(&self, watermark: EventTime) -> EventTime {
        if watermark == EventTime::MAX { watermark } else { EventTime(watermark.0.saturating_sub(self.lateness_ms)) }
    }
}

/// What changed (slices, or keys of sessions), and when results of it are shown.
pub struct Pending<T> {
    pub changed: BTreeSet<T>,
    due: Option<ProcessingTime>,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { changed: BTreeSet::new(), due: None }
    }
}

impl<T: Ord> Pending<T> {
    pub fn add(&mut self, changed: T, due: ProcessingTime) {
        self.changed.insert(changed);
        self.due.get_or_insert(due);
    }

    /// When something is to be shown next.
    pub fn next_time(&self) -> Option<ProcessingTime> {
        self.due
    }

    pub fn take_due(&mut self, now: ProcessingTime) -> BTreeSet<T> {
        if self.due.is_none_or(|due| due > now) {
            return BTreeSet::new();
        }
        self.due = None;
        std::mem::take(&mut self.changed)
    }
}

/// Decides which windows are shown when.
pub struct Previews {
    pub emission: Emission,
    grid: Option<WindowGrid>,
    zone: Option<Tz>,
    /// Windows that end at this watermark or before have fired for the first time.
    fired_until: EventTime,
    /// What the state that was restored says of windows that take no rows any more.
    restored: EventTime,
    early: Pending<Slice>,
    late: Pending<Slice>,
}

impl Previews {
    /// `grid` is `None` for windows that rows carry.
    pub fn new(emission: Emission, grid: Option<&WindowGrid>, zone: Option<Tz>) -> Self {
        let (early, late) = (Pending::default(), Pending::default());
        let (fired_until, restored) = (EventTime::MIN, EventTime::MIN);
        Self { emission, grid: grid.cloned(), zone, fired_until, restored, early, late }
    }

    /// Takes up a restored slice, whose windows that end at `closed_until` or before have given their final results.
    pub fn restore(&mut self, slice: Slice, closed_until: EventTime, now: ProcessingTime) {
        self.restored = closed_until;
        // What has been shown of it is not known.
        self.changed(slice, now);
    }

    /// Windows that end at this watermark or before have given their final results.
    fn closed_until(&self) -> EventTime {
        self.restored.max(self.emission.settled(self.fired_until))
    }

    /// Rows came into a slice.
    pub fn changed(&mut self, slice: Slice, now: ProcessingTime) {
        let after = |delay_ms| after(now, delay_ms);
        if let Some(early_ms) = self.emission.early_ms {
            self.early.add(slice, after(early_ms));
        }
        if self.emission.lateness_ms > 0 && self.closing(slice.first_end) <= self.fired_until {
            self.late.add(slice, after(self.emission.late_ms));
        }
    }

    /// When a window is to be shown next, because of time on the wall clock.
    pub fn next_time(&self) -> Option<ProcessingTime> {
        self.early.next_time().into_iter().chain(self.late.next_time()).min()
    }

    /// The windows to show now, because of time on the wall clock.
    pub fn due(&mut self, now: ProcessingTime) -> BTreeSet<Window> {
        let (early, late) = (self.early.take_due(now), self.late.take_due(now));
        let mut windows = self.windows(&early, self.fired_until.max(self.closed_until()), EventTime::MAX);
        windows.extend(self.windows(&late, self.closed_until(), self.fired_until));
        windows
    }

    /// The windows of live slices that end between the last watermark and this one, and are not closed by it.
    pub fn fired(&mut self, watermark: EventTime, live: &BTreeSet<Slice>) -> BTreeSet<Window> {
        let before = self.fired_until;
        self.fired_until = self.fired_until.max(watermark);
        let after = before.max(self.closed_until());
        if self.emission.lateness_ms == 0 { BTreeSet::new() } else { self.windows(live, after, watermark) }
    }

    /// The windows of some slices that close behind `after` and not behind `until`.
    fn windows(&self, slices: &BTreeSet<Slice>, after: EventTime, until: EventTime) -> BTreeSet<Window> {
        let mut windows = BTreeSet::new();
        for slice in slices {
            match &self.grid {
                Some(grid) => {
                    let open = grid.open_part(*slice, after).into_iter().flat_map(|open| grid.windows_of_slice(open));
                    windows.extend(open.take_while(|window| self.closing(window.end) <= until));
                }
                None => {
                    let window = Window { end: slice.last_end, start: slice.start };
                    let closing = self.closing(window.end);
                    windows.extend((closing > after && closing <= until).then_some(window));
                }
            }
        }
        windows
    }

    fn closing(&self, end: i64) -> EventTime {
        closing_watermark(self.zone, end)
    }
}

pub fn after(now: ProcessingTime, delay_ms: i64) -> ProcessingTime {
    ProcessingTime(now.0.saturating_add(delay_ms))
}
