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

mod command;
mod create;
mod data_type;
mod dialect;
mod expression;
mod group_window;
mod interval;
mod json;
mod limits;
mod literal;
mod normalize;
mod query_parts;
mod script;
mod source;
pub mod statement;
mod tokens;
mod unnest;
mod window_kind;
mod window_table;

pub use data_type::{TYPE_MARKER, from_ast as flink_type};
pub use script::parse_script;
pub use statement::{
    CreateTable, CreateView, DropKind, ExplainDetail, InsertQuery, LikeClause, LikeFeature, LikeRule, Merging, Show,
    Statement, StatementKind,
};

#[cfg(test)]
mod tests;
