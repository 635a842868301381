//! Tables of records and what they give. Random documents are in [`random`].

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use expect_test::{Expect, expect};

use super::{JsonOptions, TimestampStandard, decoder};
use crate::format::{Block, Decoded};

mod random;

const ALL: usize = usize::MAX;

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn lenient() -> JsonOptions {
    JsonOptions { ignore_parse_errors: true, ..Default::default() }
}

fn decode(options: &JsonOptions, schema: &SchemaRef, text: &[u8]) -> tidemill_engine::Result<Decoded> {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let mut decoder = decoder(options, schema, &all, "in.json".into())?;
    decoder.decode(Block::lines(text, 0, true), ALL)
}

/// Rows with `|` between the values, then what was rejected.
fn render(decoded: &Decoded) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let mut text = String::new();
    for row in 0..decoded.rows.num_rows() {
        let cells = decoded.rows.columns().iter().map(|column| {
            ArrayFormatter::try_new(column.as_ref(), &options).expect("printable").value(row).to_string()
        });
        text += &format!("{}\n", cells.collect::<Vec<_>>().join(" | "));
    }
    for rejected in &decoded.rejected {
        text += &format!("rejected at {}: {}\n", rejected.offset, rejected.reason);
    }
    text
}

fn check(data_type: DataType, values: &[&str], expected: Expect) {
    check_with(&lenient(), data_type, values, expected);
}

fn check_with(options: &JsonOptions, data_type: DataType, values: &[&str], expected: Expect) {
    let schema = schema(&[("x", data_type)]);
    let mut text = String::new();
    for value in values {
        let decoded = decode(options, &schema, format!("{{\"x\":{value}}}").as_bytes()).expect("lenient");
        text += &format!("{value} => {}", render(&decoded));
    }
    expected.assert_eq(&text);
}

