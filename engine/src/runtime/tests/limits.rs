//! Jobs whose output is complete before their input has ended.

use std::path::Path;
use std::sync::Arc;

use super::kit::*;
use crate::graph::{Exchange, NodeId, NodeKind, Parallelism};
use crate::operator::MAIN_PORT;
use crate::operators::limit::Limit;
use crate::runtime::testing::CollectSink;
use crate::runtime::{JobOptions, JobSummary, NodeRole, Outcome};

/// Gives so many rows and then nothing, without an end.
fn endless(rows: usize) -> Arc<SplitsSource> {
    let split = (0..=rows as i64).map(|n| (n, n * 10)).collect();
    Arc::new(SplitsSource::with(vec![split], Mischief { stall: Some((0, rows)), ..Mischief::default() }))
}

fn limit(graph: &mut Graph, from: NodeId, fetch: u64) -> NodeId {
    let limit = Limit { skip: 0, fetch: Some(fetch), schema: row_schema() };
    let from = input(from, MAIN_PORT, Exchange::Single);
    let id = graph.add("Limit", NodeKind::Operator(Arc::new(limit)), vec![from], row_schema());
    graph.node(id).parallelism = Parallelism::One;
    graph.node(id).state_signature = Some("limit".into());
    id
}

/// A sink of one instance.
fn sink(graph: &mut Graph, from: NodeId) -> CollectSink {
    let collected = CollectSink::new();
    let id = graph.sink(from, MAIN_PORT, &collected);
    graph.node(id).parallelism = Parallelism::One;
    collected
}

fn worlds(folder: &Path) -> Vec<JobOptions> {
    let each = |name: &str, parallelism, batch_rows, crashes: bool| JobOptions {
        parallelism,
        batch_rows,
        checkpoint_every_batches: crashes.then_some(1),
        crash_after_checkpoint: crashes,
        ..options(&folder.join(name))
    };
    vec![
        each("plain", 1, 8192, false),
        each("parallel", 3, 2, false),
        each("crashes", 1, 1, true),
        each("both", 2, 3, true),
    ]
}

fn rows_read(summary: &JobSummary) -> u64 {
    summary.nodes.iter().filter(|node| node.role == NodeRole::Source).map(|node| node.rows_out).sum()
}

#[test]
fn a_job_ends_once_its_limit_has_its_rows_and_never_reads_on() {
    let folder = tempfile::tempdir().unwrap();
    for options in worlds(folder.path()) {
        let mut graph = Graph::default();
        let source = graph.source(endless(50), None);
        let limited = limit(&mut graph, source, 5);
        let rows = sink(&mut graph, limited);
        let graph = graph.build();
        let summary = run(&graph, options.clone()).unwrap();
        assert_eq!(summary.outcome, Outcome::Satisfied);
        assert_eq!(rows.rows().len(), 5);
        assert!(rows.is_finished());
        let read = rows_read(&summary);
        assert!((5..=50).contains(&read), "{read} rows read");
        let again = run(&graph, options).unwrap();
        assert_eq!(again.outcome, Outcome::AlreadyComplete);
        assert_eq!(rows.rows().len(), 5);
    }
}

#[test]
fn no_rows_are_wanted_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = Graph::default();
    let source = graph.source(endless(0), None);
    let limited = limit(&mut graph, source, 0);
    let rows = sink(&mut graph, limited);
    assert_eq!(run(&graph.build(), options(folder.path())).unwrap().outcome, Outcome::Satisfied);
    assert!(rows.rows().is_empty() && rows.is_finished());
}

#[test]
fn what_stands_behind_a_limit_sees_the_end() {
    let folder = tempfile::tempdir().unwrap();
    for options in worlds(folder.path()) {
        let mut graph = Graph::default();
        let source = graph.source(endless(50), None);
        let limited = limit(&mut graph, source, 7);
        let windows = graph.windows(limited, ToyWindows::default());
        let results = CollectSink::new();
        graph.sink(windows, MAIN_PORT, &results);
        assert_eq!(run(&graph.build(), options).unwrap().outcome, Outcome::Satisfied);
        let expected: Vec<String> = (0..7).map(|key| format!("+I[{key}, 100, 1]")).collect();
        assert_eq!(results.sorted_rows(), expected);
    }
}

#[test]
fn a_source_with_another_reader_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    for options in worlds(folder.path()) {
        let mut graph = Graph::default();
        let source = graph.source(Arc::new(SplitsSource::new(vec![(0..40).map(|n| (n, n)).collect()])), None);
        let limited = limit(&mut graph, source, 3);
        let first = sink(&mut graph, limited);
        let all = CollectSink::new();
        graph.sink(source, MAIN_PORT, &all);
        assert_eq!(run(&graph.build(), options).unwrap().outcome, Outcome::Finished);
        assert_eq!((first.rows().len(), all.rows().len()), (3, 40));
    }
}

#[test]
fn only_the_source_that_nobody_needs_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    for options in worlds(folder.path()) {
        let mut graph = Graph::default();
        let limited = graph.source(endless(20), None);
        let other = graph.source(Arc::new(SplitsSource::new(vec![(0..40).map(|n| (n, n)).collect()])), None);
        let limited = limit(&mut graph, limited, 3);
        let first = sink(&mut graph, limited);
        let all = CollectSink::new();
        graph.sink(other, MAIN_PORT, &all);
        assert_eq!(run(&graph.build(), options).unwrap().outcome, Outcome::Satisfied);
        assert_eq!((first.rows().len(), all.rows().len()), (3, 40));
    }
}
