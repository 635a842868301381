//! The operators as Flink's EXPLAIN draws them: a tree from each sink down to its sources, exchanges as nodes of their own,
//! and at each node the kinds of changes that it emits.

use std::collections::BTreeSet;
use std::fmt::{Result, Write};

use tidemill_engine::graph::{Exchange, Input, JobGraph, Node, NodeId, NodeKind};
use tidemill_engine::operator::SIDE_PORT;

use super::describe_changelog;

/// Attributes that say what an operator keeps and not what it does: EXPLAIN STATE shows them.
const LEFT_OUT: &str = "state";

/// One tree per sink. A node that several read is drawn once; the others name it.
pub fn graph_as_tree(graph: &JobGraph) -> String {
    let mut tree = Tree { graph, drawn: BTreeSet::new(), text: String::new() };
    for sink in graph.nodes().iter().filter(|node| matches!(node.kind, NodeKind::Sink(_))) {
        let root = Branch { lead: String::new(), below: String::new() };
        tree.node(sink, &root).expect("writing to a String cannot fail");
    }
    tree.text
}

struct Tree<'a> {
    graph: &'a JobGraph,
    /// Nodes with several readers that have been drawn.
    drawn: BTreeSet<usize>,
    text: String,
}

/// What stands in front of a node, and in front of what is below it.
struct Branch {
    lead: String,
    below: String,
}

impl Branch {
    /// The branches to so many inputs.
    fn split(&self, inputs: usize) -> impl Iterator<Item = Self> {
        (1..=inputs).map(move |number| {
            let (lead, below) = if number == inputs { ("+- ", "   ") } else { (":- ", ":  ") };
            Self { lead: format!("{}{lead}", self.below), below: format!("{}{below}", self.below) }
        })
    }

    fn only(&self) -> Self {
        Self { lead: format!("{}+- ", self.below), below: format!("{}   ", self.below) }
    }
}

impl Tree<'_> {
    fn node(&mut self, node: &Node, branch: &Branch) -> Result {
        self.text.push_str(&branch.lead);
        let is_shared = self.readers(node.id) > 1;
        if is_shared && !self.drawn.insert(node.id.0) {
            return writeln!(self.text, "Reused(reference_id=[{}])", node.id.0);
        }
        let reference = if is_shared { format!("(reference_id=[{}])", node.id.0) } else { String::new() };
        let details = node.details.iter().filter(|(name, _)| name != LEFT_OUT);
        let (name, table) = name_and_table(node);
        let mut attributes: Vec<String> = table.into_iter().map(|table| format!("table=[{table}]")).collect();
        attributes.extend(details.map(|(name, value)| format!("{}=[{value}]", attribute_name(name))));
        attributes.push(changelog_mode(node));
        writeln!(self.text, "{name}({}){reference}", attributes.join(", "))?;
        let branches = branch.split(node.inputs.len());
        node.inputs.iter().zip(branches).try_for_each(|(input, branch)| self.input(input, &branch))
    }

    fn input(&mut self, input: &Input, branch: &Branch) -> Result {
        let sender = self.graph.node(input.from);
        let Some(distribution) = distribution(&input.exchange, sender) else { return self.sender(input, branch) };
        self.text.push_str(&branch.lead);
        // Late rows and errors are appended, whatever the main output is.
        let mode = if input.port == SIDE_PORT { "changelogMode=[I]".to_owned() } else { changelog_mode(sender) };
        writeln!(self.text, "Exchange(distribution=[{distribution}], {mode})")?;
        self.sender(input, &branch.only())
    }

    fn sender(&mut self, input: &Input, branch: &Branch) -> Result {
        let sender = self.graph.node(input.from);
        if input.port != SIDE_PORT {
            return self.node(sender, branch);
        }
        self.text.push_str(&branch.lead);
        writeln!(self.text, "SideOutput(changelogMode=[I])")?;
        self.node(sender, &branch.only())
    }

    fn readers(&self, node: NodeId) -> usize {
        self.graph.nodes().iter().flat_map(|reader| &reader.inputs).filter(|input| input.from == node).count()
    }
}

fn changelog_mode(node: &Node) -> String {
    match (&node.kind, node.changelog) {
        (NodeKind::Sink(_), _) => "changelogMode=[NONE]".into(),
        (_, changelog) => format!("changelogMode=[{}]", describe_changelog(changelog)),
    }
}

/// `None` where rows stay in their instance.
fn distribution(exchange: &Exchange, sender: &Node) -> Option<String> {
    match exchange {
        Exchange::Forward => None,
        Exchange::Rebalance => Some("random".into()),
        Exchange::Single => Some("single".into()),
        Exchange::Hash(columns) => {
            let name = |index: &usize| sender.schema.fields().get(*index).map_or("?", |field| field.name().as_str());
            Some(format!("hash[{}]", columns.iter().map(name).collect::<Vec<_>>().join(", ")))
        }
    }
}

/// `Source(bids)` reads the table `bids`.
fn name_and_table(node: &Node) -> (&str, Option<&str>) {
    let parts = node.name.split_once('(').and_then(|(name, table)| Some((name, table.strip_suffix(')')?)));
    match (parts, &node.kind) {
        (Some((_, table)), NodeKind::Source(_)) => ("TableSourceScan", Some(table)),
        (Some((name, table)), _) => (name, Some(table)),
        (None, _) => (&node.name, None),
    }
}

/// `group by` becomes `groupBy`.
fn attribute_name(words: &str) -> String {
    if words == "columns" {
        return "fields".into();
    }
    let mut text = String::new();
    for (position, word) in words.split(' ').enumerate() {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if position > 0 => text.extend(first.to_uppercase()),
            first => text.extend(first),
        }
        text.extend(letters);
    }
    text
}
