//! Bodies that are wrong: for every route of the OpenAPI document, with every kind of value in every field.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::super::kit::copying_job;
use super::wire::{Manner, Shot};

/// Names of jobs that requests go to. The job that is watched is not among them.
const JOBS: &[&str] = &["victim", "victim2", "nobody", "00000000-0000-0000-0000-000000000000", "GOOD", "good "];
const TYPES: &[&str] = &[
    "application/json",
    "application/json; charset=utf-8",
    "APPLICATION/JSON",
    "application/sql",
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "",
    "application/json\u{e4}",
    "application/xml",
];

fn pick<'a, T>(all: &'a [T], rng: &mut ChaCha8Rng) -> &'a T {
    &all[rng.random_range(0..all.len())]
}

/// A route of the document with a body of random fields.
pub fn any(document: &Value, token: &str, rng: &mut ChaCha8Rng) -> Shot {
    let (method, path, body) = request(document, rng);
    let content_type = if rng.random_bool(0.8) { TYPES[0] } else { pick(TYPES, rng) };
    send("a body", &method, &path, content_type, body.to_string().into_bytes(), token)
}

/// As [`any`], with bytes changed.
pub fn mutated(document: &Value, token: &str, rng: &mut ChaCha8Rng) -> Shot {
    let (method, path, body) = request(document, rng);
    let mut bytes = body.to_string().into_bytes();
    for _ in 0..rng.random_range(1..6) {
        let place = rng.random_range(0..bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match rng.random_range(0..4) {
            0 if !bytes.is_empty() => bytes[place] = rng.random(),
            1 => bytes.truncate(place),
            2 => bytes.splice(place..place, *b"\"\\u0000{[").for_each(drop),
            _ => bytes.splice(place..place, [0xff, 0xfe, 0xc0]).for_each(drop),
        }
    }
    send("a damaged body", &method, &path, TYPES[0], bytes, token)
}

/// More than the server takes, or deeper.
pub fn large(token: &str, rng: &mut ChaCha8Rng) -> Shot {
    let body = match rng.random_range(0..4) {
        0 => json!({ "sql": "SELECT 1;".repeat(1_200_000) }).to_string(),
        1 => "[".repeat(1_000_000),
        2 => "{\"sql\":".repeat(200_000),
        _ => json!({ "sql": "x", "settings": (0..20_000).map(|n| (n.to_string(), json!("y"))).collect::<Map<_, _>>() })
            .to_string(),
    };
    let manner = if rng.random_bool(0.3) { Manner::Drop } else { Manner::Plain };
    send("a large body", "POST", "/api/v1/sql/validate", TYPES[0], body.into_bytes(), token).manner(manner)
}

pub fn send(what: &'static str, method: &str, path: &str, content_type: &str, body: Vec<u8>, token: &str) -> Shot {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    Shot::new(what, bytes)
}

/// Method, path and body for a route of the document, most of it wrong.
fn request(document: &Value, rng: &mut ChaCha8Rng) -> (String, String, Value) {
    let paths: Vec<(&String, &Value)> = document["paths"].as_object().expect("paths").iter().collect();
    let (template, methods) = pick(&paths, rng);
    let methods: Vec<(&String, &Value)> = methods.as_object().expect("methods").iter().collect();
    let (method, operation) = pick(&methods, rng);
    let mut path = (*template).clone();
    while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
        let name = pick(JOBS, rng).replace(' ', "%20");
        path.replace_range(from..=to, &name);
    }
    if rng.random_bool(0.2) {
        let parameter = pick(&["after", "limit", "dry_run", "job", "x", ""], rng);
        path +=
            &format!("?{parameter}={}", pick(&["1", "true", "-1", "1e400", "%00", "", "99999999999999999999"], rng));
    }
    let content = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
    let mut body = Map::new();
    for name in content.as_object().into_iter().flat_map(|fields| fields.keys()) {
        if rng.random_bool(0.7) {
            body.insert(name.clone(), field(name, rng));
        }
    }
    if rng.random_bool(0.1) {
        body.insert(pick(&["", "sql\u{0}", "__proto__", "x", "SQL"], rng).to_string(), value(rng, 0));
    }
    let body = if rng.random_bool(0.05) { value(rng, 0) } else { Value::Object(body) };
    (method.to_uppercase(), path, body)
}

/// A value that may be right in half of the cases, so that what lies behind the checks is met too.
fn field(name: &str, rng: &mut ChaCha8Rng) -> Value {
    if rng.random_bool(0.4) {
        return value(rng, 0);
    }
    match name {
        "sql" => {
            let endless =
                "CREATE TABLE s (id INT) WITH ('connector' = 'datagen', 'rows-per-second' = '10'); SELECT id FROM s";
            json!(*pick(&[endless, "SELECT 1", "", ";;;", "-- only a comment", "SET 'a' = 'b'"], rng))
        }
        "name" | "savepoint_name" => json!(*pick(&["victim", "victim2", "s", "..", "a/b", "", ".tmp", "good"], rng)),
        "parallelism" => json!(*pick(&[0u64, 1, 2, 3, 128, 129, u64::MAX], rng)),
        "settings" => {
            json!({ *pick(&["parallelism.default", "x", ""], rng): *pick(&["1", "", "-1", "9999999999999999999"], rng) })
        }
        "from_savepoint" => json!(*pick(&["s", "victim/s", "../..", "a/b/c", "/", "good/../x"], rng)),
        "format" => json!(*pick(&["text", "json", "dot", "xml"], rng)),
        _ => json!(rng.random_bool(0.5)),
    }
}

/// Any JSON value.
fn value(rng: &mut ChaCha8Rng, depth: usize) -> Value {
    match rng.random_range(0..10) {
        0 => Value::Null,
        1 => json!(rng.random_bool(0.5)),
        2 => json!(rng.random::<i64>()),
        3 => {
            serde_json::from_str(pick::<&str>(&["1e400", "-0", "1.5", "123456789012345678901234567890", "1E-999"], rng))
                .expect("a number")
        }
        4 => json!("x".repeat(rng.random_range(0..3_000))),
        5 => json!(pick(
            &["\u{0}", "\u{202e}", "'; DROP TABLE jobs; --", "${secret:X}", "../../etc/passwd", "\u{1f600}"],
            rng
        )),
        6 if depth < 20 => Value::Array((0..rng.random_range(0..4)).map(|_| value(rng, depth + 1)).collect()),
        7 if depth < 20 => (0..rng.random_range(0..4)).map(|n| (format!("k{n}"), value(rng, depth + 1))).collect(),
        8 => json!(copying_job("victim").chars().rev().collect::<String>()),
        _ => json!(""),
    }
}
