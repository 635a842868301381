//! Compares answers with DuckDB's: every file in `tests/duckdb` holds a query twice, in Tidemill's SQL and in
//! DuckDB's, over the same seeded input files. The real program writes its answers as JSON files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::not_run::not_run;
use crate::process::Workspace;
use answers::{Cell, difference};

pub mod answers;
mod inputs;

const QUERIES_MIN: usize = 40;
/// Queries of one job: enough to share sources, few enough that a failure names its neighbourhood.
const QUERIES_PER_JOB: usize = 9;
const BID_FILES: usize = 3;
const BIDS_PER_FILE: usize = 3_000;
const AUCTIONS: usize = 3_500;
/// Where the Python with DuckDB is; `make test` sets it.
const PYTHON_VARIABLE: &str = "TIDEMILL_DUCKDB_PYTHON";

/// One file of `tests/duckdb`.
struct Query {
    name: String,
    columns: String,
    /// The answer is written as changes, which are added up.
    changes: bool,
    /// Statements that come before the query, such as CREATE VIEW.
    prelude: String,
    tidemill: String,
    duckdb: String,
}

#[test]
fn answers_equal_duckdb() {
    let Some(python) = python_or_not_run("the queries of tests/duckdb") else { return };
    let queries = queries();
    assert!(queries.len() >= QUERIES_MIN, "only {} queries", queries.len());
    let workspace = Workspace::new("");
    write_inputs(&workspace);
    let theirs = oracle(&python, &workspace, &tables().1, &queries.iter().map(|q| (&q.name, &q.duckdb)).collect());
    let mut problems = Vec::new();
    for (job, group) in queries.chunks(QUERIES_PER_JOB).enumerate() {
        let parallelism = (job % 3 + 1).to_string();
        let failed = run_or_name_failures(&workspace, group, &parallelism);
        let ran = group.iter().filter(|query| !failed.contains_key(&query.name));
        problems.extend(ran.filter_map(|query| compare(&workspace, &query.name, &query.columns, &theirs)));
        problems.extend(failed.into_values());
    }
    assert!(problems.is_empty(), "{} of {} queries differ:\n{}", problems.len(), queries.len(), problems.join("\n"));
    println!("{} queries equal DuckDB's answers", queries.len());
}

/// The Python interpreter that has DuckDB. Without it the test fails, unless `TIDEMILL_ALLOW_NOT_RUN` is 1.
pub fn python_or_not_run(what: &str) -> Option<PathBuf> {
    let python = std::env::var_os(PYTHON_VARIABLE).map(PathBuf::from);
    let works = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", "import duckdb"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if let Some(python) = python.filter(works) {
        return Some(python);
    }
    let why = format!("DuckDB is not there ({PYTHON_VARIABLE}; `make test` installs it)");
    not_run(what, &why);
    assert!(std::env::var("TIDEMILL_ALLOW_NOT_RUN").is_ok_and(|value| value == "1"), "{why}: {what}");
    None
}

/// DuckDB's answer to each query by name, over the workspace's files.
pub fn oracle(
    python: &Path,
    workspace: &Workspace,
    setup: &str,
    queries: &BTreeMap<&String, &String>,
) -> BTreeMap<String, Value> {
    let mut command = Command::new(python);
    command.arg(source_folder().join("oracle.py")).current_dir(workspace.path(""));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
    let request = json!({ "setup": setup, "queries": queries }).to_string();
    child.stdin.take().expect("piped").write_all(request.as_bytes()).expect("oracle.py reads its request");
    let output = child.wait_with_output().expect("oracle.py ends");
    assert!(output.status.success(), "oracle.py: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("oracle.py prints JSON")
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/duckdb")
}

fn write_inputs(workspace: &Workspace) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for file in 0..BID_FILES {
        let text = inputs::bids(&mut rng, file * BIDS_PER_FILE, BIDS_PER_FILE);
        workspace.write(&format!("bids/part-{file}.json"), &text);
    }
    workspace.write("auctions.csv", &inputs::auctions(&mut rng, AUCTIONS));
}

fn queries() -> Vec<Query> {
    let files = fs::read_dir(source_folder()).expect("tests/duckdb").flatten().map(|entry| entry.path());
    let is_query = |path: &PathBuf| path.extension().is_some_and(|end| end == "sql") && !path.ends_with("tables.sql");
    let only = std::env::var("TIDEMILL_DUCKDB_ONLY").unwrap_or_default();
    let mut paths: Vec<PathBuf> = files.filter(is_query).collect();
    paths.sort();
    let queries: Vec<Query> = paths.iter().map(|path| parse(path)).collect();
    let chosen = |query: &Query| only.is_empty() || query.name.contains(&only);
    queries.into_iter().filter(chosen).collect()
}

/// (Tidemill's, DuckDB's) definitions of the inputs.
fn tables() -> (String, String) {
    let text = fs::read_to_string(source_folder().join("tables.sql")).expect("tables.sql");
    let (_, ours, theirs) = sections(&text);
    (ours, theirs)
}

/// (comment lines, Tidemill's section, DuckDB's section).
pub fn sections(text: &str) -> (String, String, String) {
    let (head, rest) = text.split_once("-- tidemill\n").expect("a section `-- tidemill`");
    let (ours, theirs) = rest.split_once("-- duckdb\n").expect("a section `-- duckdb`");
    (head.to_string(), ours.to_string(), theirs.to_string())
}

