//! Whole sinks, printing into memory.

use std::io::{self, Write};

use arrow::array::{Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use expect_test::{Expect, expect};
use tidemill_engine::EngineError;
use tidemill_engine::operator::Subtask;

use super::*;
use crate::registry::Registry;

fn rows() -> RecordBatch {
    let schema =
        Schema::new(vec![Field::new("name", DataType::Utf8, true), Field::new("visits", DataType::Int64, true)]);
    let names = StringArray::from(vec![Some("ann"), None, Some("a name that needs more room")]);
    let visits = Int64Array::from(vec![1, 20, 300]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(names), Arc::new(visits)]).expect("rows")
}

fn changes() -> Batch {
    Batch::with_kinds(rows(), Int8Array::from(vec![0, 1, 2]))
}

fn context(index: usize, parallelism: usize) -> WriterContext {
    let subtask = Subtask { index, parallelism };
    WriterContext { job_id: "job".into(), attempt: 1, subtask, now: ProcessingTime(0) }
}

/// What is printed by two writers that get the batches in turn.
fn check(make: impl Fn(&Registry) -> Arc<dyn Sink>, parallelism: usize, batches: &[Batch], expected: Expect) {
    let text = Arc::new(Mutex::new(Vec::new()));
    let sink = make(&Registry::new(Console::into_writer(text.clone())));
    let writers = (0..parallelism).map(|index| sink.writer(&context(index, parallelism), vec![]).expect("a writer"));
    let mut writers: Vec<_> = writers.collect();
    for (turn, batch) in batches.iter().enumerate() {
        writers[turn % parallelism].write(batch, ProcessingTime(0)).expect("printed");
    }
    expected.assert_eq(&String::from_utf8(text.lock().clone()).expect("text"));
}

fn table(options: &[(&str, &str)]) -> TableSpec {
    TableSpec {
        name: "out".into(),
        columns: rows().schema(),
        metadata: vec![],
        partition_keys: vec![],
        primary_key: vec![],
        options: [("connector", "print")].iter().chain(options).map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        time_zone: "UTC".into(),
    }
}

#[test]
fn lines_carry_kind_and_prefix() {
    let sink = |options: &'static [(&str, &str)]| {
        move |registry: &Registry| registry.sink(&table(options), rows().schema()).expect("a sink")
    };
    check(
        sink(&[]),
        1,
        &[changes()],
        expect![[r#"
        +I[ann, 1]
        -U[null, 20]
        +U[a name that needs more room, 300]
    "#]],
    );
    check(
        sink(&[("print-identifier", "out")]),
        1,
        &[Batch::new(rows().slice(0, 1))],
        expect![[r#"
        out> +I[ann, 1]
    "#]],
    );
    check(
        sink(&[("print-identifier", "out"), ("standard-error", "true")]),
        2,
        &[changes(), changes()],
        expect![[r#"
        out:1> +I[ann, 1]
        out:1> -U[null, 20]
        out:1> +U[a name that needs more room, 300]
        out:2> +I[ann, 1]
        out:2> -U[null, 20]
        out:2> +U[a name that needs more room, 300]
    "#]],
    );
}

#[test]
fn a_bare_select_prints_one_table() {
    let sink = |mode| move |registry: &Registry| registry.print_sink(rows().schema(), mode, PrintStyle::Table);
    let first = Batch::new(rows().slice(0, 1));
    check(
        sink(ChangelogMode::Append),
        2,
        &[first, Batch::new(rows())],
        expect![[r#"
            +----------+----------+
            | name     |   visits |
            +----------+----------+
            | ann      |        1 |
            | ann      |        1 |
            | NULL     |       20 |
            | a name that needs more room |      300 |
        "#]],
    );
    check(
        sink(ChangelogMode::Retract),
        1,
        &[changes()],
        expect![[r#"
            +----+-----------------------------+----------+
            | op | name                        |   visits |
            +----+-----------------------------+----------+
            | +I | ann                         |        1 |
            | -U | NULL                        |       20 |
            | +U | a name that needs more room |      300 |
        "#]],
    );
}

/// A pipe whose reader went away.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_an_error_of_its_own() {
    let registry = Registry::new(Console::into_writer(Arc::new(Mutex::new(Closed))));
    let sink = registry.sink(&table(&[]), rows().schema()).expect("a sink");
    let mut writer = sink.writer(&context(0, 1), vec![]).expect("a writer");
    let error = writer.write(&changes(), ProcessingTime(0)).expect_err("nobody reads");
    assert!(matches!(error, EngineError::OutputClosed { .. }), "{error}");
    assert!(!error.is_transient());
}
