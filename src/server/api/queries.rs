//! What can be asked of ad-hoc queries.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::json;

use crate::server::app::App;
use crate::server::problem::Problem;
use crate::server::queries::{self, QueryRequest, Started};
use crate::server::route::{Call, Reply, ReplyBody};

pub fn create(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let request = QueryRequest::of(&call.body, queries::negotiate(&call.accept)?)?;
    let (content_type, body) = match queries::start(app, request, &call.caller, call.hangup.clone())? {
        Started::Stream(framing, body) => (framing.content_type(), ReplyBody::Stream(Box::new(body))),
        Started::Whole(answer, waiting) => ("application/json", ReplyBody::Later(answer, waiting)),
    };
    Ok(Reply { status: StatusCode::OK, content_type, body })
}

/// The first message over the WebSocket says what is asked for.
pub fn socket(_app: &Arc<App>, _call: &Call) -> Result<Reply, Problem> {
    Ok(Reply { status: StatusCode::SWITCHING_PROTOCOLS, content_type: "", body: ReplyBody::Socket })
}

pub fn list(app: &Arc<App>, _call: &Call) -> Result<Reply, Problem> {
    Reply::json(&json!({ "queries": app.queries.list() }))
}

pub fn rows(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let token = call.query.get("page_token").map(String::as_str);
    Reply::text("application/json", app.queries.page(call.param("id"), token, &call.caller)?.text)
}

pub fn cancel(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    app.queries.cancel(call.param("id"), &call.caller)?;
    Reply::nothing()
}
