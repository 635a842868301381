//! Apache Parquet files: read by row position with only the columns asked for; written whole, one file at a time.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use tidemill_engine::{EngineError, Result};

use super::option::OptionReader;
use super::{FormatOption, FormatProblem};

/// Rows of a written row group: also the most that a restored reader decodes again to reach its position.
const ROW_GROUP_ROWS: usize = 128 * 1024;

#[derive(Debug, Clone, PartialEq)]
pub struct ParquetOptions {
    pub compression: Compression,
}

pub const OPTIONS: &[FormatOption] = &[FormatOption {
    key: "parquet.compression",
    value_type: "SNAPPY | ZSTD | GZIP | UNCOMPRESSED",
    default: Some("SNAPPY"),
    description: "of the pages of written files",
}];

impl ParquetOptions {
    pub(super) fn read(reader: &mut OptionReader<'_>) -> Self {
        let choices = [
            ("SNAPPY", Compression::SNAPPY),
            ("ZSTD", Compression::ZSTD(ZstdLevel::default())),
            ("GZIP", Compression::GZIP(GzipLevel::default())),
            ("UNCOMPRESSED", Compression::UNCOMPRESSED),
        ];
        Self { compression: reader.choice("parquet.compression", Compression::SNAPPY, &choices) }
    }
}

pub(super) fn check(_table: &Schema) -> Vec<FormatProblem> {
    Vec::new()
}

pub(super) fn not_lines() -> EngineError {
    EngineError::Unsupported(
        "a Parquet file is not a sequence of records: it has a reader and a writer of its own".into(),
    )
}

/// Rows of one file, in order.
pub struct ParquetReader {
    path: PathBuf,
    rows: ParquetRecordBatchReader,
    schema: SchemaRef,
    /// Per column of `schema`: its index in the batches read; `None` where the file lacks it.
    sources: Vec<Option<usize>>,
    /// Rows read but not given yet.
    pending: Option<RecordBatch>,
    position: u64,
}

impl ParquetReader {
    /// Opens behind the first `position` rows. `table`: the declared columns; `projection`: indices of those to give, in
    /// this order. Columns are found by name; one that the file lacks is NULL. `batch_rows`: decoded at once.
    pub fn open(
        path: &Path,
        table: &SchemaRef,
        projection: &[usize],
        position: u64,
        batch_rows: usize,
    ) -> Result<Self> {
        let file = File::open(path).map_err(|error| EngineError::io("open", path, error))?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| damaged(path, 0, error))?;
        let schema = std::sync::Arc::new(table.project(projection)?);
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let roots: Vec<usize> = names.iter().filter_map(|name| metadata.schema().index_of(name).ok()).collect();
        let sources = sources(&metadata, &roots, &names);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let skipped = usize::try_from(position).unwrap_or(usize::MAX);
        let rows = builder
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .with_offset(skipped)
            .build()
            .map_err(|error| damaged(path, position, error))?;
        Ok(Self { path: path.to_owned(), rows, schema, sources, pending: None, position })
    }

    /// Up to `rows_max` further rows with the columns asked for; `None` at the end.
    pub fn next(&mut self, rows_max: usize) -> Result<Option<RecordBatch>> {
        if self.pending.is_none() {
            self.pending = match self.rows.next() {
                None => return Ok(None),
                Some(Ok(rows)) => Some(self.conform(&rows)?),
                Some(Err(error)) => return Err(damaged(&self.path, self.position, error)),
            };
        }
        let Some(rows) = self.pending.take() else { return Ok(None) };
        let count = rows.num_rows().min(rows_max);
        if count < rows.num_rows() {
            self.pending = Some(rows.slice(count, rows.num_rows() - count));
        }
        self.position += count as u64;
        Ok(Some(rows.slice(0, count)))
    }

    /// Rows of the file before the next one: open here to go on.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Orders and casts the columns as the table declares them.
    fn conform(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let columns: Vec<ArrayRef> =
            (0..self.schema.fields().len()).map(|column| self.conform_column(column, rows)).collect::<Result<_>>()?;
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|error| damaged(&self.path, self.position, error))
    }

    fn conform_column(&self, column: usize, rows: &RecordBatch) -> Result<ArrayRef> {
        let field = self.schema.field(column);
        let Some(source) = self.sources[column] else {
            return Ok(arrow::array::new_null_array(field.data_type(), rows.num_rows()));
        };
        let found = rows.column(source);
        if found.data_type() == field.data_type() {
            return Ok(found.clone());
        }
        let strict = CastOptions { safe: false, ..Default::default() };
        cast_with_options(found, field.data_type(), &strict).map_err(|error| {
            let reason = format!("column {} is {} in the file: {error}", field.name(), found.data_type());
            damaged(&self.path, self.position, reason)
        })
    }
}

/// Where each named column is among the projected roots, which come in the file's order.
fn sources(metadata: &ArrowReaderMetadata, roots: &[usize], names: &[&str]) -> Vec<Option<usize>> {
    let mut ordered = roots.to_vec();
    ordered.sort_unstable();
    ordered.dedup();
    let place = |name: &&str| {
        let root = metadata.schema().index_of(name).ok()?;
        ordered.iter().position(|candidate| *candidate == root)
    };
    names.iter().map(place).collect()
}

/// `row`: how many rows were read before.
fn damaged(path: &Path, row: u64, reason: impl ToString) -> EngineError {
    EngineError::BadRecord {
        place: format!("{} (counting rows, not bytes)", path.display()),
        offset: row,
        reason: reason.to_string(),
        excerpt: String::new(),
        hint: "check that this is a whole Parquet file with the columns and types that the table declares".into(),
    }
}

/// Writes one file.
pub struct ParquetWriter<W: Write + Send> {
    inner: ArrowWriter<W>,
}

impl<W: Write + Send> ParquetWriter<W> {
    pub fn new(inner: W, schema: &SchemaRef, options: &ParquetOptions) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(options.compression)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_created_by("tidemill".into())
            .build();
        let inner = ArrowWriter::try_new(inner, schema.clone(), Some(properties)).map_err(failed)?;
        Ok(Self { inner })
    }

    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.inner.write(rows).map_err(failed)
    }

    /// Bytes written so far and still in memory: about the size of the file if it were finished now.
    pub fn size_bytes(&self) -> usize {
        self.inner.bytes_written() + self.inner.in_progress_size()
    }

    /// Writes the footer and gives the writer below back; the file is not valid without it.
    pub fn finish(self) -> Result<W> {
        self.inner.into_inner().map_err(failed)
    }
}

fn failed(error: ParquetError) -> EngineError {
    EngineError::Connector { connector: "parquet writer".into(), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
