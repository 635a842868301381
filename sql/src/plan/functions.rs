//! Which function a name in a query stands for.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult};
use datafusion_expr::{Expr, HigherOrderUDF, ScalarUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions_nested::planner::{FieldAccessPlanner, NestedFunctionPlanner};

use super::aggregates::AggregatePlanner;
use super::bounded::bounded;
use super::intervals::IntervalPlanner;
use super::markers;

/// DataFusion's library, by every name of each function.
static LIBRARY: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut functions = HashMap::new();
    let library = datafusion_functions::all_default_functions();
    let nested = datafusion_functions_nested::all_default_nested_functions();
    for function in library.into_iter().chain(nested).chain(markers::functions()) {
        register(&mut functions, bounded(function));
    }
    functions
});

static HIGHER_ORDER: LazyLock<HashMap<String, Arc<HigherOrderUDF>>> = LazyLock::new(|| {
    let functions = datafusion_functions_nested::all_default_higher_order_functions();
    functions.into_iter().map(|function| (function.name().to_owned(), function)).collect()
});

static PLANNERS: LazyLock<Vec<Arc<dyn ExprPlanner>>> = LazyLock::new(|| {
    vec![
        Arc::new(AggregatePlanner),
        Arc::new(IntervalPlanner),
        Arc::new(CoreFunctionPlanner::default()),
        Arc::new(DatetimeFunctionPlanner),
        Arc::new(TextPlanner),
        Arc::new(NestedFunctionPlanner),
        Arc::new(FieldAccessPlanner),
    ]
});

/// SUBSTRING(x FROM n) and POSITION(x IN y) are Flink's functions too.
#[derive(Debug)]
struct TextPlanner;

impl ExprPlanner for TextPlanner {
    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        // The text comes first here, last in LOCATE.
        Ok(call_of("locate", args.into_iter().rev().collect()))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(call_of("substring", args))
    }
}

fn call_of(name: &str, args: Vec<Expr>) -> PlannerResult<Vec<Expr>> {
    match crate::functions::text_function(name) {
        Some(function) => PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))),
        None => PlannerResult::Original(args),
    }
}

fn register(functions: &mut HashMap<String, Arc<ScalarUDF>>, function: Arc<ScalarUDF>) {
    for alias in function.aliases() {
        functions.insert(alias.clone(), Arc::clone(&function));
    }
    functions.insert(function.name().to_owned(), function);
}

/// The functions of one planning.
pub(crate) struct Functions {
    /// Flink's functions, which hide those of the library.
    flink: HashMap<String, Arc<ScalarUDF>>,
    options: Arc<ConfigOptions>,
}

impl Functions {
    pub fn new(flink: Vec<Arc<ScalarUDF>>, options: Arc<ConfigOptions>) -> Self {
        let mut by_name = HashMap::new();
        for function in flink {
            register(&mut by_name, function);
        }
        Self { flink: by_name, options }
    }

    /// By the name in lower case. Functions that depend on the time zone are given the session's.
    pub fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if let Some(function) = self.flink.get(name) {
            return Some(Arc::clone(function));
        }
        let function = LIBRARY.get(name)?;
        let configured = function.inner().with_updated_config(&self.options);
        Some(configured.map_or_else(|| Arc::clone(function), Arc::new))
    }

    pub fn higher_order(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        HIGHER_ORDER.get(name).cloned()
    }

    pub fn planners(&self) -> &'static [Arc<dyn ExprPlanner>] {
        &PLANNERS
    }

    /// All names that a user may write.
    pub fn names(&self) -> Vec<String> {
        let names = self.flink.keys().chain(LIBRARY.keys()).filter(|name| !name.starts_with("__"));
        names.cloned().collect()
    }

    pub fn higher_order_names(&self) -> Vec<String> {
        HIGHER_ORDER.keys().cloned().collect()
    }
}
