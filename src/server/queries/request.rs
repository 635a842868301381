//! What a request for an ad-hoc query says, and how it wants to be answered.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::message::{Form, Framing};
use crate::query::Reader;
use crate::server::problem::{Kind, Problem};
use crate::server::route::{Field, Takes};

/// Fields of the body, and of the first message over a WebSocket.
pub const BODY: &[Field] = &[
    Field::new(
        "sql",
        Takes::Text,
        "one SELECT, VALUES, SHOW, DESCRIBE or EXPLAIN; in front of it CREATE, DROP, SET and RESET",
    )
    .required(),
    Field::new("setup", Takes::Text, "CREATE, DROP, SET and RESET in front of sql; places in sql do not count it"),
    Field::new("job", Takes::Text, "a job whose tables and views can be used"),
    Field::new("settings", Takes::Texts, "options, as SET in front of the SQL would set them"),
    Field::new(
        "mode",
        Takes::Choice(&["changelog", "folded"]),
        "changelog: rows as they come, changes with their kinds; folded: the table that they make. A stream is a changelog \
         unless this is given, an answer as a whole is folded",
    ),
    Field::new(
        "order_by",
        Takes::Choice(&["query", "client"]),
        "client: an ORDER BY may stand over an input without end, for the client to sort by (order of schema)",
    ),
    Field::new(
        "rows_max",
        Takes::Integer { min: 1, max: ROWS_MAX },
        "a changelog ends after so many rows; a folded table keeps so many (1,000 in a stream unless given, 10,000 at most)",
    ),
    Field::new("page_rows", Takes::Integer { min: 1, max: 10_000 }, "rows of a page; 1,000 unless given"),
    Field::new(
        "form",
        Takes::Choice(&["json", "arrow"]),
        "arrow: rows of a stream come as base64 of Arrow IPC, with all of their types",
    ),
];

const ROWS_MAX: u64 = 1_000_000_000;
/// A folded table is sent whole again and again.
const TABLE_ROWS_MAX: u64 = 10_000;
const TABLE_ROWS: u64 = 1_000;
const PAGE_ROWS: u64 = 1_000;
const STREAMS: [(&str, Answer); 2] =
    [("text/event-stream", Answer::Stream(Framing::Events)), ("application/x-ndjson", Answer::Stream(Framing::Lines))];
const WHOLE: &str = "application/json";

/// How a query is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Stream(Framing),
    /// As a whole, in pages.
    Whole,
}

/// What `Accept` asks for; the first of those that are wanted most.
pub fn negotiate(accept: &str) -> Result<Answer, Problem> {
    let mut best: Option<(f32, Answer)> = None;
    for part in accept.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let mut pieces = part.split(';').map(str::trim);
        let kind = pieces.next().unwrap_or_default().to_ascii_lowercase();
        let weight = pieces.find_map(|piece| piece.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        let weight = weight.unwrap_or(0.0);
        let known = STREAMS.iter().find(|(name, _)| *name == kind).map(|(_, answer)| *answer);
        let known = known.or((kind == WHOLE || kind == "*/*" || kind == "application/*").then_some(Answer::Whole));
        if let Some(answer) = known.filter(|_| weight > 0.0 && best.is_none_or(|(other, _)| weight > other)) {
            best = Some((weight, answer));
        }
    }
    match best {
        Some((_, answer)) => Ok(answer),
        None if accept.trim().is_empty() => Ok(Answer::Whole),
        None => Err(Problem::new(Kind::NotAcceptable, format!("a query is not answered as '{accept}'"))
            .with_hint("there are text/event-stream, application/x-ndjson and application/json")),
    }
}

/// A request that was found right.
#[derive(Debug, Clone)]
pub struct QueryRequest {
    pub sql: String,
    pub setup: String,
    pub job: Option<String>,
    pub settings: BTreeMap<String, String>,
    pub folded: bool,
    pub sorts_itself: bool,
    pub rows_max: Option<u64>,
    pub page_rows: usize,
    pub form: Form,
    pub answer: Answer,
}

impl QueryRequest {
    /// `body` holds fields of [`BODY`].
    pub fn of(body: &Map<String, Value>, answer: Answer) -> Result<Self, Problem> {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let number = |name: &str| body.get(name).and_then(Value::as_u64);
        let folded = text("mode").map_or(answer == Answer::Whole, |mode| mode == "folded");
        let form = if text("form") == Some("arrow") { Form::Arrow } else { Form::Json };
        if form == Form::Arrow && answer == Answer::Whole {
            return Err(Problem::new(Kind::BadRequest, "form 'arrow' is for streams")
                .with_hint("ask for text/event-stream or application/x-ndjson"));
        }
        let is_table = folded && answer != Answer::Whole;
        if let Some(rows) = number("rows_max").filter(|rows| is_table && *rows > TABLE_ROWS_MAX) {
            let detail =
                format!("'rows_max' is {rows}, but a folded table in a stream has {TABLE_ROWS_MAX} rows at most");
            return Err(Problem::new(Kind::BadRequest, detail).with_hint("mode 'changelog' gives all rows"));
        }
        let settings = body.get("settings").and_then(Value::as_object);
        let settings = settings.into_iter().flatten();
        Ok(Self {
            sql: text("sql").unwrap_or_default().to_string(),
            setup: text("setup").unwrap_or_default().to_string(),
            job: text("job").map(str::to_string),
            settings: settings.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))).collect(),
            folded,
            sorts_itself: text("order_by") == Some("client"),
            rows_max: number("rows_max").or(is_table.then_some(TABLE_ROWS)),
            page_rows: number("page_rows").unwrap_or(PAGE_ROWS) as usize,
            form,
            answer,
        })
    }

    pub fn reader(&self) -> Reader {
        if self.folded || self.sorts_itself { Reader::Table } else { Reader::Rows }
    }

    pub fn mode(&self) -> &'static str {
        if self.folded { "folded" } else { "changelog" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_most_is_answered() {
        let (events, lines) = (Answer::Stream(Framing::Events), Answer::Stream(Framing::Lines));
        for (accept, expected) in [
            ("", Answer::Whole),
            ("*/*", Answer::Whole),
            ("text/event-stream", events),
            ("Application/X-NDJSON; charset=utf-8", lines),
            ("text/html, application/x-ndjson;q=0.5, text/event-stream;q=0.9, */*;q=0.1", events),
            ("application/json, text/event-stream", Answer::Whole),
        ] {
            assert_eq!(negotiate(accept).unwrap(), expected, "{accept}");
        }
        for accept in ["text/html", "text/event-stream;q=0", "image/*"] {
            assert_eq!(negotiate(accept).unwrap_err().status().as_u16(), 406, "{accept}");
        }
    }
}
