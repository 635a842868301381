//! Lookups: questions that a running job asks of the outside world, and how they are asked.
//!
//! An operator never asks by itself. It says what is to be asked ([`Question`]), the runtime has threads of the stage ask
//! a [`Lookup`], and the operator is told the [`Answer`]. What is done about slow or failing answers is decided by the
//! operator, after a [`LookupPolicy`].

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use crate::operators::projection::Projection;
use crate::time::ProcessingTime;
use crate::{EngineError, Result};

mod table;

pub use table::SourceTable;

/// What is asked.
#[derive(Debug, Clone)]
pub enum Question {
    /// Of a table that is held whole: all of its rows, as of this time. Of others: whether they can be asked at all, so
    /// that a table or column that is missing is found before the first row.
    Open(ProcessingTime),
    /// The rows of these keys, which differ from each other; a column per key column, none of them NULL.
    Keys(RecordBatch),
}

/// What came back.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The table can be asked.
    Ready,
    /// All rows. The same `Arc` comes as long as nothing was read again.
    Whole(Arc<RecordBatch>),
    Rows(Found),
}

/// The rows of some keys.
#[derive(Debug, Clone)]
pub struct Found {
    pub rows: RecordBatch,
    /// Which of the keys that were asked for each row belongs to.
    pub key_of_row: Vec<u32>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum LookupFailure {
    /// It may pass (a timeout, a server that restarts): worth asking again.
    Passing(String),
    /// The same question must fail again (a column that is missing, a request that is refused).
    Lasting(String),
    /// A failure that says all by itself.
    Engine(EngineError),
}

/// Something that can be asked from several threads at once. Asking may take long, but comes to an end by itself.
pub trait Lookup: Send + Sync {
    /// Of the rows that come back.
    fn schema(&self) -> SchemaRef;

    fn ask(&self, question: &Question) -> Result<Answer, LookupFailure>;
}

/// An answer on its way back to the operator, with the number of its question.
#[derive(Debug)]
pub struct Answered {
    pub number: u64,
    pub result: Result<Answer, LookupFailure>,
}

/// How a table is asked.
#[derive(Debug, Clone)]
pub struct LookupPolicy {
    /// Name of the table, for messages.
    pub table: String,
    pub access: Access,
    /// Rows leave in the order in which they came; otherwise they may overtake each other between two watermarks.
    pub ordered: bool,
    /// From a question to its answer, all tries included, before the job fails.
    pub timeout_ms: i64,
    /// How often a question is asked again after a failure that may pass.
    pub retries_max: u32,
}

#[derive(Debug, Clone)]
pub enum Access {
    /// All rows are held in memory, and read again when the interval is over.
    Whole {
        reload_interval_ms: Option<i64>,
    },
    ByKey(KeyAccess),
}

/// How single keys are asked for.
#[derive(Debug, Clone)]
pub struct KeyAccess {
    /// Names of the key columns, for messages.
    pub key_names: Vec<String>,
    /// Keys that may be asked for at the same time.
    pub capacity: usize,
    /// Questions that may be under way at the same time: so many threads ask.
    pub questions_max: usize,
    /// Keys that one question may have.
    pub keys_per_question: usize,
    /// `None`: every row asks anew.
    pub cache: Option<CachePolicy>,
    /// What is done about keys that have no row.
    pub miss_retry: Option<MissRetry>,
}

/// What is remembered of answers, and for how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CachePolicy {
    /// Rows, where a key without rows counts as one; `None`: only memory bounds it.
    pub rows_max: Option<usize>,
    pub expire_after_write_ms: Option<i64>,
    pub expire_after_access_ms: Option<i64>,
    /// That a key has no row is remembered, too.
    pub missing_keys: bool,
}

/// Keys without a row are asked for again: their row may only be late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissRetry {
    pub delay_ms: i64,
    /// Tries, the first one included.
    pub attempts_max: u32,
}

impl LookupPolicy {
    /// A table that is held whole.
    pub fn whole(table: impl Into<String>, reload_interval_ms: Option<i64>) -> Self {
        Self {
            table: table.into(),
            access: Access::Whole { reload_interval_ms },
            ordered: true,
            timeout_ms: i64::MAX,
            retries_max: 0,
        }
    }

    /// Threads that ask, at most.
    pub fn threads_max(&self) -> usize {
        match &self.access {
            Access::Whole { .. } => 1,
            Access::ByKey(access) => access.questions_max.max(1),
        }
    }
}

/// How a connector looks rows up by key, and what its table's options say about it.
pub struct KeyedLookup {
    pub lookup: Arc<dyn Lookup>,
    /// Of the columns that were offered: those that questions have, by their index, in the order of the keys.
    pub keys: Vec<usize>,
    /// As in [`KeyAccess`].
    pub keys_per_question: usize,
    /// Questions that may be under way at the same time, whatever the capacity.
    pub questions_max: usize,
    pub cache: Option<CachePolicy>,
    pub retries_max: u32,
    /// `false`: one question at a time.
    pub is_async: bool,
}

/// Computes a table's columns from what a connector gives.
pub struct Projected {
    lookup: Arc<dyn Lookup>,
    projection: Projection,
}

impl Projected {
    /// `columns` are over the rows of `lookup`. Errors where there is not one per field of `schema`.
    pub fn new(lookup: Arc<dyn Lookup>, columns: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef) -> Result<Self> {
        Ok(Self { lookup, projection: Projection::new(columns, schema)? })
    }
}

impl Lookup for Projected {
    fn schema(&self) -> SchemaRef {
        self.projection.schema().clone()
    }

    fn ask(&self, question: &Question) -> Result<Answer, LookupFailure> {
        match self.lookup.ask(question)? {
            Answer::Rows(Found { rows, key_of_row }) => {
                let rows = self.projection.evaluate(&rows).map_err(LookupFailure::Engine)?;
                Ok(Answer::Rows(Found { rows, key_of_row }))
            }
            answer => Ok(answer),
        }
    }
}
