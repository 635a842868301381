//! Checkpoints on a real disk, against a twin in memory: written, restored, rescaled, moved.

use std::fs;
use std::sync::Mutex as StdMutex;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::*;
use crate::checkpoint::manifest::tests::manifest;
use crate::keys::{KeyGroup, KeyGroupRange};
use crate::operator::Subtask;
use crate::state::memory::MemoryState;
use crate::state::{
    FramedReads, InstanceId, KeyShape, KeyedState, PendingSnapshot, StateBackend, StateInstance, Writes, frame,
};

mod damage;
mod power_cut;

const MAX_PARALLELISM: u16 = 8;
/// Every state is in a RocksDB.
const ON_DISK: usize = 0;
/// States move to disk when they hold some ten entries.
const MIXED: usize = 512 << 10;
/// Every state of these tests stays in memory.
const IN_MEMORY: usize = 256 << 20;
const UID: &str = "agg/täglich #1";

/// A job with one operator: its instances, and a twin that holds what they hold together.
struct Job {
    _folder: TempDir,
    state_dir: PathBuf,
    shape: KeyShape,
    backend: StateBackend,
    store: Option<CheckpointStore>,
    instances: Vec<StateInstance>,
    views: Vec<Box<dyn KeyedState>>,
    epoch: Epoch,
    skipped: Vec<Skipped>,
    twin: MemoryState,
}

