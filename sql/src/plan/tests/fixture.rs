//! Tables in memory and a script runner, for the planner's tests.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::operators::values_source::ValuesSource;
use tidemill_engine::runtime::testing::CollectSink;
use tidemill_engine::runtime::{JobOptions, RestartStrategy, start};
use tidemill_engine::sink::Sink;
use tidemill_engine::source::{Boundedness, Position, Source, Split, SplitReader};

use crate::catalog::{
    Catalog, Column, ColumnKind, Connectors, OptionProblem, TableDefinition, Usage, ViewDefinition, WatermarkDefinition,
};
use crate::diagnostic::Diagnostic;
use crate::explain;
use crate::parser::statement::{ColumnClause, CreateTable, CreateView, InsertQuery, Statement, StatementKind};
use crate::plan::{Output, PlanContext, PlannedJob, complete_table, plan_job};
use crate::settings::Settings;

/// Connectors whose sources give rows that a test put there and whose sinks keep what they are given.
#[derive(Default)]
pub struct MemoryConnectors {
    /// Rows by table, as newline-delimited text: values separated by `|`, in the order of the physical columns.
    rows: HashMap<String, String>,
    pub sinks: HashMap<String, CollectSink>,
    pub printed: CollectSink,
}

impl Connectors for MemoryConnectors {
    fn check(&self, _table: &TableDefinition, _usage: Usage) -> Result<(), Vec<OptionProblem>> {
        Ok(())
    }

    fn source(
        &self,
        table: &TableDefinition,
        columns: &[String],
        _time_zone: &str,
    ) -> Result<Arc<dyn Source>, OptionProblem> {
        let rows = self.rows.get(&table.name).map_or("", String::as_str);
        let (schema, batch) = read_rows(table, columns, rows);
        // Two batches: a result must not depend on where one ends.
        let half = batch.num_rows() / 2;
        let batches = vec![batch.slice(0, half), batch.slice(half, batch.num_rows() - half)];
        let values = ValuesSource::new(schema, batches);
        match table.options.get("connector").map(String::as_str) {
            Some("endless") => Ok(Arc::new(Endless(values))),
            _ => Ok(Arc::new(values)),
        }
    }

    fn sink(&self, table: &TableDefinition, _schema: SchemaRef, _zone: &str) -> Result<Arc<dyn Sink>, OptionProblem> {
        Ok(Arc::new(self.sinks.get(&table.name).cloned().unwrap_or_default()))
    }

    fn sink_accepts(&self, table: &TableDefinition) -> ChangelogMode {
        match table.options.get("connector").map(String::as_str) {
            Some("filesystem") => ChangelogMode::Append,
            _ => ChangelogMode::Retract,
        }
    }

    fn print_sink(&self, _schema: SchemaRef, _changelog: ChangelogMode) -> Arc<dyn Sink> {
        Arc::new(self.printed.clone())
    }

    fn metadata(&self, _table: &TableDefinition) -> Vec<(String, DataType)> {
        vec![("file.name".into(), DataType::Utf8)]
    }
}

/// What promises no end, as far as planning knows.
#[derive(Debug)]
struct Endless(ValuesSource);

impl Source for Endless {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn discover(&self) -> tidemill_engine::Result<Vec<Split>> {
        self.0.discover()
    }

    fn open(&self, split: &Split, position: Option<&Position>) -> tidemill_engine::Result<Box<dyn SplitReader>> {
        self.0.open(split, position)
    }
}

/// The text's values in the types of the columns; an empty value is NULL.
fn read_rows(table: &TableDefinition, columns: &[String], text: &str) -> (SchemaRef, RecordBatch) {
    let all = table.schema();
    let places: Vec<usize> = columns.iter().map(|name| all.index_of(name).expect("a declared column")).collect();
    let schema = Arc::new(all.project(&places).expect("places exist"));
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('|').collect()).collect();
    let physical: Vec<&Column> = table.columns.iter().filter(|c| !matches!(c.kind, ColumnKind::Computed(_))).collect();
    let arrays = schema.fields().iter().map(|field| {
        let place = physical.iter().position(|column| column.name == *field.name()).expect("a physical column");
        let values = lines.iter().map(|line| line.get(place).copied().filter(|value| !value.is_empty()));
        if let DataType::List(_) = field.data_type() {
            return int_lists(values);
        }
        let strings: arrow::array::StringArray = values.collect();
        arrow::compute::cast(&strings, field.data_type()).expect("a value of the column's type")
    });
    let arrays: Vec<_> = arrays.collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(lines.len()));
    let nullable = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(arrow::datatypes::Schema::new(nullable.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options).expect("columns fit");
    (schema, batch)
}

