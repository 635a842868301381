//! How fast newline-delimited JSON becomes Arrow columns, beside arrow-json and serde_json on the same records.
//! Records are of the Nexmark kind: ten fields, about 200 bytes.

use std::hint::black_box;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidemill_connectors::format::{Block, Format};

const RECORDS: usize = 20_000;
const BATCH_ROWS: usize = 8192;

fn schema() -> SchemaRef {
    let column = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        column("auction", DataType::Int64),
        column("bidder", DataType::Int64),
        column("price", DataType::Int64),
        column("rate", DataType::Float64),
        column("channel", DataType::Utf8),
        column("url", DataType::Utf8),
        column("dateTime", DataType::Timestamp(TimeUnit::Millisecond, None)),
        column("city", DataType::Utf8),
        column("active", DataType::Boolean),
        column("extra", DataType::Utf8),
    ]))
}

fn records() -> String {
    let record = |index: usize| {
        let (second, milli) = (index / 1000 % 60, index % 1000);
        format!(
            "{{\"auction\":{},\"bidder\":{},\"price\":{},\"rate\":{}.{:02},\"channel\":\"channel-{}\",\
             \"url\":\"https://www.nexmark.com/item.htm?query=1&id={}\",\"dateTime\":\"2024-03-01 10:07:{second:02}.{milli:03}\",\
             \"city\":\"Springfield\",\"active\":{},\"extra\":\"[MNM`IxtngkjlwyM\"}}\n",
            1000 + index * 7919 % 10_000,
            2000 + index * 104_729 % 50_000,
            index * 31 % 10_000_000,
            index % 100,
            index * 13 % 100,
            index % 10_000,
            index * 17 % 1_000_000,
            index.is_multiple_of(3),
        )
    };
    (0..RECORDS).map(record).collect()
}

fn decode(text: &str, projection: &[usize]) -> usize {
    let format = Format::parse("json", &Default::default()).expect("no options");
    let mut decoder = format.decoder(&schema(), projection, Path::new("bench")).expect("decoder");
    let (mut at, mut rows) = (0, 0);
    while at < text.len() {
        let block = Block::lines(&text.as_bytes()[at..], at as u64, true);
        let decoded = decoder.decode(block, BATCH_ROWS).expect("good records");
        at += decoded.consumed;
        rows += black_box(decoded.rows).num_rows();
    }
    rows
}

fn decode_arrow_json(text: &str, projection: &[usize]) -> usize {
    let schema = Arc::new(schema().project(projection).expect("in range"));
    let reader = arrow::json::ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS);
    let reader = reader.build(Cursor::new(text)).expect("reader");
    reader.map(|rows| black_box(rows.expect("good records")).num_rows()).sum()
}

fn decode_serde_json(text: &str) -> usize {
    text.lines().map(|line| black_box(serde_json::from_str::<serde_json::Value>(line)).is_ok() as usize).sum()
}

fn json_decode(criterion: &mut Criterion) {
    let text = records();
    let mut group = criterion.benchmark_group("json_decode");
    group.throughput(Throughput::ElementsAndBytes { elements: RECORDS as u64, bytes: text.len() as u64 });
    let projections: [(&str, &[usize]); 4] =
        [("none", &[]), ("2 of 10", &[0, 6]), ("3 of 10", &[0, 2, 6]), ("all", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])];
    for (name, projection) in projections {
        group.bench_function(BenchmarkId::new("tidemill", name), |bencher| {
            bencher.iter(|| assert_eq!(decode(&text, projection), RECORDS));
        });
    }
    for (name, projection) in &projections[1..] {
        group.bench_function(BenchmarkId::new("arrow-json", name), |bencher| {
            bencher.iter(|| assert_eq!(decode_arrow_json(&text, projection), RECORDS));
        });
    }
    group.bench_function("serde_json to a tree", |bencher| {
        bencher.iter(|| assert_eq!(decode_serde_json(&text), RECORDS));
    });
    group.finish();
}

criterion_group!(benches, json_decode);
criterion_main!(benches);
