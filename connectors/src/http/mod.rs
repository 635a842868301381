//! The `http` connector: rows looked up by asking a server for them, one request per key; and rows that are posted to this one.
//!
//! A table with a `url` is looked up: [`template`] makes the URL of a key, [`asking`] asks, [`answer`] reads the JSON that comes back. One without
//! is read: [`posted`].

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use tidemill_engine::lookup::KeyedLookup;
use tidemill_engine::source::Source;
use ureq::Agent;

use crate::format::scalar::is_scalar;
use crate::format::{FORMATS, Format};
use crate::lookup::{self, LookupOptions};
use crate::options::{OptionDef, OptionProblem, OptionType};
use crate::registry::{Connector, MetadataDef, Usage};
use crate::table::TableSpec;

mod answer;
mod asking;
pub mod posted;
mod template;

use answer::AnswerReader;
use asking::{HttpLookup, Origin};
use posted::{Inboxes, PostedSource, PostedTable};
use template::Template;

/// Requests of one instance that may be under way at the same time: each has a thread and a connection.
const CONNECTIONS_MAX: usize = 128;

const URL: OptionDef = OptionDef::new(
    "url",
    OptionType::Text,
    "where the rows of a key are: a URL with '{column}' for the values of the key, which are percent-encoded; a table without it is posted to",
);
const FORMAT: OptionDef =
    OptionDef::new("format", OptionType::Choice(&["json"]), "how answers are written").default("json");
const HEADERS: OptionDef =
    OptionDef::new("http.headers.#", OptionType::Text, "a header that is sent with every request; never shown");
const RESULT_PATH: OptionDef = OptionDef::new(
    "http.result-path",
    OptionType::Text,
    "where in the answer the rows are, such as 'data.items'; the answer itself unless given",
);
const TIMEOUT: OptionDef =
    OptionDef::new("http.request.timeout", OptionType::Duration, "how long one request may take").default("30 s");
const CONNECT_TIMEOUT: OptionDef =
    OptionDef::new("http.connect.timeout", OptionType::Duration, "how long it may take to reach the server")
        .default("10 s");

/// The connector.
#[derive(Default)]
pub struct Http {
    /// Where posted rows are kept; `None`: this program takes no posts.
    inboxes: Option<Arc<dyn Inboxes>>,
}

impl Http {
    /// As a server has it.
    pub fn serving(inboxes: Arc<dyn Inboxes>) -> Self {
        Self { inboxes: Some(inboxes) }
    }
}

/// Options that only a table has that is looked up.
const LOOKUP_ONLY: [OptionDef; 5] = [URL, HEADERS, RESULT_PATH, TIMEOUT, CONNECT_TIMEOUT];

/// Rows of the table are posted, not looked up.
pub fn is_posted(spec: &TableSpec) -> bool {
    let of_lookup =
        |key: &String| LOOKUP_ONLY.iter().chain(&lookup::OPTIONS).any(|option| option.matches(key).is_some());
    !spec.options.keys().any(of_lookup)
}

fn lookup_options() -> impl Iterator<Item = OptionDef> {
    let own = LOOKUP_ONLY.into_iter().map(OptionDef::source);
    own.chain(lookup::OPTIONS)
}

impl Connector for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn doc(&self) -> &'static str {
        "reads rows that are posted to the server; or looks rows up at a web service, one GET request per key, JSON back"
    }

    fn options(&self, spec: Option<&TableSpec>) -> Vec<OptionDef> {
        let posted =
            || posted::table::OPTIONS.iter().copied().map(OptionDef::source).chain(posted::table::format_options());
        let json = FORMATS.iter().filter(|format| format.name == "json").flat_map(|format| format.options);
        let json = json.filter(|option| READ_OPTIONS.contains(&option.key));
        let json = json.map(|option| OptionDef::from(option).source());
        match spec.map(is_posted) {
            None => lookup_options().chain(posted()).collect(),
            Some(false) => lookup_options().chain([FORMAT.source()]).chain(json).collect(),
            // With the URL's name, for whoever has misspelt it.
            Some(true) => posted().chain([URL.source()]).collect(),
        }
    }

    fn metadata(&self, spec: Option<&TableSpec>) -> Vec<MetadataDef> {
        if spec.is_none_or(is_posted) { posted::metadata() } else { Vec::new() }
    }

    fn reads(&self, spec: Option<&TableSpec>) -> bool {
        spec.is_none_or(is_posted)
    }

    fn looks_up(&self, spec: Option<&TableSpec>) -> bool {
        !spec.is_some_and(is_posted)
    }

    fn check(&self, spec: &TableSpec, usage: Usage) -> Vec<OptionProblem> {
        if is_posted(spec) {
            let nowhere = (usage == Usage::Source && self.inboxes.is_none()).then(|| nowhere(spec));
            return PostedTable::of(spec).err().or(nowhere).into_iter().collect();
        }
        let checks = [
            table_url(spec).map(|_| ()),
            headers(spec).map(|_| ()),
            json_format(spec).map(|_| ()),
            LookupOptions::of(spec).map(|_| ()),
        ];
        checks.into_iter().filter_map(Result::err).collect()
    }

    fn source(&self, spec: &TableSpec, columns: &[String]) -> Result<Arc<dyn Source>, OptionProblem> {
        let inboxes = self.inboxes.as_ref().ok_or_else(|| nowhere(spec))?;
        Ok(Arc::new(PostedSource::new(spec, columns, Arc::clone(inboxes))?))
    }

    fn lookup(
        &self,
        spec: &TableSpec,
        columns: &[String],
        keys: &[(String, DataType)],
    ) -> Result<KeyedLookup, OptionProblem> {
        let template = table_url(spec)?;
        let LookupOptions { cache, retries_max, is_async } = LookupOptions::of(spec)?;
        let keys =
            template.columns().iter().map(|name| key_of(spec, &template, name, keys)).collect::<Result<_, _>>()?;
        let schema = spec.project(columns)?;
        let (mut answered, mut origins) = (Vec::new(), Vec::new());
        for field in schema.fields() {
            origins.push(match template.columns().iter().position(|name| name == field.name()) {
                Some(key) => Origin::Key(key),
                None => {
                    answered.push(Arc::clone(field));
                    Origin::Answer(answered.len() - 1)
                }
            });
        }
        let path = spec.text(&RESULT_PATH).unwrap_or_default();
        let reader = AnswerReader {
            format: json_format(spec)?,
            schema: Arc::new(Schema::new(answered)),
            path: path.split('.').filter(|name| !name.is_empty()).map(str::to_string).collect(),
        };
        let agent = agent(spec)?;
        let lookup = HttpLookup { agent, template, headers: headers(spec)?, reader, schema, origins };
        Ok(KeyedLookup {
            lookup: Arc::new(lookup),
            keys,
            keys_per_question: 1,
            questions_max: CONNECTIONS_MAX,
            cache,
            retries_max,
            is_async,
        })
    }
}

