//! Errors as RFC 9457 tells them: `application/problem+json`, with the place in the SQL where there is one.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::jobs::Refusal;

pub const CONTENT_TYPE: &str = "application/problem+json";

/// Kinds of problems: what a program goes by, unlike the texts. `docs/server.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    BadRequest,
    WrongSql,
    WrongRows,
    OtherBody,
    Behind,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Exists,
    NotNow,
    StateMismatch,
    TooLarge,
    WrongType,
    TooManyRequests,
    Overloaded,
    Limit,
    Timeout,
    Failed,
    StillRunning,
    NotAcceptable,
    TookTooLong,
    UpgradeNeeded,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::WrongSql => "wrong-sql",
            Self::WrongRows => "wrong-rows",
            Self::OtherBody => "key-of-other-rows",
            Self::Behind => "behind",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Exists => "exists",
            Self::NotNow => "not-now",
            Self::StateMismatch => "state-mismatch",
            Self::TooLarge => "too-large",
            Self::WrongType => "wrong-content-type",
            Self::TooManyRequests => "too-many-requests",
            Self::Overloaded => "overloaded",
            Self::Limit => "limit",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::StillRunning => "still-running",
            Self::NotAcceptable => "not-acceptable",
            Self::TookTooLong => "took-too-long",
            Self::UpgradeNeeded => "upgrade-needed",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::WrongSql | Self::WrongRows | Self::OtherBody => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Exists | Self::NotNow | Self::StateMismatch => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests | Self::Behind => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded | Self::Limit => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::StillRunning | Self::TookTooLong => StatusCode::GATEWAY_TIMEOUT,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::UpgradeNeeded => StatusCode::UPGRADE_REQUIRED,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Problem {
    pub kind: Kind,
    pub detail: String,
    pub hint: Option<String>,
    /// Members of their own kind, such as the line and column.
    pub more: Box<Map<String, Value>>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), hint: None, more: Box::default() }
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn with<T: Serialize>(mut self, key: &str, value: T) -> Self {
        self.more.insert(key.to_string(), json!(value));
        self
    }

    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    pub fn json(&self) -> Value {
        let status = self.status();
        let mut body = json!({
            "type": format!("urn:tidemill:problem:{}", self.kind.name()),
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let Some(members) = body.as_object_mut() {
            members.extend(self.hint.as_ref().map(|hint| ("hint".to_string(), json!(hint))));
            members.extend(self.more.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        body
    }

    pub fn response(&self) -> Response<Body> {
        let mut response = Response::builder().status(self.status()).header(header::CONTENT_TYPE, CONTENT_TYPE);
        if self.kind == Kind::Unauthorized {
            response = response.header(header::WWW_AUTHENTICATE, "Bearer realm=\"tidemill\"");
        }
        if matches!(self.kind, Kind::TooManyRequests | Kind::Behind | Kind::Overloaded) {
            response = response.header(header::RETRY_AFTER, "1");
        }
        let body = Body::from(self.json().to_string());
        response.body(body).expect("status and headers are constants")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::NotFound { hint, .. } => Self { hint, ..Self::new(Kind::NotFound, text) },
            Refusal::Exists { .. } => Self::new(Kind::Exists, text).with_hint("choose another name"),
            Refusal::NotNow { phase, .. } => Self::new(Kind::NotNow, text).with("phase", phase),
            Refusal::Busy => Self::new(Kind::NotNow, text),
            Refusal::Wrong { message, hint } => Self { hint, ..Self::new(Kind::BadRequest, message) },
            Refusal::NotAllowed(_) => Self::new(Kind::Forbidden, text),
            Refusal::Limit(_) => Self::new(Kind::Limit, text),
            Refusal::StateMismatch { reasons } => Self::new(Kind::StateMismatch, text)
                .with_hint("ask with dry_run=true what fits and what not; \"fresh\": true begins with empty state")
                .with("reasons", reasons),
            Refusal::Engine(_) | Refusal::Store(_) => Self::new(Kind::Failed, text),
            Refusal::BadRows(bad) => {
                let mut problem = Self::new(Kind::WrongRows, text).with_hint("nothing of the body was stored");
                if let Some(place) = bad.place {
                    problem = problem.with(if bad.is_array { "element" } else { "line" }, place);
                }
                match bad.excerpt {
                    Some(excerpt) => problem.with("reason", bad.reason).with("row", excerpt),
                    None => problem.with("reason", bad.reason),
                }
            }
            Refusal::Behind(_) => Self::new(Kind::Behind, text).with_hint("send the same rows again after Retry-After"),
            Refusal::OtherBody => {
                Self::new(Kind::OtherBody, text).with_hint("give every request an Idempotency-Key of its own")
            }
            Refusal::WrongType { message, hint } => Self::new(Kind::WrongType, message).with_hint(hint),
            Refusal::TakesLonger(_) => Self::new(Kind::StillRunning, text),
            Refusal::Sql(findings) => {
                let first = findings.first();
                let detail = first.map_or(text, |finding| finding.message.clone());
                let mut problem = Self::new(Kind::WrongSql, detail);
                problem.hint = first.and_then(|finding| finding.hint.clone());
                if let Some((line, column)) = first.and_then(|finding| Some((finding.line?, finding.column?))) {
                    problem = problem.with("line", line).with("column", column);
                }
                if let Some(name) = first.map(|finding| finding.text_name).filter(|name| *name != "sql") {
                    problem = problem.with("in", name);
                }
                problem.with("errors", findings)
            }
        }
    }
}
