//! Kills the real program at random moments, several times in a row, and demands the output of a run without faults.

use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::process::{Workspace, wait_or_kill};

/// Kills in the ordinary test run; `TIDEMILL_KILLS` asks for more.
const WINDOW_KILLS_DEFAULT: usize = 40;
const JOIN_KILLS_DEFAULT: usize = 30;
/// A run without progress between two kills would never end.
const RUNS_PER_KILL_MAX: usize = 3;

/// Rows of the input: some out of order, some late, some keys rare.
const INPUT_ROWS: usize = 60_000;
/// Rows of the joins' other input.
const TAGS: usize = 2_000;

/// A job that is killed, and the folders of its output.
pub struct CrashJob {
    script: &'static str,
    outputs: &'static [&'static str],
}

/// Windows of every kind, and rows as they come.
pub const WINDOWS: CrashJob =
    CrashJob { script: WINDOWS_SCRIPT, outputs: &["out/tumbled", "out/hopped", "out/sessions", "out/plain"] };
/// Rows kept by key: pairs of two inputs, rows that fit another table, and what only one of two tables has.
pub const JOINS: CrashJob = CrashJob { script: JOINS_SCRIPT, outputs: &["out/joined", "out/members"] };

const WINDOWS_SCRIPT: &str = "
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

const JOINS_SCRIPT: &str = "
SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '30 ms';
CREATE TABLE events (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'input', 'format' = 'json', 'source.split.size' = '500kb');
CREATE TABLE tags (v INT, tag STRING) WITH ('connector' = 'filesystem', 'path' = 'tags', 'format' = 'csv', 'source.split.size' = '5kb');
CREATE TABLE joined (k STRING, v INT, tag STRING, at STRING)
  WITH ('connector' = 'filesystem', 'path' = 'out/joined', 'format' = 'csv');
CREATE TABLE members (k STRING, v INT) WITH ('connector' = 'filesystem', 'path' = 'out/members', 'format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO joined SELECT e.k, e.v, t.tag, CAST(e.ts AS STRING) FROM events AS e JOIN tags AS t ON e.v = t.v AND MOD(e.v, 5) = 0;
INSERT INTO members SELECT k, v FROM events WHERE v IN (SELECT v FROM tags WHERE tag LIKE 'tag-1%');
END;
";

#[test]
fn random_kills_of_windows_lose_and_double_nothing() {
    random_kills(&WINDOWS, kills_or(WINDOW_KILLS_DEFAULT), 7);
}

#[test]
fn random_kills_of_joins_lose_and_double_nothing() {
    random_kills(&JOINS, kills_or(JOIN_KILLS_DEFAULT), 8);
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

impl CrashJob {
    /// The job with an input of so many rows.
    pub fn prepared(&self, rows: usize) -> Workspace {
        let workspace = Workspace::new(self.script);
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        for file in 0..2 {
            workspace.write(&format!("input/part-{file}.json"), &input(&mut rng, rows / 2));
        }
        let tags: String = (0..TAGS).map(|row| format!("{},tag-{row}\n", row * 7 % 1_000)).collect();
        workspace.write("tags/tags.csv", &tags);
        workspace
    }

    /// The output of a run that nobody kills.
    pub fn fault_free(&self, workspace: &Workspace) -> Vec<(String, Vec<String>)> {
        workspace.run_to_end(&["-p", "1"]);
        let expected = self.outputs(workspace);
        assert!(expected.iter().all(|(folder, lines)| lines.len() > 20 || panic!("{folder}: {} lines", lines.len())));
        expected
    }

    pub fn outputs(&self, workspace: &Workspace) -> Vec<(String, Vec<String>)> {
        self.outputs.iter().map(|folder| (folder.to_string(), workspace.visible_lines(folder))).collect()
    }
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
