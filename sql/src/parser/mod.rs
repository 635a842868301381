//! Text to statements. Queries and expressions are sqlparser's AST (see [`ast`]), already rewritten so that Flink's
//! forms are in the shapes that DataFusion's SQL planner takes.
//!
//! What the planner finds in a query:
//! - Identifiers keep their case; quoted ones have `quote_style` backtick. No normalisation must be applied to them.
//! - Window table functions, older group windows and UNNEST: marker functions, see [`crate::window_call`].
//! - `CAST(x AS type)` and `TRY_CAST`: `Expr::Cast` whose data type is `Custom(__type, [text])`, the text being the Flink
//!   type; [`crate::types::SqlType`] parses and maps it (a DataFusion `TypePlanner` is the place to do so).
//! - Time units (`FLOOR(ts TO HOUR)`, `EXTRACT`, `TIMESTAMPDIFF`, `TIMESTAMPADD`) are string literals.

pub use sqlparser::ast;

pub mod statement;

pub use statement::{
    CreateTable, CreateView, DropKind, ExplainDetail, InsertQuery, LikeClause, LikeFeature, LikeRule, Merging, Show,
    Statement, StatementKind,
};
