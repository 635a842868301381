//! Sets against a map: in memory, and by way of what they write to state.

use std::collections::{BTreeMap, HashMap};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::set::{DistinctSet, Stored};
use super::sorted_set::SortedSet;
use super::value::{Change, Tally, Uses, read_entries};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a set says of its values, by its state.
fn values<T: Tally>(set: &DistinctSet<u64, T>, state: &Entries) -> HashMap<u64, T> {
    let (mut found, take) = (HashMap::new(), |key, tally: T, found: &mut HashMap<u64, T>| {
        if tally.is_dead() {
            found.remove(&key)
        } else {
            found.insert(key, tally)
        };
    });
    match set.stored() {
        Stored::Nothing => {
            assert!(state.is_empty());
            let mut bytes = Vec::new();
            set.write(&mut bytes);
            read_entries::<u64, T>(&bytes, |key, tally| take(key, tally, &mut found)).unwrap();
        }
        Stored::Segments(sizes) => {
            assert!(sizes.windows(2).all(|pair| pair[0] > 2 * pair[1]), "few segments: {sizes:?}");
            assert!(state.keys().map(|key| usize::from(key[0])).eq(0..sizes.len()));
            for (segment, size) in state.values().zip(sizes) {
                let mut count = 0;
                read_entries::<u64, T>(segment, |key, tally| {
                    count += 1;
                    take(key, tally, &mut found);
                })
                .unwrap();
                assert_eq!(count, *size);
            }
        }
        Stored::Entries => {
            for (key, entry) in state {
                let key = u64::from_be_bytes(key.as_slice().try_into().unwrap());
                take(key, T::read(&mut entry.as_slice()).unwrap(), &mut found);
            }
        }
    }
    found
}

/// Writes what changed, and now and then forgets all else.
fn write<T: Tally>(set: &mut DistinctSet<u64, T>, state: &mut Entries, size: &mut usize, restarts: bool) {
    set.write_changed(size, &mut |key, entry| {
        match entry {
            Some(entry) => state.insert(key.to_vec(), entry.to_vec()),
            None => state.remove(key),
        };
        Ok(())
    })
    .unwrap();
    assert_eq!(*size, set.heap_bytes());
    if restarts {
        match set.stored() {
            Stored::Nothing => return,
            Stored::Segments(sizes) => *set = DistinctSet::in_segments(sizes.to_vec()),
            Stored::Entries => *set = DistinctSet::in_entries(),
        }
        *size = set.heap_bytes();
    }
}

/// What an operator reads before it changes a value.
fn read<T: Tally>(set: &mut DistinctSet<u64, T>, state: &Entries, key: u64, size: &mut usize) {
    if set.unread_segments() > 0 {
        let mut values = Vec::new();
        for (number, segment) in state {
            SortedSet::read(number[0], segment, &mut values).unwrap();
        }
        set.load(values, size);
    } else if let Some(entry) = set.reserve(key, size)
        && let Some(bytes) = state.get(&key.to_be_bytes()[..])
    {
        set.set_stored(entry, T::read(&mut bytes.as_slice()).unwrap());
    }
}

/// Changes values at random; how the set lay in state in the end.
fn run<T: Tally + std::fmt::Debug>(seed: u64, change: impl Fn(&mut ChaCha8Rng) -> (Uses, i64)) -> usize {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let range = [2, 10, 40, 300][seed as usize % 4];
    let (mut set, mut state, mut size) = (DistinctSet::<u64, T>::default(), Entries::new(), 0);
    let mut twin = HashMap::<u64, T>::new();
    for _ in 0..rng.random_range(1..1500) {
        let key = rng.random_range(0..range) * if seed.is_multiple_of(2) { 1 } else { u64::MAX / 301 };
        let (uses, delta) = change(&mut rng);
        read(&mut set, &state, key, &mut size);
        let expected = twin.entry(key).or_default().add(uses, delta);
        assert_eq!(set.apply(key, &mut size, |tally| tally.add(uses, delta)), expected, "seed {seed}");
        if rng.random_bool(0.1) {
            let restarts = rng.random_bool(0.3);
            write(&mut set, &mut state, &mut size, restarts);
            twin.retain(|_, tally| !tally.is_dead());
            assert_eq!(values(&set, &state), twin, "seed {seed}");
        }
    }
    match set.stored() {
        Stored::Nothing => 0,
        Stored::Segments(_) => 1,
        Stored::Entries => 2,
    }
}

#[test]
fn a_set_counts_like_a_map() {
    let mut forms = [0; 3];
    for seed in 0..120 {
        forms[run::<i64>(seed, |rng| (1, rng.random_range(-2..4)))] += 1;
        forms[run::<Uses>(seed, |rng| (rng.random(), 1))] += 1;
    }
    assert!(forms.iter().all(|count| *count > 10), "inline, in segments, apart: {forms:?}");
}

#[test]
fn a_barrier_writes_little_more_than_what_is_new() {
    let (mut set, mut state, mut size, mut written) = (DistinctSet::<u64, Uses>::default(), Entries::new(), 0, 0);
    for key in 0..20 {
        assert_eq!(set.apply(key * 7 % 20, &mut size, |tally| tally.merge(1)), Change { appeared: 1, vanished: 0 });
        set.write_changed(&mut size, &mut |key, entry| {
            written += entry.map_or(0, <[u8]>::len);
            match entry {
                Some(entry) => state.insert(key.to_vec(), entry.to_vec()),
                None => state.remove(key),
            };
            Ok(())
        })
        .unwrap();
    }
    let whole: usize = state.values().map(Vec::len).sum();
    assert!(written < 5 * whole, "{written} bytes for {whole}; whole sets would have been ten times as much");
}
