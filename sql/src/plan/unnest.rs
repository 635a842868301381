//! UNNEST: from the parser's lateral markers to unnest nodes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DFSchemaRef, JoinType, Result, TableReference};
use datafusion_expr::{Expr, Extension, Filter, Join, LogicalPlan, LogicalPlanBuilder};

use super::context::external;
use super::markers::call_of;
use super::nodes::unnest::UnnestNode;
use crate::diagnostic::Diagnostic;
use crate::window_call::{UNNEST_MARKER, UnnestColumn};

/// A join with a lateral UNNEST becomes an unnest node over the join's left side; other nodes stay.
pub(crate) fn resolve(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Join(join) => match Lateral::of(&join.right) {
            Some(lateral) => Ok(Transformed::yes(over_input(&join, &lateral)?)),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        other => match Lateral::of(&other) {
            Some(lateral) if !matches!(other, LogicalPlan::Subquery(_)) => Ok(Transformed::yes(alone(&lateral)?)),
            _ => Ok(Transformed::no(other)),
        },
    }
}

/// `SELECT markers` without FROM, under its alias.
struct Lateral {
    qualifier: Option<TableReference>,
    collection: Expr,
    columns: Vec<UnnestColumn>,
    schema: DFSchemaRef,
}

impl Lateral {
    fn of(plan: &LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => {
                let inner = Self::of(&alias.input)?;
                Some(Self { qualifier: Some(alias.alias.clone()), schema: Arc::clone(&alias.schema), ..inner })
            }
            LogicalPlan::Subquery(subquery) => Self::of(&subquery.subquery),
            LogicalPlan::Projection(projection) => {
                let mut calls = projection.expr.iter().map(|expr| call_of(expr, UNNEST_MARKER));
                let calls: Vec<_> = calls.by_ref().collect::<Option<_>>()?;
                let columns = calls.iter().map(|(json, _)| serde_json::from_str(json).ok()).collect::<Option<_>>()?;
                let (_, collection) = *calls.first()?;
                let collection = collection.clone();
                Some(Self { qualifier: None, collection, columns, schema: Arc::clone(&projection.schema) })
            }
            _ => None,
        }
    }

    /// The columns that unnesting adds.
    fn added(&self) -> Result<DFSchemaRef> {
        let fields = self.schema.fields().iter().zip(&self.columns).map(|(field, column)| {
            let data_type = if column.ordinality { DataType::Int32 } else { field.data_type().clone() };
            (self.qualifier.clone(), Arc::new(Field::new(field.name(), data_type, true)))
        });
        Ok(Arc::new(DFSchema::new_with_metadata(fields.collect(), Default::default())?))
    }

    fn node(&self, input: LogicalPlan, outer: bool) -> Result<LogicalPlan> {
        let collection = self.collection.clone().transform_up(|expr| {
            Ok(match expr {
                Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
                other => Transformed::no(other),
            })
        })?;
        let ordinality = self.columns.iter().any(|column| column.ordinality);
        let node = UnnestNode::try_new(Arc::new(input), collection.data, outer, ordinality, self.added()?)?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }
}

fn over_input(join: &Join, lateral: &Lateral) -> Result<LogicalPlan> {
    let outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        other => {
            let message = format!("UNNEST cannot be joined by {other} JOIN");
            return Err(external(Diagnostic::new(message).with_hint("use CROSS JOIN or LEFT JOIN ... ON TRUE")));
        }
    };
    let plan = lateral.node(join.left.as_ref().clone(), outer)?;
    let condition = join.on.iter().map(|(left, right)| left.clone().eq(right.clone())).chain(join.filter.clone());
    let condition = condition.filter(|expr| !is_true(expr)).reduce(Expr::and);
    match condition {
        None => Ok(plan),
        Some(_) if outer => {
            let message = "LEFT JOIN with UNNEST takes no condition";
            Err(external(Diagnostic::new(message).with_hint("write ON TRUE and put the condition into WHERE")))
        }
        Some(condition) => Ok(LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?)),
    }
}

fn is_true(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(datafusion_common::ScalarValue::Boolean(Some(true)), _))
}

/// UNNEST of a constant, with nothing to join: over one row without columns, whose place the element's columns take.
fn alone(lateral: &Lateral) -> Result<LogicalPlan> {
    let one_row = LogicalPlanBuilder::empty(true).build()?;
    let plan = lateral.node(one_row, false)?;
    let columns = plan.schema().columns().into_iter().map(|column: Column| Expr::Column(column));
    LogicalPlanBuilder::from(plan).project(columns.collect::<Vec<_>>())?.build()
}
