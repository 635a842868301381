//! What survives when the server is killed, and when it is asked to end.

use std::fmt::Write;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::kit::{Server, copying_job};

const JOBS: [&str; 3] = ["a", "b", "c"];
const ROUNDS: usize = 6;
const ROWS_PER_FILE: usize = 400;

/// What has been fed to one job, and so what it must have written.
#[derive(Default)]
struct Fed {
    rows: Vec<String>,
    totals: std::collections::BTreeMap<String, (u64, i64)>,
}

impl Fed {
    fn feed(&mut self, server: &Server, job: &str, round: usize, rng: &mut ChaCha8Rng) {
        let mut lines = String::new();
        for row in 0..ROWS_PER_FILE {
            let (key, value) =
                (format!("k{}", rng.random_range(0..5)), i64::try_from(round * ROWS_PER_FILE + row).unwrap());
            let _ = writeln!(lines, "{{\"k\":\"{key}\",\"v\":{value}}}");
            self.rows.push(format!("{key},{value}"));
            let total = self.totals.entry(key).or_default();
            *total = (total.0 + 1, total.1 + value);
        }
        server.feed(&format!("in/{job}"), &format!("{round:03}.json"), &lines);
    }

    fn totals(&self) -> Vec<String> {
        self.totals.iter().map(|(key, (count, total))| format!("{key},{count},{total}")).collect()
    }
}

#[test]
fn every_job_goes_on_exactly_once_after_the_server_was_killed() {
    let mut server = Server::start(&[]);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut fed: Vec<Fed> = JOBS.iter().map(|_| Fed::default()).collect();
    for job in JOBS {
        server.feed(&format!("in/{job}"), "000.json", "");
        server.post("/api/v1/jobs", json!({ "name": job, "sql": copying_job(job), "parallelism": 2 })).expect(201);
    }
    server.post("/api/v1/jobs", json!({ "name": "idle", "sql": copying_job("idle"), "start": false })).expect(201);
    for round in 1..=ROUNDS {
        for (job, fed) in JOBS.iter().zip(&mut fed) {
            fed.feed(&server, job, round, &mut rng);
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(20..400)));
        server.kill();
        server.go();
    }
    for fed in &mut fed {
        fed.rows.sort();
    }
    for (job, fed) in JOBS.iter().zip(&fed) {
        server
            .wait_until(&format!("all rows of {job}"), || server.lines(&format!("out/{job}")).len() >= fed.rows.len());
        server.wait_until(&format!("all totals of {job}"), || server.lines(&format!("totals/{job}")) == fed.totals());
        // A row that was written twice would come out by now.
        server.post(&format!("/api/v1/jobs/{job}/stop"), json!({})).expect(200);
        assert_eq!(server.lines(&format!("out/{job}")), fed.rows, "{job}");
    }
    assert_eq!(server.phase("idle"), "stopped");

    // What was stopped stays so.
    server.kill();
    server.go();
    server.wait_until("it is ready", || server.get("/readyz").status == 200);
    for job in JOBS {
        assert_eq!(server.phase(job), "stopped");
    }
}

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
