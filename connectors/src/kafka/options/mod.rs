//! A table's options resolved: what reading and writing have in common. Names are Flink's.
//!
//! [`list`] says which options there are, [`reading`] and [`writing`] resolve those of a source and of a sink, [`properties`] those
//! of the client library, [`login`] those among them that say who asks.

use arrow::datatypes::{Field, Schema};
use regex::Regex;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::suggestion::closest;

use super::client::ClientSettings;
use super::rows::check_value_metadata;
use crate::format::{Format, FormatProblem};
use crate::options::OptionProblem;
use crate::table::TableSpec;

mod list;
mod login;
mod properties;
mod reading;
#[cfg(test)]
mod tests;
mod writing;

use list::{
    BOOTSTRAP_SERVERS, FIELDS_INCLUDE, FORMAT, KEY_FIELDS, KEY_FIELDS_PREFIX, KEY_FORMAT, TOPIC, TOPIC_PATTERN,
    VALUE_FORMAT,
};

pub use list::list;
pub use reading::{Place, SourceOptions};
pub use writing::{Flush, Partitioning, SinkOptions};

/// The connector whose tables are kept by key.
pub const UPSERT_KAFKA: &str = "upsert-kafka";

/// Begins the options that are handed to the client library.
const PROPERTIES: &str = "properties.";

/// Begin the options of the formats that 'key.format' and 'value.format' name.
const KEY_PREFIX: &str = "key.";
const VALUE_PREFIX: &str = "value.";

type Checked<T> = Result<T, OptionProblem>;

/// Which topics a table is.
#[derive(Debug, Clone)]
pub enum Topics {
    Named(Vec<String>),
    Matching(Regex),
}

/// What reading and writing have in common.
#[derive(Debug, Clone)]
pub struct KafkaTable {
    pub client: ClientSettings,
    pub topics: Topics,
    pub value: Format,
    pub key: Option<Format>,
    /// In the order of the key.
    pub key_fields: Vec<String>,
    /// Begins the names of the key's columns in the table, but not in the messages.
    key_prefix: String,
    /// The value lacks the key's columns.
    pub except_key: bool,
    /// Messages are upserts by key, and deletes where they have no value.
    pub upserts: bool,
}

impl KafkaTable {
    /// Of the key and of the value.
    pub fn formats(&self) -> impl Iterator<Item = &Format> {
        self.key.iter().chain([&self.value])
    }

    pub fn of(spec: &TableSpec) -> Checked<Self> {
        spec.required_text(&BOOTSTRAP_SERVERS)?;
        check_value_metadata(spec)?;
        let upserts = spec.connector() == UPSERT_KAFKA;
        let key_fields = if upserts { primary_key(spec)? } else { key_fields(spec)? };
        let except_key = spec.text(&FIELDS_INCLUDE) == Some("EXCEPT_KEY");
        if except_key && key_fields.is_empty() {
            return Err(OptionProblem::at(FIELDS_INCLUDE.key, "'EXCEPT_KEY' needs columns in the key")
                .hint("add 'key.format' and 'key.fields'"));
        }
        let table = Self {
            client: ClientSettings::new(properties::translate(&spec.options)?),
            topics: topics(spec)?,
            value: value_format(spec)?,
            key: key_format(spec)?,
            key_prefix: key_prefix(spec, &key_fields, except_key)?,
            key_fields,
            except_key,
            upserts,
        };
        if !upserts && !spec.primary_key.is_empty() && table.changelog() == ChangelogMode::Append {
            return Err(keyless(spec, &table.value));
        }
        carries(&table.value, table.value_fields(&spec.columns))?;
        table.key.as_ref().map_or(Ok(()), |key| carries(key, table.fields_of_key(&spec.columns)))?;
        Ok(table)
    }

    /// The columns in values.
    pub fn value_fields(&self, columns: &Schema) -> Vec<Field> {
        let is_in_value = |name: &String| !(self.except_key && self.key_fields.contains(name));
        let fields = columns.fields().iter().filter(|field| is_in_value(field.name()));
        fields.map(|field| field.as_ref().clone()).collect()
    }

    /// The columns in keys, in the order of the key and under the names that they have there.
    pub fn fields_of_key(&self, columns: &Schema) -> Vec<Field> {
        let field = |name: &String| {
            let field = columns.field_with_name(name).expect("the key's columns were checked");
            field.clone().with_name(self.name_in_key(name))
        };
        self.key_fields.iter().map(field).collect()
    }

    /// What the table's messages mean together.
    pub fn changelog(&self) -> ChangelogMode {
        if self.upserts { ChangelogMode::Upsert } else { self.value.changelog() }
    }

    /// A key column's name in messages.
    pub fn name_in_key<'a>(&self, column: &'a str) -> &'a str {
        column.strip_prefix(&self.key_prefix).unwrap_or(column)
    }
}

fn topics(spec: &TableSpec) -> Checked<Topics> {
    match (spec.text(&TOPIC), spec.text(&TOPIC_PATTERN)) {
        (Some(_), Some(_)) => Err(OptionProblem::at(TOPIC.key, "either 'topic' or 'topic-pattern' is given, not both")),
        (None, None) => Err(OptionProblem::missing(&TOPIC, spec.connector())),
        (Some(names), None) => {
            let names: Vec<String> = parts(names).map(Into::into).collect();
            if names.is_empty() {
                Err(OptionProblem::at(TOPIC.key, "'topic' names no topic"))
            } else {
                Ok(Topics::Named(names))
            }
        }
        (None, Some(pattern)) => Regex::new(&format!("^(?:{pattern})$")).map(Topics::Matching).map_err(|error| {
            OptionProblem::at(TOPIC_PATTERN.key, format!("'topic-pattern' is not a regular expression: {error}"))
        }),
    }
}

