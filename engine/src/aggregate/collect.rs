//! ARRAY_AGG and COLLECT: the values of a group as an array, in order of arrival.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};

use super::factory::{Factory, state_field};
use super::selection::{for_each_row, select, select_kept};
use super::{Accumulators, AggregateFactory};
use crate::{EngineError, Result};

/// The name of an array's element field, as everywhere in Arrow.
const ELEMENT: &str = "item";

/// With `keep_nulls` NULL elements are kept (ARRAY_AGG); else they are left out (COLLECT).
pub(super) fn factory(argument: &DataType, keep_nulls: bool) -> Arc<dyn AggregateFactory> {
    let element: FieldRef = Arc::new(Field::new(ELEMENT, argument.clone(), true));
    let output = DataType::List(Arc::clone(&element));
    Factory::shared(output.clone(), vec![state_field("values", output)], move || {
        let converter = RowConverter::new(vec![SortField::new(element.data_type().clone())])?;
        let element = Arc::clone(&element);
        Ok(Box::new(Collected { arrays: Vec::new(), heap_bytes: 0, converter, element, keep_nulls }))
    })
}

/// Elements as rows of the row format, one after the other.
#[derive(Default)]
struct Elements {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

struct Collected {
    /// No elements: the result is NULL.
    arrays: Vec<Elements>,
    heap_bytes: usize,
    converter: RowConverter,
    element: FieldRef,
    keep_nulls: bool,
}

impl Elements {
    fn push(&mut self, element: &[u8]) {
        self.bytes.extend_from_slice(element);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

impl Collected {
    fn push(&mut self, slot: usize, element: &[u8]) {
        let elements = &mut self.arrays[slot];
        let before = elements.heap_bytes();
        elements.push(element);
        self.heap_bytes += elements.heap_bytes() - before;
    }
}

impl Accumulators for Collected {
    fn resize(&mut self, slots: usize) {
        self.arrays.resize_with(slots, Elements::default);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let selection = if self.keep_nulls { select_kept(keep) } else { select(&args[..1], keep) };
        let rows = self.converter.convert_columns(&args[..1])?;
        for_each_row(slots, &selection, |slot, row| self.push(slot, rows.row(row).data()));
        Ok(())
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        let lists = state[0].as_list::<i32>();
        let rows = self.converter.convert_columns(std::slice::from_ref(lists.values()))?;
        for (row, slot) in slots.iter().enumerate().filter(|(row, _)| lists.is_valid(*row)) {
            let bounds = &lists.value_offsets()[row..row + 2];
            (bounds[0]..bounds[1]).for_each(|element| self.push(*slot as usize, rows.row(element as usize).data()));
        }
        Ok(())
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(slots)?])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let arrays = || slots.iter().map(|slot| &self.arrays[*slot as usize]);
        let count: usize = arrays().map(|elements| elements.ends.len()).sum();
        if i32::try_from(count).is_err() {
            return Err(EngineError::Compute(format!("ARRAY_AGG: {count} elements are too many for one batch")));
        }
        let offsets = OffsetBuffer::from_lengths(arrays().map(|elements| elements.ends.len()));
        let parser = self.converter.parser();
        let rows = arrays().flat_map(Elements::iter).map(|element| parser.parse(element));
        let values = self.converter.convert_rows(rows)?.remove(0);
        let valid = NullBuffer::from_iter(arrays().map(|elements| !elements.ends.is_empty()));
        Ok(Arc::new(ListArray::try_new(Arc::clone(&self.element), offsets, values, Some(valid))?))
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            self.heap_bytes -= std::mem::take(&mut self.arrays[*slot as usize]).heap_bytes();
        }
    }

    fn size_bytes(&self) -> usize {
        self.arrays.capacity() * size_of::<Elements>() + self.heap_bytes
    }
}
