//! Many writes to keyed state at once: what a barrier writes back.
//!
//! They are sorted before they go to RocksDB. Each write has to find its place in a list that is sorted; next to the
//! one before it that costs little, at a random place it costs more than all else at a barrier. Sorted lists that are merged become
//! a table file without any such search.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::KeyedState;
use super::filter::Filter;
use super::frames::{GROUP_BYTES, stored_frame};
use crate::Result;
use crate::keys::KeyGroup;

/// Enough for a sorted run to be dense, little enough to hold beside what it was made from.
const FULL_BYTES: usize = 4 << 20;

/// Puts and deletions in the order in which they were asked for.
#[derive(Clone, Default)]
pub struct Writes {
    /// Stored key (group and key) and value of each write, one after the other.
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a write stands in the bytes.
#[derive(Clone)]
struct Place {
    start: usize,
    key_bytes: u32,
    /// `None` for a deletion.
    value_bytes: Option<u32>,
}

/// Writes by key, in memory as well: of those to one key, the last.
pub(super) struct SortedWrites {
    writes: Writes,
    /// Bytes that all keys have in common, behind their groups.
    common_bytes: usize,
    /// Which frames there are, or which keys where they have none.
    filter: Filter,
}

/// A put of a value to a stored key, or its deletion.
pub(super) struct Write<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

impl<'a> Write<'a> {
    /// Group and key of the stored key.
    pub fn split_key(&self) -> (KeyGroup, &'a [u8]) {
        let (group, key) = self.key.split_first_chunk::<GROUP_BYTES>().expect("a stored key begins with its group");
        (KeyGroup(u16::from_be_bytes(*group)), key)
    }
}

impl Writes {
    /// The key may be given in parts.
    pub fn put(&mut self, group: KeyGroup, key: &[&[u8]], value: &[u8]) {
        self.put_parts(group, key, &[value]);
    }

    /// Key and value may be given in parts.
    pub fn put_parts(&mut self, group: KeyGroup, key: &[&[u8]], value: &[&[u8]]) {
        let value_bytes = value.iter().map(|part| part.len()).sum::<usize>();
        self.push_key(group, key, Some(u32::try_from(value_bytes).expect("RocksDB takes no value of 4 GB")));
        value.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }

    /// The key may be given in parts.
    pub fn delete(&mut self, group: KeyGroup, key: &[&[u8]]) {
        self.push_key(group, key, None);
    }

    /// Puts a value, or deletes the key where there is none.
    pub fn set(&mut self, group: KeyGroup, key: &[&[u8]], value: Option<&[u8]>) {
        match value {
            Some(value) => self.put(group, key, value),
            None => self.delete(group, key),
        }
    }

    /// The same with the stored form of the key.
    pub(super) fn set_stored(&mut self, Write { key, value }: Write<'_>) {
        let (group, key) = Write { key, value }.split_key();
        self.set(group, &[key], value);
    }

    fn push_key(&mut self, group: KeyGroup, key: &[&[u8]], value_bytes: Option<u32>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&group.0.to_be_bytes());
        key.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let key_bytes = u32::try_from(self.bytes.len() - start).expect("RocksDB takes no key of 4 GB");
        self.places.push(Place { start, key_bytes, value_bytes });
    }

    /// Hands the writes over and begins anew, where they are many.
    pub fn flush_when_full(&mut self, state: &mut dyn KeyedState) -> Result<()> {
        if self.bytes.len() < FULL_BYTES { Ok(()) } else { self.flush(state) }
    }

    /// Hands the writes over and begins anew.
    pub fn flush(&mut self, state: &mut dyn KeyedState) -> Result<()> {
        if self.places.is_empty() {
            return Ok(());
        }
        state.write(self)
    }

    /// Begins anew, with the memory that it has.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }

    /// Of keys and values, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<Place>()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Group, key and value of the write with this number, in the order in which they were asked for; no value for a deletion.
    pub fn get(&self, number: usize) -> (KeyGroup, &[u8], Option<&[u8]>) {
        let write = self.write(&self.places[number]);
        let (group, key) = write.split_key();
        (group, key, write.value)
    }

