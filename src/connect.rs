//! Hands the connectors to the SQL planner: the one place where both are known.

use std::ops::Deref;
use std::sync::Arc;

use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use tidemill_connectors::print::PrintStyle;
use tidemill_connectors::registry::{self, Registry};
use tidemill_connectors::table::{MetadataColumn, TableSpec};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::lookup::KeyedLookup;
use tidemill_engine::sink::Sink;
use tidemill_engine::source::Source;
use tidemill_sql::catalog::{Column, ColumnKind, Connectors, OptionProblem, TableDefinition, Usage};

/// The registry as the planner sees it.
pub struct RegistryConnectors {
    registry: Registry,
}

impl RegistryConnectors {
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// True where there is a connector of this name.
    pub fn exists(&self, name: &str) -> bool {
        self.registry.describe().iter().any(|connector| connector.name == name)
    }
}

impl Connectors for RegistryConnectors {
    fn check(&self, table: &TableDefinition, usage: Usage) -> Result<(), Vec<OptionProblem>> {
        let checked = self.registry.check(&spec_of(table, ""), usage_of(usage));
        checked.map_err(|problems| problems.into_iter().map(problem_of).collect())
    }

    fn source(
        &self,
        table: &TableDefinition,
        columns: &[String],
        time_zone: &str,
    ) -> Result<Arc<dyn Source>, OptionProblem> {
        self.registry.source(&spec_of(table, time_zone), columns).map_err(problem_of)
    }

    fn reads_fields(&self, table: &TableDefinition) -> bool {
        self.registry.reads_fields(&spec_of(table, ""))
    }

    fn looks_up(&self, table: &TableDefinition) -> bool {
        self.registry.looks_up(&spec_of(table, ""))
    }

    fn lookup(
        &self,
        table: &TableDefinition,
        columns: &[String],
        keys: &[(String, DataType)],
        time_zone: &str,
    ) -> Result<KeyedLookup, OptionProblem> {
        self.registry.lookup(&spec_of(table, time_zone), columns, keys).map_err(problem_of)
    }

    fn sink(
        &self,
        table: &TableDefinition,
        schema: SchemaRef,
        time_zone: &str,
    ) -> Result<Arc<dyn Sink>, OptionProblem> {
        self.registry.sink(&spec_of(table, time_zone), schema).map_err(problem_of)
    }

    fn sink_accepts(&self, table: &TableDefinition) -> ChangelogMode {
        self.registry.accepts(&spec_of(table, ""))
    }

    fn takes_updates_with(&self, table: &TableDefinition) -> Option<String> {
        self.registry.takes_updates_with(&spec_of(table, "")).map(str::to_string)
    }

    fn source_changelog(&self, table: &TableDefinition) -> ChangelogMode {
        self.registry.gives(&spec_of(table, ""))
    }

    fn print_sink(&self, schema: SchemaRef, changelog: ChangelogMode) -> Arc<dyn Sink> {
        self.registry.print_sink(schema, changelog, PrintStyle::Table)
    }

    fn metadata(&self, table: &TableDefinition) -> Vec<(String, DataType)> {
        let offered = self.registry.metadata(&spec_of(table, ""));
        offered.into_iter().map(|metadata| (metadata.key.to_string(), metadata.data_type)).collect()
    }
}

/// Other connectors, but for the sink of a bare query.
pub struct PrintingTo<I, F> {
    inner: I,
    sink: F,
}

impl<I, F> PrintingTo<I, F>
where
    I: Deref<Target: Connectors> + Send + Sync,
    F: Fn(SchemaRef, ChangelogMode) -> Arc<dyn Sink> + Send + Sync,
{
    /// `sink` makes a sink for rows of a schema that are appended or changed so.
    pub fn new(inner: I, sink: F) -> Self {
        Self { inner, sink }
    }
}

impl<I, F> Connectors for PrintingTo<I, F>
where
    I: Deref<Target: Connectors> + Send + Sync,
    F: Fn(SchemaRef, ChangelogMode) -> Arc<dyn Sink> + Send + Sync,
{
    fn check(&self, table: &TableDefinition, usage: Usage) -> Result<(), Vec<OptionProblem>> {
        self.inner.check(table, usage)
    }

    fn source(
        &self,
        table: &TableDefinition,
        columns: &[String],
        time_zone: &str,
    ) -> Result<Arc<dyn Source>, OptionProblem> {
        self.inner.source(table, columns, time_zone)
    }

    fn reads_fields(&self, table: &TableDefinition) -> bool {
        self.inner.reads_fields(table)
    }

    fn looks_up(&self, table: &TableDefinition) -> bool {
        self.inner.looks_up(table)
    }

    fn lookup(
        &self,
        table: &TableDefinition,
        columns: &[String],
        keys: &[(String, DataType)],
        time_zone: &str,
    ) -> Result<KeyedLookup, OptionProblem> {
        self.inner.lookup(table, columns, keys, time_zone)
    }

    fn sink(
        &self,
        table: &TableDefinition,
        schema: SchemaRef,
        time_zone: &str,
    ) -> Result<Arc<dyn Sink>, OptionProblem> {
        self.inner.sink(table, schema, time_zone)
    }

    fn sink_accepts(&self, table: &TableDefinition) -> ChangelogMode {
        self.inner.sink_accepts(table)
    }

    fn takes_updates_with(&self, table: &TableDefinition) -> Option<String> {
        self.inner.takes_updates_with(table)
    }

    fn source_changelog(&self, table: &TableDefinition) -> ChangelogMode {
        self.inner.source_changelog(table)
    }

    fn print_sink(&self, schema: SchemaRef, changelog: ChangelogMode) -> Arc<dyn Sink> {
        (self.sink)(schema, changelog)
    }

    fn metadata(&self, table: &TableDefinition) -> Vec<(String, DataType)> {
        self.inner.metadata(table)
    }
}

fn usage_of(usage: Usage) -> registry::Usage {
    match usage {
        Usage::Declared => registry::Usage::Declared,
        Usage::Source => registry::Usage::Source,
        Usage::Sink => registry::Usage::Sink,
        Usage::Lookup => registry::Usage::Lookup,
    }
}

fn problem_of(problem: tidemill_connectors::options::OptionProblem) -> OptionProblem {
    OptionProblem { option: problem.option, message: problem.message, hint: problem.hint }
}

fn spec_of(table: &TableDefinition, time_zone: &str) -> TableSpec {
    let physical = table.columns.iter().filter(|column| matches!(column.kind, ColumnKind::Physical));
    TableSpec {
        name: table.name.clone(),
        columns: Arc::new(Schema::new(physical.map(Column::field).collect::<Fields>())),
        metadata: table.columns.iter().filter_map(metadata_column).collect(),
        partition_keys: table.partitioned_by.clone(),
        primary_key: table.primary_key.clone(),
        options: table.options.clone(),
        time_zone: time_zone.to_string(),
    }
}

fn metadata_column(column: &Column) -> Option<MetadataColumn> {
    let ColumnKind::Metadata { key, virtual_ } = &column.kind else { return None };
    let (name, key, data_type) = (column.name.clone(), key.clone(), column.data_type.clone());
    Some(MetadataColumn { name, key, data_type, is_virtual: *virtual_ })
}
