//! UNION ALL: one node with several inputs.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::TreeNode;
use datafusion_expr::LogicalPlan;
use tidemill_engine::graph::{ChangelogMode, NodeKind, Parallelism};
use tidemill_engine::operators::calc::Calc;

use super::Translator;
use super::calc::plain_schema;
use super::settle::edge;
use crate::diagnostic::Diagnostic;
use crate::plan::casts;
use crate::plan::context::{CatalogTable, TableStream, external};
use crate::plan::graph_builder::NodeDraft;
use crate::plan::stream::Stream;

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Union(union) = plan else { return None };
    let schema = plain_schema(&union.schema);
    Some(inputs(translator, &union.inputs).and_then(|inputs| {
        let cast = inputs.into_iter().map(|input| cast(input, &schema, &translator.resolver.options));
        translator.union(cast.collect::<Result<_>>()?)
    }))
}

/// The inputs in order. Those that read late rows are translated last: they need the operators that find them.
fn inputs(translator: &mut Translator<'_>, plans: &[Arc<LogicalPlan>]) -> Result<Vec<Stream>> {
    let mut order: Vec<usize> = (0..plans.len()).collect();
    order.sort_by_key(|index| reads_late_rows(&plans[*index]));
    let mut streams: Vec<Option<Stream>> = vec![None; plans.len()];
    for index in order {
        streams[index] = Some(translator.translate(&plans[index])?);
    }
    Ok(streams.into_iter().flatten().collect())
}

/// True when a plan reads `<table>$late` somewhere.
pub(crate) fn reads_late_rows(plan: &LogicalPlan) -> bool {
    let is_late = |node: &LogicalPlan| match node {
        LogicalPlan::TableScan(scan) => {
            scan.source.downcast_ref::<CatalogTable>().is_some_and(|table| table.stream == TableStream::Late)
        }
        _ => false,
    };
    plan.exists(|node| Ok(is_late(node))).unwrap_or_default()
}

/// The stream with its columns in the types of the schema.
pub(super) fn cast(stream: Stream, schema: &SchemaRef, options: &Arc<ConfigOptions>) -> Result<Stream> {
    let own = stream.extended_base();
    let columns = stream.columns.iter().zip(schema.fields());
    let columns = columns.map(|(expr, field)| casts::implicit(Arc::clone(expr), &own, field.data_type(), options));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Stream { columns, schema: Arc::clone(schema), ..stream })
}

impl Translator<'_> {
    /// All rows of the inputs, whose columns must agree. One input stays as it is.
    pub fn union(&mut self, mut inputs: Vec<Stream>) -> Result<Stream> {
        if inputs.len() == 1 {
            return Ok(inputs.remove(0));
        }
        let settle = |input| self.settle(Stream { whole_row: None, ..input });
        let inputs = inputs.into_iter().map(settle).collect::<Result<Vec<_>>>()?;
        let Some(first) = inputs.first().cloned() else {
            return Err(external(Diagnostic::new("UNION ALL needs inputs")));
        };
        let changelog = match inputs.iter().all(|input| input.changelog == ChangelogMode::Append) {
            true => ChangelogMode::Append,
            false => ChangelogMode::Retract,
        };
        // Changes of one key must not overtake each other, so rows of a single instance are not spread over several.
        let single = inputs.iter().any(|input| input.parallelism == Parallelism::One);
        let all_single = inputs.iter().all(|input| input.parallelism == Parallelism::One);
        let one = all_single || (single && changelog == ChangelogMode::Retract);
        let parallelism = if one { Parallelism::One } else { Parallelism::Job };
        let schema = Arc::clone(&first.schema);
        let operator = Calc {
            name: "Union".into(),
            filter: None,
            columns: None,
            schema: Arc::clone(&schema),
            on_error: self.row_errors(),
        };
        let node = self.graph.add(NodeDraft {
            uid: "union".into(),
            name: "Union".into(),
            kind: NodeKind::Operator(Arc::new(operator)),
            inputs: inputs.iter().map(|input| edge(input, parallelism)).collect(),
            parallelism,
            schema: Arc::clone(&schema),
            changelog,
            details: Vec::new(),
            state_signature: None,
        });
        let bounded = inputs.iter().all(|input| input.bounded);
        let steady = inputs.iter().all(|input| input.steady);
        Ok(Stream { steady, ..Stream::of(node, schema, parallelism, changelog, bounded) })
    }
}