/// `1,2,3` as ARRAY<INT>.
fn int_lists<'a>(values: impl Iterator<Item = Option<&'a str>>) -> arrow::array::ArrayRef {
    let mut builder = arrow::array::ListBuilder::new(arrow::array::Int32Builder::new());
    for value in values {
        match value {
            None => builder.append_null(),
            Some(text) => builder.append_value(text.split(',').map(|number| number.trim().parse::<i32>().ok())),
        }
    }
    Arc::new(builder.finish())
}

/// A session of declared tables over memory.
#[derive(Default)]
pub struct Fixture {
    pub catalog: Catalog,
    pub settings: Settings,
    pub connectors: MemoryConnectors,
}

/// What most tests read and write.
const TABLES: &str = "
CREATE TABLE bid (auction BIGINT, bidder STRING, price INT, ts TIMESTAMP(3), tags ARRAY<INT>,
  double_price AS price * 2, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'memory');
CREATE TABLE live (bidder STRING, price INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'endless');
CREATE TABLE click (who STRING, at TIMESTAMP(3), pt AS PROCTIME()) WITH ('connector' = 'memory');
CREATE TABLE ltz (k STRING, v INT, t TIMESTAMP_LTZ(3), WATERMARK FOR t AS t) WITH ('connector' = 'memory');
CREATE TABLE files (window_start TIMESTAMP(3), bidder STRING, total BIGINT) WITH ('connector' = 'filesystem');
CREATE TABLE changes (bidder STRING, total BIGINT) WITH ('connector' = 'print');
CREATE TABLE narrow (a TINYINT, b DOUBLE, c AS a + 1, d STRING METADATA FROM 'file.name' VIRTUAL, e DECIMAL(10, 2) NOT NULL)
  WITH ('connector' = 'memory');
";

impl Fixture {
    pub fn new() -> Self {
        let mut fixture = Self::default();
        fixture.run_statements(TABLES);
        fixture
    }

