//! Tables that are refused, and what they are told.

use arrow::datatypes::{DataType, SchemaRef};
use expect_test::{Expect, expect};

use crate::registry::{Registry, Usage};
use crate::table::TableSpec;

use super::*;

const KAFKA: &[(&str, &str)] = &[
    ("connector", "kafka"),
    ("topic", "t"),
    ("properties.bootstrap.servers", "b:1"),
    ("scan.startup.mode", "earliest-offset"),
];
const UPSERT: &[(&str, &str)] = &[
    ("connector", "upsert-kafka"),
    ("topic", "t"),
    ("properties.bootstrap.servers", "b:1"),
    ("key.format", "json"),
    ("value.format", "json"),
];

fn table(base: &[(&str, &str)], more: &[(&str, &str)], key: &[&str]) -> TableSpec {
    let columns = ["k_id", "k_no", "v"].map(|name| Field::new(name, DataType::Int64, !name.starts_with('k')));
    TableSpec {
        name: "t".into(),
        columns: SchemaRef::new(Schema::new(columns.to_vec())),
        metadata: vec![],
        partition_keys: vec![],
        primary_key: key.iter().map(ToString::to_string).collect(),
        options: base.iter().chain(more).map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        time_zone: "UTC".into(),
    }
}

fn check(spec: &TableSpec, usage: Usage, expected: Expect) {
    let problems = Registry::standard().check(spec, usage).err().unwrap_or_default();
    expected.assert_eq(&problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_table_that_is_kept_by_key_asks_for_its_key_and_both_formats() {
    check(&table(UPSERT, &[], &["k_id"]), Usage::Source, expect![""]);
    check(&table(UPSERT, &[], &["k_id"]), Usage::Sink, expect![""]);
    check(
        &table(UPSERT, &[], &[]),
        Usage::Declared,
        expect![
            "'upsert-kafka' needs a PRIMARY KEY: its columns are the messages' keys, by which rows are replaced and deleted (declare PRIMARY KEY (...) NOT ENFORCED in CREATE TABLE)"
        ],
    );
    check(
        &table(&UPSERT[..3], &[("format", "json")], &["k_id"]),
        Usage::Declared,
        expect![[r#"
            'upsert-kafka' has no option 'format' (did you mean 'key.format'?)
            'upsert-kafka' needs the option 'key.format' (add 'key.format' = '...' to WITH: how keys, the columns of the PRIMARY KEY, are written)
            'upsert-kafka' needs the option 'value.format' (add 'value.format' = '...' to WITH: how values are written)"#]],
    );
    check(
        &table(&UPSERT[..4], &[("value.format", "debezium-json")], &["k_id"]),
        Usage::Declared,
        expect![
            "option 'value.format' takes one of 'json', 'csv', 'raw', 'avro', 'avro-confluent', not 'debezium-json'"
        ],
    );
    check(
        &table(UPSERT, &[("sink.buffer-flush.max-rows", "10")], &["k_id"]),
        Usage::Sink,
        expect![
            "'sink.buffer-flush.max-rows' works only together with 'sink.buffer-flush.interval' (add 'sink.buffer-flush.interval' = '1 s', or leave 'sink.buffer-flush.max-rows' out)"
        ],
    );
    check(
        &table(KAFKA, &[("format", "json")], &["k_id"]),
        Usage::Declared,
        expect![
            "table 't' has a PRIMARY KEY, but messages of format 'json' are appended rows: none replaces another (leave the PRIMARY KEY out, or write 'connector' = 'upsert-kafka' where the last row of a key counts)"
        ],
    );
    check(&table(KAFKA, &[("format", "debezium-json")], &["k_id"]), Usage::Source, expect![""]);
}

#[test]
fn options_of_formats_stand_behind_the_half_of_the_message() {
    let halves = [("key.format", "json"), ("key.fields", "k_no;k_id"), ("value.format", "json")];
    let with = |option| [&halves[..], &[(option, "true")]].concat();
    for option in ["key.json.ignore-parse-errors", "value.json.ignore-parse-errors"] {
        check(&table(KAFKA, &with(option), &[]), Usage::Source, expect![""]);
    }
    check(
        &table(KAFKA, &with("json.ignore-parse-errors"), &[]),
        Usage::Source,
        expect!["'kafka' has no option 'json.ignore-parse-errors' (did you mean 'key.json.ignore-parse-errors'?)"],
    );
    let spec = table(KAFKA, &with("value.json.ignore-parse-errors"), &[]);
    let parsed = KafkaTable::of(&spec).expect("sound");
    assert_eq!(parsed.key_fields, ["k_no", "k_id"], "in the order of the key");
    assert_ne!(parsed.value, parsed.key.expect("a key"), "the option is the value's alone");
    let wrong = [&halves[..], &[("value.json.ignore-parse-errors", "perhaps")]].concat();
    check(
        &table(KAFKA, &wrong, &[]),
        Usage::Source,
        expect!["'value.json.ignore-parse-errors' = 'perhaps' is not valid (write 'true' or 'false')"],
    );
}

#[test]
fn the_prefix_of_the_keys_columns_is_checked() {
    let prefix = [("key.fields-prefix", "k_"), ("value.fields-include", "EXCEPT_KEY")];
    let parsed = KafkaTable::of(&table(UPSERT, &prefix, &["k_id", "k_no"])).expect("sound");
    let columns = &table(UPSERT, &prefix, &[]).columns;
    let names = |fields: Vec<Field>| fields.iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    assert_eq!(names(parsed.fields_of_key(columns)), ["id", "no"]);
    assert_eq!(names(parsed.value_fields(columns)), ["v"]);
    check(
        &table(UPSERT, &prefix, &["k_id", "v"]),
        Usage::Declared,
        expect!["the key's column 'v' does not begin with 'k_', the 'key.fields-prefix' (call the column 'k_v')"],
    );
    check(
        &table(UPSERT, &prefix[..1], &["k_id"]),
        Usage::Declared,
        expect![
            "'key.fields-prefix' is of use only where the value lacks the key's columns (add 'value.fields-include' = 'EXCEPT_KEY')"
        ],
    );
}

#[test]
fn combinations_that_mean_nothing_are_refused() {
    let json = ("format", "json");
    let refused = |more: &[(&str, &str)], usage, expected: Expect| {
        check(&table(&KAFKA[..3], &[&[json], more].concat(), &[]), usage, expected);
    };
    refused(
        &[],
        Usage::Source,
        expect![
            "'group-offsets' needs a group (add 'properties.group.id' = '...', or 'scan.startup.mode' = 'earliest-offset')"
        ],
    );
    refused(
        &[("scan.startup.mode", "latest-offset"), ("scan.startup.timestamp-millis", "1")],
        Usage::Source,
        expect![
            "'scan.startup.timestamp-millis' says nothing while 'scan.startup.mode' is 'latest-offset' (add 'scan.startup.mode' = 'timestamp', or leave it out)"
        ],
    );
    refused(
        &[("topic-pattern", "a.*")],
        Usage::Source,
        expect!["either 'topic' or 'topic-pattern' is given, not both"],
    );
    refused(
        &[("properties.max.poll.records", "5")],
        Usage::Declared,
        expect![
            "'properties.max.poll.records' is a setting of the Java client that means nothing here (leave it out: batches are as large as what has come)"
        ],
    );
    refused(
        &[("sink.delivery-guarante", "none")],
        Usage::Sink,
        expect!["'kafka' has no option 'sink.delivery-guarante' (did you mean 'sink.delivery-guarantee'?)"],
    );
    let several = [("connector", "kafka"), ("topic", "a;b"), ("properties.bootstrap.servers", "b:1"), json];
    check(
        &table(&several, &[("scan.startup.mode", "specific-offsets")], &[]),
        Usage::Source,
        expect![
            "'specific-offsets' names partitions of one topic, but the table reads several (declare a table for each topic)"
        ],
    );
    check(
        &table(&several, &[], &[]),
        Usage::Sink,
        expect!["to be written, a table has exactly one 'topic' (declare another table for what is written)"],
    );
}
