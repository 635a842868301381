//! Kills the real program at random moments, several times in a row, and demands the output of a run without faults.

use std::process::Stdio;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::crash_jobs::{CrashJob, JOINS, RANKS, TIME_JOINS, WINDOWS};
use crate::process::{Workspace, wait_or_kill};

/// Kills in the ordinary test run; `TIDEMILL_KILLS` asks for more.
const WINDOW_KILLS_DEFAULT: usize = 40;
const JOIN_KILLS_DEFAULT: usize = 30;
const TIME_JOIN_KILLS_DEFAULT: usize = 15;
const RANK_KILLS_DEFAULT: usize = 15;
/// A run without progress between two kills would never end.
const RUNS_PER_KILL_MAX: usize = 3;

/// Rows of the input.
const INPUT_ROWS: usize = 60_000;

#[test]
fn random_kills_of_windows_lose_and_double_nothing() {
    random_kills(&WINDOWS, kills_or(WINDOW_KILLS_DEFAULT), 7);
}

#[test]
fn random_kills_of_joins_lose_and_double_nothing() {
    random_kills(&JOINS, kills_or(JOIN_KILLS_DEFAULT), 8);
}

#[test]
fn random_kills_of_joins_over_time_and_of_changes_lose_and_double_nothing() {
    random_kills(&TIME_JOINS, kills_or(TIME_JOIN_KILLS_DEFAULT), 9);
}

#[test]
fn random_kills_of_ranks_and_told_sessions_lose_and_double_nothing() {
    random_kills(&RANKS, kills_or(RANK_KILLS_DEFAULT), 10);
}

fn kills_or(default: usize) -> usize {
    std::env::var("TIDEMILL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn random_kills(job: &CrashJob, kills: usize, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let workspace = job.prepared(INPUT_ROWS);
    let expected = job.fault_free(&workspace);
    let mut done = 0;
    let mut runs = 0;
    while done < kills {
        workspace.remove("state");
        workspace.remove("out");
        done += kill_until_finished(&workspace, &mut rng, kills - done);
        assert_eq!(job.outputs(&workspace), expected, "after {done} kills");
        runs += 1;
        assert!(runs <= kills * RUNS_PER_KILL_MAX, "the program ends before it can be killed");
    }
    println!("{done} kills over {runs} jobs, every output equal to the fault-free run");
}

/// Runs one job to its end through up to `kills_max` kills; the number of kills.
fn kill_until_finished(workspace: &Workspace, rng: &mut ChaCha8Rng, kills_max: usize) -> usize {
    let mut kills = 0;
    loop {
        let parallelism = if rng.random_bool(0.5) { "1" } else { "2" };
        // Restored into another budget, the same state moves between memory and disk.
        let budget = if rng.random_bool(0.5) { "tidemill.memory.budget=1 kb" } else { "tidemill.memory.budget=256 mb" };
        let mut command = workspace.run_command(&["-p", parallelism, "--set", budget]);
        let mut child = command.stdout(Stdio::null()).spawn().expect("the program starts");
        let patience = match kills < kills_max {
            true => Duration::from_millis(rng.random_range(20..900)),
            false => Duration::from_secs(100),
        };
        match wait_or_kill(&mut child, patience) {
            Some(status) => {
                assert!(status.success(), "the program failed after {kills} kills: {status}");
                return kills;
            }
            None => kills += 1,
        }
    }
}
