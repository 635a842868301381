//! Values in order, as bytes, with how often each was added; one such set per group.
//!
//! Of a group whose values are apart, a set holds those that were asked for and the first ones of all: from there on the
//! next one is found in state when the first has gone.

use std::collections::{BTreeMap, BTreeSet};

use super::kept_values::{INLINE_VALUES_MAX, StoredValues, WriteEntry};
use super::varint::{read_count, write_count};
use crate::{EngineError, Result};

/// What an entry costs beyond its bytes: the pointers and counts of a tree's node, about.
const ENTRY_BYTES: usize = 48;

/// Values read at a time where the first of a group have gone: they lie side by side in state.
const RUN_VALUES: usize = 64;

#[derive(Default)]
pub(super) struct OrderedSet {
    /// No count is zero.
    counts: BTreeMap<Box<[u8]>, i64>,
    /// Of a group whose values are apart.
    apart: Option<Box<Apart>>,
}

/// What a set knows of its values in state.
#[derive(Default)]
struct Apart {
    known: Known,
    /// Values that differ from state, or are about to; those without a count have gone.
    changed: BTreeSet<Box<[u8]>>,
}

/// Of which values memory can tell whether they are there, whatever else it may hold.
#[derive(Default)]
enum Known {
    #[default]
    None,
    UpTo(Box<[u8]>),
    All,
}

impl Known {
    fn covers(&self, value: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::UpTo(last) => value <= last.as_ref(),
            Self::All => true,
        }
    }
}

impl OrderedSet {
    /// Adds `delta` to the count of a value, and what memory that takes to `size_bytes`.
    pub(super) fn add(&mut self, value: &[u8], delta: i64, size_bytes: &mut usize) {
        if delta == 0 {
            return;
        }
        self.note_changed(value, size_bytes);
        let Some(count) = self.counts.get_mut(value) else {
            self.insert(value, delta, size_bytes);
            return;
        };
        *count += delta;
        if *count == 0 {
            self.counts.remove(value);
            *size_bytes -= entry_bytes(value);
        }
    }

    fn insert(&mut self, value: &[u8], count: i64, size_bytes: &mut usize) {
        let new = self.counts.insert(value.into(), count).is_none();
        *size_bytes += if new { entry_bytes(value) } else { 0 };
    }

    fn note_changed(&mut self, value: &[u8], size_bytes: &mut usize) {
        if let Some(apart) = self.apart.as_mut().filter(|apart| !apart.changed.contains(value)) {
            apart.changed.insert(value.into());
            *size_bytes += entry_bytes(value);
        }
    }

    /// The values that are there, in order, with their counts.
    pub(super) fn present(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.counts.iter().filter(|(_, count)| **count > 0).map(|(value, count)| (value.as_ref(), *count as u64))
    }

    /// All counts that are not zero.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&[u8], i64)> {
        self.counts.iter().map(|(value, count)| (value.as_ref(), *count))
    }

    /// All memory held, in bytes; walks over the values.
    pub(super) fn heap_bytes(&self) -> usize {
        let changed = self.apart.iter().flat_map(|apart| &apart.changed);
        self.counts.keys().chain(changed).map(|value| entry_bytes(value)).sum()
    }
}

fn entry_bytes(value: &[u8]) -> usize {
    value.len() + ENTRY_BYTES
}

/// The values of a large group: an entry of state each.
impl OrderedSet {
    pub(super) fn is_apart(&self) -> bool {
        self.apart.is_some()
    }

    /// What stands for the whole set: the first value with its count, if memory knows it.
    pub(super) fn head(&self) -> Option<(&[u8], i64)> {
        let apart = self.apart.as_ref()?;
        self.counts().next().filter(|(value, count)| *count > 0 && apart.known.covers(value))
    }

