//! Aligned columns under a header, within the width of a terminal.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use tidemill_engine::Result;

use super::cell;
use super::cells::{fill, width};

/// A column is not cut below this width for the sake of those behind it.
const CUT_WIDTH_MIN: usize = 8;
/// What frames a cell: a bar and a blank before it, a blank behind.
const FRAME: usize = 3;

/// How wide each column is.
pub struct Layout {
    names: Vec<String>,
    widths: Vec<usize>,
    numeric: Vec<bool>,
    /// So many columns fit on the screen.
    shown: usize,
    cut: bool,
    /// Cells are cut to their column; else they are written in full, if out of line.
    cuts_cells: bool,
}

impl Layout {
    /// Chooses the widths from the names, the types and these rows.
    pub fn of(schema: &SchemaRef, rows: &[RecordBatch], width_max: Option<usize>) -> Result<Self> {
        let mut widths: Vec<usize> = names(schema).iter().map(|name| width(name)).collect();
        for (index, field) in schema.fields().iter().enumerate() {
            widths[index] = widths[index].max(type_width(field.data_type()));
        }
        for batch in rows {
            for (index, column) in batch.columns().iter().enumerate() {
                for row in 0..column.len() {
                    widths[index] = widths[index].max(width(&cell(column, row)?));
                }
            }
        }
        let numeric = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
        let names = names(schema);
        let mut layout =
            Self { names, shown: widths.len(), widths, numeric, cut: false, cuts_cells: width_max.is_some() };
        if let Some(width_max) = width_max {
            layout.fit(width_max);
        }
        Ok(layout)
    }

    /// Cuts the widest columns first; where all are narrow, those at the end are left out.
    fn fit(&mut self, width_max: usize) {
        let taken = |widths: &[usize]| widths.iter().map(|width| width + FRAME).sum::<usize>() + 1;
        while taken(&self.widths) > width_max {
            let Some(widest) = self.widths.iter_mut().max().filter(|width| **width > CUT_WIDTH_MIN) else { break };
            *widest -= 1;
            self.cut = true;
        }
        while self.shown > 1 && taken(&self.widths[..self.shown]) > width_max {
            self.shown -= 1;
            self.cut = true;
        }
    }

    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The lines above the rows.
    pub fn header(&self) -> String {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        format!("{rule}{}{rule}", self.line(&names), rule = self.rule())
    }

    pub fn rows(&self, rows: &RecordBatch) -> Result<String> {
        let mut text = String::new();
        for row in 0..rows.num_rows() {
            let cells = rows.columns().iter().take(self.shown).map(|column| cell(column, row));
            let cells = cells.collect::<Result<Vec<_>>>()?;
            text.push_str(&self.line(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        Ok(text)
    }

    pub fn rule(&self) -> String {
        let columns = self.widths.iter().take(self.shown).map(|width| format!("+{}", "-".repeat(width + 2)));
        columns.collect::<String>() + "+\n"
    }

    fn line(&self, cells: &[&str]) -> String {
        let mut line = String::new();
        for (index, text) in cells.iter().enumerate().take(self.shown) {
            let columns = if self.cuts_cells { self.widths[index] } else { self.widths[index].max(width(text)) };
            line.push_str("| ");
            line.push_str(&fill(text, columns, self.numeric[index]));
            line.push(' ');
        }
        line + "|\n"
    }
}

/// Names may hold anything.
fn names(schema: &Schema) -> Vec<String> {
    let plain = |name: &str| name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    schema.fields().iter().map(|field| plain(field.name())).collect()
}

/// Room for values yet to come, so that columns stay aligned.
fn type_width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => 19,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 23,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 26,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 29,
        DataType::Date32 => 10,
        _ => 1,
    }
}
