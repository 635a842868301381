//! State that is written in every way and read all the while, beside a map that is written in the same way.

use std::path::Path;
use std::sync::atomic::Ordering;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rocksdb::DB;

use super::memory::MemoryState;
use super::{FramedReads, InstanceId, KeyShape, KeyedState, PendingSnapshot, Restored, StateBackend, Writes, frame};
use crate::keys::{KeyGroup, KeyGroupRange};
use crate::operator::Subtask;

const GROUPS: u16 = 3;

/// Keys (without group) and values.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// A kind of two, a part of five bytes at most, and a rest.
fn random_key(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let part: Vec<u8> = (0..rng.random_range(0..3)).map(|_| rng.random_range(0..4)).collect();
    [frame(rng.random_range(0..2), &part), vec![rng.random_range(0..8)]].concat()
}

fn random_value(rng: &mut ChaCha8Rng) -> Vec<u8> {
    vec![rng.random(); rng.random_range(0..80)]
}

fn scanned(state: &dyn KeyedState, group: KeyGroup, prefix: &[u8]) -> Entries {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        Ok(true)
    };
    state.scan(group, prefix, &mut visit).unwrap();
    found
}

fn by_frame(state: &dyn KeyedState, reads: &FramedReads) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut visit = |number: u32, key: &[u8], value: &[u8]| {
        found.push((number, key.to_vec(), value.to_vec()));
        Ok(true)
    };
    state.scan_frames(reads, &mut visit).unwrap();
    found
}

/// All entries of all groups.
fn all(state: &dyn KeyedState) -> Vec<(KeyGroup, Entries)> {
    (0..GROUPS).map(KeyGroup).map(|group| (group, scanned(state, group, b""))).collect()
}

fn frozen(folder: &Path) -> Vec<(KeyGroup, Entries)> {
    let db = DB::open_for_read_only(&rocksdb::Options::default(), folder, false).unwrap();
    let entries = db.iterator(rocksdb::IteratorMode::Start).map(|entry| entry.unwrap());
    let mut found: Vec<_> = (0..GROUPS).map(|group| (KeyGroup(group), Vec::new())).collect();
    for (stored, value) in entries {
        found[usize::from(stored[1])].1.push((stored[2..].to_vec(), value.to_vec()));
    }
    found
}

fn write_at_random(rng: &mut ChaCha8Rng, state: &mut dyn KeyedState, twin: &mut MemoryState) {
    let group = KeyGroup(rng.random_range(0..GROUPS));
    match rng.random_range(0..10) {
        0..4 => {
            let mut writes = Writes::default();
            for _ in 0..rng.random_range(0..80) {
                let group = KeyGroup(rng.random_range(0..GROUPS));
                let value = rng.random_bool(0.7).then(|| random_value(rng));
                writes.set(group, &[&random_key(rng)], value.as_deref());
            }
            twin.write(&mut writes.clone()).unwrap();
            state.write(&mut writes).unwrap();
        }
        4..7 => {
            let (key, value) = (random_key(rng), random_value(rng));
            twin.put(group, &key, &value).unwrap();
            state.put(group, &key, &value).unwrap();
        }
        7..9 => {
            let key = random_key(rng);
            twin.delete(group, &key).unwrap();
            state.delete(group, &key).unwrap();
        }
        _ => {
            let all = frame(rng.random_range(0..2), &[rng.random_range(0..4)]);
            // Some have so few entries that each is deleted, others are deleted as ranges.
            let prefix = &all[..if rng.random_bool(0.2) { 0 } else { all.len() }];
            twin.delete_prefix(group, prefix).unwrap();
            state.delete_prefix(group, prefix).unwrap();
        }
    }
}

fn check_at_random(rng: &mut ChaCha8Rng, state: &dyn KeyedState, twin: &MemoryState) {
    let group = KeyGroup(rng.random_range(0..GROUPS));
    let key = random_key(rng);
    assert_eq!(state.get(group, &key).unwrap(), twin.get(group, &key).unwrap());
    let prefix = &key[..rng.random_range(0..key.len())];
    assert_eq!(scanned(state, group, prefix), scanned(twin, group, prefix));
    let parts: Vec<_> = (0..4).map(|number| (number, KeyGroup(rng.random_range(0..GROUPS)), [number as u8])).collect();
    let reads = || FramedReads::new(1, parts.iter().map(|(number, group, part)| (*number, *group, &part[..])));
    assert_eq!(by_frame(state, &reads()), by_frame(twin, &reads()));
}

#[test]
fn reads_and_snapshots_are_those_of_a_map_whatever_is_written_when() {
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let folder = tempfile::tempdir().unwrap();
        let shape = if rng.random() { KeyShape::Plain } else { KeyShape::Framed };
        let subtask = Subtask { index: 0, parallelism: 1 };
        let id = InstanceId { uid: "tested".into(), subtask, key_groups: KeyGroupRange::all(GROUPS) };
        let backend = StateBackend::new(0);
        let instance = backend.instance(id, shape, &folder.path().join("live"), Restored::default()).unwrap();
        let (mut state, mut twin) = (instance.view(), MemoryState::default());
        instance.delay_freezes(rng.random_range(0..3));
        let mut pending: Option<(PendingSnapshot, MemoryState)> = None;
        let check = |(snapshot, expected): (PendingSnapshot, MemoryState)| {
            let snapshot = snapshot.finish().unwrap();
            let expected = all(&expected);
            match snapshot.files.is_empty() {
                true => {
                    assert!(snapshot.resident.is_some() || expected.iter().all(|(_, entries)| entries.is_empty()))
                }
                false => assert_eq!(frozen(&snapshot.folder), expected, "seed {seed}"),
            }
        };
        for number in 0..60 {
            for _ in 0..rng.random_range(0..8) {
                write_at_random(&mut rng, state.as_mut(), &mut twin);
                check_at_random(&mut rng, state.as_ref(), &twin);
            }
            if rng.random_bool(0.3) {
                pending.take().map(check);
                instance.begin_barrier();
                (0..rng.random_range(0..4)).for_each(|_| write_at_random(&mut rng, state.as_mut(), &mut twin));
                let snapshot = instance.snapshot(&folder.path().join(format!("{number}"))).unwrap();
                pending = Some((snapshot, twin.clone()));
            }
        }
        assert_eq!(all(state.as_ref()), all(&twin), "seed {seed}");
        pending.map(check);
        drop((state, instance));
        assert_eq!(backend.shared.waiting_bytes.load(Ordering::Relaxed), 0, "seed {seed}");
    }
}
