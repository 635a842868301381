//! DISTINCT: an aggregate that sees every different argument once, with counts so that rows can be taken back.
//!
//! A set per group says which rows bring a value that was not there; only those reach the inner aggregate, which
//! therefore works unchanged. COUNT needs none: the set knows its size. The state is the set alone, and of a group whose
//! values are apart the set's size and the inner aggregate's state.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, BooleanArray, BooleanBufferBuilder, Int64Array};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};

use super::distinct_keys::{Encoded, KeyColumns, Texts, Words};
use super::distinct_set::{Change, DistinctSet, Key, read_entries};
use super::factory::{Factory, state_field};
use super::kept_values::{KeptValues, StoredValues, WriteValue};
use super::primitive::with_ordered;
use super::selection::{Selection, for_each_row, select, select_kept};
use super::varint::{read_count, read_number, write_number};
use super::{Accumulators, AggregateFactory};
use crate::{EngineError, Result};

/// How values are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counting {
    /// NULL is a value like others.
    pub keep_nulls: bool,
    /// Rows are only added: that a value is there is all that must be known.
    pub once: bool,
}

/// COUNT(DISTINCT a [, b ...]).
pub(super) fn count(arguments: &[DataType], counting: Counting) -> Arc<dyn AggregateFactory> {
    factory(arguments, DataType::Int64, None, counting)
}

/// Any other aggregate over different values only.
pub(super) fn over(
    arguments: &[DataType],
    inner: Arc<dyn AggregateFactory>,
    counting: Counting,
) -> Arc<dyn AggregateFactory> {
    factory(arguments, inner.output_type(), Some(inner), counting)
}

fn factory(
    arguments: &[DataType],
    output: DataType,
    inner: Option<Arc<dyn AggregateFactory>>,
    counting: Counting,
) -> Arc<dyn AggregateFactory> {
    let arguments = arguments.to_vec();
    Factory::shared(output, vec![state_field("values", DataType::Binary)], move || {
        let inner = inner.as_ref().map(|inner| Inner::new(inner.as_ref())).transpose()?;
        match arguments.as_slice() {
            // Only the row format has a NULL.
            _ if counting.keep_nulls => create_encoded(&arguments, inner, counting),
            [DataType::Utf8] => Ok(create(Texts, inner, counting)),
            [one] if one.primitive_width().is_some_and(|width| width <= size_of::<u64>()) => with_ordered!(
                one,
                T => Ok(create(Words::<T>::new(one), inner, counting)),
                _ => create_encoded(&arguments, inner, counting)
            ),
            _ => create_encoded(&arguments, inner, counting),
        }
    })
}

fn create_encoded(arguments: &[DataType], inner: Option<Inner>, counting: Counting) -> Result<Box<dyn Accumulators>> {
    let fields = arguments.iter().cloned().map(SortField::new).collect();
    Ok(create(Encoded(RowConverter::new(fields)?), inner, counting))
}

fn create<C: KeyColumns>(columns: C, inner: Option<Inner>, counting: Counting) -> Box<dyn Accumulators> {
    Box::new(Distinct { columns, sets: Vec::new(), heap_bytes: 0, inner, counting })
}

/// The aggregate over the different values.
struct Inner {
    accumulators: Box<dyn Accumulators>,
    /// Makes its state a row of bytes.
    converter: RowConverter,
}

impl Inner {
    fn new(factory: &dyn AggregateFactory) -> Result<Self> {
        let field = |field: &arrow::datatypes::Field| SortField::new(field.data_type().clone());
        let converter = RowConverter::new(factory.state_fields().iter().map(field).collect())?;
        Ok(Self { accumulators: factory.create()?, converter })
    }
}

struct Distinct<C: KeyColumns> {
    columns: C,
    sets: Vec<DistinctSet<C::Key>>,
    heap_bytes: usize,
    /// `None` counts.
    inner: Option<Inner>,
    counting: Counting,
}

impl<C: KeyColumns> Distinct<C> {
    /// Adds `delta` to the count of every selected row's value; the rows with which a value came or went.
    #[inline(always)]
    fn apply(
        &mut self,
        slots: &[u32],
        args: &[ArrayRef],
        keep: Option<&BooleanArray>,
        delta: i64,
    ) -> Result<Option<BooleanArray>> {
        let batch = self.columns.batch(args)?;
        let mut changed = ChangedRows::new(self.inner.is_some().then_some(slots.len()));
        for_each_row(slots, &self.selection(args, keep), |slot, row| {
            let change = self.add(slot, C::key(&batch, row), delta);
            changed.note(row, change);
        });
        Ok(changed.finish())
    }

    #[inline(always)]
    fn add(&mut self, slot: usize, key: <C::Key as Key>::Ref<'_>, delta: i64) -> Change {
        let set = &mut self.sets[slot];
        if self.counting.once && delta > 0 {
            return set.add_once(key, &mut self.heap_bytes);
        }
        set.add(key, delta, &mut self.heap_bytes)
    }

