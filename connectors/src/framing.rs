//! Where records end in a stream of bytes: reads a file block by block, hands whole records to a decoder, and knows
//! the exact position behind the last record that it gave. What a record means is not known here.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use tidemill_engine::source::Rejected;
use tidemill_engine::{EngineError, Result};

use crate::compression::{Compression, read_error};
use crate::format::{Block, RowDecoder};

/// Read at once: large enough that a system call costs nothing per record, small enough to stay in the L2 cache.
const BLOCK_BYTES: usize = 512 * 1024;
/// Longest record. A longer one is a missing newline in a file that is not what the table says; without a bound it
/// would take all memory.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 30;

/// Rows of one file, or of a byte range of it.
pub struct RecordReader {
    path: PathBuf,
    input: Box<dyn Read + Send>,
    decoder: Box<dyn RowDecoder>,
    buffer: Vec<u8>,
    /// The part of `buffer` that is read but not decoded.
    filled: Range<usize>,
    /// File offset of `buffer[filled.start]`: the position.
    offset: u64,
    /// File offset behind the last byte that belongs to this reader, once known.
    end: End,
    /// The input gave its last byte.
    exhausted: bool,
}

/// Where the records of a reader end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At the end of the file.
    File,
    /// Behind the first newline at or after this offset: it ends the last record that begins inside the range.
    NewlineFrom(u64),
    /// Here.
    At(u64),
}

/// What to read: all of a file, or the records that begin inside a range of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteRange {
    pub start: u64,
    /// `None`: to the end of the file. Only for plain files in a format whose records are lines.
    pub end: Option<u64>,
}

impl RecordReader {
    /// Opens behind `position`, as an earlier reader of the same range gave it, or at the start of the range.
    pub fn open(
        path: &Path,
        compression: Compression,
        decoder: Box<dyn RowDecoder>,
        range: ByteRange,
        position: Option<u64>,
    ) -> Result<Self> {
        let end = match range.end {
            None => End::File,
            Some(0) => End::At(0),
            Some(end) => End::NewlineFrom(end - 1),
        };
        let input = compression.open(path, 0)?;
        let buffer = Vec::new();
        let mut reader =
            Self { path: path.to_owned(), input, decoder, buffer, filled: 0..0, offset: 0, end, exhausted: false };
        reader.begin()?;
        let start = match position {
            Some(position) => position,
            None if range.start == 0 => reader.offset,
            None => align_to_record(path, range.start)?.max(reader.offset),
        };
        reader.move_to(start, compression)?;
        Ok(reader)
    }

    /// Up to `rows_max` further rows and the records left out among them; `None` at the end.
    pub fn next(&mut self, rows_max: usize) -> Result<Option<(RecordBatch, Vec<Rejected>)>> {
        loop {
            let (bytes, last) = self.whole_part();
            if bytes.is_empty() && last {
                return Ok(None);
            }
            let length = bytes.len();
            let block = Block { bytes: &self.buffer[bytes.clone()], offset: self.offset, last };
            let decoded = self.decoder.decode(block, rows_max)?;
            assert!(decoded.consumed <= length, "a decoder takes no more than it was given");
            self.consume(decoded.consumed);
            if decoded.rows.num_rows() > 0 || !decoded.rejected.is_empty() {
                return Ok(Some((decoded.rows, decoded.rejected)));
            }
            if decoded.consumed == 0 {
                assert!(!last, "a decoder takes at least one record off the last block");
                self.fill()?;
            }
        }
    }

    /// Offset in the (uncompressed) file behind the last record that was given.
    pub fn position(&self) -> u64 {
        self.offset
    }

    fn begin(&mut self) -> Result<()> {
        loop {
            let block = Block { bytes: &self.buffer[self.filled.clone()], offset: self.offset, last: self.exhausted };
            if let Some(length) = self.decoder.begin(block)? {
                self.consume(length);
                return Ok(());
            }
            assert!(!self.exhausted, "a decoder can tell the header of a whole file");
            self.fill()?;
        }
    }

