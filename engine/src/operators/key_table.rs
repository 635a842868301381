//! Keys of an operator: from columns to bytes, and from bytes to dense slots.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use arrow::row::Rows;
use hashbrown::HashTable;

use crate::Result;
use crate::keys::{KeyEncoder, KeyGroup, KeyGroupRange, hash_key};

/// The key columns of an operator's input. No columns means that all rows have the same, empty key.
pub struct KeyColumns {
    encoder: Option<KeyEncoder>,
    columns: Vec<usize>,
}

impl KeyColumns {
    pub fn new(columns: &[usize], input: &Schema) -> Result<Self> {
        let types: Vec<_> = columns.iter().map(|column| input.field(*column).data_type().clone()).collect();
        let encoder = if types.is_empty() { None } else { Some(KeyEncoder::new(&types)?) };
        Ok(Self { encoder, columns: columns.to_vec() })
    }

    /// The keys of all rows with their hashes.
    pub fn encode(&self, rows: &RecordBatch) -> Result<BatchKeys> {
        let Some(encoder) = &self.encoder else {
            return Ok(BatchKeys { rows: None, hashes: vec![hash_key(&[]); rows.num_rows()] });
        };
        let columns: Vec<ArrayRef> = self.columns.iter().map(|column| rows.column(*column).clone()).collect();
        let rows = encoder.encode(&columns)?;
        let hashes = rows.iter().map(|row| hash_key(row.data())).collect();
        Ok(BatchKeys { rows: Some(rows), hashes })
    }

    /// The key columns for keys that `encode` once gave; no columns where there are none.
    pub fn decode<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        self.encoder.as_ref().map_or_else(|| Ok(Vec::new()), |encoder| encoder.decode(keys))
    }
}

/// The keys of a batch, row by row.
pub struct BatchKeys {
    rows: Option<Rows>,
    hashes: Vec<u64>,
}

impl BatchKeys {
    pub fn key(&self, row: usize) -> &[u8] {
        self.rows.as_ref().map_or(&[], |rows| rows.row(row).data())
    }

    pub fn hash(&self, row: usize) -> u64 {
        self.hashes[row]
    }
}

/// Gives each distinct key a slot: the next of 0, 1, 2, ... or that of a key of the same length which was removed.
#[derive(Default)]
pub struct KeyTable {
    index: HashTable<u32>,
    hashes: Vec<u64>,
    /// Where each key ends in `bytes`; it starts where the one before ends.
    ends: Vec<usize>,
    bytes: Vec<u8>,
    free: FreeSlots,
}

/// Slots whose keys were removed, by the length of those.
#[derive(Default)]
struct FreeSlots {
    by_length: BTreeMap<usize, Vec<u32>>,
    count: usize,
}

impl FreeSlots {
    fn add(&mut self, slot: u32, length: usize) {
        self.by_length.entry(length).or_default().push(slot);
        self.count += 1;
    }

    fn take(&mut self, length: usize) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let slot = self.by_length.get_mut(&length)?.pop()?;
        self.count -= 1;
        Some(slot)
    }
}

impl KeyTable {
    /// Slots, also those whose keys were removed.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Keys.
    pub fn count(&self) -> usize {
        self.hashes.len() - self.free.count
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Half of the slots are of no use: their memory is given back by a new table alone.
    pub fn is_sparse(&self) -> bool {
        2 * self.count() < self.len()
    }

    /// A table of the keys of these slots, in this order.
    pub fn of_kept(&self, slots: &[u32]) -> Self {
        let mut kept = Self::default();
        for slot in slots {
            kept.intern(self.hash(*slot), self.key(*slot));
        }
        kept
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        key_at(&self.ends, &self.bytes, slot)
    }

    pub fn hash(&self, slot: u32) -> u64 {
        self.hashes[slot as usize]
    }

    pub fn group(&self, slot: u32, range: KeyGroupRange) -> KeyGroup {
        KeyGroup::of(self.hash(slot), range.max_parallelism)
    }

    /// Of all slots, so none may have been removed.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        debug_assert_eq!(self.free.count, 0, "removed keys are none of the table's");
        (0..self.len() as u32).map(|slot| self.key(slot))
    }

    pub fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index.find(hash, |slot| self.hash(*slot) == hash && self.key(*slot) == key).copied()
    }

    /// The slot of a key, which is added if it is new.
    pub fn intern(&mut self, hash: u64, key: &[u8]) -> u32 {
        let Self { index, hashes, ends, bytes, free } = self;
        let entry = index.entry(
            hash,
            |slot| hashes[*slot as usize] == hash && key_at(ends, bytes, *slot) == key,
            |slot| hashes[*slot as usize],
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(found) => *found.get(),
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                if let Some(slot) = free.take(key.len()) {
                    vacant.insert(slot);
                    hashes[slot as usize] = hash;
                    bytes[span(ends, slot)].copy_from_slice(key);
                    return slot;
                }
                let slot = u32::try_from(hashes.len()).expect("memory ends before four billion keys");
                vacant.insert(slot);
                hashes.push(hash);
                bytes.extend_from_slice(key);
                ends.push(bytes.len());
                slot
            }
        }
    }

    /// Removes the key of a slot, which another key may get.
    pub fn remove(&mut self, slot: u32) {
        let entry = self.index.find_entry(self.hash(slot), |other| *other == slot);
        entry.expect("a slot loses its key once").remove();
        self.free.add(slot, span(&self.ends, slot).len());
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.index.allocation_size()
            + self.hashes.capacity() * size_of::<u64>()
            + self.ends.capacity() * size_of::<usize>()
            + self.bytes.capacity()
            + self.free.count * size_of::<u32>()
    }
}

