//! Aggregates that take rows back by keeping every value of a group with its count, in order: MIN and MAX, BOOL_AND and
//! BOOL_OR, FIRST_VALUE and LAST_VALUE by time, exact percentiles, bitwise functions.
//!
//! Costs a logarithm of the group's different values per row, and their memory, which for the extremes is only that of the
//! values in use where groups are kept apart. A count may be below zero in a partial state whose additions are in
//! another partial; such a value is as good as absent until they meet.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, Int64Array, UInt32Array};
use arrow::compute::{SortOptions, cast, take};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow::row::{RowConverter, Rows, SortField};

use super::factory::{Factory, state_field};
use super::kept_values::{KeptValues, StoredValues, WriteValue};
use super::ordered_set::OrderedSet;
use super::primitive::Ordered;
use super::quantile::{interpolate, position};
use super::selection::{for_each_row, select};
use super::{Accumulators, AggregateFactory};
use crate::{EngineError, Result};

/// What is asked of a group's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answer {
    /// The first in order; with a time, the value of the earliest.
    Least,
    /// The last in order; with a time, the value of the latest.
    Greatest,
    Quantile(f64),
    BitAnd,
    BitOr,
    BitXor,
}

/// Values of one type; `timed`: ordered by a second argument, a time, before their own order.
pub(super) fn factory(argument: &DataType, answer: Answer, timed: bool) -> Arc<dyn AggregateFactory> {
    let (value, output) = match answer {
        Answer::Quantile(_) => (DataType::Float64, DataType::Float64),
        _ => (argument.clone(), argument.clone()),
    };
    let columns = if timed { vec![DataType::Int64, value] } else { vec![value] };
    Factory::shared(output, vec![state_field("counted", DataType::Binary)], move || {
        // Backwards where the last value is asked for, so that it is the first one of the set.
        let order = SortOptions::new(answer == Answer::Greatest, true);
        let field = |column: &DataType| SortField::new_with_options(column.clone(), order);
        let converter = RowConverter::new(columns.iter().map(field).collect())?;
        Ok(Box::new(Multisets { sets: Vec::new(), heap_bytes: 0, converter, columns: columns.clone(), answer }))
    })
}

/// Values in row format with their counts.
struct Multisets {
    sets: Vec<OrderedSet>,
    heap_bytes: usize,
    converter: RowConverter,
    /// The time if there is one, then the value.
    columns: Vec<DataType>,
    answer: Answer,
}

impl Multisets {
    fn apply(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>, delta: i64) -> Result<()> {
        let rows = self.rows(args)?;
        for_each_row(slots, &select(args, keep), |slot, row| {
            self.sets[slot].add(rows.row(row).data(), delta, &mut self.heap_bytes);
        });
        Ok(())
    }

    /// The arguments in row format, equal values as equal bytes.
    fn rows(&self, args: &[ArrayRef]) -> Result<Rows> {
        let timed = args.len() > 1;
        let value = cast(&canonical(&args[0]), self.value_type())?;
        let columns = if timed { vec![cast(&args[1], &DataType::Int64)?, value] } else { vec![value] };
        Ok(self.converter.convert_columns(&columns)?)
    }

    fn value_type(&self) -> &DataType {
        self.columns.last().expect("there is a value")
    }

