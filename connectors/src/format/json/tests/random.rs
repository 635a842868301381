//! Random rows and documents: round trips, every block cut, projections, mutations, other ways of writing, huge records.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::super::{JsonOptions, TimestampStandard, decoder, encoder};
use super::{ALL, decode, lenient, map_of, nested, render, schema};
use crate::format::{Block, Decoded};

/// All types at once, for the random tests.
fn wide_schema() -> SchemaRef {
    schema(&[
        ("boolean", DataType::Boolean),
        ("tiny", DataType::Int8),
        ("small", DataType::Int16),
        ("int", DataType::Int32),
        ("big", DataType::Int64),
        ("float", DataType::Float32),
        ("double", DataType::Float64),
        ("decimal", DataType::Decimal128(38, 10)),
        ("text", DataType::Utf8),
        ("bytes", DataType::Binary),
        ("date", DataType::Date32),
        ("time", DataType::Time32(TimeUnit::Millisecond)),
        ("ts3", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("ts9", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ("ltz", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("row", nested()),
        ("list", DataType::List(Arc::new(Field::new("item", nested(), true)))),
        ("map", map_of(DataType::List(Arc::new(Field::new("item", DataType::Int32, true))))),
    ])
}

fn encoded(options: &JsonOptions, rows: &RecordBatch) -> Vec<u8> {
    let mut out = Vec::new();
    encoder(options, &rows.schema()).expect("encoder").encode(rows, &mut out).expect("encodes");
    out
}

fn random_rows(random: &mut ChaCha8Rng, count: usize) -> RecordBatch {
    crate::format::test_rows::random_batch(&wide_schema(), count, random)
}

#[test]
fn what_is_encoded_decodes_to_the_same_rows() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for round in 0..50 {
        let rows = random_rows(&mut random, round);
        for timestamps in [TimestampStandard::Sql, TimestampStandard::Iso8601] {
            let ignore_null_fields = round % 2 == 0;
            let options = JsonOptions { timestamps, ignore_null_fields, ..Default::default() };
            let decoded = decode(&options, &rows.schema(), &encoded(&options, &rows)).expect("own output");
            assert_eq!(decoded.rows, rows, "round {round}");
        }
    }
}

#[test]
fn what_is_encoded_is_json_to_others() {
    let rows = random_rows(&mut ChaCha8Rng::seed_from_u64(2), 200);
    for line in encoded(&JsonOptions::default(), &rows).split_inclusive(|byte| *byte == b'\n') {
        serde_json::from_slice::<Value>(line).expect("JSON");
    }
}

#[test]
fn block_cuts_and_row_limits_change_nothing() {
    let schema = wide_schema();
    let text = encoded(&JsonOptions::default(), &random_rows(&mut ChaCha8Rng::seed_from_u64(3), 6));
    let text = [b"{\"bad\n\n".as_slice(), &text, b"{}"].concat();
    let whole = render(&decode(&lenient(), &schema, &text).expect("lenient"));
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    for cut in 0..text.len() {
        let mut decoder = decoder(&lenient(), &schema, &all, String::new()).expect("decoder");
        let (mut at, mut end, mut rows, mut rejected) = (0, cut, Vec::new(), Vec::new());
        while at < text.len() {
            let block = Block::lines(&text[at..end], at as u64, end == text.len());
            let decoded = decoder.decode(block, 1 + cut % 3).expect("lenient");
            if decoded.consumed == 0 {
                assert!(end < text.len(), "the last block is always taken");
                end = text.len();
            }
            at += decoded.consumed;
            rows.push(decoded.rows);
            rejected.extend(decoded.rejected);
        }
        let rows = arrow::compute::concat_batches(&schema, &rows).expect("same schema");
        assert_eq!(
            render(&Decoded { consumed: at, rows, kinds: None, rejected, messages: Vec::new() }),
            whole,
            "cut at {cut}"
        );
    }
}

#[test]
fn a_projection_gives_the_same_columns() {
    let schema = wide_schema();
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let rows = random_rows(&mut random, 50);
    let text = encoded(&JsonOptions::default(), &rows);
    for _ in 0..50 {
        let mut projection: Vec<usize> = (0..schema.fields().len()).filter(|_| random.random_bool(0.3)).collect();
        projection.reverse();
        let mut decoder = decoder(&JsonOptions::default(), &schema, &projection, String::new()).expect("decoder");
        let decoded = decoder.decode(Block::lines(&text, 0, true), ALL).expect("own output");
        assert_eq!(decoded.rows, rows.project(&projection).expect("in range"), "{projection:?}");
    }
}

/// Any bytes give rows or a rejected record each, and a record is rejected for its syntax exactly when serde_json
/// rejects it.
#[test]
fn mutated_records_never_panic_and_agree_with_serde_json() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let schema = wide_schema();
    let text = encoded(&JsonOptions::default(), &random_rows(&mut random, 40));
    let records: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|record| !record.is_empty()).collect();
    let pieces: &[&[u8]] = &[
        b"{", b"}", b"[", b"]", b"\"", b"\\", b",", b":", b"0", b"-", b"1e5", b"null", b"\xFF", b" ", b"\t", b"\\u00",
    ];
    for _ in 0..20_000 {
        let mut record = records[random.random_range(0..records.len())].to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..record.len());
            let behind = random.random_range(at..(at + 3).min(record.len()));
            let piece = pieces[random.random_range(0..pieces.len())];
            record.splice(at..behind, piece.iter().copied());
        }
        let decoded = decode(&lenient(), &schema, &record).expect("lenient");
        assert_eq!(decoded.rows.num_rows() + decoded.rejected.len(), 1);
        let none = decode(&lenient(), &super::schema(&[]), &record).expect("lenient");
        let json = serde_json::from_slice::<serde_json::Map<String, Value>>(&record).is_ok();
        assert_eq!(none.rows.num_rows() == 1, json, "{}", String::from_utf8_lossy(&record));
        assert!(json || decoded.rows.num_rows() == 0, "{}", String::from_utf8_lossy(&record));
    }
}

