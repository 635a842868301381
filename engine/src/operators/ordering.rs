//! The order of rows that `ORDER BY` asks for, as bytes that sort the same way.

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use arrow::row::{RowConverter, Rows, SortField};

use crate::Result;

/// One column of an ORDER BY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortColumn {
    /// Index into the operator's input.
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

/// What numbers the rows of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankFunction {
    /// 1, 2, 3, ...: rows with equal sort columns are told apart by their other columns.
    RowNumber,
    /// One more than the number of rows before; equal rows share it.
    Rank,
    /// One more than the number of different sort columns before.
    DenseRank,
}

impl RankFunction {
    /// The function's name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::RowNumber => "ROW_NUMBER",
            Self::Rank => "RANK",
            Self::DenseRank => "DENSE_RANK",
        }
    }
}

/// The ranks that are wanted: 1-based, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankRange {
    pub from: u64,
    pub to: u64,
}

impl RankRange {
    pub fn contains(self, rank: u64) -> bool {
        (self.from..=self.to).contains(&rank)
    }
}

/// Turns the sort columns of rows into bytes: `a` comes before `b` where the bytes of `a` are smaller. Neither's bytes
/// are the beginning of the other's.
pub struct SortEncoder {
    /// `None` where there are no sort columns: all rows are equal.
    converter: Option<RowConverter>,
    columns: Vec<usize>,
}

impl SortEncoder {
    pub fn new(order: &[SortColumn], input: &Schema) -> Result<Self> {
        let field = |sort: &SortColumn| {
            let options = SortOptions { descending: sort.descending, nulls_first: sort.nulls_first };
            SortField::new_with_options(input.field(sort.column).data_type().clone(), options)
        };
        let converter = match order {
            [] => None,
            _ => Some(RowConverter::new(order.iter().map(field).collect())?),
        };
        Ok(Self { converter, columns: order.iter().map(|sort| sort.column).collect() })
    }

    /// The bytes of every row.
    pub fn encode(&self, rows: &RecordBatch) -> Result<SortBytes> {
        let Some(converter) = &self.converter else { return Ok(SortBytes(None)) };
        let columns: Vec<_> = self.columns.iter().map(|column| rows.column(*column).clone()).collect();
        Ok(SortBytes(Some(converter.convert_columns(&columns)?)))
    }
}

/// The sort columns of a batch, row by row.
pub struct SortBytes(Option<Rows>);

impl SortBytes {
    pub fn of(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}
