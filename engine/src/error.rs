//! What can go wrong while a job runs, named after what the user can do about it.

use std::path::PathBuf;
use std::time::Duration;

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use thiserror::Error;

pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// A failure of a job. The text says what happened, where, and what to try.
#[derive(Debug, Error)]
pub enum EngineError {
    /// A record that cannot be read as the table says.
    #[error("bad record in {place} at byte {offset}: {reason}\n  record: {excerpt}\n  hint: {hint}")]
    BadRecord { place: String, offset: u64, reason: String, excerpt: String, hint: String },
    /// An expression failed on a row (a CAST, an overflow, a division by zero).
    #[error("{operator}: {reason}\n  row: {row}\n  hint: {hint}")]
    BadRow { operator: String, reason: String, row: String, hint: String },
    /// The operating system refused something; `action` is what was being done, such as "write".
    #[error("cannot {action} {path}: {source}{hint}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error, hint: String },
    /// A checkpoint or savepoint cannot be read.
    #[error("checkpoint {path} is damaged: {reason}\n  hint: {hint}")]
    DamagedCheckpoint { path: PathBuf, reason: String, hint: String },
    /// Another process runs a job in the same state directory.
    #[error("{path} is in use by {holder}\n  hint: stop that job first, or choose another state directory")]
    StateInUse { path: PathBuf, holder: String },
    /// A checkpoint is sound but belongs to another plan; each reason names an operator.
    #[error("the state does not fit this plan:\n  {}", reasons.join("\n  "))]
    StateMismatch { reasons: Vec<String> },
    /// RocksDB failed.
    #[error("state store: {0}")]
    State(String),
    /// A plan asks for something that the engine does not do.
    #[error("{0}")]
    Unsupported(String),
    /// A source or sink failed for a reason of its own.
    #[error("{connector}: {reason}")]
    Connector { connector: String, reason: String },
    /// What a source reads from or a sink writes to is not there now; nothing is wrong with the job.
    #[error("{connector}: {reason}")]
    Unreachable { connector: String, reason: String },
    /// A question to the outside world has no answer; `lasting`: it would have none if it were asked again.
    #[error("lookup in table `{table}` ({key}): {reason}{}", retries_note(*retries))]
    Lookup { table: String, key: String, reason: String, retries: u32, lasting: bool },
    #[error("{0}")]
    Compute(String),
    /// What an operator must hold in memory at once is more than the job may have.
    #[error(
        "{operator} must hold {used_bytes} bytes at once, which is beyond the job's memory budget of {budget_bytes} bytes\n  hint: SET 'tidemill.memory.budget' to more, or let each group or key hold less (a shorter window, a finer GROUP BY, a count instead of a list)"
    )]
    MemoryBudget { operator: String, used_bytes: usize, budget_bytes: usize },
    /// A checkpoint took longer than it may; `waiting` names the tasks that had not come to its barrier.
    #[error("checkpoint {epoch} was not taken within {timeout:?}: waiting for {}\n  hint: {CHECKPOINT_TIMEOUT_HINT}", waiting.join(", "))]
    CheckpointTimeout { epoch: u64, timeout: Duration, waiting: Vec<String> },
    /// The job failed again and again; `cause` is the last failure.
    #[error("gave up after {restarts} restarts{}; the last failure:\n{cause}\n  hint: {hint}", fruitless_note(*fruitless))]
    GaveUp { restarts: u32, fruitless: bool, cause: Box<EngineError>, hint: String },
    /// Whoever read the output is gone (a closed pipe, as after `| head`): a reason to stop, not a failure.
    #[error("nobody reads {output} any more")]
    OutputClosed { output: String },
    /// Another copy of this job writes the same output: this one must never write again.
    #[error(
        "another copy of this job has taken over {output}: this one ends, and nothing that it has not published will show\n  hint: run one copy of a job only; a restart of this copy would take the output back"
    )]
    Superseded { output: String },
    /// The job was stopped while this task was still working: never the cause of a failure.
    #[error("the job was cancelled")]
    Cancelled,
    /// A bug: an operator panicked.
    #[error("internal error in {place}: {reason}")]
    Internal { place: String, reason: String },
}

impl EngineError {
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        let hint = io_hint(&source);
        Self::Io { action, path: path.into(), source, hint }
    }

    /// `cause` has come back after every one of `restarts`; `fruitless`: at the same place of the input.
    pub fn gave_up(restarts: u32, fruitless: bool, cause: EngineError) -> Self {
        let advice = match cause {
            Self::Internal { .. } => {
                "this is a defect of the program: please report it with the SQL and the text above"
            }
            _ => "remove the cause of the failure",
        };
        let hint = format!(
            "{advice}. The last checkpoint stands: with --state-dir the same command goes on from it. {}",
            if fruitless {
                "SET 'tidemill.restart.attempts-without-progress' allows more restarts."
            } else {
                "The options 'restart-strategy.*' allow more restarts."
            }
        );
        Self::GaveUp { restarts, fruitless, cause: Box::new(cause), hint }
    }

    /// True where trying again from the last checkpoint may help; false where the same input must fail again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { source, .. } => !needs_a_person(source.kind()),
            Self::Lookup { lasting, .. } => !lasting,
            Self::State(_) | Self::Connector { .. } | Self::Unreachable { .. } => true,
            Self::Internal { .. } | Self::CheckpointTimeout { .. } => true,
            _ => false,
        }
    }

    /// True where the outside world is away: the job can only wait until it is back, however long that takes.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

