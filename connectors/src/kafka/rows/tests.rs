//! Rows of messages, without a broker.

use arrow::datatypes::DataType;
use rdkafka::message::Timestamp;

use crate::table::MetadataColumn;

use super::*;

type Given<'a> = (Option<&'a str>, Option<&'a str>);

fn spec(connector: &str, more: &[(&str, &str)], primary_key: &[&str]) -> TableSpec {
    let options = [("connector", connector), ("topic", "t"), ("properties.bootstrap.servers", "b:1")];
    let fields = vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Utf8, true)];
    let offset =
        MetadataColumn { name: "o".into(), key: "offset".into(), data_type: DataType::Int64, is_virtual: true };
    TableSpec {
        name: "t".into(),
        columns: Arc::new(Schema::new(fields)),
        metadata: vec![offset],
        partition_keys: vec![],
        primary_key: primary_key.iter().map(ToString::to_string).collect(),
        options: options.iter().chain(more).map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        time_zone: "UTC".into(),
    }
}

/// One line per row: its kind and its columns.
fn rows(spec: &TableSpec, columns: &[&str], messages: &[Given<'_>]) -> Result<(Vec<String>, Vec<Rejected>)> {
    let table = KafkaTable::of(spec).expect("a sound table");
    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let layout = RowLayout::new(spec, &table, &columns, spec.project(&columns).expect("columns"));
    let mut rows = layout.rows("t", 0)?;
    for (index, (key, value)) in messages.iter().enumerate() {
        rows.taken.push(key.map(str::as_bytes), value.map(str::as_bytes), layout.wanted);
        rows.taken.offsets.push(100 + index as i64);
        rows.taken.timestamps.push(Timestamp::NotAvailable);
    }
    let (batch, rejected) = rows.make()?;
    let cell = |row: usize, column: &ArrayRef| {
        arrow::util::display::array_value_to_string(column, row).expect("every value has a text")
    };
    let line = |row: usize| {
        let cells: Vec<String> = batch.rows().columns().iter().map(|column| cell(row, column)).collect();
        format!("{} {}", batch.kind(row).symbol(), cells.join(","))
    };
    Ok(((0..batch.num_rows()).map(line).collect(), rejected))
}

const UPSERT: &[(&str, &str)] =
    &[("key.format", "json"), ("value.format", "json"), ("value.json.ignore-parse-errors", "true")];

#[test]
fn a_message_without_a_value_deletes_its_key() {
    let messages: [Given<'_>; 4] = [
        (Some(r#"{"k":1}"#), Some(r#"{"k":1,"v":"a"}"#)),
        (Some(r#"{"k":2}"#), None),
        (Some(r#"{"k":1}"#), Some("what?")),
        (Some(r#"{"k":3}"#), Some(r#"{"k":3}"#)),
    ];
    for include in ["ALL", "EXCEPT_KEY"] {
        let options = [UPSERT, &[("value.fields-include", include)]].concat();
        let (lines, rejected) =
            rows(&spec("upsert-kafka", &options, &["k"]), &["o", "v", "k"], &messages).expect("rows");
        assert_eq!(lines, ["+I 100,a,1", "-D 101,,2", "+I 103,,3"]);
        assert_eq!(rejected.iter().map(|one| one.offset).collect::<Vec<_>>(), [102]);
    }
}

#[test]
fn upserts_without_a_key_are_bad_records() {
    let spec = spec("upsert-kafka", &[("key.format", "csv"), ("value.format", "json")], &["k"]);
    let error = rows(&spec, &["k", "v"], &[(Some("1"), Some("{}")), (None, Some("{}"))]).expect_err("no key");
    assert!(error.to_string().contains("message 101 of topic 't', partition 0"), "{error}");
}

#[test]
fn only_the_rejected_one_of_equal_empty_messages_is_left_out() {
    let options = [("format", "json"), ("json.ignore-parse-errors", "true")];
    let row = Some(r#"{"k":1,"v":"a"}"#);
    let messages = [(None, row), (None, None), (None, Some("")), (None, row)];
    let (lines, rejected) = rows(&spec("kafka", &options, &[]), &["o", "k"], &messages).expect("rows");
    assert_eq!(lines, ["+I 100,1", "+I 103,1"]);
    assert_eq!(rejected.iter().map(|one| one.offset).collect::<Vec<_>>(), [102], "without a value it is no record");
}
