//! Integer literals are INT where they fit, as in Flink; DataFusion's parser makes them BIGINT.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, LogicalPlan, Values};

/// Narrows the literals of one node whose inputs are done; output names stay.
pub(crate) fn narrow(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match node {
        // Row counts, not values.
        LogicalPlan::Limit(_) => Ok(Transformed::no(node)),
        LogicalPlan::Values(values) => Ok(Transformed::yes(LogicalPlan::Values(narrow_values(values)?))),
        other => {
            let names = NamePreserver::new(&other);
            let narrowed = other.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(narrow_expr(expr)?.update_data(|expr| name.restore(expr)))
            })?;
            narrowed.map_data(LogicalPlan::recompute_schema)
        }
    }
}

fn narrow_expr(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|node| {
        Ok(match narrowed(&node) {
            Some(value) => Transformed::yes(value),
            None => Transformed::no(node),
        })
    })
}

fn narrowed(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => {
            let value = i32::try_from(*value).ok()?;
            Some(Expr::Literal(ScalarValue::Int32(Some(value)), metadata.clone()))
        }
        _ => None,
    }
}

/// VALUES: a column is INT when every value of it is an integer literal that fits, or NULL.
fn narrow_values(values: Values) -> Result<Values> {
    let Values { schema, mut values } = values;
    let mut fields: Vec<_> = schema.iter().map(|(relation, field)| (relation.cloned(), Arc::clone(field))).collect();
    for (index, (_, field)) in fields.iter_mut().enumerate() {
        let fits = |row: &Vec<Expr>| narrowed(&row[index]).is_some() || is_null(&row[index]);
        if field.data_type() != &DataType::Int64 || !values.iter().all(fits) {
            continue;
        }
        for row in &mut values {
            row[index] = narrowed(&row[index]).unwrap_or(Expr::Literal(ScalarValue::Int32(None), None));
        }
        *field = Arc::new(Field::new(field.name(), DataType::Int32, field.is_nullable()));
    }
    Ok(Values { schema: Arc::new(DFSchema::new_with_metadata(fields, Default::default())?), values })
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}
