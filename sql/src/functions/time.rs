//! Functions of dates and times. TIMESTAMP_LTZ values are read in the session's time zone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, Time32MillisecondArray, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use datafusion_common::Result;

use super::call::{Call, failure};
use super::definition::{Arg::*, Category, FunctionDef, Returns};
use super::pattern::{Pattern, parse_sql};
use super::time_units::Unit;

const TIME: Category = Category::Time;
const SAME_AS_TIME: Returns = Returns::Computed(|types, _, _| Ok(types[1].clone()));

pub(super) const FUNCTIONS: &[FunctionDef] = &[
    FunctionDef::new("to_timestamp", TIME, &[Text, Text], Returns::Timestamp, to_timestamp).optional_after(1).doc(
        "TO_TIMESTAMP(text [, pattern])",
        "TIMESTAMP(3) from text, `yyyy-MM-dd HH:mm:ss` unless said otherwise; NULL when it does not match.",
    ),
    FunctionDef::new("to_timestamp_ltz", TIME, &[Any, Any, Text], Returns::TimestampLtz, to_timestamp_ltz)
        .optional_after(1)
        .doc(
            "TO_TIMESTAMP_LTZ(n [, precision]) or (text [, pattern [, zone]])",
            "TIMESTAMP_LTZ(3) from epoch seconds (precision 0) or milliseconds (3), or from text.",
        ),
    FunctionDef::new("to_date", TIME, &[Text, Text], Returns::Date, to_date).optional_after(1).doc(
        "TO_DATE(text [, pattern])",
        "A date from text, `yyyy-MM-dd` unless said otherwise; NULL when it does not match.",
    ),
    FunctionDef::new("date_format", TIME, &[Time, Text], Returns::Text, date_format)
        .doc("DATE_FORMAT(time, pattern)", "Text after a pattern such as 'yyyy-MM-dd HH:mm'."),
    FunctionDef::new("extract", TIME, &[Text, Time], Returns::BigInt, extract).doc(
        "EXTRACT(unit FROM time)",
        "A field of a time: YEAR, QUARTER, MONTH, WEEK, DAY, DOW, DOY, HOUR, MINUTE, SECOND, EPOCH, ...",
    ),
    FunctionDef::new("floor_to", TIME, &[Text, Time], SAME_AS_TIME, |call| round(call, Unit::floor))
        .doc("FLOOR(time TO unit)", "The start of the unit that holds the time."),
    FunctionDef::new("ceil_to", TIME, &[Text, Time], SAME_AS_TIME, |call| round(call, Unit::ceil))
        .doc("CEIL(time TO unit)", "The end of the unit that holds the time."),
    FunctionDef::new(
        "timestampadd",
        TIME,
        &[Text, Integer, Time],
        Returns::Computed(|types, _, _| Ok(types[2].clone())),
        timestamp_add,
    )
    .doc("TIMESTAMPADD(unit, n, time)", "n units later."),
    FunctionDef::new("timestampdiff", TIME, &[Text, Time, Time], Returns::Int, timestamp_diff)
        .doc("TIMESTAMPDIFF(unit, from, to)", "Whole units from one time to another, toward zero."),
    FunctionDef::new("unix_timestamp", TIME, &[Text, Text], Returns::BigInt, unix_timestamp)
        .optional_after(0)
        .volatile()
        .doc("UNIX_TIMESTAMP([text [, pattern]])", "Epoch seconds of now, or of text in the session's zone."),
    FunctionDef::new("from_unixtime", TIME, &[Integer, Text], Returns::Text, from_unixtime)
        .optional_after(1)
        .doc("FROM_UNIXTIME(seconds [, pattern])", "Text of epoch seconds in the session's zone."),
    FunctionDef::new("convert_tz", TIME, &[Text, Text, Text], Returns::Text, convert_tz)
        .doc("CONVERT_TZ(text, from zone, to zone)", "`yyyy-MM-dd HH:mm:ss` in another zone."),
    FunctionDef::new("now", TIME, &[], Returns::TimestampLtz, now)
        .alias(&["current_timestamp", "current_row_timestamp"])
        .volatile()
        .doc("CURRENT_TIMESTAMP, NOW(), CURRENT_ROW_TIMESTAMP()", "The wall clock when the row is computed."),
    FunctionDef::new("localtimestamp", TIME, &[], Returns::Timestamp, now)
        .volatile()
        .doc("LOCALTIMESTAMP", "The wall clock in the session's zone."),
    FunctionDef::new("current_date", TIME, &[], Returns::Date, |call| {
        Ok(Arc::new(Date32Array::from(vec![days(local_now(call).date()); call.rows])))
    })
    .volatile()
    .doc("CURRENT_DATE", "Today in the session's zone."),
    FunctionDef::new("current_time", TIME, &[], Returns::Time, current_time)
        .alias(&["localtime"])
        .volatile()
        .doc("CURRENT_TIME, LOCALTIME", "The time of day in the session's zone."),
    FunctionDef::new("year", TIME, &[Time], Returns::BigInt, |call| field(call, Unit::Year))
        .doc("YEAR(time)", "The year."),
    FunctionDef::new("quarter", TIME, &[Time], Returns::BigInt, |call| field(call, Unit::Quarter))
        .doc("QUARTER(time)", "1 to 4."),
    FunctionDef::new("month", TIME, &[Time], Returns::BigInt, |call| field(call, Unit::Month))
        .doc("MONTH(time)", "1 to 12."),
    FunctionDef::new("week", TIME, &[Time], Returns::BigInt, |call| field(call, Unit::Week))
        .doc("WEEK(time)", "The ISO week, 1 to 53."),
    FunctionDef::new("dayofyear", TIME, &[Time], Returns::BigInt, |call| field(call, Unit::DayOfYear))
        .doc("DAYOFYEAR(time)", "1 to 366."),
    FunctionDef::new("dayofmonth", TIME, &[Time], Returns::BigInt, |call| field(call, Unit::Day))
        .doc("DAYOFMONTH(time)", "1 to 31."),
    FunctionDef::new("dayofweek", TIME, &[Time], Returns::BigInt, |call| field(call, Unit::DayOfWeek))
        .doc("DAYOFWEEK(time)", "1 (Sunday) to 7."),
    FunctionDef::new("hour", TIME, &[Time], Returns::BigInt, |call| field(call, Unit::Hour))
        .doc("HOUR(time)", "0 to 23."),
    FunctionDef::new("minute", TIME, &[Time], Returns::BigInt, |call| field(call, Unit::Minute))
        .doc("MINUTE(time)", "0 to 59."),
    FunctionDef::new("second", TIME, &[Time], Returns::BigInt, |call| field(call, Unit::Second))
        .doc("SECOND(time)", "0 to 59."),
];

