//! Which of PostgreSQL's types fit which of a table's, and how their values become columns.
//!
//! Values come in binary form where that is simple, and as text for what has no simple one (NUMERIC, JSON, UUID, ...).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, StringArray, Time32MillisecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use tidemill_engine::type_name::sql_type_name;

use super::wire::Cursor;

mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const JSON: u32 = 114;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const NUMERIC: u32 = 1700;
    pub const UUID: u32 = 2950;
    pub const JSONB: u32 = 3802;
}

/// PostgreSQL's types that mean numbers, times and the like: they are no texts, though they can be written as such.
const NO_TEXTS: [u32; 12] = [
    oid::BOOL,
    oid::BYTEA,
    oid::INT8,
    oid::INT2,
    oid::INT4,
    oid::FLOAT4,
    oid::FLOAT8,
    oid::DATE,
    oid::TIME,
    oid::TIMESTAMP,
    oid::TIMESTAMPTZ,
    oid::NUMERIC,
];

/// Types of arrays with the types of their elements.
const ARRAYS: [(u32, u32); 19] = [
    (1000, oid::BOOL),
    (1001, oid::BYTEA),
    (1003, oid::NAME),
    (1005, oid::INT2),
    (1007, oid::INT4),
    (1009, oid::TEXT),
    (1014, oid::BPCHAR),
    (1015, oid::VARCHAR),
    (1016, oid::INT8),
    (1021, oid::FLOAT4),
    (1022, oid::FLOAT8),
    (1115, oid::TIMESTAMP),
    (1182, oid::DATE),
    (1183, oid::TIME),
    (1185, oid::TIMESTAMPTZ),
    (1231, oid::NUMERIC),
    (199, oid::JSON),
    (2951, oid::UUID),
    (3807, oid::JSONB),
];

/// How a column is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// What stands behind SELECT.
    pub expression: String,
    /// 0 for text, 1 for binary.
    pub format: i16,
}

/// How to ask for `column`, an SQL expression of PostgreSQL's type `found`, as a value of `wanted`; `None`: it does not fit.
pub fn fetch(column: &str, wanted: &DataType, found: u32) -> Option<Fetch> {
    let cast = match wanted {
        DataType::List(item) => {
            let (_, element) = ARRAYS.iter().find(|(array, _)| *array == found)?;
            cast_of(item.data_type(), *element)?.map(|cast| format!("{cast}[]"))
        }
        wanted => cast_of(wanted, found)?.map(str::to_string),
    };
    let expression = cast.map_or_else(|| column.to_string(), |cast| format!("{column}::{cast}"));
    Some(Fetch { expression, format: 1 })
}

/// What a value is cast to, so that its bytes are as [`decode`] reads them; `None` inside: nothing.
fn cast_of(wanted: &DataType, found: u32) -> Option<Option<&'static str>> {
    let plain = |fits: bool| fits.then_some(None);
    match wanted {
        DataType::Boolean => plain(found == oid::BOOL),
        DataType::Int8 | DataType::Int16 => plain(found == oid::INT2),
        DataType::Int32 => plain([oid::INT2, oid::INT4].contains(&found)),
        DataType::Int64 => plain([oid::INT2, oid::INT4, oid::INT8].contains(&found)),
        DataType::Float32 => plain(found == oid::FLOAT4),
        DataType::Float64 => plain([oid::FLOAT4, oid::FLOAT8].contains(&found)),
        DataType::Decimal128(_, _) => {
            [oid::INT2, oid::INT4, oid::INT8, oid::NUMERIC].contains(&found).then_some(Some("text"))
        }
        DataType::Utf8 if [oid::TEXT, oid::VARCHAR, oid::BPCHAR, oid::NAME].contains(&found) => plain(true),
        DataType::Utf8 => (!NO_TEXTS.contains(&found) && !is_array(found)).then_some(Some("text")),
        DataType::Binary => plain(found == oid::BYTEA),
        DataType::Date32 => plain(found == oid::DATE),
        DataType::Time32(TimeUnit::Millisecond) => plain(found == oid::TIME),
        DataType::Timestamp(_, None) => plain(found == oid::TIMESTAMP),
        DataType::Timestamp(_, Some(_)) => plain(found == oid::TIMESTAMPTZ),
        _ => None,
    }
}

