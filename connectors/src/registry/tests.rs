//! Tables that cannot work, and the list of connectors.

use std::fmt::Write;

use arrow::datatypes::{DataType, Field, Schema};
use expect_test::{Expect, expect, expect_file};

use super::*;
use crate::table::MetadataColumn;

fn table(options: &[(&str, &str)]) -> TableSpec {
    TableSpec {
        name: "t".into(),
        columns: SchemaRef::new(Schema::new(vec![Field::new("id", DataType::Int64, true)])),
        metadata: vec![],
        partition_keys: vec![],
        primary_key: vec![],
        options: options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        time_zone: "UTC".into(),
    }
}

fn check(spec: &TableSpec, usage: Usage, expected: Expect) {
    let problems = Registry::standard().check(spec, usage).err().unwrap_or_default();
    expected.assert_eq(&problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn refused_tables_say_what_to_write() {
    check(
        &table(&[]),
        Usage::Declared,
        expect![
            "table 't' does not name its connector (add 'connector' = '...' to WITH; there are: 'filesystem', 'datagen', 'kafka', 'upsert-kafka', 'nexmark', 'print', 'blackhole', 'http', 'jdbc')"
        ],
    );
    check(
        &table(&[("conector", "kafka"), ("topic", "t")]),
        Usage::Declared,
        expect!["unknown option 'conector' (did you mean 'connector'?)"],
    );
    check(
        &table(&[("connector", "dategen")]),
        Usage::Declared,
        expect!["there is no connector 'dategen' (did you mean 'datagen'?)"],
    );
    check(
        &table(&[("connector", "pulsar")]),
        Usage::Declared,
        expect![
            "there is no connector 'pulsar' (there are: 'filesystem', 'datagen', 'kafka', 'upsert-kafka', 'nexmark', 'print', 'blackhole', 'http', 'jdbc')"
        ],
    );
    check(
        &table(&[("connector", "print")]),
        Usage::Source,
        expect![
            "table 't' cannot be read: 'print' does not do that (`tidemill connectors` says which connectors read and which write)"
        ],
    );
    check(
        &table(&[("connector", "datagen")]),
        Usage::Sink,
        expect![
            "table 't' cannot be written: 'datagen' does not do that (`tidemill connectors` says which connectors read and which write)"
        ],
    );
    check(
        &table(&[("connector", "datagen"), ("rows-per-secnd", "5")]),
        Usage::Source,
        expect!["'datagen' has no option 'rows-per-secnd' (did you mean 'rows-per-second'?)"],
    );
    let mut spec = table(&[("connector", "datagen")]);
    spec.metadata.push(MetadataColumn {
        name: "o".into(),
        key: "offset".into(),
        data_type: DataType::Int64,
        is_virtual: true,
    });
    check(&spec, Usage::Source, expect!["column 'o': 'datagen' has no metadata 'offset' (it has no metadata columns)"]);
    check(&table(&[("connector", "print"), ("scan.watermark.idle-timeout", "1 s")]), Usage::Sink, expect![[""]]);
}

#[test]
fn every_connector_describes_itself() {
    let mut text = String::new();
    for connector in Registry::standard().describe() {
        let ConnectorDescription { name, source, sink, guarantee, takes_changelog, .. } = &connector;
        writeln!(text, "{name}: source={source} sink={sink} {guarantee:?} changelog={takes_changelog}").expect("text");
        assert!(!connector.doc.is_empty());
        for option in &connector.options {
            assert!(!option.doc.is_empty(), "{}", option.key);
            writeln!(text, "  {} {:?} {:?}", option.key, option.side, option.default).expect("text");
        }
        for metadata in &connector.metadata {
            writeln!(text, "  metadata {} {}", metadata.key, metadata.data_type).expect("text");
        }
    }
    expect_file!["expected/connectors.txt"].assert_eq(&text);
}
