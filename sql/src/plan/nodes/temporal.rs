//! A temporal join in the logical plan: each left row with the version of a right row that holds at its time.
//!
//! It is a node of its own, and no filter sinks through it: dropping versions of the right side would bring older ones
//! back to life.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion_common::{DFSchemaRef, JoinType, Result, plan_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore, build_join_schema};
use tidemill_engine::time::window::TimeDomain;

use crate::window_call::LookupHint;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TemporalNode {
    pub left: Arc<LogicalPlan>,
    pub right: Arc<LogicalPlan>,
    /// INNER or LEFT.
    pub kind: JoinType,
    pub domain: TimeDomain,
    /// Name of the right table, for messages.
    pub table: String,
    /// How the right table is asked for its rows.
    pub hint: Option<LookupHint>,
    /// The right rows replace each other by key, so they cannot be looked up as they are.
    pub keeps_last: bool,
    /// The left column whose time decides which version holds.
    pub time: Expr,
    /// The right column with the time of a version; in event time only.
    pub version: Option<Expr>,
    /// The right table's primary key.
    pub key: Vec<Expr>,
    /// The parts of the ON condition.
    pub condition: Vec<Expr>,
    pub schema: DFSchemaRef,
}

impl TemporalNode {
    /// The same node over other inputs.
    fn over(&self, left: LogicalPlan, right: LogicalPlan) -> Result<Self> {
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &self.kind)?);
        Ok(Self { left: Arc::new(left), right: Arc::new(right), schema, ..self.clone() })
    }
}

impl PartialOrd for TemporalNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for TemporalNode {
    fn name(&self) -> &str {
        "TemporalJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let first = std::iter::once(&self.time).chain(&self.version);
        first.chain(&self.key).chain(&self.condition).cloned().collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let condition: Vec<_> = self.condition.iter().map(ToString::to_string).collect();
        write!(f, "{} TemporalJoin: {} as of {}", self.kind, condition.join(" AND "), self.time)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return plan_err!("a temporal join has two inputs");
        };
        // Rules that rewrite an expression keep its name by an alias; conditions have none.
        let mut exprs = exprs.into_iter().map(Expr::unalias);
        let Some(time) = exprs.next() else { return plan_err!("a temporal join has a time") };
        let version = if self.version.is_some() { exprs.next() } else { None };
        let key = exprs.by_ref().take(self.key.len()).collect();
        Ok(Self { time, version, key, condition: exprs.collect(), ..self.over(left, right)? })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let (left, right): (Vec<usize>, Vec<usize>) = output_columns.iter().partition(|index| **index < width);
        Some(vec![left, right.into_iter().map(|index| index - width).collect()])
    }
}
