//! Flink's data types: their spelling, and the Arrow types that carry them.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};

/// Length that stands for STRING and BYTES, as in Flink (the largest INT).
pub const LENGTH_MAX: u32 = i32::MAX as u32;
/// Digits that Decimal128 can hold.
pub const DECIMAL_PRECISION_MAX: u8 = 38;
/// Digits of a fraction of a second: nanoseconds.
pub const SECOND_PRECISION_MAX: u8 = 9;
/// TIMESTAMP and TIMESTAMP_LTZ without a precision.
pub const TIMESTAMP_PRECISION: u8 = 6;

/// A data type as Flink writes it, with its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SqlType {
    pub kind: TypeKind,
    pub nullable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TypeKind {
    Boolean,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// CHAR(n): n characters.
    Char(u32),
    /// VARCHAR(n); [`LENGTH_MAX`] is STRING.
    Varchar(u32),
    /// BINARY(n): n bytes.
    Binary(u32),
    /// VARBINARY(n); [`LENGTH_MAX`] is BYTES.
    Varbinary(u32),
    Date,
    /// TIME(p), p digits of a fraction of a second; milliseconds are kept.
    Time(u8),
    /// TIMESTAMP(p): calendar time.
    Timestamp(u8),
    /// TIMESTAMP_LTZ(p): a point in time, shown in the session's time zone.
    TimestampLtz(u8),
    /// An interval of months; the text is the resolution as written (`YEAR TO MONTH`).
    IntervalMonths(String),
    /// An interval of milliseconds; the text is the resolution as written (`DAY TO SECOND(3)`).
    IntervalMillis(String),
    Array(Box<SqlType>),
    Map(Box<SqlType>, Box<SqlType>),
    Row(Vec<RowField>),
    /// The type of a bare NULL.
    Null,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowField {
    pub name: String,
    pub sql_type: SqlType,
    pub comment: Option<String>,
}

impl SqlType {
    pub fn nullable(kind: TypeKind) -> Self {
        Self { kind, nullable: true }
    }

    /// The Arrow type; `time_zone` is the session's IANA name, which TIMESTAMP_LTZ values carry.
    pub fn arrow(&self, time_zone: &str) -> DataType {
        match &self.kind {
            TypeKind::Boolean => DataType::Boolean,
            TypeKind::TinyInt => DataType::Int8,
            TypeKind::SmallInt => DataType::Int16,
            TypeKind::Int => DataType::Int32,
            TypeKind::BigInt => DataType::Int64,
            TypeKind::Float => DataType::Float32,
            TypeKind::Double => DataType::Float64,
            TypeKind::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
            TypeKind::Char(_) | TypeKind::Varchar(_) => DataType::Utf8,
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => DataType::Binary,
            TypeKind::Date => DataType::Date32,
            TypeKind::Time(_) => DataType::Time32(TimeUnit::Millisecond),
            TypeKind::Timestamp(precision) => DataType::Timestamp(time_unit(*precision), None),
            TypeKind::TimestampLtz(precision) => DataType::Timestamp(time_unit(*precision), Some(time_zone.into())),
            TypeKind::IntervalMonths(_) => DataType::Interval(IntervalUnit::YearMonth),
            TypeKind::IntervalMillis(_) => DataType::Duration(TimeUnit::Millisecond),
            TypeKind::Array(element) => DataType::List(element.arrow_field("item", time_zone)),
            TypeKind::Map(key, value) => map_type(key, value, time_zone),
            TypeKind::Row(fields) => {
                DataType::Struct(fields.iter().map(|f| f.sql_type.arrow_field(&f.name, time_zone)).collect())
            }
            TypeKind::Null => DataType::Null,
        }
    }

    fn arrow_field(&self, name: &str, time_zone: &str) -> Arc<Field> {
        Arc::new(Field::new(name, self.arrow(time_zone), self.nullable))
    }

    /// The Flink type that best describes an Arrow type.
    pub fn from_arrow(data_type: &DataType, nullable: bool) -> Self {
        Self { kind: kind_from_arrow(data_type), nullable }
    }

    /// Digits of a fraction of a second, of types that have any.
    pub fn second_digits(&self) -> Option<u8> {
        match self.kind {
            TypeKind::Timestamp(digits) | TypeKind::TimestampLtz(digits) | TypeKind::Time(digits) => Some(digits),
            _ => None,
        }
    }

    /// True for times of a precision that has no unit of its own, so that they must be cut to it.
    pub fn is_cut_short(&self) -> bool {
        match self.kind {
            TypeKind::Timestamp(digits) | TypeKind::TimestampLtz(digits) => !matches!(digits, 3 | 6 | 9),
            TypeKind::Time(digits) => digits < 3,
            _ => false,
        }
    }

    /// TIMESTAMP or TIMESTAMP_LTZ of at most millisecond precision: what may be a time attribute in Flink.
    pub fn can_be_time_attribute(&self) -> bool {
        matches!(self.kind, TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) if p <= 3)
    }
}

