//! From CSV to Arrow columns: every field is found, only those asked for are converted.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use tidemill_engine::{EngineError, Result};

use super::CsvOptions;
use super::scan::{Scanned, Scanner, Span};
use crate::format::column::{Column, Values, finish};
use crate::format::flaw::{Flaw, Parsed};
use crate::format::json::TimestampStandard;
use crate::format::rejection::Rejection;
use crate::format::temporal::DayCache;
use crate::format::text::{TextRules, push_text};
use crate::format::utf8::Utf8Check;
use crate::format::{BATCH_BYTES_MAX, Block, Decoded, RowDecoder, excerpt, skip_byte_order_mark};

const RULES: TextRules = TextRules { timestamps: TimestampStandard::Sql, timestamps_option: None };

pub(super) struct CsvDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Per column: which field of a record it is.
    fields: Vec<usize>,
    /// Fields of a record: the table's columns, or those of the header.
    field_count: usize,
    scanner: Scanner,
    reading: Reading,
    header: bool,
    rejection: Rejection,
    utf8: Utf8Check,
    spans: Vec<Span>,
}

/// What reading a field needs beside the field.
struct Reading {
    null_literal: Option<Vec<u8>>,
    array_delimiter: Vec<u8>,
    day: DayCache,
    /// Holds fields without their doubled quotes and escapes.
    scratch: Vec<u8>,
}

impl CsvDecoder {
    pub(super) fn new(options: &CsvOptions, table: &SchemaRef, projection: &[usize], place: String) -> Result<Self> {
        let schema: SchemaRef = Arc::new(table.project(projection)?);
        let columns = schema.fields().iter().map(Column::new).collect::<Result<_>>()?;
        Ok(Self {
            columns,
            fields: projection.to_vec(),
            field_count: table.fields().len(),
            scanner: Scanner::new(options, table.fields().len()),
            reading: Reading {
                null_literal: options.null_literal.as_ref().map(|literal| literal.clone().into_bytes()),
                array_delimiter: options.array_delimiter.clone().into_bytes(),
                day: DayCache::default(),
                scratch: Vec::new(),
            },
            header: options.header,
            rejection: Rejection {
                ignore: options.ignore_parse_errors,
                option: Some("csv.ignore-parse-errors"),
                place,
            },
            utf8: Utf8Check::default(),
            spans: Vec::new(),
            schema,
        })
    }

    /// Reads one record, whose fields are in `spans`; on an error the columns are as before.
    fn read(&mut self, bytes: &[u8], row: usize) -> Parsed<()> {
        let result = self.read_fields(bytes);
        if result.is_err() {
            self.columns.iter_mut().for_each(|column| column.truncate(row));
        }
        result
    }

    #[inline]
    fn read_fields(&mut self, bytes: &[u8]) -> Parsed<()> {
        if self.spans.len() != self.field_count {
            return Err(Flaw::new(format!("{} fields where {} are expected", self.spans.len(), self.field_count)));
        }
        for (column, field) in self.columns.iter_mut().zip(&self.fields) {
            let span = self.spans[*field];
            let raw = &bytes[span.start..span.end];
            if let Err(flaw) = self.reading.read_field(&self.scanner, raw, span, column) {
                return Err(flaw.within(column.field.name()));
            }
        }
        Ok(())
    }

    /// Finds each column by its name in the header.
    fn read_header(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut names = Vec::new();
        for span in &self.spans {
            let mut name = Vec::new();
            self.scanner.append_decoded(&bytes[span.start..span.end], *span, &mut name);
            names.push(String::from_utf8_lossy(&name).trim().to_owned());
        }
        self.field_count = names.len();
        for (field, column) in self.fields.iter_mut().zip(self.schema.fields()) {
            let found = names.iter().position(|name| name == column.name());
            *field = found.ok_or_else(|| EngineError::BadRecord {
                place: self.rejection.place.clone(),
                offset,
                reason: format!("the header has no column {}", column.name()),
                excerpt: excerpt(names.join(",").as_bytes()),
                hint: "with 'csv.header' = 'true' the first line names the columns as the table does".into(),
            })?;
        }
        Ok(())
    }
}

impl Reading {
    #[inline]
    fn read_field(&mut self, scanner: &Scanner, raw: &[u8], span: Span, column: &mut Column) -> Parsed<()> {
        if !span.encoded {
            return self.read_text(raw, span.quoted, column);
        }
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        scanner.append_decoded(raw, span, &mut text);
        let result = self.read_text(&text, true, column);
        self.scratch = text;
        result
    }

    /// An empty field is NULL, except for a STRING, and for an ARRAY if it is quoted or NULL has a literal. `quoted` (or escaped) texts are
    /// never the null literal.
    #[inline]
    fn read_text(&mut self, text: &[u8], quoted: bool, column: &mut Column) -> Parsed<()> {
        let kept_empty = match &column.values {
            Values::Text(_) => true,
            Values::List { .. } => quoted || self.null_literal.is_some(),
            _ => false,
        };
        let null = (text.is_empty() && !kept_empty)
            || (!quoted && self.null_literal.as_ref().is_some_and(|literal| literal == text));
        if null {
            return push_null(column);
        }
        match &mut column.values {
            Values::List { .. } | Values::Row(_) => self.read_parts(text, column),
            _ => push_text(column, text, &RULES, &mut self.day),
        }
    }

