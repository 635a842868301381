//! What a session remembers from statement to statement: its catalog and its settings.
//!
//! Statements that need no job are carried out here; INSERT and SELECT are planned by [`crate::plan`].

use std::fmt;
use std::sync::Arc;

use crate::catalog::{Catalog, ColumnKind, Connectors, Entry, TableDefinition, ViewDefinition};
use crate::define;
use crate::diagnostic::Diagnostic;
use crate::expansion;
use crate::explain;
use crate::parser::statement::{CreateTable, CreateView, DropKind, ExplainDetail, Statement, StatementKind};
use crate::plan::{Output, PlanContext, complete_table, plan_job, query_schema};
use crate::settings::Settings;
use crate::show;

/// Tables, views and settings.
pub struct Session {
    catalog: Catalog,
    settings: Settings,
    connectors: Arc<dyn Connectors>,
    /// The time zone that the types of the tables' columns name.
    zone_of_tables: String,
}

/// The answer to a statement that needs no job.
pub enum Outcome {
    /// Done; the note says what the user may not expect.
    Done {
        note: Option<String>,
    },
    Rows(Rows),
    Text(String),
}

/// A small table of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl fmt::Display for Rows {
    /// Aligned columns under a header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = |column: usize| self.rows.iter().map(move |row| row[column].chars().count());
        let width = |column: usize| cells(column).max().unwrap_or(0).max(self.columns[column].len());
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let write = |f: &mut fmt::Formatter<'_>, row: &[&str]| {
            let padded: Vec<String> = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}")).collect();
            writeln!(f, "{}", padded.join("  ").trim_end())
        };
        write(f, &self.columns)?;
        self.rows.iter().try_for_each(|row| write(f, &row.iter().map(String::as_str).collect::<Vec<_>>()))
    }
}

impl Session {
    pub fn new(settings: Settings, connectors: Arc<dyn Connectors>) -> Self {
        let zone_of_tables = settings.time_zone().to_string();
        Self { catalog: Catalog::new(), settings, connectors, zone_of_tables }
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn connectors(&self) -> &dyn Connectors {
        self.connectors.as_ref()
    }

    /// Gives TIMESTAMP_LTZ columns the session's time zone, after it may have changed.
    fn follow_time_zone(&mut self) {
        let zone = self.settings.time_zone().to_string();
        if zone == self.zone_of_tables {
            return;
        }
        let tables: Vec<TableDefinition> = self.catalog.tables().cloned().collect();
        for mut table in tables {
            for column in table.columns.iter_mut().filter(|column| !matches!(column.kind, ColumnKind::Computed(_))) {
                column.data_type = column.sql_type.arrow(&zone);
            }
            // A table that was complete in one zone is so in every other: only the name of the zone changes.
            let completed = complete_table(&self.context(), &table).unwrap_or(table);
            self.catalog.put_table(completed);
        }
        self.zone_of_tables = zone;
    }

    /// What planning needs to know.
    pub fn context(&self) -> PlanContext<'_> {
        PlanContext { catalog: &self.catalog, settings: &self.settings, connectors: self.connectors() }
    }

    /// Carries out a statement that needs no job; for one that does, the diagnostic says so.
    pub fn execute(&mut self, statement: &Statement) -> Result<Outcome, Diagnostic> {
        match &statement.kind {
            StatementKind::CreateTable(create) => self.create_table(create),
            StatementKind::CreateView(create) => self.create_view(create),
            StatementKind::Drop { kind, name, if_exists, .. } => self.drop_entry(*kind, name, *if_exists),
            StatementKind::Show(what) => show::show(&self.context(), what),
            StatementKind::Describe { name, .. } => show::describe(&self.context(), name),
            StatementKind::Set(Some(setting)) => {
                let note = self.settings.set(setting)?;
                self.follow_time_zone();
                Ok(Outcome::Done { note })
            }
            StatementKind::Set(None) => Ok(show::settings(&self.settings)),
            StatementKind::Reset(key) => {
                self.settings.reset(key.as_ref())?;
                self.follow_time_zone();
                Ok(Outcome::Done { note: None })
            }
            StatementKind::Explain { details, statement } => self.explain(details, statement),
            StatementKind::Insert(_) | StatementKind::StatementSet(_) | StatementKind::Query(_) => {
                Err(Diagnostic::at(statement.span, "this statement runs as a job"))
            }
        }
    }

