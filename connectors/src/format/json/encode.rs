//! From Arrow columns to lines of JSON, as Flink's `json` format writes them.

use std::io::Write;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, MapArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use tidemill_engine::{EngineError, Result};

use super::cursor::plain_length;
use super::{JsonOptions, MapNullKeyMode};
use crate::format::scalar::{is_scalar, write_plain};
use crate::format::{Ends, RowEncoder};

pub(in crate::format) struct JsonEncoder {
    options: JsonOptions,
    /// Per column: its name as a JSON string with the colon behind it.
    keys: Vec<Vec<u8>>,
}

impl JsonEncoder {
    pub(in crate::format) fn new(options: &JsonOptions, schema: &SchemaRef) -> Self {
        let keys = schema.fields().iter().map(|field| key_text(field.name())).collect();
        Self { options: options.clone(), keys }
    }

    /// The rows of a batch, to be written one by one.
    pub(in crate::format) fn objects<'a>(&'a self, rows: &'a RecordBatch) -> Result<Objects<'a>> {
        let columns = rows.columns().iter().zip(&self.keys);
        let columns = columns.map(|(array, key)| Ok((key.as_slice(), Writer::new(array, &self.options)?)));
        Ok(Objects { columns: columns.collect::<Result<_>>()? })
    }
}

/// Rows that can be written as JSON objects.
pub(in crate::format) struct Objects<'a> {
    columns: Vec<(&'a [u8], Writer<'a>)>,
}

impl Objects<'_> {
    /// Appends the object, without a newline.
    pub(in crate::format) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.push(b'{');
        let mut first = true;
        for (key, writer) in &self.columns {
            writer.write_member(key, row, &mut first, out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// Rows as JSON arrays, values in the order of the columns: for protocols that name the columns once.
pub struct RowArrays<'a>(Vec<Writer<'a>>);

impl<'a> RowArrays<'a> {
    /// Values look as those of the format without options do.
    pub fn new(rows: &'a RecordBatch, options: &'a JsonOptions) -> Result<Self> {
        Ok(Self(rows.columns().iter().map(|array| Writer::new(array, options)).collect::<Result<_>>()?))
    }

    /// Appends one row.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.push(b'[');
        for (column, writer) in self.0.iter().enumerate() {
            if column > 0 {
                out.push(b',');
            }
            writer.write(row, out)?;
        }
        out.push(b']');
        Ok(())
    }
}

impl RowEncoder for JsonEncoder {
    fn header(&self, _out: &mut Vec<u8>) {}

    fn write_records(
        &mut self,
        rows: &RecordBatch,
        kinds: Option<&Int8Array>,
        ends: &mut Ends<'_>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        assert!(kinds.is_none(), "a format of rows was given changes");
        let objects = self.objects(rows)?;
        for row in 0..rows.num_rows() {
            objects.write(row, out)?;
            ends.close(out);
        }
        Ok(())
    }
}

fn key_text(name: &str) -> Vec<u8> {
    let mut text = Vec::new();
    write_string(name.as_bytes(), &mut text);
    text.push(b':');
    text
}

/// Writes the values of one array; what depends on the type alone is done once per batch.
struct Writer<'a> {
    array: &'a ArrayRef,
    kind: Kind<'a>,
    options: &'a JsonOptions,
}

