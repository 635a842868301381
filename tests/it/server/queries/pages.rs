//! Whole results, page by page.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::kit::Server;
use super::kit::{QUERIES, generated, query, running};

fn numbers(page: &Value) -> Vec<i64> {
    page["rows"].as_array().expect("rows").iter().map(|row| row[0].as_i64().expect("a number")).collect()
}

/// A million rows take a while; a few thousand of them are enough here.
fn series(rows: usize) -> String {
    format!(
        "CREATE TABLE s (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}', 'fields.n.kind' = 'sequence', \
         'fields.n.start' = '1', 'fields.n.end' = '{rows}', 'rows-per-second' = '1000000');"
    )
}

#[test]
fn a_result_is_read_page_by_page_and_only_for_a_while() {
    let server = Server::start(&["--query-results-time", "1500 ms"]);
    let sql = format!("{} SELECT n FROM s", series(2_500));
    let first = server.post(QUERIES, query(&sql)).expect(200);
    assert_eq!(
        (&first["row_count"], &first["truncated"], &first["state"]),
        (&json!(2_500), &json!(false), &json!("finished"))
    );
    let id = first["query"].as_str().unwrap();
    let (mut all, mut page) = (numbers(&first), first.clone());
    while let Some(token) = page["next_page_token"].as_str() {
        page = server.get(&format!("{QUERIES}/{id}/rows?page_token={token}")).expect(200);
        assert_eq!(page["columns"], first["columns"]);
        all.extend(numbers(&page));
    }
    all.sort_unstable();
    assert_eq!(all, (1..=2_500).collect::<Vec<_>>());
    assert_eq!(numbers(&server.get(&format!("{QUERIES}/{id}/rows")).expect(200)), numbers(&first));
    for token in ["r9999", "x", "r-1", ""] {
        server.get(&format!("{QUERIES}/{id}/rows?page_token={token}")).problem(400);
    }
    let listed = server.get(QUERIES).expect(200);
    assert_eq!((&listed["queries"][0]["id"], &listed["queries"][0]["state"]), (&json!(id), &json!("finished")));
    server.wait_until("its time is over", || server.get(QUERIES).expect(200)["queries"] == json!([]));
    server.get(&format!("{QUERIES}/{id}/rows")).problem(404);

    let small = server.post(QUERIES, query("SELECT 1 AS n")).expect(200);
    assert!(small.get("next_page_token").is_none(), "{small}");
    // It counts as running until its thread has ended, which may be just behind its answer.
    server.wait_until("what was read whole is not kept", || server.get(QUERIES).expect(200)["queries"] == json!([]));
    let again = server.post(QUERIES, json!({ "sql": sql, "page_rows": 10, "rows_max": 25 })).expect(200);
    assert_eq!((&again["row_count"], &again["truncated"]), (&json!(25), &json!(true)));
    let id = again["query"].as_str().unwrap();
    server.ask("DELETE", &format!("{QUERIES}/{id}"), None).expect(204);
    server.ask("DELETE", &format!("{QUERIES}/{id}"), None).problem(404);
}

#[test]
fn a_result_that_changes_is_folded_unless_its_changes_are_asked_for() {
    let server = Server::start(&[]);
    let sql = "SELECT k, SUM(v) AS total FROM (VALUES ('a', 1), ('b', 2), ('a', 3)) AS t (k, v) GROUP BY k ORDER BY k";
    let folded = server.post(QUERIES, query(sql)).expect(200);
    assert_eq!((&folded["rows"], folded.get("kinds")), (&json!([["a", 4], ["b", 2]]), None), "{folded}");
    let sql = "SELECT COUNT(*) AS n FROM (VALUES ('a', 1), ('b', 2)) AS t (k, v)";
    let changes = server.post(QUERIES, json!({ "sql": sql, "mode": "changelog" })).expect(200);
    let (kinds, rows) = (changes["kinds"].as_array().unwrap(), changes["rows"].as_array().unwrap());
    assert_eq!((kinds.len(), kinds[0].as_str(), rows.last()), (rows.len(), Some("+I"), Some(&json!([2]))), "{changes}");
}

#[test]
fn results_without_end_too_late_or_too_large_are_refused() {
    let server = Server::start(&["--query-timeout", "1 s", "--query-results-size", "20KB"]);
    let endless = server.post(QUERIES, query(&format!("{} SELECT n FROM d", generated(1))));
    assert!(endless.problem(406).contains("it cannot be answered as a whole"), "{}", endless.text);
    let limited = server.post(QUERIES, query(&format!("{} SELECT n FROM d LIMIT 3", generated(1_000)))).expect(200);
    assert_eq!(limited["row_count"], 3);
    let late = server.post(QUERIES, query(&format!("{} SELECT n FROM d LIMIT 100", generated(1))));
    assert!(late.problem(504).contains("took longer than 1s"), "{}", late.text);
    let large = server.post(QUERIES, query(&format!("{} SELECT n FROM s", series(10_000))));
    assert!(
        large.problem(503).contains("is larger than the 20000 bytes") || large.text.contains("20480"),
        "{}",
        large.text
    );
    let html = server.ask_with(
        "POST",
        QUERIES,
        &[("accept", "text/html"), ("content-type", "application/sql")],
        "SELECT 1".into(),
    );
    html.problem(406);
    server.wait_until("no query runs", || running(&server) == 0);
    // The oldest result makes room for the newest.
    let keep = |rows: usize| {
        let body = json!({ "sql": format!("{} SELECT n FROM s", series(rows)), "page_rows": 1 });
        server.post(QUERIES, body).expect(200)["query"].as_str().unwrap().to_string()
    };
    let old = keep(800);
    std::thread::sleep(Duration::from_millis(5));
    let new = keep(800);
    server.get(&format!("{QUERIES}/{old}/rows")).problem(404);
    server.get(&format!("{QUERIES}/{new}/rows")).expect(200);
}
