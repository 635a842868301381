//! The `http` connector against a real server: answers, failures, caches, and kills.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::web_server::{Reply, WebServer};
use super::{failure, job, orders};
use crate::ports;
use crate::process::{Workspace, wait_or_kill};

const NO_RESTART: &str = "SET 'restart-strategy.type' = 'none';";
const QUERY: &str =
    "SELECT o.id, u.name FROM orders AS o LEFT JOIN users FOR SYSTEM_TIME AS OF o.pt AS u ON o.user_id = u.id";

fn users(server: &WebServer, path: &str, more: &str) -> String {
    let url = server.url(path);
    format!(
        "CREATE TABLE users (id INT, region STRING, name STRING, score DECIMAL(10, 2))
         WITH ('connector' = 'http', 'url' = '{url}'{more});"
    )
}

fn user(path: &str) -> Reply {
    let id = path.rsplit('/').next().unwrap_or_default();
    Reply::json(format!("{{\"name\": \"user {id}\", \"score\": {id}.5}}"))
}

fn simple_job(server: &WebServer, settings: &str, more: &str) -> Workspace {
    let table = users(server, "/users/{id}", more);
    let workspace = Workspace::new(&job(settings, &table, "id INT, name STRING", QUERY));
    orders(&workspace, 60, 20);
    workspace
}

fn expected(count: usize, users: usize, missing: impl Fn(usize) -> bool) -> Vec<String> {
    let name = |user: usize| if missing(user) { String::new() } else { format!("user {user}") };
    let mut lines: Vec<String> = (0..count)
        .map(|id| if missing(id % users) { format!("{id},") } else { format!("{id},{}", name(id % users)) })
        .collect();
    lines.sort();
    lines
}

