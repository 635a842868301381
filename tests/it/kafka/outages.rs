//! A broker that dies, freezes or cannot be reached, under a job that writes exactly once.

use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::jobs::{Job, Ledger, ROWS, WINDOWS};
use super::proxy::Proxy;
use crate::ports;
use crate::process::Workspace;
use crate::repl::terminal::Terminal;

const PER_SECOND: usize = 500;
const PATIENCE_SECONDS: u64 = 120;
/// Of transactions, in milliseconds; the broker looks every second for those that have taken longer.
const SHORT_TIMEOUT: &str = ", 'properties.transaction.timeout.ms' = '2000'";
const LONGER_THAN_SHORT_TIMEOUT: Duration = Duration::from_secs(5);
const QUICK_RESTARTS: &str = "SET 'restart-strategy.exponential-delay.initial-backoff' = '50 ms';
SET 'restart-strategy.exponential-delay.max-backoff' = '100 ms';";
/// Long enough for the program to know that its broker is gone.
const NOTICED: Duration = Duration::from_secs(4);
/// About a second; the rest is for a busy machine.
const STOP_MAX: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_millis(100);
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
fn a_broker_that_is_away_longer_than_ten_attempts_take_ends_no_job() {
    let Some(broker) = Broker::own("a_broker_that_is_away_longer_than_ten_attempts_take", &[]) else { return };
    let mut ledger = Ledger::new(&broker, &ROWS, "away", QUICK_RESTARTS, SHORT_TIMEOUT);
    ledger.load(PER_SECOND);
    let job = ledger.spawn(&["-p", "2"]);
    assert!(ledger.wait_for("thirds", 300, PATIENCE_SECONDS) >= 300, "{}", ledger.said());
    broker.kill();
    drop(job);
    let job = ledger.spawn(&["-p", "2"]);
    let attempts = || ledger.said().matches("cannot reach the brokers").count();
    wait_until("eleven attempts have failed", || attempts() > 10);
    broker.run();
    let verdicts = ledger.finish(job, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
}

#[test]
fn a_job_that_waits_for_a_broker_ends_at_once_when_it_is_stopped() {
    let Some(broker) = Broker::own("a_job_that_waits_for_a_broker_ends_at_once", &[]) else { return };
    let mut ledger = Ledger::new(&broker, &ROWS, "stopped", QUICK_RESTARTS, "");
    ledger.load(PER_SECOND);
    let mut job = ledger.spawn(&["-p", "2"]);
    assert!(ledger.wait_for("thirds", 300, PATIENCE_SECONDS) >= 300, "{}", ledger.said());
    let stop = |job: &mut Job, what: &str| {
        job.signal("TERM");
        let stopped = Instant::now();
        let status = job.wait_or_kill(STOP_MAX);
        println!("{what}: ended after {:?}", stopped.elapsed());
        assert!(status.is_some_and(|status| status.success()), "{what}: {status:?}: {}", ledger.said());
    };
    broker.kill();
    sleep(NOTICED);
    stop(&mut job, "while it ran");
    for (pause, what) in [(ABSENCE, "in its first attempt"), (NOTICED * 2, "in a later attempt")] {
        job = ledger.spawn(&["-p", "2"]);
        sleep(pause);
        stop(&mut job, what);
    }
    broker.run();
    let job = ledger.spawn(&["-p", "2"]);
    let verdicts = ledger.finish(job, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
}

#[test]
fn a_broker_that_only_a_sink_misses_shows_in_the_status_line() {
    let Some(broker) = Broker::own("a_broker_that_only_a_sink_misses_shows", &[]) else { return };
    broker.ask(&["topics", "out:1"]);
    for guarantee in ["exactly-once", "at-least-once"] {
        let workspace = Workspace::new(&format!(
            "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
CREATE TABLE target (n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'out', 'properties.bootstrap.servers' = '{}', 'format' = 'json',
  'sink.delivery-guarantee' = '{guarantee}');
INSERT INTO target SELECT n FROM numbers;",
            broker.address()
        ));
        let screen = Terminal::open(&workspace, &["run", "job.sql", "--state-dir", "state"]);
        let shows = |text: &str| screen.text().contains(text);
        wait_until("rows come out", || shows("out 1") || shows("out 2"));
        assert!(!shows("unreachable"), "the broker is there");
        broker.kill();
        wait_until("it shows", || shows("Sink(target) unreachable for"));
        drop(screen);
        broker.run();
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(PATIENCE_SECONDS), "{what}: waited too long");
        sleep(LOOK);
    }
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

#[test]
fn a_job_that_died_while_it_committed_holds_no_other_up() {
    let Some(broker) = Broker::shared("a_job_that_died_while_it_committed_holds_no_other_up") else { return };
    let [mut dead, mut other] = [(&ROWS, "dead"), (&WINDOWS, "other")].map(|(job, test)| {
        let mut ledger = Ledger::new(broker, job, test, "", "");
        ledger.load(PER_SECOND);
        ledger
    });
    // It has written what it commits, and the broker waits for minutes before it ends the transaction.
    let mut killed = dead.spawn_with_faults("state", &["-p", "1"], "kafka.recorded=kill@3");
    let ended = killed.wait_or_kill(Duration::from_secs(PATIENCE_SECONDS));
    assert!(ended.is_some_and(|status| !status.success()), "{ended:?}: {}", dead.said());
    let running = other.spawn(&["-p", "1"]);
    other.wait_for_first(PATIENCE_SECONDS);
    let again = dead.spawn(&["-p", "2"]);
    for (ledger, running) in [(&mut other, running), (&mut dead, again)] {
        let verdicts = ledger.finish(running, PATIENCE_SECONDS);
        verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
    }
}

#[test]
fn connections_that_are_slow_or_cut_one_way_lose_and_double_nothing() {
    let proxied = ports::free();
    let listener = TcpListener::bind(("127.0.0.1", proxied)).expect("it is free");
    let Some(broker) = Broker::own_behind("connections_that_are_slow_or_cut_one_way", proxied) else { return };
    let proxy = Proxy::start(listener, broker.second_port());
    let impatient = ", 'properties.transaction.timeout.ms' = '4000', 'properties.socket.timeout.ms' = '2000'";
    let mut ledger = Ledger::new_through(&broker, &format!("127.0.0.1:{proxied}"), &ROWS, "cut", impatient);
    ledger.load(PER_SECOND);
    let job = ledger.spawn(&["-p", "2"]);
    let mut rows = 0;
    let mut further = |ledger: &Ledger<'_>| {
        rows = ledger.wait_for("thirds", rows + 300, PATIENCE_SECONDS) as usize;
        assert!(rows >= 300, "{}", ledger.said());
    };
    further(&ledger);
    proxy.delay(Duration::from_millis(100));
    further(&ledger);
    proxy.delay(Duration::ZERO);
    proxy.lose_answers(true);
    sleep(LONGER_THAN_SHORT_TIMEOUT);
    proxy.lose_answers(false);
    further(&ledger);
    proxy.lose_requests(true);
    sleep(LONGER_THAN_SHORT_TIMEOUT);
    proxy.lose_requests(false);
    further(&ledger);
    let verdicts = ledger.finish(job, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
}

#[test]
fn partitions_that_are_added_while_a_job_runs_are_read_from_their_start() {
    let Some(broker) = Broker::shared("partitions_that_are_added_while_a_job_runs") else { return };
    let ledger = Ledger::new(broker, &ROWS, "grown", "", "");
    let often = "'scan.topic-partition-discovery.interval' = '200 ms', 'scan.startup.mode' =";
    let script = std::fs::read_to_string(ledger.workspace.path("job.sql")).expect("the script");
    ledger.workspace.write("job.sql", &script.replace("'scan.startup.mode' =", often));
    let job = ledger.spawn(&["-p", "2"]);
    ledger.write(0..300, 3);
    assert_eq!(ledger.wait_for("thirds", 100, PATIENCE_SECONDS), 100, "{}", ledger.said());
    broker.ask(&["grow", "grown-rows-numbers", "5"]);
    ledger.write(300..600, 5);
    let verdicts = ledger.finish_with(job, 600, PATIENCE_SECONDS);
    verdicts.iter().for_each(|verdict| verdict.demand_exactly_once());
}
