//! Many writes to keyed state at once: what a barrier writes back.
//!
//! They are sorted before they go to RocksDB. Each write has to find its place in a list that is sorted; next to the
//! one before it that costs little, at a random place it costs more than all else at a barrier.

use super::KeyedState;
use crate::Result;
use crate::keys::KeyGroup;

/// Bytes of a key group in front of a stored key.
const GROUP_BYTES: usize = 2;

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

/// Writes by key; those to one key as they were asked for.
pub(super) struct SortedWrites {
    writes: Writes,
    order: Vec<u32>,
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

    /// Key (without its group) and value of the write with this number, in the order in which they were asked for; no value for a deletion.
    pub fn get(&self, number: usize) -> (&[u8], Option<&[u8]>) {
        let write = self.write(&self.places[number]);
        (write.split_key().1, write.value)
    }

    /// All writes as they were asked for.
    pub(super) fn iter(&self) -> impl Iterator<Item = Write<'_>> {
        self.places.iter().map(|place| self.write(place))
    }

    /// All writes by key; those to one key as they were asked for.
    pub(super) fn sorted(&self) -> impl Iterator<Item = Write<'_>> {
        self.order().map(|index| self.write(&self.places[index]))
    }

    pub(super) fn into_sorted(self) -> SortedWrites {
        let number = |index| u32::try_from(index).expect("a list of writes is far below 4 GB");
        let order = self.order().map(number).collect();
        SortedWrites { writes: self, order }
    }

    /// Places in the order of their keys.
    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let skip = self.common_bytes();
        let keyed = |(index, place): (usize, &Place)| (self.sort_prefix(place, skip), index);
        let mut order: Vec<(u128, usize)> = self.places.iter().enumerate().map(keyed).collect();
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
        keys.fold(first.len(), |common, key| {
            first[..common].iter().zip(key).position(|(one, other)| one != other).unwrap_or(common.min(key.len()))
        })
    }

    /// Orders most keys without a look at them: the group and the bytes behind those that all keys have in common.
    fn sort_prefix(&self, place: &Place, skip: usize) -> u128 {
        let key = self.key(place);
        let (group, rest) = key.split_at(GROUP_BYTES);
        let mut prefix = [0; size_of::<u128>()];
        prefix[..GROUP_BYTES].copy_from_slice(group);
        let rest = &rest[skip..];
        let taken = rest.len().min(prefix.len() - GROUP_BYTES);
        prefix[GROUP_BYTES..GROUP_BYTES + taken].copy_from_slice(&rest[..taken]);
        u128::from_be_bytes(prefix)
    }
}

impl SortedWrites {
    pub fn iter(&self) -> impl Iterator<Item = Write<'_>> {
        self.order.iter().map(|index| self.at(*index))
    }

    /// The last write to a stored key.
    pub fn get(&self, stored: &[u8]) -> Option<Write<'_>> {
        let behind = self.order.partition_point(|index| self.at(*index).key <= stored);
        let last = self.at(self.order[behind.checked_sub(1)?]);
        (last.key == stored).then_some(last)
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.writes.size_bytes() + self.order.capacity() * size_of::<u32>()
    }

    fn at(&self, index: u32) -> Write<'_> {
        self.writes.write(&self.writes.places[index as usize])
    }
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
            let sorted = writes.into_sorted();
            assert_eq!(sorted.iter().map(list).collect::<Vec<_>>(), expected, "seed {seed}");
            for (key, _) in &expected {
                let last = expected.iter().rev().find(|(other, _)| other == key);
                assert_eq!(sorted.get(key).map(list).as_ref(), last, "seed {seed}");
                let absent = [key.as_slice(), &[9]].concat();
                assert!(sorted.get(&absent).is_none(), "no key has a 9");
            }
        }
    }
}
