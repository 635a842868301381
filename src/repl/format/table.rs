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
    /// What the widest cell so far takes, and what the screen leaves of that.
    natural: Vec<usize>,
    widths: Vec<usize>,
    numeric: Vec<bool>,
    /// So many columns fit on the screen.
    shown: usize,
    cut: bool,
    width_max: Option<usize>,
}

impl Layout {
    /// Chooses the widths from the names, the types and these rows.
    pub fn of(schema: &SchemaRef, rows: &[RecordBatch], width_max: Option<usize>) -> Result<Self> {
        let mut widths: Vec<usize> = names(schema).iter().map(|name| width(name)).collect();
        for (index, field) in schema.fields().iter().enumerate() {
            widths[index] = widths[index].max(type_width(field.data_type()));
        }
        let numeric = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
        let names = names(schema);
        let shown = widths.len();
        let mut layout = Self { names, natural: widths.clone(), shown, widths, numeric, cut: false, width_max };
        for batch in rows {
            layout.measure(&cells(batch, shown)?);
        }
        layout.fit();
        Ok(layout)
    }

    /// Makes room for these cells; true where there was too little.
    fn measure(&mut self, cells: &[Vec<String>]) -> bool {
        let mut grown = false;
        for row in cells {
            for (natural, cell) in self.natural.iter_mut().zip(row) {
                let width = width(cell);
                grown |= width > *natural;
                *natural = width.max(*natural);
            }
        }
        grown
    }

    /// Cuts the widest columns first; where all are narrow, those at the end are left out.
    fn fit(&mut self) {
        let taken = |widths: &[usize]| widths.iter().map(|width| width + FRAME).sum::<usize>() + 1;
        self.widths.clone_from(&self.natural);
        let width_max = self.width_max.unwrap_or(usize::MAX);
        while taken(&self.widths[..self.shown]) > width_max {
            let widest = self.widths[..self.shown].iter_mut().max().filter(|width| **width > CUT_WIDTH_MIN);
            let Some(widest) = widest else { break };
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

    /// Rows behind which columns may be wider than before: numbers grow.
    pub fn rows(&mut self, rows: &RecordBatch) -> Result<String> {
        let cells = cells(rows, self.shown)?;
        if self.measure(&cells) {
            self.fit();
        }
        Ok(cells.iter().map(|row| self.line(&row.iter().map(String::as_str).collect::<Vec<_>>())).collect())
    }

    pub fn rule(&self) -> String {
        let columns = self.widths.iter().take(self.shown).map(|width| format!("+{}", "-".repeat(width + 2)));
        columns.collect::<String>() + "+\n"
    }

    fn line(&self, cells: &[&str]) -> String {
        let mut line = String::new();
        for (index, text) in cells.iter().enumerate().take(self.shown) {
            line.push_str("| ");
            line.push_str(&fill(text, self.widths[index], self.numeric[index]));
            line.push(' ');
        }
        line + "|\n"
    }
}

/// The first cells of each row.
fn cells(rows: &RecordBatch, shown: usize) -> Result<Vec<Vec<String>>> {
    let row = |row| rows.columns().iter().take(shown).map(|column| cell(column, row)).collect();
    (0..rows.num_rows()).map(row).collect()
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
