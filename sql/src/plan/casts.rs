//! CAST as Flink means it, where Arrow means something else. Also the casts that no query writes: those of INSERT and
//! UNION ALL.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use chrono_tz::Tz;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Cast, Expr, ExprSchemable, LogicalPlan, TryCast, lit};
use datafusion_physical_expr::ScalarFunctionExpr;
use datafusion_physical_expr::expressions::CastExpr;

use super::context::external;
use super::exact;
use super::physical::Physical;
use crate::diagnostic::Diagnostic;
use crate::functions::{CAST, cast_function, is_flinks_cast};
use crate::types::flink_name;

/// Rewrites the casts that a query writes, in one node whose inputs are done. Must run before types are coerced: after
/// that, casts that nobody wrote stand beside them.
pub(crate) fn resolve(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !node.expressions().iter().any(has_cast) {
        return Ok(Transformed::no(node));
    }
    let schema = merge_schema(&node.inputs());
    let names = NamePreserver::new(&node);
    let rewritten = node.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(resolve_expr(expr, &schema)?.update_data(|expr| name.restore(expr)))
    })?;
    rewritten.map_data(LogicalPlan::recompute_schema)
}

fn has_cast(expr: &Expr) -> bool {
    super::translate::any(expr, |part| matches!(part, Expr::Cast(_) | Expr::TryCast(_)))
}

/// Rewrites the casts of one expression.
pub(crate) fn resolve_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|part| match part {
        Expr::Cast(Cast { expr, field }) => {
            let from = expr.get_type(schema)?;
            let operand = operand(*expr, &from, field.data_type())?;
            Ok(Transformed::yes(Expr::Cast(Cast { expr: Box::new(operand), field })))
        }
        Expr::TryCast(TryCast { expr, field }) => {
            let from = expr.get_type(schema)?;
            let operand = operand(*expr, &from, field.data_type())?;
            Ok(Transformed::yes(Expr::TryCast(TryCast { expr: Box::new(operand), field })))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// What is to be cast in place of `expr`, so that Arrow's cast gives what Flink's does.
fn operand(expr: Expr, from: &DataType, to: &DataType) -> Result<Expr> {
    use DataType as T;
    refuse(from, to)?;
    Ok(match (from, to) {
        (T::Utf8, to) if to.is_numeric() || matches!(to, T::Boolean | T::Date32 | T::Timestamp(..) | T::Time32(_)) => {
            trimmed(expr)
        }
        _ => expr,
    })
}

/// Casts whose kernels do not agree with Flink become calls of its own, whoever wrote them: once types are coerced.
pub(crate) fn finish(node: LogicalPlan, options: &ConfigOptions) -> Result<Transformed<LogicalPlan>> {
    let zone = zone_of(options);
    exact::rewrite(node, |expr, schema| {
        let (operand, target, safe) = match &expr {
            Expr::Cast(cast) => (&cast.expr, cast.field.data_type(), false),
            Expr::TryCast(cast) => (&cast.expr, cast.field.data_type(), true),
            _ => return Ok(None),
        };
        if !is_flinks_cast(&operand.get_type(schema)?, target) {
            return Ok(None);
        }
        let call = ScalarFunction::new_udf(cast_function(target, safe, zone), vec![operand.as_ref().clone()]);
        Ok(Some(Expr::ScalarFunction(call)))
    })
}

fn zone_of(options: &ConfigOptions) -> Tz {
    options.execution.time_zone.as_deref().and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
}

/// Text without the spaces around it, which a number or a time may have in Flink.
fn trimmed(text: Expr) -> Expr {
    match text {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => lit(text.trim()),
        other => datafusion_functions::string::btrim().call(vec![other]),
    }
}

/// Casts that Flink does not have.
fn refuse(from: &DataType, to: &DataType) -> Result<()> {
    let is_number = |data_type: &DataType| data_type.is_numeric();
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..) | DataType::Date32);
    let hint = match (from, to) {
        (from, to) if is_number(from) && is_time(to) => "use TO_TIMESTAMP_LTZ(number, 3) for epoch milliseconds",
        (from, to) if is_time(from) && is_number(to) => "use UNIX_TIMESTAMP or EXTRACT",
        _ => return Ok(()),
    };
    let message = format!("{} cannot be cast to {}", flink_name(from, true), flink_name(to, true));
    Err(external(Diagnostic::new(message).with_hint(hint)))
}

/// A cast that no query wrote, of an expression over columns of `input`.
pub(crate) fn implicit(
    expr: Physical,
    input: &Schema,
    to: &DataType,
    options: &Arc<ConfigOptions>,
) -> Result<Physical> {
    let from = expr.data_type(input)?;
    if from == *to {
        return Ok(expr);
    }
    if !is_flinks_cast(&from, to) {
        return Ok(Arc::new(CastExpr::new(expr, to.clone(), None)));
    }
    let field = Field::new("cast", to.clone(), true);
    let function = cast_function(to, false, zone_of(options));
    Ok(Arc::new(ScalarFunctionExpr::new(CAST, function, vec![expr], Arc::new(field), Arc::clone(options))))
}

/// A NULL of a type.
pub(crate) fn null(data_type: &DataType) -> Result<Physical> {
    let value = ScalarValue::try_from(data_type)?;
    Ok(Arc::new(datafusion_physical_expr::expressions::Literal::new(value)))
}
