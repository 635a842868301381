//! Dates, times and timestamps as text, in the two standards of Flink's formats. Calendar arithmetic is proleptic
//! Gregorian. Time zones do not occur: a TIMESTAMP_LTZ is written in UTC with a `Z`.

use std::io::Write;

use arrow::datatypes::TimeUnit;

use super::json::TimestampStandard;

const SECONDS_PER_DAY: i64 = 86_400;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Days since 1970-01-01 of a `yyyy-MM-dd`; `None` for anything else, also for days that no month has.
#[inline]
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let text: &[u8; 10] = text.try_into().ok()?;
    if text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = two_digits(text[0], text[1])? * 100 + two_digits(text[2], text[3])?;
    let (month, day) = (two_digits(text[5], text[6])?, two_digits(text[8], text[9])?);
    if !(1..=12).contains(&month) || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    Some(days_from_civil(year as i32, month, day))
}

/// Seconds and nanoseconds of the day of an `HH:mm:ss` with up to nine digits of fraction.
#[inline]
pub(crate) fn parse_time(text: &[u8]) -> Option<(u32, u32)> {
    if text.len() < 8 || text[2] != b':' || text[5] != b':' {
        return None;
    }
    let (hour, minute) = (two_digits(text[0], text[1])?, two_digits(text[3], text[4])?);
    let second = two_digits(text[6], text[7])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second, fraction(&text[8..])?))
}

/// Nanoseconds of `.123`; zero for nothing.
#[inline]
fn fraction(text: &[u8]) -> Option<u32> {
    let Some((point, digits)) = text.split_first() else { return Some(0) };
    if *point != b'.' || digits.len() > 9 {
        return None;
    }
    let mut nanos = 0;
    for digit in digits {
        nanos = nanos * 10 + u32::from(digit_value(*digit)?);
    }
    const POWERS: [u32; 10] = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
    Some(nanos * POWERS[digits.len()])
}

/// Why a text is not a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampFlaw {
    Malformed,
    /// A real time that the column's unit cannot count (nanoseconds reach from 1677 to 2262).
    OutOfRange,
}

/// The date part of the timestamp before: records mostly share their day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DayCache {
    text: [u8; 10],
    days: i32,
}

impl Default for DayCache {
    fn default() -> Self {
        Self { text: *b"1970-01-01", days: 0 }
    }
}

impl DayCache {
    #[inline]
    fn days(&mut self, text: &[u8]) -> Option<i32> {
        let text: &[u8; 10] = text.try_into().ok()?;
        if *text != self.text {
            self.days = parse_date(text)?;
            self.text = *text;
        }
        Some(self.days)
    }
}

/// A timestamp in `unit` since the epoch; digits beyond the unit are cut off. `local` texts end in `Z`.
#[inline]
pub(crate) fn parse_timestamp(
    text: &[u8],
    standard: TimestampStandard,
    local: bool,
    unit: TimeUnit,
    cache: &mut DayCache,
) -> Result<i64, TimestampFlaw> {
    let (days, seconds, nanos) = split_timestamp(text, standard, local, cache).ok_or(TimestampFlaw::Malformed)?;
    let seconds = i64::from(days) * SECONDS_PER_DAY + i64::from(seconds);
    let per_second = per_second(unit);
    let fraction = i64::from(nanos) / (NANOS_PER_SECOND / per_second);
    let units = seconds.checked_mul(per_second).and_then(|units| units.checked_add(fraction));
    units.ok_or(TimestampFlaw::OutOfRange)
}

#[inline]
fn split_timestamp(
    text: &[u8],
    standard: TimestampStandard,
    local: bool,
    cache: &mut DayCache,
) -> Option<(i32, u32, u32)> {
    let text = if local { text.strip_suffix(b"Z")? } else { text };
    let separator = match standard {
        TimestampStandard::Sql => b' ',
        TimestampStandard::Iso8601 => b'T',
    };
    if text.len() < 16 || text[10] != separator {
        return None;
    }
    let days = cache.days(&text[..10])?;
    let time = &text[11..];
    let (seconds, nanos) = match (standard, time.len()) {
        (TimestampStandard::Iso8601, 5) => parse_minutes(time)?,
        _ => parse_time(time)?,
    };
    Some((days, seconds, nanos))
}

/// ISO 8601 may leave out the seconds.
fn parse_minutes(time: &[u8]) -> Option<(u32, u32)> {
    let mut whole = *b"00:00:00";
    whole[..5].copy_from_slice(time);
    parse_time(&whole)
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => NANOS_PER_SECOND,
    }
}

#[inline]
fn digit_value(byte: u8) -> Option<u8> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(value)
}

#[inline]
fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    Some(u32::from(digit_value(tens)?) * 10 + u32::from(digit_value(ones)?))
}

fn days_of_month(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's algorithm: years begin in March, so that the leap day comes last.
fn days_from_civil(year: i32, month: u32, day: u32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400) as u32;
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era as i32 - 719_468
}

/// The inverse of `days_from_civil`, for any day that a timestamp can name.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = (if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 }) as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// `2024-12-31`; years beyond four digits have a sign, as in Java.
pub(crate) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    match year {
        0..=9999 => {
            push_two_digits(year as u32 / 100, out);
            push_two_digits(year as u32 % 100, out);
        }
        10_000.. => write!(out, "+{year}").expect("a Vec takes any bytes"),
        _ => write!(out, "-{:04}", -year).expect("a Vec takes any bytes"),
    }
    out.push(b'-');
    push_two_digits(month, out);
    out.push(b'-');
    push_two_digits(day, out);
}

