//! Sliding windows at a cost that does not grow with size / slide: the two-stack queue, kept per key.
//!
//! Slices enter at the back and leave at the front. The back is one running aggregate per key. The front holds, for
//! every (slice, key), the aggregate of the key from that slice to the newest slice of the front; each such entry
//! knows the key's next one. A window is the merge of two aggregates per key. When the front is used up, the back is
//! turned over: its slices are walked from the newest to the oldest, each entry being merged with the key's next one.
//! So a (slice, key) is merged a constant number of times, however many windows it is part of.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::array::ArrayRef;

use super::slice_store::SliceStore;
use crate::Result;
use crate::aggregate::AggregateSet;
use crate::operators::key_table::{KeyTable, SlotSet};
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::time::assign::{Slice, WindowGrid};

/// Stands for "no entry".
const NONE: u32 = u32::MAX;

/// The sliding aggregate of all keys. Derived from slices: it can be dropped and built again at any time.
pub struct TwoStack {
    calls: NarrowCalls,
    grid: WindowGrid,
    /// All keys since the back was last turned over.
    keys: KeyTable,
    /// One slot per key.
    back: AggregateSet,
    in_back: SlotSet,
    back_slices: VecDeque<Slice>,
    /// One slot per entry.
    front: AggregateSet,
    entries: Vec<FrontEntry>,
    /// The entry of each key in the oldest front slice that has one, or [`NONE`].
    entry_of_key: Vec<u32>,
    /// From the newest to the oldest.
    front_slices: Vec<FrontSlice>,
    /// Slices of rows that were late for some of their windows: they come and go out of turn, and are merged as they are.
    stray: Vec<Slice>,
}

struct FrontEntry {
    key: u32,
    next: u32,
}

struct FrontSlice {
    last_end: i64,
    entries: Range<u32>,
}

impl TwoStack {
    pub fn new(calls: &NarrowCalls, grid: &WindowGrid) -> Result<Self> {
        Ok(Self {
            calls: calls.clone(),
            grid: grid.clone(),
            keys: KeyTable::default(),
            back: calls.accumulators()?,
            in_back: SlotSet::default(),
            back_slices: VecDeque::new(),
            front: calls.accumulators()?,
            entries: Vec::new(),
            entry_of_key: Vec::new(),
            front_slices: Vec::new(),
            stray: Vec::new(),
        })
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes()
            + self.back.size_bytes()
            + self.front.size_bytes()
            + self.entries.capacity() * size_of::<FrontEntry>()
            + self.entry_of_key.capacity() * size_of::<u32>()
    }

    /// Moves to the window that ends at `end`, in which `entering` are new. All slices in use must be in memory.
    pub fn advance(&mut self, end: i64, mut entering: Vec<Slice>, store: &SliceStore) -> Result<()> {
        self.leave(end, store)?;
        entering.sort_unstable();
        for slice in entering {
            if self.grid.is_natural(slice) {
                self.enter(slice, store)?;
            } else {
                self.stray.push(slice);
            }
        }
        Ok(())
    }

    fn leave(&mut self, end: i64, store: &SliceStore) -> Result<()> {
        self.stray.retain(|slice| slice.last_end >= end);
        while let Some(oldest) = self.front_slices.pop_if(|slice| slice.last_end < end) {
            for entry in &self.entries[oldest.entries.start as usize..oldest.entries.end as usize] {
                self.entry_of_key[entry.key as usize] = entry.next;
            }
        }
        if self.front_slices.is_empty() && self.back_slices.front().is_some_and(|slice| slice.last_end < end) {
            self.turn_over(end, store)?;
        }
        Ok(())
    }

    fn enter(&mut self, slice: Slice, store: &SliceStore) -> Result<()> {
        assert!(self.back_slices.back().is_none_or(|last| *last < slice), "slices enter in order");
        let contents = store.contents(slice);
        let slots = self.intern_keys(&contents.keys);
        self.back.resize(self.keys.len());
        self.back.merge_from(&slots, &contents.values, &contents.all_slots())?;
        slots.iter().for_each(|slot| self.in_back.insert(*slot));
        self.back_slices.push_back(slice);
        Ok(())
    }

