//! Reading files: one split per file, or per fixed range of a plain file of lines.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMillisecondArray, UInt32Array,
};
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::source::{Boundedness, Position, Read, Source, Split, SplitReader};
use tidemill_engine::{Batch, EngineError, Result};

use super::discover::{FoundFile, find_files};
use super::options::{FileTable, SourceOptions};
use super::partition;
use crate::compression::Compression;
use crate::format::Format;
use crate::format::parquet::ParquetReader;
use crate::framing::{ByteRange, RecordReader};
use crate::registry::MetadataDef;

/// Rows that are decoded at once from a Parquet file.
const PARQUET_BATCH_ROWS: usize = 8192;

/// Where a column of the source comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Index among the columns inside the file.
    File(usize),
    /// A folder's name, by partition key.
    Folder(String),
    /// What is known about the file, by metadata key.
    Metadata(String),
}

/// The connector's metadata columns.
pub fn metadata() -> Vec<MetadataDef> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let def = |key, data_type, doc| MetadataDef { key, data_type, writable: false, doc };
    vec![
        def("file.path", DataType::Utf8, "path of the file that the row was read from"),
        def("file.name", DataType::Utf8, "its name, without folders"),
        def("file.size", DataType::Int64, "its size in bytes when it was found"),
        def("file.modification-time", time, "when it was last written, when it was found"),
    ]
}

#[derive(Debug)]
pub struct FileSource {
    pub table: FileTable,
    pub options: SourceOptions,
    pub schema: SchemaRef,
    /// One per column of `schema`.
    pub origins: Vec<Origin>,
}

/// What a split reads; kept in checkpoints.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct FileSplit {
    file: FoundFile,
    start: u64,
    /// Records that begin before this byte; `None`: to the end of the file.
    end: Option<u64>,
}

impl Source for FileSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn boundedness(&self) -> Boundedness {
        if self.options.monitor_interval.is_some() { Boundedness::Unbounded } else { Boundedness::Bounded }
    }

    fn changelog(&self) -> ChangelogMode {
        self.table.format.changelog()
    }

    fn in_order(&self) -> bool {
        self.changelog() != ChangelogMode::Append
    }

    fn discover(&self) -> Result<Vec<Split>> {
        let must_exist = self.options.monitor_interval.is_none();
        let files = find_files(&self.table.path, self.options.regex.as_ref(), must_exist)?;
        Ok(files.into_iter().flat_map(|file| self.cut(file)).collect())
    }

    fn whole(&self, split: &Split) -> String {
        FileSplit::deserialize(&split.payload).map_or_else(|_| split.id.clone(), |payload| payload.file.path)
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.options.monitor_interval
    }

    fn open(&self, split: &Split, position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
        let payload = FileSplit::deserialize(&split.payload).map_err(|error| foreign(&split.id, error.to_string()))?;
        let position = match position {
            None => None,
            Some(position) => {
                Some(position.as_u64().ok_or_else(|| foreign(&split.id, format!("{position} is no position")))?)
            }
        };
        let path = PathBuf::from(&payload.file.path);
        self.check_unchanged(&path, &payload, position)?;
        let reader = self.reader(&path, &payload, position)?;
        Ok(Box::new(FileReader { schema: self.schema.clone(), columns: self.columns(&path, &payload.file)?, reader }))
    }
}

impl FileSource {
    fn compression(&self, path: &Path) -> Compression {
        match self.table.format {
            Format::Parquet(_) => Compression::None,
            _ => self.table.compression.unwrap_or_else(|| Compression::of_path(path)),
        }
    }

    /// True where any newline ends a record of the file as it lies on the disk.
    fn has_plain_lines(&self, path: &Path) -> bool {
        self.table.format.splits_at_newlines() && self.compression(path) == Compression::None
    }

    /// The splits of a file: ranges depend on its size alone. One that is found while monitoring is read up to the size
    /// that it has then; what it grows by later is not part of it.
    fn cut(&self, file: FoundFile) -> Vec<Split> {
        let lines = self.has_plain_lines(Path::new(&file.path));
        let step = if lines { self.options.split_size } else { u64::MAX };
        let starts = (0..).map(|n: u64| n.saturating_mul(step)).take_while(|start| *start < file.size_bytes);
        let split = |start: u64| {
            let end = start.saturating_add(step).min(file.size_bytes);
            let payload = FileSplit { file: file.clone(), start, end: lines.then_some(end) };
            let id = if start == 0 { file.path.clone() } else { format!("{}@{start}", file.path) };
            Split { id, payload: json!(payload) }
        };
        starts.map(split).collect()
    }

