//! The statements of a script, as parsed: names are not resolved yet, nothing is checked against a catalog.

use sqlparser::ast::{Expr, Ident, Query};
use sqlparser::tokenizer::Span;

use crate::types::SqlType;

/// A statement with its place in the script.
#[derive(Debug, Clone)]
pub struct Statement {
    pub kind: StatementKind,
    pub span: Span,
    /// The statement's own text, without the semicolon.
    pub text: String,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few values live at a time; a box would only burden every match")]
pub enum StatementKind {
    CreateTable(CreateTable),
    CreateView(CreateView),
    Drop {
        kind: DropKind,
        name: Ident,
        if_exists: bool,
        temporary: bool,
    },
    Show(Show),
    Describe {
        name: Ident,
        extended: bool,
    },
    /// `SET` alone lists all settings.
    Set(Option<Setting>),
    /// `RESET` alone resets all settings.
    Reset(Option<Text>),
    Insert(InsertQuery),
    /// All inserts run as one job.
    StatementSet(Vec<InsertQuery>),
    /// A bare query prints its rows.
    Query(Box<Query>),
    Explain {
        details: Vec<ExplainDetail>,
        statement: Box<Statement>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropKind {
    Table,
    View,
}

/// A string literal and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub value: String,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub key: Text,
    pub value: Text,
}

/// `INSERT INTO table [PARTITION (...)] [(columns)] query`.
#[derive(Debug, Clone)]
pub struct InsertQuery {
    pub table: Ident,
    /// Empty: all columns in order.
    pub columns: Vec<Ident>,
    /// Static partition: column and its value.
    pub partition: Vec<(Ident, Expr)>,
    pub query: Box<Query>,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub struct CreateTable {
    pub name: Ident,
    pub temporary: bool,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDefinition>,
    pub watermark: Option<WatermarkClause>,
    pub primary_key: Option<PrimaryKey>,
    pub comment: Option<String>,
    pub partitioned_by: Vec<Ident>,
    pub options: Vec<Setting>,
    pub like: Option<LikeClause>,
}

#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    pub name: Ident,
    pub kind: ColumnClause,
    pub comment: Option<String>,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few values live at a time; a box would only burden every match")]
pub enum ColumnClause {
    Physical(SqlType),
    /// `AS expression`; `text` as it was written.
    Computed {
        expression: Expr,
        text: String,
    },
    /// `type METADATA [FROM 'key'] [VIRTUAL]`.
    Metadata {
        sql_type: SqlType,
        from: Option<Text>,
        virtual_: bool,
    },
}

#[derive(Debug, Clone)]
pub struct WatermarkClause {
    pub column: Ident,
    pub expression: Expr,
    /// The expression as it was written.
    pub text: String,
}

#[derive(Debug, Clone)]
pub struct PrimaryKey {
    pub name: Option<Ident>,
    pub columns: Vec<Ident>,
    pub span: Span,
}

/// `LIKE table (rules)`.
#[derive(Debug, Clone)]
pub struct LikeClause {
    pub table: Ident,
    pub rules: Vec<LikeRule>,
}

#[derive(Debug, Clone)]
pub struct LikeRule {
    pub merging: Merging,
    pub feature: LikeFeature,
    pub span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merging {
    Including,
    Excluding,
    Overwriting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LikeFeature {
    All,
    Constraints,
    Generated,
    Metadata,
    Options,
    Partitions,
    Watermarks,
}

#[derive(Debug, Clone)]
pub struct CreateView {
    pub name: Ident,
    pub temporary: bool,
    pub if_not_exists: bool,
    pub or_replace: bool,
    /// Empty: the query's own names.
    pub columns: Vec<Ident>,
    pub comment: Option<String>,
    pub query: Box<Query>,
    /// The query as it was written.
    pub query_text: String,
}

#[derive(Debug, Clone)]
pub enum Show {
    Tables { like: Option<Text> },
    Views { like: Option<Text> },
    Functions { like: Option<Text> },
    Columns { table: Ident, like: Option<Text> },
    CreateTable(Ident),
    CreateView(Ident),
}

/// What EXPLAIN adds to the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainDetail {
    EstimatedCost,
    ChangelogMode,
    JsonExecutionPlan,
    PlanAdvice,
    /// What each operator keeps, and until when.
    State,
}
