//! Rows that are posted to tables of jobs.

use std::sync::Arc;

use crate::jobs::Post;
use crate::server::app::App;
use crate::server::problem::{Kind, Problem};
use crate::server::route::{Call, Reply};

/// The path names the job, or the table alone.
pub fn post(app: &Arc<App>, call: &Call) -> Result<Reply, Problem> {
    let raw = call.raw.as_ref().ok_or_else(|| Problem::new(Kind::Failed, "the route takes rows"))?;
    let post = Post { body: &raw.bytes, content_type: &raw.content_type, key: raw.idempotency_key.clone() };
    let job = call.params.get("id").map(String::as_str);
    Reply::json(&app.supervisor.post(job, call.param("table"), &post)?)
}
