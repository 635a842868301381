//! A set of values with how often each was added, so that values can be taken back; one per group.
//!
//! Most groups are small, so a set starts as a short list that is searched in order and gets a hash index when it
//! grows. Values keep the order in which they first came.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Up to this many values are searched one by one: they share a few cache lines, an index would cost more.
const UNINDEXED_MAX: usize = 8;
/// Fewer dead entries than this are not worth a clean-up.
const DEAD_MIN: usize = 16;

/// A value as it is kept.
pub(super) trait Key: Send + 'static {
    /// A value as it is looked up.
    type Ref<'a>: Copy;

    fn hash(key: Self::Ref<'_>) -> u64;
    fn own(key: Self::Ref<'_>) -> Self;
    fn borrow(&self) -> Self::Ref<'_>;
    fn same(&self, key: Self::Ref<'_>) -> bool;
    fn heap_bytes(&self) -> usize;
    fn write(&self, out: &mut Vec<u8>);
    /// Reads what `write` wrote; `None` where it is damaged.
    fn read<'a>(bytes: &mut &'a [u8]) -> Option<Self::Ref<'a>>;
}

impl Key for u64 {
    type Ref<'a> = u64;

    /// The folded product of a multiplication: spreads neighbours well and costs two instructions.
    #[inline(always)]
    fn hash(key: u64) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(key ^ 0x5851_f42d_4c95_7f2d) * u128::from(ODD);
        (product >> 64) as u64 ^ product as u64
    }

    fn own(key: u64) -> u64 {
        key
    }

    fn borrow(&self) -> u64 {
        *self
    }

    #[inline(always)]
    fn same(&self, key: u64) -> bool {
        *self == key
    }

    fn heap_bytes(&self) -> usize {
        0
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(bytes: &mut &[u8]) -> Option<u64> {
        let (head, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(u64::from_le_bytes(*head))
    }
}

impl Key for Box<[u8]> {
    type Ref<'a> = &'a [u8];

    #[inline(always)]
    fn hash(key: &[u8]) -> u64 {
        xxh3_64(key)
    }

    fn own(key: &[u8]) -> Self {
        key.into()
    }

    fn borrow(&self) -> &[u8] {
        self
    }

    #[inline(always)]
    fn same(&self, key: &[u8]) -> bool {
        **self == *key
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_number(self.len() as u64, out);
        out.extend_from_slice(self);
    }

    fn read<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let length = usize::try_from(read_number(bytes)?).ok()?;
        let (head, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(head)
    }
}

/// What an addition did to a value's being in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Appeared,
    Vanished,
    Stayed,
}

pub(super) struct DistinctSet<K> {
    /// Values and counts. A count can be zero (dead), or below zero where a value was taken back before it came.
    entries: Vec<(K, i64)>,
    index: Option<Box<HashTable<u32>>>,
    /// Entries with a count above zero.
    live: usize,
    /// Entries with a count of zero.
    dead: usize,
}

impl<K> Default for DistinctSet<K> {
    fn default() -> Self {
        Self { entries: Vec::new(), index: None, live: 0, dead: 0 }
    }
}

impl<K: Key> DistinctSet<K> {
    /// Number of values in the set.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Adds `delta` to the count of a value, and what memory that takes to `size_bytes`.
    #[inline]
    pub(super) fn add(&mut self, key: K::Ref<'_>, delta: i64, size_bytes: &mut usize) -> Change {
        match self.find(key) {
            Some(entry) => self.change(entry, delta, size_bytes),
            None => self.insert(key, delta, size_bytes),
        }
    }

    #[inline]
    fn find(&self, key: K::Ref<'_>) -> Option<usize> {
        match &self.index {
            None => self.entries.iter().position(|(own, _)| own.same(key)),
            Some(index) => {
                index.find(K::hash(key), |entry| self.entries[*entry as usize].0.same(key)).map(|entry| *entry as usize)
            }
        }
    }

    #[inline]
    fn change(&mut self, entry: usize, delta: i64, size_bytes: &mut usize) -> Change {
        let count = &mut self.entries[entry].1;
        let before = *count;
        *count += delta;
        let after = *count;
        self.dead = self.dead + usize::from(after == 0) - usize::from(before == 0);
        let change = match (before > 0, after > 0) {
            (false, true) => Change::Appeared,
            (true, false) => Change::Vanished,
            _ => Change::Stayed,
        };
        self.live = self.live + usize::from(change == Change::Appeared) - usize::from(change == Change::Vanished);
        if self.dead >= DEAD_MIN && self.dead * 2 > self.entries.len() {
            self.remove_dead(size_bytes);
        }
        change
    }

    fn insert(&mut self, key: K::Ref<'_>, delta: i64, size_bytes: &mut usize) -> Change {
        if delta == 0 {
            return Change::Stayed;
        }
        let before = self.shallow_bytes();
        let entry = self.entries.len() as u32;
        self.entries.push((K::own(key), delta));
        self.index_entry(entry, K::hash(key));
        *size_bytes = *size_bytes + self.shallow_bytes() - before + self.entries[entry as usize].0.heap_bytes();
        if delta < 0 {
            return Change::Stayed;
        }
        self.live += 1;
        Change::Appeared
    }

    fn index_entry(&mut self, entry: u32, hash: u64) {
        let entries = &self.entries;
        let hasher = |entry: &u32| K::hash(entries[*entry as usize].0.borrow());
        match &mut self.index {
            Some(index) => {
                index.insert_unique(hash, entry, hasher);
            }
            None if entries.len() > UNINDEXED_MAX => {
                let mut index = HashTable::with_capacity(2 * UNINDEXED_MAX);
                (0..entries.len() as u32).for_each(|entry| {
                    index.insert_unique(hasher(&entry), entry, hasher);
                });
                self.index = Some(Box::new(index));
            }
            None => {}
        }
    }

    fn remove_dead(&mut self, size_bytes: &mut usize) {
        let before = self.heap_bytes();
        self.entries.retain(|(_, count)| *count != 0);
        self.entries.shrink_to_fit();
        self.index = None;
        self.dead = 0;
        if let Some(last) = self.entries.last() {
            let hash = K::hash(last.0.borrow());
            self.index_entry(self.entries.len() as u32 - 1, hash);
        }
        *size_bytes = *size_bytes + self.heap_bytes() - before;
    }

    /// Memory of the lists, in bytes, without what values hold themselves.
    fn shallow_bytes(&self) -> usize {
        let index = |index: &HashTable<u32>| size_of::<HashTable<u32>>() + index.allocation_size();
        self.entries.capacity() * size_of::<(K, i64)>() + self.index.as_deref().map_or(0, index)
    }

    /// All memory held, in bytes; walks over the values.
    pub(super) fn heap_bytes(&self) -> usize {
        self.shallow_bytes() + self.entries.iter().map(|(key, _)| key.heap_bytes()).sum::<usize>()
    }

    /// Writes values and counts as bytes; nothing for an empty set.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (key, count) in self.entries.iter().filter(|(_, count)| *count != 0) {
            key.write(out);
            write_number(zigzag(*count), out);
        }
    }
}

