//! A job from its making to its end.

use serde_json::{Value, json};

use super::kit::{Server, copying_job};

#[test]
fn a_job_is_made_stopped_saved_rescaled_and_deleted() {
    let server = Server::start(&[]);
    server.feed("in/orders", "1.json", "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":2}\n");
    let made = server.post("/api/v1/jobs", json!({ "name": "orders", "sql": copying_job("orders"), "parallelism": 1 }));
    let job = made.expect(201);
    let id = job["id"].as_str().unwrap().to_string();
    assert_eq!((job["name"].as_str(), job["desired"].as_str()), (Some("orders"), Some("running")));
    server.wait_until("the rows are there", || server.lines("out/orders") == ["a,1", "b,2"]);
    assert_eq!(server.get(&format!("/api/v1/jobs/{id}")).expect(200)["name"], "orders");

    let taken = server.post("/api/v1/jobs/orders/savepoints", json!({ "name": "first" })).expect(201);
    assert_eq!((taken["name"].as_str(), taken["records_read"].as_u64()), (Some("first"), Some(2)));
    let again = server.post("/api/v1/jobs/orders/savepoints", json!({ "name": "first" }));
    assert!(again.problem(409).contains("already a savepoint 'first'"), "{}", again.text);

    server.feed("in/orders", "2.json", "{\"k\":\"a\",\"v\":10}\n");
    server.wait_until("the row is there", || server.lines("out/orders").len() == 3);
    let stopped = server.post("/api/v1/jobs/orders/stop", json!({})).expect(200);
    assert_eq!((stopped["phase"].as_str(), stopped["desired"].as_str()), (Some("stopped"), Some("stopped")));
    assert_eq!(server.lines("totals/orders"), ["a,2,11", "b,1,2"]);
    assert!(!server.get("/api/v1/jobs/orders/checkpoints").expect(200)["checkpoints"].as_array().unwrap().is_empty());

    // Rows that come while it is stopped are read when it goes on, at another parallelism.
    server.feed("in/orders", "3.json", "{\"k\":\"b\",\"v\":5}\n");
    server.post("/api/v1/jobs/orders/rescale", json!({ "parallelism": 2 })).expect(200);
    server.post("/api/v1/jobs/orders/start", json!({})).expect(200);
    server.wait_until("the totals are there", || server.lines("totals/orders") == ["a,2,11", "b,2,7"]);
    let metrics = server.get("/api/v1/jobs/orders/metrics").expect(200);
    assert_eq!(metrics["status"]["parallelism"], 2);
    server.post("/api/v1/jobs/orders/rescale", json!({ "parallelism": 3 })).expect(200);
    server.wait_for_phase("orders", "running");
    assert_eq!(server.get("/api/v1/jobs/orders/metrics").expect(200)["status"]["parallelism"], 3);
    server.post("/api/v1/jobs/orders/restart", json!({})).expect(200);
    server.wait_for_phase("orders", "running");
    assert_eq!(server.lines("totals/orders"), ["a,2,11", "b,2,7"]);

    let refused = server.ask("DELETE", "/api/v1/jobs/orders", None);
    assert!(refused.problem(409).contains("the job is running"), "{}", refused.text);
    server.post("/api/v1/jobs/orders/cancel", json!({})).expect(200);
    server.ask("DELETE", "/api/v1/jobs/orders", None).expect(204);
    assert!(server.get("/api/v1/jobs/orders").problem(404).contains("there is no job 'orders'"));
    assert!(!server.path(&format!("data/jobs/{id}")).exists(), "its state is gone");
}

