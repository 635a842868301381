//! Source nodes: one per table and job, reading the union of what all statements need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::LogicalPlan;
use datafusion_physical_expr::ScalarFunctionExpr;
use datafusion_physical_expr::expressions::Literal;
use tidemill_engine::graph::{ChangelogMode, NodeKind, Parallelism};
use tidemill_engine::operator::SIDE_PORT;
use tidemill_engine::source::{Boundedness, Source, SourceSpec, WatermarkSpec, rejected_schema};
use tidemill_engine::time::window::TimeDomain;

use super::Translator;
use super::calc::any;
use super::normalize::SourceChangelog;
use crate::catalog::{ColumnKind, TableDefinition, Usage};
use crate::diagnostic::Diagnostic;
use crate::plan::context::{CatalogTable, TableStream, external};
use crate::plan::display::display;
use crate::plan::fields::{self, ColumnUses, FieldUse};
use crate::plan::graph_builder::{NodeDraft, detail};
use crate::plan::insert::option_diagnostic;
use crate::plan::nodes::temporal::TemporalNode;
use crate::plan::nodes::window::{WindowNode, describe_ms};
use crate::plan::over_window::{self, OverOrder};
use crate::plan::physical::{Physical, column, column_index, columns_read, substitute};
use crate::plan::stream::{Stream, WholeRow};
use crate::plan::table::{self, BoundTable};
use crate::plan::time_join;
use crate::plan::traits::ColumnTraits;
use crate::plan::unstable::Unstable;
use crate::settings::parse_duration;

/// The table option that overrides `table.exec.source.idle-timeout`.
const IDLE_TIMEOUT: &str = "scan.watermark.idle-timeout";
/// The column that carries a whole row to the window operators.
pub(super) const WHOLE_ROW: &str = "__row";

/// What a job reads of one table.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableUse {
    columns: BTreeSet<String>,
    /// Of these columns.
    fields: ColumnUses,
    /// Some statement goes by event time.
    needs_watermark: bool,
    /// Some statement reads `<table>$late`.
    pub late: bool,
    /// Some statement reads `<table>$errors`.
    errors: bool,
}

pub(crate) type TableUses = BTreeMap<String, TableUse>;