    fn reader(&self, path: &Path, split: &FileSplit, position: Option<u64>) -> Result<Reader> {
        let table = &self.table.file_schema;
        let projection: Vec<usize> = self.origins.iter().filter_map(Origin::file_column).collect();
        if let Format::Parquet(_) = self.table.format {
            let rows = position.unwrap_or(0);
            return Ok(Reader::Parquet(ParquetReader::open(path, table, &projection, rows, PARQUET_BATCH_ROWS)?));
        }
        let decoder = self.table.format.decoder(table, &projection, path)?;
        let range = ByteRange { start: split.start, end: split.end };
        Ok(Reader::Records(RecordReader::open(path, self.compression(path), decoder, range, position)?))
    }

    /// A file that lost bytes since it was found is not the one that the checkpoint speaks of.
    fn check_unchanged(&self, path: &Path, split: &FileSplit, position: Option<u64>) -> Result<()> {
        let metadata = std::fs::metadata(path).map_err(|error| EngineError::io("read", path, error))?;
        let (size, found) = (metadata.len(), split.file.size_bytes);
        let grown = size > found && !self.has_plain_lines(path) && position.is_some();
        if size >= found && !grown {
            return Ok(());
        }
        Err(EngineError::BadRecord {
            place: path.display().to_string(),
            offset: position.unwrap_or(split.start),
            reason: format!("the file changed while it was being read: it had {found} bytes and has {size} now"),
            excerpt: String::new(),
            hint: "put the old file back, or start again without the old checkpoints; do not write to files in place"
                .to_string(),
        })
    }

    /// The columns of `schema` for one file: indices among the decoded ones, or the same value for each row.
    fn columns(&self, path: &Path, file: &FoundFile) -> Result<Vec<Column>> {
        let mut decoded = 0..;
        let columns = self.origins.iter().zip(self.schema.fields()).map(|(origin, field)| {
            Ok(match origin {
                Origin::File(_) => Column::Decoded(decoded.next().expect("endless")),
                Origin::Folder(key) => {
                    let default = &self.table.default_partition;
                    Column::Constant(partition::value_of(path, key, field.data_type(), default)?)
                }
                Origin::Metadata(key) => {
                    Column::Constant(compute::cast(&metadata_value(path, file, key), field.data_type())?)
                }
            })
        });
        columns.collect()
    }
}

impl Origin {
    fn file_column(&self) -> Option<usize> {
        match self {
            Self::File(column) => Some(*column),
            _ => None,
        }
    }
}

fn metadata_value(path: &Path, file: &FoundFile, key: &str) -> ArrayRef {
    match key {
        "file.path" => Arc::new(StringArray::from(vec![file.path.as_str()])),
        "file.name" => Arc::new(StringArray::from(vec![path.file_name().and_then(|name| name.to_str())])),
        "file.size" => Arc::new(Int64Array::from(vec![file.size_bytes as i64])),
        "file.modification-time" => {
            Arc::new(TimestampMillisecondArray::from(vec![file.modified_ms]).with_timezone("UTC"))
        }
        other => unreachable!("the metadata key {other} was checked"),
    }
}

/// A split or position that this source never gave.
fn foreign(split: &str, reason: String) -> EngineError {
    EngineError::StateMismatch {
        reasons: vec![format!("the checkpoint's split {split} is not one of files: {reason}")],
    }
}

enum Column {
    Decoded(usize),
    /// Of length one.
    Constant(ArrayRef),
}

enum Reader {
    Records(RecordReader),
    Parquet(ParquetReader),
}

struct FileReader {
    schema: SchemaRef,
    columns: Vec<Column>,
    reader: Reader,
}

impl SplitReader for FileReader {
    fn next(&mut self, rows_max: usize) -> Result<Read> {
        let read = match &mut self.reader {
            Reader::Records(reader) => reader.next(rows_max)?,
            Reader::Parquet(reader) => reader.next(rows_max)?.map(|rows| (Batch::new(rows), Vec::new())),
        };
        let Some((decoded, rejected)) = read else { return Ok(Read::End) };
        Ok(Read::Rows { rows: self.assemble(&decoded)?, rejected })
    }

    /// Bytes of the (unpacked) file before the next record, or rows of a Parquet file before the next row.
    fn position(&self) -> Position {
        match &self.reader {
            Reader::Records(reader) => json!(reader.position()),
            Reader::Parquet(reader) => json!(reader.position()),
        }
    }
}

impl FileReader {
    fn assemble(&self, decoded: &Batch) -> Result<Batch> {
        let rows = decoded.num_rows();
        let columns = self.columns.iter().map(|column| match column {
            Column::Decoded(index) => Ok(decoded.column(*index).clone()),
            Column::Constant(value) => compute::take(value, &UInt32Array::from(vec![0; rows]), None),
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(decoded.replace_rows(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?))
    }
}
