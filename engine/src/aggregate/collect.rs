//! The values of a group in order of arrival: ARRAY_AGG and COLLECT, and, where rows may be taken back, LISTAGG and
//! FIRST_VALUE and LAST_VALUE by arrival.
//!
//! Of equal values the one that came first is taken back first.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};

use super::factory::{Factory, state_field};
use super::selection::{Selection, for_each_row, select, select_kept};
use super::{Accumulators, AggregateFactory};
use crate::{EngineError, Result};

/// The name of an array's element field, as everywhere in Arrow.
const ELEMENT: &str = "item";

/// What is asked of a group's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// All of them; with `keep_nulls` NULL elements are kept (ARRAY_AGG), else they are left out (COLLECT).
    Array {
        keep_nulls: bool,
    },
    First,
    Last,
    /// Strings with this between them.
    Joined(String),
}

pub(super) fn factory(argument: &DataType, answer: Answer) -> Arc<dyn AggregateFactory> {
    let element: FieldRef = Arc::new(Field::new(ELEMENT, argument.clone(), true));
    let list = DataType::List(Arc::clone(&element));
    let output = if matches!(answer, Answer::Array { .. }) { list.clone() } else { argument.clone() };
    Factory::shared(output, vec![state_field("values", list)], move || {
        let converter = RowConverter::new(vec![SortField::new(element.data_type().clone())])?;
        let element = Arc::clone(&element);
        Ok(Box::new(Collected { arrays: Vec::new(), heap_bytes: 0, converter, element, answer: answer.clone() }))
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
    answer: Answer,
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

    fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    /// Leaves out so many of each of these elements, those that came first.
    fn remove(&mut self, mut gone: HashMap<&[u8], usize>) {
        let mut kept = Self::default();
        for element in self.iter() {
            match gone.get_mut(element).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => kept.push(element),
            }
        }
        *self = kept;
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

impl Collected {
    /// All elements of each slot as a list; NULL where there are none.
    fn lists(&self, slots: &[u32]) -> Result<ListArray> {
        let arrays = || slots.iter().map(|slot| &self.arrays[*slot as usize]);
        let count: usize = arrays().map(|elements| elements.ends.len()).sum();
        if i32::try_from(count).is_err() {
            return Err(EngineError::Compute(format!("ARRAY_AGG: {count} elements are too many for one batch")));
        }
        let offsets = OffsetBuffer::from_lengths(arrays().map(|elements| elements.ends.len()));
        let values = self.decode(arrays().flat_map(Elements::iter))?;
        let valid = NullBuffer::from_iter(arrays().map(|elements| !elements.ends.is_empty()));
        Ok(ListArray::try_new(Arc::clone(&self.element), offsets, values, Some(valid))?)
    }

    fn decode<'a>(&self, elements: impl Iterator<Item = &'a [u8]>) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(elements.map(|element| parser.parse(element)))?.remove(0))
    }

    /// One element of each slot; NULL where there are none.
    fn picked(&self, slots: &[u32], last: bool) -> Result<ArrayRef> {
        let pick = |elements: &Elements| {
            let end = if last { elements.ends.len() } else { elements.ends.len().min(1) };
            end.checked_sub(1)
        };
        let picked = slots.iter().map(|slot| &self.arrays[*slot as usize]).map(|one| pick(one).map(|at| one.get(at)));
        let picked: Vec<Option<&[u8]>> = picked.collect();
        let values = self.decode(picked.iter().flatten().copied())?;
        let mut next = 0..;
        let places = picked.iter().map(|element| element.and_then(|_| next.next()));
        Ok(take(&values, &places.collect::<UInt32Array>(), None)?)
    }

    fn joined(&self, slots: &[u32], separator: &str) -> Result<ArrayRef> {
        let text = |slot: &u32| -> Result<Option<String>> {
            let texts = self.decode(self.arrays[*slot as usize].iter())?;
            let texts: Vec<&str> = texts.as_string::<i32>().iter().flatten().collect();
            Ok((!texts.is_empty()).then(|| texts.join(separator)))
        };
        Ok(Arc::new(slots.iter().map(text).collect::<Result<StringArray>>()?))
    }

    fn selection(&self, args: &[ArrayRef], keep: Option<&BooleanArray>) -> Selection {
        match self.answer {
            Answer::Array { keep_nulls: true } => select_kept(keep),
            _ => select(&args[..1], keep),
        }
    }
}

impl Accumulators for Collected {
    fn resize(&mut self, slots: usize) {
        self.arrays.resize_with(slots, Elements::default);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let rows = self.converter.convert_columns(&args[..1])?;
        for_each_row(slots, &self.selection(args, keep), |slot, row| self.push(slot, rows.row(row).data()));
        Ok(())
    }

    /// One pass over a group for all of a batch's rows.
    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let rows = self.converter.convert_columns(&args[..1])?;
        let mut gone: HashMap<usize, HashMap<&[u8], usize>> = HashMap::new();
        for_each_row(slots, &self.selection(args, keep), |slot, row| {
            *gone.entry(slot).or_default().entry(rows.row(row).data()).or_default() += 1;
        });
        for (slot, gone) in gone {
            let elements = &mut self.arrays[slot];
            self.heap_bytes -= elements.heap_bytes();
            elements.remove(gone);
            self.heap_bytes += elements.heap_bytes();
        }
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
        Ok(vec![Arc::new(self.lists(slots)?)])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        match &self.answer {
            Answer::Array { .. } => Ok(Arc::new(self.lists(slots)?)),
            Answer::First => self.picked(slots, false),
            Answer::Last => self.picked(slots, true),
            Answer::Joined(separator) => self.joined(slots, separator),
        }
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
