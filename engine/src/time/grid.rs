//! Grids on the local calendar: instants that lie a fixed number of milliseconds, or of calendar months, apart.
//!
//! Months are counted in the proleptic Gregorian calendar from January 1970, so that quarters and years start in January.

use super::window::Span;

const DAY_MS: i64 = 86_400_000;

/// Cells `[instant(i), instant(i + 1))` of equal length that tile all of local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    unit: Span,
    offset_ms: i64,
}

impl Grid {
    /// A grid with a cell that starts at `offset_ms` after 1970-01-01 00:00:00.
    pub fn new(unit: Span, offset_ms: i64) -> Self {
        assert!(!matches!(unit, Span::Millis(..=0) | Span::Months(..=0)), "cells have a length");
        Self { unit, offset_ms }
    }

    /// The cell that holds a local time.
    pub fn index(&self, local_ms: i64) -> i64 {
        let shifted = local_ms - self.offset_ms;
        match self.unit {
            Span::Millis(unit) => shifted.div_euclid(unit),
            Span::Months(unit) => month_of_day(shifted.div_euclid(DAY_MS)).div_euclid(i64::from(unit)),
        }
    }

    /// Where a cell starts.
    pub fn instant(&self, index: i64) -> i64 {
        let start = match self.unit {
            Span::Millis(unit) => index * unit,
            Span::Months(unit) => day_of_month(index * i64::from(unit)) * DAY_MS,
        };
        start + self.offset_ms
    }
}

/// Months since January 1970 of a day since 1970-01-01 (the civil calendar by eras of 400 years, Howard Hinnant).
fn month_of_day(day: i64) -> i64 {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // The year starts in March here, so that the leap day is its last.
    let month_from_march = (5 * day_of_year + 2) / 153;
    (year_of_era + era * 400 - 1970) * 12 + month_from_march + 2
}

/// The first day, since 1970-01-01, of a month since January 1970.
fn day_of_month(month: i64) -> i64 {
    let from_march = month - 2;
    let year = from_march.div_euclid(12) + 1970;
    let month_from_march = from_march.rem_euclid(12);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate};

    #[test]
    fn months_agree_with_the_calendar_library() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for day in (-800_000..800_000).step_by(13).chain(-800..800) {
            let date = epoch + chrono::Duration::days(day);
            let month = i64::from(date.year() - 1970) * 12 + i64::from(date.month0());
            assert_eq!(month_of_day(day), month, "{date}");
            let first = date.with_day(1).unwrap();
            assert_eq!(day_of_month(month), (first - epoch).num_days(), "{date}");
        }
    }

    #[test]
    fn every_time_lies_in_its_cell() {
        for unit in [Span::Millis(7), Span::Millis(DAY_MS), Span::Months(1), Span::Months(3), Span::Months(12)] {
            for offset in [0, 5, -5, DAY_MS, -1_000_000_007] {
                let grid = Grid::new(unit, offset);
                for time in [-3_000_000_000_001, -8, -1, 0, 1, 6, 7, 1_600_000_000_123] {
                    let cell = grid.index(time);
                    assert!(grid.instant(cell) <= time && time < grid.instant(cell + 1), "{grid:?} {time}");
                    assert_eq!(grid.index(grid.instant(cell)), cell);
                }
            }
        }
    }
}
