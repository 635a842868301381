//! Each line is the value of the table's only column: text, bytes, or a number as its bytes.
//!
//! In files, as in Flink, a newline always ends a value, so values that hold one are refused when writing there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, SchemaRef,
};
use tidemill_engine::type_name::sql_type_name;
use tidemill_engine::{EngineError, Result};

use super::charset::Charset;
use super::column::{Column, Values, finish};
use super::flaw::{Flaw, Parsed};
use super::option::OptionReader;
use super::rejection::Rejection;
use super::{BATCH_BYTES_MAX, Block, Decoded, Ends, FormatOption, FormatProblem, RowDecoder, RowEncoder};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct RawOptions {
    pub charset: Charset,
    pub little_endian: bool,
}

pub const OPTIONS: &[FormatOption] = &[
    FormatOption {
        key: "raw.charset",
        value_type: "a name such as UTF-8, ISO-8859-1, windows-1252, GBK, Shift_JIS",
        default: Some("UTF-8"),
        description: "of a STRING column; bytes that are no text become U+FFFD, characters that the charset lacks become ?",
    },
    FormatOption {
        key: "raw.endianness",
        value_type: "big-endian | little-endian",
        default: Some("big-endian"),
        description: "of numeric columns, which are stored as their bytes",
    },
];

impl RawOptions {
    pub(super) fn read(reader: &mut OptionReader<'_>) -> Self {
        let charset = reader.parsed("raw.charset", Charset::of_name);
        let endianness = &[("big-endian", false), ("little-endian", true)];
        Self { charset, little_endian: reader.choice("raw.endianness", false, endianness) }
    }
}

pub(super) fn check(table: &Schema) -> Vec<FormatProblem> {
    let [field] = table.fields().as_ref() else {
        let message = format!("the raw format carries one column, this table has {}", table.fields().len());
        return vec![FormatProblem::column(message, "declare a single STRING column, or use another format")];
    };
    use DataType::{Binary, Boolean, Float32, Float64, Int8, Int16, Int32, Int64, Utf8};
    let data_type = field.data_type();
    if matches!(data_type, Utf8 | Binary | Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64) {
        return Vec::new();
    }
    let message = format!("column {}: the raw format cannot carry {}", field.name(), sql_type_name(data_type));
    vec![FormatProblem::column(message, "use STRING, BYTES, BOOLEAN, an integer, FLOAT or DOUBLE")]
}

pub(super) fn decoder(
    options: &RawOptions,
    table: &SchemaRef,
    projection: &[usize],
    place: String,
) -> Result<Box<dyn RowDecoder>> {
    let schema: SchemaRef = Arc::new(table.project(projection)?);
    let columns = schema.fields().iter().map(Column::new).collect::<Result<_>>()?;
    let rejection = Rejection { ignore: false, option: None, place };
    Ok(Box::new(RawDecoder { schema, columns, options: options.clone(), rejection }))
}

pub(super) fn encoder(options: &RawOptions, _schema: &SchemaRef) -> Result<Box<dyn RowEncoder>> {
    Ok(Box::new(RawEncoder { options: options.clone() }))
}

struct RawDecoder {
    schema: SchemaRef,
    /// One column, or none where only the number of rows is asked for.
    columns: Vec<Column>,
    options: RawOptions,
    rejection: Rejection,
}

impl RowDecoder for RawDecoder {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn begin(&mut self, _block: Block<'_>) -> Result<Option<usize>> {
        Ok(Some(0))
    }

