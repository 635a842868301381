//! Results are those of the slow twin, whatever the parallelism, the batch size, the crashes and the restarts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::kit::*;
use crate::graph::{Exchange, NodeKind};
use crate::operator::{MAIN_PORT, SIDE_PORT};
use crate::operators::calc::Calc;
use crate::operators::row_error::RowErrorPolicy;
use crate::runtime::testing::CollectSink;
use crate::runtime::{JobOptions, JobState, NodeRole, Outcome, Restore, start};
use crate::source::{Boundedness, rejected_schema};
use crate::{EngineError, Epoch};

fn check(name: &str, splits: &[Vec<Row>], adjust: impl Fn(JobOptions) -> JobOptions) {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(SplitsSource::new(splits.to_vec()));
    let summary = finish(&pipeline.graph, adjust(options(folder.path())));
    let (results, late) = expected(splits);
    assert_eq!(pipeline.results.sorted_rows(), results, "{name}");
    assert_eq!(pipeline.late.sorted_rows(), late, "{name}");
    assert!(pipeline.results.is_finished(), "{name}");
    assert_eq!(summary.restarts, 0, "{name}: a deliberate crash is no failure");
    for sink in summary.nodes.iter().filter(|node| node.role == NodeRole::Sink) {
        let taken = sink.latency.map_or(0, |latency| latency.rows);
        assert!(taken <= sink.rows_in && (taken == sink.rows_in || name.contains("crash") || name.contains("seed")));
    }
}

#[test]
fn results_do_not_depend_on_parallelism_batch_size_or_crashes() {
    let splits = random_splits(1, 5, 120);
    for parallelism in [1, 2, 7] {
        for batch_rows in [1, 16, 8192] {
            check(&format!("plain {parallelism} {batch_rows}"), &splits, |options| JobOptions {
                parallelism,
                batch_rows,
                ..options
            });
        }
        check(&format!("crashes {parallelism}"), &splits, |options| JobOptions {
            parallelism,
            batch_rows: 16,
            checkpoint_every_batches: Some(3),
            crash_after_checkpoint: true,
            ..options
        });
    }
}

#[test]
fn a_crash_behind_every_batch_changes_nothing() {
    for (seed, rows_per_batch) in [(2, 1), (3, 7)] {
        let splits = random_splits(seed, 3, 20);
        check(&format!("seed {seed}"), &splits, |options| JobOptions {
            batch_rows: rows_per_batch,
            checkpoint_every_batches: Some(1),
            crash_after_checkpoint: true,
            ..options
        });
    }
}

#[test]
fn more_splits_than_readers_may_stay_open() {
    check("many splits", &random_splits(4, 50, 9), |options| JobOptions { batch_rows: 2, ..options });
}

#[test]
fn an_input_without_rows_or_splits_finishes() {
    check("no split", &[], |options| JobOptions { parallelism: 2, ..options });
    check("empty splits", &[vec![], vec![]], |options| options);
}

#[test]
fn tiny_channels_and_batches_do_not_deadlock() {
    let splits = random_splits(5, 6, 200);
    check("tiny", &splits, |options| JobOptions {
        parallelism: 3,
        batch_rows: 4,
        batch_bytes: 1,
        channel_batches: 1,
        checkpoint_every_batches: Some(2),
        ..options
    });
}

#[test]
fn a_second_run_of_a_finished_job_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let splits = random_splits(6, 2, 50);
    let pipeline = pipeline(SplitsSource::new(splits.clone()));
    let first = finish(&pipeline.graph, options(folder.path()));
    let again = run(&pipeline.graph, options(folder.path())).unwrap();
    assert_eq!((again.outcome, again.epoch), (Outcome::AlreadyComplete, first.epoch));
    assert_eq!(pipeline.results.sorted_rows(), expected(&splits).0);
}

