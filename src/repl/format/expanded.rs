//! A line for each column of each row: for rows that are wider than the screen.

use arrow::array::RecordBatch;
use tidemill_engine::Result;

use super::cell;
use super::cells::{cut, fill, width};

/// The rule above a record is at least as long.
const RULE_WIDTH_MIN: usize = 24;

/// The records behind the first `before` ones.
pub fn records(rows: &RecordBatch, before: u64, width_max: Option<usize>) -> Result<String> {
    let schema = rows.schema();
    let names_width = schema.fields().iter().map(|field| width(field.name())).max().unwrap_or(0);
    let mut text = String::new();
    for row in 0..rows.num_rows() {
        let head = format!("-[ record {} ]", before + row as u64 + 1);
        let rule = RULE_WIDTH_MIN.max(names_width + 1).saturating_sub(width(&head));
        text.push_str(&cut(&format!("{head}{}", "-".repeat(rule)), width_max.unwrap_or(usize::MAX)));
        text.push('\n');
        for (field, column) in schema.fields().iter().zip(rows.columns()) {
            text.push_str(&format!("{} | {}\n", fill(field.name(), names_width, false), cell(column, row)?));
        }
    }
    Ok(text)
}
