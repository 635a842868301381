//! Each line is the value of the table's only column.

use arrow::datatypes::{DataType, Schema, SchemaRef};
use tidemill_engine::{EngineError, Result};

use super::option::OptionReader;
use super::{FormatOption, FormatProblem, RowDecoder, RowEncoder};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct RawOptions {
    pub little_endian: bool,
}

pub const OPTIONS: &[FormatOption] = &[
    FormatOption {
        key: "raw.charset",
        value_type: "UTF-8",
        default: Some("UTF-8"),
        description: "of STRING columns; only UTF-8 is supported",
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
        reader.choice("raw.charset", (), &[("UTF-8", ()), ("UTF8", ())]);
        let endianness = &[("big-endian", false), ("little-endian", true)];
        Self { little_endian: reader.choice("raw.endianness", false, endianness) }
    }
}

pub(super) fn check(table: &Schema) -> Vec<FormatProblem> {
    let [field] = table.fields().as_ref() else {
        let message = format!("the raw format carries one column, this table has {}", table.fields().len());
        return vec![FormatProblem::column(message, "declare a single STRING column, or use another format")];
    };
    let data_type = field.data_type();
    if matches!(data_type, DataType::Utf8 | DataType::Binary | DataType::Boolean) || data_type.is_numeric() {
        return Vec::new();
    }
    let message = format!("column {}: the raw format cannot carry {data_type}", field.name());
    vec![FormatProblem::column(message, "use STRING, BYTES, BOOLEAN, an integer, FLOAT or DOUBLE")]
}

pub(super) fn decoder(
    _options: &RawOptions,
    _table: &SchemaRef,
    _projection: &[usize],
    _place: String,
) -> Result<Box<dyn RowDecoder>> {
    Err(EngineError::Unsupported("reading raw lines is not there yet".into()))
}

pub(super) fn encoder(_options: &RawOptions, _schema: &SchemaRef) -> Result<Box<dyn RowEncoder>> {
    Err(EngineError::Unsupported("writing raw lines is not there yet".into()))
}
