//! What the operators of a graph keep: by which key, which rows, and when they are freed.

use std::fmt::Write;

use tidemill_engine::graph::{JobGraph, Node};

/// Attributes that say what an operator keeps, in the order in which they are shown.
const ATTRIBUTES: &[&str] = &["window", "on", "key", "group by", "partition by", "state"];

/// One block per operator that keeps something, inputs first.
pub fn graph_state_as_text(graph: &JobGraph) -> String {
    let mut text = String::from("== State ==\n");
    let keepers: Vec<&Node> = graph.nodes().iter().filter(|node| node.state_signature.is_some()).collect();
    for node in &keepers {
        write_node(node, &mut text).expect("writing to a String cannot fail");
    }
    if keepers.is_empty() {
        text.push_str("no operator keeps any\n");
    }
    text
}

fn write_node(node: &Node, text: &mut String) -> std::fmt::Result {
    writeln!(text, "{} [{}]", node.name, node.uid)?;
    for attribute in ATTRIBUTES {
        for (name, value) in node.details.iter().filter(|(name, _)| name == attribute) {
            writeln!(text, "     {name}: {value}")?;
        }
    }
    Ok(())
}
