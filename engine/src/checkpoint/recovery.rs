//! Decides from what a job goes on: pure functions over facts that the store has gathered. No I/O here.

use std::collections::HashMap;
use std::path::PathBuf;

use super::manifest::Manifest;
use crate::Epoch;

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreRequest {
    /// The newest sound checkpoint of the state directory; from nothing where there never was one.
    Latest,
    /// This savepoint (or checkpoint folder), whatever the state directory holds.
    From(PathBuf),
    /// From nothing, whatever the state directory holds.
    Fresh,
}

/// What is known of a checkpoint in the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Not looked at yet; looking costs reading all of its files.
    Unknown,
    Sound,
    Damaged(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub epoch: Epoch,
    pub condition: Condition,
    /// It holds output of a sink whose target keeps the record of commits: it can only be gone on from if that record names it.
    pub recorded: bool,
}

/// What the targets that keep the record of commits say: with them, to commit again after a crash is not possible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Uids of their sinks.
    pub sinks: Vec<String>,
    /// The newest epoch whose output is visible; [`Epoch::ZERO`]: none yet; `None`: there is no record of this job.
    pub committed: Option<Epoch>,
}

impl Recorded {
    pub(super) fn names_sink_of(&self, manifest: &Manifest) -> bool {
        manifest.sinks.iter().any(|entry| self.sinks.contains(&entry.uid))
    }
}

/// All that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub request: RestoreRequest,
    /// Every checkpoint of the state directory, newest first.
    pub found: Vec<Found>,
    /// Checkpoints of older epochs belong to a history that was given up (by `From` or `Fresh`).
    pub history_start: Epoch,
    /// The savepoint with which the history began.
    pub base: Option<PathBuf>,
    /// A checkpoint of this history was once completed.
    pub has_checkpoint: bool,
    /// [`Recorded::committed`].
    pub committed: Option<Epoch>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Find out the condition of `found[index]` and ask again.
    Examine {
        index: usize,
    },
    /// Go on from `found[index]`; the newer ones at `skipped` are damaged and must be named to the user.
    RestoreCheckpoint {
        index: usize,
        skipped: Vec<usize>,
    },
    RestoreSavepoint {
        path: PathBuf,
    },
    /// Recover from the empty checkpoint.
    StartEmpty,
    /// There should be a checkpoint and none can be used (I6: never a silent empty start).
    Refuse {
        reasons: Vec<String>,
    },
}

/// The newest sound checkpoint of the current history, or what stands for it.
pub fn decide_recovery(facts: &Facts) -> Plan {
    debug_assert!(facts.found.is_sorted_by(|newer, older| newer.epoch > older.epoch), "newest first");
    match &facts.request {
        RestoreRequest::From(path) => Plan::RestoreSavepoint { path: path.clone() },
        RestoreRequest::Fresh => Plan::StartEmpty,
        RestoreRequest::Latest => decide_latest(facts),
    }
}

fn decide_latest(facts: &Facts) -> Plan {
    let mut skipped = Vec::new();
    let mut reasons = Vec::new();
    let mut never_visible = false;
    let committed = facts.committed.unwrap_or(Epoch::ZERO);
    let of_this_history = facts.found.iter().enumerate().filter(|(_, one)| one.epoch >= facts.history_start);
    for (index, one) in of_this_history {
        if one.recorded && facts.committed.is_none() {
            reasons.push(format!(
                "checkpoint {}: the record of what this job made visible is gone from the target",
                one.epoch
            ));
            break;
        }
        if one.recorded && one.epoch > committed {
            never_visible = true;
            continue;
        }
        if one.epoch < committed {
            break;
        }
        match &one.condition {
            Condition::Unknown => return Plan::Examine { index },
            Condition::Sound => return Plan::RestoreCheckpoint { index, skipped },
            Condition::Damaged(reason) => {
                skipped.push(index);
                reasons.push(format!("checkpoint {}: {reason}", one.epoch));
            }
        }
    }
    if committed >= facts.history_start {
        reasons.push(format!(
            "the output of epoch {committed} is visible, but its checkpoint cannot be used: going on from an older one would repeat rows"
        ));
    }
    if !reasons.is_empty() {
        return Plan::Refuse { reasons };
    }
    if facts.has_checkpoint && !never_visible {
        return Plan::Refuse { reasons: vec!["checkpoints were completed here, and none is left".into()] };
    }
    facts.base.clone().map_or(Plan::StartEmpty, |path| Plan::RestoreSavepoint { path })
}