/// A folder in memory where there is one: these tests ask what is on disk, not how fast the disk is.
fn scratch_folder() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    if in_memory.is_dir() { tempfile::tempdir_in(in_memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

impl Job {
    fn new(budget_bytes: usize) -> Self {
        let folder = scratch_folder();
        let state_dir = folder.path().join("state");
        Self::in_folder(folder, state_dir, budget_bytes)
    }

    fn in_folder(folder: TempDir, state_dir: PathBuf, budget_bytes: usize) -> Self {
        let backend = StateBackend::new(budget_bytes);
        let mut job = Self {
            state_dir,
            shape: KeyShape::Plain,
            backend,
            _folder: folder,
            store: None,
            instances: Vec::new(),
            views: Vec::new(),
            epoch: Epoch::ZERO,
            skipped: Vec::new(),
            twin: MemoryState::default(),
        };
        job.restart(1, &RestoreRequest::Latest).unwrap();
        job
    }

    /// Ends the process, as far as files can tell, and starts another one.
    fn restart(&mut self, parallelism: usize, request: &RestoreRequest) -> Result<()> {
        self.stop();
        self.store = Some(CheckpointStore::open(&self.state_dir)?);
        self.begin(parallelism, request)
    }

    fn stop(&mut self) {
        self.views.clear();
        self.instances.clear();
        self.store = None;
    }

    /// Starts another attempt within the process.
    fn begin(&mut self, parallelism: usize, request: &RestoreRequest) -> Result<()> {
        self.views.clear();
        self.instances.clear();
        let store = self.store.as_ref().unwrap();
        let recovery = store.recover(request, &Recorded::default())?;
        let start = store.begin(&recovery)?;
        for index in 0..parallelism {
            let key_groups = KeyGroupRange::of_subtask(index, parallelism, MAX_PARALLELISM);
            let restored = recovery.checkpoint.as_ref().map(|checkpoint| checkpoint.restored(UID, key_groups));
            let id = InstanceId { uid: UID.into(), subtask: Subtask { index, parallelism }, key_groups };
            let instance = self.backend.instance(id, self.shape, &start.work_dir, restored.unwrap_or_default())?;
            self.views.push(instance.view());
            self.instances.push(instance);
        }
        (self.epoch, self.skipped) = (recovery.next_epoch, recovery.skipped);
        Ok(())
    }

    fn store(&self) -> &CheckpointStore {
        self.store.as_ref().unwrap()
    }

    fn view(&mut self, group: KeyGroup) -> &mut dyn KeyedState {
        let owner = group.owner(MAX_PARALLELISM, self.views.len());
        self.views[owner].as_mut()
    }

    fn put(&mut self, group: u16, key: &[u8], value: &[u8]) {
        self.view(KeyGroup(group)).put(KeyGroup(group), key, value).unwrap();
        self.twin.put(KeyGroup(group), key, value).unwrap();
    }

    fn checkpoint(&mut self) -> Result<Written> {
        self.checkpoint_amid(|_| ())
    }

    /// `meanwhile` is done while files are frozen.
    fn checkpoint_amid(&mut self, meanwhile: impl FnOnce(&mut Self)) -> Result<Written> {
        let staging = self.store().staging(self.epoch);
        let pending: Vec<_> = self.instances.iter().map(|one| one.snapshot(&staging)).collect::<Result<_>>()?;
        meanwhile(self);
        let snapshots: Vec<_> = pending.into_iter().map(PendingSnapshot::finish).collect::<Result<_>>()?;
        let draft = Manifest { epoch: self.epoch, max_parallelism: MAX_PARALLELISM, ..manifest(1) };
        let written = self.store().write(draft, &snapshots);
        assert!(!staging.exists());
        self.epoch = self.epoch.next();
        written
    }

    /// One random change, or a comparison of reads.
    fn step(&mut self, random: &mut ChaCha8Rng) {
        let group = KeyGroup(random.random_range(0..MAX_PARALLELISM));
        let key = random_key(random);
        match random.random_range(0..100) {
            0..50 => {
                let value: Vec<u8> = (0..random.random_range(0..40)).map(|_| random.random()).collect();
                self.put(group.0, &key, &value);
            }
            50..60 => {
                let mut writes = Writes::default();
                for _ in 0..random.random_range(0..20) {
                    match random.random_bool(0.7) {
                        true => writes.put(group, &[&random_key(random)], &random.random::<u64>().to_le_bytes()),
                        false => writes.delete(group, &[&random_key(random)]),
                    }
                }
                self.twin.write(&mut writes.clone()).unwrap();
                self.view(group).write(&mut writes).unwrap();
            }
            60..75 => {
                self.view(group).delete(group, &key).unwrap();
                self.twin.delete(group, &key).unwrap();
            }
            75..80 => {
                let prefix = &key[..random.random_range(0..=key.len())];
                self.view(group).delete_prefix(group, prefix).unwrap();
                self.twin.delete_prefix(group, prefix).unwrap();
            }
            80..95 => {
                let expected = self.twin.get(group, &key).unwrap();
                assert_eq!(self.view(group).get(group, &key).unwrap(), expected);
            }
            95..98 => {
                let prefix = &key[..random.random_range(0..=key.len())];
                let most = random.random_range(1..20);
                let expected = entries(&self.twin, group, prefix, most);
                assert_eq!(entries(self.view(group), group, prefix, most), expected);
            }
            _ => self.compare_frames(group, random),
        }
    }

    /// Reads some frames together, and goes on within the last one.
    fn compare_frames(&mut self, group: KeyGroup, random: &mut ChaCha8Rng) {
        let parts: Vec<Vec<u8>> = (0..random.random_range(1..10)).map(|_| random_part(random)).collect();
        let kind = random.random_range(0..2);
        let numbered = || parts.iter().zip(0..).map(|(part, number)| (number, group, part.as_slice()));
        let reads = || FramedReads::new(kind, numbered());
        let most = random.random_range(1..4);
        let expected = framed_entries(&self.twin, &reads(), most);
        assert_eq!(framed_entries(self.view(group), &reads(), most), expected);
        let prefix = frame(kind, &parts[0]);
        let from = [prefix.clone(), random_part(random)].concat();
        let list = |state: &dyn KeyedState| {
            let mut found = Vec::new();
            let mut visit = |key: &[u8], _: &[u8]| {
                found.push(key.to_vec());
                Ok(true)
            };
            state.scan_from(group, &prefix, &from, &mut visit).unwrap();
            found
        };
        let expected = list(&self.twin);
        assert_eq!(list(self.view(group)), expected);
    }

    fn assert_equals_twin(&mut self) {
        for group in (0..MAX_PARALLELISM).map(KeyGroup) {
            let expected = entries(&self.twin, group, b"", usize::MAX);
            assert_eq!(entries(self.view(group), group, b"", usize::MAX), expected, "{group:?}");
        }
    }

    fn shared_files(&self) -> Vec<String> {
        files::list_folder(&self.state_dir.join(SHARED_FOLDER)).unwrap()
    }

    fn folder(&self, epoch: u64) -> PathBuf {
        index::checkpoint_folder(&self.state_dir, Epoch(epoch))
    }

    /// Three checkpoints that hold 1, 2 and 3 keys.
    fn with_three_checkpoints(budget_bytes: usize) -> Self {
        let mut job = Self::new(budget_bytes);
        for number in 1..=3u8 {
            job.put(u16::from(number), b"key", &[number]);
            job.checkpoint().unwrap();
        }
        job
    }

    fn keys_in_state(&mut self) -> usize {
        (0..MAX_PARALLELISM).map(|group| entries(self.view(KeyGroup(group)), KeyGroup(group), b"", 10).len()).sum()
    }
}

fn entries(state: &dyn KeyedState, group: KeyGroup, prefix: &[u8], most: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        Ok(found.len() < most)
    };
    state.scan(group, prefix, &mut visit).unwrap();
    found
}

/// The first entries of each frame.
fn framed_entries(state: &dyn KeyedState, reads: &FramedReads, most: usize) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
    let mut found: Vec<(u32, Vec<u8>, Vec<u8>)> = Vec::new();
    let mut visit = |number: u32, key: &[u8], value: &[u8]| {
        found.push((number, key.to_vec(), value.to_vec()));
        Ok(found.iter().filter(|(other, ..)| *other == number).count() < most)
    };
    state.scan_frames(reads, &mut visit).unwrap();
    found
}

