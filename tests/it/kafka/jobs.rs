//! The jobs that read numbered records and write them exactly once, and what must then be in their topics.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::broker::{Asked, Broker, signal};
use crate::process::{Workspace, wait, wait_or_kill};

/// Partitions of the input.
pub const PARTITIONS: i64 = 3;
/// Numbered records have as many keys, in turn.
const KEYS: i64 = 20;
/// Event time between two of them.
const STEP_MS: i64 = 10;
const WINDOW_MS: i64 = 1_000;

/// A kind of job, its outputs, and for each the column whose values rise per key.
pub struct LedgerJob {
    name: &'static str,
    outputs: &'static [Output],
    queries: &'static str,
}

struct Output {
    name: &'static str,
    columns: &'static str,
    order: &'static str,
    /// What comes of these numbers, in ascending order.
    rows: fn(numbers: &[i64]) -> Vec<Value>,
}

/// Rows as they come, into two topics.
pub const ROWS: LedgerJob = LedgerJob {
    name: "rows",
    outputs: &[
        Output { name: "thirds", columns: "n BIGINT, k STRING, twice BIGINT", order: "n", rows: thirds },
        Output { name: "sevenths", columns: "n BIGINT, k STRING", order: "n", rows: sevenths },
    ],
    queries: "
INSERT INTO thirds SELECT n, k, n * 2 FROM numbers WHERE n >= 0 AND MOD(n, 3) = 0;
INSERT INTO sevenths SELECT n, k FROM numbers WHERE n >= 0 AND MOD(n, 7) = 0;",
};

/// A count per key and window.
pub const WINDOWS: LedgerJob = LedgerJob {
    name: "windows",
    outputs: &[Output { name: "counts", columns: "start BIGINT, k STRING, n BIGINT", order: "start", rows: counts }],
    queries: "
INSERT INTO counts SELECT 1000 * UNIX_TIMESTAMP(CAST(window_start AS STRING)), k, COUNT(*)
  FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY window_start, window_end, k;",
};

fn key(n: i64) -> String {
    format!("key-{}", n % KEYS)
}

fn thirds(numbers: &[i64]) -> Vec<Value> {
    let thirds = numbers.iter().filter(|n| *n % 3 == 0);
    thirds.map(|n| json!({ "n": n, "k": key(*n), "twice": n * 2 })).collect()
}

fn sevenths(numbers: &[i64]) -> Vec<Value> {
    numbers.iter().filter(|n| *n % 7 == 0).map(|n| json!({ "n": n, "k": key(*n) })).collect()
}

fn counts(numbers: &[i64]) -> Vec<Value> {
    let mut counts: BTreeMap<(i64, String), u64> = BTreeMap::new();
    for n in numbers {
        let time_ms = n * STEP_MS;
        *counts.entry((time_ms - time_ms % WINDOW_MS, key(*n))).or_default() += 1;
    }
    counts.into_iter().map(|((start, key), count)| json!({ "start": start, "k": key, "n": count })).collect()
}

/// One run of such a job: its topics, its folder, and whoever writes its input.
pub struct Ledger<'a> {
    pub workspace: Workspace,
    job: &'static LedgerJob,
    broker: &'a Broker,
    /// Begins the names of its topics.
    prefix: String,
    producer: Option<Asked>,
}

impl<'a> Ledger<'a> {
    /// Makes the topics; `settings`: more statements; `options`: more options of every output.
    pub fn new(broker: &'a Broker, job: &'static LedgerJob, test: &str, settings: &str, options: &str) -> Self {
        Self::made(broker, &broker.address(), job, test, (settings, options))
    }

    /// The same for a program that reaches the broker at another address.
    pub fn new_through(broker: &'a Broker, address: &str, job: &'static LedgerJob, test: &str, options: &str) -> Self {
        Self::made(broker, address, job, test, ("", options))
    }

