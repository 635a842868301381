//! A set of values with how often each was added, so that values can be taken back; one per group.
//!
//! Most groups are small, so a set starts as a short list that is searched in order and gets a hash index when it
//! grows. Values keep the order in which they first came. Of a group whose values are apart, the set holds those that were
//! asked for, and knows which of them differ from state.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::kept_values::{INLINE_VALUES_MAX, WriteEntry};
use super::varint::{read_count, read_number, write_count, write_number};
use crate::Result;

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
    /// The value's bytes as the key of an entry of state.
    fn entry_key(key: Self::Ref<'_>) -> Vec<u8>;
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

    fn entry_key(key: u64) -> Vec<u8> {
        key.to_be_bytes().to_vec()
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

    fn entry_key(key: &[u8]) -> Vec<u8> {
        key.to_vec()
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
    /// Values with a count above zero, those that are only in state included.
    live: usize,
    /// Entries with a count of zero.
    dead: usize,
    /// Of a group whose values are apart.
    apart: Option<Box<Apart>>,
}

/// What a set knows of its values in state.
#[derive(Default)]
struct Apart {
    /// All of them are among the entries.
    complete: bool,
    /// Whether each entry differs from state; shorter than the entries where the others do not.
    marks: Vec<bool>,
    /// The entries that do.
    changed: Vec<u32>,
}

impl Apart {
    fn note(&mut self, entry: usize) {
        if entry >= self.marks.len() {
            self.marks.resize(entry + 1, false);
        }
        if !std::mem::replace(&mut self.marks[entry], true) {
            self.changed.push(entry as u32);
        }
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.marks.capacity() + self.changed.capacity() * size_of::<u32>()
    }
}

impl<K> Default for DistinctSet<K> {
    fn default() -> Self {
        Self { entries: Vec::new(), index: None, live: 0, dead: 0, apart: None }
    }
}

impl<K: Key> DistinctSet<K> {
    /// Number of values in the set.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// True where there is nothing to keep, counts below zero included.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.len() == self.dead && self.apart.is_none()
    }

    /// Adds `delta` to the count of a value, and what memory that takes to `size_bytes`.
    #[inline]
    pub(super) fn add(&mut self, key: K::Ref<'_>, delta: i64, size_bytes: &mut usize) -> Change {
        match self.find(key) {
            Some(entry) => self.change(entry, delta, size_bytes),
            None => self.insert(key, delta, size_bytes),
        }
    }

    /// Adds a value that is never taken back: its count stays one.
    #[inline]
    pub(super) fn add_once(&mut self, key: K::Ref<'_>, size_bytes: &mut usize) -> Change {
        match self.find(key) {
            Some(entry) if self.entries[entry].1 > 0 => Change::Stayed,
            Some(entry) => self.change(entry, 1, size_bytes),
            None => self.insert(key, 1, size_bytes),
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
        match &self.apart {
            None => self.remove_many_dead(size_bytes),
            // The dead are to be deleted from state first.
            Some(_) => self.note_changed(entry, size_bytes),
        }
        change
    }

    fn note_changed(&mut self, entry: usize, size_bytes: &mut usize) {
        if let Some(apart) = &mut self.apart {
            let before = apart.size_bytes();
            apart.note(entry);
            *size_bytes = *size_bytes + apart.size_bytes() - before;
        }
    }

    fn insert(&mut self, key: K::Ref<'_>, delta: i64, size_bytes: &mut usize) -> Change {
        if delta == 0 {
            return Change::Stayed;
        }
        let entry = self.push(key, delta, size_bytes);
        self.note_changed(entry, size_bytes);
        if delta < 0 {
            return Change::Stayed;
        }
        self.live += 1;
        Change::Appeared
    }

    fn push(&mut self, key: K::Ref<'_>, count: i64, size_bytes: &mut usize) -> usize {
        let before = self.shallow_bytes();
        let entry = self.entries.len();
        self.entries.push((K::own(key), count));
        self.index_entry(entry as u32, K::hash(key));
        *size_bytes = *size_bytes + self.shallow_bytes() - before + self.entries[entry].0.heap_bytes();
        entry
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

    fn remove_many_dead(&mut self, size_bytes: &mut usize) {
        if self.dead < DEAD_MIN || self.dead * 2 <= self.entries.len() {
            return;
        }
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
        let apart = self.apart.as_deref().map_or(0, Apart::size_bytes);
        self.entries.capacity() * size_of::<(K, i64)>() + self.index.as_deref().map_or(0, index) + apart
    }

    /// All memory held, in bytes; walks over the values.
    pub(super) fn heap_bytes(&self) -> usize {
        self.shallow_bytes() + self.entries.iter().map(|(key, _)| key.heap_bytes()).sum::<usize>()
    }

    /// Writes values and counts as bytes; nothing for an empty set.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (key, count) in self.entries.iter().filter(|(_, count)| *count != 0) {
            key.write(out);
            write_count(*count, out);
        }
    }
}

/// The values of a large group: an entry of state each.
impl<K: Key> DistinctSet<K> {
    pub(super) fn is_apart(&self) -> bool {
        self.apart.is_some()
    }

    /// Makes an empty set stand for so many values that are in state; `None` where it is not empty.
    pub(super) fn restore(&mut self, live: u64, size_bytes: &mut usize) -> Option<()> {
        if !self.entries.is_empty() || self.apart.is_some() {
            return None;
        }
        self.live = usize::try_from(live).ok()?;
        self.apart = Some(Box::default());
        *size_bytes += size_of::<Apart>();
        Some(())
    }

    /// Takes in a value that only state may know, as absent until [`Self::set_stored`] says otherwise; its entry. `None`
    /// where memory knows.
    pub(super) fn reserve(&mut self, key: K::Ref<'_>, size_bytes: &mut usize) -> Option<usize> {
        let incomplete = self.apart.as_ref().is_some_and(|apart| !apart.complete);
        if !incomplete || self.find(key).is_some() {
            return None;
        }
        self.dead += 1;
        Some(self.push(key, 0, size_bytes))
    }

    /// The count that state has for an entry.
    pub(super) fn set_stored(&mut self, entry: usize, count: i64) {
        debug_assert_eq!(self.entries[entry].1, 0, "only what was reserved is read");
        self.dead -= usize::from(count != 0);
        self.entries[entry].1 = count;
    }

    /// Hands over the values that differ from state with their counts, if the set is large.
    pub(super) fn write_changed(&mut self, size_bytes: &mut usize, write: &mut WriteEntry<'_>) -> Result<()> {
        if self.apart.is_none() && self.entries.len() - self.dead <= INLINE_VALUES_MAX {
            return Ok(());
        }
        let before = self.shallow_bytes();
        let apart = self.apart.get_or_insert_with(|| {
            let marks = vec![true; self.entries.len()];
            Box::new(Apart { complete: true, marks, changed: (0..self.entries.len() as u32).collect() })
        });
        let mut bytes = Vec::new();
        for entry in std::mem::take(&mut apart.changed) {
            let (key, count) = &self.entries[entry as usize];
            bytes.clear();
            write_count(*count, &mut bytes);
            write(&K::entry_key(key.borrow()), (*count != 0).then_some(bytes.as_slice()))?;
        }
        apart.marks = Vec::new();
        *size_bytes = *size_bytes + self.shallow_bytes() - before;
        self.remove_many_dead(size_bytes);
        Ok(())
    }
}

/// Visits what [`DistinctSet::write`] wrote; `None` where it is damaged.
pub(super) fn read_entries<'a, K: Key>(mut bytes: &'a [u8], mut visit: impl FnMut(K::Ref<'a>, i64)) -> Option<()> {
    while !bytes.is_empty() {
        let key = K::read(&mut bytes)?;
        visit(key, read_count(&mut bytes)?);
    }
    Some(())
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
}