/// Adds what a plan reads to the uses. `sink_by_event_time`: so does what its rows are written to.
pub(crate) fn collect(plan: &LogicalPlan, sink_by_event_time: bool, uses: &mut TableUses) -> Result<()> {
    let by_event_time = sink_by_event_time || goes_by_event_time(plan)?;
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(table) = scan.source.downcast_ref::<CatalogTable>()
        {
            let entry = uses.entry(table.definition.name.clone()).or_default();
            match table.stream {
                TableStream::Rows => {
                    entry.columns.extend(scan.projected_schema.fields().iter().map(|field| field.name().clone()));
                    entry.needs_watermark |= by_event_time;
                }
                TableStream::Late => entry.late = true,
                TableStream::Errors => entry.errors = true,
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    fields::of_plan(plan, &mut |scan, columns| {
        if let Some(table) = scan.source.downcast_ref::<CatalogTable>()
            && table.stream == TableStream::Rows
        {
            let entry = uses.entry(table.definition.name.clone()).or_default();
            for (name, used) in columns {
                entry.fields.entry(name).or_default().merge(used);
            }
        }
    })
}

fn goes_by_event_time(plan: &LogicalPlan) -> Result<bool> {
    let is_event_time = |column: &ColumnTraits| column.time == Some(TimeDomain::Event);
    plan.exists(|node| {
        let window = match node {
            LogicalPlan::Extension(extension) => {
                let node = extension.node.as_any();
                if node.downcast_ref::<TemporalNode>().is_some_and(|node| node.domain == TimeDomain::Event) {
                    return Ok(true);
                }
                node.downcast_ref::<WindowNode>()
            }
            LogicalPlan::Join(join) if time_join::goes_by_event_time(join) => return Ok(true),
            _ => None,
        };
        let reads_watermark = |expr: &datafusion_expr::Expr| {
            any(
                expr,
                |part| matches!(part, datafusion_expr::Expr::ScalarFunction(f) if f.name() == "current_watermark"),
            )
        };
        let over = match node {
            LogicalPlan::Window(window) => over_window::order_of(window) == OverOrder::Time(TimeDomain::Event),
            LogicalPlan::Sort(_) => crate::plan::traits::of_plan(node).iter().any(is_event_time),
            _ => false,
        };
        Ok(over
            || window.is_some_and(|window| window.spec.domain == TimeDomain::Event)
            || node.expressions().iter().any(reads_watermark))
    })
}

/// The streams of a source node.
pub(crate) struct TableStreams {
    rows: Stream,
    /// Names of the columns of `rows`.
    columns: Vec<String>,
    errors: Stream,
}

impl Translator<'_> {
    /// The rows of a table, reduced to these columns.
    pub fn table_rows(&mut self, definition: &TableDefinition, columns: &[&str]) -> Result<Stream> {
        let streams = self.source(definition)?;
        let places = columns.iter().map(|name| streams.columns.iter().position(|column| column == name));
        let Some(places) = places.collect::<Option<Vec<_>>>() else {
            return Err(external(Diagnostic::new(format!("a column of `{}` was lost in planning", definition.name))));
        };
        let rows = streams.rows.clone();
        let schema = Arc::new(rows.schema.project(&places)?);
        let columns = places.iter().map(|index| Arc::clone(&rows.columns[*index])).collect();
        let unstable = rows.unstable.as_ref().and_then(|unstable| unstable.of_places(&places));
        Ok(Stream { columns, schema, unstable, ..rows })
    }

    /// A source of a table that no stream of the job is made of, and these columns over what it gives.
    pub fn table_source(
        &self,
        definition: &TableDefinition,
        columns: &[&str],
    ) -> Result<(Arc<dyn Source>, Vec<Physical>)> {
        let (read, columns) = self.connector_columns_of(definition, columns)?;
        Ok((self.open_source(definition, &read)?, columns))
    }

    /// Which columns of the table its connector must give, by index, and these columns over them.
    pub fn connector_columns_of(
        &self,
        definition: &TableDefinition,
        columns: &[&str],
    ) -> Result<(Vec<usize>, Vec<Physical>)> {
        let bound = table::bind(self.resolver, &self.physicals, definition)?;
        let place = |name: &&str| definition.columns.iter().position(|column| column.name == **name);
        let output: Vec<usize> = columns.iter().filter_map(place).collect();
        let read = connector_columns(&bound, &output, output.is_empty());
        let to_source: Vec<Physical> = bound
            .schema
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| column(field.name(), read.iter().position(|read| *read == index).unwrap_or(index)))
            .collect();
        let columns = output.iter().map(|index| substitute(&bound.columns[*index], &to_source));
        Ok((read.clone(), columns.collect::<Result<_>>()?))
    }

    /// The connector's source of these columns.
    fn open_source(&self, definition: &TableDefinition, read: &[usize]) -> Result<Arc<dyn Source>> {
        let names: Vec<String> = read.iter().map(|index| definition.columns[*index].name.clone()).collect();
        let context = self.resolver.context;
        context.connectors.check(definition, Usage::Source).map_err(|problems| match problems.first() {
            Some(problem) => external(option_diagnostic(definition, problem)),
            None => external(Diagnostic::new(format!("table `{}` cannot be read", definition.name))),
        })?;
        let source = context.connectors.source(definition, &names, context.settings.time_zone());
        source.map_err(|problem| external(option_diagnostic(definition, &problem)))
    }

    /// The records of a table that could not be decoded.
    pub fn table_errors(&mut self, definition: &TableDefinition) -> Result<Stream> {
        Ok(self.source(definition)?.errors.clone())
    }

    fn source(&mut self, definition: &TableDefinition) -> Result<&TableStreams> {
        if !self.sources.contains_key(&definition.name) {
            let streams = self.add_source(definition)?;
            self.sources.insert(definition.name.clone(), streams);
        }
        Ok(&self.sources[&definition.name])
    }

    fn add_source(&mut self, definition: &TableDefinition) -> Result<TableStreams> {
        let usage = self.uses.get(&definition.name).cloned().unwrap_or_default();
        let bound = table::bind(self.resolver, &self.physicals, definition)?;
        let mut output = output_columns(&bound, &usage);
        let changelog = super::normalize::changelog_of(self, definition).map_err(external)?;
        if changelog.needs_key() {
            output.extend(super::normalize::key_of(definition));
        }
        let watermark = bound.watermark.clone().filter(|_| usage.needs_watermark || usage.late);
        if let Some(watermark) = &watermark {
            output.extend(columns_read(&watermark.expression));
            output.insert(watermark.column);
        }
        let output: Vec<usize> = output.into_iter().collect();
        let read = connector_columns(&bound, &output, usage.late || usage.errors);
        let narrow = changelog.given == ChangelogMode::Append
            && !(usage.late || usage.errors)
            && self.resolver.context.connectors.reads_fields(definition);
        let narrowed = if narrow { narrowed(definition, &bound, &usage, &output, watermark.as_ref())? } else { None };
        let (definition, bound) = match &narrowed {
            None => (definition, bound),
            Some(narrowed) => (narrowed, BoundTable { schema: narrowed.schema(), ..bound }),
        };
        let source = self.open_source(definition, &read)?;
        let plan = SourcePlan {
            definition,
            bound: &bound,
            usage: &usage,
            changelog,
            output,
            read,
            narrowed: narrowed.is_some(),
        };
        plan.add(self, source, watermark)
    }
}

