//! The `print` sink: rows as lines on standard output, as Flink prints them; and the table of a bare SELECT.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::sink::{Committer, Guarantee, Prepared, Sink, SinkWriter, WriterContext};
use tidemill_engine::time::ProcessingTime;
use tidemill_engine::{Batch, Epoch, Result};

use crate::options::{OptionDef, OptionProblem, OptionType};
use crate::registry::Connector;
use crate::table::TableSpec;

mod console;
mod table;
mod text;

pub use console::{Console, SharedOutput};
pub use text::write_value;

/// How rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrintStyle {
    /// `+I[1, a]`, one line per row, values as Java prints them.
    Flink,
    /// Aligned columns under a header.
    Table,
}

const IDENTIFIER: OptionDef =
    OptionDef::new("print-identifier", OptionType::Text, "a word to print in front of each row").sink();
const STANDARD_ERROR: OptionDef =
    OptionDef::new("standard-error", OptionType::Boolean, "print to standard error instead of standard output")
        .default("false")
        .sink();
const OPTIONS: &[OptionDef] = &[IDENTIFIER, STANDARD_ERROR];

/// The connector.
pub struct Print {
    console: Console,
}

impl Print {
    pub fn new(console: Console) -> Self {
        Self { console }
    }
}

impl Connector for Print {
    fn name(&self) -> &'static str {
        "print"
    }

    fn doc(&self) -> &'static str {
        "prints each row with its row kind to standard output or standard error"
    }

    fn options(&self, _spec: Option<&TableSpec>) -> Vec<OptionDef> {
        OPTIONS.to_vec()
    }

    fn guarantee(&self) -> Option<Guarantee> {
        Some(Guarantee::AtLeastOnce)
    }

    fn accepts(&self, _spec: Option<&TableSpec>) -> ChangelogMode {
        ChangelogMode::Retract
    }

    fn sink(&self, spec: &TableSpec, schema: SchemaRef) -> Result<Arc<dyn Sink>, OptionProblem> {
        let console = &self.console;
        let output = if spec.boolean(&STANDARD_ERROR)? { &console.stderr } else { &console.stdout };
        let mut sink = PrintSink::new(schema, ChangelogMode::Retract, PrintStyle::Flink, output.clone());
        sink.identifier = spec.text(&IDENTIFIER).map(str::to_string);
        Ok(Arc::new(sink))
    }
}

/// Prints rows; all writers share one output.
#[derive(Debug)]
pub struct PrintSink {
    schema: SchemaRef,
    /// Tables show the row kind only where there can be other kinds than inserts.
    changelog: ChangelogMode,
    style: PrintStyle,
    identifier: Option<String>,
    output: SharedOutput,
    layout: Arc<Mutex<Option<table::Layout>>>,
}

impl PrintSink {
    pub fn new(schema: SchemaRef, changelog: ChangelogMode, style: PrintStyle, output: SharedOutput) -> Self {
        Self { schema, changelog, style, identifier: None, output, layout: Arc::default() }
    }

    /// Flink's prefix: the identifier, the number of the subtask where there are several, or both.
    fn prefix(&self, context: &WriterContext) -> String {
        let subtask = (context.subtask.parallelism > 1).then(|| (context.subtask.index + 1).to_string());
        match (&self.identifier, subtask) {
            (None, None) => String::new(),
            (Some(identifier), None) => format!("{identifier}> "),
            (None, Some(subtask)) => format!("{subtask}> "),
            (Some(identifier), Some(subtask)) => format!("{identifier}:{subtask}> "),
        }
    }
}

impl Sink for PrintSink {
    fn accepts(&self) -> ChangelogMode {
        ChangelogMode::Retract
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn writer(&self, context: &WriterContext, _restored: Vec<serde_json::Value>) -> Result<Box<dyn SinkWriter>> {
        Ok(match self.style {
            PrintStyle::Flink => {
                Box::new(LineWriter { prefix: self.prefix(context), output: self.output.clone(), text: String::new() })
            }
            PrintStyle::Table => Box::new(TableWriter {
                schema: self.schema.clone(),
                show_kind: self.changelog != ChangelogMode::Append,
                output: self.output.clone(),
                layout: self.layout.clone(),
            }),
        })
    }

    fn committer(&self, _job_id: &str) -> Result<Option<Box<dyn Committer>>> {
        Ok(None)
    }
}

struct LineWriter {
    prefix: String,
    output: SharedOutput,
    /// Kept between batches for its memory.
    text: String,
}

impl SinkWriter for LineWriter {
    fn write(&mut self, batch: &Batch, _now: ProcessingTime) -> Result<()> {
        self.text.clear();
        for row in 0..batch.num_rows() {
            self.text.push_str(&self.prefix);
            self.text.push_str(batch.kind(row).symbol());
            self.text.push('[');
            for (index, column) in batch.rows().columns().iter().enumerate() {
                self.text.push_str(if index == 0 { "" } else { ", " });
                write_value(&mut self.text, column, row, PrintStyle::Flink)?;
            }
            self.text.push_str("]\n");
        }
        self.output.print(&self.text)
    }

    fn prepare(&mut self, _epoch: Epoch, _last: bool) -> Result<Prepared> {
        Ok(Prepared::default())
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        None
    }
}

struct TableWriter {
    schema: SchemaRef,
    show_kind: bool,
    output: SharedOutput,
    /// Shared, so that the header is printed once however many writers there are.
    layout: Arc<Mutex<Option<table::Layout>>>,
}

impl SinkWriter for TableWriter {
    fn write(&mut self, batch: &Batch, _now: ProcessingTime) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        let mut shared = self.layout.lock();
        let layout = match shared.take() {
            Some(layout) => layout,
            None => {
                let layout = table::Layout::of(batch.rows(), self.show_kind)?;
                text.push_str(&layout.header(&self.schema));
                layout
            }
        };
        let layout = shared.insert(layout);
        layout.write_rows(&mut text, batch)?;
        self.output.print(&text)
    }

    fn prepare(&mut self, _epoch: Epoch, _last: bool) -> Result<Prepared> {
        Ok(Prepared::default())
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        None
    }
}

#[cfg(test)]
mod tests;
