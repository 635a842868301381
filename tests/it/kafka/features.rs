//! What tables can say of topics, each tried from both sides: keys, deletes, metadata, logging in, topics that are not what they were.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::broker::Broker;
use crate::process::{Workspace, wait_or_kill};

/// Changes of a table: a is updated, b is deleted.
const CHANGES: &str = r#"{"data":{"name":"a","total":1},"op":"+I"}
{"data":{"name":"b","total":2},"op":"+I"}
{"data":{"name":"a","total":1},"op":"-U"}
{"data":{"name":"a","total":5},"op":"+U"}
{"data":{"name":"b","total":2},"op":"-D"}
{"data":{"name":"c","total":7},"op":"+I"}
"#;

/// A table on a topic; `more`: further options.
fn table(name: &str, columns: &str, broker: &str, topic: &str, more: &str) -> String {
    format!(
        "CREATE TABLE {name} ({columns}) WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{broker}', {more});\n"
    )
}

fn upsert_table(name: &str, broker: &str, topic: &str, more: &str) -> String {
    let columns = "name STRING, total BIGINT NOT NULL, PRIMARY KEY (name) NOT ENFORCED";
    table(name, columns, broker, topic, more).replace("'kafka'", "'upsert-kafka'")
}

fn csv_sink(columns: &str) -> String {
    format!("CREATE TABLE answer ({columns}) WITH ('connector' = 'filesystem', 'path' = 'answer', 'format' = 'csv');\n")
}

fn run(script: &str) -> Workspace {
    let workspace = Workspace::new(script);
    workspace.write("changes.json", CHANGES);
    workspace.run_to_end(&[]);
    workspace
}

fn refused(script: &str) -> String {
    let workspace = Workspace::new(script);
    let Output { status, stderr, .. } = workspace.run_command(&[]).output().expect("the program starts");
    assert!(!status.success());
    String::from_utf8_lossy(&stderr).into_owned()
}

#[test]
fn a_table_that_is_written_by_key_is_read_as_the_same_table() {
    let Some(broker) = Broker::shared("a_table_that_is_written_by_key_is_read_as_the_same_table") else { return };
    let changes = "CREATE TABLE changes (name STRING, total BIGINT) WITH ('connector' = 'filesystem', 'path' = 'changes.json', 'format' = 'changelog-json');\n";
    let buffered = "'sink.buffer-flush.max-rows' = '100', 'sink.buffer-flush.interval' = '1 h', ";
    for (topic, value, sink) in [
        ("by-key-all", "'value.format' = 'json'", ""),
        ("by-key-except", "'value.format' = 'csv', 'value.fields-include' = 'EXCEPT_KEY'", ""),
        ("by-key-buffered", "'value.format' = 'json'", buffered),
    ] {
        broker.ask(&["topics", &format!("{topic}:2")]);
        let options = format!("'key.format' = 'json', {value}");
        let target = upsert_table("target", &broker.address(), topic, &format!("{sink}{options}"));
        run(&format!("{changes}{target}INSERT INTO target SELECT * FROM changes;"));
        let source = upsert_table(
            "source",
            &broker.address(),
            topic,
            &format!("{options}, 'scan.bounded.mode' = 'latest-offset'"),
        );
        let answer = "CREATE TABLE answer (name STRING, total BIGINT, PRIMARY KEY (name) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = 'answer', 'format' = 'csv', 'sink.changelog' = 'snapshot');\n";
        let read = run(&format!("{source}{answer}INSERT INTO answer SELECT * FROM source;"));
        assert_eq!(read.visible_lines("answer"), ["a,5", "c,7"], "{topic}");
        let messages = broker.ask(&["read", topic]);
        let values = |key: &str| -> Vec<Value> {
            let of_key = |message: &&Value| message["key"] == json!(format!("{{\"name\":\"{key}\"}}"));
            let messages = messages.as_array().expect("a list").iter().filter(of_key);
            messages.map(|message| message["value"].clone()).collect()
        };
        assert_eq!(values("b").last(), Some(&Value::Null), "{topic}: a delete is a message without a value");
        let sent = values("a").len();
        assert!(if sink.is_empty() { sent > 1 } else { sent == 1 }, "{topic}: {messages}");
    }
}

