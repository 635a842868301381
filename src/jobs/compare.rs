//! What becomes of a job's state when its SQL changes: kept, rebuilt or dropped, operator by operator. No I/O.

use serde::Serialize;
use tidemill_engine::checkpoint::{Manifest, PlanNode, check_fit};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The operator goes on from its state.
    Kept,
    /// The operator is new: it begins empty.
    Rebuilt,
    /// No operator goes on from this state.
    Dropped,
    /// The operator is there, but wants state of another shape.
    Changed,
    /// There is no state, before or after.
    Stateless,
}

/// One operator in the change of a job's SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorChange {
    pub uid: String,
    pub name: String,
    pub verdict: Verdict,
    /// Bytes of state in the checkpoint.
    pub state_bytes: u64,
    /// Records that a source has read of its input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_read: Option<u64>,
}

/// All operators, and why the state cannot be used; empty where it can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateComparison {
    pub operators: Vec<OperatorChange>,
    pub reasons: Vec<String>,
}

/// Compares a checkpoint with the plan that is to go on from it. `None`: there is no checkpoint yet.
pub fn compare(manifest: Option<&Manifest>, plan: &[PlanNode]) -> StateComparison {
    let planned = plan.iter().map(|node| planned_change(manifest, node));
    let gone = manifest.into_iter().flat_map(|manifest| {
        let lost = manifest.nodes.iter().filter(|node| !plan.iter().any(|planned| planned.uid == node.uid));
        lost.map(|node| OperatorChange {
            uid: node.uid.clone(),
            name: node.name.clone(),
            verdict: if holds_anything(manifest, &node.uid) { Verdict::Dropped } else { Verdict::Stateless },
            state_bytes: state_bytes(manifest, &node.uid),
            records_read: records_read(manifest, &node.uid),
        })
    });
    let operators = planned.chain(gone).collect();
    let reasons = manifest.map_or_else(Vec::new, |manifest| check_fit(manifest, plan, manifest.max_parallelism));
    StateComparison { operators, reasons }
}

fn planned_change(manifest: Option<&Manifest>, node: &PlanNode) -> OperatorChange {
    let former = manifest.and_then(|manifest| manifest.nodes.iter().find(|former| former.uid == node.uid));
    let holds = manifest.is_some_and(|manifest| holds_anything(manifest, &node.uid));
    let verdict = match former {
        None if node.signature.is_some() => Verdict::Rebuilt,
        None => Verdict::Stateless,
        Some(former) if former.signature != node.signature => Verdict::Changed,
        Some(_) if holds => Verdict::Kept,
        Some(former) if former.signature.is_some() => Verdict::Kept,
        Some(_) => Verdict::Stateless,
    };
    OperatorChange {
        uid: node.uid.clone(),
        name: node.name.clone(),
        verdict,
        state_bytes: manifest.map_or(0, |manifest| state_bytes(manifest, &node.uid)),
        records_read: manifest.and_then(|manifest| records_read(manifest, &node.uid)),
    }
}

/// State, a source's place in its input, or output that waits to be published.
fn holds_anything(manifest: &Manifest, uid: &str) -> bool {
    let has_state = |one: &tidemill_engine::checkpoint::InstanceEntry| !one.files.is_empty() || !one.notes.is_empty();
    manifest.operators.iter().any(|one| one.uid == uid && has_state(one))
        || manifest.sources.iter().any(|source| source.uid == uid && !source.splits.is_empty())
        || manifest
            .sinks
            .iter()
            .any(|sink| sink.uid == uid && (!sink.prepared.committables.is_empty() || sink.prepared.state.is_some()))
}

fn state_bytes(manifest: &Manifest, uid: &str) -> u64 {
    let instances = manifest.operators.iter().filter(|instance| instance.uid == uid);
    instances.flat_map(|instance| &instance.files).map(|file| file.length).sum()
}

fn records_read(manifest: &Manifest, uid: &str) -> Option<u64> {
    let source = manifest.sources.iter().find(|source| source.uid == uid)?;
    Some(source.splits.iter().map(|split| split.counts.read()).sum())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use tidemill_engine::Epoch;
    use tidemill_engine::checkpoint::{NodeFingerprint, SourceState, SplitCounts, SplitState};
    use tidemill_engine::source::Split;
    use tidemill_engine::time::EventTime;

    use super::*;

    fn manifest(nodes: &[(&str, Option<&str>)]) -> Manifest {
        let fingerprint = |(uid, signature): &(&str, Option<&str>)| NodeFingerprint {
            uid: uid.to_string(),
            name: format!("Node {uid}"),
            signature: signature.map(str::to_string),
        };
        let split = SplitState {
            split: Split { id: "a.json".into(), payload: serde_json::Value::Null },
            position: None,
            finished: false,
            watermark: EventTime::MIN,
            counts: SplitCounts { given: 7, rejected: 1 },
        };
        let read = SourceState { uid: "source".into(), splits: vec![split], watermark: EventTime::MIN };
        Manifest {
            format: 2,
            job_id: "j".into(),
            job_name: "n".into(),
            epoch: Epoch(3),
            attempt: 1,
            finished: false,
            max_parallelism: 128,
            created_at_ms: 0,
            nodes: nodes.iter().map(fingerprint).collect(),
            sources: vec![read],
            operators: Vec::new(),
            sinks: Vec::new(),
            counts: Vec::new(),
        }
    }

    fn told(manifest: Option<&Manifest>, plan: &[(&str, Option<&str>)]) -> String {
        let node = |(uid, signature): &(&str, Option<&str>)| PlanNode {
            uid: uid.to_string(),
            name: format!("Node {uid}"),
            signature: signature.map(str::to_string),
            parallelism: 1,
        };
        let plan: Vec<PlanNode> = plan.iter().map(node).collect();
        let comparison = compare(manifest, &plan);
        let operators =
            comparison.operators.iter().map(|one| format!("{} {:?} {:?}", one.uid, one.verdict, one.records_read));
        let reasons = comparison.reasons.iter().map(|reason| format!("! {reason}"));
        operators.chain(reasons).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_becomes_of_each_operator() {
        let before = manifest(&[("source", None), ("sum", Some("sum(a)")), ("sink", None)]);
        expect![[r#"
            source Kept Some(8)
            sum Kept None
            top Rebuilt None
            sink Stateless None"#]]
        .assert_eq(&told(
            Some(&before),
            &[("source", None), ("sum", Some("sum(a)")), ("top", Some("top")), ("sink", None)],
        ));
        expect![[r#"
            sum Changed None
            source Dropped Some(8)
            sink Stateless None
            ! Node source (source): the checkpoint holds how far it has read, but the plan has no such operator
            ! Node sum (sum): its state was sum(a) [Node sum], the plan now wants sum(b)"#]]
        .assert_eq(&told(Some(&before), &[("sum", Some("sum(b)"))]));
        expect!["sum Rebuilt None"].assert_eq(&told(None, &[("sum", Some("sum(b)"))]));
    }
}