/// Some keys begin with a frame, others with anything.
fn random_key(random: &mut ChaCha8Rng) -> Vec<u8> {
    match random.random_bool(0.5) {
        true => [frame(random.random_range(0..2), &random_part(random)), random_part(random)].concat(),
        false => random_part(random),
    }
}

/// Few different bytes, the extreme ones among them, so that prefixes and neighbours are common.
fn random_part(random: &mut ChaCha8Rng) -> Vec<u8> {
    let length = random.random_range(0..6);
    (0..length).map(|_| [0, 1, 0xfe, 0xff][random.random_range(0..4)]).collect()
}

#[test]
fn random_changes_equal_the_twin_through_restarts_and_rescaling() {
    for seed in 0..9 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut job = Job::new([ON_DISK, MIXED, IN_MEMORY][seed as usize % 3]);
        job.shape = [KeyShape::Plain, KeyShape::Framed, KeyShape::Framed][seed as usize / 3];
        job.restart(1, &RestoreRequest::Latest).unwrap();
        let mut durable = job.twin.clone();
        for round in 0..12 {
            (0..random.random_range(1..400)).for_each(|_| job.step(&mut random));
            if random.random_bool(0.8) {
                job.instances.iter().for_each(StateInstance::begin_barrier);
                (0..random.random_range(0..20)).for_each(|_| job.step(&mut random));
                durable = job.twin.clone();
                job.instances.iter().for_each(|one| one.delay_freezes(random.random_range(0..4)));
                let steps = random.random_range(0..300);
                job.checkpoint_amid(|job| (0..steps).for_each(|_| job.step(&mut random))).unwrap();
                job.store().retain(2).unwrap();
                (0..random.random_range(0..50)).for_each(|_| job.step(&mut random));
            }
            job.backend = StateBackend::new([ON_DISK, MIXED, IN_MEMORY][random.random_range(0..3)]);
            let parallelism = [1, 2, 3, 8][random.random_range(0..4)];
            if random.random_bool(0.5) {
                job.restart(parallelism, &RestoreRequest::Latest).unwrap();
            } else {
                job.begin(parallelism, &RestoreRequest::Latest).unwrap();
            }
            job.twin = durable.clone();
            job.assert_equals_twin();
            assert_eq!(job.skipped, [], "seed {seed}, round {round}");
        }
    }
}