fn local_of(zone: Tz, instant: DateTime<Utc>) -> NaiveDateTime {
    zone.from_utc_datetime(&instant.naive_utc()).naive_local()
}

/// The instant of a local time: the earlier of two, and for a time that the clock skips, the moment it jumps over it.
pub(super) fn instant_of(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time.with_timezone(&Utc),
        LocalResult::None => {
            let before = zone.offset_from_utc_datetime(&(local - chrono::Duration::days(1)));
            (local - chrono::Offset::fix(&before)).and_utc()
        }
    }
}

/// The timestamps of an argument, as local times.
fn locals(call: &Call, index: usize) -> Result<impl Fn(usize) -> Option<NaiveDateTime>> {
    // A time of day is one of 1970-01-01.
    let of_day = match call.columns[index].data_type() {
        DataType::Time32(_) => Some(cast(&cast(&call.columns[index], &DataType::Int32)?, &DataType::Int64)?),
        _ => None,
    };
    let column = &match of_day {
        Some(millis) => cast(&millis, &DataType::Timestamp(TimeUnit::Millisecond, None))?,
        None => Arc::clone(&call.columns[index]),
    };
    let zone = match column.data_type() {
        DataType::Timestamp(_, Some(_)) => Some(call.zone),
        _ => None,
    };
    let is_nanos = matches!(column.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _));
    let target = DataType::Timestamp(if is_nanos { TimeUnit::Nanosecond } else { TimeUnit::Microsecond }, None);
    let plain = match zone {
        Some(_) => cast(column, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?,
        None => cast(column, &target)?,
    };
    let values = match is_nanos && zone.is_none() {
        true => None,
        false => Some(plain.as_primitive::<TimestampMicrosecondType>().clone()),
    };
    let nanos = values.is_none().then(|| plain.as_primitive::<arrow::datatypes::TimestampNanosecondType>().clone());
    Ok(move |row: usize| {
        let instant = match (&values, &nanos) {
            (Some(micros), _) => DateTime::from_timestamp_micros(micros.value(row))?,
            (None, Some(nanos)) => DateTime::from_timestamp_nanos(nanos.value(row)),
            (None, None) => return None,
        };
        Some(zone.map_or(instant.naive_utc(), |zone| local_of(zone, instant)))
    })
}

