//! The list of formats: names, options, and the way from a table's options to decoders and encoders.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::datatypes::{Schema, SchemaRef};
use tidemill_engine::Result;
use tidemill_engine::graph::ChangelogMode;

use super::avro::{self, AvroOptions};
use super::changes::{self, ChangeOptions, Envelope};
use super::csv::{self, CsvOptions};
use super::json::{self, JsonOptions};
use super::option::OptionReader;
use super::parquet::{self, ParquetOptions};
use super::raw::{self, RawOptions};
use super::{FormatOption, FormatProblem, RowDecoder, RowEncoder};

/// A format with its options, as a table's `WITH (...)` gives them.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    Json(JsonOptions),
    Csv(CsvOptions),
    Raw(RawOptions),
    /// Rows with what happened to them.
    Changes(ChangeOptions),
    /// Records that only a carrier of messages keeps apart.
    Avro(AvroOptions),
    /// Not made of records that follow one another: see [`parquet::ParquetReader`] and [`parquet::ParquetWriter`].
    Parquet(ParquetOptions),
}

/// A format's name, what it is, and its options.
#[derive(Debug, Clone, Copy)]
pub struct FormatDefinition {
    pub name: &'static str,
    pub description: &'static str,
    pub options: &'static [FormatOption],
}

/// All formats.
pub const FORMATS: &[FormatDefinition] = &[
    FormatDefinition { name: "json", description: "one JSON object per line", options: json::OPTIONS },
    FormatDefinition { name: "csv", description: "comma-separated values", options: csv::OPTIONS },
    FormatDefinition { name: "raw", description: "each line is the value of the only column", options: raw::OPTIONS },
    FormatDefinition {
        name: "debezium-json",
        description: "changes as Debezium tells them, one JSON object per line: before, after, op",
        options: changes::DEBEZIUM_OPTIONS,
    },
    FormatDefinition {
        name: "changelog-json",
        description: "changes as rows with their row kind, one JSON object per line: data, op",
        options: changes::CHANGELOG_OPTIONS,
    },
    FormatDefinition {
        name: "canal-json",
        description: "changes as Canal tells them, one JSON object per line: data, old, type",
        options: changes::CANAL_OPTIONS,
    },
    FormatDefinition {
        name: "maxwell-json",
        description: "changes as Maxwell tells them, one JSON object per line: data, old, type",
        options: changes::MAXWELL_OPTIONS,
    },
    FormatDefinition { name: "avro", description: "Apache Avro, one record per message", options: avro::OPTIONS },
    FormatDefinition {
        name: "avro-confluent",
        description: "Apache Avro with schemas from a schema registry, one record per message",
        options: avro::CONFLUENT_OPTIONS,
    },
    FormatDefinition { name: "parquet", description: "Apache Parquet files", options: parquet::OPTIONS },
];

impl Format {
    /// `name` as in `'format' = 'json'`; of `options` only the keys with the format's prefix are looked at.
    pub fn parse(name: &str, options: &BTreeMap<String, String>) -> Result<Self, Vec<FormatProblem>> {
        let mut reader = OptionReader::new(options);
        let format = match name {
            "json" => Self::Json(JsonOptions::read(&mut reader, Default::default())),
            "csv" => Self::Csv(CsvOptions::read(&mut reader)),
            "raw" => Self::Raw(RawOptions::read(&mut reader)),
            "debezium-json" => Self::Changes(ChangeOptions::debezium(&mut reader)),
            "changelog-json" => Self::Changes(ChangeOptions::changelog(&mut reader)),
            "canal-json" => Self::Changes(ChangeOptions::canal(&mut reader)),
            "maxwell-json" => Self::Changes(ChangeOptions::maxwell(&mut reader)),
            "avro" => Self::Avro(AvroOptions::plain(&mut reader)),
            "avro-confluent" => Self::Avro(AvroOptions::confluent(&mut reader)),
            "parquet" => Self::Parquet(ParquetOptions::read(&mut reader)),
            _ => return Err(vec![unknown_format(name)]),
        };
        if reader.problems.is_empty() { Ok(format) } else { Err(reader.problems) }
    }

