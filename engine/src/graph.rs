//! The operator graph of a job: what the planner builds and the runtime runs.
//!
//! A node lists its inputs; inputs always have smaller ids, so the nodes stand in topological order.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::Serialize;

use crate::operator::OperatorFactory;
use crate::sink::Sink;
use crate::source::SourceSpec;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodeId(pub usize);

/// How rows travel from the instances of one node to those of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Exchange {
    /// Instance i to instance i; both nodes have the same parallelism and may run in one thread.
    Forward,
    /// By the hash of these columns, so that equal keys meet.
    Hash(Vec<usize>),
    /// Round-robin by batch.
    Rebalance,
    /// Everything to the one instance of the receiver.
    Single,
}

#[derive(Debug, Clone)]
pub struct Input {
    pub from: NodeId,
    /// Output port of `from`: [`crate::operator::MAIN_PORT`] or [`crate::operator::SIDE_PORT`].
    pub port: usize,
    pub exchange: Exchange,
}

/// Number of instances of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Parallelism {
    /// The job's parallelism.
    Job,
    /// One, whatever the job's parallelism: global aggregates, ordered output.
    One,
    /// So many, whatever the job's parallelism: a sink that says so.
    Fixed(usize),
}

/// What a node's rows mean together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ChangelogMode {
    /// Inserts only.
    Append,
    /// Inserts, updates of both kinds and deletes; every row that is taken back was given before, whole.
    Retract,
    /// By key: no `-U`, and of a deleted row perhaps the key alone. At the edges only: behind a source until it is
    /// normalized, and in front of a sink that upserts.
    Upsert,
}

pub enum NodeKind {
    Source(SourceSpec),
    Operator(Arc<dyn OperatorFactory>),
    Sink(Arc<dyn Sink>),
}

pub struct Node {
    pub id: NodeId,
    /// The operator's name in pictures, errors and metrics: `WindowAggregate`, `Source(bids)`.
    pub name: String,
    /// Names this node's state in checkpoints. Equal across plans of the same SQL; unique in a graph.
    pub uid: String,
    pub kind: NodeKind,
    pub inputs: Vec<Input>,
    pub parallelism: Parallelism,
    /// Schema of the main output (for a sink: of what it is given).
    pub schema: SchemaRef,
    pub changelog: ChangelogMode,
    /// What EXPLAIN shows after the name: pairs of attribute and value.
    pub details: Vec<(String, String)>,
    /// What a restored state must match exactly (keys, aggregates, window); `None` for a node without keyed state.
    pub state_signature: Option<String>,
}

/// A job, planned and ready to run.
pub struct JobGraph {
    pub name: String,
    nodes: Vec<Node>,
}

impl JobGraph {
    /// Panics when a node's id is not its position, an input comes later than its reader, or a uid repeats.
    pub fn new(name: String, nodes: Vec<Node>) -> Self {
        let mut uids = std::collections::HashSet::new();
        for (position, node) in nodes.iter().enumerate() {
            assert_eq!(node.id.0, position, "node ids are positions");
            assert!(node.inputs.iter().all(|input| input.from.0 < position), "inputs come first");
            assert!(uids.insert(node.uid.as_str()), "uid {} is used twice", node.uid);
        }
        Self { name, nodes }
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The readers of a node: (reader, index of the input there).
    pub fn readers(&self, id: NodeId) -> impl Iterator<Item = (&Node, usize)> {
        self.nodes.iter().flat_map(move |node| {
            node.inputs.iter().enumerate().filter(move |(_, input)| input.from == id).map(move |(i, _)| (node, i))
        })
    }
}
