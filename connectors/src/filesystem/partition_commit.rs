//! Decides when a partition is complete, so that its marker may be written: by the machine's clock, by event time, or
//! only at the end of the input. Pure.

use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_engine::sink::Committable;
use tidemill_engine::time::{EventTime, ProcessingTime};

use super::partition;

/// When partitions are complete.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionCommit {
    pub trigger: Trigger,
    pub delay: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// When a bounded input has been read to its end.
    AtEnd,
    /// So long after the first row of the partition became visible.
    ProcessTime,
    /// When the watermark has passed the partition's own time by the delay.
    PartitionTime(TimeExtractor),
}

/// How a partition's values tell its time.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeExtractor {
    /// Such as `$day $hour:00:00`; `None`: the first key's value.
    pub pattern: Option<String>,
    /// In which the partition's time is meant.
    pub zone: Tz,
}

/// Where a writer stood at a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub now_ms: i64,
    pub watermark_ms: i64,
}

const MOMENT_KEY: &str = "moment";

impl Moment {
    pub fn new(now: ProcessingTime, watermark: EventTime) -> Self {
        Self { now_ms: now.0, watermark_ms: watermark.0 }
    }

    pub fn committable(self) -> Committable {
        Committable(json!({ MOMENT_KEY: self }))
    }

    /// `None`: the committable is something else.
    pub fn of(committable: &Committable) -> Option<Self> {
        Self::deserialize(committable.0.get(MOMENT_KEY)?).ok()
    }

    /// What is known when several writers have said where they stand.
    pub fn together(self, other: Self) -> Self {
        Self { now_ms: self.now_ms.max(other.now_ms), watermark_ms: self.watermark_ms.min(other.watermark_ms) }
    }
}

impl PartitionCommit {
    /// Writers must say where they stand at each barrier.
    pub fn needs_moments(&self) -> bool {
        self.trigger != Trigger::AtEnd
    }

    /// `folder`: below the table's path; `visible_since_ms`: when its first rows became visible.
    pub fn is_complete(&self, folder: &str, visible_since_ms: i64, moment: Moment) -> bool {
        let delay_ms = i64::try_from(self.delay.as_millis()).unwrap_or(i64::MAX);
        match &self.trigger {
            Trigger::AtEnd => false,
            Trigger::ProcessTime => delay_ms == 0 || moment.now_ms > visible_since_ms.saturating_add(delay_ms),
            Trigger::PartitionTime(extractor) => {
                let time = extractor.time_ms(folder);
                time.is_ok_and(|time| moment.watermark_ms > time.saturating_add(delay_ms))
            }
        }
    }

    /// Why a partition has no time, where it needs one.
    pub fn check(&self, folder: &str) -> Result<(), String> {
        match &self.trigger {
            Trigger::PartitionTime(extractor) => extractor.time_ms(folder).map(drop),
            _ => Ok(()),
        }
    }
}

impl TimeExtractor {
    /// The instant for which a partition stands, in epoch milliseconds; the error is the text that is no time.
    fn time_ms(&self, folder: &str) -> Result<i64, String> {
        let text = self.text(&partition::folder_values(folder));
        let local = parse(&text).ok_or_else(|| text.clone())?;
        // A local time that a clock change left out is taken an hour later, where there is one.
        let instant = |local: NaiveDateTime| self.zone.from_local_datetime(&local).earliest();
        let time = instant(local).or_else(|| instant(local + TimeDelta::hours(1))).ok_or(text)?;
        Ok(time.timestamp_millis())
    }

    fn text(&self, values: &[(String, String)]) -> String {
        let Some(pattern) = &self.pattern else {
            return values.first().map(|(_, value)| value.clone()).unwrap_or_default();
        };
        // Long names first: `$hour` is not `$h` with letters behind it.
        let mut values: Vec<_> = values.iter().collect();
        values.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
        values.iter().fold(pattern.clone(), |text, (key, value)| text.replace(&format!("${key}"), value))
    }
}

/// `2024-01-31 07:05:00` or `2024-01-31`; digits may be missing as in `7:5:0`.
fn parse(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim();
    let whole = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok();
    whole.or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn by_time(pattern: Option<&str>, zone: Tz, delay: Duration) -> PartitionCommit {
        let extractor = TimeExtractor { pattern: pattern.map(str::to_string), zone };
        PartitionCommit { trigger: Trigger::PartitionTime(extractor), delay }
    }

    fn at(now_ms: i64, watermark_ms: i64) -> Moment {
        Moment { now_ms, watermark_ms }
    }

    #[test]
    fn the_watermark_passes_the_partition_and_its_delay() {
        let commit = by_time(Some("$day $hour:00:00"), Tz::UTC, Duration::from_secs(3600));
        let folder = "day=1970-01-01/hour=2";
        for (watermark, complete) in [(0, false), (3 * HOUR_MS, false), (3 * HOUR_MS + 1, true)] {
            assert_eq!(commit.is_complete(folder, 0, at(i64::MAX, watermark)), complete, "{watermark}");
        }
        let plain = by_time(None, Tz::UTC, Duration::ZERO);
        assert!(plain.is_complete("day=1970-01-02", 0, at(0, 24 * HOUR_MS + 1)));
        assert!(!plain.is_complete("day=1970-01-02", 0, at(0, 24 * HOUR_MS)));
        let zoned = by_time(Some("$day $hour:00:00"), Tz::Europe__Berlin, Duration::ZERO);
        assert!(zoned.is_complete(folder, 0, at(0, HOUR_MS + 1)), "two o'clock in Berlin is one in UTC");
    }

    #[test]
    fn the_clock_counts_from_the_first_visible_row() {
        let commit = PartitionCommit { trigger: Trigger::ProcessTime, delay: Duration::from_secs(10) };
        assert!(!commit.is_complete("k=1", 5_000, at(15_000, i64::MAX)));
        assert!(commit.is_complete("k=1", 5_000, at(15_001, i64::MIN)));
        let at_once = PartitionCommit { delay: Duration::ZERO, ..commit };
        assert!(at_once.is_complete("k=1", 5_000, at(5_000, i64::MIN)));
    }

    #[test]
    fn a_partition_without_a_time_is_named() {
        let commit = by_time(Some("$d $h:00:00"), Tz::UTC, Duration::ZERO);
        assert_eq!(commit.check("d=2024-01-01/h=x"), Err("2024-01-01 x:00:00".to_string()));
        assert_eq!(commit.check("d=2024-01-01/h=7"), Ok(()));
        assert!(!commit.is_complete("d=never/h=7", 0, at(i64::MAX, i64::MAX)));
        let long_names_first = by_time(Some("$day $d:00:00"), Tz::UTC, Duration::ZERO);
        assert_eq!(long_names_first.check("d=7/day=2024-01-01"), Ok(()));
    }

    #[test]
    fn writers_together_are_as_far_as_the_slowest() {
        let moment = at(5, 100).together(at(7, 90));
        assert_eq!(Moment::of(&moment.committable()), Some(at(7, 90)));
        assert_eq!(Moment::of(&Committable(json!({"folder": ""}))), None);
    }
}