    pub fn name(&self) -> &'static str {
        self.definition().name
    }

    pub fn definition(&self) -> &'static FormatDefinition {
        let index = match self {
            Self::Json(_) => 0,
            Self::Csv(_) => 1,
            Self::Raw(_) => 2,
            Self::Changes(ChangeOptions { envelope: Envelope::Debezium { .. }, .. }) => 3,
            Self::Changes(ChangeOptions { envelope: Envelope::Changelog, .. }) => 4,
            Self::Changes(ChangeOptions { envelope: Envelope::Canal, .. }) => 5,
            Self::Changes(ChangeOptions { envelope: Envelope::Maxwell, .. }) => 6,
            Self::Avro(AvroOptions { registry: None, .. }) => 7,
            Self::Avro(_) => 8,
            Self::Parquet(_) => 9,
        };
        &FORMATS[index]
    }

    /// Columns that the format cannot carry. `table`: the columns that are in the file, in the table's order.
    pub fn check(&self, table: &Schema) -> Vec<FormatProblem> {
        match self {
            Self::Json(_) | Self::Changes(_) => json::check(table),
            Self::Csv(options) => csv::check(options, table),
            Self::Raw(_) => raw::check(table),
            Self::Avro(options) => avro::check(options, table),
            Self::Parquet(_) => parquet::check(table),
        }
    }

    /// For formats that keep their schemas in a registry: the subject to register them under, where the options name none.
    pub fn with_default_subject(mut self, subject: String) -> Self {
        if let Self::Avro(options) = &mut self {
            options.set_default_subject(subject);
        }
        self
    }

    /// What the rows of a file mean together.
    pub fn changelog(&self) -> ChangelogMode {
        match self {
            Self::Changes(_) => ChangelogMode::Retract,
            _ => ChangelogMode::Append,
        }
    }

    /// Every newline ends a record, so that a file can be read in byte ranges.
    pub fn splits_at_newlines(&self) -> bool {
        match self {
            Self::Json(_) | Self::Raw(_) | Self::Changes(_) => true,
            Self::Csv(options) => options.splits_at_newlines(),
            Self::Avro(_) | Self::Parquet(_) => false,
        }
    }

    /// A decoder may be asked for ROW columns with some of their fields only: fields are found by name, and what is not asked for
    /// is passed over.
    pub fn reads_fields(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// A decoder for one file. `table`: all columns that are in the file, in the table's order; `projection`: indices
    /// of the columns to give, in this order; `path`: for messages.
    pub fn decoder(&self, table: &SchemaRef, projection: &[usize], path: &Path) -> Result<Box<dyn RowDecoder>> {
        let place = path.display().to_string();
        match self {
            Self::Json(options) => json::decoder(options, table, projection, place),
            Self::Csv(options) => csv::decoder(options, table, projection, place),
            Self::Raw(options) => raw::decoder(options, table, projection, place),
            Self::Changes(options) => changes::decoder(options, table, projection, place),
            Self::Avro(options) => avro::decoder(options, table, projection, place),
            Self::Parquet(_) => Err(parquet::not_lines()),
        }
    }

    /// An encoder of rows of this schema.
    pub fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn RowEncoder>> {
        match self {
            Self::Json(options) => json::encoder(options, schema),
            Self::Csv(options) => csv::encoder(options, schema),
            Self::Raw(options) => raw::encoder(options, schema),
            Self::Changes(options) => Ok(changes::encoder(options, schema)),
            Self::Avro(options) => avro::encoder(options, schema),
            Self::Parquet(_) => Err(parquet::not_lines()),
        }
    }
}

fn unknown_format(name: &str) -> FormatProblem {
    let known: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
    let hint = match tidemill_engine::suggestion::closest(name, known.iter().copied()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("known formats: {}", known.join(", ")),
    };
    FormatProblem { option: Some("format".into()), message: format!("there is no format '{name}'"), hint }
}