    /// The values of some rows.
    fn values<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let mut columns = self.converter.convert_rows(rows.map(|row| parser.parse(row)))?;
        Ok(columns.pop().expect("there is a value"))
    }

    /// The first value of each slot, NULL where there is none.
    fn extremes(&self, slots: &[u32]) -> Result<ArrayRef> {
        let first = |slot: &u32| self.sets[*slot as usize].present().next().map(|(value, _)| value);
        let found: Vec<Option<&[u8]>> = slots.iter().map(first).collect();
        let values = self.values(found.iter().flatten().copied())?;
        let mut next = 0..;
        let places = found.iter().map(|value| value.and_then(|_| next.next()));
        Ok(take(&values, &places.collect::<UInt32Array>(), None)?)
    }

    fn quantiles(&self, slots: &[u32], fraction: f64) -> Result<ArrayRef> {
        let result = |slot: &u32| self.quantile(&self.sets[*slot as usize], fraction);
        Ok(Arc::new(slots.iter().map(result).collect::<Result<Float64Array>>()?))
    }

    fn quantile(&self, set: &OrderedSet, fraction: f64) -> Result<Option<f64>> {
        let count: u64 = set.present().map(|(_, count)| count).sum();
        if count == 0 {
            return Ok(None);
        }
        let (rank, between) = position(count, fraction);
        let (lower, upper) = (at_rank(set, rank), at_rank(set, (rank + 1).min(count - 1)));
        let both = self.values([lower, upper].into_iter())?;
        let both = both.as_primitive::<Float64Type>();
        Ok(Some(interpolate(both.value(0), || both.value(1), between)))
    }

    fn bits(&self, slots: &[u32]) -> Result<ArrayRef> {
        let word = |slot: &u32| self.folded(&self.sets[*slot as usize]);
        let words = slots.iter().map(word).collect::<Result<Int64Array>>()?;
        from_words(words, self.value_type())
    }

    fn folded(&self, set: &OrderedSet) -> Result<Option<i64>> {
        let counted = set.present().filter(|(_, count)| self.answer != Answer::BitXor || count % 2 == 1);
        let values = to_words(&self.values(counted.map(|(value, _)| value))?)?;
        if set.present().next().is_none() {
            return Ok(None);
        }
        let words = values.as_primitive::<Int64Type>().values().iter().copied();
        Ok(Some(match self.answer {
            Answer::BitAnd => words.fold(-1, |all, word| all & word),
            Answer::BitOr => words.fold(0, |all, word| all | word),
            _ => words.fold(0, |all, word| all ^ word),
        }))
    }
}

/// Integers as words; the bits stay.
fn to_words(values: &ArrayRef) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::UInt64 => {
            let words = values.as_primitive::<UInt64Type>();
            Ok(Arc::new(words.unary::<_, Int64Type>(|word| word as i64)))
        }
        _ => Ok(cast(values, &DataType::Int64)?),
    }
}

fn from_words(words: Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::UInt64 => Ok(Arc::new(words.unary::<_, UInt64Type>(|word| word as u64))),
        other => Ok(cast(&words, other)?),
    }
}

/// Every NaN as the same one.
fn canonical(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float32 => {
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(Float32Type::canonical))
        }
        DataType::Float64 => {
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(Float64Type::canonical))
        }
        _ => Arc::clone(values),
    }
}

/// The value at a rank from 0; the rank must be below the number of values.
fn at_rank(set: &OrderedSet, rank: u64) -> &[u8] {
    let mut passed = 0;
    let found = set.present().find(|(_, count)| {
        passed += count;
        passed > rank
    });
    found.expect("a rank lies among the values").0
}

impl Accumulators for Multisets {
    fn resize(&mut self, slots: usize) {
        self.sets.resize_with(slots, OrderedSet::default);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.apply(slots, args, keep, 1)
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.apply(slots, args, keep, -1)
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        for (slot, bytes) in slots.iter().zip(state[0].as_binary::<i32>()) {
            let set = &mut self.sets[*slot as usize];
            match bytes.and_then(|bytes| bytes.split_first()) {
                None => {}
                Some((&INLINE, entries)) => for_each_entry(entries, |value, count| {
                    set.add(value, count, &mut self.heap_bytes);
                })?,
                Some((&APART, head)) => {
                    let head = if head.is_empty() { None } else { Some(split_entry(head).ok_or_else(damaged)?) };
                    let head = head.map(|(value, count, _)| (value, count));
                    set.restore(head, &mut self.heap_bytes).ok_or_else(damaged)?;
                }
                Some(_) => return Err(damaged()),
            }
        }
        Ok(())
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let (mut column, mut bytes) = (BinaryBuilder::new(), Vec::new());
        for slot in slots {
            let set = &self.sets[*slot as usize];
            bytes.clear();
            if set.is_apart() {
                bytes.push(APART);
                set.head().into_iter().for_each(|entry| write_entry(entry, &mut bytes));
            } else if set.counts().next().is_some() {
                bytes.push(INLINE);
                set.counts().for_each(|entry| write_entry(entry, &mut bytes));
            }
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        match self.answer {
            Answer::Least | Answer::Greatest => self.extremes(slots),
            Answer::Quantile(fraction) => self.quantiles(slots, fraction),
            Answer::BitAnd | Answer::BitOr | Answer::BitXor => self.bits(slots),
        }
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            self.heap_bytes -= std::mem::take(&mut self.sets[*slot as usize]).heap_bytes();
        }
    }

