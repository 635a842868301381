//! What those ask who watch over the server: is it there, is it ready, how does it do.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::json;

use crate::server::app::App;
use crate::server::metrics;
use crate::server::problem::Problem;
use crate::server::route::{Call, Reply};

pub fn livez(_app: &Arc<App>, _call: &Call) -> Result<Reply, Problem> {
    Reply::json(&json!({ "status": "alive" }))
}

/// Ready when every job that was to go on has been started, until the server begins to end.
pub fn readyz(app: &Arc<App>, _call: &Call) -> Result<Reply, Problem> {
    match app.supervisor.is_ready() {
        true => Reply::json(&json!({ "status": "ready" })),
        false => Reply::json_with(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready" })),
    }
}

pub fn metrics(app: &Arc<App>, _call: &Call) -> Result<Reply, Problem> {
    Reply::text(metrics::CONTENT_TYPE, metrics::render(app)?)
}