fn is_array(found: u32) -> bool {
    ARRAYS.iter().any(|(array, _)| *array == found)
}

/// How a column is compared with keys that come as texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCast {
    /// What the text is cast to.
    pub key: &'static str,
    /// What the column is cast to: no index helps then.
    pub column: Option<&'static str>,
    /// Texts that are no UUID equal nothing, and cannot be cast.
    pub is_uuid: bool,
}

/// `None` where values of these types cannot be equal.
pub fn key_cast(key: &DataType, found: u32) -> Option<KeyCast> {
    let plain = |fits: bool, key| fits.then_some(KeyCast { key, column: None, is_uuid: false });
    let whole = [oid::INT2, oid::INT4, oid::INT8];
    match key {
        DataType::Boolean => plain(found == oid::BOOL, "boolean"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 if found == oid::NUMERIC => {
            plain(true, "numeric")
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => plain(whole.contains(&found), "int8"),
        DataType::Float32 => plain(found == oid::FLOAT4, "float4"),
        DataType::Float64 => plain([oid::FLOAT4, oid::FLOAT8].contains(&found), "float8"),
        DataType::Decimal128(_, _) => plain(found == oid::NUMERIC || whole.contains(&found), "numeric"),
        DataType::Utf8 => match found {
            oid::BPCHAR => plain(true, "bpchar"),
            oid::TEXT | oid::VARCHAR | oid::NAME => plain(true, "text"),
            oid::UUID => Some(KeyCast { key: "uuid", column: None, is_uuid: true }),
            other if NO_TEXTS.contains(&other) || is_array(other) => None,
            _ => Some(KeyCast { key: "text", column: Some("text"), is_uuid: false }),
        },
        DataType::Binary => plain(found == oid::BYTEA, "bytea"),
        DataType::Date32 => plain(found == oid::DATE, "date"),
        DataType::Time32(TimeUnit::Millisecond) => plain(found == oid::TIME, "time"),
        DataType::Timestamp(_, None) => plain(found == oid::TIMESTAMP, "timestamp"),
        DataType::Timestamp(_, Some(_)) => plain(found == oid::TIMESTAMPTZ, "timestamptz"),
        _ => None,
    }
}

/// The column types of a table that have some counterpart.
pub fn is_mapped(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => !matches!(item.data_type(), DataType::List(_)) && is_mapped(item.data_type()),
        DataType::Boolean | DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => true,
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(_, _) | DataType::Utf8 | DataType::Binary => true,
        DataType::Date32 | DataType::Time32(TimeUnit::Millisecond) | DataType::Timestamp(_, _) => true,
        _ => false,
    }
}

type Cells<'a> = [Option<&'a [u8]>];

/// Values as the server sends them as a column; errors name the value that does not fit.
pub fn decode(data_type: &DataType, cells: &Cells<'_>) -> Result<ArrayRef, String> {
    let not = |what: &str| format!("a value is no {what}");
    Ok(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(each(cells, |cell| match cell {
            [value] => Ok(*value != 0),
            _ => Err(not("BOOLEAN")),
        })?)),
        DataType::Int8 => Arc::new(Int8Array::from(each(cells, |cell| narrow(whole(cell)?, data_type))?)),
        DataType::Int16 => Arc::new(Int16Array::from(each(cells, |cell| narrow(whole(cell)?, data_type))?)),
        DataType::Int32 => Arc::new(Int32Array::from(each(cells, |cell| narrow(whole(cell)?, data_type))?)),
        DataType::Int64 => Arc::new(Int64Array::from(each(cells, whole)?)),
        DataType::Float32 => Arc::new(Float32Array::from(each(cells, |cell| {
            cell.try_into().map(f32::from_be_bytes).map_err(|_| not("FLOAT"))
        })?)),
        DataType::Float64 => Arc::new(Float64Array::from(each(cells, double)?)),
        DataType::Decimal128(precision, scale) => {
            let values = each(cells, |cell| decimal(cell, *precision, *scale))?;
            let array = Decimal128Array::from(values).with_precision_and_scale(*precision, *scale);
            Arc::new(array.map_err(|error| error.to_string())?)
        }
        DataType::Utf8 => {
            Arc::new(StringArray::from(each(cells, |cell| std::str::from_utf8(cell).map_err(|_| not("text")))?))
        }
        DataType::Binary => Arc::new(BinaryArray::from(cells.to_vec())),
        DataType::Date32 => Arc::new(Date32Array::from(each(cells, date)?)),
        DataType::Time32(TimeUnit::Millisecond) => {
            Arc::new(Time32MillisecondArray::from(each(cells, |cell| narrow(whole(cell)? / 1_000, data_type))?))
        }
        DataType::Timestamp(unit, _) => {
            let values = Int64Array::from(each(cells, |cell| timestamp(whole(cell)?, *unit))?);
            cast(&values, data_type).map_err(|error| error.to_string())?
        }
        DataType::List(item) => list(item, cells)?,
        other => return Err(format!("{} is read from no PostgreSQL type", sql_type_name(other))),
    })
}

