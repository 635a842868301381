//! Records of the Nexmark kind, ten fields and about 200 bytes, for the benchmarks of formats.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use criterion::{Bencher, Criterion, Throughput};
use tidemill_connectors::format::{Block, Format};

pub const RECORDS: usize = 20_000;
pub const BATCH_ROWS: usize = 8192;
pub const ALL_COLUMNS: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub fn schema() -> SchemaRef {
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

pub fn text() -> String {
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

/// Decodes these columns of all records and calls `each` with the rows.
pub fn decode(text: &str, projection: &[usize], mut each: impl FnMut(RecordBatch)) {
    let format = Format::parse("json", &Default::default()).expect("no options");
    let mut decoder = format.decoder(&schema(), projection, Path::new("bench")).expect("decoder");
    let mut at = 0;
    while at < text.len() {
        let block = Block::lines(&text.as_bytes()[at..], at as u64, true);
        let decoded = decoder.decode(block, BATCH_ROWS).expect("good records");
        at += decoded.consumed;
        each(decoded.rows);
    }
}

pub fn throughput(bytes: usize) -> Throughput {
    Throughput::ElementsAndBytes { elements: RECORDS as u64, bytes: bytes as u64 }
}

pub fn criterion() -> Criterion {
    let (warm_up, measured) = (Duration::from_millis(500), Duration::from_secs(2));
    Criterion::default().warm_up_time(warm_up).measurement_time(measured).sample_size(20)
}

/// The bound of all that reads or writes these bytes.
pub fn copy(bencher: &mut Bencher, source: &[u8]) {
    let mut target = source.to_vec();
    bencher.iter(|| {
        target.copy_from_slice(black_box(source));
        black_box(&mut target);
    });
}
