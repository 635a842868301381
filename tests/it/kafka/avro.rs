//! Avro records as another library writes and reads them, with schemas from a registry.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use expect_test::expect;

use super::broker::{Broker, python_command};
use crate::process::Workspace;

const SCRIPT: &str = "tests/it/kafka/avro.py";

/// A registry in memory that ends with the test.
struct Registry {
    server: Child,
    url: String,
}

impl Registry {
    fn start() -> Self {
        let mut server = avro(&["serve"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
        let mut url = String::new();
        let output = server.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut url).expect("the registry says where it is");
        Self { server, url: url.trim().to_string() }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}

fn avro(arguments: &[&str]) -> Command {
    let mut command = python_command(SCRIPT);
    command.args(arguments);
    command
}

fn output(arguments: &[&str]) -> String {
    let output = avro(arguments).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn avro_is_read_and_written_as_another_library_does() {
    let Some(broker) = Broker::shared("avro_is_read_and_written_as_another_library_does") else { return };
    let (registry, brokers) = (Registry::start(), broker.address());
    broker.ask(&["topics", "avro-in:1", "avro-out:1"]);
    output(&["write", &brokers, "avro-in", &registry.url]);
    let url = &registry.url;
    let columns = "id BIGINT NOT NULL, name STRING, price DECIMAL(10, 2), `at` TIMESTAMP(3), tags MAP<STRING, INT>, `inner` ROW<x DOUBLE>";
    let job = Workspace::new(&format!(
        "CREATE TABLE source ({columns}) WITH (
           'connector' = 'kafka', 'topic' = 'avro-in', 'properties.bootstrap.servers' = '{brokers}',
           'format' = 'avro-confluent', 'avro-confluent.url' = '{url}',
           'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
         CREATE TABLE target ({columns}) WITH (
           'connector' = 'kafka', 'topic' = 'avro-out', 'properties.bootstrap.servers' = '{brokers}',
           'key.format' = 'avro-confluent', 'key.avro-confluent.url' = '{url}', 'key.fields' = 'id',
           'value.format' = 'avro-confluent', 'value.avro-confluent.url' = '{url}');
         INSERT INTO target SELECT * FROM source;"
    ));
    job.run_to_end(&[]);
    expect![[r#"
        [{"id": 0}, {"id": 0, "name": "name 0", "price": "0.00", "at": "2024-01-01 00:00:00+00:00", "tags": {"a": 0}, "inner": {"x": 0.0}}]
        [{"id": 1}, {"id": 1, "name": "name 1", "price": "1.25", "at": "2024-01-01 00:00:01+00:00", "tags": {"a": 1}, "inner": {"x": 0.5}}]
        [{"id": 2}, {"id": 2, "name": null, "price": "2.50", "at": "2024-01-01 00:00:02+00:00", "tags": {"a": 2}, "inner": {"x": 1.0}}]
        [{"id": 3}, {"id": 3, "name": "name 3", "price": "3.75", "at": "2024-01-01 00:00:03+00:00", "tags": {"a": 3}, "inner": {"x": 1.5}}]
        [{"id": 4}, {"id": 4, "name": "name 4", "price": "5.00", "at": "2024-01-01 00:00:04+00:00", "tags": {"a": 4}, "inner": {"x": 2.0}}]
    "#]].assert_eq(&output(&["read", &brokers, "avro-out", url]));
}
