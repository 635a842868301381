//! The live slices of a window aggregation: accumulators in memory, written through to durable state.
//!
//! Memory holds a slice's *current generation*: what rows added since the slice was last dropped from memory. Dropping
//! it (restart, or the memory budget) writes it and starts a new generation, so an update never reads from disk; the
//! generations of a slice are merged when its windows fire. State keys are slice, generation, key.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;

use super::sliced_rows::{RowNumbers, SlicePart};
use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::key_table::{BatchKeys, SlotSet};
use crate::operators::keyed_aggregates::{KeyedAggregates, NarrowCalls};
use crate::operators::note::{NoteReader, NoteWriter, from_sortable, sortable};
use crate::state::Writes;
use crate::time::EventTime;
use crate::time::assign::Slice;
use crate::{EngineError, Result};

/// Entries read from state that are merged at a time: enough to pay for a call, little enough to hold.
const MERGE_ENTRIES: usize = 4096;

/// A slice with rows.
struct LiveSlice {
    /// The current generation.
    partial: KeyedAggregates,
    /// Number of the current generation.
    generation: u32,
    /// Slots of `partial` that differ from what state holds.
    dirty: SlotSet,
    /// Slots of `partial` that state holds in some version.
    written: SlotSet,
    /// Memory that the earlier generations took; they are in state only. `None` where there are none.
    stored_bytes: Option<usize>,
    /// All generations together, read back for windows that keep merging this slice. The slice gets no more rows.
    whole: Option<KeyedAggregates>,
    size_bytes: usize,
}

/// All live slices.
pub struct SliceStore {
    calls: NarrowCalls,
    slices: BTreeMap<Slice, LiveSlice>,
    size_bytes: usize,
    /// Sum of what the slices would take in addition with all of their generations in memory.
    unloaded_bytes: usize,
}

/// What the notes of a restored job say.
pub struct Restored {
    pub watermark: EventTime,
    pub slices: Vec<Slice>,
}

impl SliceStore {
    pub fn new(calls: NarrowCalls) -> Self {
        Self { calls, slices: BTreeMap::new(), size_bytes: 0, unloaded_bytes: 0 }
    }

    pub fn calls(&self) -> &NarrowCalls {
        &self.calls
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Adds rows; true where the slice is new.
    pub fn update(&mut self, part: &SlicePart, keys: &BatchKeys) -> Result<bool> {
        self.change(part.slice, &part.row_numbers, keys, |partial, slots| partial.values.update(slots, &part.rows))
    }

    /// Takes rows back; true where the slice is new.
    pub fn retract(&mut self, part: &SlicePart, keys: &BatchKeys) -> Result<bool> {
        self.change(part.slice, &part.row_numbers, keys, |partial, slots| partial.values.retract(slots, &part.rows))
    }

    /// Adds partial aggregates; true where the slice is new.
    pub fn merge_columns(&mut self, part: &SlicePart, keys: &BatchKeys) -> Result<bool> {
        let columns: &[ArrayRef] = part.rows.columns();
        self.change(part.slice, &part.row_numbers, keys, |partial, slots| partial.values.merge_columns(slots, columns))
    }

    fn change(
        &mut self,
        id: Slice,
        rows: &RowNumbers,
        keys: &BatchKeys,
        apply: impl FnOnce(&mut KeyedAggregates, &[u32]) -> Result<()>,
    ) -> Result<bool> {
        let is_new = !self.slices.contains_key(&id);
        if is_new {
            self.slices.insert(id, LiveSlice::new(&self.calls)?);
        }
        self.adjust(id, |slice, _| {
            assert!(slice.whole.is_none(), "a slice that windows have merged gets no more rows");
            let slots = slice.partial.slots_of(keys, rows.iter());
            apply(&mut slice.partial, &slots)?;
            slots.iter().for_each(|slot| slice.dirty.insert(*slot));
            Ok(())
        })?;
        Ok(is_new)
    }

    /// Changes a live slice and keeps the sums right.
    fn adjust<R>(&mut self, id: Slice, change: impl FnOnce(&mut LiveSlice, &NarrowCalls) -> Result<R>) -> Result<R> {
        let slice = self.slices.get_mut(&id).expect("the caller knows a live slice");
        self.size_bytes -= slice.size_bytes;
        self.unloaded_bytes -= slice.unloaded_bytes();
        let result = change(slice, &self.calls);
        self.size_bytes += slice.measure();
        self.unloaded_bytes += slice.unloaded_bytes();
        result
    }

    /// Writes what changed since the last barrier.
    pub fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.slices.iter_mut().try_for_each(|(id, slice)| slice.write_back(*id, ctx))
    }