/// `a; b` without spaces and empty parts.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(';').map(str::trim).filter(|part| !part.is_empty())
}

fn value_format(spec: &TableSpec) -> Checked<Format> {
    match (spec.text(&FORMAT), spec.text(&VALUE_FORMAT)) {
        (Some(_), Some(_)) => {
            Err(OptionProblem::at(VALUE_FORMAT.key, "'format' and 'value.format' are the same: only one is given"))
        }
        (Some(name), None) => format(spec, name, "", "value"),
        (None, Some(name)) => format(spec, name, VALUE_PREFIX, "value"),
        (None, None) => Err(OptionProblem::missing(&FORMAT, spec.connector())),
    }
}

fn key_format(spec: &TableSpec) -> Checked<Option<Format>> {
    spec.text(&KEY_FORMAT).map(|name| format(spec, name, KEY_PREFIX, "key")).transpose()
}

/// `prefix`: of the format's options; `half`: of messages, "key" or "value".
fn format(spec: &TableSpec, name: &str, prefix: &str, half: &str) -> Checked<Format> {
    let options =
        spec.options.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.into(), value.clone())));
    let format = Format::parse(name, &options.collect()).map_err(|problems| first(problems, prefix))?;
    Ok(match spec.text(&TOPIC) {
        Some(topic) => format.with_default_subject(format!("{topic}-{half}")),
        None => format,
    })
}

/// `prefix`: of the format's options.
fn first(problems: Vec<FormatProblem>, prefix: &str) -> OptionProblem {
    let problem = problems.into_iter().next().expect("refused for a reason");
    let Some(option) = &problem.option else { return problem.into() };
    let whole = format!("{prefix}{option}");
    let message = problem.message.replace(&format!("'{option}'"), &format!("'{whole}'"));
    OptionProblem { option: Some(whole), message, hint: Some(problem.hint) }
}

/// The format can carry the columns of its half of a message.
fn carries(format: &Format, fields: Vec<Field>) -> Checked<()> {
    let mut problems = format.check(&Schema::new(fields));
    if problems.is_empty() { Ok(()) } else { Err(problems.swap_remove(0).into()) }
}

/// The key's columns of a table that is kept by key.
fn primary_key(spec: &TableSpec) -> Checked<Vec<String>> {
    if !spec.primary_key.is_empty() {
        return Ok(spec.primary_key.clone());
    }
    let message = format!(
        "'{UPSERT_KAFKA}' needs a PRIMARY KEY: its columns are the messages' keys, by which rows are replaced and deleted"
    );
    Err(OptionProblem::at("connector", message).hint("declare PRIMARY KEY (...) NOT ENFORCED in CREATE TABLE"))
}

/// A table of appended rows whose key means nothing.
fn keyless(spec: &TableSpec, format: &Format) -> OptionProblem {
    let message = format!(
        "table '{}' has a PRIMARY KEY, but messages of format '{}' are appended rows: none replaces another",
        spec.name,
        format.name()
    );
    OptionProblem::at("connector", message)
        .hint("leave the PRIMARY KEY out, or write 'connector' = 'upsert-kafka' where the last row of a key counts")
}

fn key_fields(spec: &TableSpec) -> Checked<Vec<String>> {
    let (fields, format) = (spec.text(&KEY_FIELDS), spec.text(&KEY_FORMAT));
    let fields = match (fields, format) {
        (None, None) => return Ok(Vec::new()),
        (None, Some(_)) => {
            return Err(OptionProblem::at(KEY_FORMAT.key, "'key.format' needs the columns in the key")
                .hint("add 'key.fields' = 'a;b'"));
        }
        (Some(_), None) => {
            return Err(OptionProblem::at(KEY_FIELDS.key, "'key.fields' needs a format for the key")
                .hint("add 'key.format' = 'json'"));
        }
        (Some(fields), Some(_)) => fields,
    };
    parts(fields).map(|name| physical_column(spec, name)).collect()
}

fn physical_column(spec: &TableSpec, name: &str) -> Checked<String> {
    if spec.columns.field_with_name(name).is_ok() {
        return Ok(name.to_string());
    }
    let names = spec.columns.fields().iter().map(|field| field.name().as_str());
    let problem = OptionProblem::at(KEY_FIELDS.key, format!("'key.fields': there is no physical column '{name}'"));
    Err(match closest(name, names) {
        Some(close) => problem.hint(format!("did you mean '{close}'?")),
        None => problem,
    })
}

fn key_prefix(spec: &TableSpec, key_fields: &[String], except_key: bool) -> Checked<String> {
    let prefix = spec.text(&KEY_FIELDS_PREFIX).unwrap_or_default();
    if prefix.is_empty() {
        return Ok(String::new());
    }
    if !except_key {
        let message = "'key.fields-prefix' is of use only where the value lacks the key's columns";
        return Err(OptionProblem::at(KEY_FIELDS_PREFIX.key, message).hint("add 'value.fields-include' = 'EXCEPT_KEY'"));
    }
    match key_fields.iter().find(|name| !name.starts_with(prefix)) {
        None => Ok(prefix.to_string()),
        Some(name) => {
            let message = format!("the key's column '{name}' does not begin with '{prefix}', the 'key.fields-prefix'");
            Err(OptionProblem::at(KEY_FIELDS_PREFIX.key, message).hint(format!("call the column '{prefix}{name}'")))
        }
    }
}
