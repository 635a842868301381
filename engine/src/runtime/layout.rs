//! Decides, without touching the world, which operators share a thread and which edges become channels.
//!
//! A node that reads exactly one input over a Forward edge of equal parallelism is chained: it runs in its input's
//! thread, called directly. Everything else starts a task of its own, read through channels; so does a node that asks
//! the outside world, since its task must also hear the answers.

use crate::graph::{Exchange, JobGraph, Node, NodeId, NodeKind, Parallelism};
use crate::{EngineError, Result};

/// How a job graph runs at a given parallelism.
#[derive(Debug)]
pub struct Layout {
    pub tasks: Vec<TaskLayout>,
    /// Edges that cross from one task to another.
    pub channels: Vec<ChannelLayout>,
}

/// Nodes that run in one thread, as many times as `parallelism` says.
#[derive(Debug)]
pub struct TaskLayout {
    /// In topological order; the first is the head, all others are chained behind it.
    pub nodes: Vec<NodeId>,
    pub parallelism: usize,
}

/// One edge between tasks.
#[derive(Debug, Clone)]
pub struct ChannelLayout {
    pub from: NodeId,
    pub port: usize,
    pub to: NodeId,
    /// Index of the input at `to`.
    pub input: usize,
    pub exchange: Exchange,
}

impl Layout {
    /// Errors name the edge or node that cannot run.
    pub fn of(graph: &JobGraph, parallelism: usize) -> Result<Self> {
        if parallelism == 0 {
            return Err(EngineError::Unsupported("the parallelism of a job is at least 1".into()));
        }
        let mut layout = Layout { tasks: Vec::new(), channels: Vec::new() };
        let mut task_of: Vec<usize> = Vec::with_capacity(graph.nodes().len());
        for node in graph.nodes() {
            check_inputs(graph, node, parallelism)?;
            let task = match chained_to(graph, node, parallelism) {
                Some(input) => task_of[input.0],
                None => {
                    layout.start_task(node, parallelism);
                    layout.tasks.len() - 1
                }
            };
            layout.tasks[task].nodes.push(node.id);
            task_of.push(task);
        }
        Ok(layout)
    }

    /// The head of the task that a node runs in.
    pub fn head_of(&self, node: NodeId) -> NodeId {
        self.tasks.iter().find(|task| task.nodes.contains(&node)).map_or(node, |task| task.nodes[0])
    }

    fn start_task(&mut self, node: &Node, parallelism: usize) {
        self.tasks.push(TaskLayout { nodes: Vec::new(), parallelism: instances(node, parallelism) });
        self.channels.extend(node.inputs.iter().enumerate().map(|(index, input)| ChannelLayout {
            from: input.from,
            port: input.port,
            to: node.id,
            input: index,
            exchange: input.exchange.clone(),
        }));
    }

    /// Number of threads.
    pub fn thread_count(&self) -> usize {
        self.tasks.iter().map(|task| task.parallelism).sum()
    }
}

/// Number of instances of a node.
pub fn instances(node: &Node, parallelism: usize) -> usize {
    match node.parallelism {
        Parallelism::Job => parallelism,
        Parallelism::One => 1,
        Parallelism::Fixed(count) => count,
    }
}

/// The node in whose thread `node` can run.
pub fn chained_to(graph: &JobGraph, node: &Node, parallelism: usize) -> Option<NodeId> {
    let asks = matches!(&node.kind, NodeKind::Operator(factory) if factory.asks().is_some());
    match node.inputs.as_slice() {
        [input] if input.exchange == Exchange::Forward && !asks => {
            let same = instances(graph.node(input.from), parallelism) == instances(node, parallelism);
            same.then_some(input.from)
        }
        _ => None,
    }
}

fn check_inputs(graph: &JobGraph, node: &Node, parallelism: usize) -> Result<()> {
    let is_source = matches!(node.kind, NodeKind::Source(_));
    if is_source != node.inputs.is_empty() {
        let what = if is_source { "is a source and cannot have inputs" } else { "has no input" };
        return Err(EngineError::Unsupported(format!("{} {what}", node.name)));
    }
    for input in &node.inputs {
        let from = graph.node(input.from);
        let (sends, reads) = (instances(from, parallelism), instances(node, parallelism));
        let fits = match input.exchange {
            Exchange::Forward => sends == reads,
            Exchange::Single => reads == 1,
            Exchange::Hash(_) | Exchange::Rebalance => true,
        };
        if !fits {
            let edge = format!("{} -> {}", from.name, node.name);
            let how = format!("{:?} from {sends} to {reads} instances", input.exchange);
            return Err(EngineError::Unsupported(format!("the edge {edge} cannot run: {how}")));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
