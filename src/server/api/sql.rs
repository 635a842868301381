//! What can be asked about SQL without starting anything.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tidemill_sql::explain;

use crate::jobs::{PlanRequest, Planned};
use crate::server::app::App;
use crate::server::problem::Problem;
use crate::server::route::{Call, Reply};

fn planned(app: &App, call: &Call) -> Result<Planned, Problem> {
    let request = PlanRequest {
        sql: call.text("sql").unwrap_or_default().to_string(),
        settings: call.texts("settings").unwrap_or_default(),
        parallelism: call.integer("parallelism").map(|one| one as usize),
    };
    Ok(app.supervisor.planner.plan(&request, Arc::new(Mutex::new(io::sink())))?)
}

/// What is wrong comes as a problem with its place.
pub fn validate(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let planned = planned(app, call)?;
    let (jobs, warnings) = (planned.script.jobs().count(), planned.script.warnings());
    Reply::json(&json!({ "valid": true, "jobs": jobs, "warnings": warnings, "objects": planned.objects }))
}

pub fn explain(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let planned = planned(app, call)?;
    let jobs = || planned.script.jobs().map(|job| &job.planned);
    match call.text("format").unwrap_or("text") {
        "json" => {
            let graphs: Vec<Value> = jobs().map(|job| explain::graph_as_json_value(&job.graph)).collect();
            Reply::json(&json!({ "jobs": graphs }))
        }
        "dot" => Reply::text("text/vnd.graphviz", jobs().map(|job| explain::graph_as_dot(&job.graph)).collect()),
        _ => Reply::text("text/plain; charset=utf-8", jobs().map(explain::explain).collect::<Vec<_>>().join("\n")),
    }
}