/// Local times as the call's result: a timestamp with or without zone, or a time of day.
fn timestamps(call: &Call, compute: impl Fn(usize) -> Result<Option<NaiveDateTime>>) -> Result<ArrayRef> {
    if matches!(call.returns, DataType::Time32(TimeUnit::Millisecond)) {
        let millis =
            |local: NaiveDateTime| (local.num_seconds_from_midnight() * 1000 + local.nanosecond() / 1_000_000) as i32;
        let times = (0..call.rows).map(|row| match call.any_null(row) {
            true => Ok(None),
            false => Ok(compute(row)?.map(millis)),
        });
        return Ok(Arc::new(Time32MillisecondArray::from(times.collect::<Result<Vec<_>>>()?)));
    }
    let DataType::Timestamp(unit, zone) = call.returns.clone() else { return Err(failure("not a timestamp")) };
    let instant = |local: NaiveDateTime| if zone.is_some() { instant_of(call.zone, local) } else { local.and_utc() };
    if unit == TimeUnit::Nanosecond {
        let nanos = (0..call.rows).map(|row| match call.any_null(row) {
            true => Ok(None),
            false => Ok(compute(row)?.and_then(|local| instant(local).timestamp_nanos_opt())),
        });
        let nanos: ArrayRef =
            Arc::new(TimestampNanosecondArray::from(nanos.collect::<Result<Vec<_>>>()?).with_timezone_opt(zone));
        return Ok(nanos);
    }
    let micros = (0..call.rows).map(|row| match call.any_null(row) {
        true => Ok(None),
        false => Ok(compute(row)?.map(|local| instant(local).timestamp_micros())),
    });
    let micros = micros.collect::<Result<Vec<_>>>()?;
    let typed: ArrayRef = Arc::new(arrow::array::TimestampMicrosecondArray::from(micros).with_timezone_opt(zone));
    Ok(cast(&typed, &call.returns)?)
}

/// The pattern of a row; patterns are mostly the same for all rows, so the last one is kept.
struct PatternCache(Option<(String, Pattern)>);

impl PatternCache {
    fn get(&mut self, text: &str) -> Result<&Pattern> {
        if self.0.as_ref().is_none_or(|(known, _)| known != text) {
            self.0 = Some((text.to_string(), Pattern::new(text).map_err(failure)?));
        }
        Ok(&self.0.as_ref().expect("just set").1)
    }
}

/// Text to a time, by the pattern at `pattern_index` if the call has one.
fn parse(call: &Call, row: usize, pattern_index: usize, cache: &mut PatternCache) -> Result<Option<NaiveDateTime>> {
    let text = call.text(0, row);
    match call.text_or_none(pattern_index, row) {
        Some(pattern) => Ok(cache.get(pattern)?.parse(text)),
        None => Ok(parse_sql(text)),
    }
}

fn to_timestamp(call: &Call) -> Result<ArrayRef> {
    let mut cache = PatternCache(None);
    call.to_timestamp(|row| Ok(parse(call, row, 1, &mut cache)?.map(|time| time.and_utc().timestamp_millis())))
}

