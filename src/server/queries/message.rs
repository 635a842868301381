//! What a query tells its client: events with JSON, framed as the client asked for.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidemill_connectors::format::json::{JsonOptions, RowArrays};
use tidemill_engine::type_name::sql_type_name;
use tidemill_engine::{Batch, Result};

use crate::query::{Progress, SortedBy};

/// Of one message of rows, unless a single row is longer.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Of one message: what is read at a time is soon on its way.
pub const MESSAGE_ROWS_MAX: usize = 1_000;

/// How messages are told apart on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-Sent Events.
    Events,
    /// A JSON object a line.
    Lines,
    /// A JSON object a message of a WebSocket.
    Socket,
}

impl Framing {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines | Self::Socket => "application/x-ndjson",
        }
    }

    /// `object` is the text of a JSON object without newlines.
    pub fn frame(self, event: &str, object: &str) -> Bytes {
        let members = object.strip_prefix('{').unwrap_or(object);
        let comma = if members.starts_with('}') { "" } else { "," };
        let text = match self {
            Self::Events => format!("event: {event}\ndata: {object}\n\n"),
            Self::Lines => format!("{{\"event\":\"{event}\"{comma}{members}\n"),
            Self::Socket => format!("{{\"event\":\"{event}\"{comma}{members}"),
        };
        Bytes::from(text)
    }
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Arrays of values, as the `json` format writes them.
    Json,
    /// Base64 of an Arrow IPC stream per message, which keeps every type.
    Arrow,
}

/// Text that holds rows, and how many.
pub struct RowsMessage {
    pub text: String,
    pub rows: u64,
}

/// The rows of a batch in messages of bounded size; `changes`: each row has its kind.
pub fn rows_messages(batch: &Batch, form: Form, changes: bool) -> Result<Vec<RowsMessage>> {
    let rows = batch.rows();
    let mut messages = Vec::new();
    let mut begin = 0;
    while begin < rows.num_rows() {
        let upto = rows.num_rows().min(begin + MESSAGE_ROWS_MAX);
        let (body, end) = match form {
            Form::Json => json_rows(rows, begin, upto)?,
            Form::Arrow => (arrow_rows(&rows.slice(begin, upto - begin))?, upto),
        };
        let kinds: Vec<&str> = (begin..end).map(|row| batch.kind(row).symbol()).collect();
        let kinds = if changes { format!("\"kinds\":{},", json!(kinds)) } else { String::new() };
        messages.push(RowsMessage { text: format!("{{{kinds}{body}}}"), rows: (end - begin) as u64 });
        begin = end;
    }
    Ok(messages)
}

/// As many rows as fit into a message, and where the next one begins.
fn json_rows(rows: &RecordBatch, begin: usize, upto: usize) -> Result<(String, usize)> {
    let options = JsonOptions::default();
    let arrays = RowArrays::new(rows, &options)?;
    let mut bytes = b"\"rows\":[".to_vec();
    let mut row = begin;
    while row < upto && (row == begin || bytes.len() < MESSAGE_BYTES_MAX) {
        if row > begin {
            bytes.push(b',');
        }
        arrays.write(row, &mut bytes)?;
        row += 1;
    }
    bytes.push(b']');
    Ok((String::from_utf8_lossy(&bytes).into_owned(), row))
}

fn arrow_rows(rows: &RecordBatch) -> Result<String> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &rows.schema())?;
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    Ok(format!("\"row_count\":{},\"arrow\":\"{}\"", rows.num_rows(), STANDARD.encode(bytes)))
}

/// Columns and types as an Arrow IPC stream without rows, in base64.
pub fn arrow_schema(schema: &SchemaRef) -> Result<String> {
    let mut bytes = Vec::new();
    StreamWriter::try_new(&mut bytes, schema)?.finish()?;
    Ok(STANDARD.encode(bytes))
}

