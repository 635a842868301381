//! The right side of a lookup join: a table that is read or asked outside of the job's streams.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::Result;
use datafusion_expr::{Expr, LogicalPlan, TableScan};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::lookup::{KeyedLookup, Lookup, Projected, SourceTable};
use tidemill_engine::source::{Boundedness, Source};

use crate::catalog::{ColumnKind, TableDefinition, Usage};
use crate::diagnostic::Diagnostic;
use crate::plan::context::{CatalogTable, TableStream, external};
use crate::plan::display::display;
use crate::plan::insert::option_diagnostic;
use crate::plan::physical::{Physical, column_index, substitute};
use crate::plan::translate::Translator;
use crate::plan::translate::calc::plain_schema;
use crate::settings::parse_duration;

/// The table option that says how often reference rows are read again.
const RELOAD_INTERVAL: &str = "lookup.full-cache.periodic-reload.interval";

/// A table outside of the streams, with the expressions that give a plan's columns.
pub(super) struct Reference {
    pub table: String,
    pub origin: Origin,
    /// Over what the connector gives.
    columns: Vec<Physical>,
    pub schema: SchemaRef,
}

/// Where the rows are.
#[derive(Clone)]
pub(super) enum Origin {
    /// A bounded table, which is held whole.
    Whole { source: Arc<dyn Source>, reload_interval_ms: Option<i64> },
    /// A table that is asked by key for these columns.
    ByKey { definition: Arc<TableDefinition>, read: Vec<usize> },
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
        let schema = plain_schema(&scan.projected_schema);
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let name = table.definition.name.clone();
        if connectors.looks_up(&table.definition) {
            let (read, columns) = translator.connector_columns_of(&table.definition, &names)?;
            let origin = Origin::ByKey { definition: Arc::new(table.definition.clone()), read };
            return Ok(Some(Self { table: name, origin, columns, schema }));
        }
        if connectors.source_changelog(&table.definition) != ChangelogMode::Append {
            return Ok(None);
        }
        let (source, columns) = translator.table_source(&table.definition, &names)?;
        if source.boundedness() != Boundedness::Bounded || source.discovery_interval().is_some() {
            return Ok(None);
        }
        let origin = Origin::Whole { source, reload_interval_ms: reload_interval_ms(&table.definition)? };
        Ok(Some(Self { table: name, origin, columns, schema }))
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

    /// The physical column of the table that an expression over the plan is; with the type that it is compared as, where
    /// that loses nothing.
    pub fn key_column(
        &self,
        translator: &Translator<'_>,
        key: &Expr,
        plan: &LogicalPlan,
    ) -> Result<Option<(String, DataType)>> {
        let Origin::ByKey { definition, read } = &self.origin else { return Ok(None) };
        let (column, compared) = match key {
            Expr::Cast(cast) => (cast.expr.as_ref(), Some(cast.field.data_type())),
            other => (other, None),
        };
        if !matches!(column, Expr::Column(_)) {
            return Ok(None);
        }
        let Some(index) = column_index(&self.over(translator, column, plan)?) else { return Ok(None) };
        let found = &definition.columns[read[index]];
        let own = &found.data_type;
        let compared = compared.unwrap_or(own);
        let fits = matches!(found.kind, ColumnKind::Physical) && (compared == own || is_widening(own, compared));
        Ok(fits.then(|| (found.name.clone(), compared.clone())))
    }

    /// Rows of the whole table, where that is how it is read.
    pub fn whole(&self) -> Result<Arc<dyn Lookup>> {
        let Origin::Whole { source, reload_interval_ms } = &self.origin else {
            return Err(external(Diagnostic::new(format!("table `{}` is not read as a whole", self.table))));
        };
        let (columns, schema) = (self.columns.clone(), Arc::clone(&self.schema));
        let table = SourceTable::new(Arc::clone(source), columns, schema, *reload_interval_ms);
        Ok(Arc::new(table.map_err(|error| external(Diagnostic::new(error.to_string())))?))
    }

    /// Rows by some or all of these keys, where that is how they are found.
    pub fn by_key(&self, translator: &Translator<'_>, keys: &[(String, DataType)]) -> Result<KeyedLookup> {
        let Origin::ByKey { definition, read } = &self.origin else {
            return Err(external(Diagnostic::new(format!("table `{}` is not asked by key", self.table))));
        };
        let context = translator.resolver.context;
        let refused = |problem| external(option_diagnostic(definition, &problem));
        let checked = context.connectors.check(definition, Usage::Lookup);
        checked.map_err(|problems| match problems.into_iter().next() {
            Some(problem) => refused(problem),
            None => external(Diagnostic::new(format!("rows of table `{}` cannot be looked up", self.table))),
        })?;
        let names: Vec<String> = read.iter().map(|index| definition.columns[*index].name.clone()).collect();
        let found = context.connectors.lookup(definition, &names, keys, context.settings.time_zone());
        let found = found.map_err(refused)?;
        let projected = Projected::new(Arc::clone(&found.lookup), self.columns.clone(), Arc::clone(&self.schema));
        let lookup = Arc::new(projected.map_err(|error| external(Diagnostic::new(error.to_string())))?);
        Ok(KeyedLookup { lookup, ..found })
    }
}

/// Equal values stay equal and different ones different, also when they are written as texts.
fn is_widening(from: &DataType, to: &DataType) -> bool {
    let whole = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
    let place = |data_type: &DataType| whole.iter().position(|one| one == data_type);
    match (from, to) {
        (DataType::Decimal128(narrow, one), DataType::Decimal128(wide, other)) => one == other && narrow <= wide,
        _ => matches!((place(from), place(to)), (Some(from), Some(to)) if from <= to),
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
