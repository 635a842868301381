//! What the jobs of a test wrote, by sink, as text that can be compared.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use tidemill_connectors::print::{PrintStyle, write_value};
use tidemill_engine::runtime::testing::CollectSink;
use tidemill_engine::sink::Sink;
use tidemill_engine::{Batch, Result};

use super::compare::AnswerRow;

/// Name under which the rows of a query are kept.
pub const QUERY: &str = "";

/// One sink in memory per table; they outlive the jobs that write to them.
#[derive(Default)]
pub struct Answers {
    sinks: Mutex<HashMap<String, CollectSink>>,
    /// Of sinks that upsert: the columns of the key.
    keys: Mutex<HashMap<String, Vec<usize>>>,
}

impl Answers {
    /// `key`: the columns that the sink upserts by, where it does.
    pub fn sink(&self, name: &str, _schema: SchemaRef, key: Option<Vec<usize>>) -> Arc<dyn Sink> {
        if let Some(key) = key {
            self.keys.lock().insert(name.to_string(), key);
        }
        Arc::new(self.sinks.lock().entry(name.to_string()).or_default().clone())
    }

    /// Forgets what earlier jobs wrote.
    pub fn clear(&self) {
        self.sinks.lock().clear();
        self.keys.lock().clear();
    }

    /// The columns that a sink upserts by, where it does.
    pub fn key(&self, name: &str) -> Option<Vec<usize>> {
        self.keys.lock().get(name).cloned()
    }

    /// Committed rows in order; `None` where no job wrote to that sink.
    pub fn rows(&self, name: &str) -> Result<Option<Vec<AnswerRow>>> {
        let Some(sink) = self.sinks.lock().get(name).cloned() else { return Ok(None) };
        let mut rows = Vec::new();
        for (_, batch) in sink.batches() {
            for row in 0..batch.num_rows() {
                rows.push(AnswerRow { kind: batch.kind(row), text: row_text(&batch, row)? });
            }
        }
        Ok(Some(rows))
    }
}

/// `2024-01-01 10:00:00.000, pen, 3`.
fn row_text(batch: &Batch, row: usize) -> Result<String> {
    let mut text = String::new();
    for (index, column) in batch.rows().columns().iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        write_value(&mut text, column.as_ref(), row, PrintStyle::Table)?;
    }
    Ok(text)
}
