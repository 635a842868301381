//! Rows as text: in aligned columns, one column per line, as CSV, JSON or Markdown.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use clap::ValueEnum;
use tidemill_connectors::format::RowEncoder;
use tidemill_connectors::print::{PrintStyle, write_value};
use tidemill_engine::{Batch, EngineError, Result};
use tidemill_sql::session::Rows;

pub mod cells;
mod csv;
mod expanded;
mod markdown;
pub mod table;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns under a header
    Table,
    /// Comma-separated values under a header
    Csv,
    /// One JSON object per line
    Json,
    /// A Markdown table
    Markdown,
}

/// How the rows of one result are to look.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub format: Format,
    /// A line for each column of each row, instead of a line per row.
    pub expanded: bool,
    /// Characters that a line of a table may have; `None`: as many as it takes.
    pub width: Option<usize>,
}

/// Rows of which so many are looked at before the widths of columns are chosen.
const ROWS_MEASURED_MAX: usize = 500;

/// A result that is being written: what was said already (a header) and how wide its columns are.
pub struct Sheet {
    style: Style,
    schema: SchemaRef,
    begun: bool,
    records: u64,
    layout: Option<table::Layout>,
    json: Option<Box<dyn RowEncoder>>,
    /// Rows of a table whose widths are not chosen yet.
    waiting: Vec<RecordBatch>,
}

impl Sheet {
    pub fn new(schema: SchemaRef, style: Style) -> Result<Self> {
        let json = match style.format {
            Format::Json => Some(json_encoder(&schema)?),
            _ => None,
        };
        Ok(Self { style, schema, begun: false, records: 0, layout: None, json, waiting: Vec::new() })
    }

    /// Adds rows; what it gives is to be written now. Of a table, the first rows wait until [`Self::settle`].
    pub fn add(&mut self, rows: &RecordBatch) -> Result<String> {
        if self.style.format == Format::Table && !self.style.expanded && self.layout.is_none() {
            self.waiting.push(rows.clone());
            let waiting: usize = self.waiting.iter().map(RecordBatch::num_rows).sum();
            return if waiting < ROWS_MEASURED_MAX { Ok(String::new()) } else { self.settle() };
        }
        self.written(rows)
    }

    /// No more rows for now: those that wait are to be written.
    pub fn settle(&mut self) -> Result<String> {
        if self.waiting.is_empty() {
            return Ok(String::new());
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.layout = Some(table::Layout::of(&self.schema, &waiting, self.style.width)?);
        waiting.iter().map(|rows| self.written(rows)).collect()
    }

    /// The end of the result; an empty one has its header too.
    pub fn finish(mut self) -> Result<String> {
        let mut text = self.settle()?;
        if !self.begun
            && self.style.format != Format::Json
            && !(self.style.expanded && self.style.format == Format::Table)
        {
            text.push_str(&self.written(&RecordBatch::new_empty(Arc::clone(&self.schema)))?);
        }
        if let Some(layout) = &self.layout {
            text.push_str(&layout.rule());
        }
        Ok(text)
    }

    /// Something of the table lies behind the edge of the screen, or is cut short.
    pub fn is_cut(&self) -> bool {
        self.layout.as_ref().is_some_and(table::Layout::is_cut)
    }

    fn written(&mut self, rows: &RecordBatch) -> Result<String> {
        let first = !std::mem::replace(&mut self.begun, true);
        match self.style.format {
            Format::Table if self.style.expanded => {
                let text = expanded::records(rows, self.records, self.style.width)?;
                self.records += rows.num_rows() as u64;
                Ok(text)
            }
            Format::Table => {
                let layout = match self.layout.take() {
                    Some(layout) => layout,
                    None => table::Layout::of(&self.schema, std::slice::from_ref(rows), self.style.width)?,
                };
                let layout = self.layout.insert(layout);
                let header = if first { layout.header() } else { String::new() };
                Ok(header + &layout.rows(rows)?)
            }
            Format::Csv => csv::lines(rows, first),
            Format::Markdown => markdown::lines(rows, first),
            Format::Json => {
                let mut bytes = Vec::new();
                if let Some(encoder) = &mut self.json {
                    encoder.encode(rows, &mut bytes)?;
                }
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }
}

fn json_encoder(schema: &SchemaRef) -> Result<Box<dyn RowEncoder>> {
    let parsed = tidemill_connectors::format::Format::parse("json", &Default::default());
    let format = parsed.map_err(|_| EngineError::Unsupported("JSON without options".into()))?;
    match format.check(schema).into_iter().next() {
        Some(problem) => Err(EngineError::Unsupported(format!("{} (choose another \\format)", problem.message))),
        None => format.encoder(schema),
    }
}

/// A value as a person reads it; nothing in it can move the cursor.
fn cell(column: &ArrayRef, row: usize) -> Result<String> {
    let mut text = String::new();
    write_value(&mut text, column, row, PrintStyle::Table)?;
    Ok(text)
}

/// The answer to a statement, as rows.
pub fn rows_of(answer: &Rows) -> Result<RecordBatch> {
    let headers: Vec<String> = answer.columns.iter().map(ToString::to_string).collect();
    text_rows(&headers, &answer.rows)
}

/// Rows of texts.
pub fn text_rows(headers: &[String], rows: &[Vec<String>]) -> Result<RecordBatch> {
    let fields: Vec<Field> = headers.iter().map(|name| Field::new(name, DataType::Utf8, false)).collect();
    let column = |index: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(row.get(index).map_or("", String::as_str))).collect::<StringArray>())
    };
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), (0..headers.len()).map(column).collect())?)
}

/// The schema of changes shown as rows: what each does stands in a column in front.
pub fn with_kind_column(schema: &SchemaRef) -> SchemaRef {
    let name = if schema.index_of("op").is_ok() { "$op" } else { "op" };
    let kind = Arc::new(Field::new(name, DataType::Utf8, false));
    Arc::new(Schema::new(std::iter::once(kind).chain(schema.fields().iter().cloned()).collect::<Vec<_>>()))
}

/// Changes as rows of [`with_kind_column`].
pub fn with_kinds(batch: &Batch, schema: &SchemaRef) -> Result<RecordBatch> {
    let kinds: StringArray = (0..batch.num_rows()).map(|row| Some(batch.kind(row).symbol())).collect();
    let columns = std::iter::once(Arc::new(kinds) as ArrayRef).chain(batch.rows().columns().iter().cloned());
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

#[cfg(test)]
mod tests;
