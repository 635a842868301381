//! Random queries over small random tables, answered here and by DuckDB: the same rows, or a bug.
//!
//! `TIDEMILL_RANDOM_QUERIES=2000` asks more of them, `TIDEMILL_RANDOM_SEED` others. A difference is printed with its query
//! and its tables.

mod grammar;
mod tables;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::duckdb::{oracle, python_or_not_run, rows_differ};
use crate::process::Workspace;
use grammar::{Grammar, Relation, Type, dialect};

/// In the test command: a few seconds.
const QUERIES: usize = 150;
/// Queries of one job: they share their tables.
const QUERIES_PER_JOB: usize = 15;
const DEPTH_MAX: usize = 3;
/// Of all queries, so many may be refused by DuckDB (which does not decorrelate everything) before the test means little.
const REFUSED_BY_DUCKDB_MAX: f64 = 0.1;

#[test]
fn random_queries_equal_duckdb() {
    let Some(python) = python_or_not_run("random queries") else { return };
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<usize>().ok());
    let count = number("TIDEMILL_RANDOM_QUERIES").unwrap_or(QUERIES);
    let seed = number("TIDEMILL_RANDOM_SEED").unwrap_or(1);
    let (mut problems, mut refused, mut full) = (Vec::new(), 0, 0);
    for job in 0..count.div_ceil(QUERIES_PER_JOB) {
        let mut rng = ChaCha8Rng::seed_from_u64((seed * 1_000_003 + job) as u64);
        let mut queries = Queries::random(&mut rng);
        let theirs = oracle(&python, &queries.workspace, &queries.theirs, &queries.of_duckdb());
        for (name, problem) in queries.run(&mut rng, &theirs) {
            problems.push(format!("job {job}, {name}: {problem}\n{}", queries.ours[&name].text));
        }
        refused += theirs.values().filter(|answer| answer["error"].is_string()).count();
        full += theirs.values().filter(|answer| answer["rows"].as_array().is_some_and(|rows| !rows.is_empty())).count();
    }
    assert!(problems.is_empty(), "{} of {count} queries differ:\n{}", problems.len(), problems.join("\n\n"));
    assert!(refused as f64 <= REFUSED_BY_DUCKDB_MAX * count as f64, "DuckDB refused {refused} of {count} queries");
    println!("{count} random queries equal DuckDB's answers; {full} have rows, DuckDB refused {refused}");
}

/// The queries of one job, by name, and their tables.
struct Queries {
    workspace: Workspace,
    setup: String,
    theirs: String,
    ours: BTreeMap<String, Relation>,
    duckdb: BTreeMap<String, String>,
}

impl Queries {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let workspace = Workspace::new("");
        let tables = tables::write(rng, &workspace);
        let mut queries = Self {
            workspace,
            setup: tables.ours,
            theirs: tables.theirs,
            ours: BTreeMap::new(),
            duckdb: BTreeMap::new(),
        };
        for number in 0..QUERIES_PER_JOB {
            let depth = rng.random_range(1..=DEPTH_MAX);
            let query = Grammar::new(rng).query(depth);
            let name = format!("q{number}");
            queries.duckdb.insert(name.clone(), dialect(&query.text, true));
            queries.ours.insert(name, Relation { text: dialect(&query.text, false), ..query });
        }
        queries
    }

    fn of_duckdb(&self) -> BTreeMap<&String, &String> {
        self.duckdb.iter().collect()
    }

    /// What is wrong with each query. A query that stops the job is found by running each alone.
    fn run(&mut self, rng: &mut ChaCha8Rng, theirs: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
        let parallelism = rng.random_range(1..=3).to_string();
        let names: Vec<String> = self.ours.keys().filter(|name| theirs[*name]["rows"].is_array()).cloned().collect();
        if self.run_job(&names, &parallelism).is_ok() {
            return names.iter().filter_map(|name| Some((name.clone(), self.compare(name, theirs)?))).collect();
        }
        let mut problems = BTreeMap::new();
        for name in names {
            self.workspace.remove("out");
            let problem = match self.run_job(std::slice::from_ref(&name), &parallelism) {
                Ok(()) => self.compare(&name, theirs),
                Err(problem) => Some(problem),
            };
            problems.extend(problem.map(|problem| (name, problem)));
        }
        problems
    }

    fn run_job(&self, names: &[String], parallelism: &str) -> Result<(), String> {
        let mut script = self.setup.clone();
        for name in names {
            let columns = columns(&self.ours[name]);
            writeln!(
                script,
                "CREATE TABLE out_{name} ({columns}) \
                 WITH ('connector' = 'filesystem', 'path' = 'out/{name}', 'format' = 'changelog-json');"
            )
            .expect("a string takes it");
        }
        script.push_str("EXECUTE STATEMENT SET BEGIN\n");
        for name in names {
            writeln!(script, "INSERT INTO out_{name}\n{};", self.ours[name].text).expect("a string takes it");
        }
        script.push_str("END;\n");
        self.workspace.remove("state");
        self.workspace.write("job.sql", &script);
        let output = self.workspace.run_command(&["-p", parallelism]).output().expect("the program starts");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    fn compare(&self, name: &str, theirs: &BTreeMap<String, Value>) -> Option<String> {
        let lines = self.workspace.visible_lines(&format!("out/{name}"));
        let problem = rows_differ(lines, &columns(&self.ours[name]), &theirs[name])?;
        Some(format!("{problem}\nin a table set of\n{}", self.theirs))
    }
}

fn columns(query: &Relation) -> String {
    let of = |(index, data_type): (usize, &Type)| match data_type {
        Type::Int => format!("c{index} BIGINT"),
        Type::Text => format!("c{index} STRING"),
    };
    query.columns.iter().enumerate().map(of).collect::<Vec<_>>().join(", ")
}
