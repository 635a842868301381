//! The accumulators of the calls that share sets of different values.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int64Array, StructArray};
use arrow::datatypes::Fields;
use arrow::row::{RowConverter, Rows, SortField};

use super::keys::KeyColumns;
use super::set::{DistinctSet, Stored};
use super::value::{Change, Key, Tally, Uses, read_entries};
use super::{Counting, damaged};
use crate::Result;
use crate::aggregate::kept_values::KeptValues;
use crate::aggregate::selection::{Selection, for_each_row, select, select_kept};
use crate::aggregate::varint::{read_number, write_number};
use crate::aggregate::{Accumulators, AggregateFactory, RunningRows, retain};

/// First byte of a state that lists the values; an empty set has no bytes at all.
pub(super) const INLINE: u8 = 0;
/// First byte of a state that says how large each segment is, and then what the calls made of the values.
const SEGMENTS: u8 = 1;
/// First byte of a state that says what the calls made of values that have an entry each.
const ENTRIES: u8 = 2;

/// The aggregate over the different values.
pub(super) struct Inner {
    factory: Arc<dyn AggregateFactory>,
    accumulators: Box<dyn Accumulators>,
    /// Makes its state a row of bytes.
    converter: RowConverter,
}

impl Inner {
    pub(super) fn new(factory: Arc<dyn AggregateFactory>) -> Result<Self> {
        let field = |field: &arrow::datatypes::Field| SortField::new(field.data_type().clone());
        let converter = RowConverter::new(factory.state_fields().iter().map(field).collect())?;
        Ok(Self { accumulators: factory.create()?, converter, factory })
    }

    fn state(&self, slots: &[u32]) -> Result<Rows> {
        Ok(self.converter.convert_columns(&self.accumulators.state(slots)?)?)
    }

    fn merge(&mut self, slots: &[u32], state: &[&[u8]]) -> Result<()> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(state.iter().map(|row| parser.parse(row)))?;
        self.accumulators.merge(slots, &columns)
    }
}

pub(super) struct DistinctAccumulators<C: KeyColumns, T> {
    pub(super) columns: C,
    pub(super) sets: Vec<DistinctSet<C::Key, T>>,
    /// Of all sets.
    pub(super) heap_bytes: usize,
    /// How many values there are, by slot and call.
    live: Vec<u64>,
    /// Of each call; `None` counts.
    inners: Vec<Option<Inner>>,
    /// Which calls have a column behind the arguments that says which rows they are for.
    filtered: Vec<bool>,
    pub(super) argument_count: usize,
    counting: Counting,
    outputs: Fields,
}

impl<C: KeyColumns, T: Tally> DistinctAccumulators<C, T> {
    pub(super) fn new(
        columns: C,
        (argument_count, counting): (usize, Counting),
        inners: Vec<Option<Inner>>,
        filtered: Vec<bool>,
        outputs: Fields,
    ) -> Self {
        assert!((1..=T::USES_MAX).contains(&inners.len()), "so many calls can share a set");
        let (sets, live) = (Vec::new(), Vec::new());
        Self { columns, sets, heap_bytes: 0, live, inners, filtered, argument_count, counting, outputs }
    }

    fn call_count(&self) -> usize {
        self.inners.len()
    }

    fn empty_set(&mut self) -> DistinctSet<C::Key, T> {
        let set = if self.counting.in_order { DistinctSet::in_order() } else { DistinctSet::default() };
        self.heap_bytes += set.heap_bytes();
        set
    }

    fn has_inner(&self) -> bool {
        self.inners.iter().any(Option::is_some)
    }

    /// For what inner aggregates must be told of.
    fn changed_rows(&self, rows: usize) -> ChangedRows {
        ChangedRows::new(self.has_inner().then_some(rows))
    }

    /// Adds `delta` to the count of every selected row's value; the rows with which a value came or went, where they are
    /// asked for.
    fn apply(
        &mut self,
        slots: &[u32],
        args: &[ArrayRef],
        keep: Option<&BooleanArray>,
        delta: i64,
        mut changed: ChangedRows,
    ) -> Result<ChangedRows> {
        let (args, conditions) = args.split_at(self.argument_count);
        let (batch, uses) = (self.columns.batch(args)?, self.uses_of_rows(conditions, slots.len()));
        for_each_row(slots, &self.selection(args, keep), |slot, row| {
            let uses = uses.of(row);
            if uses != 0 {
                let change = self.change(slot, C::key(&batch, row), |tally| tally.add(uses, delta));
                changed.note(row, change);
            }
        });
        Ok(changed)
    }

