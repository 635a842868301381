//! The operator graph as text: one block per operator, inputs first.

use std::fmt::Write;

use tidemill_engine::graph::{JobGraph, Node};
use tidemill_engine::operator::SIDE_PORT;

use super::{describe_changelog, describe_exchange, describe_parallelism};

/// Every operator with its inputs and attributes; `changelog` adds what kinds of changes it emits.
pub fn graph_as_text(graph: &JobGraph, changelog: bool) -> String {
    let mut text = String::new();
    for node in graph.nodes() {
        write_node(graph, node, changelog, &mut text).expect("writing to a String cannot fail");
    }
    text
}

fn write_node(graph: &JobGraph, node: &Node, changelog: bool, text: &mut String) -> std::fmt::Result {
    write!(text, "#{} {}", node.id.0, node.name)?;
    for (position, input) in node.inputs.iter().enumerate() {
        let sender = graph.node(input.from);
        let arrow = if position == 0 { " <-" } else { "," };
        let side = if input.port == SIDE_PORT { " side output," } else { "" };
        write!(text, "{arrow} #{}{side} {}", input.from.0, describe_exchange(&input.exchange, sender))?;
    }
    write!(text, " [parallelism={}", describe_parallelism(node.parallelism))?;
    if changelog {
        write!(text, ", changelog={}", describe_changelog(node.changelog))?;
    }
    writeln!(text, "]")?;
    for (name, value) in &node.details {
        writeln!(text, "     {name}: {value}")?;
    }
    Ok(())
}
