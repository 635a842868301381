//! The operator graph in Graphviz's language: `dot -Tsvg`.

use std::fmt::Write;

use tidemill_engine::graph::{JobGraph, Node, NodeKind};
use tidemill_engine::operator::SIDE_PORT;

use super::describe_exchange;

/// Characters of an attribute's value that a box shows at most.
const VALUE_CHARACTERS_MAX: usize = 60;

/// A digraph from sources to sinks; side outputs are dashed.
pub fn graph_as_dot(graph: &JobGraph) -> String {
    let mut text = String::from("digraph job {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for node in graph.nodes() {
        write_node(graph, node, &mut text).expect("writing to a String cannot fail");
    }
    text.push_str("}\n");
    text
}

fn write_node(graph: &JobGraph, node: &Node, text: &mut String) -> std::fmt::Result {
    let shape = match node.kind {
        NodeKind::Source(_) => ", shape=cds",
        NodeKind::Sink(_) => ", shape=folder",
        NodeKind::Operator(_) => "",
    };
    let mut label = escape(&node.name);
    for (name, value) in &node.details {
        label.push_str("\\l");
        label.push_str(&escape(&format!("{name}: {}", shorten(value))));
    }
    writeln!(text, "  n{} [label=\"{label}\\l\"{shape}];", node.id.0)?;
    for input in &node.inputs {
        let style = if input.port == SIDE_PORT { ", style=dashed" } else { "" };
        let exchange = escape(&describe_exchange(&input.exchange, graph.node(input.from)));
        writeln!(text, "  n{} -> n{} [label=\"{exchange}\"{style}];", input.from.0, node.id.0)?;
    }
    Ok(())
}

fn shorten(value: &str) -> String {
    if value.chars().count() <= VALUE_CHARACTERS_MAX {
        return value.to_owned();
    }
    let start: String = value.chars().take(VALUE_CHARACTERS_MAX).collect();
    format!("{start}...")
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}
