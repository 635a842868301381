//! Measures what a checkpoint costs with all of a large state new and with 1 % of it changed, on disk and without a runtime
//! around it: `cargo run --release -p tidemill-engine --example checkpoint_cost [MB of state] [folder]`.
//!
//! Values are random bytes, so that the state is as large on disk as it looks. The folder is left empty.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemill_engine::checkpoint::manifest::FORMAT;
use tidemill_engine::checkpoint::{CheckpointStore, Manifest, Recorded, RestoreRequest};
use tidemill_engine::keys::{KeyGroup, KeyGroupRange, hash_key};
use tidemill_engine::operator::Subtask;
use tidemill_engine::state::{InstanceId, KeyShape, KeyedState, Restored, StateBackend, StateInstance, Writes};
use tidemill_engine::{Epoch, Result};

const MAX_PARALLELISM: u16 = 128;
const VALUE_BYTES: usize = 1000;
const BUDGET_BYTES: usize = 256 << 20;
/// Rounds with 1 % changed: the folding of small files into large ones happens in some of them.
const ROUNDS: u64 = 10;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let megabytes: u64 = args.next().map_or(Ok(1000), |text| text.parse())?;
    let parent = args.next().map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(parent)?;
    measure(folder.path(), megabytes * 1000)?;
    Ok(())
}

fn measure(folder: &Path, keys: u64) -> Result<()> {
    let store = CheckpointStore::open(folder)?;
    let start = store.begin(&store.recover(&RestoreRequest::Latest, &Recorded::default())?)?;
    let (subtask, key_groups) = (Subtask { index: 0, parallelism: 1 }, KeyGroupRange::all(MAX_PARALLELISM));
    let id = InstanceId { uid: "measured".into(), subtask, key_groups };
    let backend = StateBackend::new(BUDGET_BYTES);
    let instance = backend.instance(id, KeyShape::Plain, &start.work_dir, Restored::default())?;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    println!("| changed | write to RocksDB, s | freeze, s | make durable, s | checkpoint, s | written, MB | of, MB |");
    println!("|---|---|---|---|---|---|---|");
    change(instance.view().as_mut(), "all", 0..keys, &mut random, |name, seconds| {
        checkpoint(&store, &instance, Epoch(1), name, seconds)
    })?;
    for round in 0..ROUNDS {
        let changed: Vec<u64> = (0..keys / 100).map(|_| random.next_u64() % keys).collect();
        change(instance.view().as_mut(), "1 %", changed, &mut random, |name, seconds| {
            checkpoint(&store, &instance, Epoch(2 + round), name, seconds)
        })?;
    }
    Ok(())
}

/// Gives these keys new values, and calls `then` with how long that took.
fn change(
    state: &mut dyn KeyedState,
    name: &str,
    keys: impl IntoIterator<Item = u64>,
    random: &mut ChaCha8Rng,
    then: impl FnOnce(&str, f64) -> Result<()>,
) -> Result<()> {
    let begin = Instant::now();
    let mut writes = Writes::default();
    let mut value = [0; VALUE_BYTES];
    for key in keys {
        let key = key.to_be_bytes();
        random.fill_bytes(&mut value);
        writes.put(KeyGroup::of(hash_key(&key), MAX_PARALLELISM), &[&key], &value);
        writes.flush_when_full(state)?;
    }
    writes.flush(state)?;
    then(name, begin.elapsed().as_secs_f64())
}

fn checkpoint(store: &CheckpointStore, instance: &StateInstance, epoch: Epoch, name: &str, writing: f64) -> Result<()> {
    let begin = Instant::now();
    let snapshot = instance.snapshot(&store.staging(epoch))?.finish()?;
    let freezing = begin.elapsed().as_secs_f64();
    let written = store.write(draft(store, epoch), &[snapshot])?;
    let total = begin.elapsed().as_secs_f64();
    store.retain(2)?;
    let durable = total - freezing;
    let (new_mb, total_mb) = (written.new_bytes as f64 / 1e6, written.total_bytes as f64 / 1e6);
    println!("| {name} | {writing:.2} | {freezing:.3} | {durable:.3} | {total:.3} | {new_mb:.0} | {total_mb:.0} |");
    Ok(())
}

/// A checkpoint of a job that has this state and nothing else.
fn draft(store: &CheckpointStore, epoch: Epoch) -> Manifest {
    Manifest {
        format: FORMAT,
        job_id: store.job_id(),
        job_name: "measured".into(),
        epoch,
        attempt: 1,
        finished: false,
        max_parallelism: MAX_PARALLELISM,
        created_at_ms: 0,
        nodes: Vec::new(),
        sources: Vec::new(),
        operators: Vec::new(),
        sinks: Vec::new(),
        counts: Vec::new(),
    }
}
