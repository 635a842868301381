//! The jobs that the crash tests kill, with their inputs and what their outputs must be.

use std::collections::BTreeMap;
use std::fmt::Write;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::process::Workspace;

/// Rows of the joins' other inputs.
const TAGS: usize = 2_000;
/// Changes of rates per thousand events.
const RATES_PER_MILLE: usize = 100;

/// A job that is killed, and the folders of its output.
pub struct CrashJob {
    script: &'static str,
    outputs: &'static [Output],
}

enum Output {
    /// Lines, whatever file they are in.
    Rows(&'static str),
    /// Changes, which must add up to the same rows.
    Changes(&'static str),
}

use Output::{Changes, Rows};

/// Windows of every kind, and rows as they come.
pub const WINDOWS: CrashJob = CrashJob {
    script: "
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
",
    outputs: &[Rows("out/tumbled"), Rows("out/hopped"), Rows("out/sessions"), Rows("out/plain")],
};

/// Rows kept by key: pairs of two inputs, rows that fit another table, and what only one of two tables has.
pub const JOINS: CrashJob = CrashJob {
    script: "
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
",
    outputs: &[Rows("out/joined"), Rows("out/members")],
};

/// Joins that free their state by time, and changes in: rates come as changes, and leave as a table and as changes.
pub const TIME_JOINS: CrashJob = CrashJob {
    script: "
CREATE TABLE events (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'input', 'format' = 'json', 'source.split.size' = '500kb');
CREATE TABLE rates (k STRING, rate INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts, PRIMARY KEY (k) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'rates.json', 'format' = 'changelog-json');
CREATE TABLE near (k STRING, v INT, w INT) WITH ('connector' = 'filesystem', 'path' = 'out/near', 'format' = 'csv');
CREATE TABLE paired (k STRING, at STRING, v INT, w INT) WITH ('connector' = 'filesystem', 'path' = 'out/paired', 'format' = 'csv');
CREATE TABLE rated (k STRING, v INT, rate INT) WITH ('connector' = 'filesystem', 'path' = 'out/rated', 'format' = 'csv');
CREATE TABLE latest (k STRING, rate INT, PRIMARY KEY (k) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'out/latest', 'format' = 'json', 'sink.changelog' = 'snapshot');
CREATE TABLE spread (rate INT, keys_of_it BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out/spread', 'format' = 'debezium-json');
CREATE VIEW low AS SELECT * FROM events WHERE v < 60;
CREATE VIEW high AS SELECT * FROM events WHERE v > 940;
EXECUTE STATEMENT SET BEGIN
INSERT INTO near SELECT a.k, a.v, b.v FROM low AS a LEFT JOIN high AS b
  ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL '2' SECOND AND a.ts + INTERVAL '5' SECOND;
INSERT INTO paired SELECT a.k, CAST(a.window_start AS STRING), a.v, b.v FROM TABLE(TUMBLE(TABLE low, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS a
  JOIN TABLE(TUMBLE(TABLE high, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS b
  ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;
INSERT INTO rated SELECT e.k, e.v, r.rate FROM events AS e LEFT JOIN rates FOR SYSTEM_TIME AS OF e.ts AS r ON e.k = r.k;
INSERT INTO latest SELECT k, rate FROM rates;
INSERT INTO spread SELECT rate, COUNT(*) FROM rates GROUP BY rate;
END;
",
    outputs: &[Rows("out/near"), Rows("out/paired"), Rows("out/rated"), Rows("out/latest"), Changes("out/spread")],
};

/// The largest rows of each key, sums over the rows before, first rows, and sessions that are told before they close and
/// corrected behind that.
pub const RANKS: CrashJob = CrashJob {
    script: "
SET 'table.exec.emit.early-fire.enabled' = 'true';
SET 'table.exec.emit.early-fire.delay' = '20 ms';
SET 'table.exec.emit.allow-lateness' = '5 s';
CREATE TABLE events (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'input', 'format' = 'json', 'source.split.size' = '500kb');
CREATE TABLE top (k STRING, place BIGINT, v INT, at STRING, PRIMARY KEY (k, place) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'out/top', 'format' = 'json', 'sink.changelog' = 'snapshot');
CREATE TABLE sums (k STRING, v INT, total BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out/sums', 'format' = 'csv');
CREATE TABLE firsts (k STRING, v INT, at STRING) WITH ('connector' = 'filesystem', 'path' = 'out/firsts', 'format' = 'changelog-json');
CREATE TABLE sessions (k STRING, starts TIMESTAMP(3), ends TIMESTAMP(3), n BIGINT, total BIGINT, PRIMARY KEY (k, starts) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'out/sessions', 'format' = 'csv', 'sink.changelog' = 'snapshot');
CREATE TABLE lengths (k STRING, sessions BIGINT, n BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'out/lengths', 'format' = 'debezium-json');
CREATE VIEW told AS SELECT k, window_start AS starts, window_end AS ends, COUNT(*) AS n, SUM(v) AS total
  FROM TABLE(SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY k, window_start, window_end;
EXECUTE STATEMENT SET BEGIN
INSERT INTO top SELECT k, place, v, at FROM (
  SELECT k, v, CAST(ts AS STRING) AS at, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, ts) AS place FROM events) WHERE place <= 3;
INSERT INTO sums SELECT k, v, SUM(v) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW) FROM events;
INSERT INTO firsts SELECT k, v, at FROM (
  SELECT k, v, CAST(ts AS STRING) AS at, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC, v) AS place FROM events) WHERE place = 1;
INSERT INTO sessions SELECT * FROM told;
INSERT INTO lengths SELECT k, COUNT(*), SUM(n) FROM told GROUP BY k;
END;
",
    outputs: &[Rows("out/top"), Rows("out/sums"), Changes("out/firsts"), Rows("out/sessions"), Changes("out/lengths")],
};

/// What every script begins with.
const SETTINGS: &str = "
SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '30 ms';
";

impl CrashJob {
    /// The job with an input of so many rows: some out of order, some late, some keys rare.
    pub fn prepared(&self, rows: usize) -> Workspace {
        let workspace = Workspace::new(&format!("{SETTINGS}{}", self.script));
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        for file in 0..2 {
            workspace.write(&format!("input/part-{file}.json"), &input(&mut rng, rows / 2));
        }
        let tags: String = (0..TAGS).map(|row| format!("{},tag-{row}\n", row * 7 % 1_000)).collect();
        workspace.write("tags/tags.csv", &tags);
        workspace.write("rates.json", &rates(&mut rng, rows / 2));
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
        let lines = |output: &Output| match output {
            Rows(folder) => (folder.to_string(), workspace.visible_lines(folder)),
            Changes(folder) => (folder.to_string(), folded(&workspace.visible_lines(folder))),
        };
        self.outputs.iter().map(lines).collect()
    }
}

/// What changes add up to, whatever their order.
pub fn folded(changes: &[String]) -> Vec<String> {
    let mut counts = BTreeMap::<String, i64>::new();
    for line in changes {
        let change: Value = serde_json::from_str(line).expect("the output is JSON");
        let (row, count) = match change["op"].as_str().expect("an op") {
            "+I" | "+U" => (&change["data"], 1),
            "-U" | "-D" => (&change["data"], -1),
            "c" => (&change["after"], 1),
            "d" => (&change["before"], -1),
            other => panic!("op {other}"),
        };
        *counts.entry(row.to_string()).or_default() += count;
    }
    counts.into_iter().flat_map(|(row, count)| vec![row; usize::try_from(count).expect("given first")]).collect()
}

fn input(rng: &mut ChaCha8Rng, rows: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        let jitter = if rng.random_bool(0.02) { rng.random_range(0..60_000) } else { rng.random_range(0..2_000) };
        let time = time((row as i64 * 20 - jitter).max(0));
        let key = rng.random_range(0..40u32) * rng.random_range(0..3);
        let value = rng.random_range(0..1000);
        writeln!(text, r#"{{"k":"key-{key}","v":{value},"ts":"{time}"}}"#).expect("a string takes it");
    }
    text
}

/// Changes of a rate per key over the time of so many events, in order of time.
fn rates(rng: &mut ChaCha8Rng, events: usize) -> String {
    let mut text = String::new();
    let mut table = BTreeMap::<u32, Value>::new();
    let changes = (events * RATES_PER_MILLE / 1_000).max(1);
    for change in 0..changes {
        let key = rng.random_range(0..80u32);
        let at = time((change * events / changes * 20) as i64);
        let new = json!({ "k": format!("key-{key}"), "rate": rng.random_range(0..50), "ts": at });
        let mut push = |op: &str, data: &Value| {
            text += &format!("{}\n", json!({ "data": data, "op": op }));
        };
        match table.remove(&key) {
            None => push("+I", &new),
            Some(old) if rng.random_bool(0.2) => {
                push("-D", &old);
                continue;
            }
            Some(old) => {
                push("-U", &old);
                push("+U", &new);
            }
        }
        table.insert(key, new);
    }
    text
}

fn time(millis: i64) -> String {
    let (seconds, fraction) = (millis / 1_000, millis % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("2024-03-01 {hour:02}:{minute:02}:{second:02}.{fraction:03}")
}
