//! Columns computed from rows: expressions evaluated over a record batch, in exactly the declared schema.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use super::current_watermark;
use super::narrow_case::narrowed;
use crate::{EngineError, Result};

/// Expressions and the schema that their values must have.
#[derive(Debug, Clone)]
pub struct Projection {
    columns: Vec<Arc<dyn PhysicalExpr>>,
    /// The same, made faster.
    evaluated: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Projection {
    /// Errors when there is not one expression per field.
    pub fn new(columns: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef) -> Result<Self> {
        if columns.len() != schema.fields().len() {
            let (have, want) = (columns.len(), schema.fields().len());
            return Err(EngineError::Unsupported(format!("a projection has {have} expressions for {want} columns")));
        }
        let evaluated = columns.iter().map(narrowed).collect::<Result<_>>()?;
        Ok(Self { columns, evaluated, schema })
    }

    /// The same projection whose CURRENT_WATERMARK calls read `cell` (epoch milliseconds; `i64::MIN`: none yet).
    pub fn bind_watermark(&self, cell: &Arc<AtomicI64>) -> Result<Self> {
        let columns = self.columns.iter().map(|column| current_watermark::bind(column, cell));
        Self::new(columns.collect::<Result<_>>()?, self.schema.clone())
    }

    pub fn columns(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.columns
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// One output row per input row.
    pub fn evaluate(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let arrays = self.evaluated.iter().zip(self.schema.fields());
        let arrays = arrays.map(|(column, field)| {
            let value = column.evaluate(rows)?.into_array(rows.num_rows())?;
            cast_to(value, field.data_type())
        });
        with_schema(&self.schema, arrays.collect::<Result<_>>()?, rows.num_rows())
    }
}

/// A record batch of exactly this schema; also right for rows without any column.
pub fn with_schema(schema: &SchemaRef, arrays: Vec<ArrayRef>, row_count: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
}

/// Casts to the declared type where DataFusion chose another representation (views, dictionaries, other units).
pub fn cast_to(array: ArrayRef, data_type: &arrow::datatypes::DataType) -> Result<ArrayRef> {
    if array.data_type() == data_type { Ok(array) } else { Ok(compute::cast(&array, data_type)?) }
}
