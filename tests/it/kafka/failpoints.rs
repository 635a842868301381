//! Strikes at each named place between a barrier and the end of its commit, and at a start: with kills, errors and delays, alone and one
//! right after another.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tidemill_engine::failpoint::PLACES;

use super::broker::Broker;
use super::jobs::{Ledger, LedgerJob, ROWS, WINDOWS};

const PER_SECOND: usize = 1_000;
const PATIENCE_SECONDS: u64 = 120;
/// A run that is to be struck ends long before.
const STRIKE_MAX: Duration = Duration::from_secs(120);
/// All pairs instead of some: takes half an hour.
const ALL_VARIABLE: &str = "TIDEMILL_KAFKA_EVERY_PAIR";
/// Faults of which each stands once behind each, in the ordinary run.
const FAULTS_OF_SAMPLE: usize = 5;

/// Places that are come to once in each attempt, at its start, in their order.
const AT_START: [&str; 3] = ["kafka.open", "kafka.opened", "kafka.claim"];
/// Places that each of two writers comes to in an epoch; to the others, one does.
const OF_WRITERS: [&str; 2] = ["kafka.prepare", "kafka.prepared"];
const ACTIONS: [&str; 3] = ["kill", "error", "delay:300"];
/// Behind faults that end no run: that it was reached shows that they all struck.
const LAST: &str = "checkpoint.committed=kill@2";

#[test]
fn a_kill_at_any_place_of_a_commit_loses_and_doubles_nothing() {
    strike("a_kill_at_any_place_of_a_commit", "alone", &ROWS, PLACES.iter().map(|place| alone(place, "kill")));
}

#[test]
fn a_job_goes_on_by_itself_after_an_error_at_any_place_of_a_commit() {
    let faults = PLACES.iter().map(|place| alone(place, "error")).collect::<Vec<_>>().join(",");
    strike("a_job_goes_on_by_itself_after_an_error", "errors", &WINDOWS, [format!("{faults},{LAST}")]);
}

#[test]
fn a_delay_at_any_place_of_a_commit_loses_and_doubles_nothing() {
    let faults = PLACES.iter().map(|place| alone(place, "delay:700")).collect::<Vec<_>>().join(",");
    strike("a_delay_at_any_place_of_a_commit", "delays", &ROWS, [format!("{faults},{LAST}")]);
}

#[test]
fn a_fault_right_after_another_loses_and_doubles_nothing() {
    let mut places = PLACES.to_vec();
    places.shuffle(&mut ChaCha8Rng::seed_from_u64(23));
    let turns = ACTIONS.len();
    // Each place with each action, so that actions take turns.
    let all = (0..turns).flat_map(|turn| (0..places.len()).map(move |index| (index, (index + turn) % turns)));
    let mut all: Vec<Fault> = all.map(|(place, action)| (places[place], ACTIONS[action])).collect();
    if std::env::var_os(ALL_VARIABLE).is_none() {
        all.truncate(FAULTS_OF_SAMPLE);
    }
    let faults = each_behind_each(&all);
    println!("{} pairs of faults", faults.len() - 1);
    strike("a_fault_right_after_another", "pairs", &WINDOWS, runs(&faults));
}

/// Place and action.
type Fault = (&'static str, &'static str);

/// Some epochs into an attempt, or at its start.
fn alone(place: &str, action: &str) -> String {
    let per_epoch = if OF_WRITERS.contains(&place) { 2 } else { 1 };
    let time = if AT_START.contains(&place) { 1 } else { 3 * per_epoch };
    format!("{place}={action}@{time}")
}

/// A row in which each fault stands right behind each, itself included, once (a de Bruijn sequence).
fn each_behind_each(faults: &[Fault]) -> Vec<Fault> {
    let mut row = Vec::new();
    for (index, one) in faults.iter().enumerate() {
        row.push(*one);
        faults[index + 1..].iter().for_each(|other| row.extend([*one, *other]));
    }
    row.extend(faults.first());
    row
}

/// Cuts a row of faults into runs of the program: each ends with a kill.
fn runs(row: &[Fault]) -> Vec<String> {
    let (mut runs, mut run) = (Vec::new(), Vec::new());
    // The first place of a start that is still ahead.
    let mut ahead = 0;
    for (index, (place, action)) in row.iter().enumerate() {
        let step = AT_START.iter().position(|start| start == place);
        if step.is_some_and(|step| step < ahead) {
            // Nothing but a failure brings the job there again.
            run.push("checkpoint.durable=error@1".to_string());
        }
        // One epoch later every other time.
        let time = if step.is_some() { 1 } else { 1 + index % 2 };
        run.push(format!("{place}={action}@{time}"));
        ahead = match (*action, step) {
            ("kill" | "error", _) => 0,
            (_, Some(step)) => step + 1,
            (_, None) => AT_START.len(),
        };
        if *action == "kill" {
            runs.push(std::mem::take(&mut run).join(","));
        }
    }
    if !run.is_empty() {
        run.push(LAST.to_string());
        runs.push(run.join(","));
    }
    runs
}

#[test]
fn each_fault_stands_behind_each_once() {
    let faults: Vec<Fault> = PLACES.iter().flat_map(|place| ACTIONS.map(|action| (*place, action))).collect();
    let row = each_behind_each(&faults);
    let pairs: std::collections::HashSet<(Fault, Fault)> = row.windows(2).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!((row.len() - 1, pairs.len()), (faults.len() * faults.len(), faults.len() * faults.len()));
}

/// Runs the job with one list of faults after the other, each of which ends in a kill, and then without any to its end.
fn strike(test: &str, name: &str, job: &'static LedgerJob, faults: impl IntoIterator<Item = String>) {
    let Some(broker) = Broker::shared(test) else { return };
    let settings = "SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
SET 'restart-strategy.exponential-delay.max-backoff' = '50 ms';
SET 'tidemill.restart.attempts-without-progress' = '1000000';";
    let mut ledger = Ledger::new(broker, job, name, settings, "");
    ledger.load(PER_SECOND);
    let (mut runs, begun) = (0, Instant::now());
    for faults in faults {
        let mut running = ledger.spawn_with_faults("state", &["-p", "2"], &faults);
        let ended = running.wait_or_kill(STRIKE_MAX);
        let killed = ended.is_some_and(|status| status.signal().is_some());
        assert!(killed, "after {runs} runs, {faults}: it was not killed there: {ended:?}: {}", ledger.said());
        runs += 1;
    }
    let last = ledger.spawn(&["-p", "2"]);
    let verdicts = ledger.finish(last, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
    println!("{runs} runs were killed where it was asked for, in {:?}: exactly once", begun.elapsed());
}
