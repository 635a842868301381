//! From parsed statements to the graph of a job.
//!
//! A query passes through these steps, in this order:
//! 1. names and types: DataFusion's SQL planner over our catalog ([`context`], [`functions`], [`aggregates`]);
//! 2. our own nodes in place of the parser's markers, types coerced ([`windows`], [`unnest`], [`optimize`]);
//! 3. optional rewriting into a cheaper plan ([`optimize`]);
//! 4. translation into operators ([`translate`]), with what streams know about their columns ([`traits`]).

use std::sync::Arc;

use datafusion_expr::LogicalPlan;
use sqlparser::ast::Query;
use tidemill_engine::graph::JobGraph;

use crate::catalog::{Catalog, Connectors, Relation};
use crate::diagnostic::Diagnostic;
use crate::parser::statement::InsertQuery;
use crate::settings::Settings;

mod aggregates;
mod bounded;
mod casts;
mod column_names;
mod comparisons;
mod context;
mod display;
mod errors;
mod event_time;
mod exact;
mod fields;
mod functions;
mod graph_builder;
mod insert;
mod intervals;
mod joins;
pub(crate) mod keys;
mod literals;
mod markers;
mod narrow_sums;
mod nodes;
mod optimize;
mod outer_types;
mod over_window;
mod physical;
mod places;
mod plain_types;
mod proctime;
mod rank_filter;
mod set_operations;
mod sink_check;
mod sink_parallelism;
mod spans;
mod steady_rules;
mod stream;
mod subqueries;
mod table;
mod temporal;
#[cfg(test)]
mod tests;
mod time_join;
mod traits;
mod translate;
mod unbounded;
mod unnest;
mod unstable;
mod upsert;
mod using;
mod versions;
mod window_functions;
mod windows;
mod wording;

pub use table::complete_table;

use context::NameResolver;
use translate::{Translator, source};

/// What planning may ask of the world.
#[derive(Clone, Copy)]
pub struct PlanContext<'a> {
    pub catalog: &'a Catalog,
    pub settings: &'a Settings,
    pub connectors: &'a dyn Connectors,
}

/// The option of a sink that may make it wait for event time.
const PARTITION_COMMIT_TRIGGER: &str = "sink.partition-commit.trigger";

/// A statement that makes a job produce rows.
#[derive(Clone, Copy)]
pub enum Output<'a> {
    Insert(&'a InsertQuery),
    /// A bare query: its rows are shown.
    Print(&'a Query),
}

impl Output<'_> {
    fn query(&self) -> &Query {
        match self {
            Self::Insert(insert) => &insert.query,
            Self::Print(query) => query,
        }
    }

    /// The rows' watermark matters to the table that is written: it completes partitions by it.
    fn sink_goes_by_event_time(&self, catalog: &Catalog) -> bool {
        let Self::Insert(insert) = self else { return false };
        let Ok(Relation::Table(definition)) = catalog.require(&insert.table) else { return false };
        definition.options.get(PARTITION_COMMIT_TRIGGER).is_some_and(|trigger| trigger == "partition-time")
    }

    fn target(&self) -> &str {
        match self {
            Self::Insert(insert) => &insert.table.value,
            Self::Print(_) => "print",
        }
    }
}

/// A job that can run, with the plans that it came from.
pub struct PlannedJob {
    pub graph: JobGraph,
    pub outputs: Vec<PlannedOutput>,
    /// What the user should know before the job runs, a sentence each.
    pub warnings: Vec<String>,
}

/// The plans of one statement, as text.
pub struct PlannedOutput {
    /// Name of the table, or `print`.
    pub target: String,
    pub logical: String,
    pub optimized: String,
}

/// The functions that hide DataFusion's of the same name.
fn flink_functions(settings: &Settings) -> Vec<Arc<datafusion_expr::ScalarUDF>> {
    let zone = settings.time_zone().parse().unwrap_or(chrono_tz::UTC);
    let mut functions = crate::functions::scalar_functions(zone);
    functions.push(proctime::function(settings.time_zone()));
    functions.push(Arc::new(tidemill_engine::operators::current_watermark::function()));
    functions
}

/// Plans statements that run as one job, in which each table is read once.
pub fn plan_job(context: &PlanContext<'_>, outputs: &[Output<'_>]) -> Result<PlannedJob, Diagnostic> {
    crate::stack::with_room(|| plan_outputs(context, outputs))
}

