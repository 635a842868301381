//! Scalar subqueries: a table of one row at most.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::LogicalPlan;
use tidemill_engine::graph::Parallelism;
use tidemill_engine::operators::single_row::SingleRow;

use super::Translator;
use super::settle::{edge, operator_draft};
use crate::plan::graph_builder::detail;
use crate::plan::nodes::single_row::SingleRowNode;
use crate::plan::stream::Stream;

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Extension(extension) = plan else { return None };
    let node = extension.node.as_any().downcast_ref::<SingleRowNode>()?;
    Some(translator.translate(&node.input).and_then(|input| {
        let input = translator.settle(Stream { whole_row: None, ..input })?;
        let schema = Arc::clone(&input.base);
        let details = vec![detail("state", "the number of rows")];
        let operator = Arc::new(SingleRow { schema: Arc::clone(&schema) });
        let mut draft = operator_draft("SingleRow", operator, &input, Arc::clone(&schema), details);
        draft.inputs = vec![edge(&input, Parallelism::One)];
        draft.parallelism = Parallelism::One;
        draft.state_signature = Some("number of rows".into());
        let node = translator.graph.add(draft);
        let output = Stream::of(node, Arc::clone(&schema), Parallelism::One, input.changelog, input.bounded);
        Ok(Stream { schema: input.schema, steady: input.steady, ..output })
    }))
}
