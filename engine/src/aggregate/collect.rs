//! The values of a group in order of arrival: ARRAY_AGG and COLLECT, and, where rows may be taken back, LISTAGG and
//! FIRST_VALUE and LAST_VALUE by arrival.
//!
//! Of equal values the one that came first is taken back first. Of a group whose values are apart all are read at its
//! first use: an array or a text needs them all, and only memory can tell which of equal values came first.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringArray, UInt32Array, UInt64Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use arrow::row::{RowConverter, Rows, SortField};

use super::elements::Elements;
use super::factory::{Factory, state_field};
use super::kept_values::{KeptValues, StoredValues, WriteValue};
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
    // The second column is set for groups whose values are apart: the number that the next value gets.
    let state = vec![state_field("values", list), state_field("next", DataType::UInt64)];
    Factory::self_contained(output, state, move || {
        let form = match answer {
            Answer::Joined(_) => Form::Text,
            _ => Form::Row(RowConverter::new(vec![SortField::new(element.data_type().clone())])?),
        };
        let (element, answer) = (Arc::clone(&element), answer.clone());
        Ok(Box::new(Collected { lists: Vec::new(), heap_bytes: 0, form, element, answer }))
    })
}

/// What the bytes of an element are.
enum Form {
    Row(RowConverter),
    /// Those of a string, so that strings are joined as they are.
    Text,
}

/// Elements of a batch in their form.
enum Encoded {
    Rows(Rows),
    Texts(StringArray),
}

impl Encoded {
    fn get(&self, row: usize) -> &[u8] {
        match self {
            Self::Rows(rows) => rows.row(row).data(),
            Self::Texts(texts) => texts.value(row).as_bytes(),
        }
    }
}

impl Form {
    fn encode(&self, values: &ArrayRef) -> Result<Encoded> {
        Ok(match self {
            Self::Row(converter) => Encoded::Rows(converter.convert_columns(std::slice::from_ref(values))?),
            Self::Text => Encoded::Texts(values.as_string::<i32>().clone()),
        })
    }

    fn decode<'a>(&self, elements: impl Iterator<Item = &'a [u8]>) -> Result<ArrayRef> {
        match self {
            Self::Row(converter) => {
                let parser = converter.parser();
                Ok(converter.convert_rows(elements.map(|element| parser.parse(element)))?.remove(0))
            }
            Self::Text => Ok(Arc::new(elements.map(as_text).collect::<Result<Vec<&str>>>().map(StringArray::from)?)),
        }
    }
}

fn as_text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| damaged())
}

fn damaged() -> EngineError {
    EngineError::Internal { place: "collected values".into(), reason: "the state cannot be read".into() }
}

struct Collected {
    /// No elements: the result is NULL.
    lists: Vec<Elements>,
    heap_bytes: usize,
    form: Form,
    element: FieldRef,
    answer: Answer,
}

impl Collected {
    /// Changes a list and counts its memory.
    #[inline(always)]
    fn change<T>(&mut self, slot: usize, change: impl FnOnce(&mut Elements) -> T) -> T {
        let list = &mut self.lists[slot];
        let before = list.heap_bytes();
        let result = change(list);
        self.heap_bytes = self.heap_bytes + list.heap_bytes() - before;
        result
    }
}

