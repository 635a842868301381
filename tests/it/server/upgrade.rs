//! Other SQL for a job that has state.

use serde_json::{Value, json};

use super::kit::{Server, copying_job};

fn verdicts(report: &Value) -> Vec<String> {
    let operators = report["operators"].as_array().unwrap().iter();
    let mut told: Vec<String> = operators
        .map(|one| format!("{} {}", one["name"].as_str().unwrap(), one["verdict"].as_str().unwrap()))
        .collect();
    told.sort();
    told
}

#[test]
fn sql_is_exchanged_and_the_state_kept_where_it_fits() {
    let server = Server::start(&[]);
    server.feed("in/a", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    let sql = copying_job("a");
    server.post("/api/v1/jobs", json!({ "name": "a", "sql": sql, "parallelism": 1 })).expect(201);
    server.wait_until("the totals are there", || server.lines("totals/a") == ["a,1,1"]);

    // One more output: what was there keeps its state.
    let more = sql.replace(
        "END;",
        "INSERT INTO tops SELECT k, MAX(v) FROM events GROUP BY k;
END;",
    );
    let more = more.replace(
        "EXECUTE STATEMENT SET BEGIN",
        "CREATE TABLE tops (k STRING, top INT, PRIMARY KEY (k) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'tops', 'format' = 'csv', 'sink.changelog' = 'snapshot');
EXECUTE STATEMENT SET BEGIN",
    );
    let dry = server.ask("PUT", "/api/v1/jobs/a/sql?dry_run=true", Some(&json!({ "sql": more }))).expect(200);
    assert_eq!((dry["dry_run"].as_bool(), dry["state_fits"].as_bool()), (Some(true), Some(true)), "{dry}");
    let told = verdicts(&dry).join(", ");
    assert!(told.contains("kept") && told.contains("rebuilt") && !told.contains("dropped"), "{told}");
    assert_eq!(server.get("/api/v1/jobs/a").expect(200)["version"], 1, "nothing was changed");
    let done = server.ask("PUT", "/api/v1/jobs/a/sql", Some(&json!({ "sql": more }))).expect(200);
    assert_eq!((done["job"]["version"].as_u64(), done["savepoint"].as_str()), (Some(2), Some("savepoint-1")), "{done}");
    server.feed("in/a", "2.json", "{\"k\":\"a\",\"v\":5}\n");
    server.wait_until("old state went on", || server.lines("totals/a") == ["a,2,6"]);
    server.wait_until("the new part began", || server.lines("tops") == ["a,5"]);
    assert_eq!(server.lines("out/a"), ["a,1", "a,5"]);

    // An output less: its state would be lost.
    let less = sql.replace("INSERT INTO totals SELECT k, COUNT(*), SUM(v) FROM events GROUP BY k;", "");
    let dry = server.ask("PUT", "/api/v1/jobs/a/sql?dry_run=true", Some(&json!({ "sql": less }))).expect(200);
    assert_eq!(dry["state_fits"], false, "{dry}");
    assert!(verdicts(&dry).join(", ").contains("dropped"), "{dry}");
    let refused = server.ask("PUT", "/api/v1/jobs/a/sql", Some(&json!({ "sql": less })));
    assert!(refused.problem(409).contains("the state does not fit the new SQL"), "{}", refused.text);
    assert_eq!(server.phase("a"), "running", "it runs on");
    let fresh = server.ask("PUT", "/api/v1/jobs/a/sql", Some(&json!({ "sql": less, "fresh": true }))).expect(200);
    assert_eq!(fresh["job"]["version"], 3);
    server.wait_until("all is read again", || server.get("/api/v1/jobs/a/metrics").text.contains("\"rows_in\":2"));

    let wrong = server.ask("PUT", "/api/v1/jobs/a/sql", Some(&json!({ "sql": "SELECT x FROM y" })));
    assert!(wrong.problem(422).contains("`y` does not exist"), "{}", wrong.text);
    assert_eq!(server.phase("a"), "running");
}

#[test]
fn a_stopped_job_has_its_new_sql_at_its_next_start() {
    let server = Server::start(&[]);
    server.feed("in/a", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    server.post("/api/v1/jobs", json!({ "name": "a", "sql": copying_job("a") })).expect(201);
    server.wait_until("the row is there", || server.lines("out/a") == ["a,1"]);
    server.post("/api/v1/jobs/a/stop", json!({})).expect(200);
    let other = copying_job("a").replace("SELECT k, v FROM events;", "SELECT k, v * 100 FROM events;");
    server.ask("PUT", "/api/v1/jobs/a/sql", Some(&json!({ "sql": other }))).expect(200);
    assert_eq!(server.phase("a"), "stopped");
    server.post("/api/v1/jobs/a/start", json!({})).expect(200);
    server.feed("in/a", "2.json", "{\"k\":\"a\",\"v\":2}\n");
    server.wait_until("the row is there", || server.lines("out/a") == ["a,1", "a,200"]);
}
