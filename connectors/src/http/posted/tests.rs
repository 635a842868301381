//! Rows are posted from several threads and read while that goes on, with restarts in between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMillisecondType};
use parking_lot::Mutex;
use tidemill_engine::Result;
use tidemill_engine::source::{Position, Read, Source, SplitReader};

use super::*;
use crate::table::{MetadataColumn, TableSpec};

/// The log of one folder.
#[derive(Debug)]
struct OneFolder {
    folder: PathBuf,
    opened: Mutex<Option<Arc<Inbox>>>,
    floor: AtomicU64,
}

impl Inboxes for OneFolder {
    fn reads(&self, _table: &PostedTable) {}

    fn open(&self, table: &PostedTable) -> Result<Arc<Inbox>> {
        let mut opened = self.opened.lock();
        if opened.is_none() {
            let inbox = Inbox::open(&self.folder, table.limits.clone(), |_| Mark::default())?;
            *opened = Some(Arc::new(inbox));
        }
        Ok(Arc::clone(opened.as_ref().expect("just set")))
    }

    fn floor(&self, _inbox: &Inbox) -> Option<u64> {
        Some(self.floor.load(Ordering::SeqCst))
    }
}

fn spec(options: &[(&str, &str)]) -> TableSpec {
    let mut all = BTreeMap::from([("connector".to_string(), "http".to_string()), ("format".into(), "json".into())]);
    all.extend(options.iter().map(|(key, value)| (key.to_string(), value.to_string())));
    let metadata = [("n", "sequence", DataType::Int64)].map(|(name, key, data_type)| MetadataColumn {
        name: name.into(),
        key: key.into(),
        data_type,
        is_virtual: true,
    });
    TableSpec {
        name: "t".into(),
        columns: Arc::new(Schema::new(vec![
            Field::new("v", DataType::Int64, false),
            Field::new("s", DataType::Utf8, true),
        ])),
        metadata: metadata.to_vec(),
        partition_keys: Vec::new(),
        primary_key: Vec::new(),
        options: all,
        time_zone: "UTC".into(),
    }
}

struct Fixture {
    inboxes: Arc<OneFolder>,
    table: PostedTable,
    spec: TableSpec,
}

impl Fixture {
    fn new(folder: &Path, options: &[(&str, &str)]) -> Self {
        let opened = Mutex::default();
        let inboxes = Arc::new(OneFolder { folder: folder.join("t"), opened, floor: AtomicU64::new(u64::MAX) });
        let spec = spec(options);
        Self { inboxes, table: PostedTable::of(&spec).unwrap(), spec }
    }

    fn inbox(&self) -> Arc<Inbox> {
        self.inboxes.open(&self.table).unwrap()
    }

    fn source(&self) -> PostedSource {
        let columns = ["n".to_string(), "v".to_string()];
        PostedSource::new(&self.spec, &columns, self.inboxes.clone()).unwrap()
    }

    fn post(&self, body: &str, key: Option<&str>) -> Result<Receipt, NotTaken> {
        let rows = self.table.check(body.as_bytes()).unwrap();
        self.inbox().append(rows, key.map(str::to_string), now_ms())
    }
}

fn open(source: &PostedSource, position: Option<&Position>) -> Box<dyn SplitReader> {
    source.open(&source.discover().unwrap()[0], position).unwrap()
}

/// Number and value of all rows that are there.
fn read_all(reader: &mut dyn SplitReader, rows_max: usize) -> Vec<(i64, i64)> {
    let mut all = Vec::new();
    while let Read::Rows { rows, .. } = reader.next(rows_max).unwrap() {
        let column = |index| rows.rows().column(index).as_primitive::<Int64Type>().values().to_vec();
        all.extend(column(0).into_iter().zip(column(1)));
    }
    all
}

#[test]
fn rows_of_many_posts_at_a_time_are_read_once_each_in_their_order_whatever_the_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut read = Vec::new();
    let mut position = None;
    for round in 0..3 {
        let fixture = Fixture::new(folder.path(), &[("http.log.max-size", "1mb"), ("http.backlog.max-size", "1mb")]);
        let (source, inbox) = (fixture.source(), fixture.inbox());
        let mut reader = open(&source, position.as_ref());
        std::thread::scope(|scope| {
            for client in 0..4 {
                let fixture = &fixture;
                scope.spawn(move || {
                    for request in 0..100 {
                        let value = round * 10_000 + client * 1_000 + request;
                        let receipt = fixture.post(&format!("{{\"v\":{value}}}\n{{\"v\":{}}}", -value), None).unwrap();
                        assert_eq!(receipt.rows, 2);
                    }
                });
            }
            read.extend(read_all(reader.as_mut(), 7));
        });
        read.extend(read_all(reader.as_mut(), 7));
        position = Some(reader.position());
        assert_eq!(inbox.figures().backlog_bytes, 0);
        assert_eq!(inbox.figures().rows, 800);
    }
    let numbers: Vec<i64> = read.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..2_400).collect::<Vec<_>>());
    let mut values: Vec<i64> = read.iter().map(|(_, value)| *value).filter(|value| *value > 0).collect();
    values.sort_unstable();
    let mut expected: Vec<i64> =
        (0..3).flat_map(|r| (0..4).flat_map(move |c| (0..100).map(move |q| r * 10_000 + c * 1_000 + q))).collect();
    expected.retain(|value| *value > 0);
    assert_eq!(values, expected);
    assert!(read.chunks(2).all(|pair| pair[0].1 == -pair[1].1), "rows of a request stay together");
}

