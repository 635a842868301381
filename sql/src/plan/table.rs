//! A declared table with its expressions bound: computed columns and the watermark over what the connector gives.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::{EmptyRelation, Expr, LogicalPlan, Projection};
use datafusion_sql::planner::PlannerContext;
use sqlparser::ast::Spanned;

use super::PlanContext;
use super::context::{NameResolver, external};
use super::errors;
use super::optimize;
use super::physical::{Physical, Physicals, column, substitute};
use super::translate::source::is_connector_column;
use crate::catalog::{ColumnKind, TableDefinition};
use crate::diagnostic::Diagnostic;
use crate::types::{SqlType, flink_name};

/// A table whose columns are all expressions over its physical and metadata columns.
pub(crate) struct BoundTable {
    pub schema: SchemaRef,
    /// Column references for physical and metadata columns; what computes them for the others.
    pub columns: Vec<Physical>,
    /// The connector gives this column.
    pub is_read: Vec<bool>,
    pub watermark: Option<BoundWatermark>,
}

#[derive(Clone)]
pub(crate) struct BoundWatermark {
    pub column: usize,
    /// Over the table's columns.
    pub expression: Physical,
}

/// Fills in the types of computed columns and checks the watermark. Called once, when a table is declared.
pub fn complete_table(context: &PlanContext<'_>, table: &TableDefinition) -> Result<TableDefinition, Diagnostic> {
    crate::stack::with_room(|| complete(context, table))
}

fn complete(context: &PlanContext<'_>, table: &TableDefinition) -> Result<TableDefinition, Diagnostic> {
    let resolver = NameResolver::new(context);
    let mut completed = table.clone();
    for index in 0..completed.columns.len() {
        let ColumnKind::Computed(expression) = completed.columns[index].kind.clone() else { continue };
        let (expr, schema) = bind_expression(&resolver, &expression, &known_columns(&completed, index), table)?;
        let found = datafusion_expr::ExprSchemable::to_field(&expr, &schema)
            .map_err(|error| Diagnostic::at(expression.span(), errors::plain_message(&error)))?
            .1;
        let column = &mut completed.columns[index];
        column.data_type = found.data_type().clone();
        column.nullable = found.is_nullable();
        column.sql_type = SqlType::from_arrow(found.data_type(), found.is_nullable());
    }
    check_watermark(&resolver, &completed)?;
    Ok(completed)
}

/// The columns that the computed column at `index` may read: those of the connector and the computed ones before it.
fn known_columns(table: &TableDefinition, index: usize) -> Vec<Field> {
    let known = table.columns.iter().enumerate();
    let known = known.filter(|(position, column)| is_connector_column(&column.kind) || *position < index);
    known.map(|(_, column)| column.field()).collect()
}

fn check_watermark(resolver: &NameResolver<'_>, table: &TableDefinition) -> Result<(), Diagnostic> {
    let Some(watermark) = &table.watermark else { return Ok(()) };
    let Some(column) = table.column(&watermark.column) else {
        let names = table.columns.iter().map(|column| column.name.as_str());
        let missing = format!("WATERMARK is for `{}`, which is not a column of this table", watermark.column);
        return Err(Diagnostic::at(watermark.span, missing).with_suggestion(&watermark.column, names));
    };
    if !column.sql_type.can_be_time_attribute() {
        let message = format!("WATERMARK is for `{}`, whose type is {}", column.name, column.sql_type);
        let hint = "an event-time column is TIMESTAMP(p) or TIMESTAMP_LTZ(p) with p from 0 to 3";
        return Err(Diagnostic::at(watermark.span, message).with_hint(hint));
    }
    let fields: Vec<Field> = table.columns.iter().map(|column| column.field()).collect();
    let (expr, schema) = bind_expression(resolver, &watermark.expression, &fields, table)?;
    match datafusion_expr::ExprSchemable::get_type(&expr, &schema) {
        Ok(DataType::Timestamp(..)) => Ok(()),
        Ok(other) => {
            let message = format!("a watermark is a timestamp, but this is {}", flink_name(&other, true));
            let hint = format!("write {0} - INTERVAL '5' SECOND, or {0} alone for rows in order", column.name);
            Err(Diagnostic::at(watermark.expression.span(), message).or_at(watermark.span).with_hint(hint))
        }
        Err(error) => Err(Diagnostic::at(watermark.expression.span(), errors::plain_message(&error))),
    }
}

