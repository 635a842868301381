//! Which Avro type a column of SQL is, by the rules of Flink's Avro formats.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use serde_json::{Value, json};
use tidemill_engine::type_name::sql_type_name;

use crate::format::FormatProblem;

/// Flink's name of the records that it makes of tables. Nested ones have their path behind it.
const RECORD: &str = "record";
const NAMESPACE: &str = "org.apache.flink.avro.generated";

/// The time zone of points in time, as `arrow-avro` names it.
const UTC: &str = "+00:00";

/// Why a column has no form in Avro. `option`: the one that chooses the form of timestamps.
pub fn check(field: &FieldRef, legacy: bool, option: &str) -> Option<FormatProblem> {
    let problem = |message: String, hint: String| Some(FormatProblem::column(message, hint));
    let of =
        |data_type: &DataType| format!("column {}: Avro has no form for {}", field.name(), sql_type_name(data_type));
    let wrong = first_wrong(field.data_type(), legacy)?;
    match &wrong {
        DataType::Timestamp(_, Some(_)) if legacy => {
            problem(format!("{} as long as '{option}' is 'true'", of(&wrong)), format!("set '{option}' = 'false'"))
        }
        DataType::Timestamp(..) if legacy => problem(
            format!("{} as long as '{option}' is 'true'", of(&wrong)),
            format!("declare TIMESTAMP(3), or set '{option}' = 'false'"),
        ),
        DataType::Timestamp(..) => problem(of(&wrong), "declare at most 6 digits of a second".into()),
        DataType::Map(..) => problem(
            format!("column {}: the keys of a MAP are STRING in Avro", field.name()),
            "declare it as MAP<STRING, ...>".into(),
        ),
        _ => problem(of(&wrong), "use another type, or another format".into()),
    }
}

fn first_wrong(data_type: &DataType, legacy: bool) -> Option<DataType> {
    use DataType::{
        Binary, Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, List, Map, Struct, Time32,
        Timestamp, Utf8,
    };
    let wrong = || Some(data_type.clone());
    match data_type {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Utf8 | Binary | Date32 | Time32(_) => None,
        Decimal128(..) => None,
        Timestamp(TimeUnit::Second | TimeUnit::Millisecond, None) => None,
        Timestamp(TimeUnit::Nanosecond, _) => wrong(),
        Timestamp(..) => legacy.then(|| data_type.clone()),
        List(element) => first_wrong(element.data_type(), legacy),
        Map(entries, _) => match entries.data_type() {
            Struct(fields) if fields[0].data_type() == &Utf8 => first_wrong(fields[1].data_type(), legacy),
            _ => wrong(),
        },
        Struct(fields) => fields.iter().find_map(|field| first_wrong(field.data_type(), legacy)),
        _ => wrong(),
    }
}

/// The schema of a table's records, as JSON.
pub fn avro_schema(table: &Schema, legacy: bool) -> Value {
    let fields = table.fields().iter().map(|field| avro_field(field, RECORD, legacy));
    json!({"type": "record", "name": RECORD, "namespace": NAMESPACE, "fields": fields.collect::<Vec<_>>()})
}

fn avro_field(field: &Field, path: &str, legacy: bool) -> Value {
    let of_field = avro_type(field.data_type(), &format!("{path}_{}", field.name()), legacy);
    match field.is_nullable() {
        true => json!({"name": field.name(), "type": ["null", of_field], "default": null}),
        false => json!({"name": field.name(), "type": of_field}),
    }
}

/// `path`: the name of a record, if this is one.
fn avro_type(data_type: &DataType, path: &str, legacy: bool) -> Value {
    let optional = |field: &Field| match avro_type(field.data_type(), path, legacy) {
        inner if field.is_nullable() => json!(["null", inner]),
        inner => inner,
    };
    let logical = |of: &str, name: &str| json!({"type": of, "logicalType": name});
    match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => json!("int"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("bytes"),
        DataType::Date32 => logical("int", "date"),
        DataType::Time32(_) => logical("int", "time-millis"),
        DataType::Timestamp(unit, zone) => {
            let digits = if *unit == TimeUnit::Microsecond { "micros" } else { "millis" };
            let local = if zone.is_none() && !legacy { "local-" } else { "" };
            logical("long", &format!("{local}timestamp-{digits}"))
        }
        DataType::Decimal128(precision, scale) => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        DataType::List(element) => json!({"type": "array", "items": optional(element)}),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => json!({"type": "map", "values": optional(&fields[1])}),
            other => unreachable!("entries of a map are {other}"),
        },
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| avro_field(field, path, legacy));
            json!({"type": "record", "name": path, "fields": fields.collect::<Vec<_>>()})
        }
        other => unreachable!("{other} was refused"),
    }
}

/// The columns as the library writes them under [`avro_schema`]: what has no type of its own in Avro is widened.
pub fn wire_schema(table: &Schema, legacy: bool) -> Schema {
    Schema::new(table.fields().iter().map(|field| wire_field(field, legacy)).collect::<Vec<_>>())
}

fn wire_field(field: &FieldRef, legacy: bool) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(wire_type(field.data_type(), legacy)))
}

fn wire_type(data_type: &DataType, legacy: bool) -> DataType {
    match data_type {
        DataType::Int8 | DataType::Int16 => DataType::Int32,
        DataType::Time32(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Timestamp(unit, zone) => {
            let unit = if *unit == TimeUnit::Microsecond { *unit } else { TimeUnit::Millisecond };
            DataType::Timestamp(unit, (zone.is_some() || legacy).then(|| UTC.into()))
        }
        DataType::List(element) => DataType::List(wire_field(element, legacy)),
        DataType::Map(entries, sorted) => DataType::Map(wire_field(entries, legacy), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| wire_field(field, legacy)).collect()),
        other => other.clone(),
    }
}
