//! Envelopes as Flink reads and writes them, and what is wrong with bad ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use expect_test::{Expect, expect};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemill_engine::{Batch, RowKind};

use crate::format::{Block, Decoded, Format};
use crate::print::{PrintStyle, write_value};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]))
}

pub(super) fn format(name: &str, options: &[(&str, &str)]) -> Format {
    let options: BTreeMap<_, _> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Format::parse(name, &options).expect("good options")
}

pub(super) fn decode(
    format: &Format,
    projection: &[usize],
    text: &str,
    rows_max: usize,
) -> tidemill_engine::Result<Vec<Decoded>> {
    let mut decoder = format.decoder(&schema(), projection, Path::new("f.json"))?;
    let (mut at, mut all) = (0, Vec::new());
    while at < text.len() {
        let block = Block::lines(&text.as_bytes()[at..], at as u64, true);
        let decoded = decoder.decode(block, rows_max)?;
        at += decoded.consumed;
        all.push(decoded);
    }
    Ok(all)
}

pub(super) fn shown(decoded: Vec<Decoded>) -> String {
    let mut text = String::new();
    for decoded in decoded {
        let (batch, rejected) = decoded.into_batch();
        show_rows(&batch, &mut text);
        for bad in rejected {
            text += &format!("bad at {}: {}\n", bad.offset, bad.reason);
        }
    }
    text
}

fn show_rows(batch: &Batch, text: &mut String) {
    for row in 0..batch.num_rows() {
        *text += batch.kind(row).symbol();
        for column in batch.rows().columns() {
            text.push(' ');
            write_value(text, column, row, PrintStyle::Table).expect("a value");
        }
        text.push('\n');
    }
}

pub(super) fn check(format: &Format, text: &str, expected: Expect) {
    let whole = shown(decode(format, &[0, 1], text, 100).expect("good records"));
    for rows_max in [1, 2, 3] {
        let cut = decode(format, &[0, 1], text, rows_max).expect("good records");
        // A record gives two rows for each that it updates, and comes whole.
        assert!(cut.iter().all(|decoded| decoded.rows.num_rows() <= rows_max.max(4)));
        assert_eq!(rejected_last(&shown(cut)), whole, "{rows_max} rows at a time");
    }
    expected.assert_eq(&whole);
}

