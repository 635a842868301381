//! A set of values with what is counted of each, so that values can be taken back; one per group.
//!
//! How it lies in memory and in state depends on how large it is. A few values are *inline*: part of the one entry that the
//! operator writes for the group. Up to [`SORTED_MAX`] they are sorted and lie in segments, which are read together and of which a
//! barrier writes what is new. A set with more has a hash index, and is *apart*: an entry of state for each value,
//! of which only those are read that a batch asks for.

use super::hashed_set::HashedSet;
use super::sorted_set::{Loaded, SortedSet};
use super::value::{Change, Key, Tally};
use crate::Result;
use crate::aggregate::kept_values::WriteEntry;

/// So many values are written whole with their group: an entry of their own would be mostly key. Tests cross it early.
const INLINE_MAX: usize = if cfg!(test) { 2 } else { 16 };

/// So many values are read whole: to ask for as many one by one takes a hundred times as long. Inserting one moves half
/// of them, which takes no longer than it takes to find them in memory. Tests cross it early.
const SORTED_MAX: usize = if cfg!(test) { 24 } else { 1024 };

pub(super) enum DistinctSet<K, T> {
    Small(SortedSet<K, T>),
    Large(Box<Large<K, T>>),
}

pub(super) struct Large<K, T> {
    values: HashedSet<K, T>,
    /// Number of segments that state still has, from the time when the set was small.
    segments: usize,
}

/// What state has of a set beside the group's entry.
pub(super) enum Stored<'a> {
    Nothing,
    /// Segments of these sizes.
    Segments(&'a [usize]),
    /// An entry for each value.
    Entries,
}

impl<K, T> Default for DistinctSet<K, T> {
    fn default() -> Self {
        Self::Small(SortedSet::default())
    }
}

impl<K: Key, T: Tally> DistinctSet<K, T> {
    /// A set that keeps values in the order in which they came, whatever their number.
    pub(super) fn in_order() -> Self {
        Self::Large(Box::new(Large { values: HashedSet::whole(Vec::new()), segments: 0 }))
    }

    /// Changes what is counted of a value, and `size_bytes` by what memory that takes.
    #[inline]
    pub(super) fn apply(
        &mut self,
        key: K::Ref<'_>,
        size_bytes: &mut usize,
        change: impl FnOnce(&mut T) -> Change,
    ) -> Change {
        match self {
            Self::Small(set) if set.len() < SORTED_MAX => set.apply(key, size_bytes, change),
            Self::Small(set) => {
                *size_bytes -= set.heap_bytes();
                let segments = set.segments().map_or(0, <[usize]>::len);
                let values = HashedSet::whole(std::mem::take(set).into_entries());
                *self = Self::Large(Box::new(Large { values, segments }));
                *size_bytes += self.heap_bytes();
                self.apply(key, size_bytes, change)
            }
            Self::Large(set) => set.values.apply(key, size_bytes, change),
        }
    }

    /// True where there is nothing to keep, counts below zero included.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Small(set) => set.len() == 0 && set.segments().is_none(),
            Self::Large(set) => set.values.is_empty(),
        }
    }

    /// All memory held beside the set itself, in bytes; walks over the values.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Small(set) => set.heap_bytes(),
            Self::Large(set) => size_of::<Large<K, T>>() + set.values.heap_bytes(),
        }
    }

    /// Writes all values; for sets of which state has nothing.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Small(set) => set.write(out),
            Self::Large(set) => set.values.write(out),
        }
    }
}

/// What is in state.
impl<K: Key, T: Tally> DistinctSet<K, T> {
    /// Stands for values that are in segments of these sizes.
    pub(super) fn in_segments(sizes: Vec<usize>) -> Self {
        Self::Small(SortedSet::stored(sizes))
    }

    /// Stands for values that are in state, an entry each.
    pub(super) fn in_entries() -> Self {
        Self::Large(Box::new(Large { values: HashedSet::stored(), segments: 0 }))
    }

    /// What state has, once changes are written.
    pub(super) fn stored(&self) -> Stored<'_> {
        match self {
            Self::Small(set) => set.segments().map_or(Stored::Nothing, Stored::Segments),
            Self::Large(set) if set.values.is_apart() => Stored::Entries,
            Self::Large(_) => Stored::Nothing,
        }
    }

    /// True where state has anything beside the group's entry.
    pub(super) fn is_apart(&self) -> bool {
        match self {
            Self::Small(set) => set.segments().is_some(),
            Self::Large(set) => set.segments > 0 || set.values.is_apart(),
        }
    }

    /// The number of segments to be read before the set is asked or changed.
    pub(super) fn unread_segments(&self) -> usize {
        match self {
            Self::Small(set) if !set.is_loaded() => set.segments().map_or(0, <[usize]>::len),
            _ => 0,
        }
    }

    /// Takes in what was read of all segments.
    pub(super) fn load(&mut self, values: Vec<Loaded<K, T>>, size_bytes: &mut usize) {
        if let Self::Small(set) = self {
            set.load(values, size_bytes);
        }
    }

    /// Takes in a value of which only state may have an entry; its number. `None` where memory knows.
    pub(super) fn reserve(&mut self, key: K::Ref<'_>, size_bytes: &mut usize) -> Option<usize> {
        match self {
            Self::Small(_) => None,
            Self::Large(set) => set.values.reserve(key, size_bytes),
        }
    }

    /// What state says of an entry that was reserved.
    pub(super) fn set_stored(&mut self, entry: usize, tally: T) {
        if let Self::Large(set) = self {
            set.values.set_stored(entry, tally);
        }
    }

    /// Hands over what differs from state, unless the values are inline.
    pub(super) fn write_changed(&mut self, size_bytes: &mut usize, write: &mut WriteEntry<'_>) -> Result<()> {
        match self {
            Self::Small(set) if set.segments().is_none() && set.len() <= INLINE_MAX => Ok(()),
            Self::Small(set) => set.write_changed(size_bytes, write),
            Self::Large(set) => {
                (0..std::mem::take(&mut set.segments)).try_for_each(|segment| write(&[segment as u8], None))?;
                set.values.write_changed(size_bytes, write)
            }
        }
    }

    /// Drops what can be read again one by one; only where all changes are written.
    pub(super) fn forget_entries(&mut self) {
        if matches!(self.stored(), Stored::Entries) {
            *self = Self::in_entries();
        }
    }
}
