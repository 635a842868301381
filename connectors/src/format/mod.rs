//! What the bytes of a record mean: decoders from bytes to Arrow columns and encoders back. Where a record ends in a
//! stream is [`crate::framing`]; where bytes come from and go to is not known here.

use std::ops::Range;

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use tidemill_engine::source::Rejected;
use tidemill_engine::{Batch, Result};

use crate::framing::next_line;

pub mod avro;
pub mod changes;
mod charset;
mod column;
pub mod csv;
mod flaw;
pub mod json;
mod number;
mod option;
pub mod parquet;
pub mod raw;
mod registry;
mod rejection;
pub(crate) mod scalar;
mod temporal;
#[cfg(test)]
mod test_rows;
mod text;
mod utf8;

pub use option::{FormatOption, FormatProblem};
pub use registry::{FORMATS, Format, FormatDefinition};

/// Bytes of a file, beginning at a record; or messages, each of which is a record, one behind the other.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    pub bytes: &'a [u8],
    /// Where the bytes begin in the (uncompressed) file.
    pub offset: u64,
    /// Nothing follows: the last record may lack its newline.
    pub last: bool,
    /// Where each message ends; `None`: a file, where the format itself says so.
    pub ends: Option<&'a [usize]>,
}

impl<'a> Block<'a> {
    /// Of a file.
    pub fn lines(bytes: &'a [u8], offset: u64, last: bool) -> Self {
        Self { bytes, offset, last, ends: None }
    }

    pub fn messages(bytes: &'a [u8], ends: &'a [usize]) -> Self {
        Self { bytes, offset: 0, last: true, ends: Some(ends) }
    }

    /// The record at `at`, which is the `number`-th of the block, and where the next one begins. For formats whose records in
    /// files are lines.
    #[inline]
    fn record(&self, at: usize, number: usize) -> Option<(Range<usize>, usize)> {
        match self.ends {
            None => next_line(self.bytes, at, self.last),
            Some(ends) => ends.get(number).map(|end| (at..*end, *end)),
        }
    }
}

/// What a block gave.
#[derive(Debug)]
pub struct Decoded {
    /// Bytes of the block that are done with; the next block begins behind them. Zero with no row and no rejected
    /// record means that the block holds no whole record: read more and ask again.
    pub consumed: usize,
    /// With the decoder's schema.
    pub rows: RecordBatch,
    /// Codes of [`RowKind`](tidemill_engine::RowKind), one per row, where the format tells changes; else all are inserts.
    pub kinds: Option<Int8Array>,
    /// Records left out because the options say so, in the order of the file.
    pub rejected: Vec<Rejected>,
    /// Of messages: from which one each row is.
    pub messages: Vec<u32>,
}

impl Decoded {
    /// The rows with their kinds, and the records left out among them.
    pub fn into_batch(self) -> (Batch, Vec<Rejected>) {
        let rows = match self.kinds {
            None => Batch::new(self.rows),
            Some(kinds) => Batch::with_kinds(self.rows, kinds),
        };
        (rows, self.rejected)
    }
}

/// Decodes a format of records that follow one another in a file (json, csv, raw). One per file.
pub trait RowDecoder: Send {
    /// Of the rows that it gives: the columns asked for.
    fn schema(&self) -> SchemaRef;

    /// Length of what stands before the first record (byte order mark, header line), given the beginning of the file;
    /// `None` when the block is too short to tell. Must be called once, before `decode`, wherever reading begins.
    fn begin(&mut self, block: Block<'_>) -> Result<Option<usize>>;

    /// Takes at most `rows_max` records (> 0) off the block. A bad record is rejected or fails, as the options say.
    fn decode(&mut self, block: Block<'_>, rows_max: usize) -> Result<Decoded>;
}

/// Encodes rows as records (json, csv, raw): those of a file follow one another, each closed by a newline; a carrier of messages
/// keeps them apart by itself.
pub trait RowEncoder: Send {
    /// What a new file begins with.
    fn header(&self, out: &mut Vec<u8>);

    /// Appends one record per row, closed as `ends` says. `kinds`: of each row; only formats that carry changes take others
    /// than inserts.
    fn write_records(
        &mut self,
        rows: &RecordBatch,
        kinds: Option<&Int8Array>,
        ends: &mut Ends<'_>,
        out: &mut Vec<u8>,
    ) -> Result<()>;

    /// Appends one line per row.
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        self.write_records(rows, None, &mut Ends::Newline, out)
    }

    /// As [`RowEncoder::encode`], with the kind of each row.
    fn encode_changes(&mut self, rows: &RecordBatch, kinds: Option<&Int8Array>, out: &mut Vec<u8>) -> Result<()> {
        self.write_records(rows, kinds, &mut Ends::Newline, out)
    }

    /// One message per row; those of an earlier batch are gone.
    fn encode_messages(&mut self, rows: &RecordBatch, kinds: Option<&Int8Array>, out: &mut Messages) -> Result<()> {
        let Messages { bytes, ends } = out;
        bytes.clear();
        ends.clear();
        self.write_records(rows, kinds, &mut Ends::Noted(ends), bytes)?;
        assert_eq!(ends.len(), rows.num_rows(), "one message per row");
        Ok(())
    }
}

/// How a record is closed.
pub enum Ends<'a> {
    Newline,
    /// Its end is noted; `None`: the row has no record at all (a NULL in the raw format).
    Noted(&'a mut Vec<Option<usize>>),
}

impl Ends<'_> {
    fn close(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Newline => out.push(b'\n'),
            Self::Noted(ends) => ends.push(Some(out.len())),
        }
    }
}

/// Encoded rows, each of which is a message of its own.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    ends: Vec<Option<usize>>,
}

impl Messages {
    /// In the order of the rows; `None`: a message without a value.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = (*end)?;
            let message = &self.bytes[start..end];
            start = end;
            Some(message)
        })
    }
}

/// Input that one batch takes at most: bounds its memory, and keeps the 32-bit offsets of its arrays from overflowing
/// (with [`crate::framing::RECORD_BYTES_MAX`] for the record that passes it).
pub(crate) const BATCH_BYTES_MAX: usize = 64 << 20;

/// Most bytes of a record that an error message shows.
const EXCERPT_BYTES_MAX: usize = 200;

/// The beginning of a record as text for a message; bytes that are not UTF-8 are replaced.
pub(crate) fn excerpt(record: &[u8]) -> String {
    let mut end = record.len().min(EXCERPT_BYTES_MAX);
    while end > 0 && end < record.len() && record[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    let text = String::from_utf8_lossy(&record[..end]);
    if end < record.len() { format!("{text}...") } else { text.into_owned() }
}

/// Length of the UTF-8 byte order mark at the beginning of a file; `None` when the block is too short to tell.
pub(crate) fn skip_byte_order_mark(block: Block<'_>) -> Option<usize> {
    const MARK: &[u8] = b"\xEF\xBB\xBF";
    if block.bytes.starts_with(MARK) {
        return Some(MARK.len());
    }
    let undecided = !block.last && MARK.starts_with(block.bytes);
    (!undecided).then_some(0)
}
