//! Comma-separated values: NULL is an empty field, an empty text is `""`.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use tidemill_engine::Result;

use super::cell;

/// Rows as lines, the first of a result under a header.
pub fn lines(rows: &RecordBatch, with_header: bool) -> Result<String> {
    let mut text = String::new();
    if with_header {
        let names: Vec<String> = rows.schema().fields().iter().map(|field| quoted(field.name())).collect();
        text.push_str(&(names.join(",") + "\n"));
    }
    for row in 0..rows.num_rows() {
        let fields = rows.columns().iter().map(|column| field(column, row)).collect::<Result<Vec<_>>>()?;
        text.push_str(&(fields.join(",") + "\n"));
    }
    Ok(text)
}

fn field(column: &ArrayRef, row: usize) -> Result<String> {
    match column.data_type() {
        _ if column.is_null(row) => Ok(String::new()),
        DataType::Utf8 => Ok(quoted(column.as_string::<i32>().value(row))),
        _ => Ok(quoted(&cell(column, row)?)),
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}