    #[inline(always)]
    fn change(&mut self, slot: usize, key: <C::Key as Key>::Ref<'_>, change: impl FnOnce(&mut T) -> Change) -> Change {
        let made = self.sets[slot].apply(key, &mut self.heap_bytes, change);
        if made != Change::default() {
            let live = &mut self.live[slot * self.inners.len()..][..self.inners.len()];
            for (call, live) in live.iter_mut().enumerate() {
                *live = *live + u64::from(made.appeared >> call & 1) - u64::from(made.vanished >> call & 1);
            }
        }
        made
    }

    pub(super) fn selection(&self, args: &[ArrayRef], keep: Option<&BooleanArray>) -> Selection {
        let args = &args[..self.argument_count];
        if self.counting.keep_nulls { select_kept(keep) } else { select(args, keep) }
    }

    /// For which calls each row is, by the conditions behind the arguments.
    pub(super) fn uses_of_rows(&self, conditions: &[ArrayRef], rows: usize) -> RowUses {
        debug_assert_eq!(conditions.len(), self.filtered.iter().filter(|filtered| **filtered).count());
        let bits = (0..self.call_count()).map(|call| 1 << call);
        let (filtered, others): (Vec<_>, Vec<_>) = bits.zip(&self.filtered).partition(|(_, filtered)| **filtered);
        let everywhere = others.iter().fold(0, |all, (bit, _)| all | bit);
        if filtered.is_empty() {
            return RowUses::Same(everywhere);
        }
        let mut by_row = vec![everywhere; rows];
        for ((bit, _), condition) in filtered.into_iter().zip(conditions) {
            let selection = select_kept(Some(condition.as_boolean()));
            match selection {
                None => by_row.iter_mut().for_each(|uses| *uses |= bit),
                Some(chosen) => chosen.valid_indices().for_each(|row| by_row[row] |= bit),
            }
        }
        RowUses::Each(by_row)
    }

    /// Makes an empty slot stand for values that are in state; what the calls made of them is in `head`.
    fn restore<'a>(
        &mut self,
        slot: u32,
        set: DistinctSet<C::Key, T>,
        mut head: &'a [u8],
        heads: &mut Heads<'a>,
    ) -> Option<()> {
        let place = slot as usize;
        if !self.sets[place].is_empty() {
            return None;
        }
        self.heap_bytes += set.heap_bytes();
        self.sets[place] = set;
        for (call, inner) in self.inners.iter().enumerate() {
            self.live[place * self.inners.len() + call] = read_number(&mut head)?;
            if inner.is_some() {
                let length = usize::try_from(read_number(&mut head)?).ok()?;
                let (state, rest) = head.split_at_checked(length)?;
                heads.states[call].push(state);
                head = rest;
            }
        }
        heads.slots.push(slot);
        Some(())
    }

    /// What the calls made of the values, for each slot of `apart`.
    fn write_head(&self, slot: u32, inner_states: &[Option<Rows>], row: usize, out: &mut Vec<u8>) {
        for (call, states) in inner_states.iter().enumerate() {
            write_number(self.live[slot as usize * self.inners.len() + call], out);
            if let Some(states) = states {
                let state = states.row(row);
                write_number(state.data().len() as u64, out);
                out.extend_from_slice(state.data());
            }
        }
    }

    /// How many values a slot had after each stretch of rows; `appeared` are those with which a value came.
    fn running_counts(&self, call: usize, slots: &[u32], ends: &[u32], appeared: &BooleanArray) -> ArrayRef {
        let flags = appeared.values();
        let mut counts = vec![0; ends.len()];
        let (mut end, mut later) = (slots.len(), 0);
        // Backwards from what there is now.
        for (stretch, count) in counts.iter_mut().enumerate().rev() {
            let start = stretch.checked_sub(1).map_or(0, |before| ends[before] as usize);
            let slot = slots[start];
            if slots.get(end) != Some(&slot) {
                later = 0;
            }
            *count = self.live[slot as usize * self.inners.len() + call] as i64 - later;
            later += flags.slice(start, end - start).count_set_bits() as i64;
            end = start;
        }
        Arc::new(Int64Array::from(counts))
    }

    /// The results of all calls as one column.
    fn joined(&self, mut results: Vec<ArrayRef>) -> Result<ArrayRef> {
        match results.len() {
            1 => Ok(results.remove(0)),
            _ => Ok(Arc::new(StructArray::try_new(self.outputs.clone(), results, None)?)),
        }
    }

    /// Lets the inner aggregates see what came and went.
    fn show_inners(&mut self, keys: &ChangedKeys<'_, C>) -> Result<()> {
        if keys.slots.is_empty() {
            return Ok(());
        }
        let args = self.columns.arrays(&keys.keys)?;
        for (call, inner) in self.inners.iter_mut().enumerate() {
            let Some(inner) = inner else { continue };
            let rows = |uses: fn(&Change) -> Uses| rows_of_call(keys.changes.iter().map(uses), call);
            if let Some(rows) = rows(|change| change.appeared) {
                inner.accumulators.update(&keys.slots, &args, Some(&rows))?;
            }
            if let Some(rows) = rows(|change| change.vanished) {
                inner.accumulators.retract(&keys.slots, &args, Some(&rows))?;
            }
        }
        Ok(())
    }
}

