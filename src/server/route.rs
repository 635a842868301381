//! What a route is: one entry of the table that the router, the checks of requests and the OpenAPI document are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tidemill_engine::suggestion::closest;
use tokio::sync::oneshot;

use super::app::App;
use super::auth::{Caller, Role};
use super::listen::Hangup;
use super::problem::{Kind, Problem};
use super::queries::{Page, StreamBody, Waiting};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// Which threads carry it out. Slow requests (those that wait for a job) have threads of their own, so that they hold
/// up no quick one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    Quick,
    Slow,
    /// Posts of rows, which wait for the disk. How many come is bounded by how far the job is behind, not by the rate of requests.
    Rows,
}

/// What a value of a request must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Text,
    /// Of a job or a savepoint: [`crate::jobs`] refuses others.
    Name,
    Choice(&'static [&'static str]),
    Integer {
        min: u64,
        max: u64,
    },
    Boolean,
    /// An object whose values are texts.
    Texts,
}

/// A field of a body, or a parameter behind `?`.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub takes: Takes,
    pub required: bool,
    pub doc: &'static str,
}

impl Field {
    pub const fn new(name: &'static str, takes: Takes, doc: &'static str) -> Self {
        Self { name, takes, required: false, doc }
    }

    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

pub struct Route {
    pub method: Method,
    /// With `{name}` for each part that is a parameter.
    pub path: &'static str,
    /// `None`: anybody may ask.
    pub role: Option<Role>,
    pub pool: Pool,
    pub doc: &'static str,
    pub query: &'static [Field],
    /// `None`: no body.
    pub body: Option<&'static [Field]>,
    /// Types of a body that is taken as it is; none where `body` says what it is.
    pub raw: &'static [&'static str],
    /// Name of a schema in [`super::openapi`].
    pub gives: &'static str,
    pub run: fn(&Arc<App>, &Call) -> Result<Reply, Problem>,
}

/// A request that was found right.
#[derive(Debug, Clone)]
pub struct Call {
    pub params: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
    pub body: Map<String, Value>,
    pub caller: Caller,
    /// Of a route that takes its body as it is.
    pub raw: Option<RawBody>,
    /// The header of this name.
    pub accept: String,
    /// Cuts the connection that the request came by.
    pub hangup: Option<Hangup>,
}

#[derive(Debug, Clone)]
pub struct RawBody {
    pub bytes: Bytes,
    /// Without parameters, in lower case.
    pub content_type: String,
    pub idempotency_key: Option<String>,
}

pub struct Reply {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: ReplyBody,
}

pub enum ReplyBody {
    Text(String),
    /// Comes bit by bit, for as long as the client reads.
    Stream(Box<StreamBody>),
    /// Is there when a query has come to its end, which it does at once when the second is dropped.
    Later(oneshot::Receiver<Result<Page, Problem>>, Waiting),
    /// The connection becomes a WebSocket.
    Socket,
}

impl Reply {
    pub fn json<T: serde::Serialize>(value: &T) -> Result<Self, Problem> {
        Self::json_with(StatusCode::OK, value)
    }

    pub fn json_with<T: serde::Serialize>(status: StatusCode, value: &T) -> Result<Self, Problem> {
        let text = serde_json::to_string(value)
            .map_err(|error| Problem::new(Kind::Failed, format!("the answer cannot be written: {error}")))?;
        Ok(Self { status, content_type: "application/json", body: ReplyBody::Text(text) })
    }

    pub fn text(content_type: &'static str, text: String) -> Result<Self, Problem> {
        Ok(Self { status: StatusCode::OK, content_type, body: ReplyBody::Text(text) })
    }

    pub fn nothing() -> Result<Self, Problem> {
        Ok(Self { status: StatusCode::NO_CONTENT, content_type: "", body: ReplyBody::Text(String::new()) })
    }
}

impl Call {
    /// A parameter of the path: the router has matched it.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).map(String::as_str).unwrap_or_default()
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }

    pub fn integer(&self, name: &str) -> Option<u64> {
        self.body.get(name).and_then(whole_number)
    }

    pub fn is_true(&self, name: &str) -> bool {
        self.body.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn texts(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let object = self.body.get(name)?.as_object()?;
        Some(object.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))).collect())
    }

    pub fn query_number(&self, name: &str, default: u64) -> u64 {
        self.query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
}

/// Finds what is wrong with a body. Fields that nobody knows are refused: a misspelt one would change nothing in silence.
pub fn check_body(fields: &[Field], body: &Map<String, Value>) -> Result<(), Problem> {
    for (name, value) in body {
        let field = known(fields, name, "field")?;
        check_value(field, value)?;
    }
    for field in fields.iter().filter(|field| field.required) {
        if body.get(field.name).is_none_or(Value::is_null) {
            let detail = format!("the field '{}' is missing", field.name);
            return Err(Problem::new(Kind::BadRequest, detail).with_hint(field.doc));
        }
    }
    Ok(())
}