#[test]
fn huge_records_and_depths_are_ordinary() {
    let schema = schema(&[("a", DataType::Utf8), ("n", DataType::Int64)]);
    let depth = 100_000;
    let deep = format!("{{\"a\":{}{},\"n\":1}}\n", "[".repeat(depth), "]".repeat(depth));
    let long = format!("{{\"a\":\"{}\",\"n\":2}}\n", "x".repeat(100_000_000));
    let decoded = decode(&JsonOptions::default(), &schema, (deep + &long).as_bytes()).expect("JSON");
    assert_eq!(decoded.rows.num_rows(), 2);
    assert_eq!(decoded.rows.column(0).null_count(), 0);
}

#[test]
fn changing_shapes_and_data_as_keys_are_read() {
    let schema = schema(&[("a", DataType::Int64), ("b", DataType::Int64)]);
    let mut text = String::new();
    for row in 0..5000 {
        text += &match row % 3 {
            0 => format!("{{\"a\":{row},\"k{row}\":null,\"b\":{row}}}\n"),
            1 => format!("{{\"b\":{row}, \"a\":{row}}}\n"),
            _ => format!("{{\"k{row}\":1,\"a\" : {row},\"b\":{row}}}\n"),
        };
    }
    let decoded = decode(&JsonOptions::default(), &schema, text.as_bytes()).expect("JSON");
    let expected: Vec<i64> = (0..5000).collect();
    for column in decoded.rows.columns() {
        assert_eq!(column.as_ref(), &arrow::array::Int64Array::from(expected.clone()) as &dyn Array);
    }
}

/// A JSON text of the value as another program might write it: other white space, escapes, order and repeated keys.
fn write_oddly(value: &Value, random: &mut ChaCha8Rng, out: &mut String) {
    let space = |random: &mut ChaCha8Rng| ["", "", "", " ", "\t", "  \r"][random.random_range(0..6)];
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            for index in (1..fields.len()).rev() {
                fields.swap(index, random.random_range(0..=index));
            }
            *out += "{";
            for (index, (name, field)) in fields.iter().enumerate() {
                *out += if index > 0 { "," } else { "" };
                if random.random_ratio(1, 20) {
                    *out += &format!("{}: null,\"other\":[{{\"{name}\":0}}],", Value::from(name.as_str()));
                }
                *out += space(random);
                write_oddly(&Value::from(name.as_str()), random, out);
                *out += &format!("{}:{}", space(random), space(random));
                write_oddly(field, random, out);
                *out += space(random);
            }
            *out += "}";
        }
        Value::Array(elements) => {
            *out += "[";
            for (index, element) in elements.iter().enumerate() {
                *out += if index > 0 { "," } else { "" };
                *out += space(random);
                write_oddly(element, random, out);
                *out += space(random);
            }
            *out += "]";
        }
        Value::String(text) => {
            *out += "\"";
            for unit in text.encode_utf16() {
                match char::from_u32(unit.into()) {
                    Some(character)
                        if !random.random_ratio(1, 10) && character >= ' ' && !"\"\\".contains(character) =>
                    {
                        out.push(character);
                    }
                    _ => *out += &format!("\\u{unit:04X}"),
                }
            }
            *out += "\"";
        }
        other => *out += &other.to_string(),
    }
}

/// However a document is written, it gives the same rows.
#[test]
fn the_way_a_document_is_written_changes_nothing() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let rows = random_rows(&mut random, 300);
    let plain = encoded(&JsonOptions::default(), &rows);
    let mut odd = String::new();
    for line in plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let value: Value = serde_json::from_slice(line).expect("own output");
        let start = odd.len();
        write_oddly(&value, &mut random, &mut odd);
        serde_json::from_str::<Value>(&odd[start..]).expect("odd, but JSON");
        odd += "\n";
    }
    // A repeated key in a MAP is refused, and write_oddly repeats keys everywhere: leave MAPs out.
    let columns: Vec<usize> = (0..17).collect();
    let schema = Arc::new(wide_schema().project(&columns).expect("in range"));
    let decoded = decode(&JsonOptions::default(), &schema, odd.as_bytes()).expect("JSON");
    assert_eq!(decoded.rows, rows.project(&columns).expect("in range"));
}
