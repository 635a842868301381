//! The unit in which rows travel: an Arrow record batch with two optional side columns.
//!
//! The side columns are kept out of the Arrow schema so that plans never see them: the row kinds of a changelog,
//! and the watermark that a row's own split had reached just before the row was read (which decides lateness, so
//! that lateness depends neither on batch size nor on how inputs interleave).

use std::time::Instant;

use arrow::array::{Array, ArrayRef, BooleanArray, Int8Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::SchemaRef;

use crate::Result;
use crate::time::EventTime;

/// What a row of a changelog does to the table that it describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum RowKind {
    Insert = 0,
    UpdateBefore = 1,
    UpdateAfter = 2,
    Delete = 3,
}

impl RowKind {
    /// The kind that a side column's value stands for; any other value is a bug of the operator that wrote it.
    pub fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Insert,
            1 => Self::UpdateBefore,
            2 => Self::UpdateAfter,
            3 => Self::Delete,
            other => unreachable!("row kind {other} was never written"),
        }
    }

    /// Flink's short name: `+I`, `-U`, `+U`, `-D`.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }

    /// True for kinds that take a row out of the table (`-U`, `-D`).
    pub fn is_retraction(self) -> bool {
        matches!(self, Self::UpdateBefore | Self::Delete)
    }
}

/// Rows with what the engine must know about them beyond their columns.
#[derive(Debug, Clone)]
pub struct Batch {
    rows: RecordBatch,
    kinds: Option<Int8Array>,
    watermarks: Option<Int64Array>,
    /// When its newest row was read at a source, where that is known; of rows that come by the clock, when the first was due.
    read_at: Option<Instant>,
}

impl Batch {
    /// Inserted rows that are never late.
    pub fn new(rows: RecordBatch) -> Self {
        Self { rows, kinds: None, watermarks: None, read_at: None }
    }

    /// Rows with a row kind each (codes of [`RowKind`]); panics when the lengths differ.
    pub fn with_kinds(rows: RecordBatch, kinds: Int8Array) -> Self {
        assert_eq!(rows.num_rows(), kinds.len(), "one row kind per row");
        Self { rows, kinds: Some(kinds), watermarks: None, read_at: None }
    }

    /// Sets, per row, the watermark (epoch milliseconds) that the row's split had reached before the row.
    pub fn with_watermarks(mut self, watermarks: Int64Array) -> Self {
        assert_eq!(self.rows.num_rows(), watermarks.len(), "one watermark per row");
        self.watermarks = Some(watermarks);
        self
    }

    /// Sets when the newest row was read.
    pub fn with_read_at(self, read_at: Option<Instant>) -> Self {
        Self { read_at, ..self }
    }

    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    pub fn column(&self, index: usize) -> &ArrayRef {
        self.rows.column(index)
    }

    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0
    }

    /// `None` when every row is an insert.
    pub fn kinds(&self) -> Option<&Int8Array> {
        self.kinds.as_ref()
    }

    pub fn kind(&self, row: usize) -> RowKind {
        self.kinds.as_ref().map_or(RowKind::Insert, |kinds| RowKind::from_code(kinds.value(row)))
    }

    /// The watermark of the row's split before the row; [`EventTime::MIN`] where none is known.
    pub fn watermark_before(&self, row: usize) -> EventTime {
        self.watermarks.as_ref().map_or(EventTime::MIN, |marks| EventTime(marks.value(row)))
    }

    pub fn watermarks(&self) -> Option<&Int64Array> {
        self.watermarks.as_ref()
    }

    pub fn read_at(&self) -> Option<Instant> {
        self.read_at
    }

    /// The same rows, one to one, with other columns: kinds and watermarks stay.
    pub fn replace_rows(&self, rows: RecordBatch) -> Self {
        assert_eq!(self.rows.num_rows(), rows.num_rows(), "columns are replaced row by row");
        Self { rows, ..self.clone() }
    }

    /// The rows that are added, as inserts, and those that are taken back, if there are any, without their kinds.
    pub fn split_by_effect(&self) -> Result<(Self, Option<Self>)> {
        let plain = |batch: Self| Self { kinds: None, ..batch };
        let Some(kinds) = &self.kinds else { return Ok((self.clone(), None)) };
        let adds = |code: &i8| !RowKind::from_code(*code).is_retraction();
        if kinds.values().iter().all(adds) {
            return Ok((plain(self.clone()), None));
        }
        let added = BooleanArray::from_iter(kinds.values().iter().map(|code| Some(adds(code))));
        let taken = compute::not(&added)?;
        Ok((plain(self.filter(&added)?), Some(plain(self.filter(&taken)?))))
    }

    /// The same rows with other kinds.
    pub fn replace_kinds(&self, kinds: Int8Array) -> Self {
        assert_eq!(self.rows.num_rows(), kinds.len(), "one row kind per row");
        Self { kinds: Some(kinds), ..self.clone() }
    }

    /// Keeps the rows for which `keep` is true (null counts as false).
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self> {
        let rows = compute::filter_record_batch(&self.rows, keep)?;
        let kinds = self.kinds.as_ref().map(|kinds| filter_typed(kinds, keep)).transpose()?;
        let watermarks = self.watermarks.as_ref().map(|marks| filter_typed(marks, keep)).transpose()?;
        Ok(Self { rows, kinds, watermarks, read_at: self.read_at })
    }

    /// The rows at `indices`, in that order; an index may repeat.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let rows = compute::take_record_batch(&self.rows, indices)?;
        let kinds = self.kinds.as_ref().map(|kinds| take_typed(kinds, indices)).transpose()?;
        let watermarks = self.watermarks.as_ref().map(|marks| take_typed(marks, indices)).transpose()?;
        Ok(Self { rows, kinds, watermarks, read_at: self.read_at })
    }

    /// Rows `offset .. offset + length`, without a copy.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            rows: self.rows.slice(offset, length),
            kinds: self.kinds.as_ref().map(|kinds| kinds.slice(offset, length)),
            watermarks: self.watermarks.as_ref().map(|marks| marks.slice(offset, length)),
            read_at: self.read_at,
        }
    }

    /// Memory held by the columns, in bytes; an upper bound where buffers are shared with other batches.
    pub fn size_bytes(&self) -> usize {
        self.rows.get_array_memory_size()
    }
}

fn filter_typed<T: Array + Clone + 'static>(array: &T, keep: &BooleanArray) -> Result<T> {
    let filtered = compute::filter(array, keep)?;
    Ok(filtered.as_any().downcast_ref::<T>().expect("filter keeps the type").clone())
}

fn take_typed<T: Array + Clone + 'static>(array: &T, indices: &UInt32Array) -> Result<T> {
    let taken = compute::take(array, indices, None)?;
    Ok(taken.as_any().downcast_ref::<T>().expect("take keeps the type").clone())
}
