//! Operators that give no further rows, and the sources that nobody needs on that account. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::instances;
use crate::graph::{JobGraph, NodeId, NodeKind};

/// Nodes by their positions in the graph.
#[derive(Debug, Default)]
pub struct DoneOperators {
    /// How many instances are done.
    instances: BTreeMap<usize, usize>,
    unneeded: BTreeSet<usize>,
}

impl DoneOperators {
    /// Takes in that one more instance of a node is done. Gives the sources that are unneeded by now.
    pub fn add(&mut self, node: usize, graph: &JobGraph, parallelism: usize) -> Vec<usize> {
        let done = self.instances.entry(node).or_default();
        *done += 1;
        let all = instances(graph.node(NodeId(node)), parallelism);
        assert!(*done <= all, "an instance is done once");
        if *done < all {
            return Vec::new();
        }
        let is_done =
            |node: usize| self.instances.get(&node).copied() == Some(instances(graph.node(NodeId(node)), parallelism));
        let unneeded = unneeded_sources(graph, is_done);
        self.unneeded.extend(&unneeded);
        unneeded
    }

    /// A source was told to end.
    pub fn cut_short(&self) -> bool {
        !self.unneeded.is_empty()
    }
}

/// Sources from which every way to a sink leads through a node that is done.
fn unneeded_sources(graph: &JobGraph, is_done: impl Fn(usize) -> bool) -> Vec<usize> {
    let nodes = || graph.nodes().iter().enumerate();
    let sinks = nodes().filter(|(_, node)| matches!(node.kind, NodeKind::Sink(_))).map(|(index, _)| index);
    let mut open: Vec<usize> = sinks.collect();
    let mut needed = BTreeSet::new();
    while let Some(node) = open.pop() {
        if !is_done(node) && needed.insert(node) {
            open.extend(graph.node(NodeId(node)).inputs.iter().map(|input| input.from.0));
        }
    }
    let sources = nodes().filter(|(index, node)| matches!(node.kind, NodeKind::Source(_)) && !needed.contains(index));
    sources.map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::graph::Exchange;
    use crate::operator::MAIN_PORT;
    use crate::runtime::testing::CollectSink;
    use crate::runtime::tests::kit::{Graph, SplitsSource, input};

    #[test]
    fn a_source_is_needed_while_a_way_to_a_sink_is_open() {
        let mut graph = Graph::default();
        let [left, right] = [0, 1].map(|_| graph.source(Arc::new(SplitsSource::new(vec![])), None));
        let forward = |from| input(from, MAIN_PORT, Exchange::Forward);
        let first = graph.calc(vec![forward(left)]);
        let both = graph.calc(vec![forward(first), forward(right)]);
        let beside = graph.calc(vec![forward(right)]);
        graph.sink(both, MAIN_PORT, &CollectSink::new());
        graph.sink(beside, MAIN_PORT, &CollectSink::new());
        let graph = graph.build();
        let after = |done: &[NodeId]| {
            let mut operators = DoneOperators::default();
            let last = done.iter().map(|node| operators.add(node.0, &graph, 1)).last();
            last.unwrap_or_default()
        };
        assert_eq!(after(&[first]), [left.0]);
        assert_eq!(after(&[both]), [left.0]);
        assert_eq!(after(&[beside]), Vec::<usize>::new());
        assert_eq!(after(&[beside, both]), [left.0, right.0]);
        let mut one_of_two = DoneOperators::default();
        assert!(one_of_two.add(both.0, &graph, 2).is_empty() && !one_of_two.cut_short());
        assert_eq!(one_of_two.add(both.0, &graph, 2), [left.0]);
        assert!(one_of_two.cut_short());
    }
}
