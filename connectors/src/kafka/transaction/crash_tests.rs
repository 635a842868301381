//! Every state that a crash can leave behind between the barrier of an epoch and the end of its commit, and what the next start makes of it:
//! the engine's decision where to go on from and this module's decision what to commit, taken together, show every row once.

use std::collections::BTreeMap;

use tidemill_engine::Epoch;
use tidemill_engine::checkpoint::recovery::{
    Condition, Facts, Found, Plan, RestoreRequest, decide_recovery, next_epoch,
};

use super::protocol::{Commit, Succession, Ticket, Turn, decide_commit};
use super::record::CommitRecord;

/// The epoch before the one that was being committed.
const BEFORE: Epoch = Epoch(4);
const LATEST: Epoch = Epoch(5);

/// The transaction that holds the rows of [`LATEST`], as the broker has it when the job starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    Open,
    Aborted,
    Committed,
    /// The answer to its end was lost.
    Unknown,
}

/// What a crash left behind.
#[derive(Debug, Clone, Copy)]
struct Left {
    has_manifest: bool,
    record: Epoch,
    transaction: Transaction,
}

/// What the next start makes of it.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// No broker can be in this state: the record is part of the transaction.
    Impossible,
    Refused,
    /// How often the rows of each epoch can be seen once the next epoch is committed.
    Visible(BTreeMap<Epoch, u32>),
}

fn all() -> Vec<Left> {
    let mut all = Vec::new();
    for has_manifest in [false, true] {
        for record in [BEFORE, LATEST] {
            for transaction in [Transaction::Open, Transaction::Aborted, Transaction::Committed, Transaction::Unknown] {
                all.push(Left { has_manifest, record, transaction });
            }
        }
    }
    all
}

fn start_again(left: Left) -> Outcome {
    let was_committed = left.record == LATEST;
    match left.transaction {
        Transaction::Open | Transaction::Aborted if was_committed => return Outcome::Impossible,
        Transaction::Committed if !was_committed => return Outcome::Impossible,
        // To open the producers ends what was open; after that the record tells what became of the unknown.
        _ => {}
    }
    let mut visible: BTreeMap<Epoch, u32> = (1..=left.record.0).map(|epoch| (Epoch(epoch), 1)).collect();
    let sound = |epoch| Found { epoch, condition: Condition::Sound, recorded: true };
    let facts = Facts {
        request: RestoreRequest::Latest,
        found: [LATEST, BEFORE].into_iter().filter(|epoch| left.has_manifest || *epoch != LATEST).map(sound).collect(),
        history_start: Epoch::ZERO,
        base: None,
        has_checkpoint: true,
        committed: Some(left.record),
    };
    let restored = match decide_recovery(&facts) {
        Plan::RestoreCheckpoint { index, .. } => facts.found[index].epoch,
        Plan::Refuse { .. } => return Outcome::Refused,
        plan => panic!("{left:?}: {plan:?}"),
    };
    let record = CommitRecord { epoch: left.record, owner: "before".into(), writer: Some("before".into()) };
    let mut succession = Succession::default();
    assert!(!succession.is_broken(Some(&record)), "a process that starts takes over");
    succession.open("me", Some(&record));
    let commit = |epoch, owner: &str, last| {
        let ticket = Ticket { owner: owner.into(), turn: Turn::First };
        decide_commit(epoch, &[ticket], "me", Some(&record), last)
    };
    // The committables in the restored manifest are committed again, as after every crash.
    match commit(restored, "before", Epoch::ZERO) {
        Commit::AlreadyVisible => {}
        other => panic!("{left:?}: {other:?} of rows that another producer wrote"),
    }
    // All rows behind the restored checkpoint are read again, and are those of the next epoch.
    let next = next_epoch(&facts, restored);
    assert!(
        next > LATEST || !left.has_manifest,
        "{left:?}: the number of an epoch that has a manifest is not used again"
    );
    assert_eq!(commit(next, "me", Epoch::ZERO), Commit::End(Turn::First), "{left:?}");
    for epoch in restored.next().0..=LATEST.0 {
        *visible.entry(Epoch(epoch)).or_default() += 1;
    }
    assert_eq!(commit(next, "me", next), Commit::AlreadyVisible, "{left:?}: by the next sink of the same epoch");
    Outcome::Visible(visible)
}

#[test]
fn whatever_a_crash_leaves_behind_every_row_is_seen_once_or_the_job_says_why_it_cannot_go_on() {
    let once = || Outcome::Visible((1..=LATEST.0).map(|epoch| (Epoch(epoch), 1)).collect());
    let mut seen = [0; 3];
    for left in all() {
        let expected = match (left.record == LATEST, left.transaction) {
            (true, Transaction::Open | Transaction::Aborted) | (false, Transaction::Committed) => Outcome::Impossible,
            // Somebody deleted the checkpoint of rows that are visible: an older one would repeat them.
            (true, _) if !left.has_manifest => Outcome::Refused,
            _ => once(),
        };
        let outcome = start_again(left);
        assert_eq!(outcome, expected, "{left:?}");
        seen[match outcome {
            Outcome::Impossible => 0,
            Outcome::Refused => 1,
            Outcome::Visible(_) => 2,
        }] += 1;
    }
    assert_eq!(seen, [6, 2, 8], "of all 16 combinations");
}