    /// Moves the largest slices out of memory until the rest fits into half of the budget.
    pub fn spill(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let goal = ctx.cache_budget_bytes / 2;
        let mut by_size: Vec<(usize, Slice)> = self.slices.iter().map(|(id, slice)| (slice.size_bytes, *id)).collect();
        by_size.sort_unstable_by(|one, other| other.cmp(one));
        for (_, id) in by_size {
            if self.size_bytes <= goal {
                break;
            }
            self.adjust(id, |slice, calls| slice.spill(id, calls, ctx))?;
        }
        Ok(())
    }

    /// The note for the next checkpoint.
    pub fn note(&self, watermark: EventTime, ctx: &OperatorContext) -> Vec<u8> {
        let mut note = NoteWriter::default();
        note.push(i64::from(ctx.key_groups.start));
        note.push(i64::from(ctx.key_groups.end));
        note.push(watermark.0);
        let mut previous_end = 0;
        for (id, slice) in &self.slices {
            note.push(id.last_end.wrapping_sub(previous_end));
            previous_end = id.last_end;
            note.push(id.last_end - id.first_end);
            note.push(id.first_end - id.start);
            note.push(i64::from(slice.generation) + 1);
            note.push((slice.stored_bytes.unwrap_or(0) + slice.partial.size_bytes()) as i64);
        }
        note.finish()
    }

    /// Takes up the slices of a restored job; their entries stay in state until their windows fire.
    pub fn restore(&mut self, ctx: &OperatorContext) -> Result<Restored> {
        let mut watermark: Option<EventTime> = None;
        for note in ctx.state.restored_notes() {
            let mut note = NoteReader::new(note);
            let (start, end) = (note.read()?, note.read()?);
            let common = end.min(i64::from(ctx.key_groups.end)) - start.max(i64::from(ctx.key_groups.start));
            if common <= 0 {
                continue;
            }
            let own = EventTime(note.read()?);
            watermark = Some(watermark.map_or(own, |watermark| watermark.min(own)));
            self.restore_slices(&mut note, common as f64 / (end - start) as f64)?;
        }
        let slices = self.slices.keys().copied().collect();
        Ok(Restored { watermark: watermark.unwrap_or(EventTime::MIN), slices })
    }

