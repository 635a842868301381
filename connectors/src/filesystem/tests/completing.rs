//! Partitions are marked as complete when their time has come, also over a restart, and never before their rows are
//! visible.

use arrow::array::{ArrayRef, Int64Array, StringArray};
use tempfile::TempDir;
use tidemill_engine::operator::Subtask;
use tidemill_engine::sink::{Committer, SinkWriter, WriterContext};
use tidemill_engine::time::{EventTime, ProcessingTime};
use tidemill_engine::{Batch, Epoch};

use super::*;

const OWNER: &str = "job/sink";
const HOUR_MS: i64 = 3_600_000;

/// A sink of one writer that is driven by hand.
struct Driven {
    folder: TempDir,
    spec: TableSpec,
    writer: Box<dyn SinkWriter>,
    committer: Box<dyn Committer>,
    epoch: u64,
}

fn spec(folder: &TempDir, options: &[(&str, &str)]) -> TableSpec {
    let columns = [("id", DataType::Int64), ("day", DataType::Utf8), ("hour", DataType::Int64)];
    let mut all = vec![("format", "csv")];
    all.extend(options);
    let mut spec = table(&folder.path().join("out"), &columns, &all);
    spec.partition_keys = vec!["day".into(), "hour".into()];
    spec
}

fn opened(spec: &TableSpec, attempt: u64, restored: u64) -> (Box<dyn SinkWriter>, Box<dyn Committer>) {
    let sink = Registry::standard().sink(spec, spec.columns.clone()).expect("a sink");
    let mut committer = sink.committer(OWNER).expect("a committer").expect("files are committed");
    committer.discard_unknown(OWNER, Epoch(restored), &[]).expect("nothing to discard");
    let subtask = Subtask { index: 0, parallelism: 1 };
    let context = WriterContext { job_id: OWNER.into(), attempt, subtask, now: ProcessingTime(0) };
    (sink.writer(&context, vec![]).expect("a writer"), committer)
}

impl Driven {
    fn new(options: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let spec = spec(&folder, options);
        let (writer, committer) = opened(&spec, 1, 0);
        Self { folder, spec, writer, committer, epoch: 0 }
    }

    fn write(&mut self, hour: i64, now_ms: i64) -> tidemill_engine::Result<()> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1])),
            Arc::new(StringArray::from(vec!["1970-01-01"])),
            Arc::new(Int64Array::from(vec![hour])),
        ];
        let rows = RecordBatch::try_new(self.spec.columns.clone(), columns).expect("a row");
        self.writer.write(&Batch::new(rows), ProcessingTime(now_ms))
    }

    /// A checkpoint and its commit.
    fn commit(&mut self) {
        self.epoch += 1;
        let prepared = self.writer.prepare(Epoch(self.epoch), false).expect("prepared");
        self.committer.commit(Epoch(self.epoch), &prepared.committables).expect("committed");
        self.committer.commit(Epoch(self.epoch), &prepared.committables).expect("committed again");
    }

    fn restart(&mut self) {
        (self.writer, self.committer) = opened(&self.spec, self.epoch + 10, self.epoch);
    }

    /// Hours of the partitions that are marked.
    fn marked(&self) -> Vec<i64> {
        let is_marked = |hour: &i64| self.partition(*hour).join("_SUCCESS").exists();
        (0..24).filter(is_marked).collect()
    }

    fn partition(&self, hour: i64) -> std::path::PathBuf {
        self.folder.path().join(format!("out/day=1970-01-01/hour={hour}"))
    }
}

const BY_TIME: &[(&str, &str)] = &[
    ("sink.partition-commit.trigger", "partition-time"),
    ("sink.partition-commit.delay", "1 h"),
    ("sink.partition-commit.policy.kind", "success-file"),
    ("partition.time-extractor.timestamp-pattern", "$day $hour:00:00"),
];

