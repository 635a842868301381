//! Records of every kind, and the places where reading begins and ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::broker::Broker;
use crate::process::Workspace;

/// A job that ends takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// A job that reads `topic` with the columns and options and writes CSV to `out`.
fn job(broker: &Broker, topic: &str, columns: &str, options: &str, query: &str) -> Workspace {
    Workspace::new(&format!(
        "SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '100 ms';
CREATE TABLE t ({columns}) WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}', {options});
CREATE TABLE out_rows (a STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
{query}",
        broker.address()
    ))
}

const NUMBERS: &str = "n BIGINT";
const ALL: &str = "INSERT INTO out_rows SELECT CAST(n AS STRING), 'x' FROM t;";

/// Writes these numbers to a partition.
fn write(broker: &Broker, topic: &str, partition: i32, numbers: std::ops::Range<i64>, end: &[&str]) {
    let record = |n: i64| json!({ "partition": partition, "value": format!("{{\"n\":{n}}}"), "timestamp": 1_000 + n });
    send(broker, topic, &numbers.map(record).collect::<Vec<_>>(), end);
}

fn send(broker: &Broker, topic: &str, records: &[Value], end: &[&str]) {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let sent = broker.ask_with(&[&["produce", topic], end].concat(), &lines.join("\n"));
    assert_eq!(sent, records.len());
}

/// The numbers that a job which ends has written.
fn numbers(workspace: &Workspace) -> Vec<i64> {
    workspace.run_to_end(&["-p", "2"]);
    written(workspace)
}

