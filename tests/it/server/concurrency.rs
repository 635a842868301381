//! Many requests at once, and requests beside slow ones.

use std::time::{Duration, Instant};

use serde_json::json;

use super::kit::{Server, copying_job};

#[test]
fn requests_at_the_same_time_find_one_winner() {
    let server = Server::start(&[]);
    let statuses = |count: usize, ask: &(dyn Fn(usize) -> u16 + Sync)| {
        let mut all: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|index| scope.spawn(move || ask(index))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        all.sort_unstable();
        all
    };
    // One name: one of them makes the job.
    let made = statuses(8, &|_| server.post("/api/v1/jobs", json!({ "name": "a", "sql": copying_job("a") })).status);
    assert_eq!((made[0], made.iter().filter(|status| **status == 409).count()), (201, 7), "{made:?}");
    server.wait_for_phase("a", "running");
    assert_eq!(std::fs::read_dir(server.path("data/jobs")).unwrap().count(), 1, "the others left nothing behind");

    let restarted = statuses(6, &|_| server.post("/api/v1/jobs/a/restart", json!({})).status);
    assert!(restarted.iter().all(|status| [200, 409].contains(status)) && restarted[0] == 200, "{restarted:?}");
    server.wait_for_phase("a", "running");

    let many = statuses(40, &|index| match index % 4 {
        0 => server.get("/api/v1/jobs").status,
        1 => server.get("/api/v1/jobs/a/metrics").status,
        2 => server.post("/api/v1/sql/validate", json!({ "sql": copying_job("a") })).status,
        _ => server.get("/metrics").status,
    });
    assert!(many.iter().all(|status| *status == 200), "{many:?}");
    let stopped = statuses(4, &|_| server.post("/api/v1/jobs/a/stop", json!({})).status);
    assert!(stopped.iter().all(|status| [200, 409].contains(status)), "{stopped:?}");
    server.wait_for_phase("a", "stopped");
}

/// Long texts make every batch take long, and a barrier waits behind those that are under way.
const SLOW_JOB: &str = "SET 'execution.checkpointing.interval' = '1 h';
CREATE TABLE s (id INT, t AS PROCTIME()) WITH ('connector' = 'datagen', 'rows-per-second' = '1000', 'fields.id.min' = '1', 'fields.id.max' = '9');
CREATE TABLE o (h STRING) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT LPAD(CAST(id AS STRING), 60000, 'x') || 'y' FROM s WHERE LENGTH(REGEXP_REPLACE(LPAD(CAST(id AS STRING), 60000, 'x'), 'x', 'yy')) > 5";

fn start_slow_job(server: &Server) {
    let settings = json!({ "tidemill.batch-rows": "400" });
    let body = json!({ "name": "slow", "sql": SLOW_JOB, "parallelism": 1, "settings": settings });
    server.post("/api/v1/jobs", body).expect(201);
    server.wait_for_phase("slow", "running");
    server.wait_until("rows are under way", || {
        let nodes = server.get("/api/v1/jobs/slow/metrics").json()["status"]["nodes"].clone();
        nodes.as_array().is_some_and(|nodes| nodes.iter().any(|node| node["rows_out"].as_u64() > Some(0)))
    });
}

/// It had stayed stopped for ever, though it was to run, and at its former parallelism.
#[test]
fn a_rescale_that_takes_longer_than_its_answer_is_done_behind_it() {
    let server = Server::start(&["--stop-timeout", "1 ms"]);
    start_slow_job(&server);
    let late = server.post("/api/v1/jobs/slow/rescale", json!({ "parallelism": 2 }));
    assert!(late.problem(504).contains("takes longer than this answer may"), "{}", late.text);
    assert_eq!(late.json()["type"], "urn:tidemill:problem:still-running");
    let job = server.get("/api/v1/jobs/slow").expect(200);
    assert_eq!((&job["desired"], &job["parallelism"]), (&json!("running"), &json!(2)), "{job}");
    let again = server.post("/api/v1/jobs/slow/restart", json!({}));
    assert!([409, 504].contains(&again.status), "{}", again.text);
    server.wait_until("it runs at the new parallelism", || {
        server.phase("slow") == "running"
            && server.get("/api/v1/jobs/slow/metrics").json()["status"]["parallelism"] == 2
    });
    let told = server.get("/api/v1/jobs/slow/logs").text;
    assert!(told.contains("it starts again when its final checkpoint is taken"), "{told}");

    // Who stops it meanwhile has the last word.
    let late = server.post("/api/v1/jobs/slow/restart", json!({}));
    assert_eq!(late.status, 504, "{}", late.text);
    server.post("/api/v1/jobs/slow/cancel", json!({})).expect(200);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(server.phase("slow"), "stopped");
}

#[test]
fn a_slow_savepoint_holds_nobody_up() {
    let server = Server::start(&[]);
    server.post("/api/v1/jobs", json!({ "name": "quick", "sql": copying_job("quick") })).expect(201);
    start_slow_job(&server);
    let job = server.get("/api/v1/jobs/slow").expect(200);
    let savepoints = server.path("data/jobs").join(job["id"].as_str().expect("a job has an id")).join("savepoints");
    std::thread::scope(|scope| {
        let saving = scope.spawn(|| {
            let started = Instant::now();
            (server.post("/api/v1/jobs/slow/savepoints", json!({})).status, started.elapsed())
        });
        // A job that is cancelled before it is asked for a savepoint refuses it.
        server.wait_until("the savepoint is under way", || savepoints.exists() || saving.is_finished());
        let mut slowest = Duration::ZERO;
        let mut during = 0;
        while !saving.is_finished() && during < 200 {
            let started = Instant::now();
            assert_eq!(server.get("/api/v1/jobs/quick").status, 200);
            assert_eq!(server.get("/livez").status, 200);
            if during == 3 {
                server.post("/api/v1/jobs/slow/cancel", json!({})).expect(200);
            }
            slowest = slowest.max(started.elapsed());
            during += 1;
        }
        let (status, took) = saving.join().expect("no panic");
        assert!([201, 500].contains(&status), "{status}");
        assert!(during >= 4, "the savepoint took only {took:?}, {during} requests");
        assert!(slowest < Duration::from_secs(25), "{slowest:?}");
    });
    server.wait_for_phase("slow", "stopped");
    assert_eq!(server.phase("quick"), "running");
}
