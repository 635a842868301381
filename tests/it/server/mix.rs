//! Jobs of every kind, what they are fed, and what they must have written in the end.

use std::collections::BTreeMap;
use std::fmt::Write;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::kit::{Server, copying_job};

const ROWS_PER_FILE: u64 = 150;
const KEYS: u64 = 7;
/// Rows of an hour: the event time of row `n` is `n` times this many seconds after the start.
const SECONDS_PER_ROW: u64 = 3;
const WINDOW_SECONDS: u64 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rows as they come, and totals by key, in one statement set.
    Copy,
    Window,
    Join,
    Deduplicate,
    TopN,
    Changelog,
}

pub const KINDS: [Kind; 6] = [Kind::Copy, Kind::Window, Kind::Join, Kind::Deduplicate, Kind::TopN, Kind::Changelog];

/// A job, and what has been fed to it.
pub struct MixedJob {
    pub name: String,
    pub kind: Kind,
    rows: Vec<Row>,
}

#[derive(Clone)]
struct Row {
    key: String,
    value: u64,
    /// Seconds of event time.
    at: u64,
}

impl MixedJob {
    pub fn new(number: usize) -> Self {
        let kind = KINDS[number % KINDS.len()];
        Self { name: format!("{kind:?}-{number}").to_lowercase(), kind, rows: Vec::new() }
    }

    pub fn sql(&self) -> String {
        let name = &self.name;
        if self.kind == Kind::Copy {
            return copying_job(name);
        }
        let source = |table: &str, folder: &str| {
            format!(
                "CREATE TABLE {table} (k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
  WITH ('connector' = 'filesystem', 'path' = '{folder}/{name}', 'format' = 'json', 'source.monitor-interval' = '100 ms');"
            )
        };
        let sink = |columns: &str, options: &str| {
            format!(
                "CREATE TABLE results ({columns}) WITH ('connector' = 'filesystem', 'path' = 'out/{name}', {options});\nINSERT INTO results "
            )
        };
        let (csv, snapshot) = ("'format' = 'csv'", "'format' = 'csv', 'sink.changelog' = 'snapshot'");
        let ranked = |order: &str, last: u32| {
            format!(
                "SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY {order}) AS n FROM events) WHERE n <= {last}"
            )
        };
        let body = match self.kind {
            Kind::Copy => unreachable!("it has its own"),
            Kind::Window => {
                sink("k STRING, begins TIMESTAMP(3), n BIGINT, total BIGINT", csv)
                    + "SELECT k, window_start, COUNT(*), SUM(v) FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY k, window_start, window_end"
            }
            // Each row of `events` has its row in `others`: the same value.
            Kind::Join => {
                source("others", "others")
                    + "\n"
                    + &sink("k STRING, v BIGINT", csv)
                    + "SELECT events.k, events.v FROM events JOIN others ON events.v = others.v"
            }
            Kind::Deduplicate => {
                sink("k STRING, v BIGINT, PRIMARY KEY (k) NOT ENFORCED", snapshot) + &ranked("ts ASC", 1)
            }
            Kind::TopN => sink("k STRING, v BIGINT, PRIMARY KEY (k, v) NOT ENFORCED", snapshot) + &ranked("v DESC", 3),
            Kind::Changelog => {
                sink("k STRING, n BIGINT, total BIGINT", "'format' = 'changelog-json'")
                    + "SELECT k, COUNT(*), SUM(v) FROM events GROUP BY k"
            }
        };
        format!("SET 'execution.checkpointing.interval' = '100 ms';\n{}\n{body}", source("events", "in"))
    }

    /// One more file of rows, each with a value and a time of its own.
    pub fn feed(&mut self, server: &Server, rng: &mut ChaCha8Rng) {
        let (mut lines, mut others) = (String::new(), Vec::new());
        let first = self.rows.len() as u64;
        for value in first..first + ROWS_PER_FILE {
            let row = Row { key: format!("k{}", rng.random_range(0..KEYS)), value, at: value * SECONDS_PER_ROW };
            let _ = writeln!(lines, "{}", row.json(self.kind));
            others.push(row.json(self.kind));
            self.rows.push(row);
        }
        let file = format!("{first:09}.json");
        server.feed(&format!("in/{}", self.name), &file, &lines);
        if self.kind == Kind::Join {
            others.reverse();
            server.feed(&format!("others/{}", self.name), &file, &(others.join("\n") + "\n"));
        }
    }