enum Kind<'a> {
    String(&'a StringArray),
    Scalar,
    List { offsets: &'a [i32], element: Box<Writer<'a>> },
    Map { array: &'a MapArray, value: Box<Writer<'a>> },
    Row(Vec<(Vec<u8>, Writer<'a>)>),
}

impl<'a> Writer<'a> {
    fn new(array: &'a ArrayRef, options: &'a JsonOptions) -> Result<Self> {
        let kind = match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Kind::List { offsets: list.value_offsets(), element: Box::new(Self::new(list.values(), options)?) }
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                if map.keys().data_type() != &DataType::Utf8 {
                    return Err(unsupported(array.data_type(), "the keys of a MAP must be STRING in JSON"));
                }
                Kind::Map { array: map, value: Box::new(Self::new(map.values(), options)?) }
            }
            DataType::Struct(_) => Kind::Row(row_writers(array.as_struct(), options)?),
            DataType::Utf8 => Kind::String(array.as_string()),
            other if is_scalar(other) => Kind::Scalar,
            other => return Err(unsupported(other, "cast it to a type of SQL")),
        };
        Ok(Self { array, kind, options })
    }

    fn write_member(&self, key: &[u8], row: usize, first: &mut bool, out: &mut Vec<u8>) -> Result<()> {
        if self.options.ignore_null_fields && self.array.is_null(row) {
            return Ok(());
        }
        if !std::mem::take(first) {
            out.push(b',');
        }
        out.extend_from_slice(key);
        self.write(row, out)
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.array.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.kind {
            Kind::String(array) => write_string(array.value(row).as_bytes(), out),
            Kind::Scalar => write_scalar(self.array, row, self.options, out),
            Kind::List { offsets, element } => {
                out.push(b'[');
                for index in offsets[row]..offsets[row + 1] {
                    if index > offsets[row] {
                        out.push(b',');
                    }
                    element.write(index as usize, out)?;
                }
                out.push(b']');
            }
            Kind::Map { array, value } => self.write_map(array, value, row, out)?,
            Kind::Row(fields) => {
                out.push(b'{');
                let mut first = true;
                for (key, field) in fields {
                    field.write_member(key, row, &mut first, out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }

    fn write_map(&self, map: &MapArray, value: &Writer<'_>, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let keys = map.keys().as_string::<i32>();
        let offsets = map.value_offsets();
        let mut first = true;
        out.push(b'{');
        for index in offsets[row] as usize..offsets[row + 1] as usize {
            let key = match (keys.is_null(index), self.options.map_null_key_mode) {
                (false, _) => keys.value(index),
                (true, MapNullKeyMode::Drop) => continue,
                (true, MapNullKeyMode::Literal) => &self.options.map_null_key_literal,
                (true, MapNullKeyMode::Fail) => return Err(null_key(self.options)),
            };
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            write_string(key.as_bytes(), out);
            out.push(b':');
            value.write(index, out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

fn row_writers<'a>(row: &'a StructArray, options: &'a JsonOptions) -> Result<Vec<(Vec<u8>, Writer<'a>)>> {
    let fields = row.fields().iter().zip(row.columns());
    fields.map(|(field, column)| Ok((key_text(field.name()), Writer::new(column, options)?))).collect()
}

#[cold]
fn unsupported(data_type: &DataType, advice: &str) -> EngineError {
    EngineError::Unsupported(format!("the json format cannot write {data_type}: {advice}"))
}

#[cold]
fn null_key(options: &JsonOptions) -> EngineError {
    let (mode, literal) = (options.keys.map_null_key_mode, options.keys.map_null_key_literal);
    EngineError::BadRow {
        operator: "json format".into(),
        reason: "a MAP has a NULL key, which JSON cannot write".into(),
        row: String::new(),
        hint: format!("set '{mode}' = 'DROP', or 'LITERAL' with '{literal}'"),
    }
}

/// A value that is neither null nor a STRING: numbers and booleans bare, everything else as a string.
fn write_scalar(array: &ArrayRef, row: usize, options: &JsonOptions, out: &mut Vec<u8>) {
    let bare = match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).is_finite(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).is_finite(),
        other => {
            other.is_numeric() || matches!(other, DataType::Boolean | DataType::Interval(_) | DataType::Duration(_))
        }
    };
    if bare {
        return write_plain(array, row, options.timestamps, out);
    }
    out.push(b'"');
    write_plain(array, row, options.timestamps, out);
    out.push(b'"');
}

/// A JSON string: quotes, backslashes and control characters are escaped, everything else stays UTF-8.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((byte, behind)) = special.split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => write!(out, "\\u{control:04x}").expect("a Vec takes any bytes"),
        }
        rest = behind;
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_serde_json_escapes_them() {
        for special in (0..0x80).map(char::from).chain(['\u{80}', 'ü', '\u{2028}', '😀']) {
            for before in 0..20 {
                let plain = "x".repeat(before);
                for text in [format!("{plain}{special}"), format!("{special}{plain}{special}{special}ÿ{plain}")] {
                    let mut written = Vec::new();
                    write_string(text.as_bytes(), &mut written);
                    assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&text).unwrap());
                }
            }
        }
    }
}
