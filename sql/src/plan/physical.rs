//! Expressions as the engine evaluates them: made from logical ones, composed, and guarded against needless errors.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion_common::cast::as_boolean_array;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{ColumnarValue, Expr};
use datafusion_physical_expr::expressions::{
    BinaryExpr, Column, IsNotNullExpr, IsNullExpr, Literal, NotExpr, TryCastExpr,
};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use super::display::display;
use super::spans::with_fixed_spans;

pub(crate) type Physical = Arc<dyn PhysicalExpr>;

/// Makes expressions for one planning.
pub(crate) struct Physicals {
    properties: ExecutionProps,
    context: PhysicalPlanningContext,
}

impl Physicals {
    pub fn new(options: Arc<ConfigOptions>) -> Self {
        let properties = ExecutionProps { config_options: Some(options), ..ExecutionProps::new() };
        Self { properties, context: PhysicalPlanningContext::default() }
    }

    pub fn expr(&self, expr: &Expr, schema: &DFSchema) -> Result<Physical> {
        let lowered = lower(expr, schema)?;
        let expr = create_physical_expr(&lowered, schema, &self.properties, &self.context)?;
        with_fixed_spans(expr, schema.as_arrow())
    }

    /// The parts of a condition that are joined by AND.
    pub fn conjuncts(&self, condition: &Expr, schema: &DFSchema) -> Result<Vec<Physical>> {
        split_conjunction(condition).into_iter().map(|part| self.expr(part, schema)).collect()
    }
}

/// Functions of DataFusion that cannot be evaluated: they stand for CASE or CAST until the optimizer has rewritten them.
const ABBREVIATIONS: &[&str] =
    &["coalesce", "nvl2", "arrow_cast", "arrow_try_cast", "cast_to_type", "try_cast_to_type"];

/// The expression without abbreviations. The optimizer leaves none, but it is optional, and does not see expressions of
/// table definitions.
fn lower(expr: &Expr, schema: &DFSchema) -> Result<Expr> {
    let is_abbreviation = |call: &ScalarFunction| ABBREVIATIONS.contains(&call.func.name());
    if !expr.exists(|part| Ok(matches!(part, Expr::ScalarFunction(call) if is_abbreviation(call))))? {
        return Ok(expr.clone());
    }
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let lowered = expr.clone().transform_up(|part| match part {
        Expr::ScalarFunction(call) if is_abbreviation(&call) => {
            let ScalarFunction { func, args } = call;
            Ok(match func.simplify(args, &context)? {
                ExprSimplifyResult::Simplified(simple) => Transformed::yes(simple),
                ExprSimplifyResult::Original(args) => {
                    Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
                }
            })
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(lowered.data)
}

/// The index of a plain column reference.
pub(crate) fn column_index(expr: &Physical) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

pub(crate) fn column(name: &str, index: usize) -> Physical {
    Arc::new(Column::new(name, index))
}

/// All columns of a schema, as they are.
pub(crate) fn identity(schema: &Schema) -> Vec<Physical> {
    schema.fields().iter().enumerate().map(|(index, field)| column(field.name(), index)).collect()
}

/// True for what costs nothing to evaluate twice.
pub(crate) fn is_trivial(expr: &Physical) -> bool {
    expr.is::<Column>() || expr.is::<Literal>()
}

/// Indices of the columns that an expression reads, with repetitions.
pub(crate) fn columns_read(expr: &Physical) -> Vec<usize> {
    let mut read = Vec::new();
    let visited = expr.apply(|node| {
        read.extend(column_index(node));
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "visiting cannot fail");
    read
}

/// The expression with every column reference replaced by the expression that computes that column.
pub(crate) fn substitute(expr: &Physical, columns: &[Physical]) -> Result<Physical> {
    let replaced = Arc::clone(expr).transform_up(|node| {
        Ok(match column_index(&node).and_then(|index| columns.get(index)) {
            Some(replacement) => Transformed::yes(Arc::clone(replacement)),
            None => Transformed::no(node),
        })
    })?;
    Ok(replaced.data)
}

/// One condition out of several, evaluated from left to right on the rows that are left: a later part never sees a row
/// that an earlier one dropped, so `WHERE x <> 0 AND 10 / x > 1` cannot fail. Parts that cannot fail go first, whatever
/// order the optimizer left them in. `None` when there is nothing to check.
pub(crate) fn all_of(conjuncts: &[Physical]) -> Option<Physical> {
    let (safe, fallible): (Vec<_>, Vec<_>) =
        conjuncts.iter().filter(|part| !is_true(part)).cloned().partition(cannot_fail);
    let safe = safe.into_iter().reduce(and);
    safe.into_iter().chain(fallible).reduce(|left, right| Arc::new(Guarded { left, right }))
}

fn and(left: Physical, right: Physical) -> Physical {
    Arc::new(BinaryExpr::new(left, datafusion_expr::Operator::And, right))
}

fn is_true(expr: &Physical) -> bool {
    expr.downcast_ref::<Literal>().is_some_and(|literal| literal.value() == &ScalarValue::Boolean(Some(true)))
}

/// Columns, constants, comparisons and logic over them.
fn cannot_fail(expr: &Physical) -> bool {
    let known = match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) => is_comparison(binary.op()) || binary.op().is_logic_operator(),
        None => {
            is_trivial(expr)
                || expr.is::<NotExpr>()
                || expr.is::<IsNullExpr>()
                || expr.is::<IsNotNullExpr>()
                || expr.is::<TryCastExpr>()
        }
    };
    known && expr.children().into_iter().all(cannot_fail)
}

fn is_comparison(operator: &datafusion_expr::Operator) -> bool {
    use datafusion_expr::Operator as Op;
    matches!(
        operator,
        Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq | Op::IsDistinctFrom | Op::IsNotDistinctFrom
    )
}

/// `left AND right` in a filter, where `right` is evaluated only on rows for which `left` is true.
#[derive(Debug, Clone)]
struct Guarded {
    left: Physical,
    right: Physical,
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Eq for Guarded {}

impl std::hash::Hash for Guarded {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl std::fmt::Display for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} AND {}", self.left, self.right)
    }
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, _input_schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _input_schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let left = truth(self.left.evaluate(batch)?, batch.num_rows())?;
        if left.true_count() == 0 {
            return Ok(ColumnarValue::Array(Arc::new(left)));
        }
        let right = truth(self.right.evaluate_selection(batch, &left)?, batch.num_rows())?;
        Ok(ColumnarValue::Array(Arc::new(arrow::compute::and(&left, &right)?)))
    }

    fn children(&self) -> Vec<&Physical> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Physical>) -> Result<Physical> {
        match <[Physical; 2]>::try_from(children) {
            Ok([left, right]) => Ok(Arc::new(Self { left, right })),
            Err(_) => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} AND {}", display(&self.left), display(&self.right))
    }
}

/// NULL counts as false.
fn truth(value: ColumnarValue, rows: usize) -> Result<BooleanArray> {
    let array = value.into_array(rows)?;
    let array = as_boolean_array(&array)?;
    Ok(if array.null_count() == 0 { array.clone() } else { arrow::compute::prep_null_mask_filter(array) })
}
