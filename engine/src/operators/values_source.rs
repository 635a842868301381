//! Rows that a plan carries with it: VALUES, and the inputs of tests. One split; the position is the row number.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::source::{Boundedness, Position, Read, Source, Split, SplitReader};
use crate::{Batch, EngineError, Result};

/// A bounded source over batches in memory. `schema` is that of every batch.
#[derive(Debug, Clone)]
pub struct ValuesSource {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
}

impl ValuesSource {
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches }
    }
}

impl Source for ValuesSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn discover(&self) -> Result<Vec<Split>> {
        Ok(vec![Split { id: "values".into(), payload: serde_json::Value::Null }])
    }

    fn open(&self, _split: &Split, position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
        let next = match position {
            None => 0,
            Some(position) => position.as_u64().ok_or_else(|| EngineError::Connector {
                connector: "values".into(),
                reason: format!("{position} is not a row number"),
            })?,
        };
        Ok(Box::new(ValuesReader { batches: self.batches.clone(), next: next as usize }))
    }
}

struct ValuesReader {
    batches: Vec<RecordBatch>,
    /// Number of rows given so far.
    next: usize,
}

impl SplitReader for ValuesReader {
    fn next(&mut self, rows_max: usize) -> Result<Read> {
        let mut start = 0;
        for batch in &self.batches {
            let end = start + batch.num_rows();
            if self.next < end {
                let rows = batch.slice(self.next - start, rows_max.min(end - self.next));
                self.next += rows.num_rows();
                return Ok(Read::Rows { rows: Batch::new(rows), rejected: vec![] });
            }
            start = end;
        }
        Ok(Read::End)
    }

    fn position(&self) -> Position {
        Position::from(self.next as u64)
    }
}
