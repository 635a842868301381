//! A barrier at which groups that changed go to RocksDB.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{Field, Schema};
use criterion::{BenchmarkId, Criterion};
use rocksdb::{DB, WriteBatch, WriteOptions};
use tidemill_engine::keys::{KeyGroup, KeyGroupRange};
use tidemill_engine::metrics::NodeMetrics;
use tidemill_engine::operator::{Collector, Operator, OperatorContext, OperatorFactory, Subtask};
use tidemill_engine::operators::group_aggregate::GroupAggregate;
use tidemill_engine::state::{InstanceId, KeyShape, Restored, StateBackend};
use tidemill_engine::time::{EventTime, ProcessingTime};
use tidemill_engine::{Batch, Epoch, Result};

use crate::input::{BATCH_ROWS, KEY, calls, rows, scattered, schema, throughput};

const BUDGET_BYTES: usize = 1 << 30;

/// Key, with its group, and value as RocksDB has them.
type Entry = (Vec<u8>, Vec<u8>);

pub fn write_back(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("state write-back");
    for (name, keys, changed) in
        [("100,000 groups, all changed", 100_000, 100_000), ("1,000,000 groups, 1 % changed", 1_000_000, 10_000)]
    {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let backend = StateBackend::new(BUDGET_BYTES);
        let mut groups = Groups::open(&backend, folder.path()).expect("a new state opens");
        groups.change(&batches(keys, keys)).expect("rows can be added");
        groups.barrier().expect("state can be written");
        let entries = groups.entries().expect("state can be read");
        assert_eq!(entries.len(), keys, "one entry per group");
        let written: Vec<Entry> = entries.iter().step_by(keys / changed).cloned().collect();
        group.throughput(throughput(changed, written.iter().map(|(key, value)| key.len() + value.len()).sum()));
        let batches = batches(changed, keys);
        group.bench_function(BenchmarkId::new("tidemill", name), |bencher| {
            bencher.iter_custom(|times| {
                let measured = || {
                    groups.change(&batches)?;
                    groups.barrier()
                };
                std::iter::repeat_with(measured)
                    .take(times as usize)
                    .sum::<Result<Duration>>()
                    .expect("state can be written")
            });
        });
        let (db, options) = backend.bare(&folder.path().join("bare")).expect("a new RocksDB opens");
        write(&db, options, &entries);
        group.bench_function(BenchmarkId::new("sorted WriteBatch", name), |bencher| {
            bencher.iter(|| write(&db, options, &written));
        });
    }
    group.finish();
}

fn write(db: &DB, options: &WriteOptions, entries: &[Entry]) {
    let mut batch = WriteBatch::default();
    entries.iter().for_each(|(key, value)| batch.put(key, value));
    db.write_opt(batch, options).expect("RocksDB takes writes");
}

/// A row for each of the first `changed` of all keys, in an order that is not theirs.
fn batches(changed: usize, keys: usize) -> Vec<Batch> {
    let batch = |first: usize| rows((first..changed.min(first + BATCH_ROWS)).map(|row| scattered(row, keys)));
    (0..changed).step_by(BATCH_ROWS).map(|first| Batch::new(batch(first))).collect()
}

/// The rows that go on are not what is measured.
struct Nowhere;

impl Collector for Nowhere {
    fn emit(&mut self, _port: usize, _batch: Batch) -> Result<()> {
        Ok(())
    }
}

/// COUNT(*) and SUM(price) per key.
struct Groups {
    operator: Box<dyn Operator>,
    ctx: OperatorContext,
    epoch: Epoch,
}

impl Groups {
    fn open(backend: &StateBackend, folder: &Path) -> Result<Self> {
        let (subtask, key_groups) = (Subtask { index: 0, parallelism: 1 }, KeyGroupRange::all(128));
        let id = InstanceId { uid: "groups".into(), subtask, key_groups };
        let state = backend.instance(id, KeyShape::Plain, folder, Restored::default())?;
        let aggregates = calls();
        let outputs = aggregates.iter().map(|call| call.output.clone());
        let fields = [schema().field(KEY).clone()].into_iter().chain(outputs).collect::<Vec<Field>>();
        let (input, schema) = (schema(), Arc::new(Schema::new(fields)));
        let plan = GroupAggregate { keys: vec![KEY], aggregates, ttl_ms: None, mini_batch: None, input, schema };
        let mut ctx = OperatorContext {
            subtask,
            key_groups,
            state: state.view(),
            now: ProcessingTime(0),
            watermark: EventTime::MIN,
            input_watermarks: Vec::new(),
            batch_rows: BATCH_ROWS,
            cache_budget_bytes: BUDGET_BYTES / 2,
            metrics: Arc::new(NodeMetrics::default()),
        };
        let mut operator = plan.create()?;
        operator.open(&mut ctx)?;
        Ok(Self { operator, ctx, epoch: Epoch::ZERO })
    }

    fn change(&mut self, batches: &[Batch]) -> Result<()> {
        batches.iter().try_for_each(|batch| self.operator.on_batch(0, batch.clone(), &mut self.ctx, &mut Nowhere))
    }

    /// How long it took to write what changed.
    fn barrier(&mut self) -> Result<Duration> {
        self.epoch = self.epoch.next();
        let start = Instant::now();
        self.operator.on_barrier(self.epoch, &mut self.ctx, &mut Nowhere)?;
        Ok(start.elapsed())
    }

    /// All that state holds, in order.
    fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for group in self.ctx.key_groups.groups() {
            self.ctx.state.scan(KeyGroup(group), &[], &mut |key, value| {
                entries.push(([&group.to_be_bytes(), key].concat(), value.to_vec()));
                Ok(true)
            })?;
        }
        Ok(entries)
    }
}
