//! Reference rows: a bounded table that is held in memory whole and looked into, and read again from time to time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
use parking_lot::Mutex;

use super::{Answer, Lookup, LookupFailure, Question};
use crate::operators::projection::Projection;
use crate::source::{Read, Source};
use crate::time::ProcessingTime;
use crate::{EngineError, Result};

/// Rows asked of a reader at a time.
const ROWS_PER_READ: usize = 8_192;

/// A bounded source, read to its end at first use and again when the interval is over.
pub struct SourceTable {
    source: Arc<dyn Source>,
    projection: Projection,
    reload_interval_ms: Option<i64>,
    loaded: Mutex<Option<Loaded>>,
}

struct Loaded {
    rows: Arc<RecordBatch>,
    at: ProcessingTime,
}

impl SourceTable {
    /// `columns` are the table's, over what the source gives. Errors where there is not one per field of `schema`.
    pub fn new(
        source: Arc<dyn Source>,
        columns: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
        reload_interval_ms: Option<i64>,
    ) -> Result<Self> {
        let projection = Projection::new(columns, schema)?;
        Ok(Self { source, projection, reload_interval_ms, loaded: Mutex::new(None) })
    }

    fn read(&self) -> Result<RecordBatch> {
        let mut batches = Vec::new();
        for split in self.source.discover()? {
            let mut reader = self.source.open(&split, None)?;
            loop {
                match reader.next(ROWS_PER_READ)? {
                    Read::Rows { rows, .. } => batches.push(self.projection.evaluate(rows.rows())?),
                    Read::Watermark(_) => {}
                    Read::End => break,
                    Read::Wait(_) => {
                        let reason = format!("split {} has no end yet: only bounded tables can be looked up", split.id);
                        return Err(EngineError::Unsupported(reason));
                    }
                }
            }
        }
        Ok(concat_batches(self.projection.schema(), &batches)?)
    }

    fn is_fresh(&self, loaded: &Loaded, now: ProcessingTime) -> bool {
        self.reload_interval_ms.is_none_or(|interval| now.0.saturating_sub(loaded.at.0) < interval)
    }
}

impl Lookup for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.projection.schema().clone()
    }

    fn ask(&self, question: &Question) -> Result<Answer, LookupFailure> {
        match question {
            Question::Open(now) => self.rows(*now).map(Answer::Whole).map_err(LookupFailure::Engine),
            Question::Keys(_) => Err(LookupFailure::Lasting("a table that is held whole is not asked for keys".into())),
        }
    }
}

impl SourceTable {
    /// The rows as they are known at this time. The same `Arc` comes as long as nothing was read again.
    fn rows(&self, now: ProcessingTime) -> Result<Arc<RecordBatch>> {
        let mut loaded = self.loaded.lock();
        if let Some(known) = loaded.as_mut() {
            if self.is_fresh(known, now) {
                return Ok(known.rows.clone());
            }
            known.at = now;
            match self.read() {
                Ok(rows) if rows == *known.rows => {}
                Ok(rows) => known.rows = Arc::new(rows),
                // Somebody may be writing the file just now: what was read before holds until it can be read again.
                Err(error) => tracing::warn!(%error, "a lookup table could not be read again: its old rows stay"),
            }
            return Ok(known.rows.clone());
        }
        let rows = Arc::new(self.read()?);
        *loaded = Some(Loaded { rows: rows.clone(), at: now });
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion_physical_expr::expressions::Column;

    use super::*;
    use crate::Batch;
    use crate::source::{Boundedness, Position, Split, SplitReader};

    /// One split with one row; below zero it cannot be read.
    #[derive(Debug, Default)]
    struct Number(AtomicI64);

    struct Reader(Option<i64>);

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
    }

    impl Source for Number {
        fn schema(&self) -> SchemaRef {
            schema()
        }

        fn boundedness(&self) -> Boundedness {
            Boundedness::Bounded
        }

        fn discover(&self) -> Result<Vec<Split>> {
            Ok(vec![Split { id: "one".into(), payload: serde_json::Value::Null }])
        }

        fn open(&self, _split: &Split, _position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
            match self.0.load(Ordering::SeqCst) {
                number if number < 0 => Err(EngineError::Unsupported("not now".into())),
                number => Ok(Box::new(Reader(Some(number)))),
            }
        }
    }

    impl SplitReader for Reader {
        fn next(&mut self, _rows_max: usize) -> Result<Read> {
            let Some(number) = self.0.take() else { return Ok(Read::End) };
            let rows = RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(vec![number]))])?;
            Ok(Read::Rows { rows: Batch::new(rows), rejected: Vec::new() })
        }

        fn position(&self) -> Position {
            serde_json::Value::Null
        }
    }

    fn value(table: &SourceTable, now: i64) -> i64 {
        let rows = table.rows(ProcessingTime(now)).unwrap();
        rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)
    }

    #[test]
    fn rows_are_read_again_when_the_interval_is_over() {
        let source = Arc::new(Number(AtomicI64::new(1)));
        let columns: Vec<Arc<dyn PhysicalExpr>> = vec![Arc::new(Column::new("n", 0))];
        let table = SourceTable::new(source.clone(), columns, schema(), Some(100)).unwrap();
        assert_eq!(value(&table, 0), 1);
        source.0.store(2, Ordering::SeqCst);
        assert_eq!(value(&table, 99), 1);
        assert_eq!(value(&table, 100), 2);
        source.0.store(-1, Ordering::SeqCst);
        assert_eq!(value(&table, 300), 2, "what cannot be read leaves the old rows");
        source.0.store(3, Ordering::SeqCst);
        assert_eq!(value(&table, 301), 2);
        assert_eq!(value(&table, 400), 3);
        assert!(SourceTable::new(Arc::new(Number(AtomicI64::new(-1))), vec![], schema(), None).is_err());
    }
}
