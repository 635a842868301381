//! An operator with two inputs of different schemas: one may end early or be idle, and both may be one source.

use std::sync::Arc;

use arrow::datatypes::Schema;

use super::kit::*;
use crate::graph::{Exchange, NodeId, NodeKind};
use crate::operator::MAIN_PORT;
use crate::operators::join::{JoinInput, RegularJoin, RowKey};
use crate::operators::row_error::RowErrorPolicy;
use crate::runtime::JobOptions;
use crate::runtime::testing::CollectSink;

/// Joins rows with the counts of their key per window.
fn join(graph: &mut Graph, rows: NodeId, counts: NodeId) -> NodeId {
    let input = |schema: &arrow::datatypes::SchemaRef| JoinInput {
        keys: vec![0],
        schema: schema.clone(),
        row_key: RowKey::WholeRow,
        alone: None,
        lifetime: None,
    };
    let (left, right) = (row_schema(), toy_schema());
    let schema = Arc::new(Schema::new(left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>()));
    let plan = RegularJoin {
        inputs: [input(&left), input(&right)],
        null_fits_null: vec![false],
        condition: None,
        pairs: true,
        ttl_ms: None,
        on_error: RowErrorPolicy::Fail,
        schema: schema.clone(),
    };
    let inputs = [rows, counts].map(|from| super::kit::input(from, MAIN_PORT, Exchange::Hash(vec![0])));
    let id = graph.add("Join", NodeKind::Operator(Arc::new(plan)), inputs.to_vec(), schema);
    graph.node(id).state_signature = Some("a join".into());
    id
}

/// Every row with every count of its key.
fn twin(rows: &[Vec<Row>], counted: &[Vec<Row>]) -> Vec<String> {
    let mut joined = Vec::new();
    for (key, ms) in rows.iter().flatten() {
        let time = chrono::DateTime::from_timestamp_millis(*ms).unwrap().naive_utc().format("%Y-%m-%dT%H:%M:%S%.f");
        for count in expected(counted).0 {
            let values = count.trim_start_matches("+I[").trim_end_matches(']');
            if values.split(", ").next() == Some(key.to_string().as_str()) {
                joined.push(format!("+I[{key}, {time}, {values}]"));
            }
        }
    }
    joined.sort();
    joined
}

#[test]
fn inputs_of_two_schemas_meet_whatever_the_parallelism_and_the_crashes() {
    let (short, long) = (random_splits(21, 1, 12), random_splits(22, 3, 90));
    for parallelism in [1, 3] {
        for crash in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let results = CollectSink::new();
            let mut graph = Graph::default();
            // The short one ends while the other goes on, and has fewer splits than readers, which are idle then.
            let rows = graph.source(Arc::new(SplitsSource::new(short.clone())), None);
            let counted = graph.source(Arc::new(SplitsSource::new(long.clone())), None);
            let counts = graph.windows(counted, ToyWindows::default());
            let joined = join(&mut graph, rows, counts);
            graph.sink(joined, MAIN_PORT, &results);
            let options = JobOptions {
                parallelism,
                batch_rows: 5,
                channel_batches: 1,
                checkpoint_every_batches: Some(3),
                crash_after_checkpoint: crash,
                ..options(folder.path())
            };
            finish(&graph.build(), options);
            assert_eq!(results.sorted_rows(), twin(&short, &long), "{parallelism} {crash}");
        }
    }
}

#[test]
fn a_source_can_be_joined_with_what_is_made_of_it() {
    let splits = random_splits(23, 2, 60);
    let folder = tempfile::tempdir().unwrap();
    let results = CollectSink::new();
    let mut graph = Graph::default();
    let source = graph.source(Arc::new(SplitsSource::new(splits.clone())), None);
    let counts = graph.windows(source, ToyWindows::default());
    let joined = join(&mut graph, source, counts);
    graph.sink(joined, MAIN_PORT, &results);
    let options =
        JobOptions { parallelism: 2, batch_rows: 4, checkpoint_every_batches: Some(2), ..options(folder.path()) };
    finish(&graph.build(), options);
    assert_eq!(results.sorted_rows(), twin(&splits, &splits));
}