fn each<'a, T>(cells: &Cells<'a>, read: impl Fn(&'a [u8]) -> Result<T, String>) -> Result<Vec<Option<T>>, String> {
    cells.iter().map(|cell| cell.map(&read).transpose()).collect()
}

/// A whole number of two, four or eight bytes.
fn whole(cell: &[u8]) -> Result<i64, String> {
    match cell.len() {
        2 => cell.try_into().map(|bytes| i16::from_be_bytes(bytes).into()),
        4 => cell.try_into().map(|bytes| i32::from_be_bytes(bytes).into()),
        _ => cell.try_into().map(i64::from_be_bytes),
    }
    .map_err(|_| "a value is no whole number".to_string())
}

fn narrow<T: TryFrom<i64>>(value: i64, data_type: &DataType) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("{value} does not fit {}", sql_type_name(data_type)))
}

fn double(cell: &[u8]) -> Result<f64, String> {
    let wrong = |_| "a value is no DOUBLE".to_string();
    match cell.len() {
        4 => cell.try_into().map(f32::from_be_bytes).map(f64::from).map_err(wrong),
        _ => cell.try_into().map(f64::from_be_bytes).map_err(wrong),
    }
}

/// From 1970-01-01 to 2000-01-01, where PostgreSQL's times begin.
const DAYS_TO_2000: i64 = 10_957;
const MICROS_TO_2000: i64 = DAYS_TO_2000 * 86_400_000_000;

fn date(cell: &[u8]) -> Result<i32, String> {
    let days = whole(cell)?;
    if days == i64::from(i32::MAX) || days == i64::from(i32::MIN) {
        return Err("an infinite date has no counterpart".into());
    }
    narrow(days + DAYS_TO_2000, &DataType::Date32)
}

fn timestamp(micros: i64, unit: TimeUnit) -> Result<i64, String> {
    if micros == i64::MAX || micros == i64::MIN {
        return Err("an infinite timestamp has no counterpart".into());
    }
    let far = || "a timestamp is too far from now".to_string();
    let micros = micros.checked_add(MICROS_TO_2000).ok_or_else(far)?;
    match unit {
        TimeUnit::Second => Ok(micros.div_euclid(1_000_000)),
        TimeUnit::Millisecond => Ok(micros.div_euclid(1_000)),
        TimeUnit::Microsecond => Ok(micros),
        TimeUnit::Nanosecond => micros.checked_mul(1_000).ok_or_else(far),
    }
}

/// `-12.345`; further digits than the scale has are rounded, half away from zero.
fn decimal(cell: &[u8], precision: u8, scale: i8) -> Result<i128, String> {
    let text = std::str::from_utf8(cell).map_err(|_| "a NUMERIC is no text".to_string())?;
    let unfit = || format!("{text} does not fit DECIMAL({precision}, {scale})");
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = !before.is_empty() && before.bytes().chain(after.bytes()).all(|byte| byte.is_ascii_digit());
    let scale = usize::try_from(scale).ok().filter(|_| is_number).ok_or_else(unfit)?;
    let kept = after.get(..scale).unwrap_or(after);
    let padded = format!("{before}{kept:0<scale$}");
    let mut value: i128 = padded.parse().map_err(|_| unfit())?;
    value += i128::from(after.as_bytes().get(scale).is_some_and(|digit| *digit >= b'5'));
    if value >= 10i128.checked_pow(precision.into()).unwrap_or(i128::MAX) {
        return Err(unfit());
    }
    Ok(if negative { -value } else { value })
}