impl EngineError {
    /// The same failure once more, for a second reader of it. (I/O errors cannot be cloned; kind and text stay.)
    pub fn duplicate(&self) -> Self {
        let text = String::clone;
        match self {
            Self::BadRecord { place, offset, reason, excerpt, hint } => Self::BadRecord {
                place: text(place),
                offset: *offset,
                reason: text(reason),
                excerpt: text(excerpt),
                hint: text(hint),
            },
            Self::BadRow { operator, reason, row, hint } => {
                Self::BadRow { operator: text(operator), reason: text(reason), row: text(row), hint: text(hint) }
            }
            Self::Io { action, path, source, hint } => {
                let copy = std::io::Error::new(source.kind(), source.to_string());
                Self::Io { action, path: path.clone(), source: copy, hint: text(hint) }
            }
            Self::DamagedCheckpoint { path, reason, hint } => {
                Self::DamagedCheckpoint { path: path.clone(), reason: text(reason), hint: text(hint) }
            }
            Self::StateInUse { path, holder } => Self::StateInUse { path: path.clone(), holder: text(holder) },
            Self::StateMismatch { reasons } => Self::StateMismatch { reasons: reasons.clone() },
            Self::State(reason) => Self::State(text(reason)),
            Self::Unsupported(reason) => Self::Unsupported(text(reason)),
            Self::Connector { connector, reason } => {
                Self::Connector { connector: text(connector), reason: text(reason) }
            }
            Self::Unreachable { connector, reason } => {
                Self::Unreachable { connector: text(connector), reason: text(reason) }
            }
            Self::Lookup { table, key, reason, retries, lasting } => Self::Lookup {
                table: text(table),
                key: text(key),
                reason: text(reason),
                retries: *retries,
                lasting: *lasting,
            },
            Self::Compute(reason) => Self::Compute(text(reason)),
            Self::MemoryBudget { operator, used_bytes, budget_bytes } => {
                Self::MemoryBudget { operator: text(operator), used_bytes: *used_bytes, budget_bytes: *budget_bytes }
            }
            Self::CheckpointTimeout { epoch, timeout, waiting } => {
                Self::CheckpointTimeout { epoch: *epoch, timeout: *timeout, waiting: waiting.clone() }
            }
            Self::GaveUp { restarts, fruitless, cause, hint } => Self::GaveUp {
                restarts: *restarts,
                fruitless: *fruitless,
                cause: Box::new(cause.duplicate()),
                hint: text(hint),
            },
            Self::OutputClosed { output } => Self::OutputClosed { output: text(output) },
            Self::Superseded { output } => Self::Superseded { output: text(output) },
            Self::Cancelled => Self::Cancelled,
            Self::Internal { place, reason } => Self::Internal { place: text(place), reason: text(reason) },
        }
    }
}

/// Why a task may not come to a barrier.
const CHECKPOINT_TIMEOUT_HINT: &str = "a sink that nobody reads, a slow disk or a batch that takes very long holds \
the job back; 'execution.checkpointing.timeout' allows more time";

fn retries_note(retries: u32) -> String {
    match retries {
        0 => String::new(),
        1 => "\n  it was tried once more".into(),
        retries => format!("\n  it was tried {retries} more times"),
    }
}

fn fruitless_note(fruitless: bool) -> &'static str {
    if fruitless { " in a row after which no checkpoint covered a further row" } else { "" }
}

/// What is missing, forbidden or in the way stays so until somebody changes it.
fn needs_a_person(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{
        AlreadyExists, IsADirectory, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem,
    };
    matches!(kind, NotFound | PermissionDenied | AlreadyExists | NotADirectory | IsADirectory | ReadOnlyFilesystem)
}

fn io_hint(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let advice = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space, then run the same command again",
        ErrorKind::PermissionDenied => "check the owner and the mode of the file and of its folders",
        ErrorKind::NotFound => "check that the path exists and is spelt right",
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only: remount it or choose another folder",
        _ => return String::new(),
    };
    format!("\n  hint: {advice}")
}

impl From<ArrowError> for EngineError {
    fn from(error: ArrowError) -> Self {
        Self::Compute(error.to_string())
    }
}

impl From<DataFusionError> for EngineError {
    /// A check of ours that stood among the expressions keeps its own words.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<EngineError>() {
                Ok(own) => *own,
                Err(inner) => Self::Compute(inner.to_string()),
            },
            other => Self::Compute(other.strip_backtrace()),
        }
    }
}

impl From<rocksdb::Error> for EngineError {
    fn from(error: rocksdb::Error) -> Self {
        Self::State(error.to_string())
    }
}
