//! Totals that Flink keeps in a narrow type. SUM over TINYINT, SMALLINT or INT is BIGINT here, so that it never wraps
//! around; in Flink it has its argument's type. A column that holds such a total, wherever it was computed below, may
//! be inserted where Flink's type may: value by value, checked.

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::{Aggregate, Distinct, Expr, ExprSchemable, LogicalPlan, Operator};

use super::nodes::unnest::UnnestNode;
use super::nodes::window::WindowNode;

/// Aggregates whose result is one of the values that they are given.
const PICKING: &[&str] = &["min", "max", "first_value", "first", "last_value", "last"];

/// What Flink makes of a value that is BIGINT here.
struct Narrow {
    flinks: DataType,
    /// A SUM is in it; else it is only a constant.
    has_total: bool,
}

/// The type that a column of a plan has in Flink, where it is a total of narrow integers and BIGINT here.
pub(crate) fn of_column(plan: &LogicalPlan, index: usize) -> Option<DataType> {
    match plan {
        LogicalPlan::Projection(node) => of_expr(node.expr.get(index)?, &node.input),
        LogicalPlan::Filter(node) => of_column(&node.input, index),
        LogicalPlan::SubqueryAlias(node) => of_column(&node.input, index),
        LogicalPlan::Sort(node) => of_column(&node.input, index),
        LogicalPlan::Limit(node) => of_column(&node.input, index),
        LogicalPlan::Distinct(Distinct::All(input)) => of_column(input, index),
        LogicalPlan::Window(node) => of_inherited(&node.input, index),
        LogicalPlan::Union(node) => {
            let inputs = node.inputs.iter().map(|input| of_column(input, index));
            inputs.collect::<Option<Vec<_>>>()?.into_iter().max_by_key(width)
        }
        LogicalPlan::Aggregate(aggregate) => of_aggregate(aggregate, index),
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any();
            let window = node.downcast_ref::<WindowNode>().map(|node| &node.input);
            let input = window.or_else(|| node.downcast_ref::<UnnestNode>().map(|node| &node.input))?;
            of_inherited(input, index)
        }
        _ => None,
    }
}

/// Of a node that adds columns behind those of its input.
fn of_inherited(input: &LogicalPlan, index: usize) -> Option<DataType> {
    (index < input.schema().fields().len()).then(|| of_column(input, index))?
}

fn of_aggregate(aggregate: &Aggregate, index: usize) -> Option<DataType> {
    let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let Some(call) = index.checked_sub(keys) else {
        let keys = datafusion_expr::utils::grouping_set_to_exprlist(&aggregate.group_expr).ok()?;
        return of_expr(keys.get(index)?, &aggregate.input);
    };
    let Expr::AggregateFunction(call) = aggregate.aggr_expr[call].clone().unalias() else { return None };
    let argument = call.params.args.first()?;
    let name = call.func.name();
    let total_of = of_expr(argument, &aggregate.input);
    match name {
        "sum" => total_of.or_else(|| {
            let argument = argument.get_type(aggregate.input.schema()).ok()?;
            matches!(argument, DataType::Int8 | DataType::Int16 | DataType::Int32).then_some(argument)
        }),
        _ => total_of.filter(|_| PICKING.contains(&name)),
    }
}

fn of_expr(expr: &Expr, input: &LogicalPlan) -> Option<DataType> {
    let narrow = narrow(expr, input)?;
    narrow.has_total.then_some(narrow.flinks)
}

/// Totals, and what arithmetic and CASE make of them and of constants.
fn narrow(expr: &Expr, input: &LogicalPlan) -> Option<Narrow> {
    match expr {
        Expr::Alias(alias) => narrow(&alias.expr, input),
        Expr::Column(column) => {
            let flinks = of_column(input, input.schema().maybe_index_of_column(column)?)?;
            Some(Narrow { flinks, has_total: true })
        }
        Expr::Literal(value, _) => constant(value),
        // Constants are widened to the total beside them.
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Int64 => match cast.expr.as_ref() {
            Expr::Literal(value, _) => constant(value),
            _ => None,
        },
        Expr::Negative(operand) => narrow(operand, input),
        Expr::BinaryExpr(binary) if is_arithmetic(binary.op) => {
            wider(narrow(&binary.left, input)?, narrow(&binary.right, input)?)
        }
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            let mut results = results.map(|result| narrow(result, input));
            let first = results.next()??;
            results.try_fold(first, |known, next| wider(known, next?))
        }
        _ => None,
    }
}

fn constant(value: &ScalarValue) -> Option<Narrow> {
    let fits = value.is_null() || matches!(value.cast_to(&DataType::Int32), Ok(cast) if !cast.is_null());
    let whole = value.is_null() || value.data_type().is_integer();
    (fits && whole).then_some(Narrow { flinks: DataType::Int32, has_total: false })
}

fn is_arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}

fn wider(left: Narrow, right: Narrow) -> Option<Narrow> {
    let has_total = left.has_total || right.has_total;
    let flinks = [left.flinks, right.flinks].into_iter().max_by_key(width)?;
    Some(Narrow { flinks, has_total })
}

fn width(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(usize::MAX)
}