    /// `share` is the part of the note's key groups that this instance owns now.
    fn restore_slices(&mut self, note: &mut NoteReader, share: f64) -> Result<()> {
        let mut previous_end = 0i64;
        while !note.is_at_end() {
            let last_end = previous_end.wrapping_add(note.read()?);
            previous_end = last_end;
            let first_end = last_end - note.read()?;
            let start = first_end - note.read()?;
            let generation = u32::try_from(note.read()?).map_err(|_| damaged_note())?;
            let bytes = (note.read()?.max(0) as f64 * share) as usize;
            let id = Slice { last_end, first_end, start };
            if !self.slices.contains_key(&id) {
                self.slices.insert(id, LiveSlice::new(&self.calls)?);
            }
            self.adjust(id, |slice, _| {
                slice.generation = slice.generation.max(generation);
                slice.stored_bytes = Some(slice.stored_bytes.unwrap_or(0) + bytes);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Forgets a slice whose last window has fired, in memory and in state.
    pub fn free(&mut self, id: Slice, ctx: &mut OperatorContext) -> Result<()> {
        let Some(slice) = self.slices.remove(&id) else { return Ok(()) };
        self.size_bytes -= slice.size_bytes;
        self.unloaded_bytes -= slice.unloaded_bytes();
        slice.delete(id, ctx)
    }

    /// About the memory that all slices would take with all of their generations, in bytes.
    pub fn whole_bytes(&self) -> usize {
        self.size_bytes + self.unloaded_bytes
    }

    /// True where memory has all rows of the slice.
    pub fn is_in_memory(&self, id: Slice) -> bool {
        self.slices.get(&id).is_none_or(|slice| slice.stored_bytes.is_none() || slice.whole.is_some())
    }

    /// Reads earlier generations of slices back, so that [`Self::contents`] has all of them. They must get no more rows.
    pub fn load(&mut self, ids: &[Slice], ctx: &OperatorContext) -> Result<()> {
        let missing: Vec<Slice> = ids.iter().copied().filter(|id| !self.is_in_memory(*id)).collect();
        let mut wholes = BTreeMap::new();
        for id in &missing {
            wholes.insert(*id, (self.calls.keyed()?, PendingEntries::default()));
        }
        for group in ctx.key_groups.groups().filter(|_| !missing.is_empty()).map(KeyGroup) {
            match missing[..] {
                [single] => self.merge_stored(single, group, &mut wholes.get_mut(&single).expect("listed").0, ctx)?,
                _ => self.sweep(group, &mut wholes, ctx)?,
            }
        }
        for (id, (mut whole, mut pending)) in wholes {
            pending.merge_into(&mut whole)?;
            self.adjust(id, |slice, _| {
                whole.merge(&slice.partial, &slice.partial.all_slots())?;
                slice.whole = Some(whole);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Reads a key group once for many slices.
    fn sweep(
        &self,
        group: KeyGroup,
        wholes: &mut BTreeMap<Slice, (KeyedAggregates, PendingEntries)>,
        ctx: &OperatorContext,
    ) -> Result<()> {
        ctx.state.scan(group, &[], &mut |key, value| {
            let id = split_slice(key)?;
            let (generation, key) = split_key(key)?;
            let Some((whole, pending)) = wholes.get_mut(&id) else { return Ok(true) };
            if generation < self.slices[&id].generation {
                pending.push(key, value);
                pending.merge_when_full(whole)?;
            }
            Ok(true)
        })
    }

    /// All aggregates of a slice that is in memory.
    pub fn contents(&self, id: Slice) -> &KeyedAggregates {
        assert!(self.is_in_memory(id), "load comes first");
        let slice = &self.slices[&id];
        slice.whole.as_ref().unwrap_or(&slice.partial)
    }

    /// Drops what `load` read back.
    pub fn unload_all(&mut self) {
        for slice in self.slices.values_mut().filter(|slice| slice.whole.is_some()) {
            self.size_bytes -= slice.size_bytes;
            slice.whole = None;
            self.size_bytes += slice.measure();
            self.unloaded_bytes += slice.unloaded_bytes();
        }
    }

    /// The slots of the current generation with their key groups, in order of group.
    pub fn slots_by_group(&self, id: Slice, ctx: &OperatorContext) -> Vec<(KeyGroup, u32)> {
        let keys = &self.slices[&id].partial.keys;
        let mut slots: Vec<_> = (0..keys.len() as u32).map(|slot| (keys.group(slot, ctx.key_groups), slot)).collect();
        slots.sort_unstable();
        slots
    }

    /// Merges the given slots of the current generation into `into`.
    pub fn merge_partial(&self, id: Slice, slots: &[u32], into: &mut KeyedAggregates) -> Result<()> {
        into.merge(&self.slices[&id].partial, slots)
    }

    /// Merges the earlier generations of a slice, for one key group, into `into`.
    pub fn merge_stored(
        &self,
        id: Slice,
        group: KeyGroup,
        into: &mut KeyedAggregates,
        ctx: &OperatorContext,
    ) -> Result<()> {
        let slice = &self.slices[&id];
        if slice.stored_bytes.is_none() {
            return Ok(());
        }
        let mut pending = PendingEntries::default();
        ctx.state.scan(group, &slice_prefix(id), &mut |key, value| {
            let (generation, key) = split_key(key)?;
            if generation >= slice.generation {
                return Ok(false);
            }
            pending.push(key, value);
            pending.merge_when_full(into)?;
            Ok(true)
        })?;
        pending.merge_into(into)
    }
}

/// Entries that were read and wait to be merged together.
#[derive(Default)]
struct PendingEntries {
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
}

impl PendingEntries {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.keys.push(key.to_vec());
        self.values.push(value.to_vec());
    }

    fn merge_when_full(&mut self, into: &mut KeyedAggregates) -> Result<()> {
        if self.keys.len() < MERGE_ENTRIES { Ok(()) } else { self.merge_into(into) }
    }

    fn merge_into(&mut self, into: &mut KeyedAggregates) -> Result<()> {
        let keys = std::mem::take(&mut self.keys);
        let values = std::mem::take(&mut self.values);
        let slots: Vec<u32> = keys.iter().map(|key| into.keys.intern(crate::keys::hash_key(key), key)).collect();
        into.values.resize(into.keys.len());
        into.values.merge_encoded(&slots, values.iter().map(Vec::as_slice))
    }
}

impl LiveSlice {
    fn new(calls: &NarrowCalls) -> Result<Self> {
        Ok(Self {
            partial: calls.keyed()?,
            generation: 0,
            dirty: SlotSet::default(),
            written: SlotSet::default(),
            stored_bytes: None,
            whole: None,
            size_bytes: 0,
        })
    }

    /// Memory that the slice takes now, which it also remembers.
    fn measure(&mut self) -> usize {
        self.size_bytes = self.partial.size_bytes() + self.whole.as_ref().map_or(0, KeyedAggregates::size_bytes);
        self.size_bytes
    }

    /// Memory that the slice would take in addition with all of its generations in memory.
    fn unloaded_bytes(&self) -> usize {
        if self.whole.is_some() { 0 } else { self.stored_bytes.unwrap_or(0) }
    }

    fn write_back(&mut self, id: Slice, ctx: &mut OperatorContext) -> Result<()> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        let slots: Vec<u32> = self.dirty.iter().collect();
        let values = self.partial.values.encode_state(&slots)?;
        let prefix = state_prefix(id, self.generation);
        let mut writes = Writes::default();
        for (row, slot) in slots.iter().enumerate() {
            let group = self.partial.keys.group(*slot, ctx.key_groups);
            writes.put(group, &[&prefix, self.partial.keys.key(*slot)], values.row(row).data());
            self.written.insert(*slot);
            writes.flush_when_full(ctx.state.as_mut())?;
        }
        writes.flush(ctx.state.as_mut())?;
        self.dirty.clear();
        Ok(())
    }

    fn spill(&mut self, id: Slice, calls: &NarrowCalls, ctx: &mut OperatorContext) -> Result<()> {
        self.whole = None;
        if self.partial.is_empty() {
            return Ok(());
        }
        self.write_back(id, ctx)?;
        ctx.metrics.spilled.add(self.partial.len());
        self.stored_bytes = Some(self.stored_bytes.unwrap_or(0) + self.partial.size_bytes());
        self.partial = calls.keyed()?;
        self.written.clear();
        self.generation = self.generation.checked_add(1).ok_or_else(too_many_generations)?;
        Ok(())
    }

    /// Takes the slice's entries out of state: one by one where they are known and few, else by prefix.
    fn delete(&self, id: Slice, ctx: &mut OperatorContext) -> Result<()> {
        if self.stored_bytes.is_some() || self.written.len() > ctx.key_groups.groups().len() {
            return ctx.state.delete_prefixes(ctx.key_groups.groups(), &slice_prefix(id));
        }
        let (prefix, mut deletions) = (state_prefix(id, self.generation), Writes::default());
        for slot in self.written.iter() {
            let group = self.partial.keys.group(slot, ctx.key_groups);
            deletions.delete(group, &[&prefix, self.partial.keys.key(slot)]);
            deletions.flush_when_full(ctx.state.as_mut())?;
        }
        deletions.flush(ctx.state.as_mut())
    }
}

/// Bytes that all state keys of a slice start with; they sort by the end of the slice's last window.
fn slice_prefix(id: Slice) -> Vec<u8> {
    [id.last_end, id.first_end, id.start].into_iter().flat_map(sortable).collect()
}

fn state_prefix(id: Slice, generation: u32) -> Vec<u8> {
    let mut prefix = slice_prefix(id);
    prefix.extend_from_slice(&generation.to_be_bytes());
    prefix
}

/// Length of [`slice_prefix`].
const SLICE_PREFIX_BYTES: usize = 24;

/// The slice of a state key.
fn split_slice(key: &[u8]) -> Result<Slice> {
    let number = |index: usize| {
        let bytes = key.get(index * 8..index * 8 + 8).and_then(|bytes| bytes.first_chunk::<8>());
        bytes.map(|bytes| from_sortable(*bytes)).ok_or_else(damaged_note)
    };
    Ok(Slice { last_end: number(0)?, first_end: number(1)?, start: number(2)? })
}

/// Generation and key of a state key.
fn split_key(key: &[u8]) -> Result<(u32, &[u8])> {
    let rest = key.get(SLICE_PREFIX_BYTES..).ok_or_else(damaged_note)?;
    let (generation, key) = rest.split_first_chunk::<4>().ok_or_else(damaged_note)?;
    Ok((u32::from_be_bytes(*generation), key))
}

fn damaged_note() -> EngineError {
    EngineError::State("the state of a window aggregation cannot be read: it was written by another version".into())
}

fn too_many_generations() -> EngineError {
    EngineError::State("a window was moved out of memory four billion times: raise the memory budget".into())
}
