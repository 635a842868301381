//! Text to statements. Queries and expressions are sqlparser's AST (see [`ast`]), already rewritten so that Flink's
//! forms are in the shapes that DataFusion's SQL planner takes.
//!
//! What the planner finds in a query:
//! - Identifiers keep their case; quoted ones have `quote_style` backtick. No normalisation must be applied to them.
//! - Window table functions, older group windows and UNNEST: marker functions, see [`crate::window_call`].
//! - `CAST(x AS type)` and `TRY_CAST`: `Expr::Cast` whose data type is `Custom(__type, [text])`, the text being the Flink
//!   type; [`crate::types::SqlType`] parses and maps it (a DataFusion `TypePlanner` is the place to do so).
//! - `CAST(x AS VARCHAR(n))` is cut by `left(.., n)`, `CAST(x AS CHAR(n))` is cut and filled by `rpad(.., n, ' ')`.
//! - Literals of time are casts of their text; intervals are `INTERVAL 'n milliseconds'` or `INTERVAL 'n months'`.
//! - Units of time become string literals: `extract('YEAR', x)`, `floor_to('HOUR', x)` for `FLOOR(x TO HOUR)`,
//!   `ceil_to('DAY', x)`, `timestampdiff('DAY', a, b)`, `timestampadd('DAY', n, x)`.
//! - `x IS JSON ARRAY` is `is_json(x, 'ARRAY')`; the clauses of the JSON functions are literals, as `json.rs` says.
//! - `MAP[k, v]` is `map([k], [v])`, `ROW(a, b)` is `named_struct('EXPR$0', a, 'EXPR$1', b)`, `IF(c, a, b)` is a CASE.
//! - In patterns of LIKE the escape character is the backslash, whatever it was in the text.
//! - An OVER that names a window has the window's text instead; no SELECT has a WINDOW clause.
//! - Calls without parentheses (`CURRENT_TIMESTAMP`) have empty argument lists.
//!
//! What is refused here never reaches the planner: see `normalize.rs` and, for texts without bounds, `limits.rs`.

pub use sqlparser::ast;

mod command;
mod create;
mod data_type;
mod dialect;
mod expression;
mod group_window;
mod interval;
mod json;
mod like;
mod limits;
mod literal;
mod lookup_hint;
mod named_window;
mod normalize;
mod operators;
mod query_parts;
mod row_in;
mod script;
mod select_names;
mod source;
pub mod statement;
mod system_time;
mod tokens;
mod unnest;
mod window_kind;
mod window_table;

pub use data_type::{TYPE_MARKER, from_ast as flink_type};
pub use script::{Cut, cut_statements, parse_script};
pub use statement::{
    CreateTable, CreateView, DropKind, ExplainDetail, InsertQuery, LikeClause, LikeFeature, LikeRule, Merging, Show,
    Statement, StatementKind,
};

/// `SELECT * FROM` a table.
pub(crate) fn select_all_of(table: ast::TableFactor) -> ast::Query {
    let from = ast::TableWithJoins { relation: table, joins: vec![] };
    *query_parts::query(query_parts::select(vec![query_parts::wildcard()], vec![from]))
}

#[cfg(test)]
pub(crate) mod tests;
