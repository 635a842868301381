//! A window made of its slices: aggregates per key of several slices merged into one.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use hashbrown::HashMap;
use tidemill_engine::Result;
use tidemill_engine::operators::key_table::KeyColumns;
use tidemill_engine::operators::keyed_aggregates::{KeyedAggregates, NarrowCalls};

use crate::input::{BATCH_ROWS, KEY, calls, rows, scattered, schema, throughput};

const SLICES: usize = 6;

/// A key and two aggregates.
const ENTRY_BYTES: usize = 24;

pub fn slice_merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slice merge");
    for keys in [1_000, 10_000, 300_000] {
        let name = format!("{SLICES} slices of {keys} keys");
        let calls = NarrowCalls::new(&calls());
        let slices: Vec<KeyedAggregates> =
            (0..SLICES).map(|number| slice(&calls, number, keys).expect("aggregates")).collect();
        group.throughput(throughput(SLICES * keys, SLICES * keys * ENTRY_BYTES));
        group.bench_function(BenchmarkId::new("tidemill", &name), |bencher| {
            bencher.iter(|| merge(&calls, &slices).expect("aggregates"));
        });
        let plain: Vec<Vec<u64>> =
            (0..SLICES).map(|number| keys_of(number, keys).map(|key| key as u64).collect()).collect();
        group.bench_function(BenchmarkId::new("HashMap<u64, u64>", &name), |bencher| bencher.iter(|| add(&plain)));
    }
    group.finish();
}

/// All keys, in an order of the slice's own.
fn keys_of(slice: usize, keys: usize) -> impl Iterator<Item = usize> + Clone {
    (0..keys).map(move |row| scattered(row + slice * 1000, keys))
}

fn slice(calls: &NarrowCalls, number: usize, keys: usize) -> Result<KeyedAggregates> {
    let columns = KeyColumns::new(&[KEY], &schema())?;
    let mut slice = calls.keyed()?;
    for first in (0..keys).step_by(BATCH_ROWS) {
        let rows = rows(keys_of(number, keys).skip(first).take(BATCH_ROWS));
        let slots = slice.slots_of(&columns.encode(&rows)?, 0..rows.num_rows());
        slice.values.update(&slots, &calls.project(&rows)?)?;
    }
    Ok(slice)
}

fn merge(calls: &NarrowCalls, slices: &[KeyedAggregates]) -> Result<KeyedAggregates> {
    let mut window = calls.keyed()?;
    for slice in slices {
        window.merge(black_box(slice), &slice.all_slots())?;
    }
    Ok(window)
}

fn add(slices: &[Vec<u64>]) -> HashMap<u64, u64> {
    let mut sums = HashMap::new();
    for key in slices.iter().flatten() {
        *sums.entry(*black_box(key)).or_default() += 1;
    }
    sums
}