fn written(workspace: &Workspace) -> Vec<i64> {
    let lines = workspace.visible_lines("out");
    let mut numbers: Vec<i64> =
        lines.iter().map(|line| line.trim_end_matches(",x").parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_job_ends_behind_aborted_rows_control_records_and_empty_partitions() {
    let Some(broker) = Broker::shared("a_job_ends_behind_aborted_rows_control_records_and_empty_partitions") else {
        return;
    };
    broker.ask(&["topics", "gaps:4"]);
    write(broker, "gaps", 0, 0..10, &["commit"]);
    write(broker, "gaps", 0, 10..20, &["abort"]);
    write(broker, "gaps", 1, 20..30, &["abort"]);
    write(broker, "gaps", 2, 30..40, &["abort"]);
    write(broker, "gaps", 2, 40..50, &["commit"]);
    write(broker, "gaps", 2, 50..51, &[]);
    let options = "'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";
    let all: Vec<i64> = (0..10).chain(40..51).collect();
    assert_eq!(numbers(&job(broker, "gaps", NUMBERS, options, ALL)), all);
    let uncommitted = format!("{options}, 'properties.isolation.level' = 'read_uncommitted'");
    assert_eq!(numbers(&job(broker, "gaps", NUMBERS, &uncommitted, ALL)), (0..51).collect::<Vec<_>>());
}

#[test]
fn reading_begins_and_ends_where_the_modes_say() {
    let Some(broker) = Broker::shared("reading_begins_and_ends_where_the_modes_say") else { return };
    broker.ask(&["topics", "modes:2"]);
    write(broker, "modes", 0, 0..10, &[]);
    write(broker, "modes", 1, 10..20, &[]);
    let start = |mode: &str| format!("'scan.startup.mode' = '{mode}'");
    let end = |mode: &str| format!("'scan.bounded.mode' = '{mode}'");
    let group = "'properties.group.id' = 'modes-group'";
    let earliest = start("earliest-offset");
    let latest = end("latest-offset");
    let offsets = "specific-offsets' = 'partition:0,offset:3;partition:1,offset:9'";
    let cases: [(&str, String, Vec<i64>); 8] = [
        ("all", format!("{earliest}, {latest}"), (0..20).collect()),
        ("nothing new", format!("{}, {latest}", start("latest-offset")), vec![]),
        (
            "from the group",
            format!("{}, {latest}, {group}", start("group-offsets")),
            [4, 5, 6, 7, 8, 9, 16, 17, 18, 19].into(),
        ),
        (
            "to the group",
            format!("{earliest}, {}, {group}", end("group-offsets")),
            [0, 1, 2, 3, 10, 11, 12, 13, 14, 15].into(),
        ),
        (
            "from a time",
            format!("{}, 'scan.startup.timestamp-millis' = '1008', {latest}", start("timestamp")),
            (8..20).collect(),
        ),
        (
            "to a time",
            format!("{earliest}, {}, 'scan.bounded.timestamp-millis' = '1012'", end("timestamp")),
            (0..12).collect(),
        ),
        (
            "from offsets",
            format!("{}, 'scan.startup.{offsets}, {latest}", start("specific-offsets")),
            [3, 4, 5, 6, 7, 8, 9, 19].into(),
        ),
        (
            "to offsets",
            format!("{earliest}, {}, 'scan.bounded.{offsets}", end("specific-offsets")),
            (0..3).chain(10..19).collect(),
        ),
    ];
    for (name, options, expected) in cases {
        // A job that has ended has told the group.
        broker.ask(&["commit_group", "modes-group", "modes", "4", "6"]);
        let job = job(broker, "modes", NUMBERS, &format!("'format' = 'json', {options}"), ALL);
        assert_eq!(numbers(&job), expected, "{name}");
    }
}

#[test]
fn rows_that_come_after_a_job_began_at_the_latest_offset_are_not_passed_over_by_a_crash() {
    let Some(broker) = Broker::shared("rows_that_come_after_a_job_began_at_the_latest_offset") else { return };
    broker.ask(&["topics", "crashed:2"]);
    write(broker, "crashed", 0, 0..50, &[]);
    write(broker, "crashed", 1, 50..100, &[]);
    let time = "'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp-millis' = '4000000000000'";
    for (name, start, rows) in [("end", "'scan.startup.mode' = 'latest-offset'", 100..110), ("time", time, 200..210)] {
        let workspace = job(broker, "crashed", NUMBERS, &format!("'format' = 'json', {start}"), ALL);
        let run = |interval: &str| {
            let interval = format!("execution.checkpointing.interval={interval}");
            workspace.run_command(&["-p", "2", "--set", &interval]).spawn().expect("the program starts")
        };
        let script = std::fs::read_to_string(workspace.path("job.sql")).expect("the script");
        workspace.write("job.sql", &script.replace("SET 'execution.checkpointing.interval' = '100 ms';", ""));
        let mut running = run("1h");
        let checkpoints = workspace.path("state/checkpoints");
        wait_until("it has begun", || std::fs::read_dir(&checkpoints).is_ok_and(|found| found.count() > 0));
        let (first, second) = (rows.start..rows.start + 5, rows.start + 5..rows.end);
        write(broker, "crashed", 0, first, &[]);
        running.kill().expect("it runs");
        running.wait().expect("it ends");
        write(broker, "crashed", 1, second, &[]);
        let mut running = run("100ms");
        wait_until(&format!("{name}: the rows are there"), || written(&workspace) == rows.clone().collect::<Vec<_>>());
        running.kill().expect("it runs");
        running.wait().expect("it ends");
    }
}

#[test]
fn an_end_that_nothing_has_been_written_up_to_is_waited_for() {
    let Some(broker) = Broker::shared("an_end_that_nothing_has_been_written_up_to_is_waited_for") else { return };
    broker.ask(&["topics", "future:1"]);
    write(broker, "future", 0, 0..5, &[]);
    let options =
        "'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'specific-offsets',
        'scan.bounded.specific-offsets' = 'partition:0,offset:10'";
    let workspace = job(broker, "future", NUMBERS, options, ALL);
    let mut running = workspace.run_command(&["-p", "1"]).spawn().expect("the program starts");
    wait_until("the first rows are there", || written(&workspace).len() == 5);
    write(broker, "future", 0, 5..20, &[]);
    assert!(crate::process::wait(&mut running).success());
    assert_eq!(written(&workspace), (0..10).collect::<Vec<_>>());
}

#[test]
fn poison_is_left_out_and_told_and_large_empty_and_keyless_records_are_read() {
    let Some(broker) = Broker::shared("poison_is_left_out_and_told") else { return };
    broker.ask(&["topics", "poison:1", "large:1:max.message.bytes=2000000"]);
    let records = [
        json!({ "value": "{\"n\":1}", "key": "k" }),
        json!({ "value": "{\"n\":" }),
        json!({ "value": "no JSON", "key": "k" }),
        json!({ "key": "k" }),
        json!({ "value": "{\"n\":2}" }),
    ];
    send(broker, "poison", &records, &[]);
    let bounded = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";
    let tolerant = format!("'format' = 'json', 'json.ignore-parse-errors' = 'true', {bounded}");
    assert_eq!(numbers(&job(broker, "poison", NUMBERS, &tolerant, ALL)), [1, 2]);
    let strict = job(broker, "poison", NUMBERS, &format!("'format' = 'json', {bounded}"), ALL);
    let output = strict.run_command(&[]).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("message 1 of topic 'poison', partition 0"), "{said}");
    send(broker, "large", &[json!({ "bytes": 900_000 }), json!({}), json!({ "bytes": 1 })], &[]);
    let lengths = "INSERT INTO out_rows SELECT CAST(CHAR_LENGTH(line) AS STRING), 'x' FROM t WHERE line IS NOT NULL;";
    let workspace = job(broker, "large", "line STRING", &format!("'format' = 'raw', {bounded}"), lengths);
    assert_eq!(numbers(&workspace), [1, 900_000]);
}

#[test]
fn the_group_is_told_how_far_reading_has_come_also_where_nothing_follows() {
    let Some(broker) = Broker::shared("the_group_is_told_how_far_reading_has_come") else { return };
    broker.ask(&["topics", "lag:2"]);
    write(broker, "lag", 0, 0..7, &[]);
    write(broker, "lag", 1, 7..10, &[]);
    let options = "'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'properties.group.id' = 'lag-group'";
    let bounded = format!("{options}, 'scan.bounded.mode' = 'latest-offset'");
    let workspace = job(broker, "lag", NUMBERS, &bounded, ALL);
    assert_eq!(numbers(&workspace).len(), 10);
    assert_eq!(broker.ask(&["group", "lag-group"]), json!({ "lag-0": 7, "lag-1": 3 }), "a job that has ended");
    let workspace = job(broker, "lag", NUMBERS, options, ALL);
    let mut running = workspace.run_command(&["-p", "1"]).spawn().expect("the program starts");
    wait_until("the rows are there", || written(&workspace).len() == 10);
    write(broker, "lag", 1, 10..12, &[]);
    wait_until("the group is told", || broker.ask(&["group", "lag-group"]) == json!({ "lag-0": 7, "lag-1": 5 }));
    running.kill().expect("it runs");
    running.wait().expect("it ends");
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: waited for {PATIENCE:?}");
        std::thread::sleep(LOOK);
    }
}
