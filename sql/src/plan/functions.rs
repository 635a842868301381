//! Which function a name in a query stands for.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion_common::config::ConfigOptions;
use datafusion_expr::planner::ExprPlanner;
use datafusion_expr::{HigherOrderUDF, ScalarUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;
use datafusion_functions_nested::planner::{FieldAccessPlanner, NestedFunctionPlanner};

use super::aggregates::AggregatePlanner;
use super::markers;

/// DataFusion's library, by every name of each function.
static LIBRARY: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut functions = HashMap::new();
    let library = datafusion_functions::all_default_functions();
    let nested = datafusion_functions_nested::all_default_nested_functions();
    for function in library.into_iter().chain(nested).chain(markers::functions()) {
        register(&mut functions, function);
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
        Arc::new(CoreFunctionPlanner::default()),
        Arc::new(DatetimeFunctionPlanner),
        Arc::new(UnicodeFunctionPlanner),
        Arc::new(NestedFunctionPlanner),
        Arc::new(FieldAccessPlanner),
    ]
});

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
