//! Every route of the OpenAPI document is asked once, with what it takes, and answers as the document says.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kit::{Server, copying_job, posted_job};

/// Method, path of the document, path that is asked, body.
struct Ask(&'static str, &'static str, &'static str, Option<Value>);

fn asks() -> Vec<Ask> {
    let sql = || copying_job("a");
    let with_sql = || Some(json!({ "sql": sql() }));
    let nothing = || Some(json!({}));
    let job = "/api/v1/jobs/{id}";
    vec![
        Ask("GET", "/livez", "/livez", None),
        Ask("GET", "/readyz", "/readyz", None),
        Ask("GET", "/docs", "/docs", None),
        Ask("GET", "/api/v1/openapi.json", "/api/v1/openapi.json", None),
        Ask("POST", "/api/v1/sql/validate", "/api/v1/sql/validate", with_sql()),
        Ask("POST", "/api/v1/sql/explain", "/api/v1/sql/explain", Some(json!({ "sql": sql(), "format": "json" }))),
        Ask("POST", "/api/v1/jobs", "/api/v1/jobs", Some(json!({ "name": "a", "sql": sql() }))),
        Ask("GET", "/api/v1/jobs", "/api/v1/jobs", None),
        Ask("GET", job, "/api/v1/jobs/a", None),
        Ask("POST", "/api/v1/jobs/{id}/savepoints", "/api/v1/jobs/a/savepoints", Some(json!({ "name": "s" }))),
        Ask("GET", "/api/v1/jobs/{id}/savepoints", "/api/v1/jobs/a/savepoints", None),
        Ask("GET", "/api/v1/jobs/{id}/checkpoints", "/api/v1/jobs/a/checkpoints", None),
        Ask("GET", "/api/v1/jobs/{id}/metrics", "/api/v1/jobs/a/metrics", None),
        Ask("GET", "/api/v1/jobs/{id}/logs", "/api/v1/jobs/a/logs?after=0&limit=5", None),
        Ask("GET", "/metrics", "/metrics", None),
        Ask("GET", "/api/v1/catalog", "/api/v1/catalog?job=a", None),
        Ask("GET", "/api/v1/connectors", "/api/v1/connectors", None),
        Ask("GET", "/api/v1/functions", "/api/v1/functions", None),
        Ask("PUT", "/api/v1/jobs/{id}/sql", "/api/v1/jobs/a/sql?dry_run=true", with_sql()),
        Ask("POST", "/api/v1/jobs/{id}/restart", "/api/v1/jobs/a/restart", None),
        Ask("POST", "/api/v1/jobs/{id}/rescale", "/api/v1/jobs/a/rescale", Some(json!({ "parallelism": 2 }))),
        Ask("POST", "/api/v1/jobs/{id}/stop", "/api/v1/jobs/a/stop", nothing()),
        Ask("DELETE", "/api/v1/jobs/{id}/savepoints/{name}", "/api/v1/jobs/a/savepoints/s", None),
        Ask("POST", "/api/v1/jobs/{id}/start", "/api/v1/jobs/a/start", nothing()),
        Ask("POST", "/api/v1/jobs/{id}/cancel", "/api/v1/jobs/a/cancel", None),
        Ask("DELETE", job, "/api/v1/jobs/a", None),
        Ask(
            "POST",
            "/api/v1/jobs",
            "/api/v1/jobs",
            Some(json!({ "name": "p", "sql": posted_job("50 ms"), "start": false })),
        ),
        Ask("POST", "/api/v1/tables/{table}/rows", "/api/v1/tables/events/rows", Some(json!([{ "k": "a", "v": 1 }]))),
        Ask(
            "POST",
            "/api/v1/jobs/{id}/tables/{table}/rows",
            "/api/v1/jobs/p/tables/events/rows",
            Some(json!({ "k": "b", "v": 2 })),
        ),
        Ask("POST", "/api/v1/queries", "/api/v1/queries", Some(json!({ "sql": "SHOW FUNCTIONS", "page_rows": 9 }))),
        Ask("GET", "/api/v1/queries", "/api/v1/queries", None),
        Ask("GET", "/api/v1/queries/{id}/rows", "/api/v1/queries/QUERY/rows?page_token=r9", None),
        Ask("DELETE", "/api/v1/queries/{id}", "/api/v1/queries/QUERY", None),
        Ask("GET", "/api/v1/queries/ws", "/api/v1/queries/ws", None),
        Ask("GET", "/api/v1/audit", "/api/v1/audit?limit=100", None),
    ]
}

#[test]
fn every_route_of_the_document_answers_as_it_says() {
    let server = Server::start(&[]);
    server.feed("in/a", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    let document = server.get("/api/v1/openapi.json").expect(200);
    let mut asked = BTreeSet::new();
    let mut query = String::new();
    for Ask(method, template, path, body) in asks() {
        let path = &path.replace("QUERY", &query);
        if template.contains("{id}") && (path.ends_with("/savepoints") || path.ends_with("/restart")) {
            server.wait_for_phase("a", "running");
        }
        let answer = server.ask(method, path, body.as_ref());
        if (method, template) == ("POST", "/api/v1/queries") {
            query = answer.json()["query"].as_str().unwrap().to_string();
        }
        let operation = &document["paths"][template][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {template} is not in the document");
        let promised = operation["responses"].as_object().unwrap();
        assert!(
            promised.contains_key(&answer.status.to_string()),
            "{method} {path}: {} {}",
            answer.status,
            answer.text
        );
        check_members(&document, operation, &answer.text, path);
        asked.insert((method.to_lowercase(), template.to_string()));
    }
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            assert!(asked.contains(&(method.clone(), path.clone())), "no test asks {method} {path}");
        }
    }
    let audit = server.get("/api/v1/audit").expect(200);
    let done: Vec<&str> =
        audit["entries"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!(done.len(), 13, "what changes something, and nothing else: {done:?}");
    assert_eq!((done[0], done[12]), ("DELETE /api/v1/queries/{id}", "POST /api/v1/jobs"));
}

/// Every member of an answer is in its schema.
fn check_members(document: &Value, operation: &Value, text: &str, path: &str) {
    let schema = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        .as_str()
        .or(operation["responses"]["201"]["content"]["application/json"]["schema"]["$ref"].as_str());
    let Some(name) = schema.and_then(|reference| reference.rsplit('/').next()) else { return };
    let known = document["components"]["schemas"][name]["properties"].as_object().unwrap();
    let body: Value = serde_json::from_str(text).unwrap();
    for member in body.as_object().unwrap().keys() {
        assert!(known.contains_key(member), "{path}: '{member}' is not in the schema {name}");
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    let page = server.get("/docs");
    assert_eq!((page.status, page.content_type.as_str()), (200, "text/html; charset=utf-8"));
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "it loads from elsewhere");
}

#[test]
fn errors_are_problems_with_their_place() {
    let server = Server::start(&[]);
    let wrong = server.post(
        "/api/v1/sql/validate",
        json!({ "sql": "CREATE TABLE t (a INT) WITH ('connector' = 'datagen');\nSELECT b FROM t" }),
    );
    wrong.problem(422);
    let body = wrong.json();
    assert_eq!((body["line"].as_u64(), body["column"].as_u64()), (Some(2), Some(8)), "{body}");
    assert_eq!(body["type"], "urn:tidemill:problem:wrong-sql");
    assert!(body["errors"][0]["text"].as_str().unwrap().contains("2 | SELECT b FROM t"), "{body}");
    let as_sql =
        server.ask_with("POST", "/api/v1/sql/explain", &[("content-type", "application/sql")], copying_job("a"));
    assert!(as_sql.status == 200 && as_sql.text.contains("copies"), "{}", as_sql.text);
    let dot = server.post("/api/v1/sql/explain", json!({ "sql": copying_job("a"), "format": "dot" }));
    assert!(dot.text.starts_with("digraph"), "{}", dot.text);

    for (method, path, body, status, expected) in [
        (
            "POST",
            "/api/v1/jobs",
            json!({ "name": "a", "sgl": "x" }),
            400,
            "there is no field 'sgl' (did you mean 'sql'?)",
        ),
        ("POST", "/api/v1/jobs", json!({ "name": "a" }), 400, "the field 'sql' is missing"),
        ("POST", "/api/v1/jobs", json!({ "name": "../x", "sql": "" }), 400, "'../x' is no name of a job"),
        ("POST", "/api/v1/jobs", json!({ "name": "a", "sql": "" }), 400, "the SQL runs nothing"),
        (
            "POST",
            "/api/v1/jobs",
            json!({ "name": "a", "sql": "SELECT", "parallelism": 0 }),
            400,
            "'parallelism' must be",
        ),
        (
            "POST",
            "/api/v1/jobs",
            json!({ "name": "a", "sql": "S", "settings": { "x": "1" } }),
            400,
            "setting 'x' = '1'",
        ),
        ("POST", "/api/v1/jobs/none/start", json!({}), 404, "there is no job 'none'"),
        ("POST", "/api/v1/jobz", json!({}), 404, "there is nothing at /api/v1/jobz (did you mean /api/v1/jobs?)"),
        ("PUT", "/api/v1/jobs", json!({}), 405, "PUT is not there for /api/v1/jobs"),
        (
            "POST",
            "/api/v1/sql/explain",
            json!({ "sql": "x", "format": "xml" }),
            400,
            "'format' must be one of text, json, dot",
        ),
        ("POST", "/api/v1/jobs/x/sql?dryrun=true", json!({}), 405, "POST is not there"),
        ("PUT", "/api/v1/jobs/x/sql?dryrun=true", json!({ "sql": "" }), 400, "did you mean 'dry_run'?"),
    ] {
        let answer = server.ask(method, path, Some(&body));
        let problem = answer.problem(status);
        assert!(problem.contains(expected), "{method} {path}: {problem}");
    }
    let two = "CREATE TABLE t (a INT) WITH ('connector' = 'datagen'); SELECT a FROM t; SELECT a + 1 FROM t";
    let refused = server.post("/api/v1/jobs", json!({ "name": "two", "sql": two }));
    assert!(refused.problem(400).contains("the SQL is 2 jobs"), "{}", refused.text);
    let no_json = server.ask_with("POST", "/api/v1/jobs", &[("content-type", "application/json")], "{".into());
    assert!(no_json.problem(400).contains("the body is no JSON"));
    let no_type = server.ask_with("POST", "/api/v1/jobs", &[("content-type", "text/plain")], "{}".into());
    assert!(no_type.problem(415).contains("Content-Type: application/json"));
}