#[test]
fn deleting_a_long_prefix_spares_what_is_put_later() {
    let mut job = Job::new(ON_DISK);
    for number in 0..2_000u32 {
        job.put(0, &number.to_be_bytes(), b"old");
    }
    job.put(1, b"neighbour", b"stays");
    job.view(KeyGroup(0)).delete_prefix(KeyGroup(0), b"").unwrap();
    job.twin.delete_prefix(KeyGroup(0), b"").unwrap();
    job.put(0, &7u32.to_be_bytes(), b"new");
    job.assert_equals_twin();
    job.checkpoint().unwrap();
    job.restart(1, &RestoreRequest::Latest).unwrap();
    job.assert_equals_twin();
}

#[test]
fn restoring_three_times_in_a_row_equals_restoring_once() {
    for budget_bytes in [ON_DISK, IN_MEMORY] {
        let mut job = Job::with_three_checkpoints(budget_bytes);
        for parallelism in [1, 1, 2, 2, 1] {
            job.restart(parallelism, &RestoreRequest::Latest).unwrap();
            job.assert_equals_twin();
            assert_eq!(job.epoch, Epoch(4), "restoring makes no checkpoint");
        }
    }
}

#[test]
fn an_instance_without_entries_has_no_files_and_keeps_its_note() {
    let mut job = Job::new(ON_DISK);
    job.views[0].delete_prefix(KeyGroup(0), b"").unwrap();
    assert_eq!(job.views[0].get(KeyGroup(0), b"x").unwrap(), None);
    job.views[0].set_note(b"clock".to_vec());
    let written = job.checkpoint().unwrap();
    assert!(written.checkpoint.manifest.operators[0].files.is_empty());
    assert_eq!(fs::read_dir(job.state_dir.join("work/1")).unwrap().count(), 0, "no RocksDB was made");
    job.restart(3, &RestoreRequest::Latest).unwrap();
    assert!(job.views.iter().all(|view| view.restored_notes() == [b"clock".to_vec()]));
    // Nobody sets a note: the next checkpoint carries the old one on.
    job.checkpoint().unwrap();
    job.restart(1, &RestoreRequest::Latest).unwrap();
    assert!(job.views[0].restored_notes().iter().all(|note| note == b"clock"));
}

#[test]
fn a_state_moves_to_disk_when_it_outgrows_memory_and_is_restored_either_way() {
    let mut job = Job::new(MIXED);
    job.put(0, b"few", b"1");
    let few = job.checkpoint().unwrap().checkpoint;
    let names = |checkpoint: &Checkpoint| checkpoint.manifest.files().map(|file| file.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&few), ["entries"]);
    for number in 0..100u32 {
        job.put((number % 8) as u16, &number.to_be_bytes(), b"value");
    }
    job.assert_equals_twin();
    let many = job.checkpoint().unwrap().checkpoint;
    assert!(names(&many).iter().any(|name| name == "CURRENT"), "{:?}", names(&many));
    for (budget_bytes, parallelism) in [(IN_MEMORY, 2), (ON_DISK, 8), (MIXED, 1)] {
        job.backend = StateBackend::new(budget_bytes);
        job.restart(parallelism, &RestoreRequest::Latest).unwrap();
        job.assert_equals_twin();
    }
}

#[test]
fn a_key_group_of_another_subtask_is_refused() {
    let mut job = Job::new(ON_DISK);
    job.begin(2, &RestoreRequest::Latest).unwrap();
    let refused = job.views[0].put(KeyGroup(7), b"k", b"v");
    assert!(matches!(refused, Err(EngineError::Internal { .. })), "{refused:?}");
}

