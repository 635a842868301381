//! Kills the real program at random moments, several times in a row, and demands the output of a run without faults.

use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::process::{Workspace, wait_or_kill};

/// Kills in the ordinary test run; `TIDEMILL_KILLS` asks for more.
const KILLS_DEFAULT: usize = 60;
/// A run without progress between two kills would never end.
const RUNS_PER_KILL_MAX: usize = 3;

/// Rows of the input: some out of order, some late, some keys rare.
const INPUT_ROWS: usize = 60_000;

const SCRIPT: &str = "
SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '30 ms';
CREATE TABLE events (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'input', 'format' = 'json', 'source.split.size' = '500kb');
CREATE TABLE tumbled (window_start TIMESTAMP(3), k STRING, n BIGINT, total BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'out/tumbled', 'format' = 'csv');
CREATE TABLE hopped (window_end TIMESTAMP(3), n BIGINT, top INT)
  WITH ('connector' = 'filesystem', 'path' = 'out/hopped', 'format' = 'json');
CREATE TABLE sessions (window_start TIMESTAMP(3), window_end TIMESTAMP(3), k STRING, n BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'out/sessions', 'format' = 'csv');
CREATE TABLE plain (k STRING, v INT) PARTITIONED BY (k)
  WITH ('connector' = 'filesystem', 'path' = 'out/plain', 'format' = 'csv');
EXECUTE STATEMENT SET BEGIN
INSERT INTO tumbled SELECT window_start, k, COUNT(*), SUM(v)
  FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k;
INSERT INTO hopped SELECT window_end, COUNT(*), MAX(v)
  FROM TABLE(HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '30' SECOND)) GROUP BY window_start, window_end;
INSERT INTO sessions SELECT window_start, window_end, k, COUNT(*)
  FROM TABLE(SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY k, window_start, window_end;
INSERT INTO plain SELECT k, v FROM events WHERE MOD(v, 50) = 0;
END;
";

#[test]
fn random_kills_lose_and_double_nothing() {
    let kills: usize = std::env::var("TIDEMILL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS_DEFAULT);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let workspace = prepared(INPUT_ROWS);
    let expected = fault_free(&workspace);
    let mut done = 0;
    let mut runs = 0;
    while done < kills {
        workspace.remove("state");
        workspace.remove("out");
        done += kill_until_finished(&workspace, &mut rng, kills - done);
        assert_eq!(outputs(&workspace), expected, "after {done} kills");
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
        let mut command = workspace.run_command(&["-p", parallelism]);
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

/// The job with an input of so many rows.
pub fn prepared(rows: usize) -> Workspace {
    let workspace = Workspace::new(SCRIPT);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for file in 0..2 {
        workspace.write(&format!("input/part-{file}.json"), &input(&mut rng, rows / 2));
    }
    workspace
}

fn input(rng: &mut ChaCha8Rng, rows: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        let jitter = if rng.random_bool(0.02) { rng.random_range(0..60_000) } else { rng.random_range(0..2_000) };
        let millis = (row as i64 * 20 - jitter).max(0);
        let key = rng.random_range(0..40u32) * rng.random_range(0..3);
        let (seconds, fraction) = (millis / 1_000, millis % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        writeln!(
            text,
            r#"{{"k":"key-{key}","v":{},"ts":"2024-03-01 {hour:02}:{minute:02}:{second:02}.{fraction:03}"}}"#,
            rng.random_range(0..1000)
        )
        .expect("a string takes it");
    }
    text
}

pub fn fault_free(workspace: &Workspace) -> Vec<(String, Vec<String>)> {
    workspace.run_to_end(&["-p", "1"]);
    let expected = outputs(workspace);
    assert!(expected.iter().all(|(folder, lines)| lines.len() > 20 || panic!("{folder}: {} lines", lines.len())));
    expected
}

pub fn outputs(workspace: &Workspace) -> Vec<(String, Vec<String>)> {
    ["out/tumbled", "out/hopped", "out/sessions", "out/plain"]
        .map(|folder| (folder.to_string(), workspace.visible_lines(folder)))
        .to_vec()
}
