//! DISTINCT: an aggregate that sees every different argument once, with counts so that rows can be taken back.
//!
//! A set per group says which rows bring a value that was not there; only those reach the inner aggregate, which
//! therefore works unchanged. COUNT needs none: the set knows its size. The state is the set alone.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, BooleanArray, BooleanBufferBuilder, Int64Array, PrimitiveArray, StringArray,
};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use super::distinct_set::{Change, DistinctSet, Key, read_entries};
use super::factory::{Factory, state_field};
use super::primitive::{Ordered, with_ordered};
use super::selection::{for_each_row, select, select_kept};
use super::{Accumulators, AggregateFactory};
use crate::{EngineError, Result};

/// COUNT(DISTINCT a [, b ...]).
pub(super) fn count(arguments: &[DataType]) -> Arc<dyn AggregateFactory> {
    factory(arguments, DataType::Int64, None, false)
}

/// Any other aggregate over different values only; with `keep_nulls` NULL is a value like others.
pub(super) fn over(
    arguments: &[DataType],
    inner: Arc<dyn AggregateFactory>,
    keep_nulls: bool,
) -> Arc<dyn AggregateFactory> {
    factory(arguments, inner.output_type(), Some(inner), keep_nulls)
}

fn factory(
    arguments: &[DataType],
    output: DataType,
    inner: Option<Arc<dyn AggregateFactory>>,
    keep_nulls: bool,
) -> Arc<dyn AggregateFactory> {
    let arguments = arguments.to_vec();
    Factory::shared(output, vec![state_field("values", DataType::Binary)], move || {
        let inner = inner.as_ref().map(|inner| inner.create()).transpose()?;
        match arguments.as_slice() {
            // Only the row format has a NULL.
            _ if keep_nulls => create_encoded(&arguments, inner, keep_nulls),
            [DataType::Utf8] => Ok(create(Texts, inner)),
            [one] if one.primitive_width().is_some_and(|width| width <= size_of::<u64>()) => with_ordered!(
                one,
                T => Ok(create(Words::<T> { data_type: one.clone(), marker: PhantomData }, inner)),
                _ => create_encoded(&arguments, inner, false)
            ),
            _ => create_encoded(&arguments, inner, false),
        }
    })
}

fn create_encoded(
    arguments: &[DataType],
    inner: Option<Box<dyn Accumulators>>,
    keep_nulls: bool,
) -> Result<Box<dyn Accumulators>> {
    let fields = arguments.iter().cloned().map(SortField::new).collect();
    let columns = Encoded(RowConverter::new(fields)?);
    Ok(Box::new(Distinct { columns, sets: Vec::new(), heap_bytes: 0, inner, keep_nulls }))
}

fn create<C: KeyColumns>(columns: C, inner: Option<Box<dyn Accumulators>>) -> Box<dyn Accumulators> {
    Box::new(Distinct { columns, sets: Vec::new(), heap_bytes: 0, inner, keep_nulls: false })
}