/// The table with only those fields in its ROW columns that the job reads; `None` where it reads them all.
fn narrowed(
    definition: &TableDefinition,
    bound: &BoundTable,
    usage: &TableUse,
    output: &[usize],
    watermark: Option<&table::BoundWatermark>,
) -> Result<Option<TableDefinition>> {
    let mut uses: BTreeMap<usize, FieldUse> = BTreeMap::new();
    let by_watermark = watermark.map(|watermark| columns_read(&watermark.expression)).unwrap_or_default();
    for index in output {
        let column = &bound.columns[*index];
        let name = bound.schema.field(*index).name();
        let is_read = usage.columns.contains(name);
        if column_index(column) != Some(*index) {
            fields::of_physical(column, &mut |read, path| uses.entry(read).or_default().add(path))?;
        } else if let (true, Some(used)) = (is_read, usage.fields.get(name)) {
            uses.entry(*index).or_default().merge(used.clone());
        } else if is_read || !by_watermark.contains(index) {
            uses.insert(*index, FieldUse::Whole);
        }
    }
    if let Some(watermark) = watermark {
        fields::of_physical(&watermark.expression, &mut |read, path| uses.entry(read).or_default().add(path))?;
    }
    let mut narrowed = definition.clone();
    for (index, used) in uses {
        let column = &mut narrowed.columns[index];
        column.data_type = used.narrowed(&column.data_type);
    }
    Ok(Some(narrowed).filter(|narrowed| narrowed.schema() != definition.schema()))
}

/// The table's columns that leave the source node: what is read, at least one.
fn output_columns(bound: &BoundTable, usage: &TableUse) -> BTreeSet<usize> {
    let fields = bound.schema.fields();
    let mut output: BTreeSet<usize> =
        fields.iter().enumerate().filter(|(_, field)| usage.columns.contains(field.name())).map(|(i, _)| i).collect();
    if output.is_empty() {
        // Rows are counted by a column; a flat one is the cheapest to decode.
        let flat = |index: &usize| bound.is_read[*index] && !fields[*index].data_type().is_nested();
        let physical = (0..fields.len()).find(flat).or_else(|| (0..fields.len()).find(|index| bound.is_read[*index]));
        output.extend(physical.or(if fields.is_empty() { None } else { Some(0) }));
    }
    output
}

