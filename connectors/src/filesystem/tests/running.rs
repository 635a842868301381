//! Files in, files out, in a whole running job: whatever the parallelism and the crashes, each row once.

use std::fs;

use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use tidemill_engine::graph::{ChangelogMode, Exchange, Input, JobGraph, Node, NodeId, NodeKind, Parallelism};
use tidemill_engine::operator::MAIN_PORT;
use tidemill_engine::runtime::{JobOptions, Outcome, start};
use tidemill_engine::source::SourceSpec;

use super::*;

const COLUMNS: &[(&str, DataType)] = &[("id", DataType::Int64), ("kind", DataType::Utf8)];
const ROWS: i64 = 500;

/// A job that copies a table.
fn copy(from: &TableSpec, to: &TableSpec) -> JobGraph {
    let registry = Registry::standard();
    let input = registry.source(from, &names(from)).expect("a source");
    let schema = input.schema();
    let column = |(index, name): (usize, String)| Arc::new(Column::new(&name, index)) as Arc<dyn PhysicalExpr>;
    let columns = names(from).into_iter().enumerate().map(column).collect();
    let node = |id: usize, name: &str, kind, inputs| Node {
        id: NodeId(id),
        name: name.to_string(),
        uid: name.to_string(),
        kind,
        inputs,
        parallelism: Parallelism::Job,
        schema: schema.clone(),
        changelog: ChangelogMode::Append,
        details: vec![],
        state_signature: None,
    };
    let source = NodeKind::Source(SourceSpec { source: input, columns, watermark: None });
    let sink = NodeKind::Sink(registry.sink(to, schema.clone()).expect("a sink"));
    let edge = Input { from: NodeId(0), port: MAIN_PORT, exchange: Exchange::Rebalance };
    JobGraph::new("copy".to_string(), vec![node(0, "source", source, vec![]), node(1, "sink", sink, vec![edge])])
}

fn write_input(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    for file in 0..3 {
        let ids = (0..ROWS).filter(|id| id % 3 == file);
        let lines: String = ids.map(|id| format!("{{\"id\":{id},\"kind\":\"k{}\"}}\n", id % 4)).collect();
        fs::write(folder.join(format!("{file}.json")), lines).expect("written");
    }
}

fn check(options: &[(&str, &str)], partitioned: bool, parallelism: usize, crash: bool) {
    let context = format!("{options:?} partitioned={partitioned} parallelism={parallelism} crash={crash}");
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    write_input(&input);
    let from = table(&input, COLUMNS, &[("format", "json"), ("source.split.size", "1kb")]);
    let mut to = table(&output, COLUMNS, options);
    if partitioned {
        to.partition_keys = vec!["kind".into()];
    }
    let job = JobOptions {
        parallelism,
        batch_rows: 16,
        checkpoint_every_batches: Some(4),
        crash_after_checkpoint: crash,
        checkpoint_interval: None,
        ..JobOptions::new("copy", folder.path().join("state"))
    };
    let summary = start(Arc::new(copy(&from, &to)), job).expect("started").wait().expect("finished");
    assert_eq!(summary.outcome, Outcome::Finished, "{context}");
    let copied = source(&to, &names(&to));
    let mut all = vec![];
    for split in copied.discover().expect("splits") {
        all.extend(ids(&read(&copied, &split, None, 100).expect("rows").0));
    }
    all.sort_unstable();
    assert_eq!(all, (0..ROWS).collect::<Vec<_>>(), "{context}");
    assert!(output.join("_SUCCESS").exists(), "{context}");
}

#[test]
fn a_copy_of_files_has_each_row_once() {
    let keep_open = ("sink.rolling-policy.on-checkpoint", "false");
    let worlds: [&[(&str, &str)]; 4] = [
        &[("format", "json")],
        &[("format", "json"), keep_open, ("compression", "gzip")],
        &[("format", "csv"), keep_open, ("csv.header", "true")],
        &[("format", "parquet")],
    ];
    for options in worlds {
        for (parallelism, crash) in [(1, true), (2, false), (3, true)] {
            check(options, parallelism > 1, parallelism, crash);
        }
    }
}
