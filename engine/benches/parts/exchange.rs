//! A batch cut by key among instances, sent to them and received, all by one thread.

use std::hint::black_box;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use criterion::{BenchmarkId, Criterion};
use crossbeam_channel::bounded;
use tidemill_engine::keys::{KeyGroup, MAX_PARALLELISM_DEFAULT, hash_key};
use tidemill_engine::operators::key_table::KeyColumns;
use tidemill_engine::runtime::exchange::{Gate, HashPartitioner, Outlet, Routing};
use tidemill_engine::runtime::options::{BATCH_BYTES_DEFAULT, CHANNEL_BATCHES_DEFAULT};
use tidemill_engine::{Batch, Result};

use crate::input::{BATCH_ROWS, KEY, bytes_of, copy, rows, scattered, throughput};

pub fn exchange(criterion: &mut Criterion) {
    let rows = rows((0..BATCH_ROWS).map(|row| scattered(row, 10_000)));
    let bytes = bytes_of(&rows, &[0, 1, 2, 3]);
    let mut group = criterion.benchmark_group("exchange");
    group.throughput(throughput(BATCH_ROWS, bytes.iter().map(Vec::len).sum()));
    for instances in [2, 8] {
        let name = format!("BIGINT key, {instances} instances");
        let mut edge = Edge::new(instances);
        group.bench_function(BenchmarkId::new("tidemill", &name), |bencher| {
            let batch = Batch::new(rows.clone());
            bencher.iter(|| edge.pass(black_box(&batch)).expect("both ends are open"));
        });
        let parts = parts(&rows, instances).expect("keys can be encoded");
        group.bench_function(BenchmarkId::new("arrow take", &name), |bencher| {
            let take = |part: &UInt32Array| take_record_batch(black_box(&rows), part).expect("rows of the batch");
            bencher.iter(|| parts.iter().map(take).collect::<Vec<_>>());
        });
    }
    group.bench_function("memory copy", |bencher| copy(bencher, &bytes));
    group.finish();
}

/// Both ends of an exchange.
struct Edge {
    outlet: Outlet,
    gates: Vec<Gate>,
}

impl Edge {
    fn new(instances: usize) -> Self {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..instances).map(|_| bounded(CHANNEL_BATCHES_DEFAULT)).unzip();
        let partitioner = HashPartitioner::new(&[KEY], MAX_PARALLELISM_DEFAULT, instances);
        let outlet = Outlet::new(senders, Routing::ByKey(partitioner), BATCH_BYTES_DEFAULT);
        Self { outlet, gates: receivers.into_iter().map(|receiver| Gate::new(vec![(0, receiver)])).collect() }
    }

    fn pass(&mut self, batch: &Batch) -> Result<()> {
        self.outlet.send_batch(batch.clone())?;
        self.gates.iter_mut().try_for_each(|gate| gate.next(Duration::ZERO).map(|event| drop(black_box(event))))
    }
}

/// The rows of each instance.
fn parts(rows: &RecordBatch, instances: usize) -> Result<Vec<UInt32Array>> {
    let keys = KeyColumns::new(&[KEY], &rows.schema())?.encode(rows)?;
    let mut parts = vec![Vec::new(); instances];
    for row in 0..rows.num_rows() {
        let group = KeyGroup::of(hash_key(keys.key(row)), MAX_PARALLELISM_DEFAULT);
        parts[group.owner(MAX_PARALLELISM_DEFAULT, instances)].push(row as u32);
    }
    Ok(parts.into_iter().map(UInt32Array::from).collect())
}
