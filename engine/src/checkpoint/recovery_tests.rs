//! Every combination of facts, checked against the rules one by one; and the ways in which a plan may not fit.

use serde_json::json;

use super::*;
use crate::checkpoint::manifest::tests::{manifest, manifest_with_files};
use crate::sink::Prepared;

fn base() -> PathBuf {
    PathBuf::from("/savepoints/base")
}

/// All facts with up to three checkpoints of epochs 1 to 3 in any condition.
fn all_facts() -> Vec<Facts> {
    let conditions = [None, Some(Condition::Unknown), Some(Condition::Sound), Some(Condition::Damaged("bad".into()))];
    let requests = [RestoreRequest::Latest, RestoreRequest::Fresh, RestoreRequest::From("/s".into())];
    let mut all = Vec::new();
    for number in 0..conditions.len().pow(3) {
        let of_epoch = |epoch: u32| conditions[number / 4usize.pow(epoch - 1) % 4].clone();
        let found = |epoch: u32| {
            of_epoch(epoch).map(|condition| Found { epoch: Epoch(u64::from(epoch)), condition, recorded: false })
        };
        let found: Vec<Found> = [3, 2, 1].into_iter().filter_map(found).collect();
        for request in &requests {
            for history_start in 1..=4 {
                for (has_checkpoint, base) in [(false, None), (true, None), (false, Some(base())), (true, Some(base()))]
                {
                    let (request, found, history_start) = (request.clone(), found.clone(), Epoch(history_start));
                    let committed = None;
                    all.push(Facts { request, found, history_start, base, has_checkpoint, committed });
                }
            }
        }
    }
    all
}

#[test]
fn every_combination_of_facts_keeps_the_rules() {
    let all = all_facts();
    assert_eq!(all.len(), 64 * 3 * 4 * 4);
    for facts in all {
        let of_history: Vec<&Found> = facts.found.iter().filter(|one| one.epoch >= facts.history_start).collect();
        let newest_usable = of_history.iter().position(|one| !matches!(one.condition, Condition::Damaged(_)));
        let expected = match (&facts.request, newest_usable) {
            (RestoreRequest::Fresh, _) => Plan::StartEmpty,
            (RestoreRequest::From(path), _) => Plan::RestoreSavepoint { path: path.clone() },
            // `found` is newest first, so positions within the history are positions within `found`.
            (RestoreRequest::Latest, Some(index)) => match of_history[index].condition {
                Condition::Unknown => Plan::Examine { index },
                _ => Plan::RestoreCheckpoint { index, skipped: (0..index).collect() },
            },
            (RestoreRequest::Latest, None) if of_history.is_empty() && !facts.has_checkpoint => match &facts.base {
                Some(path) => Plan::RestoreSavepoint { path: path.clone() },
                None => Plan::StartEmpty,
            },
            (RestoreRequest::Latest, None) => {
                let Plan::Refuse { reasons } = decide_recovery(&facts) else { panic!("I6: {facts:?}") };
                assert_eq!(reasons.len(), of_history.len().max(1), "{facts:?}");
                continue;
            }
        };
        assert_eq!(decide_recovery(&facts), expected, "{facts:?}");
        let restored = Epoch(2);
        let next = next_epoch(&facts, restored);
        assert!(next > restored && next >= facts.history_start && facts.found.iter().all(|one| next > one.epoch));
    }
}

/// As [`all_facts`], each checkpoint with and without output of a sink that keeps the record of commits.
fn all_recorded_facts() -> Vec<Facts> {
    let mut all = Vec::new();
    for facts in all_facts().into_iter().filter(|facts| facts.request == RestoreRequest::Latest) {
        for recorded in 0..1 << facts.found.len() {
            for committed in (0..=4).map(Epoch).map(Some).chain([None]) {
                let mut facts = Facts { committed, ..facts.clone() };
                facts.found.iter_mut().enumerate().for_each(|(index, one)| one.recorded = recorded >> index & 1 == 1);
                all.push(facts);
            }
        }
    }
    all
}

#[test]
fn what_is_visible_is_never_repeated_and_what_is_not_is_never_skipped() {
    for facts in all_recorded_facts() {
        let in_history = facts.committed >= Some(facts.history_start);
        let fits =
            |one: &Found| Some(one.epoch) >= facts.committed && (!one.recorded || Some(one.epoch) == facts.committed);
        let usable = |one: &Found| {
            one.epoch >= facts.history_start && fits(one) && !matches!(one.condition, Condition::Damaged(_))
        };
        // Without the record nobody knows whether what such a checkpoint holds is visible: neither it nor an older one will do.
        let unknown = |one: &Found| one.recorded && facts.committed.is_none() && one.epoch >= facts.history_start;
        let expected = facts.found.iter().position(|one| usable(one) || unknown(one));
        let expected = expected.filter(|index| !unknown(&facts.found[*index]));
        let plan = decide_recovery(&facts);
        match (&plan, expected) {
            (Plan::Examine { index } | Plan::RestoreCheckpoint { index, .. }, Some(expected)) => {
                assert_eq!(*index, expected, "{facts:?}");
            }
            (Plan::RestoreCheckpoint { .. } | Plan::Examine { .. }, None) => panic!("{plan:?}: {facts:?}"),
            (Plan::StartEmpty | Plan::RestoreSavepoint { .. }, None) => {
                assert!(!in_history, "rows that are visible would come again: {facts:?}");
                assert!(!facts.found.iter().any(unknown), "perhaps rows that are visible would come again: {facts:?}");
            }
            (Plan::Refuse { reasons }, None) => assert!(!reasons.is_empty()),
            (_, Some(_)) => panic!("{plan:?} although there is a usable checkpoint: {facts:?}"),
        }
    }
}

