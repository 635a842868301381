//! Arithmetic on the calendar by unit: rounding, adding, differences, fields. All on local time.

use chrono::{Datelike, Duration, Months, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// A unit of EXTRACT, FLOOR, CEIL, TIMESTAMPADD and TIMESTAMPDIFF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millennium,
    Century,
    Decade,
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    IsoYear,
    Epoch,
    /// So many digits of a fraction of a second, up to 9: what a type of that precision keeps.
    Digits(u8),
}

/// Before the number in the name of [`Unit::Digits`]; no unit that a query can write.
pub(crate) const DIGITS: &str = "DIGITS-";

impl Unit {
    /// By the name that SQL gives it, in upper case.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().trim_end_matches('S') {
            "MILLENNIUM" => Self::Millennium,
            "CENTURY" => Self::Century,
            "DECADE" => Self::Decade,
            "YEAR" | "SQL_TSI_YEAR" => Self::Year,
            "QUARTER" | "SQL_TSI_QUARTER" => Self::Quarter,
            "MONTH" | "SQL_TSI_MONTH" => Self::Month,
            "WEEK" | "SQL_TSI_WEEK" => Self::Week,
            "DAY" | "SQL_TSI_DAY" => Self::Day,
            "HOUR" | "SQL_TSI_HOUR" => Self::Hour,
            "MINUTE" | "SQL_TSI_MINUTE" => Self::Minute,
            "SECOND" | "SQL_TSI_SECOND" => Self::Second,
            "MILLISECOND" => Self::Millisecond,
            "MICROSECOND" => Self::Microsecond,
            "NANOSECOND" => Self::Nanosecond,
            "DOW" | "DAYOFWEEK" => Self::DayOfWeek,
            "ISODOW" => Self::IsoDayOfWeek,
            "DOY" | "DAYOFYEAR" => Self::DayOfYear,
            "ISOYEAR" => Self::IsoYear,
            "EPOCH" => Self::Epoch,
            other => Self::Digits(other.strip_prefix(DIGITS)?.parse().ok().filter(|digits| *digits <= 9)?),
        })
    }

    /// The field of a time; Sunday is day 1 of a week, weeks are ISO's.
    pub fn field(self, time: NaiveDateTime) -> i64 {
        let year = i64::from(time.year());
        match self {
            Self::Millennium => (year + 999).div_euclid(1000),
            Self::Century => (year + 99).div_euclid(100),
            Self::Decade => year.div_euclid(10),
            Self::Year => year,
            Self::IsoYear => i64::from(time.iso_week().year()),
            Self::Quarter => i64::from(time.month0() / 3 + 1),
            Self::Month => i64::from(time.month()),
            Self::Week => i64::from(time.iso_week().week()),
            Self::Day => i64::from(time.day()),
            Self::DayOfWeek => i64::from(time.weekday().number_from_sunday()),
            Self::IsoDayOfWeek => i64::from(time.weekday().number_from_monday()),
            Self::DayOfYear => i64::from(time.ordinal()),
            Self::Hour => i64::from(time.hour()),
            Self::Minute => i64::from(time.minute()),
            Self::Second => i64::from(time.second()),
            Self::Millisecond => i64::from(time.second()) * 1_000 + i64::from(time.nanosecond() / 1_000_000),
            Self::Microsecond => i64::from(time.second()) * 1_000_000 + i64::from(time.nanosecond() / 1_000),
            Self::Nanosecond => i64::from(time.second()) * 1_000_000_000 + i64::from(time.nanosecond()),
            Self::Epoch => time.and_utc().timestamp(),
            Self::Digits(digits) => i64::from(time.nanosecond() / 10_u32.pow(9 - u32::from(digits))),
        }
    }

    /// The start of the unit that holds the time; `None` where the unit has no start (fields such as DOY).
    pub fn floor(self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        let midnight = time.date().and_time(NaiveTime::MIN);
        let first = |year: i32, month: u32| Some(NaiveDate::from_ymd_opt(year, month, 1)?.and_time(NaiveTime::MIN));
        let nanos = |step: u32| time.with_nanosecond(time.nanosecond() % 1_000_000_000 / step * step);
        match self {
            Self::Millennium => first((time.year() - 1).div_euclid(1000) * 1000 + 1, 1),
            Self::Century => first((time.year() - 1).div_euclid(100) * 100 + 1, 1),
            Self::Decade => first(time.year().div_euclid(10) * 10, 1),
            Self::Year => first(time.year(), 1),
            Self::Quarter => first(time.year(), time.month0() / 3 * 3 + 1),
            Self::Month => first(time.year(), time.month()),
            // Flink's weeks start on Sunday.
            Self::Week => Some(midnight - Duration::days(i64::from(time.weekday().num_days_from_sunday()))),
            Self::Day => Some(midnight),
            Self::Hour => Some(midnight + Duration::hours(i64::from(time.hour()))),
            Self::Minute => Some(midnight + Duration::minutes(i64::from(time.hour() * 60 + time.minute()))),
            Self::Second => nanos(1_000_000_000),
            Self::Millisecond => nanos(1_000_000),
            Self::Microsecond => nanos(1_000),
            Self::Nanosecond => Some(time),
            Self::Digits(digits) => nanos(10_u32.pow(9 - u32::from(digits))),
            _ => None,
        }
    }

    /// The start of the next unit, or the time itself when it is a start.
    pub fn ceil(self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        let floor = self.floor(time)?;
        if floor == time { Some(time) } else { self.add(floor, 1) }
    }

    /// `None` beyond the calendar, and for fields that are no length of time.
    pub fn add(self, time: NaiveDateTime, count: i64) -> Option<NaiveDateTime> {
        if let Some(months) = self.months() {
            let months = count.checked_mul(months)?;
            let length = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
            return if months < 0 { time.checked_sub_months(length) } else { time.checked_add_months(length) };
        }
        let nanos = self.nanoseconds()?;
        let whole = Duration::try_milliseconds((count as i128 * nanos / 1_000_000).try_into().ok()?)?;
        let rest = Duration::nanoseconds((count as i128 * nanos % 1_000_000) as i64);
        time.checked_add_signed(whole)?.checked_add_signed(rest)
    }

    /// Whole units from `from` to `to`, toward zero; `None` for fields that are no length of time.
    pub fn between(self, from: NaiveDateTime, to: NaiveDateTime) -> Option<i64> {
        match self.months() {
            Some(months) => Some(months_between(from, to) / months),
            None => {
                let length = to.signed_duration_since(from);
                let nanos = length.num_seconds() as i128 * 1_000_000_000 + i128::from(length.subsec_nanos());
                Some((nanos / self.nanoseconds()?) as i64)
            }
        }
    }

    fn months(self) -> Option<i64> {
        Some(match self {
            Self::Month => 1,
            Self::Quarter => 3,
            Self::Year => 12,
            Self::Decade => 120,
            Self::Century => 1_200,
            Self::Millennium => 12_000,
            _ => return None,
        })
    }

    fn nanoseconds(self) -> Option<i128> {
        const SECOND: i128 = 1_000_000_000;
        Some(match self {
            Self::Week => 7 * 86_400 * SECOND,
            Self::Day => 86_400 * SECOND,
            Self::Hour => 3_600 * SECOND,
            Self::Minute => 60 * SECOND,
            Self::Second => SECOND,
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1_000,
            Self::Nanosecond => 1,
            _ => return None,
        })
    }
}