    /// Makes the back the front, without the slices that ended before `end`.
    fn turn_over(&mut self, end: i64, store: &SliceStore) -> Result<()> {
        let slices = std::mem::take(&mut self.back_slices);
        *self = Self { stray: std::mem::take(&mut self.stray), ..Self::new(&self.calls, &self.grid)? };
        for slice in slices.into_iter().rev().filter(|slice| slice.last_end >= end) {
            self.push_front(slice, store)?;
        }
        Ok(())
    }

    /// Puts a slice that is older than all others before them.
    fn push_front(&mut self, slice: Slice, store: &SliceStore) -> Result<()> {
        let contents = store.contents(slice);
        let keys = self.intern_keys(&contents.keys);
        let first = self.entries.len() as u32;
        let added: Vec<u32> = (first..first + keys.len() as u32).collect();
        self.front.resize(self.entries.len() + keys.len());
        self.front.merge_from(&added, &contents.values, &contents.all_slots())?;
        let (mut into, mut from) = (Vec::new(), Vec::new());
        for (entry, key) in added.iter().zip(keys) {
            let next = std::mem::replace(&mut self.entry_of_key[key as usize], *entry);
            self.entries.push(FrontEntry { key, next });
            if next != NONE {
                into.push(*entry);
                from.push(next);
            }
        }
        self.front.merge_within(&into, &from)?;
        let entries = first..self.entries.len() as u32;
        self.front_slices.push(FrontSlice { last_end: slice.last_end, entries });
        Ok(())
    }

    fn intern_keys(&mut self, keys: &KeyTable) -> Vec<u32> {
        let slots = (0..keys.len() as u32).map(|slot| self.keys.intern(keys.hash(slot), keys.key(slot))).collect();
        self.entry_of_key.resize(self.keys.len(), NONE);
        slots
    }

    /// Calls `each` with the keys and results of the current window, about `rows` at a time.
    pub fn for_each_result(
        &mut self,
        rows: usize,
        store: &SliceStore,
        mut each: impl FnMut(Vec<&[u8]>, Vec<ArrayRef>) -> Result<()>,
    ) -> Result<()> {
        let strays = self.stray_slots(store);
        let in_stray: SlotSet = strays.iter().map(|stray| stray.key).collect();
        let is_live = |key: &u32| {
            self.entry_of_key[*key as usize] != NONE || self.in_back.contains(*key) || in_stray.contains(*key)
        };
        let live: Vec<u32> = (0..self.keys.len() as u32).filter(is_live).collect();
        for keys in live.chunks(rows.max(1)) {
            let results = self.results(keys, &strays, store)?;
            each(keys.iter().map(|key| self.keys.key(*key)).collect(), results)?;
        }
        Ok(())
    }

    fn results(&self, keys: &[u32], strays: &[StraySlot], store: &SliceStore) -> Result<Vec<ArrayRef>> {
        let mut merged = self.calls.accumulators()?;
        merged.resize(keys.len());
        let numbered = || (0u32..).zip(keys);
        let front = numbered().map(|(slot, key)| (slot, self.entry_of_key[*key as usize]));
        let (slots, entries): (Vec<u32>, Vec<u32>) = front.filter(|(_, entry)| *entry != NONE).unzip();
        merged.merge_from(&slots, &self.front, &entries)?;
        let (slots, keys_in_back): (Vec<u32>, Vec<u32>) =
            numbered().filter(|(_, key)| self.in_back.contains(**key)).unzip();
        merged.merge_from(&slots, &self.back, &keys_in_back)?;
        for stray in strays {
            if let Ok(slot) = keys.binary_search(&stray.key) {
                merged.merge_from(&[slot as u32], &store.contents(stray.slice).values, &[stray.slot])?;
            }
        }
        merged.evaluate(&(0..keys.len() as u32).collect::<Vec<_>>())
    }

    fn stray_slots(&mut self, store: &SliceStore) -> Vec<StraySlot> {
        let mut slots = Vec::new();
        for slice in std::mem::take(&mut self.stray) {
            let keys = self.intern_keys(&store.contents(slice).keys);
            slots.extend(keys.into_iter().zip(0u32..).map(|(key, slot)| StraySlot { key, slice, slot }));
            self.stray.push(slice);
        }
        slots
    }
}

/// A slot of a slice that came out of turn.
struct StraySlot {
    key: u32,
    slice: Slice,
    slot: u32,
}