/// How argument columns become keys of a set, and back.
trait KeyColumns: Send + 'static {
    type Key: Key;
    /// The arguments of a batch, made ready for access by row.
    type Batch;

    fn batch(&self, args: &[ArrayRef]) -> Result<Self::Batch>;

    fn key(batch: &Self::Batch, row: usize) -> <Self::Key as Key>::Ref<'_>;

    fn arrays(&self, keys: &[<Self::Key as Key>::Ref<'_>]) -> Result<Vec<ArrayRef>>;
}

/// One primitive column of at most 64 bits.
struct Words<T> {
    data_type: DataType,
    marker: PhantomData<fn() -> T>,
}

impl<T: Ordered> KeyColumns for Words<T> {
    type Key = u64;
    type Batch = PrimitiveArray<T>;

    fn batch(&self, args: &[ArrayRef]) -> Result<Self::Batch> {
        Ok(args[0].as_primitive::<T>().clone())
    }

    #[inline(always)]
    fn key(batch: &Self::Batch, row: usize) -> u64 {
        T::to_word(batch.values()[row])
    }

    fn arrays(&self, keys: &[u64]) -> Result<Vec<ArrayRef>> {
        let column = PrimitiveArray::<T>::from_iter_values(keys.iter().map(|key| T::from_word(*key)));
        Ok(vec![Arc::new(column.with_data_type(self.data_type.clone()))])
    }
}

/// One STRING column.
struct Texts;

impl KeyColumns for Texts {
    type Key = Box<[u8]>;
    type Batch = StringArray;

    fn batch(&self, args: &[ArrayRef]) -> Result<Self::Batch> {
        Ok(args[0].as_string::<i32>().clone())
    }

    fn key(batch: &Self::Batch, row: usize) -> &[u8] {
        batch.value(row).as_bytes()
    }

    fn arrays(&self, keys: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let texts: Option<Vec<&str>> = keys.iter().map(|key| std::str::from_utf8(key).ok()).collect();
        Ok(vec![Arc::new(StringArray::from(texts.ok_or_else(damaged)?))])
    }
}

/// Any columns, in row format.
struct Encoded(RowConverter);

impl KeyColumns for Encoded {
    type Key = Box<[u8]>;
    type Batch = Rows;

    fn batch(&self, args: &[ArrayRef]) -> Result<Rows> {
        Ok(self.0.convert_columns(args)?)
    }

    fn key(batch: &Rows, row: usize) -> &[u8] {
        batch.row(row).data()
    }

    fn arrays(&self, keys: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let parser = self.0.parser();
        Ok(self.0.convert_rows(keys.iter().map(|key| parser.parse(key)))?)
    }
}

struct Distinct<C: KeyColumns> {
    columns: C,
    sets: Vec<DistinctSet<C::Key>>,
    heap_bytes: usize,
    /// `None` counts.
    inner: Option<Box<dyn Accumulators>>,
    keep_nulls: bool,
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
        let selection = if self.keep_nulls { select_kept(keep) } else { select(args, keep) };
        for_each_row(slots, &selection, |slot, row| {
            let change = self.sets[slot].add(C::key(&batch, row), delta, &mut self.heap_bytes);
            changed.note(row, change);
        });
        Ok(changed.finish())
    }
}

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
            inner.resize(slots);
        }
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let appeared = self.apply(slots, args, keep, 1)?;
        match (&mut self.inner, &appeared) {
            (Some(inner), Some(rows)) => inner.update(slots, args, Some(rows)),
            _ => Ok(()),
        }
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let vanished = self.apply(slots, args, keep, -1)?;
        match (&mut self.inner, &vanished) {
            (Some(inner), Some(rows)) => inner.retract(slots, args, Some(rows)),
            _ => Ok(()),
        }
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        let (mut appeared, mut vanished) = (Keys::<C>::default(), Keys::<C>::default());
        for (slot, bytes) in slots.iter().zip(state[0].as_binary::<i32>()) {
            let set = &mut self.sets[*slot as usize];
            let visit = |key, count| match set.add(key, count, &mut self.heap_bytes) {
                Change::Appeared => appeared.push(*slot, key),
                Change::Vanished => vanished.push(*slot, key),
                Change::Stayed => {}
            };
            read_entries::<C::Key>(bytes.unwrap_or_default(), visit).ok_or_else(damaged)?;
        }
        let Some(inner) = &mut self.inner else { return Ok(()) };
        if !appeared.slots.is_empty() {
            inner.update(&appeared.slots, &self.columns.arrays(&appeared.keys)?, None)?;
        }
        if !vanished.slots.is_empty() {
            inner.retract(&vanished.slots, &self.columns.arrays(&vanished.keys)?, None)?;
        }
        Ok(())
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let (mut column, mut bytes) = (BinaryBuilder::new(), Vec::new());
        for slot in slots {
            bytes.clear();
            self.sets[*slot as usize].write(&mut bytes);
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        match &self.inner {
            Some(inner) => inner.evaluate(slots),
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
            inner.reset(slots);
        }
    }

    fn size_bytes(&self) -> usize {
        let sets = self.sets.capacity() * size_of::<DistinctSet<C::Key>>() + self.heap_bytes;
        sets + self.inner.as_ref().map_or(0, |inner| inner.size_bytes())
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