    /// All writes as they were asked for.
    pub(super) fn iter(&self) -> impl Iterator<Item = Write<'_>> {
        self.places.iter().map(|place| self.write(place))
    }

    /// All writes by key; those to one key as they were asked for.
    pub(super) fn sorted(&self) -> impl Iterator<Item = Write<'_>> {
        self.order(self.common_bytes()).map(|index| self.write(&self.places[index]))
    }

    /// A copy in the order of keys: of writes to one key, the last.
    pub(super) fn to_sorted(&self) -> SortedWrites {
        let common_bytes = self.common_bytes();
        let mut order: Vec<usize> = self.order(common_bytes).collect();
        let key = |index: usize| self.key(&self.places[index]);
        order.dedup_by(|later, kept| {
            let is_same = key(*later) == key(*kept);
            *kept = if is_same { *later } else { *kept };
            is_same
        });
        let mut writes = Self { bytes: Vec::with_capacity(self.bytes.len()), places: Vec::with_capacity(order.len()) };
        order.iter().for_each(|index| writes.set_stored(self.write(&self.places[*index])));
        let mut filter = Filter::new(writes.len());
        writes.iter().for_each(|write| filter.insert(frame_hash(write.key)));
        SortedWrites { common_bytes, filter, writes }
    }

    /// Places in the order of their keys.
    fn order(&self, common_bytes: usize) -> impl Iterator<Item = usize> + use<> {
        let keyed = |(index, place): (usize, &Place)| (sort_prefix(self.key(place), common_bytes), index);
        let mut order: Vec<(SortPrefix, usize)> = self.places.iter().enumerate().map(keyed).collect();
        order.sort_unstable_by(|(one_prefix, one), (other_prefix, other)| {
            let by_key = || self.key(&self.places[*one]).cmp(self.key(&self.places[*other]));
            one_prefix.cmp(other_prefix).then_with(by_key).then(one.cmp(other))
        });
        order.into_iter().map(|(_, index)| index)
    }

    fn write(&self, place: &Place) -> Write<'_> {
        let key = self.key(place);
        let value_start = place.start + key.len();
        let value = place.value_bytes.map(|length| &self.bytes[value_start..value_start + length as usize]);
        Write { key, value }
    }

    fn key(&self, place: &Place) -> &[u8] {
        &self.bytes[place.start..place.start + place.key_bytes as usize]
    }

    /// Bytes that all keys have in common, behind their groups.
    fn common_bytes(&self) -> usize {
        let mut keys = self.places.iter().map(|place| &self.key(place)[GROUP_BYTES..]);
        let Some(first) = keys.next() else { return 0 };
        keys.fold(first.len(), |common, key| common_length(&first[..common], key))
    }
}

/// Orders most keys without a look at them: the group and the bytes behind those that all keys have in common.
type SortPrefix = (u128, u64);

const SORT_PREFIX_BYTES: usize = size_of::<u128>() + size_of::<u64>();

fn sort_prefix(stored: &[u8], skip: usize) -> SortPrefix {
    let (group, rest) = stored.split_at(GROUP_BYTES);
    let mut prefix = [0; SORT_PREFIX_BYTES];
    prefix[..GROUP_BYTES].copy_from_slice(group);
    let rest = &rest[skip..];
    let taken = rest.len().min(SORT_PREFIX_BYTES - GROUP_BYTES);
    prefix[GROUP_BYTES..GROUP_BYTES + taken].copy_from_slice(&rest[..taken]);
    let (first, second) = prefix.split_first_chunk().expect("it is longer");
    (u128::from_be_bytes(*first), u64::from_be_bytes(second.try_into().expect("eight bytes are left")))
}

impl SortedWrites {
    pub fn iter(&self) -> impl Iterator<Item = Write<'_>> {
        self.writes.iter()
    }

    /// The write to a stored key.
    pub fn get(&self, stored: &[u8]) -> Option<Write<'_>> {
        let place = self.writes.places.get(self.first_from(stored))?;
        Some(self.writes.write(place)).filter(|write| write.key == stored)
    }

    /// False where no stored key has this frame, or is this key without one, of which [`frame_hash`] made the hash.
    pub fn may_have(&self, frame_hash: u64) -> bool {
        self.filter.may_have(frame_hash)
    }

    /// The writes below a stored prefix, from a stored key on, which must not lie before it.
    pub fn range<'a>(&'a self, prefix: &'a [u8], from: &[u8]) -> impl Iterator<Item = Write<'a>> + use<'a> {
        let writes = self.writes.places[self.first_from(from)..].iter().map(|place| self.writes.write(place));
        writes.take_while(move |write| write.key.starts_with(prefix))
    }

    /// The number of the first write from a stored key on.
    fn first_from(&self, stored: &[u8]) -> usize {
        self.writes.places.partition_point(|place| self.writes.key(place) < stored)
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.writes.bytes()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.writes.size_bytes() + self.filter.size_bytes()
    }
}

/// The writes of several lists by key, the oldest list first: of those to one key, that of the newest list.
pub(super) fn merged(lists: &[Arc<SortedWrites>]) -> impl Iterator<Item = Write<'_>> {
    let skip = common_bytes(lists);
    let mut order: Vec<(SortPrefix, u32, u32)> = Vec::with_capacity(lists.iter().map(|list| list.writes.len()).sum());
    for (list, number) in lists.iter().zip(0..) {
        order.extend(list.iter().zip(0..).map(|(write, index)| (sort_prefix(write.key, skip), number, index)));
    }
    let at = |number: u32, index: u32| {
        let writes = &lists[number as usize].writes;
        writes.write(&writes.places[index as usize])
    };
    let key = move |(_, number, index): &(SortPrefix, u32, u32)| at(*number, *index).key;
    // Each list is in order already, which a stable sort makes use of.
    order.sort_by(|one, other| {
        let newest_first = || other.1.cmp(&one.1);
        one.0.cmp(&other.0).then_with(|| key(one).cmp(key(other))).then_with(newest_first)
    });
    order.dedup_by(|older, newest| older.0 == newest.0 && key(older) == key(newest));
    order.into_iter().map(move |(_, number, index)| at(number, index))
}

