//! INTERSECT and EXCEPT in the logical plan.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::{DFSchema, DFSchemaRef, Result, plan_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use tidemill_engine::operators::set_operation::SetKind;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SetOperationNode {
    /// Left and right; while their types are not settled, the UNION ALL of both, of which the types are taken.
    pub inputs: Vec<LogicalPlan>,
    pub is_intersect: bool,
    pub all: bool,
    pub schema: DFSchemaRef,
}

impl SetOperationNode {
    /// `names` gives the columns' names and qualifiers.
    pub fn try_new(inputs: Vec<LogicalPlan>, is_intersect: bool, all: bool, names: &DFSchema) -> Result<Self> {
        let Some(first) = inputs.first() else { return plan_err!("a set operation needs inputs") };
        let fields = names.iter().zip(first.schema().fields()).enumerate().map(|(index, ((relation, name), field))| {
            let nullable = inputs.iter().any(|input| input.schema().field(index).is_nullable());
            let field = Field::new(name.name(), field.data_type().clone(), nullable);
            (relation.cloned(), Arc::new(field))
        });
        let schema = Arc::new(DFSchema::new_with_metadata(fields.collect(), Default::default())?);
        Ok(Self { inputs, is_intersect, all, schema })
    }

    /// The node over its two sides, whose types are settled.
    pub fn separated(&self) -> Result<Option<Self>> {
        match self.inputs.as_slice() {
            [LogicalPlan::Union(union)] if union.inputs.len() == 2 => {
                let sides = union.inputs.iter().map(|input| input.as_ref().clone()).collect();
                Self::try_new(sides, self.is_intersect, self.all, &self.schema).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub fn kind(&self) -> SetKind {
        if self.is_intersect { SetKind::Intersect } else { SetKind::Except }
    }

    /// `INTERSECT ALL` and the like.
    pub fn words(&self) -> &'static str {
        match (self.is_intersect, self.all) {
            (true, true) => "INTERSECT ALL",
            (true, false) => "INTERSECT",
            (false, true) => "EXCEPT ALL",
            (false, false) => "EXCEPT",
        }
    }
}

impl PartialOrd for SetOperationNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for SetOperationNode {
    fn name(&self) -> &str {
        "SetOperation"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetOperation: {}", self.words())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Self::try_new(inputs, self.is_intersect, self.all, &self.schema)
    }
}
