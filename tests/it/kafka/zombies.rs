//! Copies of a job that come back after others have gone on without them.

use std::path::Path;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::jobs::{Job, Ledger, ROWS};

const PER_SECOND: usize = 1_000;
const PATIENCE_SECONDS: u64 = 60;
/// Of transactions; the broker looks every second for those that have taken longer.
const TIMEOUT_MS: u64 = 1_500;
/// Long enough for the broker to end what is open.
const LONGER_THAN_TIMEOUT: Duration = Duration::from_millis(TIMEOUT_MS + 2_500);
/// A run that is killed on purpose, or refused, ends long before.
const KILL_MAX: Duration = Duration::from_secs(60);
/// A copy that was superseded ends much sooner; the rest is for a busy machine.
const END_MAX: Duration = Duration::from_secs(10);

fn ledger<'a>(broker: &'a Broker, test: &str) -> Ledger<'a> {
    let timeout = format!(", 'properties.transaction.timeout.ms' = '{TIMEOUT_MS}'");
    let mut ledger = Ledger::new(broker, &ROWS, test, "", &timeout);
    ledger.load(PER_SECOND);
    ledger
}

/// A job that has made some rows visible and is frozen now.
fn frozen(ledger: &Ledger<'_>) -> Job {
    let job = ledger.spawn(&["-p", "2"]);
    assert!(ledger.wait_for("thirds", 500, PATIENCE_SECONDS) >= 500, "{}", ledger.said());
    job.signal("STOP");
    job
}

#[test]
fn a_job_that_slept_longer_than_its_transactions_may_last_writes_its_rows_again() {
    let Some(broker) = Broker::shared("a_job_that_slept_longer_than_its_transactions_may_last") else { return };
    let mut ledger = ledger(broker, "sleeper");
    let job = frozen(&ledger);
    std::thread::sleep(LONGER_THAN_TIMEOUT);
    job.signal("CONT");
    let verdicts = ledger.finish(job, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
}

#[test]
fn a_copy_that_wakes_after_another_took_over_ends_and_its_rows_never_show() {
    let Some(broker) = Broker::shared("a_copy_that_wakes_after_another_took_over") else { return };
    let mut ledger = ledger(broker, "zombie");
    let mut zombie = frozen(&ledger);
    copy_folder(&ledger.workspace.path("state"), &ledger.workspace.path("other"));
    std::thread::sleep(LONGER_THAN_TIMEOUT);
    let successor = ledger.spawn_in("other", &["-p", "2"]);
    let further = ledger.wait_for("thirds", 3_000, PATIENCE_SECONDS);
    assert!(further >= 3_000, "{}", ledger.said());
    zombie.signal("CONT");
    let woken = Instant::now();
    let ended = zombie.wait_or_kill(END_MAX);
    println!("the superseded copy ended after {:?}", woken.elapsed());
    let said = ledger.said();
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "it ends by itself, as failed: {said}");
    assert!(said.contains("another copy of this job has taken over"), "{said}");
    let verdicts = ledger.finish(successor, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
}

#[test]
fn a_checkpoint_whose_number_another_copy_has_committed_is_not_taken_for_visible() {
    let Some(broker) = Broker::shared("a_checkpoint_whose_number_another_copy_has_committed") else { return };
    let mut ledger = ledger(broker, "twins");
    let killed = |mut job: Job| {
        let ended = job.wait_or_kill(KILL_MAX);
        assert!(ended.is_some_and(|status| !status.success()), "{ended:?}: {}", ledger.said());
    };
    // Its fourth checkpoint is durable and not visible.
    killed(ledger.spawn_with_faults("state", &["-p", "1"], "checkpoint.durable=kill@4"));
    let (state, other) = (ledger.workspace.path("state"), ledger.workspace.path("other"));
    copy_folder(&state, &other);
    let checkpoints = std::fs::read_dir(other.join("checkpoints")).expect("checkpoints").flatten();
    let newest = checkpoints.map(|entry| entry.path()).max().expect("some are kept");
    std::fs::remove_dir_all(newest).expect("removable");
    killed(ledger.spawn_with_faults("other", &["-p", "1"], "checkpoint.committed=kill@1"));
    let mut refused = ledger.spawn(&["-p", "1"]);
    let ended = refused.wait_or_kill(KILL_MAX);
    let said = ledger.said();
    assert_eq!(ended.and_then(|status| status.code()), Some(3), "{said}");
    assert!(said.contains("checkpoint 4 is not of the rows that are visible"), "{said}");
    let successor = ledger.spawn_in("other", &["-p", "2"]);
    let verdicts = ledger.finish(successor, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
}

/// A copy of a state directory, but for what is only there while its job runs.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => copy_folder(&source, &target),
            kind if kind.is_file() => drop(std::fs::copy(&source, &target).expect("a copy")),
            _ => {}
        }
    }
}
