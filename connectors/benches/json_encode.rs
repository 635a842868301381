//! How fast Arrow columns become newline-delimited JSON, beside arrow-json and a copy of the bytes that come out.

mod records;

use std::hint::black_box;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use records::{ALL_COLUMNS, RECORDS, copy, criterion, decode, schema, text, throughput};
use tidemill_connectors::format::{Format, RowEncoder};

fn encode(batches: &[RecordBatch], encoder: &mut dyn RowEncoder, out: &mut Vec<u8>) {
    out.clear();
    batches.iter().for_each(|rows| encoder.encode(black_box(rows), out).expect("JSON has all of these types"));
}

fn encode_arrow_json(batches: &[RecordBatch], out: &mut Vec<u8>) {
    out.clear();
    let mut writer = LineDelimitedWriter::new(out);
    batches.iter().for_each(|rows| writer.write(black_box(rows)).expect("JSON has all of these types"));
    writer.finish().expect("a Vec takes any bytes");
}

fn json_encode(criterion: &mut Criterion) {
    let mut batches = Vec::new();
    decode(&text(), ALL_COLUMNS, |rows| batches.push(rows));
    let mut group = criterion.benchmark_group("json encode");
    let projections: [(&str, &[usize]); 3] =
        [("4 numbers", &[0, 1, 2, 3]), ("3 strings and a time", &[4, 5, 6, 7]), ("all 10", ALL_COLUMNS)];
    for (name, projection) in projections {
        let schema = schema().project(projection).expect("in range").into();
        let batches: Vec<_> = batches.iter().map(|rows| rows.project(projection).expect("in range")).collect();
        let format = Format::parse("json", &Default::default()).expect("no options");
        let mut encoder = format.encoder(&schema).expect("encoder");
        let mut out = Vec::new();
        encode(&batches, encoder.as_mut(), &mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), RECORDS);
        group.throughput(throughput(out.len()));
        group.bench_function(BenchmarkId::new("memory copy", name), |bencher| copy(bencher, &out));
        group.bench_function(BenchmarkId::new("tidemill", name), |bencher| {
            bencher.iter(|| encode(&batches, encoder.as_mut(), black_box(&mut out)));
        });
        group.bench_function(BenchmarkId::new("arrow-json", name), |bencher| {
            bencher.iter(|| encode_arrow_json(&batches, black_box(&mut out)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = json_encode
}
criterion_main!(benches);
