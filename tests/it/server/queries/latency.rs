//! What the way over HTTP costs: until the first row, and for each row after it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::kit::Server;
use super::kit::{LINES, Stream, query};

const ROWS: usize = 60;
/// Of the tries, the best counts: what else runs on this machine is not what is measured.
const TRIES: usize = 10;
const FIRST_ROW_TIME: Duration = Duration::from_millis(300);
const ADDED_TIME: Duration = Duration::from_millis(5);
/// Each row tells when it was computed, in milliseconds.
const ROWS_WITH_TIME: &str = "CREATE TABLE d (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50');
SELECT CAST(CURRENT_ROW_TIMESTAMP() AS STRING) AS t FROM d";

#[test]
fn the_first_row_is_there_soon_and_no_row_is_held_up() {
    let server = Server::start(&[]);
    let first = (0..TRIES).map(|_| first_row(&server)).min().expect("tries");
    let embedded = median(embedded_delays());
    let streamed = median(streamed_delays(&server));
    let added = streamed.saturating_sub(embedded);
    println!("first row after {first:?}; a row takes {embedded:?} embedded, {streamed:?} streamed: {added:?} more");
    assert!(first < FIRST_ROW_TIME, "{first:?}");
    assert!(added < ADDED_TIME, "{streamed:?} instead of {embedded:?}");
}

fn first_row(server: &Server) -> Duration {
    let begun = Instant::now();
    let mut stream = Stream::open(server, LINES, &query(ROWS_WITH_TIME));
    stream.next("rows");
    begun.elapsed()
}

/// From when a row was computed to when its reader has it.
fn delay(time: &str) -> Duration {
    let computed = chrono::NaiveDateTime::parse_from_str(time.trim_end_matches('Z'), "%Y-%m-%d %H:%M:%S%.f");
    let computed = computed.unwrap_or_else(|error| panic!("{error}: {time}"));
    (chrono::Utc::now().naive_utc() - computed).to_std().unwrap_or_default()
}

fn streamed_delays(server: &Server) -> Vec<Duration> {
    let mut stream = Stream::open(server, LINES, &query(ROWS_WITH_TIME));
    let mut delays = Vec::new();
    while delays.len() < ROWS {
        let message = stream.next("rows");
        let rows = message["rows"].as_array().expect("rows");
        delays.extend(rows.iter().map(|row| delay(row[0].as_str().expect("a time"))));
    }
    delays
}

/// The same query in a shell of its own.
fn embedded_delays() -> Vec<Duration> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(["--format", "json", "--set", "table.local-time-zone=UTC", "--set", "parallelism.default=1"]);
    let mut child = command.args(["-c", ROWS_WITH_TIME]).stdout(Stdio::piped()).spawn().expect("the program starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let times = lines.map_while(Result::ok).take(ROWS).map(|line| {
        let row: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        delay(row["t"].as_str().expect("a time"))
    });
    let delays = times.collect();
    child.kill().expect("killed");
    child.wait().expect("ended");
    delays
}

fn median(mut delays: Vec<Duration>) -> Duration {
    delays.sort_unstable();
    delays[delays.len() / 2]
}