#[test]
fn an_epoch_whose_transaction_was_lost_is_run_again() {
    let found = |epoch, recorded| Found { epoch: Epoch(epoch), condition: Condition::Sound, recorded };
    let decide = |found: &[Found], committed| {
        decide_recovery(&Facts {
            request: RestoreRequest::Latest,
            found: found.to_vec(),
            history_start: Epoch(1),
            base: None,
            has_checkpoint: true,
            committed: Some(Epoch(committed)),
        })
    };
    let at = |index| Plan::RestoreCheckpoint { index, skipped: Vec::new() };
    let both = [found(8, true), found(7, true)];
    assert_eq!(decide(&both, 8), at(0), "the record stands at N");
    assert_eq!(decide(&both, 7), at(1), "the record stands at N - 1");
    assert_eq!(decide(&both[..1], 0), Plan::StartEmpty, "the first transaction was lost");
    assert!(matches!(decide(&both, 9), Plan::Refuse { .. }), "the checkpoint of what is visible is gone");
    assert!(matches!(decide(&both, 6), Plan::Refuse { .. }));
    assert_eq!(decide(&[found(8, true), found(7, false)], 0), at(1), "the sink is new in the plan");
}

fn planned(uid: &str, signature: Option<&str>, parallelism: usize) -> PlanNode {
    PlanNode { uid: uid.into(), name: format!("Name({uid})"), signature: signature.map(Into::into), parallelism }
}

/// The plan that wrote [`manifest`].
fn same_plan() -> Vec<PlanNode> {
    vec![planned("in", None, 2), planned("agg", Some("sum"), 4), planned("out", None, 1)]
}

fn checked_manifest() -> Manifest {
    let mut manifest = manifest_with_files(1, &[1]);
    let fingerprint = |uid: &str, signature: Option<&str>| super::super::NodeFingerprint {
        uid: uid.into(),
        name: format!("Name({uid})"),
        signature: signature.map(Into::into),
    };
    manifest.nodes = vec![
        fingerprint("in", None),
        fingerprint("agg", Some("sum")),
        fingerprint("stateless", None),
        fingerprint("out", None),
    ];
    manifest
}

#[test]
fn the_same_plan_and_an_enlarged_one_fit() {
    assert_eq!(check_fit(&checked_manifest(), &same_plan(), 128), Vec::<String>::new());
    let mut larger = same_plan();
    larger.push(planned("new", Some("count"), 128));
    assert_eq!(check_fit(&checked_manifest(), &larger, 128), Vec::<String>::new());
}

#[test]
fn each_way_not_to_fit_gives_its_own_reason() {
    let without = |uid: &str| same_plan().into_iter().filter(|node| node.uid != uid).collect::<Vec<_>>();
    let with = |node: PlanNode| without(&node.uid).into_iter().chain([node]).collect::<Vec<_>>();
    let table = [
        (same_plan(), 64, "maximum parallelism was 128"),
        (with(planned("agg", Some("sum"), 129)), 128, "parallelism 129 is more than"),
        (with(planned("agg", Some("avg"), 4)), 128, "its state was sum"),
        (with(planned("agg", None, 4)), 128, "the plan now wants no state"),
        (without("agg"), 128, "holds its state"),
        (without("in"), 128, "how far it has read"),
        (without("out"), 128, "output that it has not published"),
    ];
    for (nodes, max_parallelism, expected) in table {
        let reasons = check_fit(&checked_manifest(), &nodes, max_parallelism);
        assert_eq!(reasons.len(), 1, "{expected}: {reasons:?}");
        assert!(reasons[0].contains(expected), "{expected}: {reasons:?}");
    }
}

#[test]
fn operators_that_left_nothing_behind_may_go() {
    let mut manifest = checked_manifest();
    manifest.sources[0].splits.clear();
    manifest.operators[0].files.clear();
    manifest.operators[0].notes.clear();
    manifest.sinks[0].prepared = Prepared::default();
    assert_eq!(check_fit(&manifest, &[], 128), Vec::<String>::new());
    manifest.sinks[0].prepared.state = Some(json!({"open": "part-2"}));
    assert_eq!(check_fit(&manifest, &[], 128).len(), 1);
}

#[test]
fn several_reasons_are_all_given() {
    let reasons = check_fit(&manifest(1), &[planned("new", None, 500)], 1);
    assert_eq!(reasons.len(), 3, "{reasons:?}");
}