#[test]
fn a_checkpoint_costs_what_changed() {
    // Enough write buffer for all, so that no compaction comes in between.
    let mut job = Job::new(IN_MEMORY);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for number in 0..20_000u32 {
        let value: [u8; 64] = random.random();
        job.put((number % 8) as u16, &number.to_be_bytes(), &value);
    }
    let first = job.checkpoint().unwrap();
    assert!(first.new_bytes > 20_000 * 64, "{} bytes", first.new_bytes);
    job.put(0, b"one more", b"value");
    let second = job.checkpoint().unwrap();
    assert!(second.new_bytes < 32 << 10, "{} bytes for one key", second.new_bytes);
    assert!(second.total_bytes > first.total_bytes);
    // The same holds right after a restart: nothing is read, linked or written again.
    job.restart(1, &RestoreRequest::Latest).unwrap();
    job.put(0, b"yet another", b"value");
    let third = job.checkpoint().unwrap();
    assert!(third.new_bytes < 32 << 10, "{} bytes for one key after a restart", third.new_bytes);
}

#[test]
fn retention_keeps_every_file_that_a_kept_checkpoint_names() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut job = Job::new(ON_DISK);
    for _ in 0..12 {
        (0..200).for_each(|_| job.step(&mut random));
        job.checkpoint().unwrap();
        job.store().retain(3).unwrap();
        let epochs = job.store().epochs();
        assert!(epochs.len() <= 3);
        let present = job.shared_files().len();
        for epoch in epochs {
            let checkpoint = CheckpointStore::load(&job.folder(epoch.0)).unwrap();
            assert!(checkpoint.manifest.files().count() > 0);
        }
        let mut named = std::collections::BTreeSet::new();
        for manifest in job.store().index.lock().sound.values() {
            named.extend(manifest.files().filter(|file| !file.is_packed()).map(|file| file.object.clone()));
        }
        assert_eq!(present, named.len(), "nothing is left that nobody names");
    }
}

#[test]
fn a_savepoint_can_be_moved_and_restored_anywhere() {
    let job = Job::with_three_checkpoints(ON_DISK);
    let checkpoint = job.store().latest().unwrap().unwrap().checkpoint;
    let folder = scratch_folder();
    let target = folder.path().join("save/point");
    assert_eq!(job.store().savepoint(&checkpoint, &target).unwrap(), target);
    let refused = job.store().savepoint(&checkpoint, &target);
    assert!(matches!(refused, Err(EngineError::Io { .. })), "an existing savepoint is not overwritten");
    fs::remove_dir_all(&job.state_dir).unwrap();

    let moved = folder.path().join("moved");
    fs::rename(&target, &moved).unwrap();
    let twin = job.twin.clone();
    let mut other = Job::new(ON_DISK);
    other.restart(2, &RestoreRequest::From(moved.clone())).unwrap();
    other.twin = twin;
    other.assert_equals_twin();
    assert_eq!(other.epoch, Epoch(4));
    // Killed before its first checkpoint: the history still begins with the savepoint.
    other.restart(1, &RestoreRequest::Latest).unwrap();
    other.assert_equals_twin();
    other.checkpoint().unwrap();
    // From now on the savepoint is not needed any more.
    fs::remove_dir_all(&moved).unwrap();
    other.restart(1, &RestoreRequest::Latest).unwrap();
    other.assert_equals_twin();
}

#[test]
fn attempts_never_repeat_and_the_job_keeps_its_id() {
    let mut job = Job::new(ON_DISK);
    let record = |job: &Job| job.store().index.lock().record.clone();
    let first = record(&job);
    job.begin(1, &RestoreRequest::Latest).unwrap();
    job.restart(1, &RestoreRequest::Latest).unwrap();
    assert_eq!((record(&job).job_id, record(&job).attempts), (first.job_id, first.attempts + 2));
}
