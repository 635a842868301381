//! UNNEST in the logical plan: the input's columns, then those of the element and its ordinality.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion_common::{DFSchema, DFSchemaRef, Result, plan_err};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UnnestNode {
    pub input: Arc<LogicalPlan>,
    /// The ARRAY or MAP, over the input.
    pub collection: Expr,
    /// Rows with no element stay, with NULL for the element.
    pub outer: bool,
    pub ordinality: bool,
    /// The columns that are added, with their qualifier.
    pub added: DFSchemaRef,
    pub schema: DFSchemaRef,
}

impl UnnestNode {
    pub fn try_new(
        input: Arc<LogicalPlan>,
        collection: Expr,
        outer: bool,
        ordinality: bool,
        added: DFSchemaRef,
    ) -> Result<Self> {
        let fields = input.schema().iter().chain(added.iter());
        let fields = fields.map(|(relation, field)| (relation.cloned(), Arc::clone(field))).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(Self { input, collection, outer, ordinality, added, schema })
    }
}

impl PartialOrd for UnnestNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for UnnestNode {
    fn name(&self) -> &str {
        "Unnest"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.collection.clone()]
    }

    /// A filter that reads only the input's columns may run before the rows are multiplied.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.added.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outer = if self.outer { ", outer" } else { "" };
        let ordinality = if self.ordinality { ", with ordinality" } else { "" };
        write!(f, "Unnest: {}{outer}{ordinality}", self.collection)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.into_iter().next(), inputs.into_iter().next()) {
            (Some(collection), Some(input)) => {
                Self::try_new(Arc::new(input), collection, self.outer, self.ordinality, Arc::clone(&self.added))
            }
            _ => plan_err!("UNNEST needs one input and a collection"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inherited = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|index| *index < inherited).collect()])
    }
}
