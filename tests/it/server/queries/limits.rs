//! How many queries, and how much memory each.

use serde_json::json;

use super::super::kit::Server;
use super::kit::{LINES, QUERIES, Stream, generated, query, running};

#[test]
fn only_so_many_queries_run_at_a_time() {
    let server = Server::start(&["--queries-max", "2"]);
    let body = query(&format!("{} SELECT n FROM d", generated(1)));
    let first = Stream::open(&server, LINES, &body);
    let _second = Stream::open(&server, LINES, &body);
    let refused = server.post(QUERIES, query("SELECT 1"));
    assert!(refused.problem(503).contains("2 ad-hoc queries run already"), "{}", refused.text);
    assert_eq!(refused.json()["type"], "urn:tidemill:problem:limit");
    drop(first);
    server.wait_until("there is room again", || running(&server) == 1);
    server.post(QUERIES, query("SELECT 1")).expect(200);
    // The place of the query that has just been answered is free a moment later.
    let told = || server.get("/metrics").text.contains("\ntidemill_queries_running 1\n");
    server.wait_until("the metrics tell of one query", told);
}

#[test]
fn a_query_has_no_more_memory_than_the_server_gives_it() {
    let server = Server::start(&["--query-memory", "4MB"]);
    let sql = |set: &str| {
        let table = "CREATE TABLE d (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '400000', 'rows-per-second' = '100000000');";
        json!({ "sql": format!("{set}{table} SELECT COUNT(*) AS groups FROM (SELECT n FROM d GROUP BY n)") })
    };
    let refused = server.post(QUERIES, sql("SET 'tidemill.memory.budget' = '1GB';"));
    assert!(refused.problem(503).contains("memory budget of"), "{}", refused.text);
    // State beyond the budget goes to disk and the answer is right; the folder goes with the query.
    let answer = server.post(QUERIES, sql("")).expect(200);
    let groups = answer["rows"][0][0].as_i64().unwrap();
    assert!((399_000..=400_000).contains(&groups), "{answer}");
    server.wait_until("no query runs", || running(&server) == 0);
    assert_eq!(std::fs::read_dir(server.path("data/queries")).unwrap().count(), 0);
}
