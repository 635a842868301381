//! Which windows fire next: pure bookkeeping over live slices, with cost per slice and not per window of a slice.

use std::collections::BTreeSet;

use chrono_tz::Tz;

use crate::time::EventTime;
use crate::time::assign::{Slice, Window, WindowGrid, closing_watermark, is_closed};

/// A window to be fired.
#[derive(Debug, PartialEq)]
pub struct Firing {
    pub window: Window,
    /// Slices whose first window this is (or, after a restart, that were in earlier windows already).
    pub entering: Vec<Slice>,
}

/// Slices by the windows that they still wait for.
pub struct Schedule {
    grid: Option<WindowGrid>,
    zone: Option<Tz>,
    /// Slices none of whose windows has fired, by the end of their first window.
    upcoming: BTreeSet<(i64, Slice)>,
    /// Slices some but not all of whose windows have fired, by the end of their last window.
    active: BTreeSet<Slice>,
    /// Where `active` is not empty: the end of the next window.
    next_end: i64,
    /// Active slices that no firing has listed yet: those of a restart.
    restored: Vec<Slice>,
}

impl Schedule {
    /// `grid` is `None` for windows that rows carry.
    pub fn new(grid: Option<&WindowGrid>, zone: Option<Tz>) -> Self {
        let (upcoming, active) = (BTreeSet::new(), BTreeSet::new());
        Self { grid: grid.cloned(), zone, upcoming, active, next_end: 0, restored: Vec::new() }
    }

    /// Takes up a slice none of whose windows has fired.
    pub fn add(&mut self, slice: Slice) {
        self.upcoming.insert((slice.first_end, slice));
    }

    /// Takes up a slice of a restored job whose windows have fired up to `watermark`.
    pub fn restore(&mut self, slice: Slice, watermark: EventTime) {
        let grid = self.grid.as_ref().filter(|_| is_closed(self.zone, slice.first_end, watermark));
        match grid.and_then(|grid| grid.open_part(slice, watermark)) {
            Some(open) => {
                self.next_end = open.first_end;
                self.active.insert(slice);
                self.restored.push(slice);
            }
            None => self.add(slice),
        }
    }

    /// All slices that the window being fired may hold, in order of their last windows.
    pub fn active(&self) -> &BTreeSet<Slice> {
        &self.active
    }

    /// All slices that have a window which has not fired.
    pub fn live(&self) -> BTreeSet<Slice> {
        self.upcoming.iter().map(|(_, slice)| *slice).chain(self.active.iter().copied()).collect()
    }

    /// The watermark that closes the next window.
    pub fn next_closing(&self) -> Option<EventTime> {
        let upcoming = self.upcoming.first().map(|(end, _)| *end);
        let active = Some(self.next_end).filter(|_| self.grid.is_some() && !self.active.is_empty());
        upcoming.into_iter().chain(active).min().map(|end| closing_watermark(self.zone, end))
    }

    /// The next window that is closed at `watermark`. The caller fires it and then calls [`Self::finish`].
    pub fn next(&mut self, watermark: EventTime) -> Option<Firing> {
        let upcoming = self.upcoming.first().map(|(end, slice)| Window { end: *end, start: slice.start });
        let active = self.grid.as_ref().filter(|_| !self.active.is_empty());
        let active = active.map(|grid| grid.window_ending(self.next_end));
        let window = match (active, upcoming) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other)?,
        };
        if !is_closed(self.zone, window.end, watermark) {
            return None;
        }
        let mut entering = std::mem::take(&mut self.restored);
        entering.retain(|slice| slice.is_in_window(window.end));
        while let Some((end, slice)) = self.upcoming.first().copied() {
            if end != window.end || slice.start != window.start {
                break;
            }
            self.upcoming.pop_first();
            self.active.insert(slice);
            entering.push(slice);
        }
        Some(Firing { window, entering })
    }

    /// Closes a fired window; returns the slices that are in no later one.
    pub fn finish(&mut self, window: Window) -> Vec<Slice> {
        let mut finished = Vec::new();
        while let Some(slice) = self.active.first().copied().filter(|slice| slice.last_end <= window.end) {
            self.active.pop_first();
            finished.push(slice);
        }
        if let Some(grid) = &self.grid
            && !self.active.is_empty()
        {
            self.next_end = grid.end_after(window.end);
        }
        finished
    }
}