    fn size_bytes(&self) -> usize {
        self.sets.capacity() * size_of::<OrderedSet>() + self.heap_bytes
    }

    fn kept_values(&mut self) -> Option<&mut dyn KeptValues> {
        Some(self)
    }
}

impl Multisets {
    /// Reads the counts of those of these values that only state knows.
    fn load<'a>(&mut self, values: impl Iterator<Item = (usize, &'a [u8])>, stored: &dyn StoredValues) -> Result<()> {
        let mut keys = Vec::new();
        for (slot, value) in values {
            if self.sets[slot].reserve(value, &mut self.heap_bytes) {
                keys.push((slot as u32, value.to_vec()));
            }
        }
        stored.get_many(&keys, &mut |number, count| {
            let (slot, value) = &keys[number];
            self.sets[*slot as usize].set_stored(value, count, &mut self.heap_bytes)
        })
    }
}

impl KeptValues for Multisets {
    fn load_rows(
        &mut self,
        slots: &[u32],
        args: &[ArrayRef],
        keep: Option<&BooleanArray>,
        stored: &dyn StoredValues,
    ) -> Result<()> {
        let rows = self.rows(args)?;
        let mut selected = Vec::with_capacity(slots.len());
        for_each_row(slots, &select(args, keep), |slot, row| selected.push((slot, row)));
        self.load(selected.into_iter().map(|(slot, row)| (slot, rows.row(row).data())), stored)
    }

    fn load_partials(&mut self, slots: &[u32], state: &[ArrayRef], stored: &dyn StoredValues) -> Result<()> {
        let mut values = Vec::new();
        for (slot, bytes) in slots.iter().zip(state[0].as_binary::<i32>()) {
            if let Some((&INLINE, entries)) = bytes.and_then(|bytes| bytes.split_first()) {
                for_each_entry(entries, |value, _| values.push((*slot as usize, value)))?;
            }
        }
        self.load(values.into_iter(), stored)
    }

    /// The extremes need their value only, all other results all values.
    fn load_results(&mut self, slots: &[u32], stored: &dyn StoredValues) -> Result<()> {
        let extreme = matches!(self.answer, Answer::Least | Answer::Greatest);
        slots.iter().try_for_each(|slot| {
            let set = &mut self.sets[*slot as usize];
            match extreme {
                true => set.load_first(*slot, stored, &mut self.heap_bytes),
                false => set.load_all(*slot, stored, &mut self.heap_bytes),
            }
        })
    }

    fn write_changed(&mut self, slots: &[u32], write: &mut WriteValue<'_>) -> Result<()> {
        slots.iter().try_for_each(|slot| {
            let set = &mut self.sets[*slot as usize];
            set.write_changed(&mut self.heap_bytes, &mut |value, count| write(*slot, value, count))
        })
    }

    fn any_apart(&self, slots: &[u32]) -> bool {
        slots.iter().any(|slot| self.sets[*slot as usize].is_apart())
    }
}

/// First byte of a state that lists the values with their counts; an empty set has no bytes at all.
const INLINE: u8 = 0;
/// First byte of the state of values that are apart; the first of them follows if it is known.
const APART: u8 = 1;

fn write_entry((value, count): (&[u8], i64), out: &mut Vec<u8>) {
    out.extend((value.len() as u32).to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend_from_slice(value);
}

fn for_each_entry<'a>(mut bytes: &'a [u8], mut visit: impl FnMut(&'a [u8], i64)) -> Result<()> {
    while !bytes.is_empty() {
        let (value, count, rest) = split_entry(bytes).ok_or_else(damaged)?;
        visit(value, count);
        bytes = rest;
    }
    Ok(())
}

/// The first value of a state with its count, and what stands behind it.
fn split_entry(bytes: &[u8]) -> Option<(&[u8], i64, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (count, rest) = rest.split_first_chunk::<8>()?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((value, i64::from_le_bytes(*count), rest))
}

fn damaged() -> EngineError {
    EngineError::Internal { place: "counted values".into(), reason: "the state cannot be read".into() }
}
