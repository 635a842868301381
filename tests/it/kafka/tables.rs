//! Tables over several topics, in several instances, and what stands beside their rows: bad records, deletes, metadata of changes.

use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::broker::Broker;
use crate::process::Workspace;

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
const WHOLE: &str = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";

/// A table on Kafka; `topics`: the option that names them.
fn table(broker: &Broker, columns: &str, topics: &str, more: &str) -> String {
    format!(
        "SET 'table.local-time-zone' = 'UTC';\nSET 'execution.checkpointing.interval' = '100 ms';
CREATE TABLE t ({columns}) WITH ('connector' = 'kafka', {topics}, 'properties.bootstrap.servers' = '{}', {more});\n",
        broker.address()
    )
}

fn answer(columns: &str) -> String {
    format!("CREATE TABLE answer ({columns}) WITH ('connector' = 'filesystem', 'path' = 'answer', 'format' = 'csv');\n")
}

fn send(broker: &Broker, topic: &str, records: &[Value]) {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    assert_eq!(broker.ask_with(&["produce", topic], &lines.join("\n")), records.len());
}

fn number(n: i64) -> Value {
    json!({ "value": format!("{{\"n\":{n}}}") })
}

/// What a job that ends has written to `answer`.
fn run(script: &str) -> Vec<String> {
    let workspace = Workspace::new(script);
    workspace.run_to_end(&["-p", "2"]);
    workspace.visible_lines("answer")
}

/// Waits until a running job has written these lines to `answer`.
fn wait_for(workspace: &Workspace, running: &mut Child, lines: &[&str]) {
    let begun = Instant::now();
    while workspace.visible_lines("answer") != lines {
        let ended = running.try_wait().expect("a child");
        let found = workspace.visible_lines("answer");
        assert!(ended.is_none() && begun.elapsed() < PATIENCE, "{ended:?}: {found:?} instead of {lines:?}");
        std::thread::sleep(LOOK);
    }
}

#[test]
fn a_topic_that_appears_while_its_pattern_is_read_is_read_from_its_start() {
    let Some(broker) = Broker::shared("a_topic_that_appears_while_its_pattern_is_read") else { return };
    broker.ask(&["topics", "tide-one:2", "tide-2:1"]);
    send(broker, "tide-one", &[number(1)]);
    send(broker, "tide-2", &[number(-1)]);
    let often = "'scan.topic-partition-discovery.interval' = '200 ms'";
    let declared = table(
        broker,
        "n INT, topic STRING METADATA VIRTUAL",
        "'topic-pattern' = 'tide-[a-z]+'",
        &format!("'format' = 'json', 'scan.startup.mode' = 'latest-offset', {often}"),
    );
    let script = format!("{declared}{}INSERT INTO answer SELECT n, topic FROM t;", answer("n INT, topic STRING"));
    let workspace = Workspace::new(&script);
    let mut running = workspace.run_command(&["-p", "2"]).spawn().expect("the program starts");
    let checkpoints = workspace.path("state/checkpoints");
    let begun = Instant::now();
    while !std::fs::read_dir(&checkpoints).is_ok_and(|found| found.count() > 0) {
        assert!(begun.elapsed() < PATIENCE, "the job has not begun");
        std::thread::sleep(LOOK);
    }
    send(broker, "tide-one", &[number(2)]);
    wait_for(&workspace, &mut running, &["2,tide-one"]);
    // Its rows are there before it is found.
    broker.ask(&["topics", "tide-two:1"]);
    send(broker, "tide-two", &[number(3), number(4)]);
    wait_for(&workspace, &mut running, &["2,tide-one", "3,tide-two", "4,tide-two"]);
    running.kill().expect("it runs");
    running.wait().expect("it ends");
    send(broker, "tide-two", &[number(5)]);
    let mut running = workspace.run_command(&["-p", "1"]).spawn().expect("the program starts");
    wait_for(&workspace, &mut running, &["2,tide-one", "3,tide-two", "4,tide-two", "5,tide-two"]);
    running.kill().expect("it runs");
    running.wait().expect("it ends");
}