/// `23:59:59.5`: as many digits of fraction as are needed.
fn write_time(seconds: i64, nanos: i64, out: &mut Vec<u8>) {
    debug_assert!((0..SECONDS_PER_DAY).contains(&seconds) && (0..NANOS_PER_SECOND).contains(&nanos));
    let seconds = seconds as u32;
    push_two_digits(seconds / 3600, out);
    out.push(b':');
    push_two_digits(seconds / 60 % 60, out);
    out.push(b':');
    push_two_digits(seconds % 60, out);
    if nanos == 0 {
        return;
    }
    out.push(b'.');
    let mut rest = nanos;
    let mut unit = NANOS_PER_SECOND / 10;
    while rest > 0 {
        out.push(b'0' + (rest / unit) as u8);
        rest %= unit;
        unit /= 10;
    }
}

fn push_two_digits(value: u32, out: &mut Vec<u8>) {
    debug_assert!(value < 100, "two digits");
    out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]);
}

/// A TIME in milliseconds of the day.
pub(crate) fn write_time_of_day(millis: i32, out: &mut Vec<u8>) {
    let millis = i64::from(millis).rem_euclid(SECONDS_PER_DAY * 1000);
    write_time(millis / 1000, millis % 1000 * 1_000_000, out);
}

pub(crate) fn write_timestamp(value: i64, unit: TimeUnit, standard: TimestampStandard, local: bool, out: &mut Vec<u8>) {
    let per_second = per_second(unit);
    let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(match standard {
        TimestampStandard::Sql => b' ',
        TimestampStandard::Iso8601 => b'T',
    });
    write_time(seconds.rem_euclid(SECONDS_PER_DAY), fraction * (NANOS_PER_SECOND / per_second), out);
    if local {
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, NaiveDate};

    #[test]
    fn days_agree_with_chrono() {
        let mut text = Vec::new();
        for days in (-719_528..2_932_896).step_by(13) {
            let date = NaiveDate::from_num_days_from_ce_opt(days + 719_163).expect("in range");
            text.clear();
            write_date(i64::from(days), &mut text);
            assert_eq!(text, format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()).into_bytes());
            assert_eq!(parse_date(&text), Some(days));
        }
    }

    #[test]
    fn impossible_dates_and_times_are_refused() {
        for text in ["2023-02-29", "1900-02-29", "2024-13-01", "2024-00-01", "2024-01-00", "2024-1-1", "24-01-01", ""] {
            assert_eq!(parse_date(text.as_bytes()), None, "{text}");
        }
        for text in ["24:00:00", "00:60:00", "00:00:60", "0:00:00", "00:00", "00:00:00.1234567890", "00:00:00x"] {
            assert_eq!(parse_time(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_date(b"2000-02-29"), Some(11_016));
    }

    #[test]
    fn timestamps_in_both_standards() {
        use TimestampFlaw::{Malformed, OutOfRange};
        use TimestampStandard::{Iso8601, Sql};
        let cases = [
            ("1970-01-01 00:00:00", Sql, false, TimeUnit::Millisecond, Ok(0)),
            ("1970-01-01 00:00:01.5", Sql, false, TimeUnit::Millisecond, Ok(1500)),
            ("1969-12-31 23:59:59.999999", Sql, false, TimeUnit::Microsecond, Ok(-1)),
            ("1969-12-31 23:59:59.9999", Sql, false, TimeUnit::Millisecond, Ok(-1)),
            ("1970-01-01T00:00:00", Sql, false, TimeUnit::Millisecond, Err(Malformed)),
            ("1970-01-01 00:00:00", Iso8601, false, TimeUnit::Millisecond, Err(Malformed)),
            ("1970-01-01T00:01", Iso8601, false, TimeUnit::Millisecond, Ok(60_000)),
            ("1970-01-01 00:00:00Z", Sql, true, TimeUnit::Millisecond, Ok(0)),
            ("1970-01-01 00:00:00", Sql, true, TimeUnit::Millisecond, Err(Malformed)),
            ("1970-01-01 00:00:00Z", Sql, false, TimeUnit::Millisecond, Err(Malformed)),
            ("2300-01-01 00:00:00", Sql, false, TimeUnit::Nanosecond, Err(OutOfRange)),
        ];
        for (text, standard, local, unit, expected) in cases {
            let found = parse_timestamp(text.as_bytes(), standard, local, unit, &mut DayCache::default());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for value in [0, 1, -1, 1_704_067_199_999, -62_167_219_200_000, 253_402_300_799_999] {
            for (standard, local) in [(TimestampStandard::Sql, true), (TimestampStandard::Iso8601, false)] {
                let mut text = Vec::new();
                write_timestamp(value, TimeUnit::Millisecond, standard, local, &mut text);
                let mut cache = DayCache::default();
                let read = parse_timestamp(&text, standard, local, TimeUnit::Millisecond, &mut cache);
                assert_eq!(read, Ok(value), "{}", String::from_utf8_lossy(&text));
            }
        }
    }
}
