//! Asks a schema registry with Confluent's interface: which schema has a number, and which number a schema has.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tidemill_engine::{EngineError, Result};
use ureq::Agent;

use crate::format::excerpt;

const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// A registry as one table names it. Clones share what was asked before.
#[derive(Clone)]
pub struct Registry {
    url: String,
    pub subject: Option<String>,
    access: Access,
    agent: Agent,
    /// Schemas never change under their number.
    known: Arc<Mutex<HashMap<u32, String>>>,
}

/// How the registry knows who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    Open,
    /// `user:password`.
    Basic(String),
    Bearer(String),
}

impl Registry {
    pub fn new(url: &str, subject: Option<String>, access: Access) -> Self {
        let config = Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        let url = url.trim_end_matches('/').to_string();
        Self { url, subject, access, agent: config.build().into(), known: Arc::default() }
    }

    /// The schema of this number, as JSON; `None`: the registry knows of none.
    pub fn schema(&self, id: u32) -> Result<Option<String>> {
        if let Some(known) = self.known.lock().get(&id) {
            return Ok(Some(known.clone()));
        }
        let doing = format!("read schema {id}");
        let request = self.agent.get(format!("{}/schemas/ids/{id}", self.url));
        let (status, body) = self.answer(&doing, self.with_access(request).call())?;
        if status == 404 {
            return Ok(None);
        }
        let answer = self.checked(&doing, status, &body)?;
        let kind = answer.get("schemaType").and_then(Value::as_str).unwrap_or("AVRO");
        if kind != "AVRO" {
            return Err(self.lasting(&doing, &format!("it is of type {kind}, not Avro")));
        }
        if answer.get("references").and_then(Value::as_array).is_some_and(|references| !references.is_empty()) {
            return Err(self.lasting(&doing, "it refers to other schemas, which is not supported"));
        }
        let schema = answer.get("schema").and_then(Value::as_str);
        let schema = schema.ok_or_else(|| self.lasting(&doing, "the answer holds no schema"))?;
        self.known.lock().insert(id, schema.to_string());
        Ok(Some(schema.to_string()))
    }

    /// The number of a schema under the subject, where it is registered if it is not there yet.
    pub fn register(&self, schema: &str) -> Result<u32> {
        let subject = self.subject.as_deref().unwrap_or_default();
        let doing = format!("register the schema of subject '{subject}'");
        let request = self.agent.post(format!("{}/subjects/{}/versions", self.url, escaped(subject)));
        let request = self.with_access(request).content_type(MEDIA_TYPE);
        let (status, body) = self.answer(&doing, request.send(json!({"schema": schema}).to_string()))?;
        let answer = self.checked(&doing, status, &body)?;
        let id = answer.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| self.lasting(&doing, "the answer holds no number"))
    }

    fn with_access<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        let request = request.header("accept", MEDIA_TYPE);
        match &self.access {
            Access::Open => request,
            Access::Basic(user) => request.header("authorization", format!("Basic {}", STANDARD.encode(user))),
            Access::Bearer(token) => request.header("authorization", format!("Bearer {token}")),
        }
    }

    fn answer(
        &self,
        doing: &str,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(u16, Vec<u8>)> {
        let passing = |error: ureq::Error| self.passing(doing, &error.to_string());
        let mut response = response.map_err(passing)?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(passing)?;
        Ok((response.status().as_u16(), body))
    }

    fn checked(&self, doing: &str, status: u16, body: &[u8]) -> Result<Value> {
        let said = || format!("status {status}: {}", excerpt(body).trim());
        match status {
            200..=299 => serde_json::from_slice(body)
                .map_err(|_| self.lasting(doing, "the answer is not JSON: is this a schema registry?")),
            // Too many requests, and what servers say of themselves.
            408 | 425 | 429 | 500..=599 => Err(self.passing(doing, &said())),
            _ => Err(self.lasting(doing, &said())),
        }
    }

    fn passing(&self, doing: &str, reason: &str) -> EngineError {
        EngineError::Connector { connector: "schema registry".into(), reason: self.sentence(doing, reason) }
    }

    fn lasting(&self, doing: &str, reason: &str) -> EngineError {
        EngineError::Unsupported(format!("schema registry: {}", self.sentence(doing, reason)))
    }

    fn sentence(&self, doing: &str, reason: &str) -> String {
        format!("cannot {doing} at {}: {reason}", self.url)
    }
}

/// A subject as one part of a path.
fn escaped(subject: &str) -> String {
    let mut out = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, &self.subject, &self.access) == (&other.url, &other.subject, &other.access)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("url", &self.url).field("subject", &self.subject).finish_non_exhaustive()
    }
}
