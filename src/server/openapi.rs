//! The OpenAPI document, made of the table of routes.

use serde_json::{Map, Value, json};
use tidemill_connectors::http::posted::KEY_BYTES_MAX;

use super::problem;
use super::route::{Field, Method, Route, Takes};
use super::routes::ROUTES;
use crate::jobs::NAME_CHARS_MAX;

/// What answers hold, by name: (field, type, meaning). A type with `?` may be null; `[Job]` is a list of that schema.
type Fields = &'static [(&'static str, &'static str, &'static str)];

const JOB: Fields = &[
    ("id", "string", "uuid"),
    ("name", "string", "unique among the jobs"),
    ("phase", "string", "stopped, starting, running, restarting, stopping, finished or failed"),
    ("desired", "string", "running or stopped: what the server sees to, across its own restarts"),
    ("parallelism", "integer?", "null: as the SQL or the machine says"),
    ("settings", "object", "options that stand in front of the SQL"),
    ("version", "integer", "goes up with every change of the SQL"),
    ("created_ms", "integer", "epoch milliseconds"),
    ("changed_ms", "integer", "epoch milliseconds"),
    ("last_savepoint", "string?", "its name"),
    ("last_error", "string?", "of the current run, or the one that ended the last run"),
    ("uptime_ms", "integer?", "of the current run"),
    ("epoch", "integer?", "number of the last completed checkpoint"),
    ("restarts", "integer", "after failures in this run"),
    ("sql", "string", "secrets are references in it; passwords that stand in it plainly are starred"),
];
const SAVEPOINT: Fields = &[
    ("name", "string", "unique for the job"),
    ("path", "string", "its folder on the server"),
    ("epoch", "integer", "number of its checkpoint"),
    ("created_ms", "integer", "epoch milliseconds"),
    ("state_bytes", "integer", "size of the state"),
    ("records_read", "integer", "by all sources"),
    ("finished", "boolean", "the input had ended"),
    ("max_parallelism", "integer", "key groups of the state"),
];
const UPGRADE: Fields = &[
    ("dry_run", "boolean", "nothing was changed"),
    ("state_fits", "boolean", "the job goes on from its state"),
    (
        "operators",
        "array",
        "uid, name, verdict (kept, rebuilt, dropped, changed, stateless), state_bytes, records_read",
    ),
    ("reasons", "array", "why the state cannot be used"),
    ("warnings", "array", "what the planner says of the SQL"),
    ("savepoint", "string", "taken before the change"),
    ("job", "object", "what the job has become"),
];
const QUERY: Fields = &[
    ("query", "string", "its id"),
    ("columns", "array", "name, type, nullable"),
    ("mode", "string", "changelog or folded"),
    ("changelog", "boolean", "rows are also taken back"),
    ("bounded", "boolean", "every source comes to an end"),
    ("sorted_by_client", "boolean", "its order is that of the table that its rows are folded into"),
    ("order", "array", "what that table is sorted by: column (its number), descending, nulls_first"),
    ("text", "boolean", "the one value is a text to be shown as it is, such as a plan"),
    ("state", "string", "finished"),
    ("row_count", "integer", "of the whole result"),
    ("truncated", "boolean", "there were more rows than rows_max"),
    ("kinds", "array", "+I, -U, +U or -D of each row, where rows are also taken back and not folded"),
    ("rows", "array", "arrays of values, in the order of the columns"),
    ("losses", "array", "what was left out as late or bad, a text each"),
    ("next_page_token", "string", "leads to the next page; not there on the last one"),
    ("warnings", "array", "texts"),
];
const PROBLEM: Fields = &[
    ("type", "string", "urn:tidemill:problem:KIND, for programs"),
    ("title", "string", "of the status"),
    ("status", "integer", "as of the answer"),
    ("detail", "string", "what is wrong"),
    ("hint", "string", "what to do about it"),
    ("line", "integer", "in the SQL, from 1"),
    ("column", "integer", "in characters, from 1"),
    ("errors", "array", "all that is wrong with the SQL: message, line, column, end_column, in, hint, text"),
    ("reasons", "array", "why the state does not fit"),
    ("element", "integer", "of a JSON array of posted rows, from 1"),
    ("reason", "string", "what is wrong with a posted row"),
    ("row", "string", "the beginning of that row"),
];
const METRICS: Fields = &[
    ("id", "string", "of the job"),
    ("name", "string", "of the job"),
    ("phase", "string", "as of a job"),
    ("posted", "array", "per table that is posted to: table, rows, bytes, backlog_rows, backlog_bytes, log_bytes, ..."),
    (
        "status",
        "object?",
        "null before the first run of this server; else state, checkpoint, event_time, rates, nodes, ...",
    ),
];

