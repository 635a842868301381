//! Small random tables with NULLs and repeated rows: as files for Tidemill, as statements for DuckDB.

use std::fmt::Write as _;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::process::Workspace;

const ROWS_MAX: usize = 12;
const EVENTS: usize = 20;

/// c0, c1 and c2; `None` is NULL.
type Row = (Option<i64>, Option<i64>, Option<&'static str>);

/// How each of the two sees the tables.
pub struct Tables {
    pub ours: String,
    pub theirs: String,
}

/// Writes the files of t and u (rows), w (changes of rows), n (no NULLs) and e (events).
pub fn write(rng: &mut ChaCha8Rng, workspace: &Workspace) -> Tables {
    let mut tables = Tables { ours: "SET 'restart-strategy.type' = 'none';\n".into(), theirs: String::new() };
    for (name, nulls) in [("t", 0.2), ("u", 0.2), ("n", 0.0)] {
        let count = rng.random_range(1..=ROWS_MAX);
        let rows: Vec<Row> = (0..count).map(|_| row(rng, nulls)).collect();
        let files = rows.chunks(rows.len().div_ceil(2));
        for (file, rows) in files.enumerate() {
            workspace
                .write(&format!("{name}/{file}.json"), &rows.iter().map(|row| json(row) + "\n").collect::<String>());
        }
        tables.add(name, "json", if nulls > 0.0 { "" } else { " NOT NULL" }, &rows);
    }
    let (changes, rows) = changes(rng);
    workspace.write("w/changes.json", &changes);
    tables.add("w", "changelog-json", "", &rows);
    tables.add_events(rng, workspace);
    tables
}

impl Tables {
    fn add(&mut self, name: &str, format: &str, not_null: &str, rows: &[Row]) {
        writeln!(
            self.ours,
            "CREATE TABLE {name} (c0 INT{not_null}, c1 INT{not_null}, c2 STRING{not_null}) WITH ('connector' = 'filesystem', \
             'path' = '{name}', 'format' = '{format}');"
        )
        .expect("a string takes it");
        writeln!(self.theirs, "CREATE OR REPLACE TABLE {name} (c0 INT, c1 INT, c2 VARCHAR);")
            .expect("a string takes it");
        for row in rows {
            let text = row.2.map_or("NULL".to_string(), |text| format!("'{text}'"));
            writeln!(self.theirs, "INSERT INTO {name} VALUES ({}, {}, {text});", number(row.0), number(row.1))
                .expect("a string takes it");
        }
    }

    fn add_events(&mut self, rng: &mut ChaCha8Rng, workspace: &Workspace) {
        self.ours += "CREATE TABLE e (k INT, v INT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' MINUTE) \
                      WITH ('connector' = 'filesystem', 'path' = 'e', 'format' = 'json');\n";
        self.theirs += "CREATE OR REPLACE TABLE e (k INT, v INT, s VARCHAR, ts TIMESTAMP);\n";
        let mut lines = String::new();
        for _ in 0..EVENTS {
            let (k, v, s) = row(rng, 0.15);
            let time = format!("2024-01-01 00:0{}:{:02}", rng.random_range(0..2), rng.random_range(0..60));
            let text = s.map_or("null".to_string(), |text| format!("\"{text}\""));
            let (key, value) = (number(k).to_lowercase(), number(v).to_lowercase());
            writeln!(lines, "{{\"k\": {key}, \"v\": {value}, \"s\": {text}, \"ts\": \"{time}\"}}")
                .expect("a string takes it");
            let text = s.map_or("NULL".to_string(), |text| format!("'{text}'"));
            writeln!(self.theirs, "INSERT INTO e VALUES ({}, {}, {text}, '{time}');", number(k), number(v))
                .expect("a string takes it");
        }
        workspace.write("e/events.json", &lines);
    }
}

fn row(rng: &mut ChaCha8Rng, nulls: f64) -> Row {
    let some = |rng: &mut ChaCha8Rng| !rng.random_bool(nulls);
    let c0 = some(rng).then(|| rng.random_range(0..4));
    let c1 = some(rng).then(|| rng.random_range(0..5));
    let c2 = some(rng).then(|| *["x", "y", "z"].choose(rng).expect("a text"));
    (c0, c1, c2)
}

fn number(value: Option<i64>) -> String {
    value.map_or("NULL".to_string(), |value| value.to_string())
}

fn json(row: &Row) -> String {
    let text = row.2.map_or("null".to_string(), |text| format!("\"{text}\""));
    format!("{{\"c0\": {}, \"c1\": {}, \"c2\": {text}}}", number(row.0).to_lowercase(), number(row.1).to_lowercase())
}

/// Changes of a table, and its rows at the end.
fn changes(rng: &mut ChaCha8Rng) -> (String, Vec<Row>) {
    let (mut rows, mut text): (Vec<Row>, String) = (Vec::new(), String::new());
    let mut push = |op: &str, row: &Row| {
        writeln!(text, "{{\"data\": {}, \"op\": \"{op}\"}}", json(row)).expect("a string takes it")
    };
    for _ in 0..ROWS_MAX * 2 {
        let new = row(rng, 0.15);
        let known = (!rows.is_empty()).then(|| rng.random_range(0..rows.len()));
        match (rng.random_range(0..10), known) {
            (0..=2, Some(place)) => push("-D", &rows.swap_remove(place)),
            (3..=5, Some(place)) => {
                push("-U", &rows[place]);
                push("+U", &new);
                rows[place] = new;
            }
            _ => {
                push("+I", &new);
                rows.push(new);
            }
        }
    }
    (text, rows)
}
