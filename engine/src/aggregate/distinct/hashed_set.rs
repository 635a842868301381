//! The values of a large group, with a hash index. Values keep the order in which they first came.
//!
//! As long as its operator offers no state for them, all values are here. From then on each is an entry of state of its
//! own; the set holds those that were asked for, and knows which of them differ from state.

use hashbrown::HashTable;

use super::value::{Change, Key, Tally, write_entries};
use crate::Result;
use crate::aggregate::kept_values::WriteEntry;

/// Fewer dead entries than this are not worth a clean-up.
const DEAD_MIN: usize = 16;

pub(super) struct HashedSet<K, T> {
    /// Values and what is counted of them, the dead included.
    entries: Vec<(K, T)>,
    index: HashTable<u32>,
    dead: usize,
    apart: Option<Apart>,
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
        self.marks.capacity() + self.changed.capacity() * size_of::<u32>()
    }
}

impl<K: Key, T: Tally> HashedSet<K, T> {
    /// All values of a group, none of them dead.
    pub(super) fn whole(entries: Vec<(K, T)>) -> Self {
        let mut set = Self { entries, index: HashTable::new(), dead: 0, apart: None };
        set.index_all();
        set
    }

    /// Stands for values that are in state, an entry each.
    pub(super) fn stored() -> Self {
        Self { entries: Vec::new(), index: HashTable::new(), dead: 0, apart: Some(Apart::default()) }
    }

    /// True where there is nothing to keep, here or in state.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.len() == self.dead && !self.is_apart()
    }

    /// True where each value has an entry of state.
    pub(super) fn is_apart(&self) -> bool {
        self.apart.is_some()
    }

    /// True where state knows no value that is not here.
    pub(super) fn is_complete(&self) -> bool {
        self.apart.as_ref().is_none_or(|apart| apart.complete)
    }

    /// Changes what is counted of a value, and `size_bytes` by what memory that takes.
    #[inline]
    pub(super) fn apply(
        &mut self,
        key: K::Ref<'_>,
        size_bytes: &mut usize,
        change: impl FnOnce(&mut T) -> Change,
    ) -> Change {
        match self.find(key) {
            Some(entry) => self.change(entry, size_bytes, change),
            None => {
                let mut tally = T::default();
                let made = change(&mut tally);
                if !tally.is_dead() {
                    let entry = self.push(K::own(key), tally, size_bytes);
                    self.note_changed(entry, size_bytes);
                }
                made
            }
        }
    }

    #[inline]
    fn find(&self, key: K::Ref<'_>) -> Option<usize> {
        let same = |entry: &u32| self.entries[*entry as usize].0.same(key);
        self.index.find(K::hash(key), same).map(|entry| *entry as usize)
    }

    #[inline]
    fn change(&mut self, entry: usize, size_bytes: &mut usize, change: impl FnOnce(&mut T) -> Change) -> Change {
        let tally = &mut self.entries[entry].1;
        let before = *tally;
        let made = change(tally);
        let after = *tally;
        if before == after {
            return made;
        }
        self.dead = self.dead + usize::from(after.is_dead()) - usize::from(before.is_dead());
        match &self.apart {
            None => self.remove_many_dead(size_bytes),
            // The dead are to be deleted from state first.
            Some(_) => self.note_changed(entry, size_bytes),
        }
        made
    }

    fn note_changed(&mut self, entry: usize, size_bytes: &mut usize) {
        if let Some(apart) = &mut self.apart {
            let before = apart.size_bytes();
            apart.note(entry);
            *size_bytes = *size_bytes + apart.size_bytes() - before;
        }
    }

    fn push(&mut self, key: K, tally: T, size_bytes: &mut usize) -> usize {
        let before = self.shallow_bytes();
        let entry = self.entries.len();
        let hash = K::hash(key.borrow());
        *size_bytes += key.heap_bytes();
        self.entries.push((key, tally));
        let entries = &self.entries;
        self.index.insert_unique(hash, entry as u32, |entry| K::hash(entries[*entry as usize].0.borrow()));
        *size_bytes = *size_bytes + self.shallow_bytes() - before;
        entry
    }

    fn index_all(&mut self) {
        let entries = &self.entries;
        let hash = |entry: &u32| K::hash(entries[*entry as usize].0.borrow());
        self.index = HashTable::with_capacity(entries.len());
        (0..entries.len() as u32).for_each(|entry| {
            self.index.insert_unique(hash(&entry), entry, hash);
        });
    }

    fn remove_many_dead(&mut self, size_bytes: &mut usize) {
        if self.dead < DEAD_MIN || self.dead * 2 <= self.entries.len() {
            return;
        }
        let before = self.heap_bytes();
        self.entries.retain(|(_, tally)| !tally.is_dead());
        self.entries.shrink_to_fit();
        self.dead = 0;
        self.index_all();
        *size_bytes = *size_bytes + self.heap_bytes() - before;
    }

    /// Memory of the lists, in bytes, without what values hold themselves.
    fn shallow_bytes(&self) -> usize {
        let apart = self.apart.as_ref().map_or(0, Apart::size_bytes);
        self.entries.capacity() * size_of::<(K, T)>() + self.index.allocation_size() + apart
    }

    /// All memory held, in bytes; walks over the values.
    pub(super) fn heap_bytes(&self) -> usize {
        self.shallow_bytes() + self.entries.iter().map(|(key, _)| key.heap_bytes()).sum::<usize>()
    }

    /// Writes all values that are here.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let alive = self.entries.iter().filter(|(_, tally)| !tally.is_dead());
        write_entries(alive.map(|(key, tally)| (key, *tally)), out);
    }

    /// Takes in a value that only state may know, as absent until [`Self::set_stored`] says otherwise; its entry. `None`
    /// where memory knows.
    pub(super) fn reserve(&mut self, key: K::Ref<'_>, size_bytes: &mut usize) -> Option<usize> {
        if self.is_complete() || self.find(key).is_some() {
            return None;
        }
        self.dead += 1;
        Some(self.push(K::own(key), T::default(), size_bytes))
    }

    /// What state says of an entry.
    pub(super) fn set_stored(&mut self, entry: usize, tally: T) {
        debug_assert!(self.entries[entry].1.is_dead(), "only what was reserved is read");
        self.dead -= usize::from(!tally.is_dead());
        self.entries[entry].1 = tally;
    }

    /// Hands over the values that differ from state, an entry each.
    pub(super) fn write_changed(&mut self, size_bytes: &mut usize, write: &mut WriteEntry<'_>) -> Result<()> {
        let before = self.shallow_bytes();
        let apart = self.apart.get_or_insert_with(|| Apart {
            complete: true,
            marks: Vec::new(),
            changed: (0..self.entries.len() as u32).collect(),
        });
        let mut bytes = Vec::new();
        for entry in std::mem::take(&mut apart.changed) {
            let (key, tally) = &self.entries[entry as usize];
            bytes.clear();
            tally.write(&mut bytes);
            write(&K::entry_key(key.borrow()), (!tally.is_dead()).then_some(bytes.as_slice()))?;
        }
        apart.marks = Vec::new();
        *size_bytes = *size_bytes + self.shallow_bytes() - before;
        self.remove_many_dead(size_bytes);
        Ok(())
    }
}
