//! A broker that dies, freezes or cannot be reached, under a job that writes exactly once.

use std::thread::sleep;
use std::time::Duration;

use super::broker::Broker;
use super::jobs::{Ledger, ROWS, WINDOWS};

const PER_SECOND: usize = 500;
const PATIENCE_SECONDS: u64 = 120;
/// Of transactions, in milliseconds; the broker looks every second for those that have taken longer.
const SHORT_TIMEOUT: &str = ", 'properties.transaction.timeout.ms' = '2000'";
const LONGER_THAN_SHORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the broker stays away where that is not the point.
const ABSENCE: Duration = Duration::from_secs(1);

#[test]
fn a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing() {
    let Some(broker) = Broker::own("a_broker_that_is_killed_and_comes_back", &[]) else { return };
    let mut ledger = Ledger::new(&broker, &ROWS, "killed", "", "");
    ledger.load(PER_SECOND);
    let job = ledger.spawn(&["-p", "2"]);
    for rows in [300, 600] {
        assert!(ledger.wait_for("thirds", rows, PATIENCE_SECONDS) >= rows as u64, "{}", ledger.said());
        broker.kill();
        sleep(ABSENCE);
        broker.run();
    }
    let verdicts = ledger.finish(job, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
}

#[test]
fn a_broker_that_is_frozen_longer_than_transactions_may_last_loses_and_doubles_nothing() {
    let Some(broker) = Broker::own("a_broker_that_is_frozen_longer_than_transactions_may_last", &[]) else { return };
    let mut ledger = Ledger::new(&broker, &WINDOWS, "frozen", "", SHORT_TIMEOUT);
    ledger.load(PER_SECOND);
    let job = ledger.spawn(&["-p", "2"]);
    for rows in [100, 300] {
        assert!(ledger.wait_for("counts", rows, PATIENCE_SECONDS) >= rows as u64, "{}", ledger.said());
        broker.signal("STOP");
        sleep(LONGER_THAN_SHORT_TIMEOUT);
        broker.signal("CONT");
    }
    let verdicts = ledger.finish(job, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
}

#[test]
fn a_job_starts_while_others_commit_without_pause() {
    let Some(broker) = Broker::shared("a_job_starts_while_others_commit_without_pause") else { return };
    let mut ledger = Ledger::new(broker, &ROWS, "busy", "", ", 'sink.commit-topic' = 'busy-commits'");
    broker.ask(&["topics", "busy-commits:1"]);
    let others = broker.begin(&["commit_without_pause", "busy-commits"]);
    ledger.load(PER_SECOND);
    let job = ledger.spawn(&["-p", "1"]);
    assert!(ledger.wait_for("thirds", 100, PATIENCE_SECONDS) >= 100, "{}", ledger.said());
    let commits = others.answer().as_i64();
    assert!(commits > Some(10), "{commits:?} commits of others");
    let verdicts = ledger.finish(job, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
}