fn parse(path: &Path) -> Query {
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let text = fs::read_to_string(path).expect("a query");
    let (head, ours, duckdb) = sections(&text);
    let columns = head.lines().find_map(|line| line.strip_prefix("-- columns: ")).expect("a line `-- columns: `");
    let (prelude, tidemill) = match ours.rsplit_once(";\n") {
        Some((prelude, query)) => (format!("{prelude};\n"), query.to_string()),
        None => (String::new(), ours),
    };
    let changes = head.lines().any(|line| line == "-- changes");
    Query { name, columns: columns.to_string(), changes, prelude, tidemill, duckdb }
}

/// Runs all queries of a group as one job; where that fails, each alone, to tell which of them fail and why.
fn run_or_name_failures(workspace: &Workspace, group: &[Query], parallelism: &str) -> BTreeMap<String, String> {
    if run_job(workspace, group, parallelism).is_ok() {
        return BTreeMap::new();
    }
    workspace.remove("out");
    let alone = group.iter().map(|query| (query, run_job(workspace, std::slice::from_ref(query), parallelism)));
    let problems =
        alone.filter_map(|(query, result)| Some((query.name.clone(), format!("{}: {}", query.name, result.err()?))));
    problems.collect()
}

fn run_job(workspace: &Workspace, group: &[Query], parallelism: &str) -> Result<(), String> {
    let mut script = tables().0;
    for Query { name, columns, prelude, changes, .. } in group {
        let format = if *changes { "changelog-json" } else { "json" };
        write!(
            script,
            "{prelude}CREATE TABLE out_{name} ({columns})
             WITH ('connector' = 'filesystem', 'path' = 'out/{name}', 'format' = '{format}');\n"
        )
        .expect("a string takes it");
    }
    script.push_str("EXECUTE STATEMENT SET BEGIN\n");
    for Query { name, tidemill, .. } in group {
        write!(script, "INSERT INTO out_{name}\n{tidemill};\n").expect("a string takes it");
    }
    script.push_str("END;\n");
    workspace.remove("state");
    workspace.write("job.sql", &script);
    let output = workspace.run_command(&["-p", parallelism]).output().expect("the program starts");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// What is wrong with the answer of the query `name`, if anything: the rows in `out/NAME` against DuckDB's.
pub fn compare(workspace: &Workspace, name: &str, columns: &str, theirs: &BTreeMap<String, Value>) -> Option<String> {
    let lines = table_of(workspace.visible_lines(&format!("out/{name}")));
    compare_rows(&lines, name, columns, theirs)
}

/// Lines of changes as the rows that they add up to; other lines as they are.
fn table_of(lines: Vec<String>) -> Vec<String> {
    let change = |line: &String| -> Option<(String, i64)> {
        let change: Value = serde_json::from_str(line).ok()?;
        let taken = matches!(change["op"].as_str()?, "-U" | "-D");
        Some((change.get("data")?.to_string(), if taken { -1 } else { 1 }))
    };
    let Some(changes) = lines.iter().map(change).collect::<Option<Vec<_>>>() else { return lines };
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    changes.into_iter().for_each(|(row, count)| *counts.entry(row).or_default() += count);
    assert!(counts.values().all(|count| *count >= 0), "a row is taken back that was never given");
    counts.into_iter().flat_map(|(row, count)| std::iter::repeat_n(row, count as usize)).collect()
}

/// As [`compare`], with our rows as lines of JSON.
pub fn compare_rows(lines: &[String], name: &str, columns: &str, theirs: &BTreeMap<String, Value>) -> Option<String> {
    let answer = &theirs[name];
    let Some(rows) = answer["rows"].as_array() else {
        return Some(format!("{name}: DuckDB refuses it: {}", answer["error"]));
    };
    if rows.is_empty() {
        return Some(format!("{name}: an empty answer proves nothing"));
    }
    difference_from(lines, columns, rows).map(|text| format!("{name}: {text}"))
}

/// What is wrong with lines of changes, if anything, against an answer of `oracle.py`, which may be empty.
pub fn rows_differ(lines: Vec<String>, columns: &str, answer: &Value) -> Option<String> {
    let rows = answer["rows"].as_array().expect("DuckDB gave an answer");
    difference_from(&table_of(lines), columns, rows)
}

fn difference_from(lines: &[String], columns: &str, theirs: &[Value]) -> Option<String> {
    let floats = float_columns(columns);
    let cells = |row: &Value| {
        let values = row.as_array().expect("a row").iter();
        values.zip(&floats).map(|(value, float)| Cell::from_oracle(value, *float)).collect::<Vec<Cell>>()
    };
    let ours = lines.iter().map(|line| output_row(line, &floats)).collect();
    difference(ours, theirs.iter().map(cells).collect())
}

fn output_row(line: &str, floats: &[bool]) -> Vec<Cell> {
    let row: Value = serde_json::from_str(line).expect("the output is JSON");
    let fields = row.as_object().expect("a row is an object");
    assert_eq!(fields.len(), floats.len(), "{line}");
    fields.values().zip(floats).map(|(value, float)| Cell::from_output(value, *float)).collect()
}

/// For each column of the list, whether its type is a floating-point one.
fn float_columns(columns: &str) -> Vec<bool> {
    let mut depth = 0;
    let top_level_comma = move |c: char| {
        depth += i32::from(matches!(c, '(' | '<')) - i32::from(matches!(c, ')' | '>'));
        c == ',' && depth == 0
    };
    let is_float = |column: &str| column.contains("DOUBLE") || column.contains("FLOAT");
    columns.split(top_level_comma).map(is_float).collect()
}