/// Bytes that the keys of all lists have in common, behind their groups.
fn common_bytes(lists: &[Arc<SortedWrites>]) -> usize {
    let filled = lists.iter().filter(|list| !list.writes.is_empty());
    let mut keys = filled.map(|list| (list.common_bytes, &list.writes.key(&list.writes.places[0])[GROUP_BYTES..]));
    let Some((bytes, first)) = keys.next() else { return 0 };
    keys.fold(bytes, |common, (bytes, key)| common_length(&first[..common.min(bytes)], key))
}

/// Bytes with which both begin.
fn common_length(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(one.len().min(other.len()))
}

/// What a filter knows a stored key by: its frame, or all of it where it has none.
pub(super) fn frame_hash(stored: &[u8]) -> u64 {
    xxh3_64(stored_frame(stored).unwrap_or(stored))
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn writes_are_sorted_as_bytes_are_and_those_to_one_key_keep_their_order() {
        for seed in 0..50 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let common = vec![7; rng.random_range(0..30)];
            let mut writes = Writes::default();
            for number in 0..rng.random_range(0..200u32) {
                let group = KeyGroup(rng.random_range(0..3));
                let own: Vec<u8> = (0..rng.random_range(0..20)).map(|_| rng.random_range(0..3)).collect();
                match rng.random_bool(0.8) {
                    true => writes.put(group, &[&common, &own], &number.to_le_bytes()),
                    false => writes.delete(group, &[&common, &own]),
                }
            }
            let list = |write: Write<'_>| (write.key.to_vec(), write.value.map(<[u8]>::to_vec));
            let mut expected: Vec<_> = writes.iter().map(list).collect();
            expected.sort_by(|one, other| one.0.cmp(&other.0));
            assert_eq!(writes.sorted().map(list).collect::<Vec<_>>(), expected, "seed {seed}");
            let sorted = writes.to_sorted();
            let mut last: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
            for (key, value) in expected {
                last.retain(|(other, _)| *other != key);
                last.push((key, value));
            }
            assert_eq!(sorted.iter().map(list).collect::<Vec<_>>(), last, "seed {seed}");
            for (key, value) in &last {
                let found = sorted.get(key).map(list);
                assert_eq!(found.as_ref(), Some(&(key.clone(), value.clone())), "seed {seed}");
                assert!(sorted.may_have(frame_hash(key)), "seed {seed}");
                let absent = [key.as_slice(), &[9]].concat();
                assert!(sorted.get(&absent).is_none(), "no key has a 9");
                let (prefix, is_below) = (&key[..GROUP_BYTES + common.len()], |other: &[u8]| other >= &key[..]);
                let below = last.iter().filter(|(other, _)| other.starts_with(prefix) && is_below(other));
                assert!(sorted.range(prefix, key).map(list).eq(below.cloned()), "seed {seed}");
            }
        }
    }

    #[test]
    fn merged_lists_have_the_newest_write_to_each_key_in_order() {
        for seed in 0..50 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let common = vec![7; rng.random_range(0..30)];
            let mut expected = std::collections::BTreeMap::new();
            let lists: Vec<Arc<SortedWrites>> = (0..rng.random_range(0..5u32))
                .map(|list| {
                    let mut writes = Writes::default();
                    for number in 0..rng.random_range(0..50u32) {
                        let own: Vec<u8> = (0..rng.random_range(0..4)).map(|_| rng.random_range(0..3)).collect();
                        let value = rng.random_bool(0.8).then(|| vec![list as u8, number as u8]);
                        writes.set(KeyGroup(1), &[&common, &own], value.as_deref());
                        expected.insert([&[0, 1], &common[..], &own].concat(), value);
                    }
                    Arc::new(writes.to_sorted())
                })
                .collect();
            let found = merged(&lists).map(|write| (write.key.to_vec(), write.value.map(<[u8]>::to_vec)));
            assert!(found.eq(expected), "seed {seed}");
        }
    }

    #[test]
    fn a_key_is_known_by_its_frame() {
        let stored = [&[0, 0][..], &super::super::frame(1, b"part"), b"rest"].concat();
        let of_frame = &stored[..stored.len() - b"rest".len()];
        assert_eq!(frame_hash(of_frame), frame_hash(&stored));
        assert_ne!(frame_hash(&of_frame[..of_frame.len() - 1]), frame_hash(&stored));
    }
}