/// A source that cannot finish before it is told.
fn stalling(splits: &[Vec<Row>], split: usize, rows: usize) -> Arc<SplitsSource> {
    Arc::new(SplitsSource::with(splits.to_vec(), Mischief { stall: Some((split, rows)), ..Mischief::default() }))
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_stopped_job_goes_on_where_it_was_even_at_another_parallelism() {
    let splits = random_splits(7, 4, 80);
    for (before, after) in [(1, 1), (2, 7), (7, 2), (3, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let source = stalling(&splits, 2, 40);
        let mischief = Arc::clone(&source.mischief);
        let pipeline = pipeline_with(source, ToyWindows::default(), None);
        let job = start(pipeline.graph.clone(), JobOptions { parallelism: before, ..options(folder.path()) }).unwrap();
        until("reading", || job.status().nodes[0].rows_in >= 60);
        job.stop();
        assert_eq!(job.wait().unwrap().outcome, Outcome::Stopped);
        assert_eq!(job.status().state, JobState::Finished);
        assert!(!pipeline.results.is_finished());
        mischief.released.store(true, Ordering::Relaxed);
        let options = JobOptions { parallelism: after, ..options(folder.path()) };
        finish(&pipeline.graph, options);
        let (results, late) = expected(&splits);
        assert_eq!(pipeline.results.sorted_rows(), results, "{before} to {after}");
        assert_eq!(pipeline.late.sorted_rows(), late, "{before} to {after}");
    }
}

#[test]
fn a_savepoint_starts_another_job_at_another_parallelism() {
    let splits = random_splits(8, 4, 80);
    let folder = tempfile::tempdir().unwrap();
    let source = stalling(&splits, 1, 30);
    let mischief = Arc::clone(&source.mischief);
    let first = pipeline_with(source, ToyWindows::default(), None);
    let state = folder.path().join("a");
    let job = start(first.graph.clone(), JobOptions { parallelism: 2, ..options(&state) }).unwrap();
    until("reading", || job.status().nodes[0].rows_in >= 50);
    let savepoint = job.savepoint(&folder.path().join("savepoint")).unwrap();
    job.cancel();
    assert_eq!(job.wait().unwrap().outcome, Outcome::Cancelled);

    mischief.released.store(true, Ordering::Relaxed);
    // The same sinks: what the savepoint's epoch published must not be published again by the job that goes on from it.
    let other = folder.path().join("b");
    let restore = Restore::From(savepoint.clone());
    let summary = finish(&first.graph, JobOptions { parallelism: 3, restore, ..options(&other) });
    assert!(summary.epoch > Epoch(1), "epochs go on from the savepoint's");
    assert_eq!(first.results.sorted_rows(), expected(&splits).0);
    assert_eq!(first.late.sorted_rows(), expected(&splits).1);
}

#[test]
fn periodic_checkpoints_run_beside_the_rows() {
    let splits = random_splits(9, 3, 300);
    let folder = tempfile::tempdir().unwrap();
    let mischief = Mischief { slow: Some(Duration::from_millis(2)), ..Mischief::default() };
    let pipeline = pipeline(SplitsSource::with(splits.clone(), mischief));
    let interval = Some(Duration::from_millis(20));
    let options = JobOptions { checkpoint_interval: interval, batch_rows: 4, parallelism: 2, ..options(folder.path()) };
    let summary = finish(&pipeline.graph, options);
    assert!(summary.checkpoints > 2, "only {} checkpoints", summary.checkpoints);
    assert_eq!(pipeline.results.sorted_rows(), expected(&splits).0);
    let kept = std::fs::read_dir(folder.path().join("checkpoints")).unwrap().count();
    assert!(kept <= 3, "{kept} checkpoints are kept");
}

#[test]
fn several_inputs_are_read_together_and_a_node_may_have_several_readers() {
    let splits = random_splits(10, 4, 60);
    for parallelism in [1, 3] {
        for crash in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (results, copy) = (CollectSink::new(), CollectSink::new());
            let mut graph = Graph::default();
            let left = graph.source(Arc::new(SplitsSource::new(splits[..2].to_vec())), None);
            let right = graph.source(Arc::new(SplitsSource::new(splits[2..].to_vec())), None);
            let exchanges = [(left, Exchange::Forward), (right, Exchange::Rebalance)];
            let union = graph.calc(exchanges.map(|(from, exchange)| input(from, MAIN_PORT, exchange)).to_vec());
            let windows = graph.windows(union, ToyWindows::default());
            graph.sink(windows, MAIN_PORT, &results);
            graph.sink(right, MAIN_PORT, &copy);
            let options = JobOptions {
                parallelism,
                batch_rows: 8,
                checkpoint_every_batches: Some(4),
                crash_after_checkpoint: crash,
                ..options(folder.path())
            };
            finish(&graph.build(), options);
            assert_eq!(results.sorted_rows(), expected(&splits).0, "{parallelism} {crash}");
            assert_eq!(copy.rows().len(), 120, "{parallelism} {crash}");
        }
    }
}

#[test]
fn a_diamond_over_one_source_neither_blocks_nor_doubles() {
    let splits = random_splits(11, 2, 100);
    let folder = tempfile::tempdir().unwrap();
    let results = CollectSink::new();
    let mut graph = Graph::default();
    let source = graph.source(Arc::new(SplitsSource::new(splits.clone())), None);
    let near = graph.calc(vec![input(source, MAIN_PORT, Exchange::Forward)]);
    let far = graph.calc(vec![input(source, MAIN_PORT, Exchange::Rebalance)]);
    let inputs = vec![input(near, MAIN_PORT, Exchange::Forward), input(far, MAIN_PORT, Exchange::Forward)];
    let union = graph.calc(inputs);
    let windows = graph.windows(union, ToyWindows::default());
    graph.sink(windows, MAIN_PORT, &results);
    let options = JobOptions {
        parallelism: 2,
        batch_rows: 3,
        channel_batches: 1,
        checkpoint_every_batches: Some(3),
        ..options(folder.path())
    };
    finish(&graph.build(), options);
    let doubled: Vec<Vec<Row>> = splits.iter().flat_map(|split| [split.clone(), split.clone()]).collect();
    assert_eq!(results.sorted_rows(), expected(&doubled).0);
}

#[test]
fn rejected_records_are_counted_and_can_be_read() {
    let splits = random_splits(12, 2, 60);
    let bad = splits.iter().flatten().filter(|row| row.0 == 4).count();
    let folder = tempfile::tempdir().unwrap();
    let mischief = Mischief { rejected_key: Some(4), ..Mischief::default() };
    let (results, errors) = (CollectSink::new(), CollectSink::new());
    let mut graph = Graph::default();
    let source = graph.source(Arc::new(SplitsSource::with(splits.clone(), mischief)), None);
    graph.sink(source, MAIN_PORT, &results);
    let pass = Calc {
        name: "Errors".into(),
        filter: None,
        columns: None,
        schema: rejected_schema(),
        on_error: RowErrorPolicy::Fail,
    };
    let inputs = vec![input(source, SIDE_PORT, Exchange::Rebalance)];
    let pass = graph.add("Errors", NodeKind::Operator(Arc::new(pass)), inputs, rejected_schema());
    graph.sink(pass, MAIN_PORT, &errors);
    let options =
        JobOptions { batch_rows: 5, checkpoint_every_batches: Some(2), parallelism: 2, ..options(folder.path()) };
    let summary = finish(&graph.build(), options);
    assert_eq!(summary.errors(), bad as u64);
    assert_eq!(errors.rows().len(), bad);
    assert_eq!(results.rows().len(), 120 - bad);
    assert_eq!(summary.rows_read(), 120 - bad as u64);
}

#[test]
fn an_unbounded_job_can_be_stopped_into_a_savepoint() {
    let splits = random_splits(13, 2, 30);
    let folder = tempfile::tempdir().unwrap();
    let mut source = SplitsSource::with(splits, Mischief { stall: Some((0, 10)), ..Mischief::default() });
    source.boundedness = Boundedness::Unbounded;
    let pipeline = pipeline(source);
    let job = start(pipeline.graph.clone(), options(&folder.path().join("state"))).unwrap();
    until("reading", || job.status().nodes[0].rows_in >= 20);
    let target = folder.path().join("savepoint");
    assert_eq!(job.stop_with_savepoint(&target).unwrap(), target);
    assert_eq!(job.wait().unwrap().outcome, Outcome::Stopped);
    assert!(matches!(job.checkpoint(), Err(EngineError::Unsupported(_))), "it has ended");
    assert!(target.join("MANIFEST").is_file());
}

#[test]
fn figures_are_exact_over_crashes_and_restarts_of_the_process() {
    let splits = random_splits(14, 3, 60);
    let late = expected(&splits).1.len() as u64;
    let folder = tempfile::tempdir().unwrap();
    let source = stalling(&splits, 1, 20);
    let mischief = Arc::clone(&source.mischief);
    let pipeline = pipeline_with(source, ToyWindows::default(), None);
    let job = JobOptions { batch_rows: 4, parallelism: 2, ..options(folder.path()) };
    let running = start(pipeline.graph.clone(), job.clone()).unwrap();
    until("reading", || running.status().nodes[0].rows_in >= 40);
    running.checkpoint().unwrap();
    drop(running);
    mischief.released.store(true, Ordering::Relaxed);
    let crashing = JobOptions { checkpoint_every_batches: Some(3), crash_after_checkpoint: true, ..job };
    let summary = finish(&pipeline.graph, crashing);
    assert_eq!(summary.rows_read(), 180);
    assert_eq!(summary.late(), late);
    assert_eq!(summary.rows_written(), (pipeline.results.rows().len() + pipeline.late.rows().len()) as u64);
}
