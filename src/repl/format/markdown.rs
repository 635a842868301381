//! A Markdown table.

use arrow::array::RecordBatch;
use tidemill_engine::Result;

use super::cell;

/// Rows as lines of a table, the first of a result under its header.
pub fn lines(rows: &RecordBatch, with_header: bool) -> Result<String> {
    let schema = rows.schema();
    let mut text = String::new();
    if with_header {
        let names = schema.fields().iter().map(|field| escaped(field.name()));
        let rules = schema.fields().iter().map(|field| if field.data_type().is_numeric() { "---:" } else { "---" });
        text.push_str(&format!("| {} |\n", names.collect::<Vec<_>>().join(" | ")));
        text.push_str(&format!("|{}|\n", rules.collect::<Vec<_>>().join("|")));
    }
    for row in 0..rows.num_rows() {
        let cells = rows.columns().iter().map(|column| cell(column, row).map(|text| escaped(&text)));
        text.push_str(&format!("| {} |\n", cells.collect::<Result<Vec<_>>>()?.join(" | ")));
    }
    Ok(text)
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