#[test]
fn timestamps_and_headers_are_written_and_all_metadata_is_read() {
    let Some(broker) = Broker::shared("timestamps_and_headers_are_written_and_all_metadata_is_read") else { return };
    broker.ask(&["topics", "metadata:1"]);
    let columns = "k_id INT, at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', h MAP<STRING, BYTES> METADATA FROM 'headers', v STRING, \
        topic STRING METADATA VIRTUAL, p INT METADATA FROM 'partition' VIRTUAL, o BIGINT METADATA FROM 'offset' VIRTUAL, \
        kind STRING METADATA FROM 'timestamp-type' VIRTUAL, epoch INT METADATA FROM 'leader-epoch' VIRTUAL";
    let options = "'key.format' = 'csv', 'key.fields' = 'k_id', 'key.fields-prefix' = 'k_', 'value.format' = 'json', \
        'value.fields-include' = 'EXCEPT_KEY', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";
    let declared = table("t", columns, &broker.address(), "metadata", options);
    run(&format!(
        "{declared}INSERT INTO t VALUES (1, TO_TIMESTAMP_LTZ(1000, 3), MAP['a', CAST('x' AS BYTES)], 'one'), (2, TO_TIMESTAMP_LTZ(2000, 3), CAST(NULL AS MAP<STRING, BYTES>), 'two');"
    ));
    let answer =
        csv_sink("id INT, at STRING, a STRING, v STRING, topic STRING, p INT, o BIGINT, kind STRING, epoch INT");
    let read = run(&format!(
        "SET 'table.local-time-zone' = 'UTC';\n{declared}{answer}INSERT INTO answer SELECT k_id, CAST(at AS STRING), CAST(h['a'] AS STRING), v, topic, p, o, kind, epoch FROM t;"
    ));
    let rows = [
        "1,1970-01-01 00:00:01.000,x,one,metadata,0,0,CreateTime,0",
        "2,1970-01-01 00:00:02.000,,two,metadata,0,1,CreateTime,0",
    ];
    assert_eq!(read.visible_lines("answer"), rows);
    let message = &broker.ask(&["read", "metadata"])[0];
    assert_eq!((&message["key"], &message["value"]), (&json!("1"), &json!(r#"{"v":"one"}"#)));
    let told = refused(&format!(
        "{}INSERT INTO t SELECT 1, 'x';",
        table("t", "o BIGINT METADATA FROM 'offset', v STRING", &broker.address(), "metadata", "'format' = 'json'")
    ));
    assert!(told.contains("metadata 'offset' can only be read"), "{told}");
}

#[test]
fn transactions_last_as_long_as_checkpoints_ask_for_or_the_job_is_refused() {
    let Some(broker) = Broker::shared("transactions_last_as_long_as_checkpoints_ask_for") else { return };
    broker.ask(&["topics", "long:1"]);
    let script = |interval: &str, more: &str| {
        let sink = table("t", "n INT", &broker.address(), "long", &format!("'format' = 'json'{more}"));
        format!("SET 'execution.checkpointing.interval' = '{interval}';\n{sink}INSERT INTO t VALUES (1);")
    };
    let told = refused(&script("10 s", ", 'properties.transaction.timeout.ms' = '9000'"));
    assert!(told.contains("'properties.transaction.timeout.ms' = '9000' is too short"), "{told}");
    let timeout = "SET 'execution.checkpointing.timeout' = '30 s';\n";
    let told = refused(&format!("{timeout}{}", script("10 s", ", 'properties.transaction.timeout.ms' = '40000'")));
    assert!(told.contains("for 40000 ms"), "{told}");
    run(&script("12 min", ""));
    assert_eq!(broker.ask(&["read", "long"]).as_array().map(Vec::len), Some(1));
    let told = refused(&script("13 min", ""));
    assert!(
        told.contains("transactions of 975000 ms are longer than the broker's 'transaction.max.timeout.ms'"),
        "{told}"
    );
}

#[test]
fn a_topic_that_was_made_again_is_not_read_on() {
    let Some(broker) = Broker::shared("a_topic_that_was_made_again_is_not_read_on") else { return };
    broker.ask(&["topics", "reborn:1"]);
    let write = |count: usize| {
        let rows: Vec<String> = (0..count).map(|n| format!("({n})")).collect();
        let sink = table("t", "n INT", &broker.address(), "reborn", "'format' = 'json'");
        run(&format!("{sink}INSERT INTO t VALUES {};", rows.join(", ")));
    };
    write(5);
    let source =
        table("t", "n INT", &broker.address(), "reborn", "'format' = 'json', 'scan.startup.mode' = 'earliest-offset'");
    let script = format!("{source}{}INSERT INTO answer SELECT n FROM t;", csv_sink("n INT"));
    for restarts in [false, true] {
        let workspace = Workspace::new(&script);
        let spawn = || {
            workspace.run_command(&["--set", "execution.checkpointing.interval=200ms"]).stderr(Stdio::piped()).spawn()
        };
        let mut job = spawn().expect("the program starts");
        while workspace.visible_lines("answer").len() < 5 {
            std::thread::sleep(Duration::from_millis(50));
        }
        if restarts {
            job.kill().expect("it runs");
            job.wait().expect("it ends");
        }
        broker.ask(&["delete", "reborn"]);
        broker.ask(&["topics", "reborn:1"]);
        // More than before, so that the old position stands in the middle of the new messages.
        write(20);
        if restarts {
            job = spawn().expect("the program starts");
        }
        let status = wait_or_kill(&mut job, Duration::from_secs(60));
        let mut told = String::new();
        std::io::Read::read_to_string(&mut job.stderr.take().expect("piped"), &mut told).expect("text");
        assert!(status.is_some_and(|status| !status.success()), "{told}");
        assert!(told.contains("deleted and made again"), "{told}");
        broker.ask(&["delete", "reborn"]);
        broker.ask(&["topics", "reborn:1"]);
        write(5);
    }
}

#[test]
fn users_log_in_and_passwords_are_told_to_nobody() {
    let login = "org.apache.kafka.common.security";
    let listener = [
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT".to_string(),
        "sasl.enabled.mechanisms=PLAIN".into(),
        "inter.broker.listener.name=PLAINTEXT".into(),
        "sasl.mechanism.inter.broker.protocol=PLAIN".into(),
        format!(
            "listener.name.plaintext.plain.sasl.jaas.config={login}.plain.PlainLoginModule required username=\"admin\" password=\"a\" user_admin=\"a\" user_ann=\"s3cret\";"
        ),
    ];
    let listener: Vec<&str> = listener.iter().map(String::as_str).collect();
    let Some(broker) = Broker::own("users_log_in_and_passwords_are_told_to_nobody", &listener) else { return };
    let user = |password: &str| {
        format!(
            "'properties.security.protocol' = 'SASL_PLAINTEXT', 'properties.sasl.mechanism' = 'PLAIN', \
             'properties.sasl.jaas.config' = '{login}.plain.PlainLoginModule required username=\"ann\" password=\"{password}\";'"
        )
    };
    let sound = format!(
        "'format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', {}",
        user("s3cret")
    );
    let declared = table("t", "n INT", &broker.address(), "guarded", &sound);
    run(&format!("{declared}INSERT INTO t VALUES (1), (2);"));
    let read = run(&format!("{declared}{}INSERT INTO answer SELECT n FROM t;", csv_sink("n INT")));
    assert_eq!(read.visible_lines("answer"), ["1", "2"]);
    let shown = Workspace::new(&format!("{declared}SHOW CREATE TABLE t;")).run_command(&[]).output().expect("it runs");
    let shown = format!("{}{}", String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(shown.contains("sasl.jaas.config") && !shown.contains("s3cret"), "{shown}");
}