#[test]
fn a_job_goes_back_to_a_savepoint_or_begins_anew() {
    let server = Server::start(&[]);
    server.feed("in/a", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    server.post("/api/v1/jobs", json!({ "name": "a", "sql": copying_job("a") })).expect(201);
    server.wait_until("the row is there", || server.lines("out/a") == ["a,1"]);
    server.post("/api/v1/jobs/a/savepoints", json!({ "name": "one" })).expect(201);
    server.feed("in/a", "2.json", "{\"k\":\"a\",\"v\":2}\n");
    server.wait_until("the row is there", || server.lines("totals/a") == ["a,2,3"]);
    let stopped = server.post("/api/v1/jobs/a/stop", json!({ "savepoint": true, "savepoint_name": "two" })).expect(200);
    assert_eq!(stopped["last_savepoint"], "two");

    // What was written behind the savepoint is withdrawn, and the second row read once more.
    server.post("/api/v1/jobs/a/start", json!({ "from_savepoint": "one" })).expect(200);
    server.wait_until("a checkpoint was taken", || {
        server.get("/api/v1/jobs/a/metrics").json()["status"]["checkpoint"]["completed"].as_u64() > Some(1)
    });
    assert_eq!(
        (server.lines("out/a"), server.lines("totals/a")),
        (vec!["a,1".into(), "a,2".into()], vec!["a,2,3".into()])
    );
    server.post("/api/v1/jobs/a/stop", json!({})).expect(200);
    let wrong = server.post("/api/v1/jobs/a/start", json!({ "from_savepoint": "on" }));
    assert_eq!(wrong.problem(404), "there is no savepoint 'on' (did you mean 'one'?)");
    let both = server.post("/api/v1/jobs/a/start", json!({ "from_savepoint": "one", "fresh": true }));
    assert!(both.problem(400).contains("exclude each other"));

    // Another job from this one's savepoint reads only what came behind it.
    let sql = copying_job("a").replace("out/a", "out/b").replace("totals/a", "totals/b");
    server.post("/api/v1/jobs", json!({ "name": "b", "sql": sql, "from_savepoint": "a/one" })).expect(201);
    server.wait_until("the second row is there", || server.lines("out/b") == ["a,2"]);
    server.wait_until("the totals hold both", || server.lines("totals/b") == ["a,2,3"]);

    server.post("/api/v1/jobs/a/start", json!({ "fresh": true })).expect(200);
    server.wait_until("all is read again", || server.get("/api/v1/jobs/a/metrics").text.contains("\"rows_in\":2"));
    server.ask("DELETE", "/api/v1/jobs/a/savepoints/one", None).expect(204);
    let names: Vec<Value> = server.get("/api/v1/jobs/a/savepoints").expect(200)["savepoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(names, ["two"]);
}

#[test]
fn a_job_that_fails_or_ends_leaves_the_others_alone() {
    let server = Server::start(&[]);
    server.feed("in/good", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    server.feed("in/bad", "1.json", "{\"k\":\"a\",\"v\":1}\nthis is no JSON\n");
    for name in ["good", "bad"] {
        server.post("/api/v1/jobs", json!({ "name": name, "sql": copying_job(name) })).expect(201);
    }
    let few = "CREATE TABLE n (i INT) WITH ('connector' = 'datagen', 'fields.i.kind' = 'sequence', 'fields.i.start' = '1', 'fields.i.end' = '3');
SELECT i FROM n";
    server.post("/api/v1/jobs", json!({ "name": "few", "sql": few })).expect(201);
    server.wait_for_phase("bad", "failed");
    server.wait_for_phase("few", "finished");
    let bad = server.get("/api/v1/jobs/bad").expect(200);
    assert!(bad["last_error"].as_str().unwrap().contains("bad record"), "{bad}");
    let logs = server.get("/api/v1/jobs/bad/logs").text;
    assert!(logs.contains("\"level\":\"error\"") && logs.contains("bad record"), "{logs}");
    let printed = server.get("/api/v1/jobs/few/logs").text;
    assert!(printed.contains("\"level\":\"row\"") && printed.contains('3'), "{printed}");

    server.feed("in/good", "2.json", "{\"k\":\"a\",\"v\":2}\n");
    server.wait_until("the good one goes on", || server.lines("totals/good") == ["a,2,3"]);
    assert_eq!(server.phase("good"), "running");
    let finished = server.post("/api/v1/jobs/few/start", json!({}));
    assert!(finished.problem(409).contains("the job is finished"), "{}", finished.text);
    assert_eq!(server.get("/livez").status, 200);
}
