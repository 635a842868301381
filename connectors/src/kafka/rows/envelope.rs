//! What the envelope of a change in `debezium-json` says beside its rows: the metadata columns `value.*`, as Flink has them.

use std::sync::Arc;

use arrow::array::{ArrayRef, MapBuilder, StringArray, StringBuilder, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::metadata::timestamp_type;
use super::taken::Parts;
use crate::options::OptionProblem;
use crate::registry::MetadataDef;
use crate::table::TableSpec;

/// Begins the names of columns that the value's format gives.
const PREFIX: &str = "value.";
const SCHEMA: &str = "value.schema";
const INGESTION_TIMESTAMP: &str = "value.ingestion-timestamp";
const SOURCE_TIMESTAMP: &str = "value.source.timestamp";
const SOURCE_DATABASE: &str = "value.source.database";
const SOURCE_SCHEMA: &str = "value.source.schema";
const SOURCE_TABLE: &str = "value.source.table";
const SOURCE_PROPERTIES: &str = "value.source.properties";

const FORMAT: &str = "debezium-json";

pub fn metadata() -> Vec<MetadataDef> {
    let read = |key, data_type, doc| MetadataDef { key, data_type, writable: false, doc };
    vec![
        read(SCHEMA, DataType::Utf8, "debezium-json: the schema in the record, as JSON"),
        read(INGESTION_TIMESTAMP, timestamp_type(), "debezium-json: when the connector handled the change"),
        read(SOURCE_TIMESTAMP, timestamp_type(), "debezium-json: when the source made the change"),
        read(SOURCE_DATABASE, DataType::Utf8, "debezium-json: the source's database"),
        read(SOURCE_SCHEMA, DataType::Utf8, "debezium-json: the source's schema"),
        read(SOURCE_TABLE, DataType::Utf8, "debezium-json: the source's table"),
        read(SOURCE_PROPERTIES, properties_type(), "debezium-json: all that is said of the source"),
    ]
}

fn properties_type() -> DataType {
    let entries = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false)
}

pub fn is_of_value(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// Other formats have no such columns.
pub fn check(spec: &TableSpec) -> Result<(), OptionProblem> {
    let format = ["value.format", "format"].iter().find_map(|key| Some((*key, spec.options.get(*key)?)));
    match (spec.metadata.iter().find(|column| is_of_value(&column.key)), format) {
        (Some(column), Some((key, format))) if format != FORMAT => {
            let message = format!("the format '{format}' gives no metadata '{}'", column.key);
            Err(OptionProblem::at(key, message)
                .hint(format!("'{FORMAT}' does; leave the column `{}` out", column.name)))
        }
        _ => Ok(()),
    }
}

/// What is read of a record; the rows themselves are the format's.
#[derive(Debug, Default, Deserialize)]
struct Envelope {
    schema: Option<Value>,
    /// Where the record has a schema, all else stands in here.
    payload: Option<Payload>,
    #[serde(flatten)]
    bare: Payload,
}

#[derive(Debug, Default, Deserialize)]
struct Payload {
    ts_ms: Option<i64>,
    source: Option<Map<String, Value>>,
}

/// The envelopes of the messages whose rows are made.
pub struct Envelopes {
    all: Vec<Envelope>,
    /// By row.
    of_rows: Vec<usize>,
}

impl Envelopes {
    /// `messages`: of each row. Rows of one message stand together.
    pub fn read(values: &Parts, messages: &[u32]) -> Self {
        let mut last = None;
        let mut all: Vec<Envelope> = Vec::new();
        let of_rows = messages.iter().map(|message| {
            if last != Some(*message) {
                last = Some(*message);
                let bytes = values.of_message(*message).unwrap_or_default();
                // The format has read the record; where it takes what JSON does not, nothing is known of its envelope.
                all.push(serde_json::from_slice(bytes).unwrap_or_default());
            }
            all.len() - 1
        });
        let of_rows = of_rows.collect();
        Self { all, of_rows }
    }

    /// The column `key`, one value for each row.
    pub fn column(&self, key: &str) -> ArrayRef {
        let rows = || self.of_rows.iter().map(|row| &self.all[*row]);
        let texts = |name: &'static str| -> ArrayRef {
            Arc::new(StringArray::from_iter(rows().map(|one| one.source()?.get(name).and_then(text))))
        };
        let times = |time: fn(&Envelope) -> Option<i64>| -> ArrayRef {
            Arc::new(TimestampMillisecondArray::from_iter(rows().map(time)).with_timezone("UTC"))
        };
        match key {
            SCHEMA => Arc::new(StringArray::from_iter(rows().map(|one| one.schema.as_ref().and_then(text)))),
            INGESTION_TIMESTAMP => times(|one| one.payload().ts_ms),
            SOURCE_TIMESTAMP => times(|one| one.source()?.get("ts_ms")?.as_i64()),
            SOURCE_DATABASE => texts("db"),
            SOURCE_SCHEMA => texts("schema"),
            SOURCE_TABLE => texts("table"),
            SOURCE_PROPERTIES => properties(rows().map(Envelope::source)),
            other => unreachable!("the metadata key {other} was checked"),
        }
    }
}

