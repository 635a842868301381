//! Commands that list what there is, asked of the server: tables and views of the session and of its jobs, functions, jobs.

use serde_json::{Value, json};

use super::super::command::matches;
use super::super::format::text_rows;
use super::super::output::say;
use super::super::shell::{Failure, Shell};
use super::Remote;
use crate::connection::{in_path, text_of};

fn show(shell: &mut Shell, headers: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
    shell.show_rows(&text_rows(&headers, rows)?)
}

/// What the session's own statements define, and what the server's jobs do.
fn objects(remote: &Remote) -> Result<Vec<(String, Value)>, Failure> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    let setup = remote.setup();
    if !setup.is_empty() {
        let body = json!({ "sql": setup, "settings": remote.settings });
        let own = remote.connection.ask("POST", "/sql/validate", Some(&body))?;
        all.extend(list(&own["objects"]).into_iter().map(|object| (String::new(), object)));
    }
    let catalog = remote.connection.ask("GET", "/catalog", None)?;
    for job in list(&catalog["jobs"]) {
        let name = text_of(&job["job"]);
        all.extend(list(&job["objects"]).into_iter().map(|object| (name.clone(), object)));
    }
    Ok(all)
}

pub fn list_entries(shell: &mut Shell, remote: &Remote, pattern: &str, only: Option<&str>) -> Result<(), Failure> {
    let row = |(job, object): (String, Value)| {
        let columns: Vec<String> =
            object["columns"].as_array().into_iter().flatten().map(|column| text_of(&column["name"])).collect();
        let query = object["query"].as_str().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        vec![
            text_of(&object["name"]),
            text_of(&object["kind"]),
            text_of(&object["options"]["connector"]),
            query.unwrap_or_else(|| columns.join(", ")),
            job,
        ]
    };
    let rows: Vec<Vec<String>> = objects(remote)?.into_iter().map(row).collect();
    let fits = |row: &Vec<String>| only.is_none_or(|kind| row[1] == kind) && matches(&row[0], pattern);
    let rows: Vec<Vec<String>> = rows.into_iter().filter(fits).collect();
    if rows.is_empty() {
        say(&format!(
            "no {} here or in a job: CREATE TABLE makes one (\\h create table)",
            only.unwrap_or("table or view")
        ));
        return Ok(());
    }
    show(shell, &["name", "kind", "connector", "columns or query", "job"], &rows)
}

/// Of the session and the job that it uses first, then of any job.
pub fn describe(shell: &mut Shell, remote: &Remote, name: &str) -> Result<(), Failure> {
    let mut found: Vec<(String, Value)> =
        objects(remote)?.into_iter().filter(|(_, object)| object["name"] == name).collect();
    found.sort_by_key(|(job, _)| (!job.is_empty(), remote.job.as_deref() != Some(job.as_str())));
    let Some((job, object)) = found.into_iter().next() else {
        return Err(Failure::Wrong(format!(
            "error: table or view `{name}` does not exist\nhint: \\d lists what there is"
        )));
    };
    let key = object["primary_key"].as_array().cloned().unwrap_or_default();
    let row = |column: &Value| {
        let is_key = if key.contains(&column["name"]) { "PRIMARY KEY" } else { "" };
        vec![text_of(&column["name"]), text_of(&column["type"]), text_of(&column["nullable"]), is_key.to_string()]
    };
    let rows: Vec<Vec<String>> = object["columns"].as_array().into_iter().flatten().map(row).collect();
    show(shell, &["name", "type", "null", "key"], &rows)?;
    let mut said = Vec::new();
    if let Some(connector) = object["options"]["connector"].as_str() {
        said.push(format!("connector: {connector}"));
    }
    said.extend(object["watermark"].as_str().map(|mark| format!("watermark: {mark}")));
    if !job.is_empty() {
        let used = remote.job.as_deref() == Some(job.as_str());
        said.push(format!("of job {job}{}", if used { "" } else { " (\\set job lets queries use it)" }));
    }
    say(&said.join("; "));
    Ok(())
}

pub fn list_functions(shell: &mut Shell, remote: &Remote, pattern: &str) -> Result<(), Failure> {
    let found = remote.connection.ask("GET", "/functions", None)?;
    let all = found["functions"].as_array().into_iter().flatten();
    let named = all.filter(|one| matches(one["name"].as_str().unwrap_or_default(), pattern));
    let rows: Vec<Vec<String>> =
        named.map(|one| ["name", "usage", "doc"].map(|key| text_of(&one[key])).to_vec()).collect();
    if rows.is_empty() {
        return Err(Failure::Wrong(format!("error: no function has `{pattern}` in its name\nhint: \\df lists all")));
    }
    show(shell, &["name", "usage", "meaning"], &rows)
}

pub fn list_jobs(shell: &mut Shell, remote: &Remote) -> Result<(), Failure> {
    let found = remote.connection.ask("GET", "/jobs", None)?;
    let row = |job: &Value| {
        let error = text_of(&job["last_error"]);
        let uptime = job["uptime_ms"].as_u64().map(std::time::Duration::from_millis);
        vec![
            text_of(&job["name"]),
            text_of(&job["phase"]),
            uptime.map(crate::status::duration).unwrap_or_default(),
            text_of(&job["epoch"]),
            error.lines().next().unwrap_or_default().to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = found["jobs"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        say("no jobs: INSERT INTO starts one");
        return Ok(());
    }
    show(shell, &["job", "phase", "for", "epoch", "error"], &rows)
}

pub fn stop_job(remote: &Remote, name: &str) -> Result<(), Failure> {
    let job = remote.connection.ask("POST", &format!("/jobs/{}/stop", in_path(name)?), Some(&json!({})))?;
    say(&format!("job {} is {}", text_of(&job["name"]), text_of(&job["phase"])));
    Ok(())
}
