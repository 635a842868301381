//! The example client in Python, against a real server.

use std::process::Command;

use super::kit::{Server, copying_job};

const SCRIPT: &str = r#"
import sys
from tidemill import Problem, Server

server = Server()
sql = open(sys.argv[1]).read()
assert server.submit("copies", sql, parallelism=1)["name"] == "copies"
server.wait("copies", "running")
assert [job["name"] for job in server.jobs()] == ["copies"]
for name, text, expected in [("copies", sql, "exists"), ("wrong", "SELECT x FROM nowhere", "wrong-sql")]:
    try:
        server.submit(name, text)
        sys.exit("it was taken")
    except Problem as problem:
        assert problem.type == expected, problem
assert server.stop("copies", savepoint="end")["phase"] == "stopped"
server.start("copies")
server.wait("copies", "running")
assert any(entry["text"] == "running" for entry in server.logs("copies"))
server.stop("copies")
server.delete("copies")
assert server.jobs() == []
"#;

#[test]
fn the_client_in_python_does_what_it_says() {
    let server = Server::start(&[]);
    std::fs::write(server.path("copies.sql"), copying_job("a")).unwrap();
    let folder = format!("{}/examples/python-client", env!("CARGO_MANIFEST_DIR"));
    let python = |args: &[&str]| {
        let mut command = Command::new("python3");
        command.args(args).current_dir(server.path("")).env("PYTHONPATH", &folder).env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command.env("TIDEMILL_SERVER", &server.url).output().expect("python3 starts");
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (done, told) = python(&["-c", SCRIPT, "copies.sql"]);
    assert!(done, "{told}");
    let program = format!("{folder}/tidemill.py");
    let (done, told) = python(&[&program, "answer", &format!("{folder}/answer.sql")]);
    assert!(done && told.contains("42") && told.contains("finished: all input was read"), "{told}");
    let (done, told) = python(&[&program, "answer", &format!("{folder}/answer.sql")]);
    assert!(!done && told.contains("error: there is already a job 'answer'"), "{told}");
}
