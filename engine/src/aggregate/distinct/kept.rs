//! What DISTINCT keeps in state beside the entry of its group.

use arrow::array::{ArrayRef, AsArray, BooleanArray};

use super::accumulators::{DistinctAccumulators, INLINE};
use super::damaged;
use super::keys::KeyColumns;
use super::sorted_set::SortedSet;
use super::value::{Key, Tally, read_entries};
use crate::Result;
use crate::aggregate::kept_values::{KeptValues, StoredValues, WriteValue};
use crate::aggregate::selection::for_each_row;

/// What is to be read from state.
#[derive(Default)]
struct Lookup {
    /// Sets with all of their segments.
    whole: Vec<u32>,
    /// Values with an entry each.
    keys: Vec<(u32, Vec<u8>)>,
    /// The number of each in its slot's set.
    entries: Vec<usize>,
}

impl<C: KeyColumns, T: Tally> DistinctAccumulators<C, T> {
    #[inline(always)]
    fn reserve(&mut self, slot: usize, key: <C::Key as Key>::Ref<'_>, lookup: &mut Lookup) {
        let set = &mut self.sets[slot];
        if set.unread_segments() > 0 {
            lookup.whole.push(slot as u32);
        } else if let Some(entry) = set.reserve(key, &mut self.heap_bytes) {
            lookup.keys.push((slot as u32, C::Key::entry_key(key)));
            lookup.entries.push(entry);
        }
    }

    fn read(&mut self, mut lookup: Lookup, stored: &dyn StoredValues) -> Result<()> {
        stored.get_many(&lookup.keys, &mut |number, mut bytes| {
            let tally = T::read(&mut bytes).ok_or_else(damaged)?;
            self.sets[lookup.keys[number].0 as usize].set_stored(lookup.entries[number], tally);
            Ok(())
        })?;
        lookup.whole.sort_unstable();
        lookup.whole.dedup();
        self.read_segments(&lookup.whole, stored)
    }

    fn read_segments(&mut self, slots: &[u32], stored: &dyn StoredValues) -> Result<()> {
        // The place of each segment's slot among the slots.
        let (mut keys, mut places) = (Vec::new(), Vec::new());
        for (place, slot) in slots.iter().enumerate() {
            let segments = self.sets[*slot as usize].unread_segments();
            keys.extend((0..segments).map(|segment| (*slot, vec![segment as u8])));
            places.resize(keys.len(), place);
        }
        let mut values: Vec<Vec<_>> = slots.iter().map(|_| Vec::new()).collect();
        let mut missing = keys.len();
        stored.get_many(&keys, &mut |number, bytes| {
            missing -= 1;
            SortedSet::<C::Key, T>::read(keys[number].1[0], bytes, &mut values[places[number]]).ok_or_else(damaged)
        })?;
        if missing > 0 {
            return Err(damaged());
        }
        for (slot, values) in slots.iter().zip(values) {
            self.sets[*slot as usize].load(values, &mut self.heap_bytes);
        }
        Ok(())
    }
}

impl<C: KeyColumns, T: Tally> KeptValues for DistinctAccumulators<C, T> {
    fn load_rows(
        &mut self,
        slots: &[u32],
        args: &[ArrayRef],
        keep: Option<&BooleanArray>,
        stored: &dyn StoredValues,
    ) -> Result<()> {
        let (args, conditions) = args.split_at(self.argument_count);
        let (batch, uses) = (self.columns.batch(args)?, self.uses_of_rows(conditions, slots.len()));
        let mut lookup = Lookup::default();
        for_each_row(slots, &self.selection(args, keep), |slot, row| {
            if uses.of(row) != 0 {
                self.reserve(slot, C::key(&batch, row), &mut lookup);
            }
        });
        self.read(lookup, stored)
    }

    fn load_partials(&mut self, slots: &[u32], state: &[ArrayRef], stored: &dyn StoredValues) -> Result<()> {
        let mut lookup = Lookup::default();
        for (slot, bytes) in slots.iter().zip(state[0].as_binary::<i32>()) {
            if let Some((&INLINE, entries)) = bytes.and_then(|bytes| bytes.split_first()) {
                let visit = |key, _: T| self.reserve(*slot as usize, key, &mut lookup);
                read_entries::<C::Key, T>(entries, visit).ok_or_else(damaged)?;
            }
        }
        self.read(lookup, stored)
    }

    /// How many values there are, and what the inner aggregates made of them, is in memory.
    fn load_results(&mut self, _slots: &[u32], _stored: &dyn StoredValues) -> Result<()> {
        Ok(())
    }

    fn write_changed(&mut self, slots: &[u32], write: &mut WriteValue<'_>) -> Result<()> {
        slots.iter().try_for_each(|slot| {
            self.sets[*slot as usize].write_changed(&mut self.heap_bytes, &mut |key, entry| write(*slot, key, entry))
        })
    }

    fn any_apart(&self, slots: &[u32]) -> bool {
        slots.iter().any(|slot| self.sets[*slot as usize].is_apart())
    }
}
