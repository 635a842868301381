//! The table that a bare SELECT prints: a header, then rows in aligned columns as they come.
//!
//! Rows go out at once, so widths are chosen from the types and the first batch; a later, wider value is printed in
//! full and only its own line is out of step.

use std::fmt::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, TimeUnit};
use tidemill_engine::{Batch, Result};

use super::PrintStyle;
use super::text::write_value;

/// No column is made wider than this for the sake of alignment; longer values are still printed in full.
const ALIGNED_WIDTH_MAX: usize = 48;

/// How wide the columns of one running query are; set by its first batch.
#[derive(Debug)]
pub struct Layout {
    widths: Vec<usize>,
    numeric: Vec<bool>,
    show_kind: bool,
}

impl Layout {
    /// Chooses the widths from the column names, the types and the first rows.
    pub fn of(first: &RecordBatch, show_kind: bool) -> Result<Self> {
        let schema = first.schema();
        let mut widths: Vec<usize> =
            schema.fields().iter().map(|field| type_width(field.data_type()).max(width(field.name()))).collect();
        for (index, column) in first.columns().iter().enumerate() {
            for row in 0..column.len() {
                let mut cell = String::new();
                write_value(&mut cell, column, row, PrintStyle::Table)?;
                widths[index] = widths[index].max(width(&cell).min(ALIGNED_WIDTH_MAX));
            }
        }
        let numeric = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
        Ok(Self { widths, numeric, show_kind })
    }

    /// The lines above the rows.
    pub fn header(&self, schema: &Schema) -> String {
        let names = schema.fields().iter().map(|field| field.name().clone());
        let mut line = String::new();
        self.write_line(&mut line, "op", names);
        format!("{rule}{line}{rule}", rule = self.rule())
    }

    pub fn write_rows(&self, out: &mut String, batch: &Batch) -> Result<()> {
        for row in 0..batch.num_rows() {
            let mut cells = Vec::with_capacity(self.widths.len());
            for column in batch.rows().columns() {
                let mut cell = String::new();
                write_value(&mut cell, column, row, PrintStyle::Table)?;
                cells.push(cell);
            }
            self.write_line(out, batch.kind(row).symbol(), cells.into_iter());
        }
        Ok(())
    }

    fn rule(&self) -> String {
        let kind = if self.show_kind { "+----" } else { "" };
        let columns: String = self.widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
        format!("{kind}{columns}+\n")
    }

    fn write_line(&self, out: &mut String, kind: &str, cells: impl Iterator<Item = String>) {
        if self.show_kind {
            let _ = write!(out, "| {kind} ");
        }
        for ((cell, width), numeric) in cells.zip(&self.widths).zip(&self.numeric) {
            let _ = if *numeric { write!(out, "| {cell:>width$} ") } else { write!(out, "| {cell:<width$} ") };
        }
        out.push_str("|\n");
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Room that most values of a type need, so that the columns stay aligned when numbers grow.
fn type_width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => 19,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 23,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 26,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 29,
        DataType::Date32 => 10,
        DataType::Boolean => 5,
        DataType::Int8 | DataType::Int16 => 6,
        _ => 8,
    }
}