/// The number of the next checkpoint: above everything that was ever seen, so that epochs never go back (I5).
pub fn next_epoch(facts: &Facts, restored: Epoch) -> Epoch {
    let newest = facts.found.first().map_or(Epoch::ZERO, |newest| newest.epoch);
    let next = newest.max(restored).next().max(facts.history_start);
    assert!(next > restored && next > newest, "I5: epoch {next} goes back");
    next
}

/// A node of the plan that is to go on from a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanNode {
    pub uid: String,
    pub name: String,
    /// [`crate::graph::Node::state_signature`].
    pub signature: Option<String>,
    /// Number of instances asked for.
    pub parallelism: usize,
}

/// Why a checkpoint cannot be what `nodes` go on from; empty where it can. New nodes start with empty state.
pub fn check_fit(manifest: &Manifest, nodes: &[PlanNode], max_parallelism: u16) -> Vec<String> {
    let planned: HashMap<&str, &PlanNode> = nodes.iter().map(|node| (node.uid.as_str(), node)).collect();
    let mut reasons = Vec::new();
    if manifest.max_parallelism != max_parallelism {
        let was = manifest.max_parallelism;
        reasons.push(format!("the maximum parallelism was {was} and cannot become {max_parallelism}: keys would move"));
    }
    for node in nodes.iter().filter(|node| node.parallelism > usize::from(manifest.max_parallelism)) {
        let (name, wanted, max) = (&node.name, node.parallelism, manifest.max_parallelism);
        reasons.push(format!("{name}: parallelism {wanted} is more than the maximum parallelism {max} of the state"));
    }
    for former in &manifest.nodes {
        match planned.get(former.uid.as_str()) {
            Some(node) if former.signature != node.signature => {
                reasons.push(changed(&former.name, &former.signature, node))
            }
            Some(_) => {}
            None => reasons.extend(what_is_lost(manifest, &former.uid).map(|what| {
                format!(
                    "{} ({}): the checkpoint holds {what}, but the plan has no such operator",
                    former.name, former.uid
                )
            })),
        }
    }
    reasons
}

fn changed(former_name: &str, former: &Option<String>, node: &PlanNode) -> String {
    let show = |signature: &Option<String>| signature.clone().unwrap_or_else(|| "no state".into());
    format!(
        "{} ({}): its state was {} [{former_name}], the plan now wants {}",
        node.name,
        node.uid,
        show(former),
        show(&node.signature)
    )
}

/// What of a checkpoint belongs to a node and would be lost without it.
fn what_is_lost(manifest: &Manifest, uid: &str) -> Option<&'static str> {
    let has_state = |uid: &str| {
        let mut instances = manifest.operators.iter().filter(|instance| instance.uid == uid);
        instances.any(|instance| !instance.files.is_empty() || !instance.notes.is_empty())
    };
    let has_output = |uid: &str| {
        let mut sinks = manifest.sinks.iter().filter(|sink| sink.uid == uid);
        sinks.any(|sink| !sink.prepared.committables.is_empty() || sink.prepared.state.is_some())
    };
    if has_state(uid) {
        Some("its state")
    } else if manifest.sources.iter().any(|source| source.uid == uid && !source.splits.is_empty()) {
        Some("how far it has read")
    } else if has_output(uid) {
        Some("output that it has not published yet")
    } else {
        None
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