const POSTED: Fields = &[
    ("job", "string", "name of the job that reads them"),
    ("table", "string", "name of the table"),
    ("rows", "integer", "how many"),
    ("first_sequence", "integer", "number of the first row, from 0 on"),
    ("last_sequence", "integer", "number of the last row"),
    ("repeated", "boolean", "an earlier request with the same Idempotency-Key had stored them"),
];

/// Name, members, and what it is for the reader.
pub const SCHEMAS: &[(&str, Fields, &str)] = &[
    ("Job", JOB, "a job"),
    ("Jobs", &[("jobs", "[Job]", "by name; with figures=true each has figures instead of sql")], "all jobs"),
    ("Savepoint", SAVEPOINT, "a savepoint"),
    ("Savepoints", &[("savepoints", "[Savepoint]", "by name")], "savepoints of a job"),
    ("Checkpoints", &[("checkpoints", "[Savepoint]", "without name and path, newest first")], "checkpoints of a job"),
    ("Upgrade", UPGRADE, "what becomes of the state"),
    ("Metrics", METRICS, "figures of a job"),
    ("Logs", &[("entries", "array", "number, at_ms, level (state, note, error, row), text")], "log of a job"),
    (
        "Validation",
        &[
            ("valid", "boolean", "true"),
            ("jobs", "integer", "how many jobs the SQL is"),
            ("warnings", "array", "texts"),
            ("objects", "array", "tables and views"),
        ],
        "SQL that is right",
    ),
    ("Posted", POSTED, "rows that are durable"),
    ("Plan", &[("jobs", "array", "operator graphs; the formats text and dot are texts")], "plans"),
    ("Query", QUERY, "a page of rows; a stream has the events schema, rows, table, status, end and error instead"),
    (
        "Queries",
        &[(
            "queries",
            "array",
            "id, state (running, finished), owner, rows; sql, mode, uptime_ms, rows_read of running ones",
        )],
        "ad-hoc queries",
    ),
    ("Connectors", &[("connectors", "array", "name, doc, source, sink, options, ...")], "connectors"),
    ("Functions", &[("functions", "array", "name, category, usage, doc")], "functions"),
    ("Catalog", &[("jobs", "array", "job, objects")], "tables and views by job"),
    ("Audit", &[("entries", "array", "at_ms, who, from, what, target, status, times")], "the audit log"),
    ("Health", &[("status", "string", "alive, ready or not ready")], "health"),
    ("Problem", PROBLEM, "an error as of RFC 9457"),
];

/// What `check_name` of the jobs takes.
const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";

/// `needs_token`: this server has tokens.
pub fn document(needs_token: bool) -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = entry.as_object_mut() {
            methods.insert(route.method.name().to_ascii_lowercase(), operation(route, needs_token));
        }
    }
    let schemas: Map<String, Value> =
        SCHEMAS.iter().map(|(name, fields, doc)| (name.to_string(), schema(fields, doc))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidemill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Streaming SQL jobs of one server.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn schema(fields: Fields, doc: &str) -> Value {
    let property = |(name, kind, doc): &(&str, &str, &str)| {
        let mut schema = member_schema(kind);
        schema["description"] = json!(doc);
        (name.to_string(), schema)
    };
    let properties: Map<String, Value> = fields.iter().map(property).collect();
    json!({ "type": "object", "description": doc, "properties": properties })
}

fn member_schema(kind: &str) -> Value {
    let item = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match (item, kind.strip_suffix('?')) {
        (Some(item), _) => json!({ "type": "array", "items": { "$ref": format!("#/components/schemas/{item}") } }),
        (None, Some(kind)) => json!({ "type": [kind, "null"] }),
        (None, None) => json!({ "type": kind }),
    }
}

fn operation(route: &Route, needs_token: bool) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .chain(route.query.iter().map(|field| {
            json!({ "name": field.name, "in": "query", "description": field.doc, "schema": value_schema(field.takes) })
        }))
        .chain((!route.raw.is_empty()).then(key_parameter))
        .collect();
    let mut operation = json!({
        "summary": route.doc,
        "operationId": operation_id(route),
        "parameters": parameters,
        "responses": {
            status_of(route): answer(route),
            "default": {
                "description": "an error",
                "content": { problem::CONTENT_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } },
            },
        },
    });
    if route.gives == "Socket" {
        operation["responses"]["426"] = json!({ "description": "the request does not ask for a WebSocket" });
    }
    if let Some(members) = operation.as_object_mut() {
        if let Some(fields) = route.body {
            members.insert("requestBody".into(), request_body(fields));
        }
        if !route.raw.is_empty() {
            let types = route.raw.iter().map(|name| (name.to_string(), json!({ "schema": { "type": "string" } })));
            let content: Map<String, Value> = types.collect();
            members.insert("requestBody".into(), json!({ "required": true, "content": content }));
        }
        if let Some(role) = route.role {
            if needs_token {
                members.insert("security".into(), json!([{ "token": [] }]));
            }
            members.insert("x-role".into(), json!(role.name()));
        }
    }
    operation
}