/// Precision 0 to 3 is kept as milliseconds, 4 to 6 as microseconds, 7 to 9 as nanoseconds.
pub fn time_unit(precision: u8) -> TimeUnit {
    match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

fn map_type(key: &SqlType, value: &SqlType, time_zone: &str) -> DataType {
    let key = Field::new("key", key.arrow(time_zone), false);
    let value = Field::new("value", value.arrow(time_zone), value.nullable);
    let entries = DataType::Struct(Fields::from(vec![key, value]));
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

fn kind_from_arrow(data_type: &DataType) -> TypeKind {
    match data_type {
        DataType::Null => TypeKind::Null,
        DataType::Boolean => TypeKind::Boolean,
        DataType::Int8 => TypeKind::TinyInt,
        DataType::Int16 | DataType::UInt8 => TypeKind::SmallInt,
        DataType::Int32 | DataType::UInt16 => TypeKind::Int,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => TypeKind::BigInt,
        DataType::Float16 | DataType::Float32 => TypeKind::Float,
        DataType::Float64 => TypeKind::Double,
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => TypeKind::Decimal { precision: *p, scale: (*s).max(0) as u8 },
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => TypeKind::Varchar(LENGTH_MAX),
        DataType::FixedSizeBinary(n) => TypeKind::Binary((*n).max(1) as u32),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => TypeKind::Varbinary(LENGTH_MAX),
        DataType::Date32 | DataType::Date64 => TypeKind::Date,
        DataType::Time32(unit) | DataType::Time64(unit) => TypeKind::Time(precision_of(*unit)),
        DataType::Timestamp(unit, None) => TypeKind::Timestamp(precision_of(*unit)),
        DataType::Timestamp(unit, Some(_)) => TypeKind::TimestampLtz(precision_of(*unit)),
        DataType::Interval(IntervalUnit::YearMonth) => TypeKind::IntervalMonths("YEAR TO MONTH".into()),
        DataType::Interval(_) | DataType::Duration(_) => TypeKind::IntervalMillis("DAY TO SECOND(3)".into()),
        nested => nested_from_arrow(nested),
    }
}

fn nested_from_arrow(data_type: &DataType) -> TypeKind {
    let from_field = |field: &Field| Box::new(SqlType::from_arrow(field.data_type(), field.is_nullable()));
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => TypeKind::Array(from_field(field)),
        DataType::Struct(fields) => TypeKind::Row(fields.iter().map(|field| row_field(field)).collect()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => TypeKind::Map(from_field(&pair[0]), from_field(&pair[1])),
            _ => TypeKind::Null,
        },
        DataType::Dictionary(_, value) => kind_from_arrow(value),
        DataType::RunEndEncoded(_, value) => kind_from_arrow(value.data_type()),
        // Unions do not come up in SQL; there is no Flink type for them.
        _ => TypeKind::Null,
    }
}

fn row_field(field: &Field) -> RowField {
    let sql_type = SqlType::from_arrow(field.data_type(), field.is_nullable());
    RowField { name: field.name().clone(), sql_type, comment: None }
}

/// Digits of a second that a unit counts.
pub(crate) fn precision_of(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// The Flink spelling of an Arrow type: `TIMESTAMP(3) NOT NULL`.
pub fn flink_name(data_type: &DataType, nullable: bool) -> String {
    SqlType::from_arrow(data_type, nullable).to_string()
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        if self.nullable { Ok(()) } else { f.write_str(" NOT NULL") }
    }
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::TinyInt => f.write_str("TINYINT"),
            Self::SmallInt => f.write_str("SMALLINT"),
            Self::Int => f.write_str("INT"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::Float => f.write_str("FLOAT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            Self::Char(length) => write!(f, "CHAR({length})"),
            Self::Varchar(LENGTH_MAX) => f.write_str("STRING"),
            Self::Varchar(length) => write!(f, "VARCHAR({length})"),
            Self::Binary(length) => write!(f, "BINARY({length})"),
            Self::Varbinary(LENGTH_MAX) => f.write_str("BYTES"),
            Self::Varbinary(length) => write!(f, "VARBINARY({length})"),
            Self::Date => f.write_str("DATE"),
            Self::Time(precision) => write!(f, "TIME({precision})"),
            Self::Timestamp(precision) => write!(f, "TIMESTAMP({precision})"),
            Self::TimestampLtz(precision) => write!(f, "TIMESTAMP_LTZ({precision})"),
            Self::IntervalMonths(resolution) | Self::IntervalMillis(resolution) => write!(f, "INTERVAL {resolution}"),
            Self::Array(element) => write!(f, "ARRAY<{element}>"),
            Self::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            Self::Row(fields) => write_row(fields, f),
            Self::Null => f.write_str("NULL"),
        }
    }
}

fn write_row(fields: &[RowField], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("ROW<")?;
    for (position, field) in fields.iter().enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        write!(f, "{separator}{} {}", quote_identifier(&field.name), field.sql_type)?;
        if let Some(comment) = &field.comment {
            write!(f, " {}", quote_string(comment))?;
        }
    }
    f.write_str(">")
}

/// A name in backticks, as DDL needs it.
pub fn quote_identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text in single quotes, as DDL needs it.
pub fn quote_string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
