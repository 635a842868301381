//! Where records end in a stream of bytes: reads a file block by block, hands whole records to a decoder, and knows
//! the exact position behind the last record that it gave. What a record means is not known here.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use tidemill_engine::source::Rejected;
use tidemill_engine::{Batch, EngineError, Result};

use crate::compression::{Compression, read_error};
use crate::format::{Block, RowDecoder};

/// Read at once from a file that is small or read a few rows at a time.
const BLOCK_BYTES_MIN: usize = 64 * 1024;
/// Read at once where batches take as much: a system call then costs nothing per record.
const BLOCK_BYTES_MAX: usize = 4 << 20;
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
    /// How much to read at once: grows until a batch finds all its rows in a block.
    block_bytes: usize,
    /// What the last batch took.
    batch_bytes: usize,
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
        let mut reader = Self {
            path: path.to_owned(),
            input,
            decoder,
            buffer: Vec::new(),
            filled: 0..0,
            offset: 0,
            end,
            exhausted: false,
            block_bytes: BLOCK_BYTES_MIN,
            batch_bytes: 0,
        };
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
    pub fn next(&mut self, rows_max: usize) -> Result<Option<(Batch, Vec<Rejected>)>> {
        // A remainder that is worth a small batch only is joined to what follows it.
        if !self.exhausted && self.filled.len() < self.batch_bytes / 4 {
            self.fill()?;
        }
        loop {
            let (bytes, last) = self.owned_part();
            if bytes.is_empty() && last {
                return Ok(None);
            }
            let length = bytes.len();
            let block = Block::lines(&self.buffer[bytes], self.offset, last);
            let decoded = self.decoder.decode(block, rows_max)?;
            assert!(decoded.consumed <= length, "a decoder takes no more than it was given");
            self.consume(decoded.consumed);
            let count = decoded.rows.num_rows() + decoded.rejected.len();
            if count > 0 {
                self.batch_bytes = decoded.consumed;
                if count < rows_max {
                    self.block_bytes = (self.block_bytes * 2).min(BLOCK_BYTES_MAX);
                }
                return Ok(Some(decoded.into_batch()));
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
            let block = Block::lines(&self.buffer[self.filled.clone()], self.offset, self.exhausted);
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
    fn owned_part(&mut self) -> (Range<usize>, bool) {
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
        // A record longer than the block doubles it, so that a long record is not looked through too often.
        let wanted = (self.filled.len() * 2).max(self.block_bytes);
        self.buffer.resize(wanted, 0);
        if self.buffer.capacity() > 4 * wanted.max(BLOCK_BYTES_MAX) {
            self.buffer.shrink_to_fit();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use arrow::array::AsArray;
    use arrow::array::RecordBatch;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::io::Write;
    use std::sync::Arc;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
    }

    fn open(path: &Path, format: &str, range: ByteRange, position: Option<u64>) -> RecordReader {
        let options = [("csv.header".to_owned(), "true".to_owned())].into();
        let format = Format::parse(format, &options).expect("valid options");
        let decoder = format.decoder(&schema(), &[0], path).expect("decoder");
        RecordReader::open(path, Compression::of_path(path), decoder, range, position).expect("open")
    }

    fn numbers(rows: &RecordBatch) -> Vec<i64> {
        rows.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    fn rest(reader: &mut RecordReader, rows_max: usize) -> Vec<i64> {
        let mut all = Vec::new();
        while let Some((rows, _)) = reader.next(rows_max).expect("good records") {
            assert!(rows.num_rows() <= rows_max);
            all.extend(numbers(rows.rows()));
        }
        all
    }

    fn json_lines(random: &mut ChaCha8Rng, count: i64) -> String {
        let line = |n: i64| {
            let end = ["\n", "\r\n", "\n\n"][random.random_range(0..3)];
            format!("{{\"n\":{n},\"x\":\"{}\"}}{end}", "x".repeat(random.random_range(0..20)))
        };
        (0..count).map(line).collect()
    }

    #[test]
    fn ranges_share_no_record_and_miss_none() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("in.json");
        for round in 0..300 {
            let mut text = json_lines(&mut random, 20);
            if round % 2 == 0 {
                text.truncate(text.trim_end().len());
            }
            std::fs::write(&path, &text).expect("write");
            let length = text.len() as u64;
            let mut cuts: Vec<u64> = (0..random.random_range(0..6)).map(|_| random.random_range(0..=length)).collect();
            cuts.extend([0, length]);
            cuts.sort_unstable();
            let ranges = cuts.windows(2).map(|pair| ByteRange { start: pair[0], end: Some(pair[1]) });
            let parts = ranges.map(|range| rest(&mut open(&path, "json", range, None), 1 + round % 7));
            assert_eq!(parts.flatten().collect::<Vec<_>>(), (0..20).collect::<Vec<_>>(), "{cuts:?} of {text:?}");
        }
    }

    #[test]
    fn reading_goes_on_from_every_position() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let folder = tempfile::tempdir().expect("temporary folder");
        let csv: String = "x,n\n".to_owned() + &(0..30).map(|n| format!("\"a\n{n}\",{n}\n")).collect::<String>();
        let json = json_lines(&mut random, 30);
        for (format, text) in [("json", &json), ("csv", &csv)] {
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let path = folder.path().join(format!("in.{format}{}", compression.suffix()));
                let mut writer = crate::compression::CompressedWriter::new(compression, Vec::new());
                writer.write_all(text.as_bytes()).expect("a Vec takes any bytes");
                std::fs::write(&path, writer.finish().expect("a Vec takes any bytes")).expect("write");
                let mut reader = open(&path, format, ByteRange::default(), None);
                let mut given = 0;
                loop {
                    let mut again = open(&path, format, ByteRange::default(), Some(reader.position()));
                    assert_eq!(rest(&mut again, 7), (given..30).collect::<Vec<_>>(), "{format} {compression:?}");
                    let Some((rows, _)) = reader.next(4).expect("good records") else { break };
                    given += rows.num_rows() as i64;
                }
                assert_eq!(given, 30);
            }
        }
    }

    #[test]
    fn records_longer_than_a_block_are_read() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("in.json");
        let long = "x".repeat(3 * BLOCK_BYTES_MAX);
        let text: String =
            (0..6).map(|n| format!("{{\"x\":\"{}\",\"n\":{n}}}\n", &long[..long.len() / (n + 1)])).collect();
        std::fs::write(&path, text).expect("write");
        assert_eq!(rest(&mut open(&path, "json", ByteRange::default(), None), 100), (0..6).collect::<Vec<_>>());
    }

    #[test]
    fn large_batches_are_not_cut_to_the_size_of_a_block() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("in.json");
        let text: String = (0..200_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        std::fs::write(&path, text).expect("write");
        let mut reader = open(&path, "json", ByteRange::default(), None);
        let (mut batches, mut all) = (0, 0);
        while let Some((rows, _)) = reader.next(8192).expect("good records") {
            batches += 1;
            all += rows.num_rows();
        }
        assert_eq!(all, 200_000);
        assert!(batches < 40, "{batches} batches");
    }

    #[test]
    fn an_empty_file_has_no_records() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for format in ["json", "csv", "raw"] {
            let path = folder.path().join("empty");
            std::fs::write(&path, "").expect("write");
            assert_eq!(rest(&mut open(&path, format, ByteRange::default(), None), 9), Vec::<i64>::new(), "{format}");
        }
    }
}
