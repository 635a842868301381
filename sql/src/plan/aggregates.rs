//! Aggregate functions as the planner sees them: names and result types. What runs is the engine's own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::expr::{AggregateFunction, NullTreatment};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawFieldAccessExpr, RawWindowExpr};
use datafusion_expr::utils::{AggregateOrderSensitivity, COUNT_STAR_EXPANSION};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, GetFieldAccess, Signature, Volatility, WindowFunctionDefinition,
};
use datafusion_functions_nested::expr_fn::array_element;
use tidemill_engine::EngineError;
use tidemill_engine::aggregate::{self, AggregateFactory};

/// Replaced by arithmetic on the grouping id before anything runs.
pub(crate) const GROUPING: &str = "grouping";
/// Keeps NULLs unless it is told to IGNORE NULLS; then it is COLLECT.
const ARRAY_AGG: &str = "array_agg";
const COLLECT: &str = "collect";
/// Flink's other name for it.
const GROUPING_ID: &str = "grouping_id";

/// An aggregate's name, and, once a call of it is known, the call's constant arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AggregateShell {
    name: String,
    /// The last arguments of the call, which are constants: a separator, a percentile.
    literals: Vec<ScalarValue>,
    distinct: bool,
    signature: Signature,
}

impl AggregateShell {
    fn new(name: &str, literals: Vec<ScalarValue>, distinct: bool) -> Self {
        Self { name: name.to_owned(), literals, distinct, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The shell behind a call, if it is one of ours.
    pub fn of(udf: &AggregateUDF) -> Option<&Self> {
        (udf.inner().as_ref() as &dyn std::any::Any).downcast_ref::<Self>()
    }

    /// How many of `arguments` are columns; the rest are the constants.
    pub fn column_count(&self, arguments: usize) -> usize {
        arguments.saturating_sub(self.literals.len())
    }

    /// The engine's aggregate over columns of these types.
    pub fn resolve(&self, columns: &[DataType]) -> tidemill_engine::Result<Arc<dyn AggregateFactory>> {
        aggregate::resolve(&self.name, columns, &self.literals, self.distinct)
    }

    /// As [`Self::resolve`], where rows may be taken back.
    pub fn resolve_over_updates(&self, columns: &[DataType]) -> tidemill_engine::Result<Arc<dyn AggregateFactory>> {
        aggregate::resolve_over_updates(&self.name, columns, &self.literals, self.distinct)
    }

    fn resolve_all(&self, arguments: &[DataType]) -> Result<Arc<dyn AggregateFactory>> {
        self.resolve(&arguments[..self.column_count(arguments.len())]).map_err(refused)
    }
}

fn refused(error: EngineError) -> DataFusionError {
    DataFusionError::Plan(error.to_string())
}

impl AggregateUDFImpl for AggregateShell {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if self.name != GROUPING {
            self.resolve_all(arg_types)?;
        }
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        if self.name == GROUPING {
            return Ok(DataType::Int32);
        }
        Ok(self.resolve_all(arg_types)?.output_type())
    }

    fn is_nullable(&self) -> bool {
        !matches!(self.name.as_str(), "count" | GROUPING)
    }

    /// What the aggregate gives over no rows: a correlated COUNT that finds nothing is 0.
    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        match self.name.as_str() {
            "count" => ScalarValue::new_zero(data_type),
            _ => ScalarValue::try_from(data_type),
        }
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        exec_err!("{} is run by the engine", self.name)
    }

    fn state_fields(&self, _args: StateFieldsArgs) -> Result<Vec<arrow::datatypes::FieldRef>> {
        exec_err!("{} is run by the engine", self.name)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_null_handling_clause(&self) -> bool {
        matches!(self.name.as_str(), "first_value" | "last_value" | ARRAY_AGG)
    }

    fn supports_within_group_clause(&self) -> bool {
        self.name.contains("percentile") || self.name.contains("quantile") || self.name == "listagg"
    }
}

static SHELLS: LazyLock<HashMap<&'static str, Arc<AggregateUDF>>> = LazyLock::new(|| {
    let shell = |name: &str| Arc::new(AggregateUDF::new_from_impl(AggregateShell::new(name, vec![], false)));
    let known = aggregate::names().iter().map(|doc| (doc.name, shell(doc.name)));
    known.chain([(GROUPING, shell(GROUPING)), (GROUPING_ID, shell(GROUPING))]).collect()
});

