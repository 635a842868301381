//! Apache Avro, one record per message: `avro` writes the bare record, whose schema is the table's; `avro-confluent` puts the number
//! of the schema in front of it, under which a schema registry keeps it.
//!
//! The library `arrow-avro` reads and writes the records. [`schema`] says which Avro type a column is, [`conform`] makes columns of one
//! type out of those of another that means the same, [`registry`] asks the registry.

use arrow::datatypes::{Schema, SchemaRef};
use tidemill_engine::Result;

use self::registry::{Access, Registry};
use super::option::OptionReader;
use super::{FormatOption, FormatProblem, RowDecoder, RowEncoder};

mod conform;
mod decode;
mod encode;
mod registry;
mod schema;
#[cfg(test)]
mod tests;

const URL: &str = "avro-confluent.url";
const SUBJECT: &str = "avro-confluent.subject";
const USER_INFO: &str = "avro-confluent.basic-auth.user-info";
const TOKEN: &str = "avro-confluent.bearer-auth.token";
const IGNORE: &str = "avro.ignore-parse-errors";
const CONFLUENT_IGNORE: &str = "avro-confluent.ignore-parse-errors";
const LEGACY: &str = "avro.timestamp_mapping.legacy";
const CONFLUENT_LEGACY: &str = "avro-confluent.timestamp_mapping.legacy";

/// A format of Avro with its options.
#[derive(Debug, Clone, PartialEq)]
pub struct AvroOptions {
    /// TIMESTAMP is `timestamp-millis`, and TIMESTAMP_LTZ has no form; else they are `local-timestamp-*` and `timestamp-*`.
    pub legacy_timestamps: bool,
    pub ignore_parse_errors: bool,
    /// `None`: records without the number of a schema.
    pub registry: Option<Registry>,
}

pub const OPTIONS: &[FormatOption] = &[
    FormatOption {
        key: LEGACY,
        value_type: "Boolean",
        default: Some("true"),
        description: "TIMESTAMP(3) is timestamp-millis, as in old versions of Flink; 'false': it is local-timestamp-millis, and TIMESTAMP_LTZ timestamp-millis",
    },
    FormatOption {
        key: IGNORE,
        value_type: "Boolean",
        default: Some("false"),
        description: "leave bad records out instead of failing the job (extension)",
    },
];

pub const CONFLUENT_OPTIONS: &[FormatOption] = &[
    FormatOption { key: URL, value_type: "String", default: None, description: "of the schema registry; needed" },
    FormatOption {
        key: SUBJECT,
        value_type: "String",
        default: None,
        description: "under which written schemas are registered; unless given, the topic's name with '-value' or '-key' behind it",
    },
    FormatOption {
        key: USER_INFO,
        value_type: "String",
        default: None,
        description: "user:password for the registry; never shown",
    },
    FormatOption {
        key: TOKEN,
        value_type: "String",
        default: None,
        description: "a bearer token for the registry; never shown",
    },
    FormatOption {
        key: CONFLUENT_LEGACY,
        value_type: "Boolean",
        default: Some("true"),
        description: "as avro.timestamp_mapping.legacy",
    },
    FormatOption {
        key: CONFLUENT_IGNORE,
        value_type: "Boolean",
        default: Some("false"),
        description: "leave bad records out instead of failing the job (extension)",
    },
];

impl AvroOptions {
    pub(super) fn plain(reader: &mut OptionReader<'_>) -> Self {
        let ignore_parse_errors = reader.boolean(IGNORE, false);
        Self { legacy_timestamps: reader.boolean(LEGACY, true), ignore_parse_errors, registry: None }
    }

    pub(super) fn confluent(reader: &mut OptionReader<'_>) -> Self {
        let legacy_timestamps = reader.boolean(CONFLUENT_LEGACY, true);
        let url = reader.text(URL).map(str::trim).filter(|url| !url.is_empty());
        match url {
            None => reader.problems.push(FormatProblem {
                option: None,
                message: format!("'avro-confluent' needs the option '{URL}'"),
                hint: format!("add '{URL}' = 'http://...', the address of the schema registry"),
            }),
            Some(url) if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) => {
                reader.problems.push(FormatProblem::value(
                    URL,
                    url,
                    "write an address that begins with http:// or https://",
                ));
            }
            Some(_) => {}
        }
        let access = match (reader.text(USER_INFO), reader.text(TOKEN)) {
            (None, None) => Access::Open,
            (Some(user), None) => Access::Basic(user.into()),
            (None, Some(token)) => Access::Bearer(token.into()),
            (Some(_), Some(_)) => {
                reader.problems.push(FormatProblem {
                    option: Some(TOKEN.into()),
                    message: format!("either '{USER_INFO}' or '{TOKEN}' is given, not both"),
                    hint: "leave one of them out".into(),
                });
                Access::Open
            }
        };
        let subject = reader.text(SUBJECT).map(str::to_string);
        let ignore_parse_errors = reader.boolean(CONFLUENT_IGNORE, false);
        Self {
            legacy_timestamps,
            ignore_parse_errors,
            registry: Some(Registry::new(url.unwrap_or_default(), subject, access)),
        }
    }

    fn ignore_option(&self) -> &'static str {
        if self.registry.is_some() { CONFLUENT_IGNORE } else { IGNORE }
    }

    /// The subject to register schemas under where the options name none.
    pub(super) fn set_default_subject(&mut self, subject: String) {
        if let Some(registry) = &mut self.registry {
            registry.subject.get_or_insert(subject);
        }
    }
}

pub(super) fn check(options: &AvroOptions, table: &Schema) -> Vec<FormatProblem> {
    let option = if options.registry.is_some() { CONFLUENT_LEGACY } else { LEGACY };
    let wrong = |field: &arrow::datatypes::FieldRef| schema::check(field, options.legacy_timestamps, option);
    table.fields().iter().filter_map(wrong).collect()
}

/// `place`: for messages.
pub(super) fn decoder(
    options: &AvroOptions,
    table: &SchemaRef,
    projection: &[usize],
    place: String,
) -> Result<Box<dyn RowDecoder>> {
    Ok(Box::new(decode::AvroDecoder::new(options, table, projection, place)?))
}

pub(super) fn encoder(options: &AvroOptions, schema: &SchemaRef) -> Result<Box<dyn RowEncoder>> {
    Ok(Box::new(encode::AvroEncoder::new(options, schema)?))
}