/// Whole months, toward zero: the day and the time of day must be reached too.
fn months_between(from: NaiveDateTime, to: NaiveDateTime) -> i64 {
    let months = i64::from(to.year() - from.year()) * 12 + i64::from(to.month()) - i64::from(from.month());
    let (from_rest, to_rest) = ((from.day(), from.time()), (to.day(), to.time()));
    match months {
        1.. if to_rest < from_rest => months - 1,
        ..=-1 if to_rest > from_rest => months + 1,
        _ => months,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::parse_sql;
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        parse_sql(text).expect(text)
    }

    #[test]
    fn units_round_add_and_differ() {
        let time = at("2024-05-15 10:11:12.345");
        for (unit, floor, ceil) in [
            ("YEAR", "2024-01-01", "2025-01-01"),
            ("QUARTER", "2024-04-01", "2024-07-01"),
            ("WEEK", "2024-05-12", "2024-05-19"),
            ("HOUR", "2024-05-15 10:00:00", "2024-05-15 11:00:00"),
            ("SECOND", "2024-05-15 10:11:12", "2024-05-15 10:11:13"),
        ] {
            let unit = Unit::named(unit).expect("known");
            assert_eq!((unit.floor(time), unit.ceil(time)), (Some(at(floor)), Some(at(ceil))), "{unit:?}");
        }
        let month = Unit::named("month").expect("known");
        assert_eq!(month.add(at("2024-01-31"), 1), Some(at("2024-02-29")));
        assert_eq!(month.between(at("2024-01-31"), at("2024-02-29")), Some(0));
        assert_eq!(month.between(at("2024-03-15"), at("2024-01-15")), Some(-2));
        assert_eq!(Unit::named("DAYS").expect("known").between(at("2024-01-01 12:00:00"), at("2024-01-03")), Some(1));
    }
}
