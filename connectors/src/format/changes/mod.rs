//! Changes of a table, one JSON object per line, in the envelopes that Flink reads and writes.
//!
//! `debezium-json`: `{"before": {...}, "after": {...}, "op": "u"}`; an update is both rows, and is written as a delete
//! and an insert, as Flink does. `changelog-json`: `{"data": {...}, "op": "-U"}`; each row says its kind. The rows inside
//! are read and written as in the [`json`](super::json) format.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use tidemill_engine::Result;

use super::json::{JsonKeys, JsonOptions};
use super::option::OptionReader;
use super::{FormatOption, RowDecoder, RowEncoder};

mod decode;
mod encode;
#[cfg(test)]
mod tests;

/// What stands around the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    Debezium {
        /// Records are `{"schema": ..., "payload": {...}}`.
        schema_include: bool,
    },
    Changelog,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ChangeOptions {
    pub envelope: Envelope,
    pub json: JsonOptions,
}

const SCHEMA_INCLUDE: &str = "debezium-json.schema-include";

const DEBEZIUM_KEYS: JsonKeys = JsonKeys {
    fail_on_missing_field: None,
    ignore_parse_errors: "debezium-json.ignore-parse-errors",
    timestamps: "debezium-json.timestamp-format.standard",
    map_null_key_mode: "debezium-json.map-null-key.mode",
    map_null_key_literal: "debezium-json.map-null-key.literal",
    plain_decimals: "debezium-json.encode.decimal-as-plain-number",
    ignore_null_fields: "debezium-json.encode.ignore-null-fields",
};

const CHANGELOG_KEYS: JsonKeys = JsonKeys {
    fail_on_missing_field: None,
    ignore_parse_errors: "changelog-json.ignore-parse-errors",
    timestamps: "changelog-json.timestamp-format.standard",
    map_null_key_mode: "changelog-json.map-null-key.mode",
    map_null_key_literal: "changelog-json.map-null-key.literal",
    plain_decimals: "changelog-json.encode.decimal-as-plain-number",
    ignore_null_fields: "changelog-json.encode.ignore-null-fields",
};

pub const DEBEZIUM_OPTIONS: &[FormatOption] = &[
    FormatOption {
        key: SCHEMA_INCLUDE,
        value_type: "Boolean",
        default: Some("false"),
        description: "records are {\"schema\": ..., \"payload\": {...}}; to read only",
    },
    ignore_parse_errors(&DEBEZIUM_KEYS),
    timestamps(&DEBEZIUM_KEYS),
    map_null_key_mode(&DEBEZIUM_KEYS),
    map_null_key_literal(&DEBEZIUM_KEYS),
    plain_decimals(&DEBEZIUM_KEYS),
    ignore_null_fields(&DEBEZIUM_KEYS),
];

pub const CHANGELOG_OPTIONS: &[FormatOption] = &[
    ignore_parse_errors(&CHANGELOG_KEYS),
    timestamps(&CHANGELOG_KEYS),
    map_null_key_mode(&CHANGELOG_KEYS),
    map_null_key_literal(&CHANGELOG_KEYS),
    plain_decimals(&CHANGELOG_KEYS),
    ignore_null_fields(&CHANGELOG_KEYS),
];

const fn option(
    key: &'static str,
    value_type: &'static str,
    default: &'static str,
    description: &'static str,
) -> FormatOption {
    FormatOption { key, value_type, default: Some(default), description }
}

const fn ignore_parse_errors(keys: &JsonKeys) -> FormatOption {
    let doc = "leave bad records out, count them and keep them in <table>$errors; otherwise they fail the job";
    option(keys.ignore_parse_errors, "Boolean", "false", doc)
}

const fn timestamps(keys: &JsonKeys) -> FormatOption {
    option(keys.timestamps, "SQL | ISO-8601", "SQL", "as in the json format")
}

const fn map_null_key_mode(keys: &JsonKeys) -> FormatOption {
    option(keys.map_null_key_mode, "FAIL | DROP | LITERAL", "FAIL", "as in the json format")
}

const fn map_null_key_literal(keys: &JsonKeys) -> FormatOption {
    option(keys.map_null_key_literal, "String", "null", "as in the json format")
}

const fn plain_decimals(keys: &JsonKeys) -> FormatOption {
    option(keys.plain_decimals, "Boolean", "false", "write DECIMAL without an exponent; here it is always so")
}

const fn ignore_null_fields(keys: &JsonKeys) -> FormatOption {
    option(keys.ignore_null_fields, "Boolean", "false", "leave out fields of rows that are NULL when writing")
}

impl ChangeOptions {
    pub(super) fn debezium(reader: &mut OptionReader<'_>) -> Self {
        let schema_include = reader.boolean(SCHEMA_INCLUDE, false);
        Self { envelope: Envelope::Debezium { schema_include }, json: JsonOptions::read(reader, &DEBEZIUM_KEYS) }
    }

    pub(super) fn changelog(reader: &mut OptionReader<'_>) -> Self {
        Self { envelope: Envelope::Changelog, json: JsonOptions::read(reader, &CHANGELOG_KEYS) }
    }
}

impl Envelope {
    /// The columns of a record around rows of `row`. What a record need not have is nullable, and so is every field:
    /// whether a NULL is wrong depends on which of the rows count.
    fn schema(self, row: &Schema) -> SchemaRef {
        let fields = row.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let row = DataType::Struct(fields.collect::<Fields>());
        let op = Field::new("op", DataType::Utf8, true);
        let columns = match self {
            Self::Debezium { .. } => {
                vec![Field::new("before", row.clone(), true), Field::new("after", row, true), op]
            }
            Self::Changelog => vec![Field::new("data", row, true), op],
        };
        match self {
            Self::Debezium { schema_include: true } => {
                Arc::new(Schema::new(vec![Field::new("payload", DataType::Struct(columns.into()), true)]))
            }
            _ => Arc::new(Schema::new(columns)),
        }
    }
}

pub(super) fn decoder(
    options: &ChangeOptions,
    table: &SchemaRef,
    projection: &[usize],
    place: String,
) -> Result<Box<dyn RowDecoder>> {
    let schema = Arc::new(table.project(projection)?);
    Ok(Box::new(decode::ChangeDecoder::new(options, schema, place)?))
}

pub(super) fn encoder(options: &ChangeOptions, schema: &SchemaRef) -> Box<dyn RowEncoder> {
    Box::new(encode::ChangeEncoder::new(options, schema))
}
