//! Some columns of an operator's input: those that it keeps.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::ordering::SortColumn;
use crate::Result;

/// Columns of an input by where they stand there, and by where they stand among those kept.
#[derive(Debug, Clone)]
pub struct Narrow {
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl Narrow {
    /// Each of the columns once, in the order of the input.
    pub fn new(columns: impl IntoIterator<Item = usize>, input: &Schema) -> Result<Self> {
        let mut columns: Vec<usize> = columns.into_iter().collect();
        columns.sort_unstable();
        columns.dedup();
        let schema = input.project(&columns)?.into();
        Ok(Self { columns, schema })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Where a column of the input stands among those kept, of which it must be one.
    pub fn place(&self, column: usize) -> usize {
        self.columns.binary_search(&column).expect("the column was kept")
    }

    pub fn places(&self, columns: &[usize]) -> Vec<usize> {
        columns.iter().map(|column| self.place(*column)).collect()
    }

    pub fn sort(&self, order: &[SortColumn]) -> Vec<SortColumn> {
        order.iter().map(|sort| SortColumn { column: self.place(sort.column), ..*sort }).collect()
    }

    /// The kept columns, without a copy.
    pub fn project(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        Ok(rows.project(&self.columns)?)
    }
}
