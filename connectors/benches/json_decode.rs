//! How fast newline-delimited JSON becomes Arrow columns, beside what others do with the same records: arrow-json, serde_json
//! that only checks them, a search for newlines and a copy of the bytes.

mod records;

use std::hint::black_box;
use std::io::Cursor;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use records::{ALL_COLUMNS, BATCH_ROWS, RECORDS, copy, criterion, decode, schema, text, throughput};
use serde::de::IgnoredAny;

fn decode_tidemill(text: &str, projection: &[usize]) -> usize {
    let mut count = 0;
    decode(text, projection, |rows| count += black_box(rows).num_rows());
    count
}

fn decode_arrow_json(text: &str, projection: &[usize]) -> usize {
    let schema = Arc::new(schema().project(projection).expect("in range"));
    let reader = arrow::json::ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS);
    let reader = reader.build(Cursor::new(text)).expect("reader");
    reader.map(|rows| black_box(rows.expect("good records")).num_rows()).sum()
}

/// Reads every byte and keeps nothing.
fn check_serde_json(text: &str) -> usize {
    text.lines().map(|line| usize::from(black_box(serde_json::from_str::<IgnoredAny>(line)).is_ok())).sum()
}

fn json_decode(criterion: &mut Criterion) {
    let text = text();
    let mut group = criterion.benchmark_group("json decode");
    group.throughput(throughput(text.len()));
    let projections: [(&str, &[usize]); 4] =
        [("none", &[]), ("2 of 10", &[0, 6]), ("3 of 10", &[0, 2, 6]), ("all 10", ALL_COLUMNS)];
    for (name, projection) in projections {
        group.bench_function(BenchmarkId::new("tidemill", name), |bencher| {
            bencher.iter(|| assert_eq!(decode_tidemill(&text, projection), RECORDS));
        });
    }
    for (name, projection) in &projections[1..] {
        group.bench_function(BenchmarkId::new("arrow-json", name), |bencher| {
            bencher.iter(|| assert_eq!(decode_arrow_json(&text, projection), RECORDS));
        });
    }
    group.bench_function("serde_json, checks only", |bencher| {
        bencher.iter(|| assert_eq!(check_serde_json(&text), RECORDS));
    });
    group.bench_function("search for newlines", |bencher| {
        bencher.iter(|| assert_eq!(memchr::memchr_iter(b'\n', black_box(text.as_bytes())).count(), RECORDS));
    });
    group.bench_function("memory copy", |bencher| copy(bencher, text.as_bytes()));
    group.finish();
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = json_decode
}
criterion_main!(benches);
