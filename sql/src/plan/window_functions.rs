//! Functions that need an OVER clause, as the planner sees them: names and result types. What runs is the engine's own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use tidemill_engine::operators::ordering::RankFunction;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OverFunction {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile,
    Lag,
    Lead,
    FirstValue,
    LastValue,
    NthValue,
}

impl OverFunction {
    const ALL: [(&'static str, Self); 11] = [
        ("row_number", Self::RowNumber),
        ("rank", Self::Rank),
        ("dense_rank", Self::DenseRank),
        ("percent_rank", Self::PercentRank),
        ("cume_dist", Self::CumeDist),
        ("ntile", Self::Ntile),
        ("lag", Self::Lag),
        ("lead", Self::Lead),
        ("first_value", Self::FirstValue),
        ("last_value", Self::LastValue),
        ("nth_value", Self::NthValue),
    ];

    /// The function behind a call, if it is one of ours.
    pub fn of(function: &WindowUDF) -> Option<Self> {
        let inner: &dyn std::any::Any = function.inner().as_ref();
        inner.downcast_ref::<OverShell>().map(|shell| shell.function)
    }

    pub fn rank(self) -> Option<RankFunction> {
        match self {
            Self::RowNumber => Some(RankFunction::RowNumber),
            Self::Rank => Some(RankFunction::Rank),
            Self::DenseRank => Some(RankFunction::DenseRank),
            _ => None,
        }
    }

    /// How many arguments it takes: at least, at most.
    fn arity(self) -> (usize, usize) {
        match self {
            Self::RowNumber | Self::Rank | Self::DenseRank | Self::PercentRank | Self::CumeDist => (0, 0),
            Self::Ntile | Self::FirstValue | Self::LastValue => (1, 1),
            Self::NthValue => (2, 2),
            Self::Lag | Self::Lead => (1, 3),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OverShell {
    name: &'static str,
    function: OverFunction,
    signature: Signature,
}

impl WindowUDFImpl for OverShell {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (least, most) = self.function.arity();
        if !(least..=most).contains(&arguments.len()) {
            let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
            return plan_err!("{} takes {wanted} argument(s), not {}", self.name.to_uppercase(), arguments.len());
        }
        let kind = |position: usize| match (self.function, position) {
            (OverFunction::Ntile, _) | (OverFunction::NthValue | OverFunction::Lag | OverFunction::Lead, 1) => {
                DataType::Int64
            }
            // The default of LAG and LEAD has the type of the value.
            _ => arguments[0].clone(),
        };
        Ok((0..arguments.len()).map(kind).collect())
    }

    fn field(&self, call: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        let (data_type, nullable) = match self.function {
            OverFunction::RowNumber | OverFunction::Rank | OverFunction::DenseRank | OverFunction::Ntile => {
                (DataType::Int64, false)
            }
            OverFunction::PercentRank | OverFunction::CumeDist => (DataType::Float64, false),
            _ => match call.input_fields().first() {
                Some(value) => (value.data_type().clone(), true),
                None => return plan_err!("{} needs arguments", self.name.to_uppercase()),
            },
        };
        Ok(Arc::new(Field::new(call.name(), data_type, nullable)))
    }

    fn partition_evaluator(&self, _call: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        exec_err!("{} is run by the engine", self.name)
    }
}

static SHELLS: LazyLock<HashMap<&'static str, Arc<WindowUDF>>> = LazyLock::new(|| {
    let shell = |(name, function)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        (name, Arc::new(WindowUDF::new_from_impl(OverShell { name, function, signature })))
    };
    OverFunction::ALL.into_iter().map(shell).collect()
});

/// The shell of a function by its name in lower case.
pub(crate) fn find(name: &str) -> Option<Arc<WindowUDF>> {
    SHELLS.get(name).cloned()
}

pub(crate) fn names() -> Vec<String> {
    SHELLS.keys().map(|name| (*name).to_owned()).collect()
}