/// The shell of a function by its name in lower case.
pub(crate) fn find(name: &str) -> Option<Arc<AggregateUDF>> {
    SHELLS.get(name).cloned()
}

pub(crate) fn names() -> Vec<String> {
    SHELLS.keys().map(|name| (*name).to_owned()).collect()
}

/// Ties each aggregate call to its constant arguments.
#[derive(Debug)]
pub(crate) struct AggregatePlanner;

impl ExprPlanner for AggregatePlanner {
    fn plan_aggregate(&self, raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let Some(shell) = AggregateShell::of(&raw.func).filter(|shell| shell.name != GROUPING) else {
            return Ok(PlannerResult::Original(raw));
        };
        refuse_unsupported(shell, &raw)?;
        let literals = trailing_literals(&raw.args);
        let ignores_nulls = raw.null_treatment == Some(NullTreatment::IgnoreNulls);
        let name = if shell.name == ARRAY_AGG && ignores_nulls { COLLECT } else { &shell.name };
        let bound = AggregateUDF::new_from_impl(AggregateShell::new(name, literals, raw.distinct));
        let count_star = shell.name == "count" && is_star(&raw.args);
        let args = if count_star { vec![Expr::Literal(COUNT_STAR_EXPANSION, None)] } else { raw.args };
        // Calls with different filters are different columns, and columns are told apart by their names.
        let star_name = match &raw.filter {
            Some(filter) => format!("count(*) FILTER (WHERE {filter})"),
            None => "count(*)".to_owned(),
        };
        let call =
            AggregateFunction::new_udf(Arc::new(bound), args, raw.distinct, raw.filter, vec![], raw.null_treatment);
        let call = Expr::AggregateFunction(call);
        Ok(PlannerResult::Planned(if count_star { call.alias(star_name) } else { call }))
    }

    fn plan_window(&self, mut raw: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let WindowFunctionDefinition::AggregateUDF(function) = &raw.func_def else {
            return Ok(PlannerResult::Original(raw));
        };
        let Some(shell) = AggregateShell::of(function).filter(|shell| shell.name != GROUPING) else {
            return plan_err!("{} cannot stand in front of OVER", function.name().to_uppercase());
        };
        let bound = AggregateShell::new(&shell.name, trailing_literals(&raw.args), raw.distinct);
        if shell.name == "count" && is_star(&raw.args) {
            raw.args = vec![Expr::Literal(COUNT_STAR_EXPANSION, None)];
        }
        raw.func_def = WindowFunctionDefinition::AggregateUDF(Arc::new(AggregateUDF::new_from_impl(bound)));
        Ok(PlannerResult::Original(raw))
    }

    /// `ARRAY_AGG(x)[n]` is an element of the array; DataFusion would make it NTH_VALUE, which does not stream.
    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        match (raw.expr, raw.field_access) {
            (expr @ Expr::AggregateFunction(_), GetFieldAccess::ListIndex { key }) => {
                Ok(PlannerResult::Planned(array_element(expr, *key)))
            }
            (expr, field_access) => Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr })),
        }
    }
}

fn refuse_unsupported(shell: &AggregateShell, raw: &RawAggregateExpr) -> Result<()> {
    let name = shell.name.to_uppercase();
    if raw.null_treatment == Some(NullTreatment::RespectNulls) && shell.name != ARRAY_AGG {
        return plan_err!("{name} leaves NULLs out: RESPECT NULLS cannot be used with it");
    }
    let sorts_itself = shell.supports_within_group_clause() && raw.order_by.len() == 1;
    let is_ordered_otherwise = raw.order_by.first().is_some_and(|first| !(sorts_itself && first.asc));
    if is_ordered_otherwise {
        return plan_err!("{name} takes its rows as they come: ORDER BY cannot be used inside it");
    }
    Ok(())
}

#[expect(deprecated)]
fn is_star(args: &[Expr]) -> bool {
    matches!(args, [] | [Expr::Wildcard { .. }])
}

/// Constants behind the first argument.
fn trailing_literals(args: &[Expr]) -> Vec<ScalarValue> {
    let behind_first = args.get(1..).unwrap_or_default();
    let mut literals: Vec<_> = behind_first.iter().rev().map_while(constant).collect();
    literals.reverse();
    literals
}

fn constant(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Negative(inner) => constant(inner)?.arithmetic_negate().ok(),
        _ => None,
    }
}
