//! What survives when the server is killed, and when it is asked to end. `kills.rs` kills it again and again.

use serde_json::json;

use super::kit::{Server, copying_job};

const JOBS: [&str; 3] = ["a", "b", "c"];

#[test]
fn a_start_from_a_savepoint_is_not_begun_again_after_a_kill() {
    let mut server = Server::start(&[]);
    server.feed("in/a", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    server.post("/api/v1/jobs", json!({ "name": "a", "sql": copying_job("a") })).expect(201);
    server.wait_until("the row is there", || server.lines("out/a") == ["a,1"]);
    server.post("/api/v1/jobs/a/stop", json!({ "savepoint_name": "one" })).expect(200);
    server.post("/api/v1/jobs/a/start", json!({ "from_savepoint": "one" })).expect(200);
    server.feed("in/a", "2.json", "{\"k\":\"a\",\"v\":2}\n");
    server.wait_until("the row is there", || server.lines("out/a") == ["a,1", "a,2"]);
    server.kill();
    server.go();
    server.feed("in/a", "3.json", "{\"k\":\"a\",\"v\":4}\n");
    server.wait_until("the totals are there", || server.lines("totals/a") == ["a,3,7"]);
    assert_eq!(server.lines("out/a"), ["a,1", "a,2", "a,4"]);
}

#[test]
fn a_request_to_end_takes_a_final_checkpoint_of_every_job() {
    let mut server = Server::start(&[]);
    // So long an interval that only the end can take a checkpoint.
    for job in JOBS {
        let sql = copying_job(job).replace("'50 ms';", "'1 h';");
        server.feed(&format!("in/{job}"), "1.json", "{\"k\":\"a\",\"v\":1}\n");
        server.post("/api/v1/jobs", json!({ "name": job, "sql": sql })).expect(201);
    }
    for job in JOBS {
        server.wait_until("the row was read", || {
            let nodes = server.get(&format!("/api/v1/jobs/{job}/metrics")).json()["status"]["nodes"].clone();
            nodes
                .as_array()
                .is_some_and(|nodes| nodes.iter().any(|node| node["role"] == "sink" && node["rows_in"] == 1))
        });
        assert_eq!(server.lines(&format!("out/{job}")), Vec::<String>::new(), "not visible before a checkpoint");
    }
    assert_eq!(server.terminate(), 0);
    for job in JOBS {
        assert_eq!(server.lines(&format!("out/{job}")), ["a,1"], "{job}");
    }
    server.go();
    for job in JOBS {
        server.wait_for_phase(job, "running");
    }
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let server = Server::start(&[]);
    let output = server.command().output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("is in use: another server runs with this --data-dir"), "{text}");
}
