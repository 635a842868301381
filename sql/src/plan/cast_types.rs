//! The types that a query names, in CAST and the like, as Flink types.

use datafusion_common::{Result, plan_err};
use sqlparser::ast::{
    ArrayElemTypeDef, BinaryLength, CharacterLength, DataType, ExactNumberInfo, ObjectName, StructField, TimezoneInfo,
};

use crate::types::{
    DECIMAL_PRECISION_MAX, LENGTH_MAX, RowField, SECOND_PRECISION_MAX, SqlType, TIMESTAMP_PRECISION, TypeKind,
};

/// DECIMAL without a precision.
const DECIMAL_PRECISION: u8 = 10;

/// The type as Flink understands it; an error says which types there are instead.
pub(crate) fn from_ast(data_type: &DataType) -> Result<SqlType> {
    Ok(SqlType::nullable(kind(data_type)?))
}

fn kind(data_type: &DataType) -> Result<TypeKind> {
    use DataType as T;
    Ok(match data_type {
        T::Boolean | T::Bool => TypeKind::Boolean,
        T::TinyInt(_) => TypeKind::TinyInt,
        T::SmallInt(_) => TypeKind::SmallInt,
        T::Int(_) | T::Integer(_) => TypeKind::Int,
        T::BigInt(_) => TypeKind::BigInt,
        T::Float(_) | T::Real => TypeKind::Float,
        T::Double(_) | T::DoublePrecision => TypeKind::Double,
        T::Decimal(info) | T::Numeric(info) | T::Dec(info) => decimal(info)?,
        T::Char(length) | T::Character(length) => TypeKind::Char(characters(length, 1)),
        T::Varchar(length) | T::CharVarying(length) | T::CharacterVarying(length) => {
            TypeKind::Varchar(characters(length, LENGTH_MAX))
        }
        T::String(_) | T::Text => TypeKind::Varchar(LENGTH_MAX),
        T::Binary(length) => TypeKind::Binary(length.map_or(1, clamp_length)),
        T::Varbinary(Some(BinaryLength::IntegerLength { length })) => TypeKind::Varbinary(clamp_length(*length)),
        T::Varbinary(_) | T::Bytes(_) | T::Bytea => TypeKind::Varbinary(LENGTH_MAX),
        T::Date => TypeKind::Date,
        T::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            TypeKind::Time(seconds(*precision, 0)?)
        }
        T::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) | T::TimestampNtz(precision) => {
            TypeKind::Timestamp(seconds(*precision, TIMESTAMP_PRECISION)?)
        }
        T::Array(element) => TypeKind::Array(Box::new(array_element(element)?)),
        T::Map(key, value) => TypeKind::Map(Box::new(from_ast(key)?), Box::new(from_ast(value)?)),
        T::Struct(fields, _) | T::Tuple(fields) => TypeKind::Row(row_fields(fields)?),
        T::Custom(name, arguments) => return custom(name, arguments),
        other => return plan_err!("the type {other} does not exist in Flink SQL"),
    })
}

fn decimal(info: &ExactNumberInfo) -> Result<TypeKind> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (u64::from(DECIMAL_PRECISION), 0),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let largest = u64::from(DECIMAL_PRECISION_MAX);
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(p), Ok(s)) if (1..=largest).contains(&precision) && s <= p => {
            Ok(TypeKind::Decimal { precision: p, scale: s })
        }
        _ => plan_err!("DECIMAL takes a precision of 1 to {largest} and a scale of 0 to the precision"),
    }
}

fn characters(length: &Option<CharacterLength>, default: u32) -> u32 {
    match length {
        Some(CharacterLength::IntegerLength { length, .. }) => clamp_length(*length),
        Some(CharacterLength::Max) => LENGTH_MAX,
        None => default,
    }
}

fn clamp_length(length: u64) -> u32 {
    length.clamp(1, u64::from(LENGTH_MAX)) as u32
}

fn seconds(precision: Option<u64>, default: u8) -> Result<u8> {
    match precision {
        None => Ok(default),
        Some(digits) if digits <= u64::from(SECOND_PRECISION_MAX) => Ok(digits as u8),
        Some(digits) => plan_err!("a time has 0 to {SECOND_PRECISION_MAX} digits of a second, not {digits}"),
    }
}

fn array_element(element: &ArrayElemTypeDef) -> Result<SqlType> {
    match element {
        ArrayElemTypeDef::AngleBracket(inner)
        | ArrayElemTypeDef::SquareBracket(inner, _)
        | ArrayElemTypeDef::Parenthesis(inner) => from_ast(inner),
        ArrayElemTypeDef::None => plan_err!("ARRAY needs the type of its elements: ARRAY<INT>"),
    }
}

fn row_fields(fields: &[StructField]) -> Result<Vec<RowField>> {
    let named = fields.iter().enumerate().map(|(position, field)| {
        let name = field.field_name.as_ref().map_or_else(|| format!("f{position}"), |name| name.value.clone());
        Ok(RowField { name, sql_type: from_ast(&field.field_type)?, comment: None })
    });
    named.collect()
}

/// Types that the SQL parser knows only by name.
fn custom(name: &ObjectName, arguments: &[String]) -> Result<TypeKind> {
    let precision = || arguments.first().and_then(|text| text.parse().ok());
    match name.to_string().to_uppercase().as_str() {
        "STRING" => Ok(TypeKind::Varchar(LENGTH_MAX)),
        "BYTES" => Ok(TypeKind::Varbinary(LENGTH_MAX)),
        "TIMESTAMP_LTZ" => Ok(TypeKind::TimestampLtz(seconds(precision(), TIMESTAMP_PRECISION)?)),
        other => plan_err!("the type {other} does not exist in Flink SQL"),
    }
}