    fn decode(&mut self, block: Block<'_>, rows_max: usize) -> Result<Decoded> {
        let (mut at, mut rows) = (0, 0);
        while rows < rows_max && at < BATCH_BYTES_MAX {
            let Some((line, next)) = block.record(at, rows) else { break };
            let newline = block.ends.is_none() && block.bytes[next - 1] == b'\n';
            let end = if newline { next - 1 } else { next };
            for column in &mut self.columns {
                let text = matches!(column.values, Values::Text(_));
                let value = &block.bytes[at..if text { line.end } else { end }];
                if let Err(flaw) = read_value(value, column, &self.options) {
                    self.rejection.reject(&flaw, value, block.offset + at as u64, &mut Vec::new())?;
                }
            }
            rows += 1;
            at = next;
        }
        let rows = finish(&self.schema, &mut self.columns, rows)?;
        // A bad value fails the job, so that no message lacks its row.
        let messages = block.ends.map_or_else(Vec::new, |_| (0..rows.num_rows() as u32).collect());
        Ok(Decoded { consumed: at, rows, kinds: None, rejected: Vec::new(), messages })
    }
}

fn read_value(bytes: &[u8], column: &mut Column, options: &RawOptions) -> Parsed<()> {
    let little_endian = options.little_endian;
    match &mut column.values {
        Values::Text(texts) => texts.push(options.charset.decode(bytes).as_bytes()),
        Values::Binary(texts) => texts.push(bytes),
        Values::Boolean(values) => values.push(fixed::<1>(bytes, little_endian)? != [0]),
        Values::Int8(values) => values.push(i8::from_be_bytes(fixed(bytes, little_endian)?)),
        Values::Int16(values) => values.push(i16::from_be_bytes(fixed(bytes, little_endian)?)),
        Values::Int32(values) => values.push(i32::from_be_bytes(fixed(bytes, little_endian)?)),
        Values::Int64(values) => values.push(i64::from_be_bytes(fixed(bytes, little_endian)?)),
        Values::Float32(values) => values.push(f32::from_be_bytes(fixed(bytes, little_endian)?)),
        Values::Float64(values) => values.push(f64::from_be_bytes(fixed(bytes, little_endian)?)),
        _ => return Err(Flaw::not_a(bytes, column.field.data_type())),
    }
    column.mark_valid();
    Ok(())
}

/// The bytes in big-endian order.
fn fixed<const N: usize>(bytes: &[u8], little_endian: bool) -> Parsed<[u8; N]> {
    let wrong = || Flaw::new(format!("{} bytes where the type has {N}", bytes.len()));
    let mut bytes: [u8; N] = bytes.try_into().map_err(|_| wrong())?;
    if little_endian {
        bytes.reverse();
    }
    Ok(bytes)
}

struct RawEncoder {
    options: RawOptions,
}

impl RowEncoder for RawEncoder {
    fn header(&self, _out: &mut Vec<u8>) {}

    fn write_records(
        &mut self,
        rows: &RecordBatch,
        kinds: Option<&Int8Array>,
        ends: &mut Ends<'_>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        assert!(kinds.is_none(), "a format of rows was given changes");
        let column = rows.column(0);
        for row in 0..rows.num_rows() {
            let start = out.len();
            match ends {
                Ends::Noted(ends) if column.is_null(row) => {
                    ends.push(None);
                    continue;
                }
                Ends::Newline if column.is_null(row) => {
                    return Err(unwritable("NULL", "filter NULL out, or replace it with COALESCE"));
                }
                _ => write_value(column, row, &self.options, out)?,
            }
            if matches!(ends, Ends::Newline) && memchr::memchr(b'\n', &out[start..]).is_some() {
                return Err(unwritable("a value with a newline in it", "use the json or csv format"));
            }
            ends.close(out);
        }
        Ok(())
    }
}

