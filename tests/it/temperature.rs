//! The main example on a machine's temperatures: killed twice on the way, its output must equal DuckDB's answer.
//! `TIDEMILL_TEMPERATURE_FILE` runs the same job over another file with the columns timestamp and value.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Number, Value};

use crate::duckdb::answers::{Cell, difference};
use crate::duckdb::{oracle, python_or_not_run};
use crate::examples::workspace_of;
use crate::process::{Workspace, wait};

const KILLS: usize = 2;
/// How often the job is begun anew because it ended before it could be killed.
const ATTEMPTS_MAX: usize = 20;
/// A run that shows no checkpoint for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

const SETUP: &str = "CREATE TABLE readings AS SELECT * FROM read_csv('readings.csv', header = true,
    columns = {timestamp: 'TIMESTAMP', value: 'DOUBLE'})";

const HOURLY: &str = "SELECT date_trunc('hour', timestamp), COUNT(*), round(AVG(value), 3), MIN(value), MAX(value)
    FROM readings GROUP BY 1";

const DEVIATIONS: &str = "
    WITH hours AS (SELECT DISTINCT date_trunc('hour', timestamp) + INTERVAL 1 HOUR AS hour_end FROM readings),
      days AS (SELECT hour_end, timestamp >= hour_end - INTERVAL 1 HOUR AS is_last, value FROM hours JOIN readings
        ON timestamp >= hour_end - INTERVAL 24 HOUR AND timestamp < hour_end),
      figures AS (SELECT hour_end, AVG(value) FILTER (is_last) AS mean, AVG(value) FILTER (NOT is_last) AS usual,
        stddev_samp(value) FILTER (NOT is_last) AS spread FROM days GROUP BY hour_end)
    SELECT hour_end, round(mean, 3), round(usual, 3), round(spread, 3), COALESCE(abs(mean - usual) > 3 * spread, false)
    FROM figures";

#[test]
fn temperatures_equal_duckdb_after_two_kills() {
    let Some(python) = python_or_not_run("the temperature example") else { return };
    let workspace = workspace_of("machine-temperature");
    if let Some(file) = std::env::var_os("TIDEMILL_TEMPERATURE_FILE") {
        workspace.write("readings.csv", &fs::read_to_string(file).expect("a file of readings"));
    }
    let job = fs::read_to_string(workspace.path("job.sql")).expect("the example's job");
    // Small batches and many checkpoints, so that there is time to kill it.
    let settings = "SET 'execution.checkpointing.interval' = '5 ms'; SET 'tidemill.batch-rows' = '16';";
    workspace.write("job.sql", &format!("{settings}\n{job}"));
    kill_twice_then_finish(&workspace);

    let names = ["hourly", "deviations"].map(str::to_string);
    let queries = [HOURLY, DEVIATIONS].map(str::to_string);
    let theirs = oracle(&python, &workspace, SETUP, &names.iter().zip(&queries).collect::<BTreeMap<_, _>>());
    compare(&workspace, "hourly", &[false, false, true, true, true], &theirs["hourly"]);
    compare(&workspace, "deviations", &[false, true, true, true, false], &theirs["deviations"]);
    report(&workspace);
}

/// Kills the job twice on its way and lets it end; begins anew where it ended too early.
fn kill_twice_then_finish(workspace: &Workspace) {
    for _ in 0..ATTEMPTS_MAX {
        workspace.remove("state");
        workspace.remove("out");
        let killed = (0..KILLS).all(|_| killed_after_checkpoint(workspace));
        let hours_before = workspace.visible_lines("out/hourly").len();
        let status = wait(&mut workspace.run_command(&["-p", "2"]).spawn().expect("the program starts"));
        assert!(status.success(), "{status}");
        if killed && hours_before < workspace.visible_lines("out/hourly").len() {
            println!("killed {KILLS} times, the last time with {hours_before} hours written");
            return;
        }
    }
    panic!("the job ended before it was killed {KILLS} times, in {ATTEMPTS_MAX} attempts");
}

/// Runs the job until it has taken a further checkpoint and kills it; false: it ended before.
fn killed_after_checkpoint(workspace: &Workspace) -> bool {
    let before = newest_checkpoint(workspace);
    let mut child = workspace.run_command(&["-p", "1"]).stdout(Stdio::null()).spawn().expect("the program starts");
    let deadline = Instant::now() + PATIENCE;
    while newest_checkpoint(workspace) == before {
        if child.try_wait().expect("a child can be waited for").is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "no checkpoint within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("a child that was not waited for can be killed");
    child.wait().expect("a killed child ends");
    true
}

/// The greatest name of a checkpoint with a manifest.
fn newest_checkpoint(workspace: &Workspace) -> Option<String> {
    let entries = fs::read_dir(workspace.path("state/checkpoints")).ok()?.flatten();
    let sound = entries.filter(|entry| Path::new(&entry.path()).join("MANIFEST").exists());
    sound.map(|entry| entry.file_name().to_string_lossy().into_owned()).max()
}

fn compare(workspace: &Workspace, output: &str, floats: &[bool], theirs: &Value) {
    let rows = theirs["rows"].as_array().unwrap_or_else(|| panic!("DuckDB: {}", theirs["error"]));
    let cells = |row: &Value| {
        let values = row.as_array().expect("a row").iter();
        values.zip(floats).map(|(value, float)| Cell::from_oracle(value, *float)).collect()
    };
    let ours = workspace.visible_lines(&format!("out/{output}"));
    let ours = ours.iter().map(|line| csv_row(line, floats)).collect();
    let difference = difference(ours, rows.iter().map(cells).collect());
    assert!(difference.is_none(), "{output}: {}", difference.unwrap_or_default());
}

/// No column of the example holds quotes or commas.
fn csv_row(line: &str, floats: &[bool]) -> Vec<Cell> {
    let value = |text: &str| match text {
        "" => Value::Null,
        "true" | "false" => Value::Bool(text == "true"),
        _ => text.parse::<Number>().map_or(Value::from(text), Value::Number),
    };
    line.split(',').zip(floats).map(|(text, float)| Cell::from_output(&value(text.trim_matches('"')), *float)).collect()
}

fn report(workspace: &Workspace) {
    let rows = fs::read_to_string(workspace.path("readings.csv")).expect("readings").lines().count() - 1;
    let hours = workspace.visible_lines("out/hourly").len();
    let windows = workspace.visible_lines("out/deviations");
    let flagged = windows.iter().filter(|line| line.ends_with("true")).count();
    assert!(flagged > 0 && flagged < windows.len() / 4, "{flagged} of {} hours flagged", windows.len());
    println!("{rows} readings, {hours} hours, {} sliding windows, {flagged} flagged: equal to DuckDB", windows.len());
}
