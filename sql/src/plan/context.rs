//! What DataFusion's SQL planner asks of us: tables, views and functions by name.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::datatype::DataTypeExt;
use datafusion_common::{DataFusionError, Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::{
    AggregateUDF, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, TableType, WindowUDF, col,
};
use datafusion_sql::planner::{NullOrdering, ParserOptions, SqlToRel};
use sqlparser::ast::{Query, Statement};

use super::PlanContext;
use super::aggregates;
use super::column_names;
use super::comparisons;
use super::functions::Functions;
use super::using;
use super::window_functions;
use crate::catalog::{Relation, TableDefinition, ViewDefinition};
use crate::diagnostic::Diagnostic;

/// Views may be nested so deep: planning one inside the other takes stack.
const VIEW_DEPTH_MAX: usize = 48;

/// Which of a table's streams is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TableStream {
    Rows,
    Late,
    Errors,
}

/// A table as a leaf of a logical plan.
#[derive(Debug)]
pub(crate) struct CatalogTable {
    pub definition: TableDefinition,
    pub stream: TableStream,
    schema: SchemaRef,
}

impl TableSource for CatalogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// A view: its query takes its place.
struct CatalogView {
    plan: LogicalPlan,
}

impl TableSource for CatalogView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema().inner())
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// Name resolution for one planning.
pub(crate) struct NameResolver<'a> {
    pub context: &'a PlanContext<'a>,
    pub functions: Functions,
    pub options: Arc<ConfigOptions>,
    /// Names of the views that are being planned, outermost first.
    open_views: RefCell<Vec<String>>,
}

impl<'a> NameResolver<'a> {
    pub fn new(context: &'a PlanContext<'a>) -> Self {
        let options = Arc::new(config_options(context.settings.time_zone()));
        let functions = Functions::new(super::flink_functions(context.settings), Arc::clone(&options));
        Self { context, functions, options, open_views: RefCell::default() }
    }

    /// The query as DataFusion reads it: names and types resolved, nothing coerced or optimized.
    pub fn query(&self, query: &Query) -> Result<LogicalPlan> {
        let mut query = query.clone();
        using::apply(&mut query, self).map_err(external)?;
        let plan = self.query_without_commons(&query)?;
        comparisons::check(&plan)?;
        Ok(plan)
    }

    /// The same for a query in which no join has common columns left to find.
    pub fn query_without_commons(&self, query: &Query) -> Result<LogicalPlan> {
        let mut query = Box::new(query.clone());
        column_names::apply(&mut query);
        let statement = Statement::Query(query);
        column_names::number_repeated(self.planner().sql_statement_to_plan(statement)?)
    }

    pub fn planner(&self) -> SqlToRel<'_, Self> {
        let options = ParserOptions::new()
            .with_parse_float_as_decimal(true)
            .with_enable_ident_normalization(false)
            .with_map_string_types_to_utf8view(false)
            .with_default_null_ordering(NullOrdering::NullsMin)
            .with_collect_spans(true);
        SqlToRel::new_with_options(self, options)
    }

    fn view(&self, view: &ViewDefinition) -> Result<Arc<dyn TableSource>> {
        let depth = self.open_views.borrow().len();
        if self.open_views.borrow().contains(&view.name) {
            return Err(external(Diagnostic::new(format!("view `{}` refers to itself", view.name))));
        }
        if depth >= VIEW_DEPTH_MAX {
            return Err(external(Diagnostic::new(format!("views are nested more than {VIEW_DEPTH_MAX} deep"))));
        }
        self.open_views.borrow_mut().push(view.name.clone());
        let planned = self.query(&view.query);
        self.open_views.borrow_mut().pop();
        // A place in the view's text would be shown in the text of the query that reads the view.
        let plan = planned.map_err(|error| {
            let inner = super::errors::message_of(&error, self);
            external(Diagnostic::new(format!("in view `{}`: {inner}", view.name)))
        })?;
        Ok(Arc::new(CatalogView { plan: rename(plan, &view.columns)? }))
    }
}

/// Gives a view's columns the names that its declaration lists.
fn rename(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan> {
    if names.is_empty() {
        return Ok(plan);
    }
    if names.len() != plan.schema().fields().len() {
        return plan_err!("a view lists {} columns, but its query gives {}", names.len(), plan.schema().fields().len());
    }
    let columns = plan.schema().columns();
    let renamed: Vec<_> = columns.into_iter().zip(names).map(|(column, name)| col(column).alias(name)).collect();
    LogicalPlanBuilder::from(plan).project(renamed)?.build()
}

/// Carries one of our diagnostics through DataFusion.
pub(crate) fn external(diagnostic: Diagnostic) -> DataFusionError {
    DataFusionError::External(Box::new(diagnostic))
}

fn config_options(time_zone: &str) -> ConfigOptions {
    let mut options = ConfigOptions::default();
    options.execution.time_zone = Some(time_zone.to_owned());
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options
}

impl ContextProvider for NameResolver<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let leaf = |definition: &TableDefinition, stream, schema| -> Arc<dyn TableSource> {
            Arc::new(CatalogTable { definition: definition.clone(), stream, schema })
        };
        let Some(relation) = self.context.catalog.resolve(name.table()) else {
            let names = self.context.catalog.entries().map(|(name, _)| name);
            let missing = Diagnostic::new(format!("table or view `{}` does not exist", name.table()));
            return Err(external(missing.with_suggestion(name.table(), names)));
        };
        let schema = relation.schema().unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty()));
        match relation {
            Relation::View(view) => self.view(view),
            Relation::Table(table) => Ok(leaf(table, TableStream::Rows, schema)),
            Relation::Late(table) => Ok(leaf(table, TableStream::Late, schema)),
            Relation::Errors(table) => Ok(leaf(table, TableStream::Errors, schema)),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.functions.planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(FlinkTypes { time_zone: self.context.settings.time_zone().to_owned() }))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar(name)
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order(name)
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        aggregates::find(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        window_functions::find(name)
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.functions.higher_order_names()
    }

    fn udaf_names(&self) -> Vec<String> {
        aggregates::names()
    }

    fn udwf_names(&self) -> Vec<String> {
        window_functions::names()
    }
}

/// Flink's types in CAST and the like.
#[derive(Debug)]
struct FlinkTypes {
    time_zone: String,
}

impl TypePlanner for FlinkTypes {
    fn plan_type_field(&self, sql_type: &sqlparser::ast::DataType) -> Result<Option<FieldRef>> {
        match crate::parser::flink_type(sql_type) {
            Some(found) => Ok(Some(found.arrow(&self.time_zone).into_nullable_field_ref())),
            None => plan_err!("the type {sql_type} does not exist in Flink SQL"),
        }
    }
}