#[test]
fn a_position_within_a_request_is_gone_on_from_and_one_of_another_log_means_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(folder.path(), &[]);
    fixture.post("[{\"v\": 1}, {\"v\": 2},\n {\"v\": 3}]", None).unwrap();
    fixture.post("\n{\"v\": 4}\n\n{\"v\": 5}", None).unwrap();
    let source = fixture.source();
    let mut reader = open(&source, None);
    let Read::Rows { rows, .. } = reader.next(2).unwrap() else { panic!("two rows") };
    assert_eq!(rows.num_rows(), 2);
    let position = reader.position();
    drop(reader);
    let rest = read_all(open(&source, Some(&position)).as_mut(), 100);
    assert_eq!(rest, [(2, 3), (3, 4), (4, 5)]);
    let mut foreign = position.clone();
    foreign["log"] = "another".into();
    assert_eq!(read_all(open(&source, Some(&foreign)).as_mut(), 1).len(), 5);
    let mut beyond = position;
    beyond["byte"] = 10_000.into();
    let refused = source.open(&source.discover().unwrap()[0], Some(&beyond)).err().expect("refused").to_string();
    assert!(refused.contains("the next row of table 't' to read is 2, but its log holds those from 0"), "{refused}");
}

#[test]
fn a_request_that_comes_again_with_its_key_stores_nothing_also_after_a_restart_and_a_roll() {
    let folder = tempfile::tempdir().unwrap();
    let limits = [("http.log.max-size", "80kb"), ("http.backlog.max-size", "80kb")];
    let fixture = Fixture::new(folder.path(), &limits);
    let first = fixture.post("{\"v\":1}", Some("a")).unwrap();
    assert_eq!(fixture.post("{\"v\":1}", Some("a")), Ok(Receipt { repeated: true, ..first }));
    assert_eq!(fixture.post("{\"v\":2}", Some("a")), Err(NotTaken::OtherBody));
    let large = format!("{{\"v\":7,\"s\":\"{}\"}}", "x".repeat(6_000));
    for _ in 0..4 {
        fixture.post(&large, None).unwrap();
    }
    assert!(fixture.inbox().segment_at(fixture.inbox().durable()).unwrap().first.row > 0, "it has several segments");
    drop(fixture);
    let fixture = Fixture::new(folder.path(), &limits);
    assert_eq!(fixture.post("{\"v\":1}", Some("a")), Ok(Receipt { repeated: true, ..first }));
    assert_eq!(fixture.inbox().durable().row, 5);
    // Keys of another day say nothing.
    let rows = fixture.table.check(b"{\"v\":1}").unwrap();
    let late = fixture.inbox().append(rows, Some("a".into()), now_ms() + 2 * 86_400_000).unwrap();
    assert_eq!((late.first, late.repeated), (5, false));
}

#[test]
fn a_job_that_is_behind_refuses_posts_and_segments_go_once_nothing_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new(folder.path(), &[("http.log.max-size", "80kb"), ("http.backlog.max-size", "50kb")]);
    let body = format!("{{\"v\":7,\"s\":\"{}\"}}", "x".repeat(9_900));
    for _ in 0..5 {
        fixture.post(&body, None).unwrap();
    }
    assert!(matches!(fixture.post(&body, None), Err(NotTaken::Behind { backlog: 49_575, .. })));
    let source = fixture.source();
    let mut reader = open(&source, None);
    assert_eq!(read_all(reader.as_mut(), 100).len(), 5);
    fixture.post(&body, None).unwrap();
    // A savepoint still needs all: the log fills up.
    fixture.inboxes.floor.store(0, Ordering::SeqCst);
    let split = source.discover().unwrap().remove(0);
    source.completed(&[(&split, &reader.position())], false);
    assert_eq!(fixture.inbox().begin().row, 0);
    fixture.post(&body, None).unwrap();
    assert_eq!(read_all(reader.as_mut(), 100).len(), 2);
    let held = fixture.post(&body, None);
    let full = matches!(held, Err(NotTaken::Full { .. })) || fixture.post(&body, None).is_err();
    assert!(full, "{held:?}");
    // It is deleted: whatever was passed may go, but nothing behind it.
    fixture.inboxes.floor.store(u64::MAX, Ordering::SeqCst);
    read_all(reader.as_mut(), 100);
    let position = reader.position();
    std::thread::sleep(std::time::Duration::from_millis(1_050));
    source.completed(&[(&split, &position)], false);
    let begin = fixture.inbox().begin().row;
    assert!(begin >= 5, "{begin}");
    fixture.post(&body, None).unwrap();
    assert_eq!(read_all(open(&source, Some(&position)).as_mut(), 100).len(), 1);
    let fresh = source.open(&split, None).unwrap().position();
    assert_eq!(fresh["row"], begin);
}

