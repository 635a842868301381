//! A failure that comes back at the same place ends the real program with its cause, however restarts are set.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::Workspace;

/// Writes more than one file may hold, under the limit that the test sets.
const SCRIPT: &str = "
SET 'execution.checkpointing.interval' = '1 h';
SET 'restart-strategy.exponential-delay.initial-backoff' = '1 ms';
SET 'restart-strategy.exponential-delay.max-backoff' = '5 ms';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '200000', 'rows-per-second' = '1000000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '200000');
CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO copies SELECT n FROM numbers;
";

/// `tidemill run job.sql ARGS` in a shell whose files cannot grow beyond 256 kB; nothing is said by a signal.
fn limited(workspace: &Workspace, args: &[&str]) -> Command {
    let program = workspace.run_command(args);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 512; exec \"$0\" \"$@\""]);
    shell.arg(program.get_program()).args(program.get_args());
    shell.current_dir(workspace.path("")).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    shell
}

#[test]
fn a_failure_without_progress_ends_the_program_with_its_cause_and_what_to_do() {
    let workspace = Workspace::new(SCRIPT);
    let begun = Instant::now();
    let output = limited(&workspace, &["-p", "1"]).output().expect("sh starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("gave up after 10 restarts in a row"), "{said}");
    assert!(said.contains("cannot write") && said.contains("File too large"), "{said}");
    assert!(said.contains("tidemill.restart.attempts-without-progress"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(workspace.visible_lines("out").is_empty(), "nothing of a failed epoch is visible");
    workspace.run_to_end(&["-p", "1"]);
    assert_eq!(workspace.visible_lines("out").len(), 200_000, "without the limit the same command finishes the job");
}

#[test]
fn fixed_delay_ends_after_its_attempts() {
    let workspace = Workspace::new(SCRIPT);
    let strategy = ["--set", "restart-strategy.type=fixed-delay", "--set", "restart-strategy.fixed-delay.delay=1 ms"];
    let attempts = ["--set", "restart-strategy.fixed-delay.attempts=3"];
    let output = limited(&workspace, &[&strategy[..], &attempts[..]].concat()).output().expect("sh starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("gave up after 3 restarts; the last failure"), "{said}");
}