    /// A row long after all others, which closes all windows.
    pub fn close(&self, server: &Server) {
        if matches!(self.kind, Kind::Window | Kind::Deduplicate) {
            let last = Row { key: "end".into(), value: 0, at: (self.rows.len() as u64 + 10_000) * SECONDS_PER_ROW };
            server.feed(&format!("in/{}", self.name), "999999999.json", &format!("{}\n", last.json(self.kind)));
        }
    }

    /// What is visible, in the form of [`Self::expected`].
    pub fn visible(&self, server: &Server) -> Vec<String> {
        let mut lines = server.lines(&format!("out/{}", self.name));
        match self.kind {
            Kind::Copy => lines.extend(server.lines(&format!("totals/{}", self.name))),
            Kind::Changelog => lines = folded(&lines),
            // Of the row that closes the windows.
            Kind::Deduplicate => lines.retain(|line| !line.starts_with("end,")),
            _ => {}
        }
        lines.sort();
        lines
    }

    /// All that must be visible, sorted: computed from what was fed, in the plainest way.
    pub fn expected(&self) -> Vec<String> {
        let mut by_key: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in &self.rows {
            by_key.entry(&row.key).or_default().push(row);
        }
        let totals = by_key.iter().map(|(key, rows)| total(key, rows));
        let plain = self.rows.iter().map(|row| format!("{},{}", row.key, row.value));
        let mut lines: Vec<String> = match self.kind {
            Kind::Copy => plain.chain(totals).collect(),
            Kind::Join => plain.collect(),
            Kind::Changelog => totals.collect(),
            Kind::Deduplicate => by_key.iter().map(|(key, rows)| format!("{key},{}", rows[0].value)).collect(),
            Kind::TopN => {
                let top = |rows: &Vec<&Row>| rows.iter().rev().take(3).map(|row| row.value).collect::<Vec<_>>();
                by_key.iter().flat_map(|(key, rows)| top(rows).into_iter().map(move |v| format!("{key},{v}"))).collect()
            }
            Kind::Window => {
                let mut windows: BTreeMap<(&str, u64), Vec<&Row>> = BTreeMap::new();
                for row in &self.rows {
                    let begins = row.at / WINDOW_SECONDS * WINDOW_SECONDS;
                    windows.entry((&row.key, begins)).or_default().push(row);
                }
                let line = |((key, begins), rows): (&(&str, u64), &Vec<&Row>)| {
                    total(&format!("{key},{}", time(*begins)), rows)
                };
                windows.iter().map(line).collect()
            }
        };
        lines.sort();
        lines
    }
}

impl Row {
    fn json(&self, kind: Kind) -> String {
        match kind {
            Kind::Copy => format!("{{\"k\":\"{}\",\"v\":{}}}", self.key, self.value),
            _ => format!("{{\"k\":\"{}\",\"v\":{},\"ts\":\"{}\"}}", self.key, self.value, time(self.at)),
        }
    }
}

fn total(key: &str, rows: &[&Row]) -> String {
    format!("{key},{},{}", rows.len(), rows.iter().map(|row| row.value).sum::<u64>())
}

/// Of a day that is long enough for all rows of a test.
fn time(seconds: u64) -> String {
    let day = 1 + seconds / 86_400;
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("2024-01-{day:02} {hours:02}:{minutes:02}:{:02}", seconds % 60)
}

/// The table that changes add up to. A change that is there twice, or not at all, leaves a row too many.
fn folded(changes: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for change in changes {
        let change: Value = serde_json::from_str(change).expect("a change");
        let row = &change["data"];
        let line = format!("{},{},{}", row["k"].as_str().expect("a key"), row["n"], row["total"]);
        let by = if change["op"].as_str().expect("a kind").starts_with('+') { 1 } else { -1 };
        *counts.entry(line).or_default() += by;
    }
    let left = counts.into_iter().filter(|(_, count)| *count != 0);
    left.map(|(line, count)| if count == 1 { line } else { format!("{line} x{count}") }).collect()
}
