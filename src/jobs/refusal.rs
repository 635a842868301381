//! Why something that was asked of the jobs was not done, named after what the asker can do about it.

use thiserror::Error;
use tidemill_connectors::http::posted::BadRows;
use tidemill_engine::EngineError;

use super::decide::{Action, Phase};
use super::plan::Finding;

#[derive(Debug, Error)]
pub enum Refusal {
    #[error("there is no {what} '{name}'")]
    NotFound { what: &'static str, name: String, hint: Option<String> },
    #[error("there is already a {what} '{name}'")]
    Exists { what: &'static str, name: String },
    #[error("the job is {phase}: it cannot be {}", action.participle())]
    NotNow { phase: Phase, action: Action },
    /// Another request is changing the same job.
    #[error("another request is changing this job: try again when it is done")]
    Busy,
    /// The asker's role does not go so far.
    #[error("{0}")]
    NotAllowed(String),
    /// The SQL is wrong.
    #[error("the SQL is wrong")]
    Sql(Vec<Finding>),
    /// Something else of the request is wrong.
    #[error("{message}")]
    Wrong { message: String, hint: Option<String> },
    /// One more job would go beyond what the server was given.
    #[error("{0}")]
    Limit(String),
    /// The new SQL cannot go on from the state.
    #[error("the state does not fit the new SQL")]
    StateMismatch { reasons: Vec<String> },
    /// Posted rows are not rows of the table; nothing of them is stored.
    #[error("{}", bad_rows(.0))]
    BadRows(BadRows),
    /// The job is too far behind to be given more.
    #[error("{0}")]
    Behind(String),
    #[error("the key belongs to a request with another body")]
    OtherBody,
    #[error("{message}")]
    WrongType { message: String, hint: String },
    #[error("{0}")]
    Engine(String),
    #[error("the store of jobs: {0}")]
    Store(String),
    /// It is under way, and takes longer than an answer may.
    #[error("{0}")]
    TakesLonger(String),
}

impl Refusal {
    pub fn wrong(message: impl Into<String>) -> Self {
        Self::Wrong { message: message.into(), hint: None }
    }

    pub fn wrong_with(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Wrong { message: message.into(), hint: Some(hint.into()) }
    }
}

fn bad_rows(bad: &BadRows) -> String {
    let what = if bad.is_array { "element" } else { "line" };
    bad.place.map_or_else(|| bad.reason.clone(), |place| format!("{what} {place}: {}", bad.reason))
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::StateMismatch { reasons } => Self::StateMismatch { reasons },
            other => Self::Engine(other.to_string()),
        }
    }
}