fn to_timestamp_ltz(call: &Call) -> Result<ArrayRef> {
    if call.columns[0].data_type().is_numeric() {
        return from_number(call);
    }
    let texts = call.columns.iter().map(|column| Ok(cast(column, &DataType::Utf8)?)).collect::<Result<Vec<_>>>()?;
    let texts = Call { columns: texts, rows: call.rows, zone: call.zone, returns: call.returns.clone() };
    let mut cache = PatternCache(None);
    texts.to_timestamp(|row| {
        let zone = match texts.text_or_none(2, row) {
            Some(name) => zone_named(name)?,
            None => texts.zone,
        };
        Ok(parse(&texts, row, 1, &mut cache)?.map(|local| instant_of(zone, local).timestamp_millis()))
    })
}

fn from_number(call: &Call) -> Result<ArrayRef> {
    let columns = call.columns.iter().map(|column| Ok(cast(column, &DataType::Int64)?)).collect::<Result<Vec<_>>>()?;
    let numbers = Call { columns, rows: call.rows, zone: call.zone, returns: call.returns.clone() };
    numbers.to_timestamp(|row| match numbers.integer_or(1, row, 3) {
        0 => Ok(numbers.integer(0, row).checked_mul(1_000)),
        3 => Ok(Some(numbers.integer(0, row))),
        other => {
            Err(failure(format!("the precision of TO_TIMESTAMP_LTZ is 0 (seconds) or 3 (milliseconds), not {other}")))
        }
    })
}

fn zone_named(name: &str) -> Result<Tz> {
    name.parse()
        .map_err(|_| failure(format!("'{name}' is not a time zone; write a name such as 'Europe/Berlin' or 'UTC'")))
}

fn days(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default()).num_days() as i32
}

fn to_date(call: &Call) -> Result<ArrayRef> {
    let mut cache = PatternCache(None);
    let values = (0..call.rows).map(|row| match call.any_null(row) {
        true => Ok(None),
        false => Ok(parse(call, row, 1, &mut cache)?.map(|time| days(time.date()))),
    });
    Ok(Arc::new(Date32Array::from(values.collect::<Result<Vec<_>>>()?)))
}

fn date_format(call: &Call) -> Result<ArrayRef> {
    let local = locals(call, 0)?;
    let mut texts: Option<FormattedTimes> = None;
    call.to_text(|row| {
        let pattern = call.text(1, row);
        let texts = match &mut texts {
            Some(texts) if texts.pattern == pattern => texts,
            other => other.insert(FormattedTimes::new(pattern)?),
        };
        Ok(local(row).map(|time| texts.format(time)))
    })
}

/// Texts of times after one pattern. Times that follow each other are often of the same minute or day: then their text is
/// the one before.
struct FormattedTimes {
    pattern: String,
    fields: Pattern,
    period_seconds: Option<i64>,
    /// Number of the period with its text.
    last: Option<(i64, String)>,
}

impl FormattedTimes {
    fn new(pattern: &str) -> Result<Self> {
        let fields = Pattern::new(pattern).map_err(failure)?;
        Ok(Self { pattern: pattern.to_string(), period_seconds: fields.period_seconds(), fields, last: None })
    }

    fn format(&mut self, time: NaiveDateTime) -> String {
        let Some(period) = self.period_seconds else { return self.fields.format(time) };
        let number = time.and_utc().timestamp().div_euclid(period);
        match &self.last {
            Some((last, text)) if *last == number => text.clone(),
            _ => self.last.insert((number, self.fields.format(time))).1.clone(),
        }
    }
}

fn unit_of(call: &Call, row: usize) -> Result<Unit> {
    let name = call.text(0, row);
    Unit::named(name).ok_or_else(|| failure(format!("{name} is not a unit of time")))
}

fn extract(call: &Call) -> Result<ArrayRef> {
    let local = locals(call, 1)?;
    let zoned = matches!(call.columns[1].data_type(), DataType::Timestamp(_, Some(_)));
    call.to_bigint(|row| {
        let unit = unit_of(call, row)?;
        Ok(local(row).map(|time| match (unit, zoned) {
            (Unit::Epoch, true) => instant_of(call.zone, time).timestamp(),
            _ => unit.field(time),
        }))
    })
}

