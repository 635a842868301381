//! The commands that talk to a server.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;

use super::kit::{Server, copying_job};

/// Exit code, and all that was printed.
pub fn tidemill(server: &Server, args: &[&str], token: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(args).current_dir(server.path("")).env("TIDEMILL_SERVER", &server.url);
    command.envs(token.map(|token| ("TIDEMILL_TOKEN", token)));
    let output = command.output().expect("the program starts");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn a_script_is_submitted_listed_looked_at_and_stopped() {
    let server = Server::start(&[]);
    std::fs::write(server.path("copies.sql"), copying_job("a")).unwrap();
    server.feed("in/a", "1.json", "{\"k\":\"a\",\"v\":1}\n");
    let (code, told) = tidemill(&server, &["submit", "copies.sql", "-p", "1", "--set", "pipeline.name=x"], None);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with("copies "), "{told}");
    server.wait_until("the row is there", || server.lines("out/a") == ["a,1"]);
    let (_, told) = tidemill(&server, &["jobs"], None);
    let line = told.lines().nth(1).unwrap();
    assert!(line.starts_with("copies  running"), "{told}");
    let (_, told) = tidemill(&server, &["logs", "copies"], None);
    assert!(told.contains("state  running"), "{told}");
    assert_eq!(
        tidemill(&server, &["stop", "copies", "--savepoint", "end"], None),
        (Some(0), "copies is stopped\n".into())
    );
    let again = ["submit", "copies.sql", "--name", "more", "--from", "copies/end"];
    assert_eq!(tidemill(&server, &again, None).0, Some(0));
    server.wait_for_phase("more", "running");
    let (code, told) = tidemill(&server, &["submit", "copies.sql", "--if-missing"], None);
    assert!(code == Some(0) && told.starts_with("there is already a job 'copies'"), "{told}");

    std::fs::write(
        server.path("wrong.sql"),
        "CREATE TABLE t (a INT) WITH ('connector' = 'datagen');\nSELECT b FROM t;",
    )
    .unwrap();
    for (args, expected) in [
        (vec!["submit", "wrong.sql"], " --> sql:2:8"),
        (vec!["submit", "missing.sql"], "cannot read missing.sql"),
        (vec!["submit", "copies.sql"], "there is already a job 'copies'"),
        (vec!["submit", "wrong.sql", "--if-missing"], " --> sql:2:8"),
        (vec!["stop", "copeis"], "there is no job 'copeis'\nhint: did you mean 'copies'?"),
        (vec!["logs", "../x"], "'../x' is no name of a job"),
    ] {
        let (code, told) = tidemill(&server, &args, None);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(expected), "{told}");
    }
    let (code, told) = tidemill(&server, &["jobs", "--server", "http://127.0.0.1:1"], None);
    assert_eq!(code, Some(1));
    assert!(told.contains("is the server running?"), "{told}");
}

#[test]
fn a_log_is_followed() {
    let server = Server::start(&[]);
    server.post("/api/v1/jobs", json!({ "name": "copies", "sql": copying_job("a") })).expect(201);
    server.wait_for_phase("copies", "running");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["logs", "copies", "--follow", "--server", &server.url]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let found = |line: &String, text: &str| line.contains(&format!("state  {text}"));
    assert!(lines.any(|line| found(&line, "running")), "what was there comes first");
    server.post("/api/v1/jobs/copies/stop", json!({})).expect(200);
    assert!(lines.any(|line| found(&line, "stopped")), "and then what comes");
    child.kill().and_then(|()| child.wait()).expect("killed");
}

#[test]
fn the_token_and_the_certificate_are_taken_along() {
    let mut server =
        Server::prepare(&["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--tokens-file", "tokens"], &[]);
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
    std::fs::write(server.path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(server.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (code, token) =
        tidemill(&server, &["token", "new", "--role", "read", "--name", "me", "--file", "tokens"], None);
    assert_eq!(code, Some(0), "{token}");
    server.go();
    let with_ca = ["jobs", "--ca-cert", "cert.pem"];
    assert_eq!(tidemill(&server, &with_ca, Some(&token)).0, Some(0));
    let (code, told) = tidemill(&server, &with_ca, None);
    assert_eq!(code, Some(2));
    assert!(told.contains("a token is needed"), "{told}");
    assert_eq!(tidemill(&server, &["jobs"], Some(&token)).0, Some(1), "the certificate is not a public one");
}
