//! What the parser tells the planner through marker functions, whose first argument is one of these as JSON.
//!
//! A window table function becomes the derived table
//! `(SELECT *, __window_start('<json>', ts) AS window_start, __window_end('<json>', ts) AS window_end,
//! __window_time('<json>', ts) AS window_time FROM x) AS alias` with a [`WindowCall`] as JSON (the same in all three).
//!
//! `UNNEST(e) [WITH ORDINALITY] AS t (a, b)` becomes
//! `LATERAL (SELECT __unnest('<json 0>', e) AS a, __unnest('<json 1>', e) AS b) AS t`, one [`UnnestColumn`] per column,
//! under the same CROSS JOIN or LEFT JOIN ... ON TRUE.
//!
//! `JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON c` becomes `JOIN rates AS r ON (c) AND __system_time('<json>', o.ts)` with a
//! [`SystemTimeCall`].

use serde::{Deserialize, Serialize};
use tidemill_engine::time::window::WindowKind;

pub const WINDOW_START: &str = "window_start";
pub const WINDOW_END: &str = "window_end";
pub const WINDOW_TIME: &str = "window_time";

/// Names of the marker functions.
pub const WINDOW_START_MARKER: &str = "__window_start";
pub const WINDOW_END_MARKER: &str = "__window_end";
pub const WINDOW_TIME_MARKER: &str = "__window_time";
pub const UNNEST_MARKER: &str = "__unnest";
pub const SYSTEM_TIME_MARKER: &str = "__system_time";

/// A window table function as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WindowCall {
    pub kind: WindowKind,
    /// Key columns of a session window, names of the input's columns. Empty for other windows.
    pub partition_by: Vec<String>,
    /// Where the call stands in the source text, counted from 1.
    pub line: u64,
    pub column: u64,
}

/// One column of an UNNEST.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnnestColumn {
    /// Position among the `count` columns that hold the element: 0 of 1 for the element itself, field `index` of a
    /// ROW element, 0 and 1 for key and value of a MAP.
    pub index: usize,
    /// Number of columns that hold the element, without the ordinality.
    pub count: usize,
    /// This column is the ordinality (INT, from 1); `index` equals `count` then.
    pub ordinality: bool,
    pub line: u64,
    pub column: u64,
}

/// A table that is joined as of a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SystemTimeCall {
    pub table: String,
    /// Where the table stands in the source text, counted from 1.
    pub line: u64,
    pub column: u64,
    pub hint: Option<LookupHint>,
}

/// What a hint says about asking for rows; what it leaves open is as the settings say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LookupHint {
    pub is_async: Option<bool>,
    pub is_ordered: Option<bool>,
    pub capacity: Option<u32>,
    pub timeout_ms: Option<u64>,
    pub miss_retry: Option<MissRetryHint>,
}

/// Keys without a row are asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MissRetryHint {
    pub delay_ms: u64,
    /// How often, beyond the first time.
    pub attempts: u32,
}
