//! A table whose rows are posted: its options, and whether a body holds rows of it.

use std::path::Path;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use tidemill_engine::EngineError;
use xxhash_rust::xxh3::xxh3_64;

use super::array::lines_of_array;
use super::inbox::{CheckedRows, Limits};
use crate::format::{Block, FORMATS, Format, RowDecoder};
use crate::options::{OptionDef, OptionProblem, OptionType};
use crate::table::TableSpec;

/// Rows that are decoded at a time, to bound the memory of checking them.
const CHECK_ROWS: usize = 8_192;
/// Options of the formats that say nothing here: posted rows are right or refused, and each body would have its own header.
const FORMAT_OPTIONS_LEFT_OUT: &[&str] = &["ignore-parse-errors", "csv.header", "json.map-null-key", "json.encode"];
const DAY: Duration = Duration::from_secs(24 * 3_600);

pub const FORMAT: OptionDef = OptionDef::new(
    "format",
    OptionType::Choice(&["json", "csv"]),
    "of posted rows: 'json' takes lines or an array; of answers to lookups: 'json'",
);
const BACKLOG: OptionDef = OptionDef::new(
    "http.backlog.max-size",
    OptionType::Size,
    "how much the job may be behind before posts are refused (429)",
)
.default("256mb");
const LOG: OptionDef = OptionDef::new(
    "http.log.max-size",
    OptionType::Size,
    "how much the log may hold, with what savepoints and retention keep of it",
)
.default("4gb");
const RETENTION_TIME: OptionDef = OptionDef::new(
    "http.retention.time",
    OptionType::Duration,
    "how long rows stay in the log after they came, also once they were read; not longer than needed unless given",
);
const RETENTION_SIZE: OptionDef = OptionDef::new(
    "http.retention.size",
    OptionType::Size,
    "how much of the rows that were read stays in the log; nothing unless given",
);
const KEY_TIME: OptionDef = OptionDef::new(
    "http.idempotency.time",
    OptionType::Duration,
    "how long the keys of requests are remembered, of the last 100,000",
)
.default("1 d");

/// Of a table whose rows are posted, beside those of its format.
pub const OPTIONS: &[OptionDef] = &[FORMAT, BACKLOG, LOG, RETENTION_TIME, RETENTION_SIZE, KEY_TIME];

/// What the formats offer for reading posted rows.
pub fn format_options() -> impl Iterator<Item = OptionDef> {
    let formats = FORMATS.iter().filter(|format| ["json", "csv"].contains(&format.name));
    let options = formats.flat_map(|format| format.options);
    options
        .filter(|option| !FORMAT_OPTIONS_LEFT_OUT.iter().any(|part| option.key.contains(part)))
        .map(|option| OptionDef::from(option).source())
}

#[derive(Debug, Clone)]
pub struct PostedTable {
    pub name: String,
    pub columns: SchemaRef,
    pub format: Format,
    pub limits: Limits,
}

/// What is wrong with a body. Nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRows {
    /// From 1: the line of the body, or of an array the element; `None` where the body as a whole is wrong.
    pub place: Option<u64>,
    pub is_array: bool,
    pub reason: String,
    /// The beginning of the row.
    pub excerpt: Option<String>,
}

impl PostedTable {
    pub fn of(spec: &TableSpec) -> Result<Self, OptionProblem> {
        let format = Format::parse(spec.required_text(&FORMAT)?, &spec.options).and_then(|format| {
            let problems = format.check(&spec.columns);
            if problems.is_empty() { Ok(format) } else { Err(problems) }
        });
        let format = format
            .map_err(|problems| OptionProblem::from(problems.into_iter().next().expect("refused for a reason")))?;
        if spec.columns.fields().is_empty() {
            return Err(OptionProblem::new(format!("table '{}' has no physical column to post", spec.name)));
        }
        let size = |option| spec.size(option).map(Option::unwrap_or_default);
        let limits = Limits {
            backlog_bytes: size(&BACKLOG)?,
            log_bytes: size(&LOG)?,
            retention_time: spec.duration(&RETENTION_TIME)?,
            retention_bytes: spec.size(&RETENTION_SIZE)?,
            key_time: spec.duration(&KEY_TIME)?.unwrap_or(DAY),
        };
        if limits.log_bytes < limits.backlog_bytes {
            let message = "'http.log.max-size' is less than 'http.backlog.max-size'";
            return Err(
                OptionProblem::at(LOG.key, message).hint("the log holds the backlog: give it more, or bound that")
            );
        }
        Ok(Self { name: spec.name.clone(), columns: spec.columns.clone(), format, limits })
    }

    /// A decoder of these columns.
    pub fn decoder(&self, projection: &[usize]) -> tidemill_engine::Result<Box<dyn RowDecoder>> {
        let place = format!("the rows posted to table '{}'", self.name);
        self.format.decoder(&self.columns, projection, Path::new(&place))
    }

    /// The rows of a body, each of which is one of this table.
    pub fn check(&self, body: &[u8]) -> Result<CheckedRows, BadRows> {
        let whole = |reason: String| BadRows { place: None, is_array: false, reason, excerpt: None };
        let all: Vec<usize> = (0..self.columns.fields().len()).collect();
        let mut decoder = self.decoder(&all).map_err(|error| whole(error.to_string()))?;
        let skipped = decoder.begin(Block::lines(body, 0, true)).map_err(|error| whole(error.to_string()))?;
        let given = &body[skipped.unwrap_or(0)..];
        let is_array = self.format.name() == "json" && given.trim_ascii_start().starts_with(b"[");
        let text = match is_array {
            true => lines_of_array(given).map_err(|wrong| BadRows {
                place: Some(wrong.element),
                is_array,
                reason: wrong.reason.to_string(),
                excerpt: None,
            })?,
            false => with_last_newline(given),
        };
        let rows = count_rows(decoder.as_mut(), &text).map_err(|error| bad_rows(error, &text, is_array))?;
        match u32::try_from(rows) {
            Ok(0) => Err(whole("there are no rows in the body".to_string())),
            Ok(rows) => Ok(CheckedRows { text, rows, body_hash: xxh3_64(body) }),
            Err(_) => Err(whole(format!("{rows} rows are more than a request may have"))),
        }
    }
}

fn with_last_newline(given: &[u8]) -> Vec<u8> {
    let mut text = given.to_vec();
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text
}

/// Decodes all of it, since that is what finds a wrong row.
fn count_rows(decoder: &mut dyn RowDecoder, text: &[u8]) -> tidemill_engine::Result<usize> {
    let (mut at, mut rows) = (0, 0);
    while at < text.len() {
        let decoded = decoder.decode(Block::lines(&text[at..], at as u64, true), CHECK_ROWS)?;
        if decoded.consumed == 0 {
            break;
        }
        at += decoded.consumed;
        rows += decoded.rows.num_rows();
    }
    Ok(rows)
}

fn bad_rows(error: EngineError, text: &[u8], is_array: bool) -> BadRows {
    match error {
        EngineError::BadRecord { offset, reason, excerpt, .. } => {
            let before = &text[..text.len().min(offset as usize)];
            let lines = before.iter().filter(|byte| **byte == b'\n').count() as u64;
            BadRows { place: Some(lines + 1), is_array, reason, excerpt: Some(excerpt) }
        }
        other => BadRows { place: None, is_array, reason: other.to_string(), excerpt: None },
    }
}