fn key_at<'a>(ends: &[usize], bytes: &'a [u8], slot: u32) -> &'a [u8] {
    &bytes[span(ends, slot)]
}

fn span(ends: &[usize], slot: u32) -> Range<usize> {
    let slot = slot as usize;
    let start = if slot == 0 { 0 } else { ends[slot - 1] };
    start..ends[slot]
}

/// A set of slots as bits.
#[derive(Default, Clone)]
pub struct SlotSet {
    words: Vec<u64>,
    count: usize,
}

impl SlotSet {
    #[inline]
    pub fn insert(&mut self, slot: u32) {
        let (word, bit) = (slot as usize / 64, 1u64 << (slot % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.count += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    pub fn remove(&mut self, slot: u32) {
        if self.contains(slot) {
            self.words[slot as usize / 64] &= !(1 << (slot % 64));
            self.count -= 1;
        }
    }

    pub fn contains(&self, slot: u32) -> bool {
        self.words.get(slot as usize / 64).is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn clear(&mut self) {
        self.words.clear();
        self.count = 0;
    }

    /// In increasing order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.iter_from(0)
    }

    /// Those from a slot on, in increasing order.
    pub fn iter_from(&self, from: u32) -> impl Iterator<Item = u32> {
        let first = from as usize / 64;
        self.words.iter().enumerate().skip(first).flat_map(move |(index, word)| {
            let mut rest = if index == first { *word & (u64::MAX << (from % 64)) } else { *word };
            iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(index as u32 * 64 + bit)
            })
        })
    }
}

impl FromIterator<u32> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        let mut set = Self::default();
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_get_dense_slots_in_order_of_arrival() {
        let mut table = KeyTable::default();
        let keys: Vec<Vec<u8>> = (0..1000u32).map(|n| n.to_string().into_bytes()).chain([Vec::new()]).collect();
        for round in 0..2 {
            for (slot, key) in keys.iter().enumerate() {
                assert_eq!(table.intern(hash_key(key), key), slot as u32, "round {round}");
            }
        }
        assert!(table.keys().eq(keys.iter().map(Vec::as_slice)));
        assert_eq!(table.find(hash_key(b"17"), b"17"), Some(17));
        assert_eq!(table.find(hash_key(b"x"), b"x"), None);
    }

    #[test]
    fn equal_hashes_do_not_mix_keys() {
        let mut table = KeyTable::default();
        let slots: Vec<u32> = [b"a", b"b", b"a", b"c"].iter().map(|key| table.intern(7, *key)).collect();
        assert_eq!(slots, [0, 1, 0, 2]);
    }

    #[test]
    fn a_slot_goes_to_a_key_of_the_same_length_once_its_own_is_removed() {
        let mut table = KeyTable::default();
        let mut slot_of = |key: &[u8]| table.intern(hash_key(key), key);
        assert_eq!([slot_of(b"aa"), slot_of(b"bb"), slot_of(b"c")], [0, 1, 2]);
        table.remove(1);
        assert_eq!((table.len(), table.count(), table.find(hash_key(b"bb"), b"bb")), (3, 2, None));
        let mut slot_of = |key: &[u8]| table.intern(hash_key(key), key);
        assert_eq!([slot_of(b"longer"), slot_of(b"dd"), slot_of(b"bb")], [3, 1, 4]);
        assert_eq!([slot_of(b"aa"), slot_of(b"dd"), slot_of(b"c")], [0, 1, 2]);
        let keys: [&[u8]; 5] = [b"aa", b"dd", b"c", b"longer", b"bb"];
        assert!(table.keys().eq(keys) && table.count() == 5);
    }

    #[test]
    fn a_slot_set_lists_its_slots() {
        let mut set = SlotSet::default();
        [5, 64, 63, 5, 200].iter().for_each(|slot| set.insert(*slot));
        assert_eq!(set.iter().collect::<Vec<_>>(), [5, 63, 64, 200]);
        for (from, rest) in
            [(5, &[5, 63, 64, 200][..]), (6, &[63, 64, 200]), (64, &[64, 200]), (65, &[200]), (999, &[])]
        {
            assert!(set.iter_from(from).eq(rest.iter().copied()), "{from}");
        }
        assert!(set.contains(64) && !set.contains(65) && !set.contains(10_000));
        assert_eq!(set.len(), 4);
        [63, 1, 10_000].iter().for_each(|slot| set.remove(*slot));
        assert_eq!((set.iter().collect(), set.len()), (vec![5, 64, 200], 3));
    }
}
