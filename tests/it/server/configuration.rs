//! Options of the server, its metrics and its log.

use std::process::Command;

use serde_json::{Value, json};

use super::kit::{Server, copying_job};

fn config(folder: &std::path::Path, args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.arg("config").args(args).current_dir(folder).envs(environment.iter().copied());
    let output = command.output().expect("the program starts");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn values_come_from_the_file_the_environment_and_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("s.toml"),
        "listen = \"127.0.0.1:1\"\nallow-host = [\"a\", \"b\"]\njobs-max = 5\n",
    )
    .unwrap();
    let args = ["--config", "s.toml", "--jobs-max", "7"];
    let (code, told) = config(folder.path(), &args, &[("TIDEMILL_LISTEN", "127.0.0.1:2"), ("TIDEMILL_JOBS_MAX", "6")]);
    assert_eq!(code, Some(0), "{told}");
    let line = |key: &str| {
        told.lines().find(|line| line.starts_with(key)).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("listen"), "listen = \"127.0.0.1:2\" # TIDEMILL_LISTEN");
    assert_eq!(line("allow-host"), "allow-host = \"a,b\" # s.toml");
    assert_eq!(line("jobs-max"), "jobs-max = \"7\" # command line");
    assert_eq!(line("stop-timeout"), "stop-timeout = \"60 s\" # default");
    std::fs::write(folder.path().join("s.toml"), "lisen = \"x\"").unwrap();
    let (code, told) = config(folder.path(), &["--config", "s.toml"], &[]);
    assert_eq!(code, Some(2));
    assert!(told.contains("there is no option 'lisen' (did you mean 'listen'?)"), "{told}");
}

#[test]
fn figures_of_every_job_are_there_for_prometheus() {
    let server = Server::start(&[]);
    server.feed("in/a", "1.json", "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":1}\n");
    server.post("/api/v1/jobs", json!({ "name": "a", "sql": copying_job("a") })).expect(201);
    server.wait_until("the rows are there", || server.lines("out/a").len() == 2);
    server.wait_until("their checkpoint is counted", || {
        server.get("/metrics").text.contains("tidemill_state_size_bytes")
    });
    let page = server.get("/metrics");
    assert_eq!(page.content_type, "text/plain; version=0.0.4; charset=utf-8");
    let value = |start: &str, with: &str| -> f64 {
        let line = page.text.lines().find(|line| line.starts_with(start) && line.contains(with));
        let line = line.unwrap_or_else(|| panic!("no {start} with {with}:\n{}", page.text));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("tidemill_records_in_total{job=\"a\"", "role=\"source\""), 2.0);
    assert_eq!(value("tidemill_job_phase{job=\"a\",phase=\"running\"}", ""), 1.0);
    assert_eq!(value("tidemill_job_phase{job=\"a\",phase=\"failed\"}", ""), 0.0);
    assert!(value("tidemill_checkpoints_total{job=\"a\"}", "") >= 1.0);
    assert!(value("tidemill_state_size_bytes{job=\"a\"}", "") > 0.0);
    assert!(value("tidemill_checkpoint_duration_seconds{job=\"a\"}", "") > 0.0);
    assert!(value("tidemill_http_requests_total{result=\"ok\"}", "") > 0.0);
    // Each name is described once, in front of its samples.
    let mut described = Vec::new();
    for line in page.text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => described.push(rest.split(' ').next().unwrap().to_string()),
            None if line.starts_with('#') => {}
            None => assert!(line.starts_with(described.last().unwrap().as_str()), "{line}"),
        }
    }
    let mut unique = described.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), described.len());
}

#[test]
fn the_log_is_json_where_asked_and_each_line_is_an_object() {
    let mut server = Server::start(&["--log-format", "json"]);
    server.get("/api/v1/jobs").expect(200);
    assert_eq!(server.terminate(), 0);
    let log = server.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let request = lines.iter().find(|line| line["message"] == "request" && line["path"] == "/api/v1/jobs");
    assert_eq!(request.expect("the request is logged")["status"], 200, "{log}");
    assert!(lines.iter().all(|line| line["time_ms"].is_u64() && line["level"].is_string()), "{log}");
}

#[test]
fn budgets_and_numbers_of_jobs_have_limits() {
    let server = Server::start(&["--jobs-running-max", "2", "--jobs-memory-max", "100MB", "--jobs-max", "3"]);
    let make = |name: &str, budget: &str| {
        let settings = json!({ "tidemill.memory.budget": budget });
        server.post("/api/v1/jobs", json!({ "name": name, "sql": copying_job(name), "settings": settings }))
    };
    make("a", "60MB").expect(201);
    assert!(make("b", "60MB").problem(503).contains("memory budget"), "more than is left");
    make("b", "40MB").expect(201);
    assert!(make("c", "0MB").status != 201);
    server.post("/api/v1/jobs/a/stop", json!({})).expect(200);
    make("c", "1MB").expect(201);
    assert!(make("d", "1MB").problem(503).contains("there are 3 jobs already"));
    let again = server.post("/api/v1/jobs/a/start", json!({}));
    assert!(again.problem(503).contains("2 jobs run already"), "{}", again.text);
}