    /// Makes an empty set stand for values in state; `None` where it is not empty.
    pub(super) fn restore(&mut self, head: Option<(&[u8], i64)>, size_bytes: &mut usize) -> Option<()> {
        if !self.counts.is_empty() || self.apart.is_some() {
            return None;
        }
        let mut apart = Apart::default();
        if let Some((value, count)) = head {
            self.insert(value, count, size_bytes);
            apart.known = Known::UpTo(value.into());
        }
        self.apart = Some(Box::new(apart));
        Some(())
    }

    /// Takes in that a value is about to change; true where only state knows its count, which is to be read before.
    pub(super) fn reserve(&mut self, value: &[u8], size_bytes: &mut usize) -> bool {
        let Some(apart) = &self.apart else { return false };
        let known = apart.known.covers(value) || apart.changed.contains(value) || self.counts.contains_key(value);
        if !known {
            self.note_changed(value, size_bytes);
        }
        !known
    }

    /// The count that state has for a value.
    pub(super) fn set_stored(&mut self, value: &[u8], mut count: &[u8], size_bytes: &mut usize) -> Result<()> {
        let count = read_count(&mut count).filter(|count| *count != 0).ok_or_else(damaged)?;
        self.insert(value, count, size_bytes);
        Ok(())
    }

    /// Reads until the first value of all is known.
    pub(super) fn load_first(&mut self, slot: u32, stored: &dyn StoredValues, size_bytes: &mut usize) -> Result<()> {
        while !self.knows_first() {
            self.load_more(slot, RUN_VALUES, stored, size_bytes)?;
        }
        Ok(())
    }

    fn knows_first(&self) -> bool {
        match &self.apart {
            None => true,
            Some(apart) if matches!(apart.known, Known::All) => true,
            Some(apart) => self.present().next().is_some_and(|(value, _)| apart.known.covers(value)),
        }
    }

    pub(super) fn load_all(&mut self, slot: u32, stored: &dyn StoredValues, size_bytes: &mut usize) -> Result<()> {
        self.load_more(slot, usize::MAX, stored, size_bytes)
    }

    /// Reads so many more values, in order.
    fn load_more(&mut self, slot: u32, values: usize, stored: &dyn StoredValues, size_bytes: &mut usize) -> Result<()> {
        let Some(mut apart) = self.apart.take() else { return Ok(()) };
        let after = match std::mem::replace(&mut apart.known, Known::All) {
            Known::None => None,
            Known::UpTo(last) => Some(last),
            Known::All => {
                self.apart = Some(apart);
                return Ok(());
            }
        };
        let mut read = 0;
        stored.scan(slot, after.as_deref(), &mut |value, count| {
            // Of what has changed, memory knows better.
            if !apart.changed.contains(value) {
                self.set_stored(value, count, size_bytes)?;
            }
            read += 1;
            if read == values {
                apart.known = Known::UpTo(value.into());
            }
            Ok(read < values)
        })?;
        self.apart = Some(apart);
        Ok(())
    }

    /// Hands over the values that differ from state with their counts, if the set is large.
    pub(super) fn write_changed(&mut self, size_bytes: &mut usize, write: &mut WriteEntry<'_>) -> Result<()> {
        if self.apart.is_none() && self.counts.len() <= INLINE_VALUES_MAX {
            return Ok(());
        }
        let changed = match &mut self.apart {
            Some(apart) => std::mem::take(&mut apart.changed),
            None => {
                self.apart = Some(Box::new(Apart { known: Known::All, changed: BTreeSet::new() }));
                *size_bytes += self.heap_bytes();
                self.counts.keys().cloned().collect()
            }
        };
        let mut bytes = Vec::new();
        for value in changed {
            *size_bytes -= entry_bytes(&value);
            let Some(count) = self.counts.get(&value) else {
                write(&value, None)?;
                continue;
            };
            bytes.clear();
            write_count(*count, &mut bytes);
            write(&value, Some(&bytes))?;
        }
        Ok(())
    }
}

fn damaged() -> EngineError {
    EngineError::Internal { place: "counted values".into(), reason: "an entry of state cannot be read".into() }
}