/// For which calls each row of a batch is.
pub(super) enum RowUses {
    Same(Uses),
    Each(Vec<Uses>),
}

impl RowUses {
    #[inline(always)]
    pub(super) fn of(&self, row: usize) -> Uses {
        match self {
            Self::Same(uses) => *uses,
            Self::Each(uses) => uses[row],
        }
    }
}

/// With which rows a value came or went.
struct ChangedRows {
    /// `None` where nobody asks.
    by_row: Option<Vec<Uses>>,
}

impl ChangedRows {
    fn new(row_count: Option<usize>) -> Self {
        Self { by_row: row_count.map(|count| vec![0; count]) }
    }

    #[inline(always)]
    fn note(&mut self, row: usize, change: Change) {
        if let Some(by_row) = &mut self.by_row {
            by_row[row] = change.appeared | change.vanished;
        }
    }

    /// Those of one call; `None` where there are none.
    fn of_call(&self, call: usize) -> Option<BooleanArray> {
        self.by_row.as_ref().and_then(|by_row| rows_of_call(by_row.iter().copied(), call))
    }

    /// Those of one call, even where there are none.
    fn flags(&self, call: usize) -> BooleanArray {
        let by_row = self.by_row.as_ref().expect("the rows were asked for");
        BooleanArray::new(by_row.iter().map(|uses| uses >> call & 1 == 1).collect(), None)
    }
}

/// The rows that are for one call; `None` where there are none.
fn rows_of_call(uses: impl Iterator<Item = Uses>, call: usize) -> Option<BooleanArray> {
    let rows = BooleanArray::new(uses.map(|uses| uses >> call & 1 == 1).collect(), None);
    rows.has_true().then_some(rows)
}

/// Keys that came or went while partial states were merged.
struct ChangedKeys<'a, C: KeyColumns> {
    slots: Vec<u32>,
    keys: Vec<<C::Key as Key>::Ref<'a>>,
    changes: Vec<Change>,
}

/// Partial states of groups whose values are in state.
struct Heads<'a> {
    slots: Vec<u32>,
    /// Of each call's inner aggregate.
    states: Vec<Vec<&'a [u8]>>,
}

