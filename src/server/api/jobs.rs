//! What can be asked of jobs.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::json;

use crate::jobs::{NewJob, StartFrom, Upgrade};
use crate::server::app::App;
use crate::server::problem::{Kind, Problem};
use crate::server::route::{Call, Reply};
use crate::server::status::{figures_json, posted_json, status_json};

const LOGS_DEFAULT: u64 = 200;

/// What `from_savepoint` and `fresh` say together.
fn start_from(call: &Call) -> Result<Option<StartFrom>, Problem> {
    match (call.text("from_savepoint"), call.is_true("fresh")) {
        (Some(_), true) => Err(Problem::new(Kind::BadRequest, "'from_savepoint' and 'fresh' exclude each other")),
        (Some(name), false) => Ok(Some(StartFrom::Savepoint(name.to_string()))),
        (None, true) => Ok(Some(StartFrom::Nothing)),
        (None, false) => Ok(None),
    }
}

fn parallelism(call: &Call) -> Option<usize> {
    call.integer("parallelism").map(|one| one as usize)
}

pub fn create(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let new = NewJob {
        name: call.text("name").unwrap_or_default().to_string(),
        sql: call.text("sql").unwrap_or_default().to_string(),
        settings: call.texts("settings").unwrap_or_default(),
        parallelism: parallelism(call),
        start: call.body.get("start").and_then(|start| start.as_bool()).unwrap_or(true),
        from: start_from(call)?.filter(|from| *from != StartFrom::Nothing),
    };
    Reply::json_with(StatusCode::CREATED, &app.supervisor.create(new)?)
}

/// With `figures` each job says how it does, and leaves out its SQL.
pub fn list(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let views = app.supervisor.list()?;
    if call.query.get("figures").is_none_or(|value| value != "true") {
        return Reply::json(&json!({ "jobs": views }));
    }
    let with_figures = |view: crate::jobs::JobView| {
        let figures = app.supervisor.status_of(&view.id).map(|status| figures_json(&status));
        let mut job = json!(view);
        if let Some(members) = job.as_object_mut() {
            members.remove("sql");
            members.insert("figures".to_string(), json!(figures));
        }
        job
    };
    Reply::json(&json!({ "jobs": views.into_iter().map(with_figures).collect::<Vec<_>>() }))
}

pub fn get(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    Reply::json(&app.supervisor.view(call.param("id"))?)
}

pub fn delete(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    app.supervisor.delete(call.param("id"))?;
    Reply::nothing()
}

pub fn start(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    Reply::json(&app.supervisor.start(call.param("id"), start_from(call)?)?)
}

pub fn stop(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let name = call.text("savepoint_name").map(str::to_string);
    let savepoint = (call.is_true("savepoint") || name.is_some()).then_some(name);
    Reply::json(&app.supervisor.stop(call.param("id"), savepoint)?)
}

pub fn cancel(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    Reply::json(&app.supervisor.cancel(call.param("id"))?)
}

pub fn restart(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    Reply::json(&app.supervisor.restart(call.param("id"))?)
}

pub fn rescale(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let wanted = parallelism(call).unwrap_or_default();
    Reply::json(&app.supervisor.rescale(call.param("id"), wanted)?)
}

pub fn upgrade(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let upgrade = Upgrade {
        sql: call.text("sql").unwrap_or_default().to_string(),
        settings: call.texts("settings"),
        parallelism: parallelism(call),
        fresh: call.is_true("fresh"),
        dry_run: call.query.get("dry_run").is_some_and(|value| value == "true"),
    };
    Reply::json(&app.supervisor.upgrade(call.param("id"), &upgrade)?)
}

pub fn take_savepoint(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let name = call.text("name").map(str::to_string);
    Reply::json_with(StatusCode::CREATED, &app.supervisor.savepoint(call.param("id"), name)?)
}

pub fn savepoints(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    Reply::json(&json!({ "savepoints": app.supervisor.savepoints(call.param("id"))? }))
}

pub fn delete_savepoint(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    app.supervisor.delete_savepoint(call.param("id"), call.param("name"))?;
    Reply::nothing()
}

pub fn checkpoints(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    Reply::json(&json!({ "checkpoints": app.supervisor.checkpoints(call.param("id"))? }))
}

/// `null` where the job has not run since the server started.
pub fn metrics(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let job = app.supervisor.find(call.param("id"))?;
    let phase = app.supervisor.phase(&job);
    let status = app.supervisor.status(&job).map(|status| status_json(&status));
    let posted: Vec<_> =
        app.supervisor.posted(&job).iter().map(|(table, figures)| posted_json(table, figures)).collect();
    Reply::json(&json!({ "id": job.id, "name": job.name, "phase": phase, "status": status, "posted": posted }))
}

pub fn logs(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let job = app.supervisor.find(call.param("id"))?;
    let (after, limit) = (call.query_number("after", 0), call.query_number("limit", LOGS_DEFAULT));
    let entries = app.supervisor.logs(&job, after, usize::try_from(limit).unwrap_or(usize::MAX));
    Reply::json(&json!({ "entries": entries }))
}