    fn selection(&self, args: &[ArrayRef], keep: Option<&BooleanArray>) -> Selection {
        if self.counting.keep_nulls { select_kept(keep) } else { select(args, keep) }
    }
}

/// Partial states of groups whose values are apart.
#[derive(Default)]
struct Heads<'a> {
    slots: Vec<u32>,
    /// The inner aggregate's state.
    inner: Vec<&'a [u8]>,
}

/// First byte of a state that lists the values with their counts; an empty set has no bytes at all.
const INLINE: u8 = 0;
/// First byte of a state that says how many values are apart.
const APART: u8 = 1;

/// The rows that the inner aggregate must see.
struct ChangedRows {
    rows: Option<BooleanBufferBuilder>,
    any: bool,
}

impl ChangedRows {
    /// `None` where there is no inner aggregate.
    fn new(row_count: Option<usize>) -> Self {
        let rows = row_count.map(|count| {
            let mut rows = BooleanBufferBuilder::new(count);
            rows.append_n(count, false);
            rows
        });
        Self { rows, any: false }
    }

    #[inline(always)]
    fn note(&mut self, row: usize, change: Change) {
        if let Some(rows) = self.rows.as_mut().filter(|_| change != Change::Stayed) {
            rows.set_bit(row, true);
            self.any = true;
        }
    }

    fn finish(self) -> Option<BooleanArray> {
        self.rows.filter(|_| self.any).map(|mut rows| BooleanArray::new(rows.finish(), None))
    }
}

impl<C: KeyColumns> Accumulators for Distinct<C> {
    fn resize(&mut self, slots: usize) {
        self.sets.resize_with(slots, DistinctSet::default);
        if let Some(inner) = &mut self.inner {
            inner.accumulators.resize(slots);
        }
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let appeared = self.apply(slots, args, keep, 1)?;
        match (&mut self.inner, &appeared) {
            (Some(inner), Some(rows)) => inner.accumulators.update(slots, args, Some(rows)),
            _ => Ok(()),
        }
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let vanished = self.apply(slots, args, keep, -1)?;
        match (&mut self.inner, &vanished) {
            (Some(inner), Some(rows)) => inner.accumulators.retract(slots, args, Some(rows)),
            _ => Ok(()),
        }
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        let (mut appeared, mut vanished) = (Keys::<C>::default(), Keys::<C>::default());
        let mut heads = Heads::default();
        for (slot, bytes) in slots.iter().zip(state[0].as_binary::<i32>()) {
            let visit = |key, count| match self.add(*slot as usize, key, count) {
                Change::Appeared => appeared.push(*slot, key),
                Change::Vanished => vanished.push(*slot, key),
                Change::Stayed => {}
            };
            match bytes.and_then(|bytes| bytes.split_first()) {
                None => {}
                Some((&INLINE, entries)) => read_entries::<C::Key>(entries, visit).ok_or_else(damaged)?,
                Some((&APART, mut head)) => {
                    let live = read_number(&mut head).ok_or_else(damaged)?;
                    self.sets[*slot as usize].restore(live, &mut self.heap_bytes).ok_or_else(damaged)?;
                    heads.slots.push(*slot);
                    heads.inner.push(head);
                }
                Some(_) => return Err(damaged()),
            }
        }
        let Some(Inner { accumulators, converter }) = &mut self.inner else { return Ok(()) };
        if !heads.slots.is_empty() {
            let parser = converter.parser();
            let columns = converter.convert_rows(heads.inner.iter().map(|row| parser.parse(row)))?;
            accumulators.merge(&heads.slots, &columns)?;
        }
        if !appeared.slots.is_empty() {
            accumulators.update(&appeared.slots, &self.columns.arrays(&appeared.keys)?, None)?;
        }
        if !vanished.slots.is_empty() {
            accumulators.retract(&vanished.slots, &self.columns.arrays(&vanished.keys)?, None)?;
        }
        Ok(())
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let apart: Vec<u32> = slots.iter().copied().filter(|slot| self.sets[*slot as usize].is_apart()).collect();
        let inner = match &self.inner {
            Some(inner) if !apart.is_empty() => {
                Some(inner.converter.convert_columns(&inner.accumulators.state(&apart)?)?)
            }
            _ => None,
        };
        let mut inner = inner.iter().flatten();
        let (mut column, mut bytes) = (BinaryBuilder::new(), Vec::new());
        for slot in slots {
            let set = &self.sets[*slot as usize];
            bytes.clear();
            if set.is_apart() {
                bytes.push(APART);
                write_number(set.len() as u64, &mut bytes);
                bytes.extend_from_slice(inner.next().as_ref().map_or(&[], |row| row.data()));
            } else if !set.is_empty() {
                bytes.push(INLINE);
                set.write(&mut bytes);
            }
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        match &self.inner {
            Some(inner) => inner.accumulators.evaluate(slots),
            None => {
                let counts = slots.iter().map(|slot| self.sets[*slot as usize].len() as i64);
                Ok(Arc::new(Int64Array::from_iter_values(counts)))
            }
        }
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            self.heap_bytes -= std::mem::take(&mut self.sets[*slot as usize]).heap_bytes();
        }
        if let Some(inner) = &mut self.inner {
            inner.accumulators.reset(slots);
        }
    }