/// As [`check_body`], of what stands behind `?`.
pub fn check_query(fields: &[Field], query: &BTreeMap<String, String>) -> Result<(), Problem> {
    for (name, text) in query {
        let field = known(fields, name, "parameter")?;
        let value = match field.takes {
            Takes::Integer { .. } => text.parse::<u64>().map(Value::from).unwrap_or_else(|_| json!(text)),
            Takes::Boolean if text == "true" || text == "false" => json!(text == "true"),
            _ => json!(text),
        };
        check_value(field, &value)?;
    }
    Ok(())
}

fn known<'a>(fields: &'a [Field], name: &str, what: &str) -> Result<&'a Field, Problem> {
    fields.iter().find(|field| field.name == name).ok_or_else(|| {
        let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
        let hint = match closest(name, names.iter().copied()) {
            Some(close) => format!("did you mean '{close}'?"),
            None if names.is_empty() => format!("this route takes no {what}s"),
            None => format!("there are: {}", names.join(", ")),
        };
        Problem::new(Kind::BadRequest, format!("there is no {what} '{name}'")).with_hint(hint)
    })
}

fn check_value(field: &Field, value: &Value) -> Result<(), Problem> {
    let (fits, wanted) = match field.takes {
        _ if value.is_null() && !field.required => (true, String::new()),
        Takes::Text | Takes::Name => (value.is_string(), "a text".to_string()),
        Takes::Choice(choices) => {
            (value.as_str().is_some_and(|text| choices.contains(&text)), format!("one of {}", choices.join(", ")))
        }
        Takes::Integer { min, max } => (
            whole_number(value).is_some_and(|number| (min..=max).contains(&number)),
            format!("a whole number from {min} to {max}"),
        ),
        Takes::Boolean => (value.is_boolean(), "true or false".to_string()),
        Takes::Texts => (
            value.as_object().is_some_and(|object| object.values().all(Value::is_string)),
            "an object whose values are texts".to_string(),
        ),
    };
    if fits {
        return Ok(());
    }
    Err(Problem::new(Kind::BadRequest, format!("'{}' must be {wanted}", field.name)).with_hint(field.doc))
}

/// JSON knows no other numbers than real ones: 2.0 is 2.
fn whole_number(value: &Value) -> Option<u64> {
    let real = || value.as_f64().filter(|real| real.fract() == 0.0 && (0.0..=EXACT_MAX).contains(real));
    value.as_u64().or_else(|| real().map(|real| real as u64))
}

/// Up to here every whole number is a real one of its own.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field::new("sql", Takes::Text, "the SQL").required(),
        Field::new("parallelism", Takes::Integer { min: 1, max: 9 }, "how many"),
        Field::new("settings", Takes::Texts, "options"),
        Field::new("start", Takes::Boolean, "at once"),
    ];

    #[test]
    fn bodies_are_checked_field_by_field() {
        for (body, expected) in [
            (json!({"sql": "x", "parallelism": 2, "settings": {"a": "b"}, "start": true}), ""),
            (json!({"sql": "x", "parallelism": null}), ""),
            (json!({"sql": "x", "parallelism": 2.0}), ""),
            (json!({"sql": "x", "paralellism": 2}), "there is no field 'paralellism' (did you mean 'parallelism'?)"),
            (json!({"sql": "x", "parallelism": 10}), "'parallelism' must be a whole number from 1 to 9 (how many)"),
            (json!({"sql": "x", "parallelism": 1.5}), "'parallelism' must be a whole number from 1 to 9 (how many)"),
            (
                json!({"sql": "x", "settings": {"a": 1}}),
                "'settings' must be an object whose values are texts (options)",
            ),
            (json!({"start": true}), "the field 'sql' is missing (the SQL)"),
            (json!({"sql": null}), "'sql' must be a text (the SQL)"),
        ] {
            let found = check_body(FIELDS, body.as_object().unwrap());
            let text =
                found.err().map(|p| format!("{} ({})", p.detail, p.hint.unwrap_or_default())).unwrap_or_default();
            assert_eq!(text, expected, "{body}");
        }
        let query = |name: &str, value: &str| BTreeMap::from([(name.to_string(), value.to_string())]);
        assert!(check_query(FIELDS, &query("parallelism", "3")).is_ok());
        assert!(check_query(FIELDS, &query("parallelism", "x")).is_err());
        assert!(check_query(FIELDS, &query("start", "true")).is_ok());
        assert!(check_query(&[], &query("start", "true")).is_err());
    }
}
