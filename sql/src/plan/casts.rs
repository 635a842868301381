//! CAST as Flink means it, where Arrow means something else. Also the casts that no query writes: those of INSERT and
//! UNION ALL.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF, TryCast, lit, when};
use datafusion_physical_expr::ScalarFunctionExpr;
use datafusion_physical_expr::expressions::CastExpr;

use super::context::{NameResolver, external};
use super::physical::Physical;
use crate::diagnostic::Diagnostic;
use crate::types::flink_name;

/// Rewrites the casts that a query writes, in one node whose inputs are done. Must run before types are coerced: after
/// that, casts that nobody wrote stand beside them.
pub(crate) fn resolve(node: LogicalPlan, resolver: &NameResolver<'_>) -> Result<Transformed<LogicalPlan>> {
    if !node.expressions().iter().any(has_cast) {
        return Ok(Transformed::no(node));
    }
    let schema = merge_schema(&node.inputs());
    let names = NamePreserver::new(&node);
    let rewritten = node.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(resolve_expr(expr, &schema, resolver)?.update_data(|expr| name.restore(expr)))
    })?;
    rewritten.map_data(LogicalPlan::recompute_schema)
}

fn has_cast(expr: &Expr) -> bool {
    super::translate::any(expr, |part| matches!(part, Expr::Cast(_) | Expr::TryCast(_)))
}

/// Rewrites the casts of one expression.
pub(crate) fn resolve_expr(expr: Expr, schema: &DFSchema, resolver: &NameResolver<'_>) -> Result<Transformed<Expr>> {
    expr.transform_up(|part| match part {
        Expr::Cast(Cast { expr, field }) => {
            let from = expr.get_type(schema)?;
            let operand = operand(*expr, &from, field.data_type(), resolver)?;
            Ok(Transformed::yes(Expr::Cast(Cast { expr: Box::new(operand), field })))
        }
        Expr::TryCast(TryCast { expr, field }) => {
            let from = expr.get_type(schema)?;
            let operand = operand(*expr, &from, field.data_type(), resolver)?;
            Ok(Transformed::yes(Expr::TryCast(TryCast { expr: Box::new(operand), field })))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// What is to be cast in place of `expr`, so that Arrow's cast gives what Flink's does.
fn operand(expr: Expr, from: &DataType, to: &DataType, resolver: &NameResolver<'_>) -> Result<Expr> {
    use DataType as T;
    refuse(from, to)?;
    Ok(match (from, to) {
        (T::Timestamp(unit, _), T::Utf8) => match resolver.functions.scalar("date_format") {
            Some(date_format) => date_format.call(vec![expr, lit(text_pattern(*unit))]),
            None => expr,
        },
        (T::Timestamp(_, Some(_)), T::Timestamp(_, None)) => local_time().call(vec![expr]),
        (T::Boolean, T::Utf8) => when(expr.clone(), lit("TRUE")).when(Expr::Not(Box::new(expr)), lit("FALSE")).end()?,
        (T::Utf8, to) if to.is_numeric() || matches!(to, T::Boolean | T::Date32 | T::Timestamp(..) | T::Time32(_)) => {
            trimmed(expr)
        }
        _ => expr,
    })
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

/// As Flink writes timestamps: as many digits of a second as the type keeps.
fn text_pattern(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "yyyy-MM-dd HH:mm:ss",
        TimeUnit::Millisecond => "yyyy-MM-dd HH:mm:ss.SSS",
        TimeUnit::Microsecond => "yyyy-MM-dd HH:mm:ss.SSSSSS",
        TimeUnit::Nanosecond => "yyyy-MM-dd HH:mm:ss.SSSSSSSSS",
    }
}

/// The wall-clock time of a zoned timestamp; Arrow's cast would give that of UTC.
fn local_time() -> Arc<ScalarUDF> {
    datafusion_functions::datetime::to_local_time()
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
    let expr = match (&from, to) {
        (DataType::Timestamp(unit, Some(_)), DataType::Timestamp(_, None)) => {
            let local = arrow::datatypes::Field::new("local", DataType::Timestamp(*unit, None), true);
            let call = ScalarFunctionExpr::new(
                "to_local_time",
                local_time(),
                vec![expr],
                Arc::new(local),
                Arc::clone(options),
            );
            Arc::new(call) as Physical
        }
        _ => expr,
    };
    Ok(Arc::new(CastExpr::new(expr, to.clone(), None)))
}

/// A NULL of a type.
pub(crate) fn null(data_type: &DataType) -> Result<Physical> {
    let value = ScalarValue::try_from(data_type)?;
    Ok(Arc::new(datafusion_physical_expr::expressions::Literal::new(value)))
}
