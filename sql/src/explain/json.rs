//! The operator graph as JSON, for tools.

use serde_json::{Map, Value, json};
use tidemill_engine::graph::{Input, JobGraph, Node};
use tidemill_engine::operator::SIDE_PORT;

use super::{describe_changelog, describe_exchange, describe_kind, describe_parallelism};
use crate::types::flink_name;

/// Indented JSON text; see [`graph_as_json_value`].
pub fn graph_as_json(graph: &JobGraph) -> String {
    format!("{:#}", graph_as_json_value(graph))
}

/// `{"name", "nodes": [{"id", "uid", "name", "kind", "parallelism", "changelog", "inputs", "columns", "attributes"}]}`.
pub fn graph_as_json_value(graph: &JobGraph) -> Value {
    let nodes: Vec<Value> = graph.nodes().iter().map(|node| node_value(graph, node)).collect();
    json!({ "name": graph.name, "nodes": nodes })
}

fn node_value(graph: &JobGraph, node: &Node) -> Value {
    let inputs: Vec<Value> = node.inputs.iter().map(|input| input_value(graph, input)).collect();
    let columns = node
        .schema
        .fields()
        .iter()
        .map(|field| json!({ "name": field.name(), "type": flink_name(field.data_type(), field.is_nullable()) }));
    let attributes: Map<String, Value> =
        node.details.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
    json!({
        "id": node.id.0,
        "uid": node.uid,
        "name": node.name,
        "kind": describe_kind(&node.kind),
        "parallelism": describe_parallelism(node.parallelism),
        "changelog": describe_changelog(node.changelog),
        "inputs": inputs,
        "columns": columns.collect::<Vec<_>>(),
        "attributes": attributes,
    })
}

fn input_value(graph: &JobGraph, input: &Input) -> Value {
    json!({
        "from": input.from.0,
        "output": if input.port == SIDE_PORT { "side" } else { "main" },
        "exchange": describe_exchange(&input.exchange, graph.node(input.from)),
    })
}