impl Collected {
    /// All elements of each slot as a list; NULL where there are none. The slots are given as their lists.
    fn arrays<'a>(&self, lists: impl Iterator<Item = &'a Elements> + Clone) -> Result<ListArray> {
        let count: usize = lists.clone().map(Elements::len).sum();
        if i32::try_from(count).is_err() {
            return Err(EngineError::Compute(format!("ARRAY_AGG: {count} elements are too many for one batch")));
        }
        let offsets = OffsetBuffer::from_lengths(lists.clone().map(Elements::len));
        let values = self.form.decode(lists.clone().flat_map(Elements::iter))?;
        let valid = NullBuffer::from_iter(lists.map(|list| !list.is_empty()));
        Ok(ListArray::try_new(Arc::clone(&self.element), offsets, values, Some(valid))?)
    }

    fn lists_of<'a>(&'a self, slots: &'a [u32]) -> impl Iterator<Item = &'a Elements> + Clone {
        slots.iter().map(|slot| &self.lists[*slot as usize])
    }

    /// One element of each slot; NULL where there are none.
    fn picked<'a>(&self, picked: impl Iterator<Item = Option<&'a [u8]>>) -> Result<ArrayRef> {
        let picked: Vec<Option<&[u8]>> = picked.collect();
        let values = self.form.decode(picked.iter().flatten().copied())?;
        let mut next = 0..;
        let places = picked.iter().map(|element| element.and_then(|_| next.next()));
        Ok(take(&values, &places.collect::<UInt32Array>(), None)?)
    }

    fn joined(&self, slots: &[u32], separator: &str) -> Result<ArrayRef> {
        let join = |list: &Elements| -> Result<Option<String>> {
            let texts = list.iter().map(as_text).collect::<Result<Vec<&str>>>()?;
            Ok((!texts.is_empty()).then(|| texts.join(separator)))
        };
        Ok(Arc::new(self.lists_of(slots).map(join).collect::<Result<StringArray>>()?))
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
        self.lists.resize_with(slots, Elements::default);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let values = self.form.encode(&args[0])?;
        for_each_row(slots, &self.selection(args, keep), |slot, row| {
            self.change(slot, |list| list.push(values.get(row)));
        });
        Ok(())
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let values = self.form.encode(&args[0])?;
        for_each_row(slots, &self.selection(args, keep), |slot, row| {
            self.change(slot, |list| list.remove(values.get(row)));
        });
        Ok(())
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        let (lists, next) = (state[0].as_list::<i32>(), state[1].as_primitive::<UInt64Type>());
        let values = self.form.encode(lists.values())?;
        for (row, slot) in slots.iter().enumerate() {
            if next.is_valid(row) {
                self.change(*slot as usize, |list| list.restore(next.value(row))).ok_or_else(damaged)?;
            } else if lists.is_valid(row) {
                let bounds = &lists.value_offsets()[row..row + 2];
                self.change(*slot as usize, |list| {
                    (bounds[0]..bounds[1]).for_each(|element| list.push(values.get(element as usize)));
                });
            }
        }
        Ok(())
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let empty = Elements::default();
        let inline = self.lists_of(slots).map(|list| if list.is_apart() { &empty } else { list });
        let next: UInt64Array = self.lists_of(slots).map(Elements::head).collect();
        Ok(vec![Arc::new(self.arrays(inline)?), Arc::new(next)])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        match &self.answer {
            Answer::Array { .. } => Ok(Arc::new(self.arrays(self.lists_of(slots))?)),
            Answer::First => self.picked(self.lists_of(slots).map(Elements::first)),
            Answer::Last => self.picked(self.lists_of(slots).map(Elements::last)),
            Answer::Joined(separator) => self.joined(slots, separator),
        }
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            self.heap_bytes -= std::mem::take(&mut self.lists[*slot as usize]).heap_bytes();
        }
    }

    fn size_bytes(&self) -> usize {
        self.lists.capacity() * size_of::<Elements>() + self.heap_bytes
    }

    fn kept_values(&mut self) -> Option<&mut dyn KeptValues> {
        Some(self)
    }
}

impl KeptValues for Collected {
    fn load_rows(
        &mut self,
        slots: &[u32],
        _args: &[ArrayRef],
        _keep: Option<&BooleanArray>,
        stored: &dyn StoredValues,
    ) -> Result<()> {
        self.load_results(slots, stored)
    }

    fn load_partials(&mut self, slots: &[u32], _state: &[ArrayRef], stored: &dyn StoredValues) -> Result<()> {
        self.load_results(slots, stored)
    }

    fn load_results(&mut self, slots: &[u32], stored: &dyn StoredValues) -> Result<()> {
        slots.iter().try_for_each(|slot| self.change(*slot as usize, |list| list.load(*slot, stored)))
    }

    fn write_changed(&mut self, slots: &[u32], write: &mut WriteValue<'_>) -> Result<()> {
        slots.iter().try_for_each(|slot| {
            self.change(*slot as usize, |list| list.write_changed(&mut |number, element| write(*slot, number, element)))
        })
    }

    fn any_apart(&self, slots: &[u32]) -> bool {
        self.lists_of(slots).any(Elements::is_apart)
    }
}
