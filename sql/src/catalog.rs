//! The tables and views that a session knows, and what it asks of the program's connectors.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use sqlparser::ast::{Expr, Ident, Query};
use sqlparser::tokenizer::Span;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::lookup::KeyedLookup;
use tidemill_engine::sink::Sink;
use tidemill_engine::source::{Source, rejected_schema};

use crate::diagnostic::Diagnostic;
use crate::types::SqlType;

/// Ends the name of a table's side table of late rows.
pub const LATE_SUFFIX: &str = "$late";
/// Ends the name of a table's side table of records that could not be decoded.
pub const ERRORS_SUFFIX: &str = "$errors";

/// A declared table.
#[derive(Debug, Clone)]
pub struct TableDefinition {
    pub name: String,
    pub columns: Vec<Column>,
    pub watermark: Option<WatermarkDefinition>,
    /// Names of columns; empty without a primary key.
    pub primary_key: Vec<String>,
    pub partitioned_by: Vec<String>,
    pub options: BTreeMap<String, String>,
    pub temporary: bool,
    pub comment: Option<String>,
    /// Of the name in the statement that declared the table.
    pub span: Span,
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    /// Follows the session's time zone for TIMESTAMP_LTZ. Of a computed column: what the planner found.
    pub data_type: DataType,
    pub sql_type: SqlType,
    pub nullable: bool,
    pub kind: ColumnKind,
    /// Of a computed column: the expression as it was written.
    pub expression_text: Option<String>,
    pub comment: Option<String>,
    pub span: Span,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few values live at a time; a box would only burden every match")]
pub enum ColumnKind {
    Physical,
    Computed(Expr),
    /// `virtual_`: cannot be written to.
    Metadata {
        key: String,
        virtual_: bool,
    },
}

#[derive(Debug, Clone)]
pub struct WatermarkDefinition {
    pub column: String,
    pub expression: Expr,
    /// The expression as it was written.
    pub text: String,
    pub span: Span,
}

/// A declared view. Its query is planned in place wherever the view is read.
#[derive(Debug, Clone)]
pub struct ViewDefinition {
    pub name: String,
    /// Empty: the query's own names.
    pub columns: Vec<String>,
    pub query: Box<Query>,
    /// The query as it was written.
    pub query_text: String,
    pub temporary: bool,
    pub comment: Option<String>,
}

impl Column {
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }

    /// False for computed columns and virtual metadata, which INSERT leaves out.
    pub fn is_persisted(&self) -> bool {
        match &self.kind {
            ColumnKind::Physical => true,
            ColumnKind::Computed(_) => false,
            ColumnKind::Metadata { virtual_, .. } => !virtual_,
        }
    }
}

