//! From key columns to key bytes and their hashes, as operators have it done for each batch.

use std::hint::black_box;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use criterion::{BenchmarkId, Criterion};
use tidemill_engine::operators::key_table::KeyColumns;
use xxhash_rust::xxh3::xxh3_64;

use crate::input::{BATCH_ROWS, CHANNEL, KEY, bytes_of, copy, rows, scattered, throughput};

pub fn hashing(criterion: &mut Criterion) {
    let rows = rows((0..BATCH_ROWS).map(|row| scattered(row, 10_000)));
    let mut group = criterion.benchmark_group("key hashing");
    for (name, columns) in [("BIGINT", vec![KEY]), ("STRING", vec![CHANNEL]), ("BIGINT, STRING", vec![KEY, CHANNEL])] {
        let keys = KeyColumns::new(&columns, &rows.schema()).expect("keys can be encoded");
        let bytes = bytes_of(&rows, &columns);
        group.throughput(throughput(BATCH_ROWS, bytes.iter().map(Vec::len).sum()));
        group.bench_function(BenchmarkId::new("tidemill", name), |bencher| {
            bencher.iter(|| keys.encode(black_box(&rows)).expect("keys can be encoded"));
        });
        group.bench_function(BenchmarkId::new("xxh3 of each value", name), |bencher| {
            let mut hashes = vec![0; BATCH_ROWS];
            bencher.iter(|| columns.iter().for_each(|column| add_hashes(&rows, *column, black_box(&mut hashes))));
        });
        group.bench_function(BenchmarkId::new("memory copy", name), |bencher| copy(bencher, &bytes));
    }
    group.finish();
}

fn add_hashes(rows: &RecordBatch, column: usize, hashes: &mut [u64]) {
    let column = rows.column(column);
    match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            hashes.iter_mut().enumerate().for_each(|(row, hash)| *hash ^= xxh3_64(texts.value(row).as_bytes()));
        }
        _ => {
            let numbers = column.as_primitive::<Int64Type>().values();
            hashes.iter_mut().zip(numbers).for_each(|(hash, number)| *hash ^= xxh3_64(&number.to_le_bytes()));
        }
    }
}