fn field(call: &Call, unit: Unit) -> Result<ArrayRef> {
    let local = locals(call, 0)?;
    call.to_bigint(|row| Ok(local(row).map(|time| unit.field(time))))
}

fn round(call: &Call, rounding: fn(Unit, NaiveDateTime) -> Option<NaiveDateTime>) -> Result<ArrayRef> {
    let local = locals(call, 1)?;
    timestamps(call, |row| {
        let unit = unit_of(call, row)?;
        let Some(time) = local(row) else { return Ok(None) };
        rounding(unit, time)
            .map(Some)
            .ok_or_else(|| failure(format!("a time cannot be rounded to {}", call.text(0, row))))
    })
}

fn timestamp_add(call: &Call) -> Result<ArrayRef> {
    let local = locals(call, 2)?;
    timestamps(call, |row| {
        let unit = unit_of(call, row)?;
        let Some(time) = local(row) else { return Ok(None) };
        let moved = unit.add(time, call.integer(1, row));
        moved.map(Some).ok_or_else(|| failure(format!("TIMESTAMPADD leaves the calendar at {time}")))
    })
}

fn timestamp_diff(call: &Call) -> Result<ArrayRef> {
    let (from, to) = (locals(call, 1)?, locals(call, 2)?);
    call.to_int(|row| {
        let unit = unit_of(call, row)?;
        let Some((from, to)) = from(row).zip(to(row)) else { return Ok(None) };
        let units =
            unit.between(from, to).ok_or_else(|| failure(format!("{} is no length of time", call.text(0, row))))?;
        i32::try_from(units).map(Some).map_err(|_| failure(format!("{units} units are more than an INT holds")))
    })
}

fn unix_timestamp(call: &Call) -> Result<ArrayRef> {
    if call.count() == 0 {
        let seconds = instant_now().timestamp();
        return Ok(Arc::new(arrow::array::Int64Array::from(vec![seconds; call.rows])));
    }
    let mut cache = PatternCache(None);
    call.to_bigint(|row| {
        let time = parse(call, row, 1, &mut cache)?;
        // Flink answers with the smallest BIGINT where the text does not match.
        Ok(Some(time.map_or(i64::MIN, |local| instant_of(call.zone, local).timestamp())))
    })
}

const DEFAULT_PATTERN: &str = "yyyy-MM-dd HH:mm:ss";

fn from_unixtime(call: &Call) -> Result<ArrayRef> {
    let mut cache = PatternCache(None);
    call.to_text(|row| {
        let pattern = cache.get(call.text_or_none(1, row).unwrap_or(DEFAULT_PATTERN))?;
        let instant = DateTime::from_timestamp(call.integer(0, row), 0);
        Ok(instant.map(|instant| pattern.format(local_of(call.zone, instant))))
    })
}

fn convert_tz(call: &Call) -> Result<ArrayRef> {
    let pattern = Pattern::new(DEFAULT_PATTERN).map_err(failure)?;
    call.to_text(|row| {
        let (from, to) = (zone_named(call.text(1, row))?, zone_named(call.text(2, row))?);
        let local = parse_sql(call.text(0, row));
        Ok(local.map(|local| pattern.format(local_of(to, instant_of(from, local)))))
    })
}

/// The processing time that the engine gives.
fn instant_now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(tidemill_engine::time::processing_time().0).unwrap_or_default()
}

fn local_now(call: &Call) -> NaiveDateTime {
    local_of(call.zone, instant_now())
}

fn now(call: &Call) -> Result<ArrayRef> {
    let zoned = matches!(call.returns, DataType::Timestamp(_, Some(_)));
    let millis = if zoned { instant_now().timestamp_millis() } else { local_now(call).and_utc().timestamp_millis() };
    call.to_timestamp(|_| Ok(Some(millis)))
}

fn current_time(call: &Call) -> Result<ArrayRef> {
    let since_midnight = local_now(call).time().signed_duration_since(NaiveTime::MIN);
    let millis = since_midnight.num_milliseconds().min(86_399_999) as i32;
    Ok(Arc::new(Time32MillisecondArray::from(vec![millis; call.rows])))
}
