//! Reading made-up rows at a steady rate. The position is the index of the next row.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use serde_json::json;
use tidemill_engine::source::{Boundedness, Position, Read, Source, Split, SplitReader};
use tidemill_engine::time::{Clock, SystemClock};
use tidemill_engine::{Batch, EngineError, Result, failpoint};

use super::generator::Generator;
use crate::pace::{Helping, Pace};

/// Most bytes of a batch, by the longest row that the options allow; wide rows come in smaller batches.
const BATCH_BYTES_MAX: u64 = 32 << 20;
#[derive(Debug)]
pub struct DatagenSource {
    pub schema: SchemaRef,
    /// One per column of `schema`.
    pub generators: Vec<Generator>,
    /// Rows in all; `u64::MAX` where nothing ends them.
    pub rows: u64,
    pub rows_per_second: u64,
    pub boundedness: Boundedness,
}

impl Source for DatagenSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn boundedness(&self) -> Boundedness {
        self.boundedness
    }

    fn discover(&self) -> Result<Vec<Split>> {
        Ok(vec![Split { id: "datagen".to_string(), payload: json!(null) }])
    }

    fn open(&self, _split: &Split, position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
        let next = match position {
            None => 0,
            Some(position) => position.as_u64().ok_or_else(|| bad_position(position))?,
        };
        Ok(Box::new(DatagenReader {
            schema: self.schema.clone(),
            rows_max: self.rows_max(),
            generators: Arc::from(self.generators.clone()),
            rows: self.rows,
            next,
            pace: Pace::new(self.rows_per_second, 1),
            clock: SystemClock,
        }))
    }
}

impl DatagenSource {
    /// Rows of a batch, by their width.
    fn rows_max(&self) -> u64 {
        let width = self.generators.iter().map(Generator::width).fold(1, u64::saturating_add);
        (BATCH_BYTES_MAX / width).max(1)
    }
}

fn bad_position(position: &Position) -> EngineError {
    EngineError::Connector { connector: "datagen".to_string(), reason: format!("{position} is not a row number") }
}

struct DatagenReader {
    schema: SchemaRef,
    generators: Arc<[Generator]>,
    /// Of a batch.
    rows_max: u64,
    rows: u64,
    next: u64,
    pace: Pace,
    clock: SystemClock,
}

impl SplitReader for DatagenReader {
    fn next(&mut self, rows_max: usize) -> Result<Read> {
        let left = self.rows.saturating_sub(self.next).min(rows_max as u64).min(self.rows_max);
        if left == 0 {
            return Ok(Read::End);
        }
        let Helping { rows: count, due_at } = match self.pace.take(left) {
            Ok(helping) => helping,
            Err(wait) => return Ok(Read::Wait(wait)),
        };
        failpoint::reach("datagen.rows")?;
        let keys: Vec<u64> = (self.next..self.next + count).collect();
        let now_ms = self.clock.now().0;
        let columns =
            self.generators.iter().map(|column| column.generate(&keys, now_ms)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(keys.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        self.next += count;
        Ok(Read::Rows { rows: Batch::new(rows).with_read_at(Some(due_at)), rejected: Vec::new() })
    }

    fn position(&self) -> Position {
        json!(self.next)
    }
}