/// A whole table of at most some thousand rows, in one message.
pub fn table_message(rows: &RecordBatch, form: Form, row_count: u64) -> Result<String> {
    let body = match form {
        Form::Arrow => arrow_rows(rows)?,
        Form::Json => {
            let options = JsonOptions::default();
            let arrays = RowArrays::new(rows, &options)?;
            let mut bytes = b"\"rows\":[".to_vec();
            for row in 0..rows.num_rows() {
                if row > 0 {
                    bytes.push(b',');
                }
                arrays.write(row, &mut bytes)?;
            }
            bytes.push(b']');
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    Ok(format!("{{\"table_rows\":{row_count},{body}}}"))
}

/// Name, type and whether NULL may be there.
pub fn columns(schema: &SchemaRef) -> Value {
    let column = |field: &arrow::datatypes::FieldRef| json!({ "name": field.name(), "type": sql_type_name(field.data_type()), "nullable": field.is_nullable() });
    schema.fields().iter().map(column).collect()
}

/// By what the table of a query's rows is to be sorted.
pub fn order(order: &[SortedBy]) -> Value {
    let by = |by: &SortedBy| json!({ "column": by.column, "descending": by.options.descending, "nulls_first": by.options.nulls_first });
    order.iter().map(by).collect()
}

/// How far the query is.
pub fn status(progress: &Progress, rows: u64) -> Value {
    let mut status = json!({
        "rows": rows,
        "rows_read": progress.rows_read,
        "rows_per_second": progress.rows_per_second,
        "watermark_ms": progress.watermark.map(|time| time.0).filter(|ms| *ms != i64::MIN),
        "uptime_ms": progress.uptime.as_millis() as u64,
    });
    if let Some(waiting) = &progress.waiting {
        status["waiting"] = json!(waiting);
    }
    status
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int8Array, Int32Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn batch(rows: usize, text: &str) -> Batch {
        let fields = vec![Field::new("n", DataType::Int32, false), Field::new("t", DataType::Utf8, true)];
        let numbers = Int32Array::from_iter_values(0..rows as i32);
        let texts: StringArray = (0..rows).map(|row| (row != 1).then_some(text)).collect();
        let rows =
            RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(numbers), Arc::new(texts)]).unwrap();
        let kinds = Int8Array::from_iter_values((0..rows.num_rows()).map(|row| (row % 4) as i8));
        Batch::with_kinds(rows, kinds)
    }

    #[test]
    fn rows_are_arrays_with_their_kinds() {
        let messages = rows_messages(&batch(3, "a\n\"b\""), Form::Json, true).unwrap();
        let expected = r#"{"kinds":["+I","-U","+U"],"rows":[[0,"a\n\"b\""],[1,null],[2,"a\n\"b\""]]}"#;
        assert_eq!(messages[0].text, expected);
        let plain = rows_messages(&batch(1, "a"), Form::Json, false).unwrap();
        assert_eq!(plain[0].text, r#"{"rows":[[0,"a"]]}"#);
        assert_eq!(Framing::Events.frame("rows", &plain[0].text), "event: rows\ndata: {\"rows\":[[0,\"a\"]]}\n\n");
        assert_eq!(Framing::Lines.frame("rows", &plain[0].text), "{\"event\":\"rows\",\"rows\":[[0,\"a\"]]}\n");
        assert_eq!(Framing::Socket.frame("end", "{}"), "{\"event\":\"end\"}");
    }

    #[test]
    fn no_message_grows_beyond_its_bounds_and_no_row_is_lost() {
        for (rows, text, messages_min) in
            [(2_500, "x".to_string(), 3), (20, "y".repeat(100_000), 5), (1, "z".repeat(1 << 20), 1)]
        {
            let messages = rows_messages(&batch(rows, &text), Form::Json, false).unwrap();
            assert!(messages.len() >= messages_min, "{}", messages.len());
            assert_eq!(messages.iter().map(|message| message.rows).sum::<u64>(), rows as u64);
            assert!(messages.iter().all(|message| message.text.len() <= MESSAGE_BYTES_MAX + text.len() + 100));
            let parsed = messages.iter().map(|message| serde_json::from_str::<Value>(&message.text).unwrap());
            let numbers: Vec<i64> = parsed
                .flat_map(|message| message["rows"].as_array().unwrap().clone())
                .map(|row| row[0].as_i64().unwrap())
                .collect();
            assert_eq!(numbers, (0..rows as i64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn arrow_keeps_the_types() {
        let batch = batch(3, "a");
        let messages = rows_messages(&batch, Form::Arrow, true).unwrap();
        let message: Value = serde_json::from_str(&messages[0].text).unwrap();
        assert_eq!((message["row_count"].as_u64(), message["kinds"][1].as_str()), (Some(3), Some("-U")));
        let bytes = STANDARD.decode(message["arrow"].as_str().unwrap()).unwrap();
        let read: Vec<RecordBatch> =
            StreamReader::try_new(bytes.as_slice(), None).unwrap().map(|one| one.unwrap()).collect();
        assert_eq!(read, [batch.rows().clone()]);
    }
}