impl<C: KeyColumns, T: Tally> Accumulators for DistinctAccumulators<C, T> {
    fn resize(&mut self, slots: usize) {
        for _ in self.sets.len()..slots {
            let empty = self.empty_set();
            self.sets.push(empty);
        }
        self.live.resize(slots * self.inners.len(), 0);
        self.inners.iter_mut().flatten().for_each(|inner| inner.accumulators.resize(slots));
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let appeared = self.apply(slots, args, keep, 1, self.changed_rows(slots.len()))?;
        for (call, inner) in self.inners.iter_mut().enumerate() {
            if let (Some(inner), Some(rows)) = (inner, appeared.of_call(call)) {
                inner.accumulators.update(slots, &args[..self.argument_count], Some(&rows))?;
            }
        }
        Ok(())
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let appeared = self.apply(input.slots, input.args, input.keep, 1, ChangedRows::new(Some(input.slots.len())))?;
        let mut results = Vec::with_capacity(self.inners.len());
        for call in 0..self.inners.len() {
            let rows = appeared.flags(call);
            let args = &input.args[..self.argument_count];
            results.push(match &mut self.inners[call] {
                Some(inner) => inner.accumulators.update_running(&RunningRows { args, keep: Some(&rows), ..*input })?,
                None => self.running_counts(call, input.slots, input.ends, &rows),
            });
        }
        self.joined(results)
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let vanished = self.apply(slots, args, keep, -1, self.changed_rows(slots.len()))?;
        for (call, inner) in self.inners.iter_mut().enumerate() {
            if let (Some(inner), Some(rows)) = (inner, vanished.of_call(call)) {
                inner.accumulators.retract(slots, &args[..self.argument_count], Some(&rows))?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        let has_inner = self.has_inner();
        let mut changed = ChangedKeys::<C> { slots: Vec::new(), keys: Vec::new(), changes: Vec::new() };
        let mut heads = Heads { slots: Vec::new(), states: vec![Vec::new(); self.call_count()] };
        for (slot, bytes) in slots.iter().zip(state[0].as_binary::<i32>()) {
            match bytes.and_then(|bytes| bytes.split_first()) {
                None => {}
                Some((&INLINE, entries)) => read_entries::<C::Key, T>(entries, |key, other| {
                    let change = self.change(*slot as usize, key, |tally| tally.merge(other));
                    if has_inner && change != Change::default() {
                        changed.slots.push(*slot);
                        changed.keys.push(key);
                        changed.changes.push(change);
                    }
                })
                .ok_or_else(damaged)?,
                Some((&SEGMENTS, mut head)) => {
                    let set = read_sizes(&mut head).map(DistinctSet::in_segments).ok_or_else(damaged)?;
                    self.restore(*slot, set, head, &mut heads).ok_or_else(damaged)?;
                }
                Some((&ENTRIES, head)) => {
                    self.restore(*slot, DistinctSet::in_entries(), head, &mut heads).ok_or_else(damaged)?;
                }
                Some(_) => return Err(damaged()),
            }
        }
        for (inner, states) in self.inners.iter_mut().zip(&heads.states) {
            if let Some(inner) = inner.as_mut().filter(|_| !states.is_empty()) {
                inner.merge(&heads.slots, states)?;
            }
        }
        self.show_inners(&changed)
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let is_apart = |slot: &u32| !matches!(self.sets[*slot as usize].stored(), Stored::Nothing);
        let apart: Vec<u32> = slots.iter().copied().filter(is_apart).collect();
        let inner_state = |inner: &Option<Inner>| inner.as_ref().map(|inner| inner.state(&apart)).transpose();
        let inner_states = self.inners.iter().map(inner_state).collect::<Result<Vec<_>>>()?;
        let (mut column, mut bytes, mut row) = (BinaryBuilder::new(), Vec::new(), 0);
        for slot in slots {
            let set = &self.sets[*slot as usize];
            bytes.clear();
            match set.stored() {
                Stored::Nothing if set.is_empty() => {}
                Stored::Nothing => {
                    bytes.push(INLINE);
                    set.write(&mut bytes);
                }
                Stored::Segments(sizes) => {
                    bytes.push(SEGMENTS);
                    write_sizes(sizes, &mut bytes);
                }
                Stored::Entries => bytes.push(ENTRIES),
            }
            if is_apart(slot) {
                self.write_head(*slot, &inner_states, row, &mut bytes);
                row += 1;
            }
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let result = |(call, inner): (usize, &Option<Inner>)| -> Result<ArrayRef> {
            let live = |slot: &u32| self.live[*slot as usize * self.inners.len() + call] as i64;
            match inner {
                Some(inner) => inner.accumulators.evaluate(slots),
                None => Ok(Arc::new(Int64Array::from_iter_values(slots.iter().map(live)))),
            }
        };
        self.joined(self.inners.iter().enumerate().map(result).collect::<Result<Vec<_>>>()?)
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            let slot = *slot as usize;
            let empty = self.empty_set();
            self.heap_bytes -= std::mem::replace(&mut self.sets[slot], empty).heap_bytes();
            self.live[slot * self.inners.len()..][..self.inners.len()].fill(0);
        }
        self.inners.iter_mut().flatten().for_each(|inner| inner.accumulators.reset(slots));
    }

    fn retain(&mut self, slots: &[u32]) -> Result<bool> {
        let calls = self.inners.len();
        let kept = |slot: &u32| {
            let mut set = std::mem::take(&mut self.sets[*slot as usize]);
            set.forget_entries();
            set
        };
        self.sets = slots.iter().map(kept).collect();
        self.heap_bytes = self.sets.iter().map(DistinctSet::heap_bytes).sum();
        let live = slots.iter().flat_map(|slot| &self.live[*slot as usize * calls..][..calls]);
        self.live = live.copied().collect();
        for inner in self.inners.iter_mut().flatten() {
            retain(&mut inner.accumulators, inner.factory.as_ref(), slots)?;
        }
        Ok(true)
    }

    fn size_bytes(&self) -> usize {
        let inner = |inner: &Inner| inner.accumulators.size_bytes();
        self.sets.capacity() * size_of::<DistinctSet<C::Key, T>>()
            + self.heap_bytes
            + self.live.capacity() * size_of::<u64>()
            + self.inners.iter().flatten().map(inner).sum::<usize>()
    }

    /// Where an inner aggregate keeps or lists all values itself, there is nothing to gain.
    fn kept_values(&mut self) -> Option<&mut dyn KeptValues> {
        let keeps = |inner: &mut Inner| inner.accumulators.kept_values().is_some();
        if self.counting.in_order || self.inners.iter_mut().flatten().any(keeps) { None } else { Some(self) }
    }
}

fn write_sizes(sizes: &[usize], out: &mut Vec<u8>) {
    write_number(sizes.len() as u64, out);
    sizes.iter().for_each(|size| write_number(*size as u64, out));
}

fn read_sizes(bytes: &mut &[u8]) -> Option<Vec<usize>> {
    let count = u8::try_from(read_number(bytes)?).ok()?;
    (0..count).map(|_| usize::try_from(read_number(bytes)?).ok()).collect()
}