    fn create_table(&mut self, create: &CreateTable) -> Result<Outcome, Diagnostic> {
        if self.exists_already(&create.name, create.if_not_exists)? {
            return Ok(Outcome::Done { note: None });
        }
        let table = define::table(create, &self.catalog, self.settings.time_zone())?;
        let table = complete_table(&self.context(), &table)?;
        define::check_options(create, &table, self.connectors())?;
        self.catalog.put_table(table);
        Ok(Outcome::Done { note: None })
    }

    fn create_view(&mut self, create: &CreateView) -> Result<Outcome, Diagnostic> {
        if !create.or_replace && self.exists_already(&create.name, create.if_not_exists)? {
            return Ok(Outcome::Done { note: None });
        }
        define::free_name(&create.name)?;
        if let Some(Entry::Table(_)) = self.catalog.entry(&create.name.value) {
            return Err(Diagnostic::at(create.name.span, format!("`{}` is a table", create.name.value)));
        }
        expansion::check(&self.catalog, &create.query, Some(&create.name.value))?;
        check_names(&create.columns)?;
        let schema = query_schema(&self.context(), &create.query)?;
        if !create.columns.is_empty() && create.columns.len() != schema.fields().len() {
            let message =
                format!("the view names {} columns, its query gives {}", create.columns.len(), schema.fields().len());
            return Err(Diagnostic::at(create.name.span, message));
        }
        self.catalog.put_view(ViewDefinition {
            name: create.name.value.clone(),
            columns: create.columns.iter().map(|column| column.value.clone()).collect(),
            query: create.query.clone(),
            query_text: create.query_text.clone(),
            temporary: create.temporary,
            comment: create.comment.clone(),
        });
        Ok(Outcome::Done { note: None })
    }

    fn exists_already(&self, name: &sqlparser::ast::Ident, is_fine: bool) -> Result<bool, Diagnostic> {
        match self.catalog.resolve(&name.value) {
            None => Ok(false),
            Some(_) if is_fine => Ok(true),
            Some(_) => Err(Diagnostic::at(name.span, format!("`{}` exists already", name.value))
                .with_hint("DROP it first, choose another name, or write IF NOT EXISTS")),
        }
    }

    fn drop_entry(
        &mut self,
        kind: DropKind,
        name: &sqlparser::ast::Ident,
        if_exists: bool,
    ) -> Result<Outcome, Diagnostic> {
        let found = self.catalog.entry(&name.value);
        match (kind, found) {
            (DropKind::Table, Some(Entry::Table(_))) | (DropKind::View, Some(Entry::View(_))) => {
                self.catalog.remove(&name.value);
            }
            (_, None) if if_exists => {}
            (_, None) => drop(self.catalog.require(name)?),
            (DropKind::Table, Some(_)) => {
                return Err(
                    Diagnostic::at(name.span, format!("`{}` is a view", name.value)).with_hint("write DROP VIEW")
                );
            }
            (DropKind::View, Some(_)) => {
                return Err(
                    Diagnostic::at(name.span, format!("`{}` is a table", name.value)).with_hint("write DROP TABLE")
                );
            }
        }
        Ok(Outcome::Done { note: None })
    }

    fn explain(&self, details: &[ExplainDetail], statement: &Statement) -> Result<Outcome, Diagnostic> {
        let outputs: Vec<Output<'_>> = match &statement.kind {
            StatementKind::Insert(insert) => vec![Output::Insert(insert)],
            StatementKind::StatementSet(inserts) => inserts.iter().map(Output::Insert).collect(),
            StatementKind::Query(query) => vec![Output::Print(query)],
            _ => {
                return Err(Diagnostic::at(statement.span, "only a query, an INSERT or a statement set has a plan")
                    .with_hint("EXPLAIN PLAN FOR SELECT ..."));
            }
        };
        if details.contains(&ExplainDetail::EstimatedCost) {
            let message = "EXPLAIN ESTIMATED_COST is not there: plans are not chosen by their cost";
            let hint = "write CHANGELOG_MODE, PLAN_ADVICE, JSON_EXECUTION_PLAN or STATE instead, or leave it out";
            return Err(Diagnostic::at(statement.span, message).with_hint(hint));
        }
        Ok(Outcome::Text(explain::explain_with(&plan_job(&self.context(), &outputs)?, details)))
    }
}

fn check_names(columns: &[sqlparser::ast::Ident]) -> Result<(), Diagnostic> {
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|other| other.value == column.value) {
            return Err(Diagnostic::at(column.span, format!("the column `{}` is named twice", column.value)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
