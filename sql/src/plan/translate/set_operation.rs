//! INTERSECT and EXCEPT: equal rows of both sides meet and are counted.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_common::Result;
use datafusion_expr::LogicalPlan;
use tidemill_engine::graph::{ChangelogMode, Input, NodeKind};
use tidemill_engine::operators::set_operation::{SetKind, SetOperation};

use super::Translator;
use super::calc::plain_schema;
use super::settle::{by_key, reachable, typed_names};
use super::union::cast;
use crate::plan::graph_builder::{NodeDraft, detail};
use crate::plan::nodes::set_operation::SetOperationNode;
use crate::plan::nodes::window::describe_ms;
use crate::plan::stream::Stream;

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Extension(extension) = plan else { return None };
    let node = extension.node.as_any().downcast_ref::<SetOperationNode>()?;
    Some(operation(translator, node))
}

fn operation(translator: &mut Translator<'_>, node: &SetOperationNode) -> Result<Stream> {
    let schema = plain_schema(&node.schema);
    let mut inputs = Vec::new();
    for input in &node.inputs {
        let stream = translator.translate(input)?;
        let stream = cast(Stream { whole_row: None, ..stream }, &schema, &translator.resolver.options)?;
        inputs.push(translator.settle(stream)?);
    }
    let is_bounded = inputs.iter().all(|input| input.bounded);
    translator.note_unbounded_state(node.words(), "each distinct row of both inputs", is_bounded)?;
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let appends = inputs.iter().all(|input| input.changelog == ChangelogMode::Append);
    let changelog = match node.kind() {
        SetKind::Intersect if appends => ChangelogMode::Append,
        _ => ChangelogMode::Retract,
    };
    let ttl_ms = translator.resolver.context.settings.state_ttl().map(|ttl| ttl.as_millis() as i64);
    let (exchange, parallelism) = by_key(&all);
    let edges = inputs.iter().map(|input| Input {
        from: input.node,
        port: input.port,
        exchange: reachable(exchange.clone(), input.parallelism),
    });
    let draft = NodeDraft {
        uid: "set-operation".into(),
        name: "SetOperation".into(),
        kind: NodeKind::Operator(Arc::new(SetOperation {
            kind: node.kind(),
            all: node.all,
            ttl_ms,
            schema: Arc::clone(&schema),
        })),
        inputs: edges.collect(),
        parallelism,
        schema: Arc::clone(&schema),
        changelog,
        details: vec![detail("type", node.words()), detail("state", state_note(ttl_ms))],
        state_signature: Some(signature(node, &schema, &all)),
    };
    let id = translator.graph.add(draft);
    let steady = inputs.iter().all(|input| input.steady);
    Ok(Stream { steady, ..Stream::of(id, schema, parallelism, changelog, is_bounded) })
}

fn state_note(ttl_ms: Option<i64>) -> String {
    match ttl_ms {
        Some(ttl) => {
            format!("each distinct row of both inputs; it is forgotten {} after it came last", describe_ms(ttl))
        }
        None => "each distinct row of both inputs; it is never freed: set table.exec.state.ttl to bound it".into(),
    }
}

fn signature(node: &SetOperationNode, schema: &Schema, all: &[usize]) -> String {
    format!("{} of {}", node.words(), typed_names(schema, all))
}