/// An expression of a table's declaration, with names and types resolved over `fields`.
pub(crate) fn bind_expression(
    resolver: &NameResolver<'_>,
    expression: &sqlparser::ast::Expr,
    fields: &[Field],
    table: &TableDefinition,
) -> Result<(Expr, Arc<DFSchema>), Diagnostic> {
    let bind = || -> Result<(Expr, Arc<DFSchema>)> {
        let schema = Arc::new(DFSchema::try_from(Schema::new(fields.to_vec()))?);
        let expr = resolver.planner().sql_to_expr(expression.clone(), &schema, &mut PlannerContext::new())?;
        let relation = EmptyRelation { produce_one_row: false, schema: Arc::clone(&schema) };
        let input = Arc::new(LogicalPlan::EmptyRelation(relation));
        let plan = LogicalPlan::Projection(Projection::try_new(vec![expr], input)?);
        let LogicalPlan::Projection(projection) = optimize::analyze(plan, resolver)? else {
            return datafusion_common::plan_err!("not an expression");
        };
        let expr = projection.expr.into_iter().next().map(|expr| expr.unalias_nested().data);
        expr.map(|expr| (expr, schema)).ok_or_else(|| external(Diagnostic::new("not an expression")))
    };
    bind().map_err(|error| {
        let inner = errors::expression_diagnostic(error, resolver, expression);
        if inner.has_place() { inner } else { inner.or_at(table.span) }
    })
}

/// The table's columns and watermark as expressions.
pub(crate) fn bind(resolver: &NameResolver<'_>, physicals: &Physicals, table: &TableDefinition) -> Result<BoundTable> {
    let mut columns: Vec<Physical> = Vec::new();
    for (index, declared) in table.columns.iter().enumerate() {
        let bound = match &declared.kind {
            ColumnKind::Computed(expression) => {
                let fields = known_columns(table, index);
                let places = known_places(table, index);
                let (expr, schema) = bind_expression(resolver, expression, &fields, table).map_err(external)?;
                let over_known = physicals.expr(&expr, &schema)?;
                // Earlier computed columns give way to what computes them.
                let replaced: Vec<Physical> =
                    places.iter().map(|place| known_column(&columns, table, *place)).collect();
                substitute(&over_known, &replaced)?
            }
            _ => column(&declared.name, index),
        };
        columns.push(bound);
    }
    let is_read = table.columns.iter().map(|column| is_connector_column(&column.kind)).collect();
    let watermark = bind_watermark(resolver, physicals, table)?;
    Ok(BoundTable { schema: table.schema(), columns, is_read, watermark })
}

fn known_places(table: &TableDefinition, index: usize) -> Vec<usize> {
    let columns = table.columns.iter().enumerate();
    let known = columns.filter(|(position, column)| is_connector_column(&column.kind) || *position < index);
    known.map(|(position, _)| position).collect()
}

fn known_column(bound: &[Physical], table: &TableDefinition, place: usize) -> Physical {
    bound.get(place).cloned().unwrap_or_else(|| column(&table.columns[place].name, place))
}

fn bind_watermark(
    resolver: &NameResolver<'_>,
    physicals: &Physicals,
    table: &TableDefinition,
) -> Result<Option<BoundWatermark>> {
    let Some(watermark) = &table.watermark else { return Ok(None) };
    let fields: Vec<Field> = table.columns.iter().map(|column| column.field()).collect();
    let (expr, schema) = bind_expression(resolver, &watermark.expression, &fields, table).map_err(external)?;
    let index = table.columns.iter().position(|column| column.name == watermark.column);
    let Some(column) = index else {
        return Err(external(Diagnostic::at(watermark.span, "WATERMARK is for a column that does not exist")));
    };
    Ok(Some(BoundWatermark { column, expression: physicals.expr(&expr, &schema)? }))
}
