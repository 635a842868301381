//! Arrow types under the names that they have in SQL, for messages.

use arrow::datatypes::{DataType, FieldRef, IntervalUnit, TimeUnit};

/// The SQL name of a type, such as `DECIMAL(10, 2)` or `ARRAY<STRING>`.
pub fn sql_type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "NULL".into(),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Date32 => "DATE".into(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("TIME({})", digits(*unit)),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(*unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(*unit)),
        DataType::Interval(IntervalUnit::YearMonth) => "INTERVAL YEAR TO MONTH".into(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL DAY TO SECOND".into(),
        DataType::List(element) => format!("ARRAY<{}>", sql_type_name(element.data_type())),
        DataType::Map(entries, _) => map_name(entries.data_type()),
        DataType::Struct(fields) => {
            let named = |field: &FieldRef| format!("{} {}", field.name(), sql_type_name(field.data_type()));
            let fields: Vec<String> = fields.iter().map(named).collect();
            format!("ROW<{}>", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn map_name(entries: &DataType) -> String {
    match entries {
        DataType::Struct(fields) if fields.len() == 2 => {
            format!("MAP<{}, {}>", sql_type_name(fields[0].data_type()), sql_type_name(fields[1].data_type()))
        }
        other => other.to_string(),
    }
}

fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}