    /// The elements of an ARRAY or the fields of a ROW, with the array delimiter between them.
    fn read_parts(&mut self, text: &[u8], column: &mut Column) -> Parsed<()> {
        let delimiter = self.array_delimiter.clone();
        let finder = memchr::memmem::Finder::new(&delimiter);
        let mut start = 0;
        let mut parts = Vec::new();
        while let Some(at) = finder.find(&text[start..]) {
            parts.push(&text[start..start + at]);
            start += at + delimiter.len();
        }
        parts.push(&text[start..]);
        match &mut column.values {
            Values::List { offsets, element } => {
                let parts = if text.is_empty() { &[][..] } else { &parts };
                parts.iter().try_for_each(|part| self.read_text(part, false, element))?;
                offsets.push(element.len() as i32);
            }
            Values::Row(row) => {
                if parts.len() != row.columns.len() {
                    let expected = row.columns.len();
                    return Err(Flaw::new(format!("{} parts where the ROW has {expected} fields", parts.len())));
                }
                row.begin();
                for (part, field) in parts.iter().zip(&mut row.columns) {
                    self.read_text(part, false, field)?;
                }
                row.end();
            }
            _ => unreachable!("called for ARRAY and ROW"),
        }
        column.mark_valid();
        Ok(())
    }
}

fn push_null(column: &mut Column) -> Parsed<()> {
    if !column.field.is_nullable() {
        return Err(Flaw::null());
    }
    column.push_null();
    Ok(())
}

impl RowDecoder for CsvDecoder {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn begin(&mut self, block: Block<'_>) -> Result<Option<usize>> {
        let Some(mut at) = skip_byte_order_mark(block) else { return Ok(None) };
        if !self.header {
            return Ok(Some(at));
        }
        loop {
            if at == block.bytes.len() && block.last {
                return Ok(Some(at));
            }
            let mut spans = std::mem::take(&mut self.spans);
            let scanned = self.scanner.scan(block.bytes, at, block.last, &mut spans);
            self.spans = spans;
            match scanned {
                Scanned::Incomplete => return Ok(None),
                Scanned::Skipped { next } => at = next,
                Scanned::Record { next, .. } => {
                    self.read_header(block.bytes, block.offset + at as u64)?;
                    return Ok(Some(next));
                }
                Scanned::Bad { end, reason, .. } => {
                    let strict = Rejection { ignore: false, option: None, ..self.rejection.clone() };
                    let (record, offset) = (&block.bytes[at..end], block.offset + at as u64);
                    strict.reject(&Flaw::new(format!("header: {reason}")), record, offset, &mut Vec::new())?;
                }
            }
        }
    }

    fn decode(&mut self, block: Block<'_>, rows_max: usize) -> Result<Decoded> {
        let (mut at, mut rows, mut rejected) = (0, 0, Vec::new());
        let (mut number, mut messages) = (0, Vec::new());
        while rows + rejected.len() < rows_max && at < BATCH_BYTES_MAX {
            let Some(bytes) = own_part(&block, number) else { break };
            let (end, next, read) = match self.scanner.scan(bytes, at, block.last, &mut self.spans) {
                Scanned::Incomplete if block.ends.is_none() => break,
                Scanned::Incomplete => (bytes.len(), bytes.len(), Err(Flaw::new("the message holds no record"))),
                Scanned::Skipped { next } => {
                    at = next;
                    continue;
                }
                Scanned::Record { end, next } if block.ends.is_some() && next < bytes.len() => {
                    (end, bytes.len(), Err(Flaw::new("the message holds more than one record")))
                }
                Scanned::Record { end, next } => match self.utf8.accepts(&block, at, end) {
                    true => (end, next, self.read(block.bytes, rows)),
                    false => (end, next, Err(Flaw::new("the record is not UTF-8"))),
                },
                Scanned::Bad { end, next, reason } => (end, next, Err(Flaw::new(reason))),
            };
            match read {
                Ok(()) => {
                    rows += 1;
                    if block.ends.is_some() {
                        messages.push(number as u32);
                    }
                }
                Err(flaw) => {
                    let record = &block.bytes[at..end];
                    self.rejection.reject(&flaw, record, block.offset + at as u64, &mut rejected)?;
                }
            }
            // Whatever a message holds behind its record or flaw goes with it.
            at = if block.ends.is_some() { bytes.len() } else { next };
            number += 1;
        }
        let rows = finish(&self.schema, &mut self.columns, rows)?;
        Ok(Decoded { consumed: at, rows, kinds: None, rejected, messages })
    }
}

/// The bytes of a block up to the end of its `number`-th message, or all of a file's: so that a message never runs on into the next.
fn own_part<'a>(block: &Block<'a>, number: usize) -> Option<&'a [u8]> {
    match block.ends {
        None => Some(block.bytes),
        Some(ends) => ends.get(number).map(|end| &block.bytes[..*end]),
    }
}
