//! Which operators share a thread.

use std::sync::Arc;

use expect_test::{Expect, expect};

use super::*;
use crate::operator::{MAIN_PORT, SIDE_PORT};
use crate::runtime::testing::CollectSink;
use crate::runtime::tests::kit::{Graph, SplitsSource, ToyWindows, input};

fn show(graph: &JobGraph, layout: &Layout) -> String {
    let name = |id: &NodeId| format!("{}{}", graph.node(*id).name, id.0);
    let task = |task: &TaskLayout| {
        let nodes: Vec<String> = task.nodes.iter().map(name).collect();
        format!("{} x{}", nodes.join(" > "), task.parallelism)
    };
    let channel = |channel: &ChannelLayout| {
        let (from, to) = (name(&channel.from), name(&channel.to));
        format!("{from}.{} = {:?} => {to}.{}", channel.port, channel.exchange, channel.input)
    };
    let lines: Vec<String> = layout.tasks.iter().map(task).chain(layout.channels.iter().map(channel)).collect();
    lines.join("\n")
}

#[track_caller]
fn check(graph: Graph, parallelism: usize, expected: Expect) {
    let graph = graph.build();
    let shown = match Layout::of(&graph, parallelism) {
        Ok(layout) => show(&graph, &layout),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

fn source(graph: &mut Graph) -> NodeId {
    graph.source(Arc::new(SplitsSource::new(vec![])), None)
}

#[test]
fn forward_edges_are_calls_and_all_others_are_channels() {
    let mut graph = Graph::default();
    let source = source(&mut graph);
    let calc = graph.calc(vec![input(source, MAIN_PORT, Exchange::Forward)]);
    let windows = graph.windows(calc, ToyWindows::default());
    graph.sink(windows, MAIN_PORT, &CollectSink::new());
    graph.sink(windows, SIDE_PORT, &CollectSink::new());
    check(
        graph,
        3,
        expect![[r#"
        Source0 > Calc1 x3
        Windows2 > Sink3 > Sink4 x3
        Calc1.0 = Hash([0]) => Windows2.0"#]],
    );
}

#[test]
fn a_node_with_several_inputs_begins_a_task() {
    let mut graph = Graph::default();
    let inputs = [source(&mut graph), source(&mut graph)].map(|from| input(from, MAIN_PORT, Exchange::Forward));
    let union = graph.calc(inputs.to_vec());
    graph.sink(union, MAIN_PORT, &CollectSink::new());
    check(
        graph,
        2,
        expect![[r#"
        Source0 x2
        Source1 x2
        Calc2 > Sink3 x2
        Source0.0 = Forward => Calc2.0
        Source1.0 = Forward => Calc2.1"#]],
    );
}

#[test]
fn edges_that_do_not_fit_are_refused_by_name() {
    let mut graph = Graph::default();
    let source = source(&mut graph);
    let calc = graph.calc(vec![input(source, MAIN_PORT, Exchange::Forward)]);
    graph.node(calc).parallelism = Parallelism::One;
    check(graph, 2, expect!["the edge Source -> Calc cannot run: Forward from 2 to 1 instances"]);
}
