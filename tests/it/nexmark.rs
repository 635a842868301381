//! The Nexmark queries over 20,000 events in an NDJSON file, each compared with DuckDB's answer over the same file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::duckdb::{compare, compare_rows, oracle, python_or_not_run};
use crate::process::Workspace;

const EVENTS: u64 = 20_000;
/// Per second of event time: 100 seconds in all, and no two events at the same time, so that every order is total.
const RATE: u64 = 200;
/// Queries whose results are only ever added to.
const APPENDING: &[&str] = &["q0", "q1", "q2", "q3", "q5", "q7", "q8", "q11", "q14", "q20", "q21", "q22"];
/// Queries whose results are updated: their changes are written, and folded here.
const UPDATING: &[&str] = &["q4", "q6", "q9", "q15", "q16", "q17", "q18", "q19"];
/// Windows of the machine's clock: compared by what all of them hold.
const BY_THE_CLOCK: &str = "q12";

#[test]
fn queries_over_a_file_equal_duckdb() {
    let Some(python) = python_or_not_run("the Nexmark queries") else { return };
    let workspace = Workspace::new("");
    write_events(&workspace);
    run_queries(&workspace, &tables("tables.sql"));
    let problems = problems(&workspace, &python);
    assert!(problems.is_empty(), "{} queries differ:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn queries_over_the_generator_give_the_same_rows() {
    let workspaces = [Workspace::new(""), Workspace::new("")];
    write_events(&workspaces[0]);
    run_queries(&workspaces[0], &tables("tables.sql"));
    run_queries(&workspaces[1], &tables("tables_generator.sql"));
    for name in APPENDING {
        let [file, generator] = workspaces.each_ref().map(|workspace| workspace.visible_lines(&format!("out/{name}")));
        assert!(file == generator, "{name}: {} rows from the file, {} from the generator", file.len(), generator.len());
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/nexmark")
}

/// A file of the benchmark's folder, with the size of this test in it.
fn text(file: &str) -> String {
    let text = fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.replace("${EVENTS}", &EVENTS.to_string()).replace("${RATE}", &RATE.to_string())
}

fn tables(file: &str) -> String {
    format!("SET 'restart-strategy.type' = 'none';\n{}{}", text(file), text("views.sql"))
}

/// As benches/nexmark/generate.sh makes it.
fn write_events(workspace: &Workspace) {
    workspace.write("job.sql", &text("generate.sql"));
    workspace.run_to_end(&[]);
    let lines: Vec<String> = crate::process::visible_files(&workspace.path("events"))
        .iter()
        .map(|file| fs::read_to_string(file).expect("text"))
        .collect();
    workspace.write("events.json", &lines.concat());
    assert_eq!(lines.concat().lines().count() as u64, EVENTS);
}

/// The columns of a query's result, as DDL.
fn columns(name: &str) -> String {
    let text = text(&format!("queries/{name}.sql"));
    let columns = text.lines().find_map(|line| line.strip_prefix("-- columns: "));
    columns.expect("a line `-- columns: `").to_string()
}

fn names() -> impl Iterator<Item = &'static str> {
    APPENDING.iter().chain(UPDATING).copied().chain([BY_THE_CLOCK])
}

/// The rows that are left of changes, as JSON objects.
fn folded(changes: &[String]) -> Vec<String> {
    let mut counts = BTreeMap::<String, i64>::new();
    for change in changes {
        let change: Value = serde_json::from_str(change).expect("the output is JSON");
        let added = matches!(change["op"].as_str(), Some("+I" | "+U"));
        *counts.entry(change["data"].to_string()).or_default() += if added { 1 } else { -1 };
    }
    let bad = counts.iter().find(|(_, count)| **count < 0);
    assert!(bad.is_none(), "a row was taken back that was never given: {bad:?}");
    counts.into_iter().flat_map(|(row, count)| vec![row; count as usize]).collect()
}

/// All queries as one job.
fn run_queries(workspace: &Workspace, tables: &str) {
    let mut script = tables.to_string();
    for name in names() {
        let columns = columns(name);
        let format = if UPDATING.contains(&name) { "changelog-json" } else { "json" };
        let options = format!("'connector' = 'filesystem', 'path' = 'out/{name}', 'format' = '{format}'");
        writeln!(script, "CREATE TABLE {name} ({columns}) WITH ({options});").expect("a string takes it");
    }
    script.push_str("EXECUTE STATEMENT SET BEGIN\n");
    for name in names() {
        let query = text(&format!("queries/{name}.sql"));
        writeln!(script, "INSERT INTO {name}\n{query};").expect("a string takes it");
    }
    script.push_str("END;\n");
    workspace.remove("state");
    workspace.write("job.sql", &script);
    workspace.run_to_end(&["-p", "2"]);
}

fn problems(workspace: &Workspace, python: &Path) -> Vec<String> {
    let names: Vec<String> = names().map(str::to_string).collect();
    let queries: Vec<String> = names.iter().map(|name| text(&format!("duckdb/{name}.sql"))).collect();
    let theirs = oracle(python, workspace, &text("duckdb/tables.sql"), &names.iter().zip(&queries).collect());
    let mut problems: Vec<String> =
        APPENDING.iter().filter_map(|name| compare(workspace, name, &columns(name), &theirs)).collect();
    let rows_of = |name: &str| folded(&workspace.visible_lines(&format!("out/{name}")));
    problems.extend(UPDATING.iter().filter_map(|name| compare_rows(&rows_of(name), name, &columns(name), &theirs)));
    let per_bidder = bids_per_bidder(&workspace.visible_lines(&format!("out/{BY_THE_CLOCK}")));
    problems.extend(compare_rows(&per_bidder, BY_THE_CLOCK, "bidder BIGINT, bid_count BIGINT", &theirs));
    problems
}

/// Windows of the machine's clock fall differently at each run, but together they hold every bid once.
fn bids_per_bidder(lines: &[String]) -> Vec<String> {
    let mut counts = BTreeMap::<i64, i64>::new();
    for line in lines {
        let row: Value = serde_json::from_str(line).expect("the output is JSON");
        let number = |name: &str| row[name].as_i64().expect("a number");
        *counts.entry(number("bidder")).or_default() += number("bid_count");
    }
    counts.into_iter().map(|(bidder, count)| format!(r#"{{"bidder":{bidder},"bid_count":{count}}}"#)).collect()
}
