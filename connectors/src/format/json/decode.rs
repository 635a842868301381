//! From lines of JSON straight to Arrow columns, in one pass: keys are guessed from the records before, values of
//! columns that are not read are checked and left behind, the others go into their columns without a tree between.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tidemill_engine::Result;

use super::JsonOptions;
use super::cursor::{Cursor, Nesting};
use super::keys::Keys;
use super::value::{Reading, push_missing, read_value};
use crate::format::column::{Column, finish};
use crate::format::flaw::{Flaw, Parsed};
use crate::format::rejection::Rejection;
use crate::format::temporal::DayCache;
use crate::format::text::TextRules;
use crate::format::utf8::Utf8Check;
use crate::format::{BATCH_BYTES_MAX, Block, Decoded, RowDecoder, skip_byte_order_mark};

pub(in crate::format) struct JsonDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Per column: the number of the last record that had it.
    seen: Vec<u64>,
    /// Number of the record being read.
    record: u64,
    keys: Keys,
    reading: Reading,
    rejection: Rejection,
    utf8: Utf8Check,
    /// Where the records of the last batch's rows stand in its block; `None`: nobody asks.
    lines: Option<Vec<Range<usize>>>,
}

impl JsonDecoder {
    pub(in crate::format) fn new(options: &JsonOptions, schema: SchemaRef, place: String) -> Result<Self> {
        let columns = schema.fields().iter().map(Column::new).collect::<Result<Vec<_>>>()?;
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let text = TextRules { timestamps: options.timestamps, timestamps_option: Some(options.keys.timestamps) };
        let reading = Reading {
            text,
            fail_on_missing_field: options.fail_on_missing_field,
            nesting: Nesting::default(),
            day: DayCache::default(),
            scratch: Vec::new(),
        };
        Ok(Self {
            seen: vec![0; columns.len()],
            keys: Keys::new(names),
            record: 0,
            columns,
            reading,
            rejection: Rejection {
                ignore: options.ignore_parse_errors,
                option: Some(options.keys.ignore_parse_errors),
                place,
            },
            utf8: Utf8Check::default(),
            lines: None,
            schema,
        })
    }

    /// Keeps where the record of each row stands, for [`JsonDecoder::lines`].
    pub(in crate::format) fn keeping_lines(mut self) -> Self {
        self.lines = Some(Vec::new());
        self
    }

    /// Per row of the last batch: where its record stands in the block that was decoded.
    pub(in crate::format) fn lines(&self) -> &[Range<usize>] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// Reads an object that is no line of a block as row `row`; rows are taken by [`JsonDecoder::finish_appended`].
    pub(in crate::format) fn append(&mut self, object: &[u8], row: usize) -> Parsed<()> {
        self.read(object, row)
    }

    /// True for a column that the object had which was appended last.
    pub(in crate::format) fn appended(&self, column: usize) -> bool {
        self.seen[column] == self.record
    }

    pub(in crate::format) fn finish_appended(&mut self, rows: usize) -> Result<RecordBatch> {
        finish(&self.schema, &mut self.columns, rows)
    }

    /// Reads one record into the columns; on an error they are as before.
    fn read(&mut self, record: &[u8], row: usize) -> Parsed<()> {
        let result = self.read_object(record, row);
        if result.is_err() {
            self.columns.iter_mut().for_each(|column| column.truncate(row));
        }
        result
    }

    #[inline]
    fn read_object(&mut self, record: &[u8], row: usize) -> Parsed<()> {
        self.record += 1;
        let mut cursor = Cursor::new(record);
        cursor.space();
        if cursor.peek() != b'{' {
            return Err(cursor.unexpected("a JSON object"));
        }
        let Self { columns, seen, record: number, keys, reading, .. } = self;
        let mut missing = columns.len();
        keys.read_object(&mut cursor, reading, |index, cursor, reading| {
            let column = &mut columns[index];
            // Of a repeated key the last value counts.
            match seen[index] == *number {
                true => column.truncate(row),
                false => missing -= 1,
            }
            seen[index] = *number;
            read_value(cursor, column, reading).map_err(|flaw| flaw.within(column.field.name()))
        })?;
        cursor.space();
        if cursor.at < record.len() {
            return Err(cursor.unexpected("the end of the line"));
        }
        if missing > 0 { self.fill_missing() } else { Ok(()) }
    }

    fn fill_missing(&mut self) -> Parsed<()> {
        for (column, seen) in self.columns.iter_mut().zip(&self.seen) {
            if *seen != self.record {
                push_missing(column, self.reading.fail_on_missing_field)?;
            }
        }
        Ok(())
    }
}

impl RowDecoder for JsonDecoder {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn begin(&mut self, block: Block<'_>) -> Result<Option<usize>> {
        Ok(skip_byte_order_mark(block))
    }

    fn decode(&mut self, block: Block<'_>, rows_max: usize) -> Result<Decoded> {
        let (mut at, mut rows, mut rejected) = (0, 0, Vec::new());
        let (mut number, mut messages) = (0, Vec::new());
        self.lines.iter_mut().for_each(Vec::clear);
        while rows + rejected.len() < rows_max && at < BATCH_BYTES_MAX {
            let Some((line, next)) = block.record(at, number) else { break };
            let record = &block.bytes[line.clone()];
            // A blank line is no record, an empty message is a bad one; among changes it says that a key is gone, which they said before.
            let counts = block.ends.is_some() && self.lines.is_none();
            if counts || !record.trim_ascii_start().is_empty() {
                let read = match self.utf8.accepts(&block, line.start, line.end) {
                    true => self.read(record, rows),
                    false => Err(Flaw::new("the record is not UTF-8")),
                };
                match read {
                    Ok(()) => {
                        rows += 1;
                        if block.ends.is_some() {
                            messages.push(number as u32);
                        }
                        self.lines.iter_mut().for_each(|lines| lines.push(line.clone()));
                    }
                    Err(flaw) => {
                        self.rejection.reject(&flaw, record, block.offset + line.start as u64, &mut rejected)?;
                    }
                }
            }
            at = next;
            number += 1;
        }
        let rows = finish(&self.schema, &mut self.columns, rows)?;
        Ok(Decoded { consumed: at, rows, kinds: None, rejected, messages })
    }
}