#[test]
fn what_is_kept_by_retention_stays_after_it_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let limits = [("http.log.max-size", "80kb"), ("http.backlog.max-size", "50kb")];
    for (options, kept_from) in [
        (&[("http.retention.time", "1 h")][..], 0..=0),
        (&[("http.retention.size", "20kb")], 1..=3),
        (&[("http.retention.time", "1 h"), ("http.retention.size", "20kb")], 1..=3),
        (&[("http.retention.time", "1 ms")], 4..=5),
    ] {
        let folder = folder.path().join(format!("{options:?}"));
        let fixture = Fixture::new(&folder, &[&limits, options].concat());
        let body = format!("{{\"v\":7,\"s\":\"{}\"}}", "x".repeat(9_900));
        for _ in 0..5 {
            fixture.post(&body, None).unwrap();
        }
        let source = fixture.source();
        let mut reader = open(&source, None);
        read_all(reader.as_mut(), 100);
        std::thread::sleep(std::time::Duration::from_millis(5));
        source.completed(&[(&source.discover().unwrap()[0], &reader.position())], false);
        let begin = fixture.inbox().begin().row;
        assert!(kept_from.contains(&begin), "{options:?}: {begin}");
    }
}

#[test]
fn a_body_is_right_as_a_whole_or_refused_with_the_place_of_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let json = Fixture::new(folder.path(), &[]).table;
    let csv = Fixture::new(folder.path(), &[("format", "csv")]).table;
    let told = |table: &PostedTable, body: &str| match table.check(body.as_bytes()) {
        Ok(rows) => format!("{} rows", rows.rows),
        Err(bad) => format!("{:?}: {}", bad.place, bad.reason),
    };
    for (body, expected) in [
        ("{\"v\":1}\n\n{\"v\":2,\"s\":\"x\"}", "2 rows"),
        ("\u{feff}{\"v\":1}", "1 rows"),
        ("[{\"v\":1},{\"v\":2}]", "2 rows"),
        ("", "None: there are no rows in the body"),
        ("[]", "None: there are no rows in the body"),
        ("{\"v\":1}\n{\"v\":1.5}\n{", "Some(2): column v: "),
        ("{\"v\":1}\n\n{\"s\":\"a\"}", "Some(3): column v: "),
        ("[{\"v\":1},\n\n{\"v\":null}]", "Some(2): column v: "),
        ("[{\"v\":1},", "Some(2): the array is not closed"),
    ] {
        let found = told(&json, body);
        assert!(found.starts_with(expected), "{body}: {found}");
    }
    for (body, expected) in [
        ("1,a\n2,\"b\nc\"\n", "2 rows"),
        ("1,a\n2", "Some(2): 1 fields where 2 are expected"),
        ("1,\"a\n", "Some(1): "),
        ("x,a", "Some(1): column v: "),
    ] {
        let found = told(&csv, body);
        assert!(found.starts_with(expected), "{body}: {found}");
    }
}

#[test]
fn when_a_row_came_is_known_row_by_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::new(folder.path(), &[]);
    let received = DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, Some("UTC".into()));
    fixture.spec.metadata[0] =
        MetadataColumn { name: "at".into(), key: "received-at".into(), data_type: received, is_virtual: true };
    for (at, body) in [(10, "{\"v\":1}\n{\"v\":2}"), (20, "{\"v\":3}"), (30, "{\"v\":4}\n{\"v\":5}")] {
        fixture.inbox().append(fixture.table.check(body.as_bytes()).unwrap(), None, at).unwrap();
    }
    let source = PostedSource::new(&fixture.spec, &["at".to_string()], fixture.inboxes.clone()).unwrap();
    let mut reader = open(&source, None);
    let mut times = Vec::new();
    while let Read::Rows { rows, .. } = reader.next(2).unwrap() {
        times.extend(rows.rows().column(0).as_primitive::<TimestampMillisecondType>().values().to_vec());
    }
    assert_eq!(times, [10, 10, 20, 30, 30]);
}