/// Visits what [`DistinctSet::write`] wrote; `None` where it is damaged.
pub(super) fn read_entries<'a, K: Key>(mut bytes: &'a [u8], mut visit: impl FnMut(K::Ref<'a>, i64)) -> Option<()> {
    while !bytes.is_empty() {
        let key = K::read(&mut bytes)?;
        visit(key, unzigzag(read_number(&mut bytes)?));
    }
    Some(())
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Seven bits per byte, lowest first; the high bit says that more follow.
pub(super) fn write_number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_set_counts_like_a_map() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for range in [4u64, 12, 300] {
            let (mut set, mut twin, mut size) = (DistinctSet::<u64>::default(), HashMap::<u64, i64>::new(), 0);
            for _ in 0..4000 {
                let (key, delta) = (rng.random_range(0..range), rng.random_range(-2..3));
                let before = *twin.entry(key).and_modify(|count| *count += delta).or_insert(delta) - delta;
                let expected = match (before > 0, before + delta > 0) {
                    (false, true) => Change::Appeared,
                    (true, false) => Change::Vanished,
                    _ => Change::Stayed,
                };
                assert_eq!(set.add(key, delta, &mut size), expected);
            }
            assert_eq!(set.len(), twin.values().filter(|count| **count > 0).count());
            assert_eq!(size, set.heap_bytes());
            let mut bytes = Vec::new();
            set.write(&mut bytes);
            let mut read = HashMap::new();
            read_entries::<u64>(&bytes, |key, count| assert!(read.insert(key, count).is_none())).unwrap();
            twin.retain(|_, count| *count != 0);
            assert_eq!(read, twin);
        }
    }

    #[test]
    fn numbers_come_back_as_they_were_written() {
        for value in [0, 1, -1, 63, 64, -65, 1 << 40, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            write_number(zigzag(value), &mut bytes);
            let mut rest = bytes.as_slice();
            assert_eq!(read_number(&mut rest).map(unzigzag), Some(value));
            assert!(rest.is_empty());
        }
        assert_eq!(read_number(&mut &[0x80u8; 3][..]), None);
    }
}