#[test]
fn integers() {
    check(
        DataType::Int32,
        &[
            "1",
            "-1",
            "\"7\"",
            "\" 7 \"",
            "1.0",
            "1e2",
            "1.5",
            "2147483648",
            "true",
            "\"\"",
            "null",
            "[]",
            "{}",
            "01",
            "-",
        ],
        expect![[r#"
            1 => 1
            -1 => -1
            "7" => 7
            " 7 " => 7
            1.0 => 1
            1e2 => 100
            1.5 => rejected at 0: column x: "1.5" is out of range for INT
            2147483648 => rejected at 0: column x: "2147483648" is out of range for INT
            true => rejected at 0: column x: true or false is not a value of type INT
            "" => rejected at 0: column x: "" is not a value of type INT
            null => NULL
            [] => rejected at 0: column x: an array is not a value of type INT
            {} => rejected at 0: column x: an object is not a value of type INT
            01 => rejected at 0: column x: not JSON: '0' stands at character 6 where a number should be
            - => rejected at 0: column x: not JSON: '-' stands at character 6 where a number should be
        "#]],
    );
    check(
        DataType::Int8,
        &["127", "128", "\"-128\""],
        expect![[r#"
        127 => 127
        128 => rejected at 0: column x: "128" is out of range for TINYINT
        "-128" => -128
    "#]],
    );
    check(
        DataType::Int64,
        &["9223372036854775807", "-9223372036854775808", "9223372036854775808"],
        expect![[r#"
        9223372036854775807 => 9223372036854775807
        -9223372036854775808 => -9223372036854775808
        9223372036854775808 => rejected at 0: column x: "9223372036854775808" is out of range for BIGINT
    "#]],
    );
}

#[test]
fn floats_and_decimals() {
    check(
        DataType::Float64,
        &["1", "0.1", "-1e-7", "1e999", "\"NaN\"", "NaN", "\"Infinity\"", "\"1d\""],
        expect![[r#"
            1 => 1.0
            0.1 => 0.1
            -1e-7 => -1e-7
            1e999 => rejected at 0: column x: "1e999" is out of range for DOUBLE
            "NaN" => NaN
            NaN => rejected at 0: column x: not JSON: 'N' stands at character 6 where a value should be
            "Infinity" => inf
            "1d" => rejected at 0: column x: "1d" is not a value of type DOUBLE
        "#]],
    );
    check(
        DataType::Float32,
        &["0.1", "16777217", "1e39"],
        expect![[r#"
        0.1 => 0.1
        16777217 => 16777216.0
        1e39 => rejected at 0: column x: "1e39" is out of range for FLOAT
    "#]],
    );
    check(
        DataType::Decimal128(5, 2),
        &["1", "1.005", "\"999.99\"", "999.995", "1e2", "\"abc\""],
        expect![[r#"
        1 => 1.00
        1.005 => 1.01
        "999.99" => 999.99
        999.995 => rejected at 0: column x: "999.995" is out of range for DECIMAL(5, 2)
        1e2 => 100.00
        "abc" => rejected at 0: column x: "abc" is not a value of type DECIMAL(5, 2)
    "#]],
    );
}

#[test]
fn texts_booleans_and_bytes() {
    check(
        DataType::Utf8,
        &[
            "\"a\"",
            "\"\\u00e9\\n\\\"\\ud83d\\ude00\"",
            "1.50",
            "true",
            "null",
            "{ \"a\" : [ 1, \"b c\\\"\" ] }",
            "\"\\ud83d\"",
            "\"a",
        ],
        expect![[r#"
            "a" => a
            "\u00e9\n\"\ud83d\ude00" => é
            "😀
            1.50 => 1.50
            true => true
            null => NULL
            { "a" : [ 1, "b c\"" ] } => {"a":[1,"b c\""]}
            "\ud83d" => rejected at 0: column x: not JSON: '\\' stands at character 7 where a valid escape sequence should be
            "a => rejected at 0: column x: not JSON: the record ends at character 9 where the end of a string should be
        "#]],
    );
    check(
        DataType::Boolean,
        &["true", "false", "\"TRUE\"", "\"yes\"", "1", "tru"],
        expect![[r#"
        true => true
        false => false
        "TRUE" => true
        "yes" => rejected at 0: column x: "yes" is not a value of type BOOLEAN
        1 => rejected at 0: column x: a number is not a value of type BOOLEAN
        tru => rejected at 0: column x: not JSON: 't' stands at character 6 where a value should be
    "#]],
    );
    check(
        DataType::Binary,
        &["\"AQID\"", "\"AQI\"", "1"],
        expect![[r#"
        "AQID" => 010203
        "AQI" => rejected at 0: column x: not base64: Invalid padding
        1 => rejected at 0: column x: a number is not a value of type BYTES
    "#]],
    );
}

#[test]
fn times() {
    let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
    let values = [
        "\"2024-02-29 12:00:00\"",
        "\"2024-02-29 12:00:00.123456\"",
        "\"2024-02-29T12:00:00\"",
        "\"2023-02-29 12:00:00\"",
        "\"2024-02-29 12:00:00Z\"",
        "1709208000000",
        "\"\"",
    ];
    check(
        millis.clone(),
        &values,
        expect![[r#"
        "2024-02-29 12:00:00" => 2024-02-29T12:00:00
        "2024-02-29 12:00:00.123456" => 2024-02-29T12:00:00.123
        "2024-02-29T12:00:00" => rejected at 0: column x: "2024-02-29T12:00:00" is not a value of type TIMESTAMP(3): it is written in the other standard, set 'json.timestamp-format.standard' = 'ISO-8601'
        "2023-02-29 12:00:00" => rejected at 0: column x: "2023-02-29 12:00:00" is not a value of type TIMESTAMP(3), which looks like 2024-12-31 23:59:59.123
        "2024-02-29 12:00:00Z" => rejected at 0: column x: "2024-02-29 12:00:00Z" is not a value of type TIMESTAMP(3): it ends in Z, so declare the column as TIMESTAMP_LTZ
        1709208000000 => rejected at 0: column x: a number is not a value of type TIMESTAMP(3): declare the column as BIGINT and add a computed column with TO_TIMESTAMP_LTZ(column, 3)
        "" => rejected at 0: column x: "" is not a value of type TIMESTAMP(3), which looks like 2024-12-31 23:59:59.123
    "#]],
    );
    let iso = JsonOptions { timestamps: TimestampStandard::Iso8601, ..lenient() };
    check_with(
        &iso,
        millis,
        &["\"2024-02-29T12:00:00\"", "\"2024-02-29T12:00\"", "\"2024-02-29 12:00:00\""],
        expect![[r#"
            "2024-02-29T12:00:00" => 2024-02-29T12:00:00
            "2024-02-29T12:00" => 2024-02-29T12:00:00
            "2024-02-29 12:00:00" => rejected at 0: column x: "2024-02-29 12:00:00" is not a value of type TIMESTAMP(3): it is written in the other standard, set 'json.timestamp-format.standard' = 'SQL'
        "#]],
    );
    let local = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into()));
    check(
        local,
        &["\"2024-02-29 12:00:00.5Z\"", "\"2024-02-29 12:00:00\""],
        expect![[r#"
        "2024-02-29 12:00:00.5Z" => 2024-02-29T13:00:00.500+01:00
        "2024-02-29 12:00:00" => rejected at 0: column x: "2024-02-29 12:00:00" is not a value of type TIMESTAMP_LTZ(6): a TIMESTAMP_LTZ ends in Z; declare the column as TIMESTAMP
    "#]],
    );
    check(
        DataType::Date32,
        &["\"2024-02-29\"", "\"2024-2-29\"", "19000"],
        expect![[r#"
        "2024-02-29" => 2024-02-29
        "2024-2-29" => rejected at 0: column x: "2024-2-29" is not a value of type DATE
        19000 => rejected at 0: column x: a number is not a value of type DATE
    "#]],
    );
    check(
        DataType::Time32(TimeUnit::Millisecond),
        &["\"23:59:59.999\"", "\"24:00:00\""],
        expect![[r#"
            "23:59:59.999" => 23:59:59.999
            "24:00:00" => rejected at 0: column x: "24:00:00" is not a value of type TIME(3)
        "#]],
    );
}

fn nested() -> DataType {
    let inner = Fields::from(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]);
    DataType::Struct(inner)
}

fn map_of(value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

#[test]
fn containers() {
    check(
        nested(),
        &[
            "{\"a\":1,\"b\":\"x\"}",
            "{\"b\":\"x\",\"c\":[{}],\"a\":2}",
            "{}",
            "null",
            "{\"a\":1,\"a\":2}",
            "{\"a\":\"x\"}",
            "[1]",
            "{\"a\":1,}",
        ],
        expect![[r#"
            {"a":1,"b":"x"} => {a: 1, b: x}
            {"b":"x","c":[{}],"a":2} => {a: 2, b: x}
            {} => {a: NULL, b: NULL}
            null => NULL
            {"a":1,"a":2} => {a: 2, b: NULL}
            {"a":"x"} => rejected at 0: column x: column a: "x" is not a value of type BIGINT
            [1] => rejected at 0: column x: an array is not a value of type ROW<a BIGINT, b STRING>
            {"a":1,} => rejected at 0: column x: not JSON: '}' stands at character 13 where a string should be
        "#]],
    );
    let list = DataType::List(Arc::new(Field::new("item", nested(), true)));
    check(
        list,
        &["[]", "[{\"a\":1},null]", "[{\"a\":1},2]", "{}", "[1"],
        expect![[r#"
            [] => []
            [{"a":1},null] => [{a: 1, b: NULL}, NULL]
            [{"a":1},2] => rejected at 0: column x: "2" is not a value of type ROW<a BIGINT, b STRING>
            {} => rejected at 0: column x: an object is not a value of type ARRAY<ROW<a BIGINT, b STRING>>
            [1 => rejected at 0: column x: "1" is not a value of type ROW<a BIGINT, b STRING>
        "#]],
    );
    check(
        map_of(DataType::Int32),
        &["{}", "{\"k\":1,\"l\":null}", "{\"k\":\"x\"}", "[]"],
        expect![[r#"
            {} => {}
            {"k":1,"l":null} => {k: 1, l: NULL}
            {"k":"x"} => rejected at 0: column x: "x" is not a value of type INT
            [] => rejected at 0: column x: an array is not a value of type MAP<STRING, INT>
        "#]],
    );
}

#[test]
fn records() {
    let schema = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    let text = "{\"a\":1,\"b\":\"x\"}\r\n\n  \n{\"b\":\"y\"}\n{\"a\":1,\"a\":2}\n{}\n[1]\n{\"a\":1}x\n{\"c\":{\"a\":[1,{\"a\":5}]},\"a\":3}\n\
                {\"a\":4,\"z\":nope}\n{\"\\u0061\":5}\n{\"a\" : 6 , \"b\":null}\n{\"a\":7";
    let decoded = decode(&lenient(), &schema, text.as_bytes()).expect("lenient");
    assert_eq!(decoded.consumed, text.len());
    expect![[r#"
        1 | x
        NULL | y
        2 | NULL
        NULL | NULL
        3 | NULL
        5 | NULL
        6 | NULL
        rejected at 48: not JSON: '[' stands at character 1 where a JSON object should be
        rejected at 52: not JSON: 'x' stands at character 8 where the end of the line should be
        rejected at 91: not JSON: 'n' stands at character 12 where a value should be
        rejected at 142: not JSON: the record ends at character 7 where ',' or '}' should be
    "#]]
    .assert_eq(&render(&decoded));
}

#[test]
fn invalid_utf8_is_a_bad_record_wherever_it_stands() {
    let schema = schema(&[("a", DataType::Utf8)]);
    let text = b"{\"a\":\"ok\"}\n{\"b\":\"\xFF\"}\n{\"a\":\"\xC3\xA9\"}\n{\"a\":\"\xC3\"}\n{\"a\":\"end\"}\n";
    let decoded = decode(&lenient(), &schema, text).expect("lenient");
    expect![[r#"
        ok
        é
        end
        rejected at 11: the record is not UTF-8
        rejected at 32: the record is not UTF-8
    "#]]
    .assert_eq(&render(&decoded));
}

#[test]
fn a_strict_decoder_says_where_and_what_to_do() {
    let schema = schema(&[("a", DataType::Int64)]);
    let error = decode(&JsonOptions::default(), &schema, b"{\"a\":1}\n{\"a\":\"x\"}\n").expect_err("bad");
    expect![[r#"
        bad record in in.json at byte 8: column a: "x" is not a value of type BIGINT
          record: {"a":"x"}
          hint: correct the record, or set 'json.ignore-parse-errors' = 'true' to leave bad records out and keep them in <table>$errors"#]].assert_eq(&error.to_string());
    let strict = JsonOptions { fail_on_missing_field: true, ..Default::default() };
    let error = decode(&strict, &schema, b"{\"b\":1}\n").expect_err("missing");
    expect![[r#"
        bad record in in.json at byte 0: column a: the record has no such field
          record: {"b":1}
          hint: correct the record, or set 'json.ignore-parse-errors' = 'true' to leave bad records out and keep them in <table>$errors"#]].assert_eq(&error.to_string());
    let required = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
    let error = decode(&JsonOptions::default(), &required, b"{\"a\":null}\n").expect_err("null");
    expect![[r#"
        bad record in in.json at byte 0: column a: NULL in a NOT NULL column
          record: {"a":null}
          hint: correct the record, or set 'json.ignore-parse-errors' = 'true' to leave bad records out and keep them in <table>$errors"#]].assert_eq(&error.to_string());
}
