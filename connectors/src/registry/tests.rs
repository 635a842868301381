//! Tables that cannot work, and the list of connectors.

use std::fmt::Write;

use arrow::datatypes::{DataType, Field, Schema};
use expect_test::{Expect, expect};

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
            "table 't' does not name its connector (add 'connector' = '...' to WITH; there are: 'filesystem', 'datagen', 'print', 'blackhole')"
        ],
    );
    check(
        &table(&[("connector", "dategen")]),
        Usage::Declared,
        expect!["there is no connector 'dategen' (did you mean 'datagen'?)"],
    );
    check(
        &table(&[("connector", "kafka")]),
        Usage::Declared,
        expect!["there is no connector 'kafka' (there are: 'filesystem', 'datagen', 'print', 'blackhole')"],
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
    spec.metadata.push(MetadataColumn { name: "o".into(), key: "offset".into(), data_type: DataType::Int64 });
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
    expect![[r#"
        blackhole: source=false sink=true Some("none") changelog=true
          connector Both None
          scan.watermark.idle-timeout Source None
        datagen: source=true sink=false None changelog=false
          connector Both None
          scan.watermark.idle-timeout Source None
          rows-per-second Source Some("10000")
          number-of-rows Source None
          seed Source Some("0")
          fields.#.kind Source Some("random")
          fields.#.min Source None
          fields.#.max Source None
          fields.#.max-past Source None
          fields.#.length Source None
          fields.#.var-len Source None
          fields.#.null-rate Source None
          fields.#.start Source None
          fields.#.end Source None
          fields.#.step Source None
          fields.#.values Source None
        filesystem: source=true sink=true Some("exactly once") changelog=false
          connector Both None
          scan.watermark.idle-timeout Source None
          path Both None
          format Both None
          compression Both Some("auto")
          partition.default-name Both Some("__HIVE_DEFAULT_PARTITION__")
          source.path.regex-pattern Source None
          source.monitor-interval Source None
          source.split.size Source Some("32MB")
          sink.rolling-policy.file-size Sink Some("128MB")
          sink.rolling-policy.rollover-interval Sink Some("30 min")
          sink.rolling-policy.inactivity-interval Sink Some("30 min")
          sink.rolling-policy.check-interval Sink Some("1 min")
          sink.rolling-policy.on-checkpoint Sink Some("true")
          sink.partition-commit.policy.kind Sink Some("success-file")
          sink.partition-commit.success-file.name Sink Some("_SUCCESS")
          json.fail-on-missing-field Both Some("false")
          json.ignore-parse-errors Both Some("false")
          json.timestamp-format.standard Both Some("SQL")
          json.map-null-key.mode Both Some("FAIL")
          json.map-null-key.literal Both Some("null")
          json.encode.decimal-as-plain-number Both Some("false")
          json.encode.ignore-null-fields Both Some("false")
          csv.field-delimiter Both Some(",")
          csv.disable-quote-character Both Some("false")
          csv.quote-character Both Some("\"")
          csv.allow-comments Both Some("false")
          csv.ignore-parse-errors Both Some("false")
          csv.array-element-delimiter Both Some(";")
          csv.escape-character Both None
          csv.null-literal Both None
          csv.header Both Some("false")
          raw.charset Both Some("UTF-8")
          raw.endianness Both Some("big-endian")
          parquet.compression Both Some("SNAPPY")
          metadata file.path STRING
          metadata file.name STRING
          metadata file.size BIGINT
          metadata file.modification-time TIMESTAMP_LTZ(3)
        print: source=false sink=true Some("at least once") changelog=true
          connector Both None
          scan.watermark.idle-timeout Source None
          print-identifier Sink None
          standard-error Sink Some("false")
    "#]]
    .assert_eq(&text);
}