#[test]
fn a_partition_is_complete_when_the_watermark_has_passed_its_hour() {
    let mut sink = Driven::new(BY_TIME);
    sink.write(0, 0).expect("written");
    sink.write(1, 0).expect("written");
    sink.writer.on_watermark(EventTime(HOUR_MS));
    sink.commit();
    assert_eq!(sink.marked(), [] as [i64; 0], "not before a row can no longer come");
    sink.writer.on_watermark(EventTime(HOUR_MS + 1));
    sink.commit();
    assert_eq!(sink.marked(), [0]);
    sink.restart();
    sink.writer.on_watermark(EventTime(2 * HOUR_MS + 1));
    assert_eq!(sink.marked(), [0], "a marker comes with a commit");
    sink.commit();
    assert_eq!(sink.marked(), [0, 1], "what was waiting before the restart");
    std::fs::remove_file(sink.partition(0).join("_SUCCESS")).expect("removed");
    sink.write(0, 0).expect("a late row");
    sink.commit();
    assert_eq!(sink.marked(), [0, 1], "a late row's partition is marked again");
}

#[test]
fn a_partition_is_complete_some_time_after_its_first_rows() {
    let mut sink =
        Driven::new(&[("sink.partition-commit.delay", "10 s"), ("sink.partition-commit.policy.kind", "success-file")]);
    sink.write(3, 5_000).expect("written");
    sink.commit();
    sink.writer.on_time(ProcessingTime(15_000)).expect("time passes");
    sink.commit();
    assert_eq!(sink.marked(), [] as [i64; 0]);
    sink.writer.on_time(ProcessingTime(15_001)).expect("time passes");
    sink.commit();
    assert_eq!(sink.marked(), [3]);
}

#[test]
fn a_writer_asks_for_the_clock_only_while_a_file_is_open() {
    let at = |ms| Some(ProcessingTime(ms));
    let mut sink =
        Driven::new(&[("sink.rolling-policy.check-interval", "2 s"), ("sink.rolling-policy.rollover-interval", "5 s")]);
    assert_eq!(sink.writer.next_time(), None);
    sink.write(1, 500).expect("written");
    assert_eq!(sink.writer.next_time(), at(2_000));
    sink.writer.on_time(ProcessingTime(2_010)).expect("time passes");
    assert_eq!(sink.writer.next_time(), at(4_010));
    sink.writer.on_time(ProcessingTime(4_010)).expect("time passes");
    sink.writer.on_time(ProcessingTime(6_010)).expect("time passes");
    assert_eq!(sink.writer.next_time(), None, "the file is old enough to be closed");
}

#[test]
fn unless_asked_for_partitions_are_complete_at_the_end_only() {
    let mut sink = Driven::new(&[]);
    sink.write(3, 5_000).expect("written");
    sink.writer.on_watermark(EventTime::MAX);
    sink.commit();
    assert_eq!(sink.marked(), [] as [i64; 0]);
    sink.committer.finish().expect("finished");
    assert_eq!(sink.marked(), [3]);
}

#[test]
fn a_partition_that_tells_no_time_fails_its_first_row() {
    let mut sink = Driven::new(&[
        ("sink.partition-commit.trigger", "partition-time"),
        ("partition.time-extractor.timestamp-pattern", "$day at $hour"),
    ]);
    let error = sink.write(3, 0).expect_err("no time").to_string();
    assert!(error.contains("'1970-01-01 at 3'") && error.contains("timestamp-pattern"), "{error}");
}

#[test]
fn wrong_commit_options_are_refused_with_what_to_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |options: &[(&str, &str)]| problems(&spec(&folder, options), Usage::Sink);
    let metastore = refused(&[("sink.partition-commit.policy.kind", "metastore,success-file")]);
    assert!(metastore.contains("no metastore is kept here"), "{metastore}");
    let custom = refused(&[("sink.partition-commit.policy.kind", "custom")]);
    assert!(custom.contains("write 'success-file' or 'none'"), "{custom}");
    let zone = refused(&[("sink.partition-commit.watermark-time-zone", "Europe/Nowhere")]);
    assert!(zone.contains("no time zone 'Europe/Nowhere'"), "{zone}");
    let trigger = refused(&[("sink.partition-commit.trigger", "partition-tim")]);
    assert!(trigger.contains("did you mean 'partition-time'"), "{trigger}");
    let mut flat = spec(&folder, &[("sink.partition-commit.trigger", "partition-time")]);
    flat.partition_keys = vec![];
    let flat = problems(&flat, Usage::Sink);
    assert!(flat.contains("needs PARTITIONED BY"), "{flat}");
}
