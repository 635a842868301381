//! The right side of a lookup join: a bounded table that is read outside of the job's streams.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::Result;
use datafusion_expr::{Expr, LogicalPlan, TableScan};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::lookup::SourceTable;
use tidemill_engine::source::{Boundedness, Source};

use crate::catalog::TableDefinition;
use crate::diagnostic::Diagnostic;
use crate::plan::context::{CatalogTable, TableStream, external};
use crate::plan::display::display;
use crate::plan::physical::{Physical, column_index, substitute};
use crate::plan::translate::Translator;
use crate::plan::translate::calc::plain_schema;
use crate::settings::parse_duration;

/// The table option that says how often reference rows are read again.
const RELOAD_INTERVAL: &str = "lookup.full-cache.periodic-reload.interval";

/// A bounded table with the expressions that give a plan's columns.
pub(super) struct Reference {
    pub table: String,
    source: Arc<dyn Source>,
    /// Over what the source gives.
    columns: Vec<Physical>,
    pub schema: SchemaRef,
    pub reload_interval_ms: Option<i64>,
}

impl Reference {
    /// `None` where the plan is more than some columns of a table, or its table is no bounded one.
    pub fn of(translator: &Translator<'_>, plan: &LogicalPlan) -> Result<Option<Self>> {
        match plan {
            LogicalPlan::TableScan(scan) => Self::of_scan(translator, scan),
            LogicalPlan::SubqueryAlias(alias) => {
                let inner = Self::of(translator, &alias.input)?;
                Ok(inner.map(|inner| Self { schema: plain_schema(&alias.schema), ..inner }))
            }
            LogicalPlan::Projection(projection) => {
                let Some(inner) = Self::of(translator, &projection.input)? else { return Ok(None) };
                let columns = projection.expr.iter().map(|expr| inner.over(translator, expr, &projection.input));
                Ok(Some(Self {
                    columns: columns.collect::<Result<_>>()?,
                    schema: plain_schema(&projection.schema),
                    ..inner
                }))
            }
            _ => Ok(None),
        }
    }

    fn of_scan(translator: &Translator<'_>, scan: &TableScan) -> Result<Option<Self>> {
        let table = scan.source.downcast_ref::<CatalogTable>().filter(|table| table.stream == TableStream::Rows);
        let Some(table) = table else { return Ok(None) };
        let connectors = translator.resolver.context.connectors;
        if connectors.source_changelog(&table.definition) != ChangelogMode::Append {
            return Ok(None);
        }
        let schema = plain_schema(&scan.projected_schema);
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let (source, columns) = translator.table_source(&table.definition, &names)?;
        if source.boundedness() != Boundedness::Bounded || source.discovery_interval().is_some() {
            return Ok(None);
        }
        let reload_interval_ms = reload_interval_ms(&table.definition)?;
        Ok(Some(Self { table: table.definition.name.clone(), source, columns, schema, reload_interval_ms }))
    }

    fn over(&self, translator: &Translator<'_>, expr: &Expr, plan: &LogicalPlan) -> Result<Physical> {
        substitute(&translator.expr(expr, plan.schema())?, &self.columns)
    }

    /// Where these expressions over the plan stand; those that are no columns of it are added.
    pub fn keys(&mut self, translator: &Translator<'_>, keys: &[Expr], plan: &LogicalPlan) -> Result<Vec<usize>> {
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        let mut places = Vec::new();
        for key in keys {
            let expr = translator.expr(key, plan.schema())?;
            let place = column_index(&expr).unwrap_or(fields.len());
            if place == fields.len() {
                fields.push(Arc::new(Field::new(display(&expr), expr.data_type(&self.schema)?, true)));
                self.columns.push(substitute(&expr, &self.columns)?);
            }
            places.push(place);
        }
        self.schema = Arc::new(Schema::new(fields));
        Ok(places)
    }

    pub fn lookup_table(&self) -> Result<SourceTable> {
        let table = SourceTable::new(
            Arc::clone(&self.source),
            self.columns.clone(),
            Arc::clone(&self.schema),
            self.reload_interval_ms,
        );
        table.map_err(|error| external(Diagnostic::new(error.to_string())))
    }
}

fn reload_interval_ms(definition: &TableDefinition) -> Result<Option<i64>> {
    let Some(text) = definition.options.get(RELOAD_INTERVAL) else { return Ok(None) };
    match parse_duration(text) {
        Ok(interval) => Ok(Some(interval.as_millis() as i64).filter(|interval| *interval > 0)),
        Err(problem) => {
            let message = format!("option `{RELOAD_INTERVAL}` of table `{}`: {problem}", definition.name);
            Err(external(Diagnostic::new(message)))
        }
    }
}
