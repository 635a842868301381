//! The program's commands beside `run`, as a shell uses them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{Workspace, wait};

const SCRIPT: &str = "
SET 'execution.checkpointing.interval' = '50 ms';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '1000000');
CREATE TABLE copies (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO copies SELECT n FROM numbers;
";

fn stdout_of(mut command: Command) -> (bool, String) {
    let output = command.output().expect("the program starts");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[test]
fn each_savepoint_is_a_new_folder_and_the_last_ends_the_job_with_nothing_behind_it() {
    let workspace = Workspace::new(SCRIPT);
    let mut job = workspace.run_command(&["-p", "1"]).stderr(Stdio::null()).spawn().expect("the program starts");
    let begun = Instant::now();
    while workspace.visible_lines("out").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no checkpoint was committed");
        std::thread::sleep(Duration::from_millis(20));
    }
    let take =
        |more: &[&str]| stdout_of(workspace.command(&[&["savepoint", "state", "--to", "points"], more].concat()));
    let (taken, first) = take(&[]);
    assert!(taken && first.ends_with("-1"), "{first}");
    let (taken, last) = take(&["--stop"]);
    assert!(taken && last.ends_with("-2"), "{last}");
    assert!(wait(&mut job).success());
    let mut before: Vec<i64> = numbers(&workspace);
    let arguments = ["run", "job.sql", "--quiet", "--state-dir", "other", "--from", last.as_str()];
    let mut resumed = workspace.command(&arguments).spawn().expect("the program starts");
    let begun = Instant::now();
    while numbers(&workspace).len() == before.len() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the savepoint was not gone on from");
        std::thread::sleep(Duration::from_millis(20));
    }
    resumed.kill().expect("it runs");
    resumed.wait().expect("it ends");
    let after = numbers(&workspace);
    before.extend(before.len() as i64 + 1..=after.len() as i64);
    assert_eq!(after, before, "neither lost nor doubled between the two jobs");
}

fn numbers(workspace: &Workspace) -> Vec<i64> {
    let mut numbers: Vec<i64> =
        workspace.visible_lines("out").iter().map(|line| line.parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn output_that_nobody_reads_to_its_end_is_no_failure() {
    let workspace = Workspace::new(SCRIPT);
    for arguments in [&["explain", "job.sql"][..], &["connectors"], &["functions"], &["check", "job.sql"]] {
        let mut child =
            workspace.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    }
}

#[test]
fn the_graphs_of_several_jobs_are_one_json_value() {
    let workspace = Workspace::new(&format!("{SCRIPT} SELECT n FROM numbers;"));
    let (done, text) = stdout_of(workspace.command(&["explain", "job.sql", "--format", "json"]));
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(done && value.as_array().is_some_and(|jobs| jobs.len() == 2), "{text}");
    workspace.write("job.sql", SCRIPT);
    let (_, text) = stdout_of(workspace.command(&["explain", "job.sql", "--format", "json"]));
    assert!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON").is_object(), "{text}");
}

#[test]
fn rows_keep_their_watermark_for_a_sink_that_completes_partitions_by_it() {
    let workspace = Workspace::new(
        "CREATE TABLE events (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen');
         CREATE TABLE days (n BIGINT, day STRING) PARTITIONED BY (day) WITH ('connector' = 'filesystem', 'path' = 'out',
           'format' = 'csv', 'sink.partition-commit.trigger' = 'partition-time');
         INSERT INTO days SELECT n, DATE_FORMAT(ts, 'yyyy-MM-dd') FROM events;",
    );
    let (planned, text) = stdout_of(workspace.command(&["explain", "job.sql"]));
    assert!(planned && text.contains("watermark: ts AS"), "{text}");
}
