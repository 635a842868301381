//! What there is: connectors, functions, what the jobs' SQL defines, the audit log, the API's own description.

use std::sync::Arc;

use serde_json::{Value, json};
use tidemill_connectors::registry::Registry;

use crate::jobs::now_ms;
use crate::list::function_groups;
use crate::server::app::App;
use crate::server::openapi;
use crate::server::problem::Problem;
use crate::server::route::{Call, Reply};

const AUDIT_DEFAULT: u64 = 100;

pub fn connectors(_app: &Arc<App>, _call: &Call) -> Result<Reply, Problem> {
    Reply::json(&json!({ "connectors": Registry::standard().describe() }))
}

pub fn functions(_app: &Arc<App>, _call: &Call) -> Result<Reply, Problem> {
    let groups = function_groups();
    let all: Vec<Value> = groups
        .iter()
        .flat_map(|(category, docs)| {
            docs.iter()
                .map(move |doc| json!({ "name": doc.name, "category": category, "usage": doc.usage, "doc": doc.doc }))
        })
        .collect();
    Reply::json(&json!({ "functions": all }))
}

/// The tables and views of all jobs, or of one.
pub fn catalog(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let supervisor = &app.supervisor;
    let jobs = match call.query.get("job") {
        Some(name) => vec![supervisor.find(name)?],
        None => supervisor.store().list()?,
    };
    let of_job = |job: crate::jobs::JobRecord| {
        let name = job.name.clone();
        // A secret or a folder that is gone makes SQL wrong that was right: the other jobs are shown all the same.
        match app.objects.of(&supervisor.planner, job) {
            Ok(objects) => json!({ "job": name, "objects": &*objects }),
            Err(refusal) => json!({ "job": name, "objects": [], "error": Problem::from(refusal).json() }),
        }
    };
    Reply::json(&json!({ "jobs": jobs.into_iter().map(of_job).collect::<Vec<_>>() }))
}

pub fn audit(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let count = call.query_number("limit", AUDIT_DEFAULT);
    app.supervisor.store().audit_refused(&app.refused.take_all(now_ms()))?;
    Reply::json(&app.supervisor.store().audit_page(usize::try_from(count).unwrap_or(usize::MAX))?)
}

pub fn openapi(app: &Arc<App>, _call: &Call) -> Result<Reply, Problem> {
    Reply::json(&openapi::document(!app.tokens.is_empty()))
}

pub fn docs(_app: &Arc<App>, _call: &Call) -> Result<Reply, Problem> {
    Reply::text("text/html; charset=utf-8", include_str!("../docs.html").to_string())
}
