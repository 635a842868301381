//! Collects the nodes of a job's graph and gives them names that stay the same from one planning to the next.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::SchemaRef;
use tidemill_engine::graph::{ChangelogMode, Exchange, Input, JobGraph, Node, NodeId, NodeKind, Parallelism};

/// A node without its id and uid.
pub(crate) struct NodeDraft {
    /// What the uid starts with: `window-aggregate`, `source:bids`.
    pub uid: String,
    pub name: String,
    pub kind: NodeKind,
    pub inputs: Vec<Input>,
    pub parallelism: Parallelism,
    pub schema: SchemaRef,
    pub changelog: ChangelogMode,
    pub details: Vec<(String, String)>,
    pub state_signature: Option<String>,
}

#[derive(Default)]
pub(crate) struct GraphBuilder {
    nodes: Vec<Node>,
    counts: HashMap<String, usize>,
    uids: HashSet<String>,
}

impl GraphBuilder {
    pub fn add(&mut self, draft: NodeDraft) -> NodeId {
        let id = NodeId(self.nodes.len());
        let uid = self.uid(&draft.uid);
        let says_what_it_keeps = draft.details.iter().any(|(name, _)| name == "state");
        debug_assert!(draft.state_signature.is_none() || says_what_it_keeps, "EXPLAIN STATE says what {uid} keeps");
        self.nodes.push(Node {
            id,
            name: draft.name,
            uid,
            kind: draft.kind,
            inputs: draft.inputs,
            parallelism: draft.parallelism,
            schema: draft.schema,
            changelog: draft.changelog,
            details: draft.details,
            state_signature: draft.state_signature,
        });
        id
    }

    /// The name of the node because of which this one's rows are updated: the first on the way from the sources.
    pub fn updater(&self, id: NodeId) -> &str {
        let node = &self.nodes[id.0];
        let updated = |input: &&Input| self.nodes[input.from.0].changelog != ChangelogMode::Append;
        match node.inputs.iter().find(updated) {
            Some(input) => self.updater(input.from),
            None => &node.name,
        }
    }

    /// The first of a kind has the kind's bare name, the others are numbered. A table's name may look like a number
    /// of another's, so numbers that are taken are passed over.
    fn uid(&mut self, kind: &str) -> String {
        loop {
            let count = self.counts.entry(kind.to_owned()).or_default();
            *count += 1;
            let uid = if *count == 1 { kind.to_owned() } else { format!("{kind}#{count}") };
            if self.uids.insert(uid.clone()) {
                return uid;
            }
        }
    }

    pub fn build(self, name: String) -> JobGraph {
        JobGraph::new(name, self.nodes)
    }
}

/// The edge from a node to a reader that does not care how rows are spread.
pub(crate) fn any_exchange(from: Parallelism, to: Parallelism) -> Exchange {
    match to {
        _ if from == to => Exchange::Forward,
        Parallelism::One => Exchange::Single,
        Parallelism::Job | Parallelism::Fixed(_) => Exchange::Rebalance,
    }
}

/// An attribute and its value for EXPLAIN.
pub(crate) fn detail(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}