    fn made(
        broker: &'a Broker,
        address: &str,
        job: &'static LedgerJob,
        test: &str,
        (settings, options): (&str, &str),
    ) -> Self {
        let prefix = format!("{test}-{}", job.name);
        let mut topics = vec![format!("{prefix}-numbers:{PARTITIONS}")];
        topics.extend(job.outputs.iter().map(|output| format!("{prefix}-{}:2", output.name)));
        let mut arguments = vec!["topics"];
        arguments.extend(topics.iter().map(String::as_str));
        broker.ask(&arguments);
        let workspace = Workspace::new(&job.script(&prefix, address, settings, options));
        Self { workspace, job, broker, prefix, producer: None }
    }

    /// Begins to write the input.
    pub fn load(&mut self, per_second: usize) {
        let topic = format!("{}-numbers", self.prefix);
        let (partitions, per_second) = (PARTITIONS.to_string(), per_second.to_string());
        self.producer = Some(self.broker.begin(&["number", &topic, &partitions, &per_second]));
    }

    /// Writes records with these numbers, in turn to so many partitions.
    pub fn write(&self, numbers: Range<i64>, partitions: i64) {
        let record = |n: i64| {
            let value = json!({ "n": n, "k": key(n), "ts": "2024-01-01 00:00:00.000" });
            json!({ "key": key(n), "partition": n % KEYS % partitions, "value": value.to_string() }).to_string()
        };
        let records: Vec<String> = numbers.map(record).collect();
        self.broker.ask_with(&["produce", &format!("{}-numbers", self.prefix)], &records.join("\n"));
    }

    /// Starts the program; what it says goes to the file `said`.
    pub fn spawn(&self, arguments: &[&str]) -> Job {
        self.spawn_in("state", arguments)
    }

    /// The same, with another state directory.
    pub fn spawn_in(&self, state: &str, arguments: &[&str]) -> Job {
        self.spawn_with_faults(state, arguments, "")
    }

    /// The same, with faults as `tidemill_engine::failpoint` takes them.
    pub fn spawn_with_faults(&self, state: &str, arguments: &[&str], faults: &str) -> Job {
        let said = File::options().create(true).append(true).open(self.workspace.path("said")).expect("a file");
        let mut command = self.workspace.command(&["run", "job.sql", "--quiet", "--state-dir", state]);
        command.env("TIDEMILL_FAILPOINTS", faults);
        Job(command.args(arguments).stdout(Stdio::null()).stderr(said).spawn().expect("the program starts"))
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.workspace.path("said")).expect("the program was started")
    }

    /// Ends the input, waits until `running` has written what is to come of it, and stops that.
    pub fn finish(&mut self, running: Job, patience_seconds: u64) -> Vec<Verdict> {
        let numbers = self.producer.take().expect("the input was begun").answer().as_i64().expect("a number");
        self.finish_with(running, numbers, patience_seconds)
    }

    /// The same, where the input is known to be the numbers up to this one.
    pub fn finish_with(&self, mut running: Job, numbers: i64, patience_seconds: u64) -> Vec<Verdict> {
        let held = self.input(numbers);
        let in_order = held.len() as i64 == numbers;
        let expected: Vec<Vec<Value>> = self.job.outputs.iter().map(|output| (output.rows)(&held)).collect();
        for (output, rows) in self.job.outputs.iter().zip(&expected) {
            let seen = self.wait_for(output.name, rows.len(), patience_seconds);
            if seen < rows.len() as u64 {
                let (prefix, name, said) = (&self.prefix, output.name, self.said());
                println!(
                    "{prefix}-{name}: {seen} of {} rows are visible after {patience_seconds} s: {said}",
                    rows.len()
                );
            }
        }
        running.signal("TERM");
        let status = wait(&mut running.0);
        assert!(status.success(), "{}: {status}: {}", self.prefix, self.said());
        let verdicts =
            self.job.outputs.iter().zip(&expected).map(|(output, rows)| self.verdict(output, rows, in_order));
        verdicts.collect()
    }

    /// The numbers that the input holds: all up to this one, and some twice where a broker was killed between storing and saying so.
    fn input(&self, numbers: i64) -> Vec<i64> {
        let found = self.broker.ask(&["numbers", &format!("{}-numbers", self.prefix)]);
        let held: Vec<i64> = serde_json::from_value(found).expect("a list of numbers");
        let mut distinct = held.clone();
        distinct.dedup();
        assert!(distinct.iter().copied().eq(0..numbers), "{}: the input lacks numbers", self.prefix);
        if held.len() > distinct.len() {
            println!("{}: the input holds {} numbers twice", self.prefix, held.len() - distinct.len());
        }
        held
    }

    /// Waits until an output has so many visible rows; how many it has.
    pub fn wait_for(&self, output: &str, rows: usize, patience_seconds: u64) -> u64 {
        let (topic, rows) = (format!("{}-{output}", self.prefix), rows.to_string());
        let seen = self.broker.ask(&["wait_for", &topic, &rows, &patience_seconds.to_string()]);
        seen.as_u64().expect("a count")
    }

    /// Waits until the first output has a row.
    pub fn wait_for_first(&self, patience_seconds: u64) {
        let output = &self.job.outputs[0];
        if self.wait_for(output.name, 1, patience_seconds) == 0 {
            // Whether anything came in tells whose fault it is.
            let input = self.broker.ask(&["numbers", &format!("{}-numbers", self.prefix)]);
            let mut numbers = [0; PARTITIONS as usize];
            let held = input.as_array().into_iter().flatten().filter_map(Value::as_i64);
            held.for_each(|n| numbers[(n % KEYS % PARTITIONS) as usize] += 1);
            let (prefix, name, said) = (&self.prefix, output.name, self.said());
            panic!(
                "{prefix}-{name}: no row is visible after {patience_seconds} s; the input's partitions hold {numbers:?} numbers: {said}"
            );
        }
    }

    fn verdict(&self, output: &Output, rows: &[Value], in_order: bool) -> Verdict {
        let topic = format!("{}-{}", self.prefix, output.name);
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        let found = self.broker.ask_with(&["ledger", &topic, output.order], &lines.join("\n"));
        Verdict { topic, expected: rows.len() as u64, in_order, found }
    }
}