/// Arrays in binary form: dimensions, whether there are NULLs, the type, per dimension length and first index, elements.
fn list(item: &FieldRef, cells: &Cells<'_>) -> Result<ArrayRef, String> {
    let (mut elements, mut lengths) = (Vec::new(), Vec::new());
    for cell in cells {
        let before = elements.len();
        if let Some(cell) = cell {
            array_elements(&mut Cursor(cell), &mut elements)?;
        }
        lengths.push(elements.len() - before);
    }
    let valid = NullBuffer::from(cells.iter().map(Option::is_some).collect::<Vec<_>>());
    let values = decode(item.data_type(), &elements)?;
    let list = ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), values, Some(valid));
    Ok(Arc::new(list.map_err(|error| error.to_string())?))
}

fn array_elements<'a>(cell: &mut Cursor<'a>, elements: &mut Vec<Option<&'a [u8]>>) -> Result<(), String> {
    let short = || "an array is too short".to_string();
    let dimensions = cell.i32().ok_or_else(short)?;
    cell.bytes(8).ok_or_else(short)?;
    match dimensions {
        0 => return Ok(()),
        1 => {}
        _ => return Err("an array has several dimensions".into()),
    }
    let count = cell.i32().ok_or_else(short)?;
    cell.bytes(4).ok_or_else(short)?;
    for _ in 0..count {
        let length = cell.i32().ok_or_else(short)?;
        let element = usize::try_from(length).ok().map(|length| cell.bytes(length).ok_or_else(short));
        elements.push(element.transpose()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn decimals_are_rounded_and_must_fit() {
        let read = |text: &str| decimal(text.as_bytes(), 5, 2);
        assert_eq!(read("1"), Ok(100));
        assert_eq!(read("-1.005"), Ok(-101));
        assert_eq!(read("999.994"), Ok(99_999));
        assert_eq!(read("0.004"), Ok(0));
        for unfit in ["999.995", "1000", "NaN", "Infinity", "", "-", "1e5"] {
            assert_eq!(read(unfit), Err(format!("{unfit} does not fit DECIMAL(5, 2)")));
        }
    }

    #[test]
    fn times_begin_in_2000() {
        assert_eq!(date(&0i32.to_be_bytes()), Ok(10_957));
        assert_eq!(timestamp(-1, TimeUnit::Millisecond), Ok(946_684_799_999));
        assert_eq!(timestamp(1, TimeUnit::Nanosecond), Ok(946_684_800_000_001_000));
        assert!(timestamp(i64::MAX, TimeUnit::Second).is_err() && date(&i32::MIN.to_be_bytes()).is_err());
    }

    #[test]
    fn types_fit_or_do_not() {
        let cast = |wanted: DataType, found| fetch("t.x", &wanted, found).map(|fetch| fetch.expression);
        assert_eq!(cast(DataType::Int64, oid::INT4).as_deref(), Some("t.x"));
        assert_eq!(cast(DataType::Int32, oid::INT8), None);
        assert_eq!(cast(DataType::Utf8, oid::INT4), None);
        assert_eq!(cast(DataType::Utf8, oid::JSONB).as_deref(), Some("t.x::text"));
        assert_eq!(cast(DataType::Decimal128(10, 2), oid::NUMERIC).as_deref(), Some("t.x::text"));
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        assert_eq!(cast(list(DataType::Utf8), 2951).as_deref(), Some("t.x::text[]"));
        assert_eq!(cast(list(DataType::Int32), 1007).as_deref(), Some("t.x"));
        assert_eq!(cast(list(DataType::Int32), oid::INT4), None);
        assert_eq!(cast(DataType::Timestamp(TimeUnit::Millisecond, None), oid::TIMESTAMPTZ), None);
    }
}
