//! Kills the real program at system calls that change files (write, fsync, fdatasync, rename, unlink, link, mkdir,
//! truncate), from its start over checkpoints and commits to its end, and demands the output of a run without faults.
//!
//! The ordinary test run takes a sample of the calls; `TIDEMILL_CRASH_EVERY_CALL=1` kills once at every one.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::crash_jobs::{CrashJob, JOINS, RANKS, TIME_JOINS, WINDOWS};
use crate::process::{Workspace, wait};

/// Calls of each kind at which the ordinary test run kills.
const SAMPLE_PER_KIND: usize = 6;
/// The same for jobs whose operators write as those of the others do.
const SMALL_SAMPLE_PER_KIND: usize = 2;
/// Jobs that are killed side by side: they mostly wait for the disk.
const SIDE_BY_SIDE: usize = 4;
/// Rows of the input: several checkpoints, few enough to be run a thousand times.
const INPUT_ROWS: usize = 12_000;
/// Memory for state that sends all of it through RocksDB, whose calls are then among those killed.
const SETTINGS: &[&str] = &["-p", "1", "--set", "tidemill.memory.budget=1 kb"];

/// A kind of call, and which one of the run.
type Place = (String, usize);

#[test]
fn a_kill_at_any_call_that_changes_files_loses_and_doubles_nothing() {
    kill_at_calls(&WINDOWS, SAMPLE_PER_KIND);
}

#[test]
fn a_kill_at_any_call_of_a_join_loses_and_doubles_nothing() {
    kill_at_calls(&JOINS, SAMPLE_PER_KIND);
}

#[test]
fn a_kill_at_any_call_of_a_join_over_time_loses_and_doubles_nothing() {
    kill_at_calls(&TIME_JOINS, SMALL_SAMPLE_PER_KIND);
}

#[test]
fn a_kill_at_any_call_of_ranks_and_told_sessions_loses_and_doubles_nothing() {
    kill_at_calls(&RANKS, SMALL_SAMPLE_PER_KIND);
}

fn kill_at_calls(job: &CrashJob, sample_per_kind: usize) {
    let tools = Workspace::new("");
    let library = compiled(&tools);
    let workspaces: Vec<Workspace> = (0..SIDE_BY_SIDE).map(|_| job.prepared(INPUT_ROWS)).collect();
    let expected = job.fault_free(&workspaces[0]);
    let every = std::env::var("TIDEMILL_CRASH_EVERY_CALL").is_ok_and(|value| value == "1");
    let totals = count_calls(&workspaces[0], &library);
    let places: Vec<Place> = totals
        .iter()
        .flat_map(|(kind, total)| chosen(kind, *total, if every { *total } else { sample_per_kind }))
        .collect();
    let (next, killed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for workspace in &workspaces {
            scope.spawn(|| {
                while let Some((kind, number)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    workspace.remove("state");
                    workspace.remove("out");
                    if !killed_at(workspace, &library, kind, *number) {
                        continue;
                    }
                    killed.fetch_add(1, Ordering::Relaxed);
                    let status = wait(&mut workspace.run_command(SETTINGS).spawn().expect("the program starts"));
                    assert!(status.success(), "restart after a kill at {kind} number {number}");
                    assert_eq!(job.outputs(workspace), expected, "kill at {kind} number {number}");
                }
            });
        }
    });
    let killed = killed.into_inner();
    println!("{killed} kills at {} places of {totals:?}, every output equal to the fault-free run", places.len());
    assert!(killed * 10 >= places.len() * 8, "only {killed} of {} places were reached", places.len());
}

/// The library that counts calls and kills.
fn compiled(tools: &Workspace) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/kill_at_call.c");
    let library = tools.path("kill_at_call.so");
    let mut compiler = Command::new("cc");
    let status = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(status.expect("cc is installed: the build needs it").success(), "{source} does not compile");
    library
}

/// Calls of each kind in a whole run.
fn count_calls(workspace: &Workspace, library: &PathBuf) -> Vec<Place> {
    workspace.remove("state");
    workspace.remove("out");
    let file = workspace.path("calls");
    let mut command = workspace.run_command(SETTINGS);
    command.env("LD_PRELOAD", library).env("TIDEMILL_CALLS_FILE", &file);
    assert!(wait(&mut command.spawn().expect("the program starts")).success());
    let text = fs::read_to_string(file).expect("the counts");
    let counts = text.lines().map(|line| {
        let (kind, count) = line.split_once(' ').expect("kind and count");
        (kind.to_string(), count.parse().expect("a number"))
    });
    let counts: Vec<Place> = counts.collect();
    assert!(counts.iter().all(|(_, count)| *count > 0), "the library sees every kind of call: {counts:?}");
    counts
}

/// All calls of a run, which is never quite like another, or some from its beginning to its end.
fn chosen(kind: &str, total: usize, sample: usize) -> Vec<Place> {
    let step = total.div_ceil(sample.max(1));
    (1..=total).step_by(step.max(1)).map(|number| (kind.to_string(), number)).collect()
}

/// False when the job ended before that call.
fn killed_at(workspace: &Workspace, library: &PathBuf, kind: &str, number: usize) -> bool {
    let mut command = workspace.run_command(SETTINGS);
    command.env("LD_PRELOAD", library).env("TIDEMILL_KILL_AT", format!("{kind}:{number}")).stdout(Stdio::null());
    let status = wait(&mut command.spawn().expect("the program starts"));
    match std::os::unix::process::ExitStatusExt::signal(&status) {
        Some(_) => true,
        None => {
            assert!(status.success(), "the program failed before {kind} number {number}: {status}");
            false
        }
    }
}
