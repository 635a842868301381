//! `tidemill start` and `tidemill health`, as an image uses them: one job or the server, by the environment alone.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::ports;
use crate::process::{Workspace, wait};

const ENDLESS: &str = "
SET 'execution.checkpointing.interval' = '50 ms';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000');
CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO copies SELECT n FROM numbers;
";

const OTHER_JOB: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');
SELECT n FROM numbers";

fn command(workspace: &Workspace, args: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = workspace.command(args);
    command.env("TIDEMILL_DATA_DIR", "data").env("TIDEMILL_LISTEN", "127.0.0.1:0");
    command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// SIGTERM, as whoever stops a container sends it first.
fn terminate(child: &std::process::Child) {
    let id = i32::try_from(child.id()).expect("a process id");
    // SAFETY: the process is our child and has not been waited for, so the id is its own.
    assert_eq!(unsafe { libc::kill(id, libc::SIGTERM) }, 0);
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_job_of_the_environment_ends_with_its_own_exit_code() {
    let workspace = Workspace::new("SELECT 40 + 2 AS answer;");
    for (environment, code, expected) in [
        (vec![("TIDEMILL_JOB_SQL", "SELECT 1 + 1 AS two")], 0, "two"),
        (vec![("TIDEMILL_JOB_FILE", "job.sql"), ("TIDEMILL_JOB_STATE_DIR", "other")], 0, "42"),
        (vec![("TIDEMILL_JOB_SQL", "SELECT 1 + 1 AS two")], 0, "holds a finished job"),
        (vec![("TIDEMILL_JOB_SQL", OTHER_JOB)], 3, "does not fit"),
        (vec![("TIDEMILL_JOB_SQL", "SELEC 1")], 2, "TIDEMILL_JOB_SQL:1:1"),
        (vec![("TIDEMILL_JOB_FILE", "nowhere.sql")], 2, "cannot read nowhere.sql"),
        (vec![("TIDEMILL_JOB_FILE", "job.sql"), ("TIDEMILL_JOB_SQL", "SELECT 1")], 2, "both name a job"),
        (vec![("TIDEMILL_JOB_FIEL", "job.sql")], 2, "did you mean TIDEMILL_JOB_FILE?"),
        (vec![("TIDEMILL_LISTEN", "0.0.0.0:0")], 2, "there are no tokens"),
    ] {
        let output = command(&workspace, &["start"], &environment).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(code), "{environment:?}: {}", told(&output));
        assert!(told(&output).contains(expected), "{environment:?}: {}", told(&output));
    }
    assert!(workspace.path("data/job").is_dir() && workspace.path("other").is_dir());
}

#[test]
fn a_job_is_well_while_it_runs_and_goes_on_from_its_volume() {
    let workspace = Workspace::new(ENDLESS);
    let environment = [("TIDEMILL_JOB_FILE", "job.sql"), ("TIDEMILL_JOB_PARALLELISM", "1")];
    let health = || command(&workspace, &["health"], &environment).output().expect("the program starts");
    assert_eq!(health().status.code(), Some(1), "{}", told(&health()));
    let mut job = command(&workspace, &["start"], &environment).spawn().expect("the program starts");
    until("the job is well", || health().status.success());
    assert_eq!(told(&health()).trim(), "running");
    until("rows are there", || !workspace.visible_lines("out").is_empty());
    job.kill().expect("it runs");
    job.wait().expect("it ends");
    assert_eq!(health().status.code(), Some(1), "its socket is left, and nobody answers there");
    let before = workspace.visible_lines("out").len();
    let mut job = command(&workspace, &["start"], &environment).spawn().expect("the program starts");
    until("the job goes on", || workspace.visible_lines("out").len() > before);
    terminate(&job);
    assert_eq!(wait(&mut job).code(), Some(0));
    let mut rows: Vec<u64> = workspace.visible_lines("out").iter().map(|row| row.parse().unwrap()).collect();
    rows.sort_unstable();
    assert!(rows.iter().copied().eq(1..=rows.len() as u64), "no row is lost or doubled by the kill");
}

#[test]
fn a_server_is_well_when_it_is_ready() {
    let workspace = Workspace::new("");
    let listen = format!("127.0.0.1:{}", ports::free());
    let environment = [("TIDEMILL_LISTEN", listen.as_str()), ("HTTP_PROXY", "http://127.0.0.1:1")];
    let health = |args: &[&str]| command(&workspace, args, &environment).output().expect("the program starts");
    let nobody = health(&["health"]);
    assert_eq!(nobody.status.code(), Some(1), "{}", told(&nobody));
    assert!(told(&nobody).contains(&format!("no answer of http://{listen}/readyz")), "{}", told(&nobody));
    let mut server = command(&workspace, &["start"], &environment).spawn().expect("the program starts");
    until("the server is ready", || health(&["health"]).status.success());
    assert_eq!(told(&health(&["health"])).trim(), "{\"status\":\"ready\"}");
    assert_eq!(told(&health(&["health", "--live"])).trim(), "{\"status\":\"alive\"}");
    let elsewhere = health(&["health", "--listen", "127.0.0.1:0"]);
    assert_eq!(elsewhere.status.code(), Some(1), "{}", told(&elsewhere));
    assert!(told(&elsewhere).contains("chooses its port itself"), "{}", told(&elsewhere));
    terminate(&server);
    assert_eq!(wait(&mut server).code(), Some(0));
}
