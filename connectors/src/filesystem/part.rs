//! One part file while it is written: encoding, compression, size, and making it durable. Knows nothing of epochs.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use tidemill_engine::{Batch, EngineError, Result};

use super::durable;
use super::options::FileTable;
use crate::compression::{CompressedWriter, Compression};
use crate::format::parquet::ParquetWriter;
use crate::format::{Format, RowEncoder};

/// Encoded rows are handed to the file in pieces of about this size.
const WRITE_BYTES: usize = 256 * 1024;

/// An open part file.
pub struct PartFile {
    path: PathBuf,
    body: Body,
}

enum Body {
    Lines(Box<Lines>),
    Parquet(Box<ParquetWriter<CountedFile>>),
}

/// A file to which records are appended.
struct Lines {
    encoder: Box<dyn RowEncoder>,
    out: CompressedWriter<CountedFile>,
    /// Encoded, but not yet handed to `out`.
    buffer: Vec<u8>,
}

/// A file that knows how long it is.
struct CountedFile {
    file: File,
    length: u64,
}

impl Write for CountedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// How a table writes files.
#[derive(Debug, Clone)]
pub struct PartFormat {
    pub format: Format,
    pub compression: Compression,
    /// Of the rows inside the files.
    pub schema: SchemaRef,
}

impl PartFormat {
    pub fn of(table: &FileTable) -> Self {
        let compression = table.compression.unwrap_or_default();
        Self { format: table.format.clone(), compression, schema: table.file_schema.clone() }
    }

    /// What published names end in: `json.gz`.
    pub fn ending(&self) -> String {
        format!("{}{}", self.format.name(), self.compression.suffix())
    }

    /// Begins a new file.
    pub fn create(&self, path: PathBuf) -> Result<PartFile> {
        let file = durable::create_file(&path)?;
        let mut part = PartFile { body: self.body(CountedFile { file, length: 0 })?, path };
        if let Body::Lines(lines) = &mut part.body {
            lines.encoder.header(&mut lines.buffer);
        }
        Ok(part)
    }

    /// Goes on behind the first `length` bytes of a file; what follows them was written after the checkpoint.
    pub fn resume(&self, path: PathBuf, length: u64) -> Result<PartFile> {
        let opened = OpenOptions::new().write(true).open(&path);
        let mut file = opened.map_err(|error| EngineError::io("open", &path, error))?;
        let found = file.metadata().map_err(|error| EngineError::io("read", &path, error))?.len();
        if found < length {
            return Err(lost(&path, format!("it has {found} bytes, but the checkpoint counts on {length}")));
        }
        file.set_len(length).map_err(|error| EngineError::io("truncate", &path, error))?;
        file.seek(SeekFrom::End(0)).map_err(|error| EngineError::io("seek in", &path, error))?;
        Ok(PartFile { body: self.body(CountedFile { file, length })?, path })
    }

    fn body(&self, file: CountedFile) -> Result<Body> {
        Ok(match &self.format {
            Format::Parquet(options) => Body::Parquet(Box::new(ParquetWriter::new(file, &self.schema, options)?)),
            format => Body::Lines(Box::new(Lines {
                encoder: format.encoder(&self.schema)?,
                out: CompressedWriter::new(self.compression, file),
                buffer: Vec::new(),
            })),
        })
    }
}

impl PartFile {
    /// Kinds other than inserts only where the format carries changes.
    pub fn write(&mut self, rows: &Batch) -> Result<()> {
        match &mut self.body {
            Body::Parquet(writer) => writer.write(rows.rows()),
            Body::Lines(lines) => {
                lines.encoder.encode_changes(rows.rows(), rows.kinds(), &mut lines.buffer)?;
                if lines.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
            }
        }
    }

    /// About how long the file would be if it were closed now.
    pub fn size_bytes(&self) -> u64 {
        match &self.body {
            Body::Parquet(writer) => writer.size_bytes() as u64,
            Body::Lines(lines) => lines.out.inner().map_or(0, |file| file.length) + lines.buffer.len() as u64,
        }
    }

    /// Makes all rows so far durable and keeps the file open; gives its valid length.
    pub fn settle(&mut self) -> Result<u64> {
        self.flush()?;
        match &mut self.body {
            Body::Parquet(_) => unreachable!("a Parquet file is closed at every checkpoint"),
            Body::Lines(lines) => {
                let out = &mut lines.out;
                out.end_member().map_err(|error| EngineError::io("write", &self.path, error))?;
                let file = out.inner().expect("the stream is whole");
                durable::sync_file(&file.file, &self.path)?;
                Ok(file.length)
            }
        }
    }

    /// Ends the file and makes it durable; gives its length.
    pub fn close(mut self) -> Result<u64> {
        self.flush()?;
        let file = match self.body {
            Body::Parquet(writer) => writer.finish()?,
            Body::Lines(lines) => lines.out.finish().map_err(|error| EngineError::io("write", &self.path, error))?,
        };
        durable::sync_file(&file.file, &self.path)?;
        Ok(file.length)
    }

    fn flush(&mut self) -> Result<()> {
        let Body::Lines(lines) = &mut self.body else { return Ok(()) };
        // An empty write would begin a member of nothing.
        if !lines.buffer.is_empty() {
            lines.out.write_all(&lines.buffer).map_err(|error| EngineError::io("write", &self.path, error))?;
        }
        lines.buffer.clear();
        Ok(())
    }
}

/// A file that a checkpoint counts on and that is not as it was left.
pub fn lost(path: &Path, reason: String) -> EngineError {
    EngineError::DamagedCheckpoint {
        path: path.to_path_buf(),
        reason: format!("a file that belongs to it was changed or taken away: {reason}"),
        hint: "put the file back as it was, or start again with a fresh state directory and an empty target"
            .to_string(),
    }
}