fn plan_outputs(context: &PlanContext<'_>, outputs: &[Output<'_>]) -> Result<PlannedJob, Diagnostic> {
    for output in outputs {
        crate::expansion::check(context.catalog, output.query(), None)?;
    }
    let resolver = NameResolver::new(context);
    let plans = outputs.iter().map(|output| Plans::of(&resolver, output.query()));
    let plans = plans.collect::<Result<Vec<_>, _>>()?;
    let mut uses = source::TableUses::new();
    for (output, plan) in outputs.iter().zip(&plans) {
        source::collect(&plan.optimized, output.sink_goes_by_event_time(context.catalog), &mut uses)
            .map_err(|error| errors::diagnostic(error, &resolver, output.query()))?;
    }
    let mut translator = Translator::new(&resolver, uses);
    for index in translation_order(&plans) {
        add_output(&mut translator, &outputs[index], &plans[index])?;
    }
    let name = context.settings.job_name().map_or_else(|| default_name(outputs), str::to_owned);
    let texts = outputs.iter().zip(&plans).map(|(output, plans)| plans.describe(output.target()));
    let outputs = texts.collect();
    Ok(PlannedJob { graph: translator.graph.build(name), outputs, warnings: translator.warnings })
}

/// The columns that a query gives, without planning what runs it: for views and DESCRIBE.
pub fn query_schema(context: &PlanContext<'_>, query: &Query) -> Result<arrow::datatypes::SchemaRef, Diagnostic> {
    crate::stack::with_room(|| {
        let resolver = NameResolver::new(context);
        let plans = Plans::of(&resolver, query)?;
        Ok(translate::plain_schema(plans.analyzed.schema()))
    })
}

/// Every function that a query may call, in upper case: scalar functions and aggregates.
pub fn function_names(settings: &Settings) -> Vec<String> {
    let options = Arc::new(datafusion_common::config::ConfigOptions::default());
    let functions = functions::Functions::new(flink_functions(settings), options);
    let mut names = functions.names();
    names.extend(aggregates::names());
    names.extend(window_functions::names());
    names.iter_mut().for_each(|name| *name = name.to_uppercase());
    names.sort_unstable();
    names.dedup();
    names
}

fn default_name(outputs: &[Output<'_>]) -> String {
    let mut targets: Vec<&str> = outputs.iter().map(Output::target).collect();
    targets.dedup();
    format!("insert into {}", targets.join(", "))
}

/// Statements that read late rows come last: they need the operators that find them.
fn translation_order(plans: &[Plans]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..plans.len()).collect();
    order.sort_by_key(|index| translate::reads_late_rows(&plans[*index].optimized));
    order
}

fn add_output(translator: &mut Translator<'_>, output: &Output<'_>, plans: &Plans) -> Result<(), Diagnostic> {
    let query = output.query();
    let resolver = translator.resolver;
    let diagnostic = |error| errors::diagnostic(error, resolver, query);
    let rows = translator.translate(&plans.optimized).map_err(diagnostic)?;
    match output {
        Output::Insert(insert) => insert::add_table_sink(translator, insert, &plans.optimized, rows),
        Output::Print(_) => insert::add_print_sink(translator, rows).map_err(diagnostic),
    }
}

/// A query at the stages of planning.
struct Plans {
    analyzed: LogicalPlan,
    optimized: LogicalPlan,
}

impl Plans {
    fn of(resolver: &NameResolver<'_>, query: &Query) -> Result<Self, Diagnostic> {
        translate::check_query(query)?;
        let plan = || {
            let analyzed = optimize::analyze(resolver.query(query)?, resolver)?;
            let optimized = match resolver.context.settings.optimizer_enabled() {
                true => optimize::optimize(analyzed.clone(), &resolver.options)?,
                false => analyzed.clone(),
            };
            Ok(Self { analyzed, optimized })
        };
        plan().map_err(|error| errors::diagnostic(error, resolver, query))
    }

    fn describe(&self, target: &str) -> PlannedOutput {
        PlannedOutput {
            target: target.to_owned(),
            logical: wording::sql_words(&self.analyzed.display_indent().to_string()),
            optimized: wording::sql_words(&self.optimized.display_indent().to_string()),
        }
    }
}