#[test]
fn objects_arrays_and_nothing_are_rows() {
    let server = WebServer::start(|path, _| {
        let (place, id) = path.trim_start_matches("/r/").split_once("/u?id=").expect("the URL of the table");
        assert!(["e%20u%2F0", "e%20u%2F1"].contains(&place), "{path}");
        match id {
            "1" => Reply::status(404, "no such user"),
            "2" => Reply::json(r#"{"data": {"items": []}}"#),
            "3" => Reply::json(r#"{"data": {"items": [{"name": "a", "score": 1}, {"name": null, "score": 2.25}]}}"#),
            id => Reply::json(format!(r#"{{"data": {{"items": {{"id": 99, "name": "user {id}"}}}}}}"#)),
        }
    });
    let more = ", 'http.result-path' = 'data.items', 'http.headers.X-Key' = 's3cret'";
    let table = users(&server, "/r/{region}/u?id={id}", more);
    let query = "SELECT o.id, u.id, u.region, u.name, u.score FROM orders AS o
        JOIN users FOR SYSTEM_TIME AS OF o.pt AS u ON o.user_id = u.id AND u.region = o.region";
    let out = "id INT, user_id INT, region STRING, name STRING, score DECIMAL(10, 2)";
    let workspace = Workspace::new(&job("", &table, out, query));
    orders(&workspace, 5, 5);
    workspace.run_to_end(&[]);
    // What the key says goes before what the server says.
    let lines = ["0,0,e u/0,user 0,", "3,3,e u/1,,2.25", "3,3,e u/1,a,1.00", "4,4,e u/0,user 4,"];
    assert_eq!(workspace.visible_lines("out"), lines);
    assert!(server.asked(|asked| asked.headers.iter().any(|header| header.eq_ignore_ascii_case("x-key: s3cret"))));
}

#[test]
fn failures_that_pass_are_tried_again() {
    let server = WebServer::start(|path, before| match (path.len() % 2, before) {
        (0, 0) => Reply::status(500, "not now"),
        (1, 0) => Reply::status(429, "slowly"),
        (_, 1) => Reply::status(503, "not yet"),
        _ => user(path),
    });
    let workspace = simple_job(&server, NO_RESTART, ", 'lookup.cache' = 'PARTIAL'");
    workspace.run_to_end(&["-p", "1"]);
    assert_eq!(workspace.visible_lines("out"), expected(60, 20, |_| false));
    assert_eq!(server.requests(), 3 * 20, "every user was asked for three times, and then remembered");
}

#[test]
fn slow_answers_are_waited_for_together() {
    let pause = Duration::from_millis(100);
    for order in ["ORDERED", "ALLOW_UNORDERED"] {
        let server = WebServer::start(move |path, _| user(path).after(pause));
        let order = format!("SET 'table.exec.async-lookup.output-mode' = '{order}';");
        let workspace = simple_job(&server, &order, ", 'lookup.cache' = 'PARTIAL'");
        workspace.run_to_end(&["-p", "1"]);
        assert_eq!(workspace.visible_lines("out"), expected(60, 20, |_| false));
        assert_eq!(server.requests(), 20);
        assert!(server.asked(|asked| asked.at_once) > 10, "many requests are under way at the same time");
    }
    let server = WebServer::start(|path, _| user(path));
    let workspace = simple_job(&server, "", ", 'lookup.async' = 'false'");
    workspace.run_to_end(&["-p", "1"]);
    assert_eq!(server.asked(|asked| asked.at_once), 1);
    assert_eq!(workspace.visible_lines("out"), expected(60, 20, |_| false));
}

#[test]
fn what_will_not_pass_fails_the_job_with_its_place() {
    let refuse = WebServer::start(|_, _| Reply::status(400, "bad id"));
    let said = failure(&simple_job(&refuse, "", ", 'http.headers.Authorization' = 'Bearer s3cret'"));
    assert!(said.contains("lookup in table `users` (id = "), "{said}");
    assert!(said.contains(&format!("GET {}", refuse.url("/users/"))) && said.contains("status 400: bad id"), "{said}");
    assert!(!said.contains("s3cret") && refuse.requests() <= 20, "{said}");

    let garbled = WebServer::start(|_, _| Reply::json("<html>"));
    let said = failure(&simple_job(&garbled, "", ""));
    assert!(said.contains("the answer is not JSON") && said.contains("<html>"), "{said}");
}

#[test]
fn servers_that_stay_away_fail_the_job_after_some_tries() {
    let closed = format!("127.0.0.1:{}", ports::free());
    let server = WebServer::start(|path, _| user(path));
    let workspace = simple_job(&server, NO_RESTART, ", 'lookup.max-retries' = '1'");
    let script = std::fs::read_to_string(workspace.path("job.sql")).expect("the script");
    workspace.write("job.sql", &script.replace(&server.address.to_string(), &closed));
    let said = failure(&workspace);
    assert!(said.contains("onnection") && said.contains("it was tried once more"), "{said}");

    let slow = WebServer::start(|path, _| user(path).after(Duration::from_secs(20)));
    let more = ", 'lookup.max-retries' = '0', 'http.request.timeout' = '200 ms'";
    let began = Instant::now();
    let said = failure(&simple_job(&slow, NO_RESTART, more));
    assert!(said.contains("timeout"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(15), "nobody waits for a server that was given up");
}

#[test]
fn a_failed_lookup_restarts_the_job_from_its_checkpoint() {
    // The first tries of some users fail so often that the job does.
    let server = WebServer::start(|path, before| match path.ends_with('7') && before < 3 {
        true => Reply::status(500, "not now"),
        false => user(path),
    });
    let workspace = simple_job(&server, "", ", 'lookup.max-retries' = '1'");
    workspace.run_to_end(&["-p", "1"]);
    assert_eq!(workspace.visible_lines("out"), expected(60, 20, |_| false));
}

#[test]
fn kills_during_lookups_lose_and_double_nothing() {
    const ORDERS: usize = 4_000;
    const USERS: usize = 500;
    let server = WebServer::start(|path, before| match path.ends_with("13") {
        true => Reply::status(404, ""),
        false if before == 0 && path.ends_with('7') => Reply::status(500, ""),
        false => user(path).after(Duration::from_millis(5)),
    });
    for order in ["ORDERED", "ALLOW_UNORDERED"] {
        let settings = format!(
            "SET 'execution.checkpointing.interval' = '30 ms'; SET 'tidemill.batch-rows' = '100';
             SET 'table.exec.async-lookup.buffer-capacity' = '20';
             SET 'table.exec.async-lookup.output-mode' = '{order}';"
        );
        let table = users(&server, "/users/{id}", "");
        let workspace = Workspace::new(&job(&settings, &table, "id INT, name STRING", QUERY));
        orders(&workspace, ORDERS, USERS);
        let expected = expected(ORDERS, USERS, |user| user % 100 == 13);
        let mut kills = 0;
        for round in 0.. {
            let parallelism = if round % 2 == 0 { "1" } else { "2" };
            let mut child =
                workspace.run_command(&["-p", parallelism]).stdout(Stdio::null()).spawn().expect("the program starts");
            let patience = Duration::from_millis(if round < 8 { 150 + 70 * round } else { 100_000 });
            match wait_or_kill(&mut child, patience) {
                Some(status) => {
                    assert!(status.success(), "{status} after {kills} kills");
                    break;
                }
                None => kills += 1,
            }
        }
        assert!(kills > 1, "the program ends before it can be killed");
        assert!(workspace.visible_lines("out") == expected, "after {kills} kills, {order}");
    }
}