fn nowhere(spec: &TableSpec) -> OptionProblem {
    let message = format!("rows of table '{}' are posted, and only a server takes posts", spec.name);
    OptionProblem::at("connector", message)
        .hint("run the job with `tidemill serve` and `tidemill submit`; or give the table a 'url' to look its rows up")
}

/// Options of the json format that say something about reading.
const READ_OPTIONS: [&str; 2] = ["json.fail-on-missing-field", "json.timestamp-format.standard"];

fn json_format(spec: &TableSpec) -> Result<Format, OptionProblem> {
    let found = Format::parse("json", &spec.options).and_then(|format| {
        let problems = format.check(&spec.columns);
        if problems.is_empty() { Ok(format) } else { Err(problems) }
    });
    found.map_err(|problems| {
        let problem = problems.into_iter().next().expect("refused for a reason");
        OptionProblem::from(problem)
    })
}

fn table_url(spec: &TableSpec) -> Result<Template, OptionProblem> {
    let text = spec.required_text(&URL)?;
    let wrong = |message: String, hint: &str| OptionProblem::at(URL.key, message).hint(hint.to_string());
    let example = "write 'http://host/users/{id}', where id is a column of the table";
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return Err(wrong("'url' is no address of a web service".into(), example));
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.contains('@') {
        let hint = "send it as a header: 'http.headers.Authorization' = 'Basic ...'";
        return Err(wrong("'url' has a user name or a password in it".into(), hint));
    }
    if host.is_empty() || host.contains(['{', '}']) {
        return Err(wrong("'url' has no fixed host".into(), example));
    }
    let template = Template::parse(text).map_err(|reason| wrong(format!("'url': {reason}"), example))?;
    if template.columns().is_empty() {
        return Err(wrong("'url' has no column in it: all keys would get the same answer".into(), example));
    }
    for name in template.columns() {
        match spec.columns.field_with_name(name) {
            Ok(field) if is_scalar(field.data_type()) => {}
            Ok(_) => return Err(wrong(format!("'url': column '{name}' is nested"), "use a column with plain values")),
            Err(_) => return Err(wrong(format!("'url': there is no physical column '{name}'"), example)),
        }
    }
    Ok(template)
}

fn headers(spec: &TableSpec) -> Result<Vec<(String, String)>, OptionProblem> {
    let given = spec.options.iter().filter_map(|(key, value)| Some((key, HEADERS.matches(key)?, value)));
    given
        .map(|(key, name, value)| {
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            let is_value = value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
            match is_name && is_value {
                true => Ok((name.to_string(), value.clone())),
                false => Err(OptionProblem::at(key.as_str(), format!("'{key}' is no header"))
                    .hint("names are letters, digits and '-'; values are plain ASCII in one line")),
            }
        })
        .collect()
}

fn key_of(
    spec: &TableSpec,
    template: &Template,
    name: &str,
    keys: &[(String, DataType)],
) -> Result<usize, OptionProblem> {
    keys.iter().position(|(key, _)| key == name).ok_or_else(|| {
        let names = template.columns().join(", ");
        let message = format!("rows are looked up by ({names}), but the join says nothing about '{name}'");
        OptionProblem::new(message).hint(format!("add an equality to ON: o.x = {}.{name}, or a constant", spec.name))
    })
}

fn agent(spec: &TableSpec) -> Result<Agent, OptionProblem> {
    let limit = |option, default| -> Result<Duration, OptionProblem> { Ok(spec.duration(option)?.unwrap_or(default)) };
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(limit(&TIMEOUT, Duration::from_secs(30))?))
        .timeout_connect(Some(limit(&CONNECT_TIMEOUT, Duration::from_secs(10))?))
        .max_idle_connections(CONNECTIONS_MAX)
        .max_idle_connections_per_host(CONNECTIONS_MAX)
        .user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.into())
}
