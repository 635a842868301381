//! A change stream in a file through kills: what is written of it folds to the same table, and the snapshot is at every
//! moment the table as it was after some change.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::crash_jobs;
use crate::process::{Workspace, wait_or_kill};

const CHANGES: usize = 12_000;
/// Few, so that every state of the table can be remembered.
const IDS: i64 = 20;
const KILLS: usize = 12;

const SCRIPT: &str = "
SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '50 ms';
SET 'tidemill.batch-rows' = '16';
CREATE TABLE stream (id BIGINT, shop STRING, amount BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'stream.json', 'format' = 'debezium-json');
CREATE TABLE latest (id BIGINT, shop STRING, amount BIGINT, PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'filesystem', 'path' = 'out/latest', 'format' = 'json', 'sink.changelog' = 'snapshot');
CREATE TABLE changes (id BIGINT, shop STRING, amount BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/changes', 'format' = 'changelog-json');
CREATE TABLE totals (shop STRING, n BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/totals', 'format' = 'debezium-json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO latest SELECT * FROM stream;
INSERT INTO changes SELECT * FROM stream;
INSERT INTO totals SELECT shop, COUNT(*), SUM(amount) FROM stream GROUP BY shop;
END;
";

#[test]
fn a_change_stream_survives_kills() {
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    let (lines, tables) = stream(&mut rng);
    let workspace = Workspace::new(SCRIPT);
    workspace.write("stream.json", &lines);
    let states: BTreeSet<String> = tables.iter().map(shown).collect();
    let latest = || workspace.visible_lines("out/latest").join("\n");
    let mut kills = 0;
    while !ends(&workspace, &mut rng, kills) {
        kills += 1;
        // Before the first commit there is no file.
        let table = latest();
        assert!(table.is_empty() || states.contains(&table), "no state of the table after {kills} kills:\n{table}");
    }
    println!("{kills} kills");
    let end = tables.last().expect("changes");
    assert_eq!(latest(), shown(end));
    assert_eq!(folded(&workspace, "changes").join("\n"), shown(end));
    assert_eq!(folded(&workspace, "totals"), totals(end));
}

/// Runs the job; false where it was killed before its end.
fn ends(workspace: &Workspace, rng: &mut ChaCha8Rng, kills: usize) -> bool {
    let parallelism = if rng.random_bool(0.5) { "1" } else { "2" };
    let mut command = workspace.run_command(&["-p", parallelism]);
    let mut child = command.stdout(Stdio::null()).spawn().expect("the program starts");
    let patience = if kills < KILLS { rng.random_range(50..600) } else { 100_000 };
    match wait_or_kill(&mut child, Duration::from_millis(patience)) {
        Some(status) => {
            assert!(status.success(), "the program failed after {kills} kills: {status}");
            true
        }
        None => false,
    }
}

/// Rows by id.
type Table = BTreeMap<i64, Value>;

/// Changes as Debezium tells them, and the table after each.
fn stream(rng: &mut ChaCha8Rng) -> (String, Vec<Table>) {
    let (mut lines, mut tables, mut table) = (String::new(), Vec::new(), Table::new());
    for _ in 0..CHANGES {
        let id = rng.random_range(0..IDS);
        let shop = ["a", "b", "c"][rng.random_range(0..3)];
        let new = json!({ "id": id, "shop": shop, "amount": rng.random_range(0..100) });
        let change = match table.get(&id).cloned() {
            None => json!({ "before": null, "after": new, "op": "c" }),
            Some(old) if rng.random_bool(0.3) => json!({ "before": old, "after": null, "op": "d" }),
            Some(old) => json!({ "before": old, "after": new, "op": "u" }),
        };
        if change["after"].is_null() {
            drop(table.remove(&id))
        } else {
            drop(table.insert(id, new))
        }
        lines += &format!("{change}\n");
        tables.push(table.clone());
    }
    (lines, tables)
}

fn shown(table: &Table) -> String {
    let mut lines: Vec<String> = table.values().map(Value::to_string).collect();
    lines.sort();
    lines.join("\n")
}

fn totals(table: &Table) -> Vec<String> {
    let mut totals = BTreeMap::<&str, (i64, i64)>::new();
    for row in table.values() {
        let (n, total) = totals.entry(row["shop"].as_str().expect("a text")).or_default();
        *n += 1;
        *total += row["amount"].as_i64().expect("a number");
    }
    let row = |(shop, (n, total))| json!({ "shop": shop, "n": n, "total": total }).to_string();
    totals.into_iter().map(row).collect()
}

/// What the changes in an output folder add up to, whatever the order of its files.
fn folded(workspace: &Workspace, name: &str) -> Vec<String> {
    crash_jobs::folded(&workspace.visible_lines(&format!("out/{name}")))
}