impl Envelope {
    fn payload(&self) -> &Payload {
        self.payload.as_ref().unwrap_or(&self.bare)
    }

    fn source(&self) -> Option<&Map<String, Value>> {
        self.payload().source.as_ref()
    }
}

/// Texts without their quotes, all else as JSON; `None`: null.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn properties<'a>(sources: impl Iterator<Item = Option<&'a Map<String, Value>>>) -> ArrayRef {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for source in sources {
        for (key, value) in source.into_iter().flatten() {
            builder.keys().append_value(key);
            builder.values().append_option(text(value));
        }
        builder.append(source.is_some()).expect("as many keys as values");
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    use super::*;

    #[test]
    fn envelopes_are_read_with_and_without_a_schema_and_may_say_nothing() {
        let records = [
            r#"{"op":"u","before":{"id":1},"after":{"id":2},"ts_ms":2000,"source":{"db":"shop","schema":null,"table":"orders","ts_ms":1000,"lsn":7}}"#,
            r#"{"schema":{"type":"struct"},"payload":{"op":"c","after":{"id":3},"ts_ms":3000,"source":{"db":"inner"}}}"#,
            r#"{"op":"d","before":{"id":2}}"#,
        ];
        let mut values = Parts::default();
        records.iter().enumerate().for_each(|(message, record)| values.push(record.as_bytes(), message as u32));
        // An update is two rows.
        let envelopes = Envelopes::read(&values, &[0, 0, 1, 2]);
        let shown = |key: &str| -> Vec<String> {
            let column = envelopes.column(key);
            let options = FormatOptions::default().with_null("-");
            let cells = ArrayFormatter::try_new(&column, &options).expect("printable");
            (0..column.len()).map(|row| cells.value(row).to_string()).collect()
        };
        assert_eq!(shown(SOURCE_DATABASE), ["shop", "shop", "inner", "-"]);
        assert_eq!(shown(SOURCE_SCHEMA), ["-", "-", "-", "-"]);
        assert_eq!(shown(SOURCE_TABLE), ["orders", "orders", "-", "-"]);
        assert_eq!(shown(SCHEMA), ["-", "-", r#"{"type":"struct"}"#, "-"]);
        let times = ["1970-01-01T00:00:02Z", "1970-01-01T00:00:02Z", "1970-01-01T00:00:03Z", "-"];
        assert_eq!(shown(INGESTION_TIMESTAMP), times);
        assert_eq!(shown(SOURCE_TIMESTAMP)[1..3], ["1970-01-01T00:00:01Z", "-"]);
        assert_eq!(shown(SOURCE_PROPERTIES)[2..], ["{db: inner}", "-"]);
        for def in metadata() {
            assert_eq!(envelopes.column(def.key).data_type(), &def.data_type, "{}", def.key);
        }
    }
}
