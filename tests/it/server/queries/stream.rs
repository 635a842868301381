//! Rows as they come: as events, as lines, as a table that changes, and what is said when something is wrong.

use serde_json::{Value, json};

use super::super::kit::{Server, copying_job};
use super::kit::{EVENTS, LINES, QUERIES, Stream, WATCHED, generated, query, running};

#[test]
fn rows_come_as_they_are_made_with_their_kinds_in_events_and_in_lines() {
    let server = Server::start(&[]);
    server.feed("in", "1.json", "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":5}\n");
    let body = query(&format!("{WATCHED} SELECT k, SUM(v) AS total FROM events GROUP BY k"));
    let mut events = Stream::open(&server, EVENTS, &body);
    let mut lines = Stream::open(&server, LINES, &body);
    assert!(events.head.contains("content-type: text/event-stream\r\n"), "{}", events.head);
    assert_eq!(events.line().unwrap(), "event: schema");
    let schema: Value = serde_json::from_str(events.line().unwrap().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((events.line().unwrap(), events.line().unwrap()), (String::new(), "event: rows".into()));
    assert!(events.line().unwrap().starts_with("data: {\"kinds\":["));
    let columns = json!([
        { "name": "k", "type": "STRING", "nullable": true },
        { "name": "total", "type": "BIGINT", "nullable": true },
    ]);
    assert_eq!((&schema["columns"], &schema["changelog"], &schema["bounded"]), (&columns, &json!(true), &json!(false)));
    assert_eq!(lines.next("schema")["columns"], columns);
    let mut seen = changes(&mut lines, 2);
    seen.sort_by_key(Value::to_string);
    assert_eq!(seen, [json!(["+I", "a", 1]), json!(["+I", "b", 5])]);
    server.feed("in", "2.json", "{\"k\":\"a\",\"v\":2}\n");
    assert_eq!(changes(&mut lines, 2), [json!(["-U", "a", 1]), json!(["+U", "a", 3])]);
    let status = lines.next("status");
    assert_eq!((&status["rows"], &status["rows_read"]), (&json!(4), &json!(3)), "{status}");
    let waiting = loop {
        if let Some(reason) = lines.next("status")["waiting"].as_str() {
            break reason.to_string();
        }
    };
    assert!(waiting.starts_with("waiting because "), "{waiting}");
    assert_eq!(running(&server), 2);
}

/// So many changes, each with its kind in front.
fn changes(stream: &mut Stream, count: usize) -> Vec<Value> {
    let mut all = Vec::new();
    while all.len() < count {
        let message = stream.next("rows");
        let (kinds, rows) = (message["kinds"].as_array().unwrap(), message["rows"].as_array().unwrap());
        assert_eq!(kinds.len(), rows.len());
        for (kind, row) in kinds.iter().zip(rows) {
            let mut change = vec![kind.clone()];
            change.extend(row.as_array().unwrap().clone());
            all.push(Value::from(change));
        }
    }
    all
}

#[test]
fn a_folded_query_gives_its_table_whenever_it_changes() {
    let server = Server::start(&[]);
    server.feed("in", "1.json", "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":5}\n{\"k\":\"c\",\"v\":3}\n");
    let sql = format!("{WATCHED} SELECT k, SUM(v) AS total FROM events GROUP BY k ORDER BY total DESC");
    let body = json!({ "sql": sql, "mode": "folded", "rows_max": 2 });
    let mut stream = Stream::open(&server, LINES, &body);
    let schema = stream.next("schema");
    assert_eq!(schema["sorted_by_client"], true, "the server sorts in its place: {schema}");
    let mut table = stream.next("table");
    while table["table_rows"] != 3 {
        table = stream.next("table");
    }
    assert_eq!(table["rows"], json!([["b", 5], ["c", 3]]));
    server.feed("in", "2.json", "{\"k\":\"a\",\"v\":9}\n");
    let mut table = stream.next("table");
    while table["rows"][0][0] != "a" {
        table = stream.next("table");
    }
    assert_eq!(table["rows"], json!([["a", 10], ["b", 5]]));

    let refused = server.ask_with("POST", QUERIES, &[("accept", LINES), ("content-type", "application/json")], {
        json!({ "sql": sql, "mode": "folded", "rows_max": 100_000 }).to_string()
    });
    assert!(refused.problem(400).contains("has 10000 rows at most"), "{}", refused.text);
    let unsorted = Stream::open(&server, LINES, &query(&sql));
    assert!(unsorted.head.starts_with("HTTP/1.1 422 "), "nobody could sort these rows: {}", unsorted.head);
    let mut sorted = Stream::open(&server, LINES, &json!({ "sql": sql, "order_by": "client" }));
    let order = json!([{ "column": 1, "descending": true, "nulls_first": false }]);
    assert_eq!(sorted.next("schema")["order"], order);
}

#[test]
fn a_query_ends_with_its_input_or_with_the_rows_that_were_asked_for() {
    let server = Server::start(&[]);
    let mut stream = Stream::open(&server, LINES, &query("VALUES (1, 'a'), (2, NULL)"));
    assert_eq!(stream.next("rows")["rows"], json!([[1, "a"], [2, null]]));
    let end = stream.next_end();
    assert_eq!((&end["reason"], &end["rows"]), (&json!("finished"), &json!(2)), "{end}");
    assert!(stream.line().is_none(), "nothing comes behind the end");

    let sql = format!("{} SELECT n FROM d", generated(1_000_000));
    let mut stream = Stream::open(&server, LINES, &json!({ "sql": sql, "rows_max": 2_500 }));
    let mut rows = 0;
    let end = loop {
        let object = stream.object().unwrap();
        match object["event"].as_str().unwrap() {
            "rows" => rows += object["rows"].as_array().unwrap().len(),
            "end" => break object,
            _ => {}
        }
    };
    assert_eq!((rows, &end["reason"], &end["rows"]), (2_500, &json!("rows-max"), &json!(2_500)));
    assert!(end["rows_read"].as_u64().unwrap() >= 2_500, "{end}");
    server.wait_until("no query runs", || running(&server) == 0);
}

impl Stream {
    fn next_end(&mut self) -> Value {
        loop {
            let object = self.object().expect("an end");
            if object["event"] == "end" {
                return object;
            }
        }
    }
}

#[test]
fn answers_that_need_no_job_come_in_the_same_way() {
    let server = Server::start(&[]);
    let sql = format!("{WATCHED} DESCRIBE events");
    let mut stream = Stream::open(&server, LINES, &query(&sql));
    assert_eq!(stream.next("schema")["columns"][0]["name"], "name");
    assert_eq!(stream.next("rows")["rows"][1][0], "v");
    assert_eq!(stream.next_end()["reason"], "finished");
    let mut stream = Stream::open(&server, LINES, &query(&format!("{WATCHED} EXPLAIN SELECT k FROM events")));
    assert_eq!(stream.next("schema")["text"], true);
    assert!(stream.next("rows")["rows"][0][0].as_str().unwrap().contains("events"));
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_in_which_text() {
    let server = Server::start(&[]);
    server.post("/api/v1/jobs", json!({ "name": "copies", "sql": copying_job("a"), "start": false })).expect(201);
    for (body, line, column, text, detail) in [
        (json!({ "sql": "SELECT 1;\nSELECT x" }), 1, 1, "sql", "only the last statement can ask for rows"),
        (json!({ "sql": format!("{WATCHED}\nSELECT k, w FROM events") }), 3, 11, "sql", "'w'"),
        (json!({ "setup": WATCHED, "sql": "SELECT k,\n  w FROM events" }), 2, 3, "sql", "'w'"),
        (
            json!({ "setup": "CREATE TABLE t (a INT)\n WITH ('connector' = 'kafak')", "sql": "SELECT 1" }),
            2,
            8,
            "setup",
            "kafak",
        ),
        (json!({ "job": "copies", "sql": "INSERT INTO copies SELECT * FROM events" }), 1, 1, "sql", "runs as a job"),
        (json!({ "job": "copies", "sql": "SELECT z FROM events" }), 1, 8, "sql", "'z'"),
    ] {
        let answer = server.post(QUERIES, body.clone());
        answer.problem(422);
        let problem = answer.json();
        assert_eq!((problem["line"].as_u64(), problem["column"].as_u64()), (Some(line), Some(column)), "{problem}");
        let error = &problem["errors"][0];
        assert_eq!(error["in"], text, "{problem}");
        assert!(error["text"].as_str().unwrap().replace('`', "'").contains(detail), "{problem}");
    }
    for (body, status, detail) in [
        (json!({ "sql": "  " }), 400, "the SQL asks for nothing"),
        (json!({ "sql": "SELECT 1", "job": "none" }), 404, "there is no job 'none'"),
        (json!({ "sql": "SELECT 1", "setings": {} }), 400, "there is no field 'setings' (did you mean 'settings'?)"),
        (json!({ "sql": "SELECT 1", "settings": { "paralelism": "2" } }), 400, "paralelism"),
        (json!({ "sql": "SELECT 1", "form": "arrow" }), 400, "form 'arrow' is for streams"),
    ] {
        let answer = server.post(QUERIES, body);
        assert!(answer.problem(status).contains(detail), "{}", answer.text);
    }
    assert_eq!(running(&server), 0);
}

#[test]
fn tables_of_a_job_can_be_looked_at_while_it_runs() {
    let server = Server::start(&[]);
    server.feed("in/a", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    server.post("/api/v1/jobs", json!({ "name": "copies", "sql": copying_job("a") })).expect(201);
    server.wait_until("the row is there", || server.lines("out/a") == ["a,1"]);
    let answer = server.post(QUERIES, json!({ "job": "copies", "sql": "SELECT k, v FROM copies" })).expect(200);
    assert_eq!(answer["rows"], json!([["a", 1]]));
    let mut stream = Stream::open(&server, LINES, &json!({ "job": "copies", "sql": "SELECT k, v FROM events" }));
    assert_eq!(stream.next("rows")["rows"], json!([["a", 1]]));
    server.feed("in/a", "2.json", "{\"k\":\"b\",\"v\":2}\n");
    assert_eq!(stream.next("rows")["rows"], json!([["b", 2]]));
    assert_eq!(server.phase("copies"), "running");
}

#[test]
fn a_failure_behind_the_first_row_is_an_event() {
    let server = Server::start(&[]);
    server.feed("in", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    let mut stream = Stream::open(&server, LINES, &query(&format!("{WATCHED} SELECT k, v FROM events")));
    assert_eq!(stream.next("rows")["rows"], json!([["a", 1]]));
    server.feed("in", "2.json", "no JSON\n");
    let error = loop {
        let object = stream.object().expect("an error");
        if object["event"] == "error" {
            break object;
        }
    };
    assert_eq!((&error["status"], &error["type"]), (&json!(500), &json!("urn:tidemill:problem:failed")), "{error}");
    assert!(error["detail"].as_str().unwrap().contains("2.json"), "{error}");
    assert!(stream.line().is_none());
    server.wait_until("no query runs", || running(&server) == 0);
}