#[test]
fn several_topics_are_one_table() {
    let Some(broker) = Broker::shared("several_topics_are_one_table") else { return };
    broker.ask(&["topics", "both-a:2", "both-b:1", "both-c:1"]);
    for (topic, n) in [("both-a", 1), ("both-b", 2), ("both-c", 3), ("both-a", 4)] {
        send(broker, topic, &[number(n)]);
    }
    let options = format!("'format' = 'json', {WHOLE}");
    let declared = table(broker, "n INT, topic STRING METADATA VIRTUAL", "'topic' = 'both-a;both-b'", &options);
    let lines = run(&format!("{declared}{}INSERT INTO answer SELECT n, topic FROM t;", answer("n INT, topic STRING")));
    assert_eq!(lines, ["1,both-a", "2,both-b", "4,both-a"]);
}

#[test]
fn a_sink_has_as_many_instances_as_its_table_says() {
    let Some(broker) = Broker::shared("a_sink_has_as_many_instances_as_its_table_says") else { return };
    for (topic, instances, used) in [("instances-3", "3", 3), ("instances-1", "1", 1)] {
        broker.ask(&["topics", &format!("{topic}:4")]);
        // Each instance writes to a partition of its own.
        let options = format!("'format' = 'json', 'sink.partitioner' = 'fixed', 'sink.parallelism' = '{instances}'");
        let sink = table(broker, "n BIGINT", &format!("'topic' = '{topic}'"), &options);
        let source = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '30000', \
            'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '30000');\n";
        let workspace = Workspace::new(&format!("{sink}{source}INSERT INTO t SELECT n FROM numbers;"));
        workspace.run_to_end(&["-p", "2"]);
        let messages = broker.ask(&["read", topic]);
        let messages = messages.as_array().expect("a list");
        let mut numbers: Vec<&str> = messages.iter().filter_map(|message| message["value"].as_str()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!((messages.len(), numbers.len()), (30_000, 30_000), "{topic}");
        let mut partitions: Vec<i64> = messages.iter().filter_map(|message| message["partition"].as_i64()).collect();
        partitions.sort_unstable();
        partitions.dedup();
        assert_eq!(partitions.len(), used, "{topic}: {partitions:?}");
    }
}

#[test]
fn records_that_cannot_be_read_are_rows_of_the_table_of_errors() {
    let Some(broker) = Broker::shared("records_that_cannot_be_read_are_rows_of_the_table_of_errors") else { return };
    broker.ask(&["topics", "errors:1"]);
    send(broker, "errors", &[number(1), json!({ "value": "{\"n\":" }), number(2), json!({ "value": "no JSON" })]);
    let options = format!("'format' = 'json', 'json.ignore-parse-errors' = 'true', {WHOLE}");
    let declared = table(broker, "n INT", "'topic' = 'errors'", &options);
    let columns = "place STRING, at BIGINT, record STRING, is_told BOOLEAN";
    let lines = run(&format!(
        "{declared}{}INSERT INTO answer SELECT split, `offset`, record, CHAR_LENGTH(reason) > 5 FROM `t$errors`;",
        answer(columns)
    ));
    assert_eq!(lines, ["errors-0,1,\"{\"\"n\"\":\",true", "errors-0,3,no JSON,true"]);
    let both = format!(
        "{declared}{}CREATE TABLE good (n INT) WITH ('connector' = 'filesystem', 'path' = 'good', 'format' = 'csv');
EXECUTE STATEMENT SET BEGIN
INSERT INTO answer SELECT split, `offset`, record, TRUE FROM `t$errors`;
INSERT INTO good SELECT n FROM t;
END;",
        answer(columns)
    );
    let workspace = Workspace::new(&both);
    workspace.run_to_end(&["-p", "2"]);
    assert_eq!((workspace.visible_lines("good").len(), workspace.visible_lines("answer").len()), (2, 2));
}

#[test]
fn messages_without_a_value_are_deletes_by_key_nothing_in_json_and_null_in_raw() {
    let Some(broker) = Broker::shared("messages_without_a_value_are_deletes_by_key") else { return };
    broker.ask(&["topics", "tombs:1"]);
    let record = |key: &str, value: Option<i64>| match value {
        Some(n) => json!({ "key": key, "value": format!("{{\"k\":\"{key}\",\"n\":{n}}}") }),
        None => json!({ "key": key }),
    };
    let records = [("a", Some(1)), ("b", Some(2)), ("a", None), ("a", Some(3)), ("b", None), ("c", None)];
    send(broker, "tombs", &records.map(|(key, value)| record(key, value)));
    let upserts = table(
        broker,
        "k STRING, n INT, PRIMARY KEY (k) NOT ENFORCED",
        "'topic' = 'tombs'",
        "'key.format' = 'raw', 'value.format' = 'json', 'scan.bounded.mode' = 'latest-offset'",
    );
    let upserts = upserts.replace("'connector' = 'kafka'", "'connector' = 'upsert-kafka'");
    let snapshot = "CREATE TABLE answer (k STRING, n INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'filesystem', \
        'path' = 'answer', 'format' = 'csv', 'sink.changelog' = 'snapshot');\n";
    assert_eq!(run(&format!("{upserts}{snapshot}INSERT INTO answer SELECT k, n FROM t;")), ["a,3"]);
    let plain = table(broker, "k STRING, n INT", "'topic' = 'tombs'", &format!("'format' = 'json', {WHOLE}"));
    let lines = run(&format!("{plain}{}INSERT INTO answer SELECT k, n FROM t;", answer("k STRING, n INT")));
    assert_eq!(lines, ["a,1", "a,3", "b,2"], "strict JSON leaves them out");
    let raw = table(broker, "v STRING", "'topic' = 'tombs'", &format!("'format' = 'raw', {WHOLE}"));
    let lines = run(&format!("{raw}{}INSERT INTO answer SELECT v IS NULL, COUNT(*) FROM t GROUP BY v IS NULL;", {
        "CREATE TABLE answer (is_null BOOLEAN, n BIGINT, PRIMARY KEY (is_null) NOT ENFORCED) WITH ('connector' = 'filesystem', \
        'path' = 'answer', 'format' = 'csv', 'sink.changelog' = 'snapshot');\n"
    }));
    assert_eq!(lines, ["false,3", "true,3"]);
}

#[test]
fn changes_of_debezium_tell_where_they_come_from() {
    let Some(broker) = Broker::shared("changes_of_debezium_tell_where_they_come_from") else { return };
    broker.ask(&["topics", "debezium:1"]);
    let source = r#""source":{"db":"shop","schema":"public","table":"orders","ts_ms":1000,"lsn":7}"#;
    let records = [
        format!(r#"{{"op":"c","after":{{"id":1}},"ts_ms":2000,{source}}}"#),
        r#"{"op":"c","after":{"id":2},"ts_ms":3000}"#.to_string(),
    ];
    send(broker, "debezium", &records.map(|value| json!({ "value": value })));
    let columns = "id INT, taken TIMESTAMP_LTZ(3) METADATA FROM 'value.ingestion-timestamp' VIRTUAL, \
        made TIMESTAMP_LTZ(3) METADATA FROM 'value.source.timestamp' VIRTUAL, db STRING METADATA FROM 'value.source.database' VIRTUAL, \
        sch STRING METADATA FROM 'value.source.schema' VIRTUAL, tab STRING METADATA FROM 'value.source.table' VIRTUAL, \
        props MAP<STRING, STRING> METADATA FROM 'value.source.properties' VIRTUAL, record_schema STRING METADATA FROM 'value.schema' VIRTUAL, \
        at BIGINT METADATA FROM 'offset' VIRTUAL";
    let declared =
        |format: &str| table(broker, columns, "'topic' = 'debezium'", &format!("'format' = '{format}', {WHOLE}"));
    let sink = "CREATE TABLE answer (id INT, taken STRING, made STRING, db STRING, sch STRING, tab STRING, lsn STRING, is_bare BOOLEAN, at BIGINT, \
        PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = 'answer', 'format' = 'csv', 'sink.changelog' = 'snapshot');\n";
    let query = "INSERT INTO answer SELECT id, CAST(taken AS STRING), CAST(made AS STRING), db, sch, tab, props['lsn'], record_schema IS NULL, at FROM t;";
    let lines = run(&format!("{}{sink}{query}", declared("debezium-json")));
    let first = "1,1970-01-01 00:00:02.000,1970-01-01 00:00:01.000,shop,public,orders,7,true,0";
    assert_eq!(lines, [first, "2,1970-01-01 00:00:03.000,,,,,,true,1"]);
    let refused = Workspace::new(&format!("{}{sink}{query}", declared("json")));
    let told = refused.run_command(&[]).output().expect("the program starts").stderr;
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("the format 'json' gives no metadata 'value.ingestion-timestamp'"), "{told}");
}

#[test]
fn an_update_of_a_key_is_one_message_also_where_its_rows_are_kept() {
    let Some(broker) = Broker::shared("an_update_of_a_key_is_one_message") else { return };
    broker.ask(&["topics", "kept:1"]);
    let target = table(
        broker,
        "name STRING, total BIGINT, PRIMARY KEY (name) NOT ENFORCED",
        "'topic' = 'kept'",
        "'key.format' = 'raw', 'value.format' = 'json'",
    );
    let target = target.replace("'connector' = 'kafka'", "'connector' = 'upsert-kafka'");
    // By id, which is not the key of the target: its rows are kept by name. The last update moves a row to another name.
    let changes = "CREATE TABLE changes (id INT, name STRING, total BIGINT, PRIMARY KEY (id) NOT ENFORCED) \
        WITH ('connector' = 'filesystem', 'path' = 'changes.json', 'format' = 'changelog-json');\n";
    let workspace = Workspace::new(&format!("{target}{changes}INSERT INTO t SELECT name, total FROM changes;"));
    let rows: Vec<String> = [
        ("+I", 1, "a", 1),
        ("-U", 1, "a", 1),
        ("+U", 1, "a", 5),
        ("-U", 1, "a", 5),
        ("+U", 1, "a", 6),
        ("+I", 2, "b", 2),
        ("-U", 2, "b", 2),
        ("+U", 2, "c", 2),
    ]
    .map(|(op, id, name, total)| json!({ "data": { "id": id, "name": name, "total": total }, "op": op }).to_string())
    .to_vec();
    workspace.write("changes.json", &(rows.join("\n") + "\n"));
    workspace.run_to_end(&["-p", "2"]);
    let messages = broker.ask(&["read", "kept"]);
    let messages = messages.as_array().expect("a list");
    let of_key = |key: &str| -> Vec<Option<i64>> {
        let of_key = messages.iter().filter(|message| message["key"] == json!(key));
        let total = |message: &Value| {
            let value: Value = serde_json::from_str(message["value"].as_str()?).expect("JSON");
            value["total"].as_i64()
        };
        of_key.map(total).collect()
    };
    assert_eq!(
        (of_key("a"), of_key("b"), of_key("c")),
        (vec![Some(1), Some(5), Some(6)], vec![Some(2), None], vec![Some(2)])
    );
    let plan = workspace.command(&["explain", "job.sql"]).output().expect("the program starts");
    assert!(String::from_utf8_lossy(&plan.stdout).contains("UpsertMaterialize"), "else this tests nothing");
}
