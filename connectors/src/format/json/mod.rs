//! Newline-delimited JSON: one object per line, as Flink's `json` format reads and writes it.
//!
//! Stricter than Flink where Flink would change a value: a fraction in an integer column, a word other than true or
//! false in a BOOLEAN column and a DECIMAL that is too large are bad records. The whole record must be JSON, also where
//! a column is not read. Of a repeated key the last value counts, but a MAP must not repeat one. A value of STRING type that is not a string is its
//! JSON text without insignificant white space.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use tidemill_engine::Result;

use super::option::OptionReader;
use super::{FormatOption, FormatProblem, RowDecoder, RowEncoder};

mod cursor;
pub(super) mod decode;
pub(super) mod encode;
pub(super) mod keys;
mod shape;
mod value;

pub use encode::RowArrays;

/// How timestamps look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampStandard {
    /// `2024-12-31 23:59:59.123`, with a `Z` behind it for TIMESTAMP_LTZ.
    #[default]
    Sql,
    /// `2024-12-31T23:59:59.123`, with a `Z` behind it for TIMESTAMP_LTZ.
    Iso8601,
}

/// What to do with an entry of a MAP whose key is NULL when encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MapNullKeyMode {
    #[default]
    Fail,
    Drop,
    Literal,
}

/// What the options are called: other formats that carry JSON have the same ones under names of their own.
#[derive(Debug, PartialEq, Eq)]
pub struct JsonKeys {
    /// `None` where the format does not have it.
    pub fail_on_missing_field: Option<&'static str>,
    pub ignore_parse_errors: &'static str,
    pub timestamps: &'static str,
    pub map_null_key_mode: &'static str,
    pub map_null_key_literal: &'static str,
    pub plain_decimals: &'static str,
    pub ignore_null_fields: &'static str,
}

const KEYS: JsonKeys = JsonKeys {
    fail_on_missing_field: Some("json.fail-on-missing-field"),
    ignore_parse_errors: "json.ignore-parse-errors",
    timestamps: "json.timestamp-format.standard",
    map_null_key_mode: "json.map-null-key.mode",
    map_null_key_literal: "json.map-null-key.literal",
    plain_decimals: "json.encode.decimal-as-plain-number",
    ignore_null_fields: "json.encode.ignore-null-fields",
};

impl Default for &'static JsonKeys {
    fn default() -> Self {
        &KEYS
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct JsonOptions {
    pub keys: &'static JsonKeys,
    pub fail_on_missing_field: bool,
    pub ignore_parse_errors: bool,
    pub timestamps: TimestampStandard,
    pub map_null_key_mode: MapNullKeyMode,
    pub map_null_key_literal: String,
    pub ignore_null_fields: bool,
}

pub const OPTIONS: &[FormatOption] = &[
    FormatOption {
        key: "json.fail-on-missing-field",
        value_type: "Boolean",
        default: Some("false"),
        description: "a record that lacks a column is bad; otherwise the column is NULL",
    },
    FormatOption {
        key: "json.ignore-parse-errors",
        value_type: "Boolean",
        default: Some("false"),
        description: "leave bad records out, count them and keep them in <table>$errors; otherwise they fail the job",
    },
    FormatOption {
        key: "json.timestamp-format.standard",
        value_type: "SQL | ISO-8601",
        default: Some("SQL"),
        description: "SQL: 2024-12-31 23:59:59.123; ISO-8601: 2024-12-31T23:59:59.123; TIMESTAMP_LTZ has a Z behind it",
    },
    FormatOption {
        key: "json.map-null-key.mode",
        value_type: "FAIL | DROP | LITERAL",
        default: Some("FAIL"),
        description: "when writing a MAP with a NULL key: fail, drop the entry, or use json.map-null-key.literal as key",
    },
    FormatOption {
        key: "json.map-null-key.literal",
        value_type: "String",
        default: Some("null"),
        description: "the key that stands for NULL when json.map-null-key.mode is LITERAL",
    },
    FormatOption {
        key: "json.encode.decimal-as-plain-number",
        value_type: "Boolean",
        default: Some("false"),
        description: "write DECIMAL without an exponent; here it is always so",
    },
    FormatOption {
        key: "json.encode.ignore-null-fields",
        value_type: "Boolean",
        default: Some("false"),
        description: "leave out fields that are NULL when writing",
    },
];

impl JsonOptions {
    /// The values of the options that are called `keys`.
    pub(super) fn read(reader: &mut OptionReader<'_>, keys: &'static JsonKeys) -> Self {
        use MapNullKeyMode::{Drop, Fail, Literal};
        use TimestampStandard::{Iso8601, Sql};
        // No effect, but a wrong value is still a mistake.
        reader.boolean(keys.plain_decimals, false);
        let fail_on_missing_field = keys.fail_on_missing_field.is_some_and(|key| reader.boolean(key, false));
        let ignore_parse_errors = reader.boolean(keys.ignore_parse_errors, false);
        if let (true, true, Some(key)) = (fail_on_missing_field, ignore_parse_errors, keys.fail_on_missing_field) {
            let hint = format!("set only one of '{key}' and '{}' to 'true'", keys.ignore_parse_errors);
            reader.problems.push(FormatProblem::value(key, "true", hint));
        }
        let modes = [("FAIL", Fail), ("DROP", Drop), ("LITERAL", Literal)];
        Self {
            keys,
            fail_on_missing_field,
            ignore_parse_errors,
            timestamps: reader.choice(keys.timestamps, Sql, &[("SQL", Sql), ("ISO-8601", Iso8601)]),
            map_null_key_mode: reader.choice(keys.map_null_key_mode, Fail, &modes),
            map_null_key_literal: reader.text(keys.map_null_key_literal).unwrap_or("null").to_owned(),
            ignore_null_fields: reader.boolean(keys.ignore_null_fields, false),
        }
    }
}

pub(super) fn check(table: &Schema) -> Vec<FormatProblem> {
    let columns = table.fields().iter().filter(|field| has_other_keys(field.data_type()));
    columns
        .map(|field| {
            let message = format!("column {}: the keys of a MAP are STRING in JSON", field.name());
            FormatProblem::column(message, "declare it as MAP<STRING, ...>")
        })
        .collect()
}

/// A MAP in the type has keys that are not STRING.
fn has_other_keys(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(element) => has_other_keys(element.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_other_keys(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => pair[0].data_type() != &DataType::Utf8 || has_other_keys(pair[1].data_type()),
            _ => true,
        },
        _ => false,
    }
}

pub(super) fn decoder(
    options: &JsonOptions,
    table: &SchemaRef,
    projection: &[usize],
    place: String,
) -> Result<Box<dyn RowDecoder>> {
    let schema = Arc::new(table.project(projection)?);
    Ok(Box::new(decode::JsonDecoder::new(options, schema, place)?))
}

pub(super) fn encoder(options: &JsonOptions, schema: &SchemaRef) -> Result<Box<dyn RowEncoder>> {
    Ok(Box::new(encode::JsonEncoder::new(options, schema)))
}

#[cfg(test)]
mod tests;
