//! The rows that parts are measured with, and what is common to their bounds.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use criterion::{Bencher, Throughput};
use tidemill_engine::aggregate::{AggregateCall, resolve};

/// As many as the engine aims for.
pub const BATCH_ROWS: usize = 8192;

pub const KEY: usize = 0;
pub const CHANNEL: usize = 1;
pub const PRICE: usize = 2;

pub fn schema() -> SchemaRef {
    let column = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        column("auction", DataType::Int64),
        column("channel", DataType::Utf8),
        column("price", DataType::Int64),
        column("time", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ]))
}

/// Rows of these keys; their channels, of 12 to 20 bytes, have as many values.
pub fn rows(keys: impl Iterator<Item = usize> + Clone) -> RecordBatch {
    let numbers = || keys.clone().map(|key| key as i64);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers())),
        Arc::new(StringArray::from_iter_values(numbers().map(|key| format!("channel-{:04}", key * 7919)))),
        Arc::new(Int64Array::from_iter_values(numbers().map(|key| key * 31 % 100_000))),
        Arc::new(TimestampMillisecondArray::from_iter_values((0..).zip(numbers()).map(|(row, _)| row))),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
}

/// Row numbers become keys below `keys`, far apart. `keys` must not be a multiple of the prime.
pub fn scattered(row: usize, keys: usize) -> usize {
    row * 104_729 % keys
}

/// COUNT(*) and SUM(price).
pub fn calls() -> Vec<AggregateCall> {
    let call = |name: &str, args: &[usize]| {
        let factory = resolve(name, &vec![DataType::Int64; args.len()], &[], false).expect("the engine has it");
        let output = Field::new(name, factory.output_type(), true);
        AggregateCall { display: name.into(), output, factory, args: args.to_vec(), filter: None }
    };
    vec![call("count", &[]), call("sum", &[PRICE])]
}

pub fn throughput(rows: usize, bytes: usize) -> Throughput {
    Throughput::ElementsAndBytes { elements: rows as u64, bytes: bytes as u64 }
}

/// The bytes of some columns as they lie in memory, without bitmaps.
pub fn bytes_of(rows: &RecordBatch, columns: &[usize]) -> Vec<Vec<u8>> {
    let data = columns.iter().map(|column| rows.column(*column).to_data());
    data.flat_map(|data| data.buffers().iter().map(|buffer| buffer.to_vec()).collect::<Vec<_>>()).collect()
}

/// The bound of all that moves these bytes.
pub fn copy(bencher: &mut Bencher, sources: &[Vec<u8>]) {
    let mut targets = sources.to_vec();
    bencher.iter(|| {
        for (target, source) in targets.iter_mut().zip(sources) {
            target.copy_from_slice(black_box(source));
        }
        black_box(&mut targets);
    });
}
