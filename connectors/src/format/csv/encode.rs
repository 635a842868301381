//! From Arrow columns to CSV. A field is quoted only where it would be read as something else without quotes.

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use tidemill_engine::{EngineError, Result};

use super::CsvOptions;
use crate::format::json::TimestampStandard;
use crate::format::scalar::write_plain;
use crate::format::{Ends, RowEncoder};

pub(super) struct CsvEncoder {
    options: CsvOptions,
    schema: SchemaRef,
    field: Vec<u8>,
}

impl CsvEncoder {
    pub(super) fn new(options: &CsvOptions, schema: &SchemaRef) -> Self {
        Self { options: options.clone(), schema: schema.clone(), field: Vec::new() }
    }

    fn encode_field(&mut self, array: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<()> {
        self.field.clear();
        if array.is_null(row) {
            out.extend_from_slice(self.options.null_literal.as_deref().unwrap_or_default().as_bytes());
            return Ok(());
        }
        match array.data_type() {
            DataType::List(_) => {
                let elements = array.as_list::<i32>().value(row);
                let parts = (0..elements.len()).map(|index| (&elements, index));
                encode_parts(&self.options, parts, &mut self.field)?;
            }
            DataType::Struct(_) => {
                let parts = array.as_struct().columns().iter().map(|column| (column, row));
                encode_parts(&self.options, parts, &mut self.field)?;
            }
            _ => write_plain(array, row, TimestampStandard::Sql, &mut self.field),
        }
        let empty_counts = self.schema.fields().len() == 1 || matches!(array.data_type(), DataType::List(_));
        if empty_counts && self.field.is_empty() && self.options.quote.is_some() {
            return write_quoted(&self.options, &self.field, out);
        }
        write_field(&self.options, &self.field, out)
    }

    /// Makes the record from `start` not look like a comment.
    fn protect_comment(&self, start: usize, out: &mut Vec<u8>) -> Result<()> {
        match (self.options.quote, self.options.escape) {
            (Some(quote), _) => {
                let end = memchr::memchr(self.options.delimiter, &out[start..]).map_or(out.len(), |at| start + at);
                out.insert(end, quote);
                out.insert(start, quote);
            }
            (None, Some(escape)) => out.insert(start, escape),
            (None, None) => {
                let reason = "a record begins with #, which would make it a comment".to_owned();
                return Err(unwritable(reason, "leave out 'csv.allow-comments' or 'csv.disable-quote-character'"));
            }
        }
        Ok(())
    }
}

impl RowEncoder for CsvEncoder {
    fn header(&self, out: &mut Vec<u8>) {
        if !self.options.header {
            return;
        }
        for (index, field) in self.schema.fields().iter().enumerate() {
            if index > 0 {
                out.push(self.options.delimiter);
            }
            let start = out.len();
            if write_field(&self.options, field.name().as_bytes(), out).is_err() {
                // Only without quotes: the reader cannot find this column, but the others.
                out.truncate(start);
                out.extend(field.name().bytes().filter(|byte| *byte != self.options.delimiter && *byte != b'\n'));
            }
        }
        out.push(b'\n');
    }

    fn write_records(
        &mut self,
        rows: &RecordBatch,
        kinds: Option<&Int8Array>,
        ends: &mut Ends<'_>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        assert!(kinds.is_none(), "a format of rows was given changes");
        for row in 0..rows.num_rows() {
            let start = out.len();
            for (index, column) in rows.columns().iter().enumerate() {
                if index > 0 {
                    out.push(self.options.delimiter);
                }
                self.encode_field(column, row, out)?;
            }
            if self.options.allow_comments && out.get(start) == Some(&b'#') {
                self.protect_comment(start, out)?;
            }
            ends.close(out);
        }
        Ok(())
    }
}

fn encode_parts<'a>(
    options: &CsvOptions,
    parts: impl Iterator<Item = (&'a ArrayRef, usize)>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let delimiter = options.array_delimiter.as_bytes();
    for (index, (array, row)) in parts.enumerate() {
        if index > 0 {
            out.extend_from_slice(delimiter);
        }
        if array.is_null(row) {
            out.extend_from_slice(options.null_literal.as_deref().unwrap_or_default().as_bytes());
            continue;
        }
        let start = out.len();
        write_plain(array, row, TimestampStandard::Sql, out);
        if memchr::memmem::find(&out[start..], delimiter).is_some() {
            let delimiter = &options.array_delimiter;
            let reason = format!("an element of an ARRAY or ROW holds the delimiter {delimiter:?} of its elements");
            return Err(unwritable(reason, "choose another 'csv.array-element-delimiter'"));
        }
    }
    Ok(())
}

/// The field as it must be written to be read back.
fn write_field(options: &CsvOptions, field: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let special = |byte: &u8| {
        matches!(*byte, b'\n' | b'\r')
            || *byte == options.delimiter
            || Some(*byte) == options.escape
            || Some(*byte) == options.quote
    };
    let like_null = options.null_literal.as_ref().is_some_and(|literal| literal.as_bytes() == field);
    if !like_null && !field.iter().any(special) {
        out.extend_from_slice(field);
        return Ok(());
    }
    match (options.quote, options.escape) {
        (Some(_), _) => write_quoted(options, field, out),
        (None, Some(escape)) if !like_null => {
            write_escaped(options, escape, field, out);
            Ok(())
        }
        (None, Some(escape)) if field.iter().any(escapes_to_itself) => {
            // An escape anywhere keeps the field from being the null literal.
            let at = field.iter().position(escapes_to_itself).unwrap_or(0);
            out.extend_from_slice(&field[..at]);
            out.extend_from_slice(&[escape, field[at]]);
            write_escaped(options, escape, &field[at + 1..], out);
            Ok(())
        }
        (None, _) => {
            let reason = format!("{:?} cannot be written without quotes", String::from_utf8_lossy(field));
            Err(unwritable(reason, "leave out 'csv.disable-quote-character', or set 'csv.escape-character'"))
        }
    }
}

fn write_quoted(options: &CsvOptions, field: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let quote = options.quote.unwrap_or(b'"');
    out.push(quote);
    for byte in field {
        if *byte == quote {
            out.push(quote);
        } else if Some(*byte) == options.escape {
            out.push(*byte);
        }
        out.push(*byte);
    }
    out.push(quote);
    Ok(())
}

/// False for the characters that mean another one behind an escape character.
fn escapes_to_itself(byte: &u8) -> bool {
    !matches!(byte, b'0' | b'n' | b'r' | b't' | b'\n' | b'\r')
}

fn write_escaped(options: &CsvOptions, escape: u8, field: &[u8], out: &mut Vec<u8>) {
    for byte in field {
        match *byte {
            b'\n' => out.extend_from_slice(&[escape, b'n']),
            b'\r' => out.extend_from_slice(&[escape, b'r']),
            byte if byte == escape || byte == options.delimiter => out.extend_from_slice(&[escape, byte]),
            byte => out.push(byte),
        }
    }
}

#[cold]
fn unwritable(reason: String, hint: &str) -> EngineError {
    EngineError::BadRow { operator: "csv format".into(), reason, row: String::new(), hint: hint.into() }
}