    /// Goes to `offset`: within what is read already, or by opening the file again.
    fn move_to(&mut self, offset: u64, compression: Compression) -> Result<()> {
        let read_to = self.offset + self.filled.len() as u64;
        if (self.offset..=read_to).contains(&offset) {
            self.consume((offset - self.offset) as usize);
            return Ok(());
        }
        self.input = compression.open(&self.path, offset)?;
        self.filled = 0..0;
        self.offset = offset;
        self.exhausted = false;
        Ok(())
    }

    fn consume(&mut self, count: usize) {
        self.filled.start += count;
        self.offset += count as u64;
        assert!(self.filled.start <= self.filled.end, "consumed no more than was read");
    }

    /// The bytes that belong to this reader, and whether they are the last of them.
    fn whole_part(&mut self) -> (Range<usize>, bool) {
        self.find_end();
        let filled = self.filled.clone();
        match self.end {
            End::At(end) if end <= self.offset => (filled.start..filled.start, true),
            End::At(end) if end <= self.offset + filled.len() as u64 => {
                (filled.start..filled.start + (end - self.offset) as usize, true)
            }
            _ => (filled, self.exhausted),
        }
    }

    /// Once the newline that ends the last record is read, the end is known.
    fn find_end(&mut self) {
        let End::NewlineFrom(from) = self.end else { return };
        if self.offset > from {
            // What was consumed ended with a newline at or behind `from`: nothing is left.
            self.end = End::At(self.offset);
            return;
        }
        let skipped = usize::try_from(from - self.offset).unwrap_or(usize::MAX);
        let bytes = &self.buffer[self.filled.clone()];
        let Some(behind) = bytes.get(skipped..) else { return };
        if let Some(at) = memchr::memchr(b'\n', behind) {
            self.end = End::At(from + at as u64 + 1);
        }
    }

    /// Reads on; makes room first. Sets `exhausted` at the end of the input.
    fn fill(&mut self) -> Result<()> {
        if self.filled.len() >= RECORD_BYTES_MAX {
            return Err(self.too_long());
        }
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        // A record longer than the buffer doubles it, so that a long record is not looked through too often.
        let wanted = (self.filled.len() * 2).max(BLOCK_BYTES);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while self.filled.end < self.buffer.len() {
            match self.input.read(&mut self.buffer[self.filled.end..]) {
                Ok(0) => {
                    self.exhausted = true;
                    break;
                }
                Ok(count) => self.filled.end += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(&self.path, self.offset, error)),
            }
        }
        Ok(())
    }

    fn too_long(&self) -> EngineError {
        let bytes = &self.buffer[self.filled.clone()];
        EngineError::BadRecord {
            place: self.path.display().to_string(),
            offset: self.offset,
            reason: format!("the record is longer than {RECORD_BYTES_MAX} bytes"),
            excerpt: crate::format::excerpt(bytes),
            hint: "check that the file has one record per line".into(),
        }
    }
}

/// The line that begins at `at`, without its newline and carriage return, and where the next one begins; `None` when the
/// line is not complete and more may follow, or when nothing is left.
#[inline]
pub(crate) fn next_line(bytes: &[u8], at: usize, last: bool) -> Option<(Range<usize>, usize)> {
    let rest = &bytes[at..];
    let (length, next) = match memchr::memchr(b'\n', rest) {
        Some(length) => (length, at + length + 1),
        None if last && !rest.is_empty() => (rest.len(), bytes.len()),
        None => return None,
    };
    let length = length - usize::from(rest[..length].ends_with(b"\r"));
    Some((at..at + length, next))
}

/// Offset of the first record that begins at or behind `start`: behind the first newline at or after `start - 1`, or
/// the end of the file. A range `[start, end)` owns the records that begin inside it, so ranges that touch share no
/// record and miss none. For plain files whose records are lines.
pub fn align_to_record(path: &Path, start: u64) -> Result<u64> {
    if start == 0 {
        return Ok(0);
    }
    let mut file = File::open(path).map_err(|error| EngineError::io("open", path, error))?;
    let mut offset = start - 1;
    file.seek(SeekFrom::Start(offset)).map_err(|error| EngineError::io("seek in", path, error))?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(offset.max(start)),
            Ok(count) => match memchr::memchr(b'\n', &buffer[..count]) {
                Some(at) => return Ok(offset + at as u64 + 1),
                None => offset += count as u64,
            },
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(EngineError::io("read", path, error)),
        }
    }
}