/// The program, running; it is killed when this is dropped.
pub struct Job(Child);

impl Job {
    pub fn signal(&self, name: &str) {
        signal(self.0.id(), name);
    }

    /// As [`wait_or_kill`].
    pub fn wait_or_kill(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_or_kill(&mut self.0, limit)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the second client says about a topic.
pub struct Verdict {
    topic: String,
    expected: u64,
    /// So is the input: none of its numbers is there again behind later ones.
    in_order: bool,
    found: Value,
}

impl Verdict {
    /// Each expected row is there once, no other is, and none of a key before an earlier one.
    pub fn demand_exactly_once(&self) {
        let wrong = ["lost", "doubled", "foreign"].iter().chain(self.in_order.then_some(&"inverted"));
        let clean = wrong.into_iter().all(|what| self.found[what] == 0);
        assert!(
            clean && self.found["rows"] == self.expected,
            "{}: of {} rows: {}",
            self.topic,
            self.expected,
            self.found
        );
        assert!(self.expected > 0, "{}: nothing was expected", self.topic);
    }

    /// Rows that were written and never became visible: proof that there was something to hide.
    pub fn never_visible(&self) -> u64 {
        self.found["never_visible"].as_u64().expect("a count")
    }
}

impl LedgerJob {
    fn script(&self, prefix: &str, address: &str, settings: &str, options: &str) -> String {
        let mut script = format!(
            "SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '100 ms';
{settings}
CREATE TABLE numbers (n BIGINT, k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = '{prefix}-numbers',
  'properties.bootstrap.servers' = '{address}', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset');
"
        );
        for Output { name, columns, .. } in self.outputs {
            script += &format!(
                "CREATE TABLE {name} ({columns}) WITH ('connector' = 'kafka', 'topic' = '{prefix}-{name}',
  'properties.bootstrap.servers' = '{address}', 'format' = 'json', 'key.format' = 'raw', 'key.fields' = 'k'{options});\n"
            );
        }
        script + &format!("EXECUTE STATEMENT SET BEGIN{}\nEND;\n", self.queries)
    }
}
