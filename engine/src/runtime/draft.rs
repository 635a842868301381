//! Puts together, from what the tasks left at a barrier, the manifest of a checkpoint. Pure.

use std::collections::BTreeMap;

use super::events::{SourceSnapshot, TaskSnapshot};
use super::launch::Plan;
use super::source::pool::NumberedSplit;
use crate::Epoch;
use crate::checkpoint::manifest::FORMAT;
use crate::checkpoint::{Manifest, NodeCounts, NodeFingerprint, SinkEntry, SourceState, SplitCounts};
use crate::graph::{JobGraph, Node};
use crate::metrics::Counts;
use crate::state::PendingSnapshot;
use crate::time::{EventTime, ProcessingTime};

/// The manifest of `epoch` but for its operators, and the snapshots from which the store makes those.
pub fn draft(
    plan: &Plan,
    epoch: Epoch,
    finished: bool,
    snapshots: Vec<TaskSnapshot>,
    now: ProcessingTime,
) -> (Manifest, Vec<PendingSnapshot>) {
    let mut operators = Vec::new();
    let mut sinks = Vec::new();
    let mut counts: Vec<Counts> = plan.monitor.nodes.iter().map(|node| node.restored()).collect();
    let mut sources: BTreeMap<String, Vec<SourceSnapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        operators.extend(snapshot.chain.operators);
        let prepared = snapshot.chain.sinks.into_iter();
        sinks.extend(prepared.map(|(uid, subtask, prepared)| SinkEntry { uid, subtask, prepared }));
        snapshot.chain.counts.into_iter().for_each(|(node, counted)| counts[node] += counted);
        if let Some(source) = snapshot.source {
            sources.entry(source.uid.clone()).or_default().push(source);
        }
    }
    let sources: Vec<SourceState> = sources.into_iter().map(|(uid, subtasks)| merge_subtasks(uid, subtasks)).collect();
    sources.iter().for_each(|source| check_conservation(plan, source, &counts));
    let manifest = Manifest {
        format: FORMAT,
        job_id: plan.job_id.clone(),
        job_name: plan.options.job_name.clone(),
        epoch,
        attempt: plan.attempt,
        finished,
        max_parallelism: plan.max_parallelism,
        created_at_ms: now.0,
        nodes: fingerprints(&plan.graph),
        sources,
        operators: Vec::new(),
        sinks,
        counts: graph_counts(&plan.graph, counts),
    };
    (manifest, operators)
}

/// I1 at a source: what its splits gave and rejected since the restored checkpoint is what its instances counted, so no
/// split was read twice or passed over.
fn check_conservation(plan: &Plan, source: &SourceState, counts: &[Counts]) {
    let node = plan.graph.nodes().iter().position(|node| node.uid == source.uid).expect("a source is of the graph");
    let before = plan.monitor.nodes[node].restored();
    let (splits, restored) = (total(source), plan.source_state(&source.uid).map(total).unwrap_or_default());
    let counted = (counts[node].rows_out - before.rows_out, counts[node].errors - before.errors);
    let read = (splits.given - restored.given, splits.rejected - restored.rejected);
    assert_eq!(read, counted, "I1: rows given and rejected by the splits of {}, and by its instances", source.uid);
}

fn total(source: &SourceState) -> SplitCounts {
    source.splits.iter().fold(SplitCounts::default(), |mut sum, split| {
        sum += split.counts;
        sum
    })
}

fn fingerprints(graph: &JobGraph) -> Vec<NodeFingerprint> {
    let of = |node: &Node| NodeFingerprint {
        uid: node.uid.clone(),
        name: node.name.clone(),
        signature: node.state_signature.clone(),
    };
    graph.nodes().iter().map(of).collect()
}

fn graph_counts(graph: &JobGraph, counts: Vec<Counts>) -> Vec<NodeCounts> {
    let of = |(node, counts): (&Node, Counts)| NodeCounts { uid: node.uid.clone(), counts };
    graph.nodes().iter().zip(counts).map(of).collect()
}

/// Splits in the order of their numbers, so that they are dealt the same way again.
fn merge_subtasks(uid: String, subtasks: Vec<SourceSnapshot>) -> SourceState {
    // As those downstream saw it: idle subtasks hold nothing back, and where all are idle the furthest tells time.
    // A subtask without splits has never said anything.
    let told = || subtasks.iter().filter(|subtask| !subtask.splits.is_empty());
    let active = told().filter(|subtask| !subtask.idle).map(|subtask| subtask.watermark).min();
    let watermark = active.or_else(|| told().map(|subtask| subtask.watermark).max()).unwrap_or(EventTime::MIN);
    let mut splits: Vec<NumberedSplit> = subtasks.into_iter().flat_map(|subtask| subtask.splits).collect();
    splits.sort_by_key(|split| split.number);
    SourceState { uid, splits: splits.into_iter().map(|split| split.state).collect(), watermark }
}
