//! `tidemill top`, as text and at a terminal; what it is made of; and the commands that change jobs.

use std::process::Command;

use serde_json::{Value, json};

use super::client::tidemill;
use super::kit::{Server, copying_job, posted_job};
use crate::repl::terminal::{ENTER, Terminal};

/// A fast source with windows over its time.
const FLOOD: &str = "SET 'execution.checkpointing.interval' = '200 ms';
CREATE TABLE g (a INT, at TIMESTAMP(3), WATERMARK FOR at AS at)
  WITH ('connector' = 'datagen', 'rows-per-second' = '20000', 'fields.a.max' = '50');
CREATE TABLE b (a INT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO b SELECT a, COUNT(*) FROM TABLE(TUMBLE(TABLE g, DESCRIPTOR(at), INTERVAL '1' SECOND))
  GROUP BY window_start, window_end, a;";

fn start(server: &Server, name: &str, sql: &str) {
    server.post("/api/v1/jobs", json!({ "name": name, "sql": sql, "parallelism": 1 })).expect(201);
    server.wait_for_phase(name, "running");
}

fn nodes(server: &Server, job: &str) -> Vec<Value> {
    let metrics = server.get(&format!("/api/v1/jobs/{job}/metrics")).expect(200);
    metrics["status"]["nodes"].as_array().cloned().unwrap_or_default()
}

#[test]
fn every_operator_says_how_fast_it_is_and_where_its_time_goes() {
    let server = Server::start(&[]);
    start(&server, "flood", FLOOD);
    start(&server, "idle", &posted_job("1 h"));
    let source = |job: &str| nodes(&server, job).into_iter().find(|node| node["role"] == "source").expect("a source");
    server.wait_until("the source runs at its rate", || {
        let rate = source("flood")["rows_out_per_second"].as_f64().unwrap();
        (5_000.0..40_000.0).contains(&rate)
    });
    server.wait_until("a job without rows is idle", || source("idle")["idle_ms_per_second"].as_u64() > Some(900));
    for node in nodes(&server, "flood") {
        let share = |key: &str| node[key].as_u64().unwrap();
        let all = share("busy_ms_per_second") + share("idle_ms_per_second") + share("back_pressured_ms_per_second");
        assert!((998..=1_002).contains(&all), "{node}");
        assert!(node["stage"].is_string() && node["instances"] == 1, "{node}");
    }
    let page = server.get("/metrics").text;
    for name in ["busy", "idle", "back_pressured"] {
        let sample = format!("tidemill_{name}_seconds_total{{job=\"flood\",operator=\"Source(g)\"");
        assert!(page.contains(&sample), "{sample}: {page}");
    }
    let list = server.get("/api/v1/jobs?figures=true").expect(200);
    let flood = list["jobs"].as_array().unwrap().iter().find(|job| job["name"] == "flood").unwrap().clone();
    assert!(flood["figures"]["rows_in_per_second"].as_f64() > Some(1_000.0) && flood["sql"].is_null(), "{flood}");
    server.get("/api/v1/jobs?figurs=true").problem(400);
}

#[test]
fn a_source_whose_reader_does_not_keep_up_is_back_pressured() {
    let server = Server::start(&[]);
    // Every row pairs with all rows of the other side, so the join is what takes the time.
    let slow = "SET 'execution.checkpointing.interval' = '1 h';
CREATE TABLE l (k INT, v INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000', 'fields.k.max' = '3', 'fields.k.min' = '0');
CREATE TABLE r (k INT, v INT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', 'fields.k.max' = '3', 'fields.k.min' = '0');
CREATE TABLE b (n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO b SELECT COUNT(*) FROM l JOIN r ON l.k = r.k WHERE l.v + r.v > 7;";
    start(&server, "slow", slow);
    server.wait_until("the source waits for the join, and the join works", || {
        let of = |name: &str, key: &str| {
            let found =
                nodes(&server, "slow").into_iter().find(|node| node["name"].as_str().unwrap().starts_with(name));
            found.and_then(|node| node[key].as_u64()).unwrap_or(0)
        };
        of("Source(l)", "back_pressured_ms_per_second") > 300 && of("Join", "busy_ms_per_second") > 500
    });
}

#[test]
fn a_picture_is_printed_once_where_there_is_no_terminal() {
    let server = Server::start(&[]);
    let (code, told) = tidemill(&server, &["top"], None);
    assert_eq!((code, told.lines().nth(1)), (Some(0), Some("there are no jobs")), "{told}");
    start(&server, "flood", FLOOD);
    server.post("/api/v1/jobs", json!({ "name": "at-rest", "sql": copying_job("a"), "start": false })).expect(201);
    server.wait_until("it has a checkpoint", || server.get("/api/v1/jobs/flood").json()["epoch"].as_u64() > Some(0));
    server
        .wait_until("a window has come out", || nodes(&server, "flood").iter().any(|node| node["latency"].is_object()));
    let (code, told) = tidemill(&server, &["top", "--once", "--sort", "phase"], None);
    assert_eq!(code, Some(0), "{told}");
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("NAME ") && lines[0].contains("BACKLOG") && lines.len() == 3, "{told}");
    assert!(lines[1].starts_with("flood    running") && lines[2].starts_with("at-rest  stopped"), "{told}");
    let (_, told) = tidemill(&server, &["top", "flood"], None);
    assert!(told.starts_with("flood is running, up ") && told.contains("checkpoint "), "{told}");
    assert!(told.lines().any(|line| line.starts_with("Source(g) ") && line.ends_with('s')), "{told}");
    assert!(told.contains("latency at Sink(b): p50 ") && told.contains("time is held back by "), "{told}");
    let (code, told) = tidemill(&server, &["top", "floof"], None);
    assert!(code == Some(2) && told.contains("did you mean 'flood'?"), "{told}");
    let (code, told) = tidemill(&server, &["top", "--interval", "0"], None);
    assert!(code == Some(2) && told.contains("write a number from 0.1"), "{told}");
}

#[test]
fn the_screen_shows_jobs_and_operators_and_goes_by_its_keys() {
    let mut server = Server::start(&[]);
    start(&server, "flood", FLOOD);
    start(&server, "other", &posted_job("1 h"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["top", "--interval", "0.2", "--server", &server.url]).env("TERM", "xterm-256color");
    let mut terminal = Terminal::running(command);
    terminal.wait_for("2 jobs, 2 running, 0 failed");
    assert!(terminal.is_full_screen());
    terminal.resize(24, 80);
    let shown =
        terminal.wait("the rates", |text| text.contains("flood ") && text.contains("k ") && text.lines().count() == 24);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    terminal.type_("s");
    terminal.wait_for("s sort (by phase)");
    terminal.type_("?");
    terminal.wait_for("share of its time that the busiest task works");
    terminal.type_(" ");
    terminal.wait("the list again", |text| !text.contains("share of its time"));
    terminal.type_(ENTER);
    let shown = terminal.wait_for("latency at");
    assert!(
        shown.contains("flood is running") && shown.contains("Source(g)") && shown.contains("latency at"),
        "{shown}"
    );
    terminal.type_("q");
    terminal.wait_for("NAME ");
    terminal.type_("\x1b[B\r");
    terminal.wait_for("other is running");
    terminal.type_("q");
    terminal.wait_for("NAME ");
    // A server that is gone leaves what was known, and says so.
    server.kill();
    let shown = terminal.wait_for("error: no answer of");
    assert!(shown.contains("flood "), "{shown}");
    server.go();
    terminal.type_("q");
    assert_eq!(terminal.end().code(), Some(0));
}

#[test]
fn jobs_are_saved_rescaled_restarted_resumed_cancelled_and_deleted_from_the_command_line() {
    let server = Server::start(&[]);
    server.feed("in/a", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    start(&server, "c", &copying_job("a"));
    server.wait_until("the row is there", || server.lines("out/a") == ["a,1"]);
    let run = |args: &[&str]| tidemill(&server, args, None);
    let (code, told) = run(&["savepoint", "c", "--name", "one"]);
    assert!(code == Some(0) && told.starts_with("one  /"), "{told}");
    assert!(run(&["savepoint", "c"]).1.starts_with("savepoint-1  "));
    let (_, told) = run(&["savepoint", "c", "--list"]);
    let names: Vec<&str> = told.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["one", "savepoint-1"], "{told}");
    assert_eq!(run(&["savepoint", "c", "--delete", "savepoint-1"]), (Some(0), "savepoint-1 is deleted\n".into()));
    for (args, expected) in [
        (&["rescale", "c", "-p", "2"][..], "c is "),
        (&["restart", "c"], "c is "),
        (&["savepoint", "c", "--stop", "--name", "end"], "end  c is stopped\n"),
        (&["resume", "c", "--from", "one"], "c is "),
    ] {
        if args[0] != "resume" {
            server.wait_for_phase("c", "running");
        }
        let (code, told) = run(args);
        assert!(code == Some(0) && told.starts_with(expected), "{args:?}: {told}");
    }
    assert_eq!(server.get("/api/v1/jobs/c").json()["parallelism"], 2);
    server.wait_for_phase("c", "running");
    for (args, expected) in [
        (&["delete", "c"][..], "deleted: stop or cancel it first"),
        (&["resume", "c"], "the job is running: it cannot be started"),
        (&["savepoint", "c", "--delete", "on"], "did you mean 'one'?"),
        (&["savepoint", "data", "--list"], "'data' is a folder"),
        (&["savepoint", "c", "--list", "--name", "x"], "cannot be used with"),
        (&["rescale", "c"], "--parallelism"),
        (&["cancel", "d"], "there is no job 'd'"),
    ] {
        let (code, told) = run(args);
        assert!(code == Some(2) && told.contains(expected), "{args:?}: {told}");
    }
    assert_eq!(run(&["cancel", "c"]), (Some(0), "c is stopped\n".into()));
    assert!(run(&["resume", "c", "--fresh"]).1.starts_with("c is "));
    assert_eq!(run(&["delete", "c", "--force"]), (Some(0), "c is deleted\n".into()));
    assert_eq!(server.get("/api/v1/jobs").json()["jobs"], json!([]));
}
