//! Changes of a table, one JSON object per line, in the envelopes that Flink reads and writes.
//!
//! `debezium-json`: `{"before": {...}, "after": {...}, "op": "u"}`; an update is both rows, and is written as a delete
//! and an insert, as Flink does. `changelog-json`: `{"data": {...}, "op": "-U"}`; each row says its kind. The rows inside
//! are read and written as in the [`json`](super::json) format.
//!
//! `canal-json`: `{"data": [{...}], "old": [{...}], "type": "UPDATE"}`; `maxwell-json`: `{"data": {...}, "old": {...}, "type":
//! "update"}`. Both tell of an old row only what changed.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use regex::Regex;
use tidemill_engine::Result;

use self::records::Included;
use super::json::{JsonKeys, JsonOptions};
use super::option::OptionReader;
use super::{FormatOption, RowDecoder, RowEncoder};

mod decode;
mod encode;
mod old_values;
#[cfg(test)]
mod partial_tests;
mod records;
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
    Canal,
    Maxwell,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ChangeOptions {
    pub envelope: Envelope,
    pub json: JsonOptions,
    /// Patterns of the names of databases and of tables whose records are read.
    include: [Option<String>; 2],
}

const CANAL_DATABASE: &str = "canal-json.database.include";
const CANAL_TABLE: &str = "canal-json.table.include";
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

const CANAL_KEYS: JsonKeys = JsonKeys {
    fail_on_missing_field: None,
    ignore_parse_errors: "canal-json.ignore-parse-errors",
    timestamps: "canal-json.timestamp-format.standard",
    map_null_key_mode: "canal-json.map-null-key.mode",
    map_null_key_literal: "canal-json.map-null-key.literal",
    plain_decimals: "canal-json.encode.decimal-as-plain-number",
    ignore_null_fields: "canal-json.encode.ignore-null-fields",
};

const MAXWELL_KEYS: JsonKeys = JsonKeys {
    fail_on_missing_field: None,
    ignore_parse_errors: "maxwell-json.ignore-parse-errors",
    timestamps: "maxwell-json.timestamp-format.standard",
    map_null_key_mode: "maxwell-json.map-null-key.mode",
    map_null_key_literal: "maxwell-json.map-null-key.literal",
    plain_decimals: "maxwell-json.encode.decimal-as-plain-number",
    ignore_null_fields: "maxwell-json.encode.ignore-null-fields",
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

pub const CANAL_OPTIONS: &[FormatOption] = &[
    include(CANAL_DATABASE, "read only records whose \"database\" is wholly of this regular expression"),
    include(CANAL_TABLE, "read only records whose \"table\" is wholly of this regular expression"),
    ignore_parse_errors(&CANAL_KEYS),
    timestamps(&CANAL_KEYS),
    map_null_key_mode(&CANAL_KEYS),
    map_null_key_literal(&CANAL_KEYS),
    plain_decimals(&CANAL_KEYS),
    ignore_null_fields(&CANAL_KEYS),
];

pub const MAXWELL_OPTIONS: &[FormatOption] = &[
    ignore_parse_errors(&MAXWELL_KEYS),
    timestamps(&MAXWELL_KEYS),
    map_null_key_mode(&MAXWELL_KEYS),
    map_null_key_literal(&MAXWELL_KEYS),
    plain_decimals(&MAXWELL_KEYS),
    ignore_null_fields(&MAXWELL_KEYS),
];

const fn include(key: &'static str, description: &'static str) -> FormatOption {
    FormatOption { key, value_type: "String", default: None, description }
}

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
        Self::of(Envelope::Debezium { schema_include }, reader, &DEBEZIUM_KEYS)
    }

    pub(super) fn changelog(reader: &mut OptionReader<'_>) -> Self {
        Self::of(Envelope::Changelog, reader, &CHANGELOG_KEYS)
    }

    pub(super) fn canal(reader: &mut OptionReader<'_>) -> Self {
        let include = [CANAL_DATABASE, CANAL_TABLE].map(|key| reader.parsed(key, |value| whole(value).map(Some)));
        let texts = include.map(|pattern| pattern.map(|pattern| pattern.as_str().to_owned()));
        Self { include: texts, ..Self::of(Envelope::Canal, reader, &CANAL_KEYS) }
    }

    pub(super) fn maxwell(reader: &mut OptionReader<'_>) -> Self {
        Self::of(Envelope::Maxwell, reader, &MAXWELL_KEYS)
    }

    fn of(envelope: Envelope, reader: &mut OptionReader<'_>, keys: &'static JsonKeys) -> Self {
        Self { envelope, json: JsonOptions::read(reader, keys), include: [None, None] }
    }

    /// The patterns, which were tried when the options were read.
    fn included(&self) -> Included {
        let pattern = |text: &Option<String>| text.as_ref().and_then(|text| Regex::new(text).ok());
        let [database, table] = &self.include;
        Included { database: pattern(database), table: pattern(table) }
    }
}

/// A pattern that matches whole names.
fn whole(pattern: &str) -> Result<Regex, String> {
    // Alone first, so that no parenthesis of it closes the one around it.
    let bad = |_| "write a regular expression, such as 'orders_.*'".to_string();
    Regex::new(pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$"))).map_err(bad)
}

impl Envelope {
    /// The columns of a record around rows of `row`. What a record need not have is nullable, and so is every field:
    /// whether a NULL is wrong depends on which of the rows count.
    fn schema(self, row: &Schema) -> SchemaRef {
        let fields = row.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let row = DataType::Struct(fields.collect::<Fields>());
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let list = |name: &str, of: DataType| Field::new_list(name, Field::new_list_field(of, true), true);
        let op = text(if matches!(self, Self::Canal | Self::Maxwell) { "type" } else { "op" });
        let columns = match self {
            // What an update tells of its old row is read once its new row is known.
            Self::Canal => {
                vec![list("data", row), list("old", DataType::Utf8), text("database"), text("table"), op]
            }
            Self::Maxwell => vec![Field::new("data", row, true), text("old"), op],
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
