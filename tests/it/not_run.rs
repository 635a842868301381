//! Tests that cannot run here say so: at once, and at the end of `make test`, which counts them.

use std::io::Write;

/// Names the file in which `make test` collects what was not run.
const FILE_VARIABLE: &str = "TIDEMILL_NOT_RUN_FILE";

/// `what` was not tested, and why: a tool that is not there, a right that is missing.
pub fn not_run(what: &str, why: &str) {
    let thread = std::thread::current();
    // The harness names its threads after the tests.
    let test = thread.name().unwrap_or("a test");
    let what = if test.ends_with(what) { test.to_string() } else { format!("{test}: {what}") };
    // Straight to the terminal: the test harness hides what a passing test prints.
    let _ = writeln!(std::io::stderr(), "NOT RUN: {what}: {why}");
    let Some(path) = std::env::var_os(FILE_VARIABLE) else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    // One call, so that lines of tests that run at the same time do not mix.
    let written = file.and_then(|mut file| file.write_all(format!("{what}: {why}\n").as_bytes()));
    written.expect("the file of what was not run can be written");
}