    fn size_bytes(&self) -> usize {
        let sets = self.sets.capacity() * size_of::<DistinctSet<C::Key>>() + self.heap_bytes;
        sets + self.inner.as_ref().map_or(0, |inner| inner.accumulators.size_bytes())
    }

    /// Where the inner aggregate keeps all values itself, there is nothing to gain.
    fn kept_values(&mut self) -> Option<&mut dyn KeptValues> {
        let keeps = |inner: &mut Inner| inner.accumulators.kept_values().is_some();
        if self.inner.as_mut().is_some_and(keeps) { None } else { Some(self) }
    }
}

/// Values whose counts are to be read from state.
#[derive(Default)]
struct Lookup {
    keys: Vec<(u32, Vec<u8>)>,
    /// The entry of each in its slot's set.
    entries: Vec<usize>,
}

impl<C: KeyColumns> Distinct<C> {
    #[inline(always)]
    fn reserve(&mut self, slot: usize, key: <C::Key as Key>::Ref<'_>, lookup: &mut Lookup) {
        if let Some(entry) = self.sets[slot].reserve(key, &mut self.heap_bytes) {
            lookup.keys.push((slot as u32, C::Key::entry_key(key)));
            lookup.entries.push(entry);
        }
    }

    fn read(&mut self, lookup: &Lookup, stored: &dyn StoredValues) -> Result<()> {
        stored.get_many(&lookup.keys, &mut |number, mut bytes| {
            let count = read_count(&mut bytes).ok_or_else(damaged)?;
            self.sets[lookup.keys[number].0 as usize].set_stored(lookup.entries[number], count);
            Ok(())
        })
    }
}

impl<C: KeyColumns> KeptValues for Distinct<C> {
    fn load_rows(
        &mut self,
        slots: &[u32],
        args: &[ArrayRef],
        keep: Option<&BooleanArray>,
        stored: &dyn StoredValues,
    ) -> Result<()> {
        let (batch, mut lookup) = (self.columns.batch(args)?, Lookup::default());
        for_each_row(slots, &self.selection(args, keep), |slot, row| {
            self.reserve(slot, C::key(&batch, row), &mut lookup);
        });
        self.read(&lookup, stored)
    }

    fn load_partials(&mut self, slots: &[u32], state: &[ArrayRef], stored: &dyn StoredValues) -> Result<()> {
        let mut lookup = Lookup::default();
        for (slot, bytes) in slots.iter().zip(state[0].as_binary::<i32>()) {
            if let Some((&INLINE, entries)) = bytes.and_then(|bytes| bytes.split_first()) {
                let visit = |key, _| self.reserve(*slot as usize, key, &mut lookup);
                read_entries::<C::Key>(entries, visit).ok_or_else(damaged)?;
            }
        }
        self.read(&lookup, stored)
    }

    /// How many values there are, and what the inner aggregate made of them, is in memory.
    fn load_results(&mut self, _slots: &[u32], _stored: &dyn StoredValues) -> Result<()> {
        Ok(())
    }

    fn write_changed(&mut self, slots: &[u32], write: &mut WriteValue<'_>) -> Result<()> {
        slots.iter().try_for_each(|slot| {
            self.sets[*slot as usize].write_changed(&mut self.heap_bytes, &mut |key, count| write(*slot, key, count))
        })
    }

    fn any_apart(&self, slots: &[u32]) -> bool {
        slots.iter().any(|slot| self.sets[*slot as usize].is_apart())
    }
}

/// Keys that came or went while partial states were merged.
struct Keys<'a, C: KeyColumns> {
    slots: Vec<u32>,
    keys: Vec<<C::Key as Key>::Ref<'a>>,
}

impl<C: KeyColumns> Default for Keys<'_, C> {
    fn default() -> Self {
        Self { slots: Vec::new(), keys: Vec::new() }
    }
}

impl<'a, C: KeyColumns> Keys<'a, C> {
    fn push(&mut self, slot: u32, key: <C::Key as Key>::Ref<'a>) {
        self.slots.push(slot);
        self.keys.push(key);
    }
}

fn damaged() -> EngineError {
    EngineError::Internal { place: "distinct aggregate".into(), reason: "the state cannot be read".into() }
}