/// Rejected records are shown behind their batch's rows, so those of small batches come earlier.
fn rejected_last(shown: &str) -> String {
    let mut lines: Vec<&str> = shown.lines().collect();
    lines.sort_by_key(|line| line.starts_with("bad"));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn debezium_tells_old_and_new_rows() {
    let text = r#"{"before":null,"after":{"id":1,"name":"a"},"source":{"db":"x","ts_ms":1},"op":"c","ts_ms":5,"transaction":null}
{"op":"r","after":{"name":"b","id":2}}

{"before":{"id":1,"name":"a"},"after":{"id":1,"name":null},"op":"u"}
{"before":{"id":2,"name":"b"},"after":null,"op":"d"}
"#;
    check(
        &format("debezium-json", &[]),
        text,
        expect![[r#"
        +I 1 a
        +I 2 b
        -U 1 a
        +U 1 NULL
        -D 2 b
    "#]],
    );
    let wrapped: String = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| format!("{{\"schema\":{{\"type\":\"struct\"}},\"payload\":{line}}}\n"))
        .collect();
    check(
        &format("debezium-json", &[("debezium-json.schema-include", "true")]),
        &wrapped,
        expect![[r#"
        +I 1 a
        +I 2 b
        -U 1 a
        +U 1 NULL
        -D 2 b
    "#]],
    );
}

#[test]
fn changelog_rows_say_their_kind() {
    let text = r#"{"data":{"id":1,"name":"a"},"op":"+I"}
{"op":"-U","data":{"id":1,"name":"a"}}
{"data":{"id":1,"name":"A"},"op":"+U"}
{"data":{"id":1,"name":"A"},"op":"-D"}
"#;
    check(
        &format("changelog-json", &[]),
        text,
        expect![[r#"
        +I 1 a
        -U 1 a
        +U 1 A
        -D 1 A
    "#]],
    );
}

#[test]
fn bad_envelopes_say_what_they_lack() {
    let lenient = format("debezium-json", &[("debezium-json.ignore-parse-errors", "true")]);
    let text = r#"{"before":null,"after":{"id":1,"name":"a"},"op":"c"}
{"after":{"id":2},"op":"t"}
{"after":{"id":2}}
{"schema":{},"payload":{"after":{"id":2},"op":"c"}}
{"before":null,"after":{"id":2},"op":"u"}
{"before":{"id":2},"op":"u"}
{"before":{"name":"a"},"op":"d"}
{"after":{"id":"x"},"op":"c"}
{"after":[1],"op":"c"}
{"after":{"id":3},"op":7}
not json
{"after":{"id":4},"op":"c"}
"#;
    check(
        &lenient,
        text,
        expect![[r#"
            +I 1 a
            +I 4 NULL
            bad at 53: op "t" is none of c, r, u and d
            bad at 81: the record has no "op": where it stands in a "payload", set 'debezium-json.schema-include' = 'true'
            bad at 100: the record has no "op": where it stands in a "payload", set 'debezium-json.schema-include' = 'true'
            bad at 152: the record has no "before", which op "u" needs: let the source tell whole old rows (in PostgreSQL: ALTER TABLE ... REPLICA IDENTITY FULL)
            bad at 194: the record has no "after", which op "u" needs
            bad at 223: column id: NULL in a NOT NULL column
            bad at 256: column after: column id: "x" is not a value of type BIGINT
            bad at 286: column after: an array is not a value of type ROW<id BIGINT, name STRING>
            bad at 309: op "7" is none of c, r, u and d
            bad at 335: not JSON: 'n' stands at character 1 where a JSON object should be
        "#]],
    );
    let lenient = format("changelog-json", &[("changelog-json.ignore-parse-errors", "true")]);
    check(
        &lenient,
        "{\"op\":\"+I\"}\n{\"data\":{\"id\":1},\"op\":\"I\"}\n{\"data\":{\"id\":1}}\n",
        expect![[r#"
        bad at 0: the record has no "data", which op "+I" needs
        bad at 12: op "I" is none of +I, -U, +U and -D
        bad at 39: the record has no "op"
    "#]],
    );
    let wrapped = [("debezium-json.schema-include", "true"), ("debezium-json.ignore-parse-errors", "true")];
    check(
        &format("debezium-json", &wrapped),
        "{\"op\":\"c\",\"after\":{\"id\":1}}\n{\"payload\":null}\n",
        expect![[r#"
            bad at 0: the record has no "payload": where records have none, leave 'debezium-json.schema-include' out
            bad at 28: the record has no "payload": where records have none, leave 'debezium-json.schema-include' out
        "#]],
    );
}

#[test]
fn a_bad_envelope_fails_the_job_with_its_place() {
    let text = "{\"after\":{\"id\":1},\"op\":\"c\"}\n{\"after\":{\"id\":2},\"op\":\"u\"}\n";
    let error = decode(&format("debezium-json", &[]), &[0, 1], text, 100).expect_err("no before");
    expect![[r#"
        bad record in f.json at byte 28: the record has no "before", which op "u" needs: let the source tell whole old rows (in PostgreSQL: ALTER TABLE ... REPLICA IDENTITY FULL)
          record: {"after":{"id":2},"op":"u"}
          hint: correct the record, or set 'debezium-json.ignore-parse-errors' = 'true' to leave bad records out and keep them in <table>$errors"#]].assert_eq(&error.to_string());
}

#[test]
fn only_columns_that_are_read_matter() {
    let text = "{\"after\":{\"id\":\"no number\",\"name\":\"a\"},\"op\":\"c\"}\n";
    let format = format("debezium-json", &[]);
    expect![["+I a\n"]].assert_eq(&shown(decode(&format, &[1], text, 10).expect("good")));
    expect![["+I\n"]].assert_eq(&shown(decode(&format, &[], text, 10).expect("good")));
    decode(&format, &[0], text, 10).expect_err("the id is read");
}

fn changes(rng: &mut ChaCha8Rng, rows: usize) -> Batch {
    let ids: Vec<i64> = (0..rows).map(|_| rng.random_range(0..9)).collect();
    let names: Vec<Option<String>> =
        (0..rows).map(|_| rng.random_bool(0.8).then(|| format!("n\"{}\n", rng.random_range(0..99)))).collect();
    let columns =
        RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(ids)), Arc::new(StringArray::from(names))]);
    let kinds = (0..rows).map(|_| rng.random_range(0..4)).collect::<Vec<i8>>();
    Batch::with_kinds(columns.expect("rows"), Int8Array::from(kinds))
}

fn encode(format: &Format, batch: &Batch) -> String {
    let mut out = Vec::new();
    let mut encoder = format.encoder(&schema()).expect("an encoder");
    encoder.encode_changes(batch.rows(), batch.kinds(), &mut out).expect("encoded");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn what_is_written_reads_back() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..20 {
        let rows = rng.random_range(0..50);
        let batch = changes(&mut rng, rows);
        let formats =
            [("changelog-json", false), ("debezium-json", true), ("canal-json", true), ("maxwell-json", true)];
        for (name, halves_are_whole) in formats {
            let format = format(name, &[]);
            let mut expected = String::new();
            show_rows(&batch, &mut expected);
            if halves_are_whole {
                expected = expected.replace("-U ", "-D ").replace("+U ", "+I ");
            }
            let rows_max = rng.random_range(1..60);
            assert_eq!(shown(decode(&format, &[0, 1], &encode(&format, &batch), rows_max).expect("good")), expected);
        }
    }
}

#[test]
fn envelopes_look_as_flink_writes_them() {
    let rows = RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(Int64Array::from(vec![1, 1, 1, 1])),
            Arc::new(StringArray::from(vec![Some("a"), Some("a"), None, None])),
        ],
    );
    let kinds = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete].map(|kind| kind as i8);
    let batch = Batch::with_kinds(rows.expect("rows"), Int8Array::from(kinds.to_vec()));
    let nulls = format("debezium-json", &[("debezium-json.encode.ignore-null-fields", "true")]);
    let text = encode(&nulls, &batch)
        + &encode(&format("changelog-json", &[]), &batch)
        + &encode(&format("canal-json", &[]), &batch)
        + &encode(&format("maxwell-json", &[]), &batch);
    expect![[r#"
        {"before":null,"after":{"id":1,"name":"a"},"op":"c"}
        {"before":{"id":1,"name":"a"},"after":null,"op":"d"}
        {"before":null,"after":{"id":1},"op":"c"}
        {"before":{"id":1},"after":null,"op":"d"}
        {"data":{"id":1,"name":"a"},"op":"+I"}
        {"data":{"id":1,"name":"a"},"op":"-U"}
        {"data":{"id":1,"name":null},"op":"+U"}
        {"data":{"id":1,"name":null},"op":"-D"}
        {"data":[{"id":1,"name":"a"}],"type":"INSERT"}
        {"data":[{"id":1,"name":"a"}],"type":"DELETE"}
        {"data":[{"id":1,"name":null}],"type":"INSERT"}
        {"data":[{"id":1,"name":null}],"type":"DELETE"}
        {"data":{"id":1,"name":"a"},"type":"insert"}
        {"data":{"id":1,"name":"a"},"type":"delete"}
        {"data":{"id":1,"name":null},"type":"insert"}
        {"data":{"id":1,"name":null},"type":"delete"}
    "#]]
    .assert_eq(&text);
}