    pub fn with_rows(mut self, table: &str, rows: &str) -> Self {
        let lines: Vec<&str> = rows.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        self.connectors.rows.insert(table.into(), lines.join("\n"));
        self
    }

    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.set_text(key, value).expect("a known setting");
        self
    }

    pub fn context(&self) -> PlanContext<'_> {
        PlanContext { catalog: &self.catalog, settings: &self.settings, connectors: &self.connectors }
    }

    fn run_statements(&mut self, sql: &str) {
        for statement in parse(sql) {
            self.declare(&statement).unwrap_or_else(|found| panic!("{}", found.render("test.sql", sql)));
        }
    }

    fn declare(&mut self, statement: &Statement) -> Result<(), Diagnostic> {
        match &statement.kind {
            StatementKind::CreateTable(create) => {
                let table = complete_table(&self.context(), &table_of(create))?;
                self.connectors.sinks.insert(table.name.clone(), CollectSink::new());
                self.catalog.put_table(table);
            }
            StatementKind::CreateView(create) => self.catalog.put_view(view_of(create)),
            StatementKind::Set(Some(setting)) => {
                self.settings.set(setting)?;
            }
            other => panic!("not a declaration: {other:?}"),
        }
        Ok(())
    }

    /// Declares all statements but the last query, inserts or statement set, and plans that.
    pub fn plan(&mut self, sql: &str) -> Result<PlannedJob, Diagnostic> {
        let mut inserts: Vec<InsertQuery> = Vec::new();
        for statement in parse(sql) {
            match &statement.kind {
                StatementKind::Query(query) => return plan_job(&self.context(), &[Output::Print(query)]),
                StatementKind::Insert(insert) => inserts.push(insert.clone()),
                StatementKind::StatementSet(set) => inserts.extend(set.iter().cloned()),
                _ => self.declare(&statement)?,
            }
        }
        let outputs: Vec<Output<'_>> = inserts.iter().map(Output::Insert).collect();
        plan_job(&self.context(), &outputs)
    }

    /// The operator graph, or the rendered diagnostic.
    pub fn graph(&mut self, sql: &str) -> String {
        let found = crate::parser::parse_script(sql).err();
        if let Some(found) = found {
            return found[0].render("test.sql", sql);
        }
        match self.plan(sql) {
            Ok(job) => explain::graph_as_text(&job.graph, true),
            Err(found) => found.render("test.sql", sql),
        }
    }

    /// Runs the script's job to its end at this parallelism; the rows of the bare query, sorted.
    pub fn rows_at(&mut self, sql: &str, parallelism: usize) -> Vec<String> {
        self.run(sql, parallelism);
        self.connectors.printed.sorted_rows()
    }

    pub fn run(&mut self, sql: &str, parallelism: usize) {
        self.try_run(sql, parallelism).unwrap_or_else(|error| panic!("{sql}\n{error}"));
    }

    /// Runs the script's job; an error of the job itself is given back.
    pub fn try_run(&mut self, sql: &str, parallelism: usize) -> tidemill_engine::Result<()> {
        self.connectors.printed = CollectSink::new();
        let job = self.plan(sql).unwrap_or_else(|found| panic!("{}", found.render("test.sql", sql)));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let restart = RestartStrategy::never();
        let options = JobOptions { parallelism, restart, ..JobOptions::new("test", folder.path()) };
        start(Arc::new(job.graph), options)?.wait().map(|_| ())
    }

    /// The table that a bare query's changes make, or why the job failed.
    pub fn table_of(&mut self, sql: &str, parallelism: usize) -> Result<Vec<String>, String> {
        self.try_run(sql, parallelism).map(|()| self.connectors.printed.table()).map_err(|error| error.to_string())
    }
}

fn parse(sql: &str) -> Vec<Statement> {
    crate::parser::parse_script(sql).unwrap_or_else(|found| panic!("{}", found[0].render("test.sql", sql)))
}

fn table_of(create: &CreateTable) -> TableDefinition {
    let columns = create.columns.iter().map(|definition| {
        let (sql_type, kind) = match &definition.kind {
            ColumnClause::Physical(sql_type) => (sql_type.clone(), ColumnKind::Physical),
            ColumnClause::Computed { expression: expr, .. } => {
                let unknown = crate::types::SqlType::nullable(crate::types::TypeKind::Null);
                (unknown, ColumnKind::Computed(expr.clone()))
            }
            ColumnClause::Metadata { sql_type, from, virtual_ } => {
                let key = from.as_ref().map_or(definition.name.value.clone(), |text| text.value.clone());
                (sql_type.clone(), ColumnKind::Metadata { key, virtual_: *virtual_ })
            }
        };
        Column {
            name: definition.name.value.clone(),
            data_type: sql_type.arrow("UTC"),
            nullable: sql_type.nullable,
            sql_type,
            kind,
            expression_text: None,
            comment: None,
            span: definition.name.span,
        }
    });
    let options: BTreeMap<String, String> =
        create.options.iter().map(|option| (option.key.value.clone(), option.value.value.clone())).collect();
    TableDefinition {
        name: create.name.value.clone(),
        columns: columns.collect(),
        watermark: create.watermark.as_ref().map(|watermark| WatermarkDefinition {
            column: watermark.column.value.clone(),
            expression: watermark.expression.clone(),
            text: String::new(),
            span: watermark.column.span,
        }),
        primary_key: vec![],
        partitioned_by: vec![],
        options,
        temporary: create.temporary,
        comment: None,
        span: create.name.span,
    }
}

fn view_of(create: &CreateView) -> ViewDefinition {
    ViewDefinition {
        name: create.name.value.clone(),
        columns: create.columns.iter().map(|ident| ident.value.clone()).collect(),
        query: create.query.clone(),
        query_text: create.query_text.clone(),
        temporary: create.temporary,
        comment: None,
    }
}