fn key_parameter() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "a request that comes again with the same key and body stores nothing and gets the first one's answer",
        "schema": { "type": "string", "maxLength": KEY_BYTES_MAX },
    })
}

/// `get_api_v1_jobs_id`
fn operation_id(route: &Route) -> String {
    let path: String = route.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let words: Vec<&str> = path.split('_').filter(|word| !word.is_empty()).collect();
    format!("{}_{}", route.method.name().to_ascii_lowercase(), words.join("_"))
}

fn status_of(route: &Route) -> &'static str {
    match (route.gives, route.method, route.path) {
        ("Nothing", ..) => "204",
        ("Socket", ..) => "101",
        (_, Method::Post, "/api/v1/jobs") | ("Savepoint", Method::Post, _) => "201",
        _ => "200",
    }
}

fn answer(route: &Route) -> Value {
    let doc = SCHEMAS.iter().find(|(name, ..)| *name == route.gives).map(|(.., doc)| *doc);
    match (route.gives, doc) {
        ("Nothing", _) => json!({ "description": "done" }),
        (_, Some(doc)) => json!({
            "description": doc,
            "content": content(route),
        }),
        (other, None) => json!({ "description": other }),
    }
}

fn content(route: &Route) -> Value {
    let mut content = json!({
        "application/json": { "schema": { "$ref": format!("#/components/schemas/{}", route.gives) } },
    });
    if (route.method, route.path) == (Method::Post, "/api/v1/queries") {
        for stream in ["text/event-stream", "application/x-ndjson"] {
            content[stream] = json!({ "schema": { "type": "string" } });
        }
    }
    // As the field `format` says.
    for text in ["text/plain", "text/vnd.graphviz"].into_iter().filter(|_| route.gives == "Plan") {
        content[text] = json!({ "schema": { "type": "string" } });
    }
    content
}

fn request_body(fields: &[Field]) -> Value {
    let property = |field: &Field| {
        let mut schema = value_schema(field.takes);
        if !field.required {
            schema["type"] = json!([schema["type"], "null"]);
            if let Some(choices) = schema.get_mut("enum").and_then(Value::as_array_mut) {
                choices.push(Value::Null);
            }
        }
        schema["description"] = json!(field.doc);
        (field.name.to_string(), schema)
    };
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let properties: Map<String, Value> = fields.iter().map(property).collect();
    let has = |name: &str| fields.iter().any(|field| field.name == name);
    let mut schema =
        json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties });
    if has("fresh") && has("from_savepoint") {
        let both = json!({ "fresh": { "const": true }, "from_savepoint": { "type": "string" } });
        schema["not"] = json!({ "properties": both, "required": ["fresh", "from_savepoint"] });
    }
    let mut content = json!({ "application/json": { "schema": schema } });
    if required == ["sql"] {
        content["application/sql"] = json!({ "schema": { "type": "string" } });
    }
    json!({ "required": !required.is_empty(), "content": content })
}

fn value_schema(takes: Takes) -> Value {
    match takes {
        Takes::Text => json!({ "type": "string" }),
        Takes::Name => json!({ "type": "string", "pattern": NAME_PATTERN, "maxLength": NAME_CHARS_MAX }),
        Takes::Choice(choices) => json!({ "type": "string", "enum": choices }),
        Takes::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Takes::Boolean => json!({ "type": "boolean" }),
        Takes::Texts => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_once_and_every_reference_leads_somewhere() {
        let document = document(true);
        let operations: Vec<&Value> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|methods| methods.as_object().unwrap().values())
            .collect();
        assert_eq!(operations.len(), ROUTES.len());
        let ids: BTreeSet<&str> = operations.iter().map(|one| one["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), ROUTES.len(), "operation ids are unique");
        let known = document["components"]["schemas"].as_object().unwrap();
        let text = document.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name: String = reference.chars().take_while(char::is_ascii_alphanumeric).collect();
            assert!(known.contains_key(&name), "{name}");
        }
        for route in ROUTES {
            let is_plain = ["Nothing", "Page", "OpenApi", "Prometheus", "Socket"].contains(&route.gives);
            assert!(is_plain || known.contains_key(route.gives), "{}", route.path);
        }
        assert_eq!(
            document["paths"]["/api/v1/jobs"]["post"]["responses"].as_object().unwrap().keys().next().unwrap(),
            "201"
        );
        assert!(document["paths"]["/api/v1/jobs/{id}/start"]["post"]["responses"]["200"].is_object());
    }
}