impl TableDefinition {
    /// All columns, as a query reads them.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Fields>()))
    }

    /// The columns that INSERT writes.
    pub fn sink_schema(&self) -> SchemaRef {
        let persisted = self.columns.iter().filter(|column| column.is_persisted());
        Arc::new(Schema::new(persisted.map(Column::field).collect::<Fields>()))
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// What a table's name stands for in a query.
#[derive(Debug, Clone, Copy)]
pub enum Relation<'a> {
    Table(&'a TableDefinition),
    View(&'a ViewDefinition),
    /// `t$late`: the rows of the table that a windowed operator found too late; the table's columns.
    Late(&'a TableDefinition),
    /// `t$errors`: records that could not be decoded; columns of [`rejected_schema`].
    Errors(&'a TableDefinition),
}

impl Relation<'_> {
    /// The columns; `None` for a view, whose query must be planned to know them.
    pub fn schema(&self) -> Option<SchemaRef> {
        match self {
            Self::Table(table) | Self::Late(table) => Some(table.schema()),
            Self::Errors(_) => Some(rejected_schema()),
            Self::View(_) => None,
        }
    }
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few values live at a time; a box would only burden every match")]
pub enum Entry {
    Table(TableDefinition),
    View(ViewDefinition),
}

/// Tables and views by name. Names are case-sensitive, as in Flink.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    entries: BTreeMap<String, Entry>,
}

impl Catalog {
    pub fn new() -> Self {
        Self::default()
    }

    /// What `name` stands for, side tables included.
    pub fn resolve(&self, name: &str) -> Option<Relation<'_>> {
        match self.entries.get(name) {
            Some(Entry::Table(table)) => return Some(Relation::Table(table)),
            Some(Entry::View(view)) => return Some(Relation::View(view)),
            None => {}
        }
        let side = |suffix: &str| self.table(name.strip_suffix(suffix)?);
        side(LATE_SUFFIX).map(Relation::Late).or_else(|| side(ERRORS_SUFFIX).map(Relation::Errors))
    }

    /// Like [`Catalog::resolve`], with a diagnostic at the name when there is no such table or view.
    pub fn require(&self, name: &Ident) -> Result<Relation<'_>, Diagnostic> {
        self.resolve(&name.value).ok_or_else(|| {
            Diagnostic::at(name.span, format!("table or view `{}` does not exist", name.value))
                .with_suggestion(&name.value, self.entries.keys().map(String::as_str))
        })
    }

    pub fn table(&self, name: &str) -> Option<&TableDefinition> {
        match self.entries.get(name)? {
            Entry::Table(table) => Some(table),
            Entry::View(_) => None,
        }
    }

    pub fn view(&self, name: &str) -> Option<&ViewDefinition> {
        match self.entries.get(name)? {
            Entry::View(view) => Some(view),
            Entry::Table(_) => None,
        }
    }

    /// Adds or replaces a table; nothing is checked.
    pub fn put_table(&mut self, table: TableDefinition) {
        self.entries.insert(table.name.clone(), Entry::Table(table));
    }

    /// Adds or replaces a view; nothing is checked.
    pub fn put_view(&mut self, view: ViewDefinition) {
        self.entries.insert(view.name.clone(), Entry::View(view));
    }

    pub fn remove(&mut self, name: &str) -> Option<Entry> {
        self.entries.remove(name)
    }

    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub fn tables(&self) -> impl Iterator<Item = &TableDefinition> {
        self.entries.values().filter_map(|entry| match entry {
            Entry::Table(table) => Some(table),
            Entry::View(_) => None,
        })
    }

    /// In order of names.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }
}

/// What a statement is about to do with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Declared,
    Source,
    Sink,
    /// Its rows are looked up by key.
    Lookup,
}

/// A table's options do not fit; the session finds the place of `option` in the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionProblem {
    /// The option's key, when one option is at fault.
    pub option: Option<String>,
    pub message: String,
    pub hint: Option<String>,
}

impl fmt::Display for OptionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The edges, as this crate sees them. Implemented by the program over its connectors.
pub trait Connectors: Send + Sync {
    fn check(&self, table: &TableDefinition, usage: Usage) -> Result<(), Vec<OptionProblem>>;

    /// A source of these columns (physical and metadata, in this order); `time_zone` is the session's IANA name.
    fn source(
        &self,
        table: &TableDefinition,
        columns: &[String],
        time_zone: &str,
    ) -> Result<Arc<dyn Source>, OptionProblem>;

    /// True where a source of the table may be asked for ROW columns with some of their fields only.
    fn reads_fields(&self, _table: &TableDefinition) -> bool {
        false
    }

    /// True where rows of the table are looked up by key, instead of being read as a whole.
    fn looks_up(&self, _table: &TableDefinition) -> bool {
        false
    }

    /// A lookup of these columns (physical, in this order) by some or all of the keys, which are physical columns with the
    /// types that questions have.
    fn lookup(
        &self,
        table: &TableDefinition,
        _columns: &[String],
        _keys: &[(String, DataType)],
        _time_zone: &str,
    ) -> Result<KeyedLookup, OptionProblem> {
        let message = format!("rows of table `{}` cannot be looked up by key", table.name);
        Err(OptionProblem { option: None, message, hint: None })
    }

    /// A sink for rows of `schema`, which are the table's persisted columns.
    fn sink(&self, table: &TableDefinition, schema: SchemaRef, time_zone: &str)
    -> Result<Arc<dyn Sink>, OptionProblem>;

    /// The widest changelog that the table's sink takes.
    fn sink_accepts(&self, table: &TableDefinition) -> ChangelogMode;

    /// What to write in the table so that its sink takes updates, where it does not yet: "write ...".
    fn takes_updates_with(&self, _table: &TableDefinition) -> Option<String> {
        None
    }

    /// What the rows of the table's source mean together; upserts are by the table's primary key.
    fn source_changelog(&self, _table: &TableDefinition) -> ChangelogMode {
        ChangelogMode::Append
    }

    /// Where the rows of a bare query go.
    fn print_sink(&self, schema: SchemaRef, changelog: ChangelogMode) -> Arc<dyn Sink>;

    /// The metadata keys that the table's connector and format offer, with their types.
    fn metadata(&self, table: &TableDefinition) -> Vec<(String, DataType)>;
}
