//! Strikes at each named place between a barrier and the end of its commit, and at a start: alone, and two in a row.

use std::time::Duration;

use tidemill_engine::failpoint::PLACES;

use super::broker::Broker;
use super::jobs::{Ledger, LedgerJob, ROWS, WINDOWS};

const PER_SECOND: usize = 1_000;
const PATIENCE_SECONDS: u64 = 120;
/// A run that is to be struck ends long before.
const STRIKE_MAX: Duration = Duration::from_secs(60);
/// All pairs, and all actions at each place, instead of some: takes many minutes.
const ALL_VARIABLE: &str = "TIDEMILL_KAFKA_EVERY_PAIR";

#[test]
fn a_kill_at_any_place_of_a_commit_loses_and_doubles_nothing() {
    let faults = PLACES.iter().map(|place| fault(place, "kill")).collect();
    strike("a_kill_at_any_place_of_a_commit", "alone", &ROWS, faults);
}

#[test]
fn an_error_or_a_delay_at_any_place_and_then_a_kill_at_another_lose_and_double_nothing() {
    let test = "an_error_or_a_delay_at_any_place_and_then_a_kill_at_another";
    strike(test, "pairs", &WINDOWS, pairs(std::env::var_os(ALL_VARIABLE).is_some()));
}

/// Places that are come to once in each attempt, at its start.
const AT_START: [&str; 3] = ["kafka.open", "kafka.opened", "kafka.claim"];
/// Places that each of two writers comes to in an epoch; to the others, one does.
const OF_WRITERS: [&str; 2] = ["kafka.prepare", "kafka.flushed"];

/// In the first attempt: at its start, or some epochs later.
fn fault(place: &str, action: &str) -> String {
    let time = if AT_START.contains(&place) { 1 } else { 3 * per_epoch(place) };
    format!("{place}={action}@{time}")
}

/// A kill behind such a fault: after the restart that it causes, or more epochs later.
fn later_kill(place: &str) -> String {
    let time = if AT_START.contains(&place) { 2 } else { 8 * per_epoch(place) };
    format!("{place}=kill@{time}")
}

fn per_epoch(place: &str) -> usize {
    if OF_WRITERS.contains(&place) { 2 } else { 1 }
}

fn pairs(all: bool) -> Vec<String> {
    let count = PLACES.len();
    let shifts = if all { 0..count } else { 4..5 };
    let mut pairs = Vec::new();
    for shift in shifts {
        for (index, first) in PLACES.iter().enumerate() {
            let second = PLACES[(index + shift) % count];
            // Without a restart no attempt starts a second time.
            let may_delay = !AT_START.contains(&second);
            let error = all || !may_delay || index % 2 == 0;
            let delay = may_delay && (all || !error);
            let actions = [(error, "error"), (delay, "delay:300")];
            let chosen = actions.iter().filter(|(chosen, _)| *chosen);
            pairs.extend(chosen.map(|(_, action)| format!("{},{}", fault(first, action), later_kill(second))));
        }
    }
    pairs
}

fn strike(test: &str, name: &str, job: &'static LedgerJob, faults: Vec<String>) {
    let Some(broker) = Broker::shared(test) else { return };
    let mut ledger =
        Ledger::new(broker, job, name, "SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';", "");
    ledger.load(PER_SECOND);
    let mut killed = 0;
    for faults in &faults {
        let mut running = ledger.spawn_with_faults("state", &["-p", "2"], faults);
        let ended = running.wait_or_kill(STRIKE_MAX);
        let signal = ended.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
        killed += usize::from(signal.is_some());
        assert!(ended.is_none() || signal.is_some(), "{faults}: it ended by itself: {ended:?}: {}", ledger.said());
    }
    let last = ledger.spawn(&["-p", "2"]);
    let verdicts = ledger.finish(last, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
    println!("{killed} of {} runs were killed where it was asked for: exactly once", faults.len());
    assert_eq!(killed, faults.len(), "a run did not come to its place");
}
