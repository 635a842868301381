//! Kills the real program at random moments while records come in, and demands that a reader of committed rows sees each result once.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::broker::Broker;
use super::jobs::{Ledger, LedgerJob, ROWS, WINDOWS};

/// Kills of each job in the ordinary test run; `TIDEMILL_KAFKA_KILLS` asks for more, of both together.
const KILLS_DEFAULT: usize = 40;
/// Numbered records.
const PER_SECOND: usize = 1_000;
/// How long the last run may take to come to the end of its input.
const PATIENCE_SECONDS: u64 = 120;

#[test]
fn random_kills_lose_and_double_no_row_in_two_topics() {
    random_kills("random_kills_lose_and_double_no_row_in_two_topics", &ROWS, 21);
}

#[test]
fn random_kills_lose_and_double_no_window() {
    random_kills("random_kills_lose_and_double_no_window", &WINDOWS, 22);
}

fn random_kills(test: &str, job: &'static LedgerJob, seed: u64) {
    let Some(broker) = Broker::shared(test) else { return };
    let asked = std::env::var("TIDEMILL_KAFKA_KILLS").ok().and_then(|text| text.parse().ok());
    let kills = asked.unwrap_or(KILLS_DEFAULT) / 2;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut ledger = Ledger::new(broker, job, "kills", "", "");
    ledger.load(PER_SECOND);
    let begun = Instant::now();
    // As long as a start takes here and now, and half as long again: most kills are to meet rows on their way.
    let first = ledger.spawn(&["-p", "2"]);
    ledger.wait_for_first(PATIENCE_SECONDS);
    let kill_within_ms = (begun.elapsed().as_millis() as u64).max(1_500) * 3 / 2;
    drop(first);
    for _ in 1..kills {
        let parallelism = if rng.random_bool(0.5) { "1" } else { "2" };
        let mut running = ledger.spawn(&["-p", parallelism]);
        let ended = running.wait_or_kill(Duration::from_millis(rng.random_range(100..kill_within_ms)));
        assert!(ended.is_none(), "the program ended by itself: {ended:?}: {}", ledger.said());
    }
    let last = ledger.spawn(&["-p", "2"]);
    let verdicts = ledger.finish(last, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
    let hidden: u64 = verdicts.iter().map(|verdict| verdict.never_visible()).sum();
    println!("{kills} kills in {:?}: exactly once, and {hidden} rows of killed runs stay hidden", begun.elapsed());
    assert!(hidden > 0, "no kill came between the first row of an epoch and its commit");
}
