//! Comma-separated values, as Flink's `csv` format reads and writes them.
//!
//! An extension is `csv.header`. A field with quotes or escapes in it is never the null literal. An empty field is NULL, except in a STRING column, where
//! it is the empty string unless `csv.null-literal` is empty too. A record with a stray quote is bad up to the end of its
//! line, and reading goes on behind it.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tidemill_engine::Result;

use super::option::OptionReader;
use super::{FormatOption, FormatProblem, RowDecoder, RowEncoder};

mod decode;
mod encode;
mod scan;

#[derive(Debug, Clone, PartialEq)]
pub struct CsvOptions {
    pub delimiter: u8,
    /// `None`: quotes are ordinary characters.
    pub quote: Option<u8>,
    pub allow_comments: bool,
    pub ignore_parse_errors: bool,
    pub array_delimiter: String,
    pub escape: Option<u8>,
    /// A field that equals this text is NULL.
    pub null_literal: Option<String>,
    /// The first line holds the columns' names, and columns are found by name.
    pub header: bool,
}

pub const OPTIONS: &[FormatOption] = &[
    FormatOption {
        key: "csv.field-delimiter",
        value_type: "Character",
        default: Some(","),
        description: "between fields; an escape such as \\t is understood",
    },
    FormatOption {
        key: "csv.disable-quote-character",
        value_type: "Boolean",
        default: Some("false"),
        description: "quotes are ordinary characters",
    },
    FormatOption {
        key: "csv.quote-character",
        value_type: "Character",
        default: Some("\""),
        description: "encloses a field that holds delimiters, quotes or newlines; doubled inside such a field",
    },
    FormatOption {
        key: "csv.allow-comments",
        value_type: "Boolean",
        default: Some("false"),
        description: "skip lines that begin with #",
    },
    FormatOption {
        key: "csv.ignore-parse-errors",
        value_type: "Boolean",
        default: Some("false"),
        description: "leave bad records out, count them and keep them in <table>$errors; otherwise they fail the job",
    },
    FormatOption {
        key: "csv.array-element-delimiter",
        value_type: "String",
        default: Some(";"),
        description: "between the elements of an ARRAY and the fields of a ROW",
    },
    FormatOption {
        key: "csv.escape-character",
        value_type: "Character",
        default: None,
        description: "takes the meaning from the character behind it",
    },
    FormatOption {
        key: "csv.null-literal",
        value_type: "String",
        default: None,
        description: "a field with exactly this text is NULL; written for NULL",
    },
    FormatOption {
        key: "csv.header",
        value_type: "Boolean",
        default: Some("false"),
        description: "the first line holds the names of the columns: read by name, written first (not in Flink)",
    },
];

impl CsvOptions {
    pub(super) fn read(reader: &mut OptionReader<'_>) -> Self {
        let quote = reader.character("csv.quote-character").unwrap_or(b'"');
        let disabled = reader.boolean("csv.disable-quote-character", false);
        if disabled && reader.text("csv.quote-character").is_some() {
            let hint = "leave out one of 'csv.quote-character' and 'csv.disable-quote-character'";
            reader.problems.push(FormatProblem::value("csv.disable-quote-character", "true", hint));
        }
        Self {
            delimiter: reader.character("csv.field-delimiter").unwrap_or(b','),
            quote: (!disabled).then_some(quote),
            allow_comments: reader.boolean("csv.allow-comments", false),
            ignore_parse_errors: reader.boolean("csv.ignore-parse-errors", false),
            array_delimiter: reader.text("csv.array-element-delimiter").unwrap_or(";").to_owned(),
            escape: reader.character("csv.escape-character"),
            null_literal: reader.text("csv.null-literal").map(str::to_owned),
            header: reader.boolean("csv.header", false),
        }
    }

    /// Without quotes and escapes a newline always ends a record.
    pub(super) fn splits_at_newlines(&self) -> bool {
        self.quote.is_none() && self.escape.is_none()
    }
}

pub(super) fn check(options: &CsvOptions, table: &Schema) -> Vec<FormatProblem> {
    let mut problems: Vec<FormatProblem> = table.fields().iter().filter_map(|field| check_column(field)).collect();
    if options.array_delimiter.is_empty() {
        problems.push(FormatProblem::value("csv.array-element-delimiter", "", "write at least one character"));
    }
    let special = [Some(options.delimiter), options.quote, options.escape];
    let clash = |index: usize| special[index].is_some() && special[index + 1..].contains(&special[index]);
    if options.delimiter == b'\n' || clash(0) || clash(1) {
        let message = "the delimiter, quote and escape characters must differ, and none may be a newline".to_owned();
        problems.push(FormatProblem {
            option: Some("csv.field-delimiter".into()),
            message,
            hint: "see 'csv.*'".into(),
        });
    }
    problems
}

/// Fields are scalars, and arrays and rows of scalars.
fn check_column(field: &Field) -> Option<FormatProblem> {
    let nested = match field.data_type() {
        DataType::List(element) => element.data_type().is_nested(),
        DataType::Struct(fields) => fields.iter().any(|field| field.data_type().is_nested()),
        other => other.is_nested(),
    };
    nested.then(|| {
        let message = format!(
            "column {}: the csv format carries no MAP, and ARRAY and ROW only of values that are not nested",
            field.name()
        );
        FormatProblem::column(message, "use the json format, or declare the column as STRING")
    })
}

pub(super) fn decoder(
    options: &CsvOptions,
    table: &SchemaRef,
    projection: &[usize],
    place: String,
) -> Result<Box<dyn RowDecoder>> {
    Ok(Box::new(decode::CsvDecoder::new(options, table, projection, place)?))
}

pub(super) fn encoder(options: &CsvOptions, schema: &SchemaRef) -> Result<Box<dyn RowEncoder>> {
    Ok(Box::new(encode::CsvEncoder::new(options, schema)))
}

#[cfg(test)]
mod tests;
