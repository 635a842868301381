//! A server whose jobs have nothing to do sleeps, and a row wakes the job that it is for.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::kit::Server;

const JOBS: usize = 12;
const WATCHED: Duration = Duration::from_secs(4);
/// A task that looks around every 50 ms wakes 20 times a second, and each of these jobs has five threads.
const WAKES_PER_JOB_AND_SECOND_MAX: f64 = 10.0;

/// Windows over rows that are posted or stand in files, on the clock of the rows or of the machine; results go nowhere, or into files.
fn job(number: usize) -> String {
    let source = match number % 3 {
        0 => "'connector' = 'http', 'format' = 'json'",
        1 => "'connector' = 'filesystem', 'path' = 'in', 'format' = 'json', 'source.monitor-interval' = '10 s'",
        _ => "'connector' = 'datagen', 'rows-per-second' = '1'",
    };
    let sink = match number % 2 {
        0 => "'connector' = 'blackhole'",
        _ => &format!("'connector' = 'filesystem', 'path' = 'out/{number}', 'format' = 'csv'"),
    };
    let time = if number % 4 < 2 { "ts" } else { "arrived" };
    format!(
        "SET 'execution.checkpointing.interval' = '10 min';
SET 'parallelism.default' = '2';
CREATE TABLE events_{number} (k INT, ts TIMESTAMP(3), arrived AS PROCTIME(), WATERMARK FOR ts AS ts) WITH ({source});
CREATE TABLE counts (k INT, n BIGINT) WITH ({sink});
INSERT INTO counts
  SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE events_{number}, DESCRIPTOR({time}), INTERVAL '1' HOUR)) GROUP BY k, window_start, window_end;"
    )
}

/// How often threads that ran out of work have gone to sleep, by their names.
fn wakes(pid: u32) -> BTreeMap<String, u64> {
    let mut wakes = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("a process of Linux").flatten() {
        // A thread may have ended meanwhile.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let field = |name: &str| {
            let lines = status.lines().filter_map(|line| line.strip_prefix(name));
            lines.map(|value| value.trim_start_matches(':').trim().to_string()).next().expect("a field")
        };
        let count: u64 = field("voluntary_ctxt_switches").parse().expect("a number");
        *wakes.entry(field("Name")).or_default() += count;
    }
    wakes
}

#[cfg(target_os = "linux")]
#[test]
fn jobs_without_rows_sleep_and_wake_for_one() {
    let server = Server::start(&[]);
    server.feed("in", "one.json", "{\"k\":1,\"ts\":\"2025-01-01 00:00:00\"}\n");
    for number in 0..JOBS {
        server.post("/api/v1/jobs", json!({ "name": format!("job{number}"), "sql": job(number) })).expect(201);
        server.wait_for_phase(&format!("job{number}"), "running");
    }
    std::thread::sleep(Duration::from_secs(2));
    let before = wakes(server.pid());
    std::thread::sleep(WATCHED);
    let after = wakes(server.pid());
    let most = (JOBS as f64 * WATCHED.as_secs_f64() * WAKES_PER_JOB_AND_SECOND_MAX) as u64;
    let sum = |wakes: &BTreeMap<String, u64>| wakes.values().sum::<u64>();
    assert!(sum(&after) - sum(&before) <= most, "more than {most} wakes in {WATCHED:?}: {before:?}, then {after:?}");

    let read = || {
        let metrics = server.get("/metrics").text;
        let mut lines = metrics.lines().filter(|line| line.starts_with("tidemill_records_in_total{job=\"job0\""));
        let line = lines.find(|line| line.contains("role=\"source\"")).unwrap_or_else(|| panic!("{metrics}"));
        line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a number")
    };
    assert_eq!(read(), 0);
    let posted = Instant::now();
    server.post("/api/v1/tables/events_0/rows", json!([{ "k": 1, "ts": "2025-01-01 00:00:00" }])).expect(200);
    server.wait_until("the row is read", || read() == 1);
    assert!(posted.elapsed() < Duration::from_secs(30), "nobody looks before a minute is over");
}