fn write_value(column: &ArrayRef, row: usize, options: &RawOptions, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    match column.data_type() {
        DataType::Utf8 => options.charset.encode(column.as_string::<i32>().value(row), out),
        DataType::Binary => out.extend_from_slice(column.as_binary::<i32>().value(row)),
        DataType::Boolean => out.push(u8::from(column.as_boolean().value(row))),
        DataType::Int8 => out.extend_from_slice(&column.as_primitive::<Int8Type>().value(row).to_be_bytes()),
        DataType::Int16 => out.extend_from_slice(&column.as_primitive::<Int16Type>().value(row).to_be_bytes()),
        DataType::Int32 => out.extend_from_slice(&column.as_primitive::<Int32Type>().value(row).to_be_bytes()),
        DataType::Int64 => out.extend_from_slice(&column.as_primitive::<Int64Type>().value(row).to_be_bytes()),
        DataType::Float32 => out.extend_from_slice(&column.as_primitive::<Float32Type>().value(row).to_be_bytes()),
        DataType::Float64 => out.extend_from_slice(&column.as_primitive::<Float64Type>().value(row).to_be_bytes()),
        other => return Err(unwritable(&sql_type_name(other), "use the json or csv format")),
    }
    if options.little_endian && column.data_type().is_numeric() {
        out[start..].reverse();
    }
    Ok(())
}

#[cold]
fn unwritable(what: &str, hint: &str) -> EngineError {
    EngineError::BadRow {
        operator: "raw format".into(),
        reason: format!("the raw format cannot write {what}"),
        row: String::new(),
        hint: hint.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use rand::SeedableRng;

    fn schema(data_type: DataType) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("x", data_type, false)]))
    }

    fn decode(options: &RawOptions, data_type: DataType, bytes: &[u8]) -> Result<Decoded> {
        let mut decoder = decoder(options, &schema(data_type), &[0], "in".into())?;
        decoder.decode(Block::lines(bytes, 0, true), usize::MAX)
    }

    #[test]
    fn lines_are_values() {
        let decoded = decode(&RawOptions::default(), DataType::Utf8, b"a\r\n\nc\xFF").expect("any bytes are text");
        let expected = arrow::array::StringArray::from(vec!["a", "", "c\u{FFFD}"]);
        assert_eq!(decoded.rows.column(0).as_string::<i32>(), &expected);
        let decoded = decode(&RawOptions::default(), DataType::Binary, b"a\r\nc").expect("any bytes");
        assert_eq!(decoded.rows.column(0).as_binary::<i32>().value(0), b"a\r");
        let error = decode(&RawOptions::default(), DataType::Int32, b"1\n").expect_err("too short");
        assert!(error.to_string().contains("1 bytes where the type has 4"), "{error}");
    }

    #[test]
    fn texts_may_have_another_charset() {
        let options = RawOptions { charset: Charset::of_name("GBK").expect("a charset"), ..RawOptions::default() };
        let decoded = decode(&options, DataType::Utf8, b"\xC4\xE3\nab").expect("any bytes are text");
        let expected = arrow::array::StringArray::from(vec!["你", "ab"]);
        assert_eq!(decoded.rows.column(0).as_string::<i32>(), &expected);
        let mut bytes = Vec::new();
        encoder(&options, &decoded.rows.schema()).expect("encoder").encode(&decoded.rows, &mut bytes).expect("encoded");
        assert_eq!(bytes, b"\xC4\xE3\nab\n");
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same_rows() {
        use DataType::{Binary, Boolean, Float32, Float64, Int8, Int16, Int32, Int64, Utf8};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for data_type in [Utf8, Binary, Boolean, Int8, Int16, Int32, Int64, Float32, Float64] {
            for little_endian in [false, true] {
                let options = RawOptions { little_endian, ..RawOptions::default() };
                for _ in 0..200 {
                    let rows = crate::format::test_rows::random_batch(&schema(data_type.clone()), 1, &mut random);
                    let mut bytes = Vec::new();
                    let encoded = encoder(&options, &rows.schema()).expect("encoder").encode(&rows, &mut bytes);
                    // Random text may hold a newline, or a carriage return at its end.
                    if encoded.is_err() || bytes.ends_with(b"\r\n") {
                        continue;
                    }
                    assert_eq!(decode(&options, data_type.clone(), &bytes).expect("own output").rows, rows);
                }
            }
        }
    }
}