/// The columns that the connector must give for these outputs. With a reader of the late rows or of the undecodable
/// records all of them are read, so that which records are found wrong does not depend on the rest of the plan.
fn connector_columns(bound: &BoundTable, output: &[usize], all: bool) -> Vec<usize> {
    let mut read: BTreeSet<usize> = output.iter().flat_map(|index| columns_read(&bound.columns[*index])).collect();
    if all {
        read.extend((0..bound.columns.len()).flat_map(|index| columns_read(&bound.columns[index])));
    }
    read.into_iter().collect()
}

struct SourcePlan<'p> {
    definition: &'p TableDefinition,
    bound: &'p BoundTable,
    usage: &'p TableUse,
    changelog: SourceChangelog,
    /// Columns of the table that the node gives.
    output: Vec<usize>,
    /// Columns of the table that the connector gives.
    read: Vec<usize>,
    /// Not all fields of its ROW columns are decoded.
    narrowed: bool,
}

impl SourcePlan<'_> {
    fn add(
        &self,
        translator: &mut Translator<'_>,
        source: Arc<dyn Source>,
        watermark: Option<table::BoundWatermark>,
    ) -> Result<TableStreams> {
        let to_source = self.to_source();
        let mut columns = self.output.iter().map(|index| substitute(&self.bound.columns[*index], &to_source));
        let mut columns = columns.by_ref().collect::<Result<Vec<_>>>()?;
        let mut fields: Vec<Field> = self.output.iter().map(|index| self.bound.schema.field(*index).clone()).collect();
        if self.usage.late {
            let row = whole_row(translator, self.bound, &to_source)?;
            fields.push(Field::new(WHOLE_ROW, physical_type(&row, &source)?, true));
            columns.push(row);
        }
        let idle_timeout = self.idle_timeout(translator)?;
        let idle_time_runs = translator.resolver.context.settings.idle_time_runs();
        let watermark =
            watermark.map(|watermark| self.watermark(&watermark, idle_timeout, idle_time_runs)).transpose()?;
        let declared = Arc::new(Schema::new(fields));
        let schema = self.changelog.source_schema(&declared);
        let details = self.details(&columns, &schema, watermark.as_ref());
        let steady = idle_timeout.is_none() && source.discovery_interval().is_none();
        let bounded = source.boundedness() == Boundedness::Bounded;
        let parallelism = if source.in_order() { Parallelism::One } else { Parallelism::Job };
        let name = &self.definition.name;
        // Full changes are given as they come; what is upserted is remembered as it was given.
        let is_retract = self.changelog.given == ChangelogMode::Retract && !self.changelog.needs_key();
        let unstable = if is_retract { Unstable::of_source(&columns[..self.output.len()]) } else { None };
        let node = translator.graph.add(NodeDraft {
            uid: format!("source:{name}"),
            name: format!("Source({name})"),
            kind: NodeKind::Source(SourceSpec { source, columns, watermark }),
            inputs: Vec::new(),
            parallelism,
            schema: Arc::clone(&schema),
            changelog: self.changelog.given,
            details,
            state_signature: None,
        });
        let mut rows = Stream::of(node, schema, parallelism, self.changelog.given, bounded);
        rows.steady = steady;
        rows.unstable = unstable;
        if self.changelog.needs_key() {
            rows = super::normalize::add(translator, rows, self.definition, &declared)?;
        }
        let mut errors = Stream::of(node, rejected_schema(), parallelism, ChangelogMode::Append, bounded);
        errors.port = SIDE_PORT;
        if self.usage.late {
            let row = rows.columns.pop();
            rows.schema = Arc::new(rows.schema.project(&(0..self.output.len()).collect::<Vec<_>>())?);
            rows.whole_row = row.map(|row| WholeRow { table: name.clone(), row });
        }
        let columns = self.output.iter().map(|index| self.definition.columns[*index].name.clone()).collect();
        Ok(TableStreams { rows, columns, errors })
    }

    /// The ROW columns that the connector gives, with the fields that it decodes.
    fn fields_read(&self) -> String {
        let rows = self.read.iter().map(|index| self.bound.schema.field(*index)).filter_map(|field| {
            let DataType::Struct(fields) = field.data_type() else { return None };
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            Some(format!("{}({})", field.name(), names.join(", ")))
        });
        rows.collect::<Vec<_>>().join(", ")
    }

    /// For each column of the table, where the connector gives it.
    fn to_source(&self) -> Vec<Physical> {
        let place = |index: usize| self.read.iter().position(|read| *read == index).unwrap_or(index);
        let fields = self.bound.schema.fields().iter().enumerate();
        fields.map(|(index, field)| column(field.name(), place(index))).collect()
    }

    fn watermark(
        &self,
        bound: &table::BoundWatermark,
        idle_timeout: Option<Duration>,
        idle_time_runs: bool,
    ) -> Result<WatermarkSpec> {
        let place = |index: usize| self.output.iter().position(|output| *output == index).unwrap_or_default();
        let fields = self.bound.schema.fields().iter().enumerate();
        let to_output: Vec<_> = fields.map(|(index, field)| column(field.name(), place(index))).collect();
        let expression = substitute(&bound.expression, &to_output)?;
        Ok(WatermarkSpec { expression, time_column: place(bound.column), idle_timeout, idle_time_runs })
    }

    fn idle_timeout(&self, translator: &Translator<'_>) -> Result<Option<Duration>> {
        let Some(text) = self.definition.options.get(IDLE_TIMEOUT) else {
            return Ok(translator.resolver.context.settings.idle_timeout());
        };
        match parse_duration(text) {
            Ok(timeout) => Ok(Some(timeout).filter(|timeout| !timeout.is_zero())),
            Err(problem) => {
                let message = format!("option `{IDLE_TIMEOUT}` of table `{}`: {problem}", self.definition.name);
                Err(external(Diagnostic::new(message)))
            }
        }
    }

    fn details(
        &self,
        columns: &[Physical],
        schema: &Schema,
        watermark: Option<&WatermarkSpec>,
    ) -> Vec<(String, String)> {
        let visible = &columns[..self.output.len()];
        let mut details = vec![detail("columns", super::calc::describe_columns(visible, schema))];
        details.extend(self.narrowed.then(|| detail("fields", self.fields_read())));
        if let Some(watermark) = watermark {
            let time = schema.field(watermark.time_column).name();
            details.push(detail("watermark", format!("{time} AS {}", display(&watermark.expression))));
            if let Some(timeout) = watermark.idle_timeout {
                let runs = if watermark.idle_time_runs { ", then time runs on" } else { "" };
                details.push(detail("idle timeout", format!("{}{runs}", describe_ms(timeout.as_millis() as i64))));
            }
        }
        details
    }
}

fn physical_type(row: &Physical, source: &Arc<dyn Source>) -> Result<DataType> {
    row.data_type(&source.schema())
}

/// All columns of the table as one ROW.
fn whole_row(translator: &Translator<'_>, bound: &BoundTable, to_source: &[Physical]) -> Result<Physical> {
    let function = datafusion_functions::core::named_struct();
    let mut arguments: Vec<Physical> = Vec::new();
    let mut types = Vec::new();
    for (field, expr) in bound.schema.fields().iter().zip(&bound.columns) {
        arguments.push(Arc::new(Literal::new(ScalarValue::from(field.name().as_str()))));
        arguments.push(substitute(expr, to_source)?);
        types.push(Arc::clone(field));
    }
    let row = DataType::Struct(types.into_iter().collect());
    let field = Arc::new(Field::new(WHOLE_ROW, row, true));
    let options = Arc::clone(&translator.resolver.options);
    Ok(Arc::new(ScalarFunctionExpr::new(WHOLE_ROW, function, arguments, field, options)))
}

/// True for tables whose kind of column comes from the connector.
pub(crate) fn is_connector_column(kind: &ColumnKind) -> bool {
    matches!(kind, ColumnKind::Physical | ColumnKind::Metadata { .. })
}
