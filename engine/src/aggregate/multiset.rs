//! Aggregates that take rows back by keeping every value of a group with its count, in order: MIN and MAX, BOOL_AND and
//! BOOL_OR, FIRST_VALUE and LAST_VALUE by time, exact percentiles, bitwise functions.
//!
//! Costs a logarithm of the group's different values per row, and their memory. A count may be below zero in a partial
//! state whose additions are in another partial; such a value is as good as absent until they meet.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, Int64Array, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow::row::{RowConverter, Rows, SortField};

use super::factory::{Factory, state_field};
use super::primitive::Ordered;
use super::quantile::{interpolate, position};
use super::selection::{for_each_row, select};
use super::{Accumulators, AggregateFactory};
use crate::{EngineError, Result};

/// What an entry costs beyond its bytes: the pointers and counts of a tree's node, about.
const ENTRY_BYTES: usize = 48;

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
        let fields = columns.iter().cloned().map(SortField::new).collect();
        let converter = RowConverter::new(fields)?;
        Ok(Box::new(Multisets { sets: Vec::new(), heap_bytes: 0, converter, columns: columns.clone(), answer }))
    })
}

/// Values in row format with their counts, none of which is zero.
type Counts = BTreeMap<Box<[u8]>, i64>;

struct Multisets {
    sets: Vec<Counts>,
    heap_bytes: usize,
    converter: RowConverter,
    /// The time if there is one, then the value.
    columns: Vec<DataType>,
    answer: Answer,
}

impl Multisets {
    fn count(&mut self, slot: usize, value: &[u8], delta: i64) {
        let set = &mut self.sets[slot];
        let Some(count) = set.get_mut(value) else {
            set.insert(value.into(), delta);
            self.heap_bytes += value.len() + ENTRY_BYTES;
            return;
        };
        *count += delta;
        if *count == 0 {
            set.remove(value);
            self.heap_bytes -= value.len() + ENTRY_BYTES;
        }
    }

    fn apply(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>, delta: i64) -> Result<()> {
        let rows = self.rows(args)?;
        for_each_row(slots, &select(args, keep), |slot, row| self.count(slot, rows.row(row).data(), delta));
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

    /// One value per slot, NULL where there is none.
    fn extremes(&self, slots: &[u32], greatest: bool) -> Result<ArrayRef> {
        let found = slots.iter().map(|slot| {
            let mut present = present(&self.sets[*slot as usize]);
            if greatest { present.next_back() } else { present.next() }.map(|(value, _)| value)
        });
        let found: Vec<Option<&[u8]>> = found.collect();
        let values = self.values(found.iter().flatten().copied())?;
        let mut next = 0..;
        let places = found.iter().map(|value| value.and_then(|_| next.next()));
        Ok(take(&values, &places.collect::<UInt32Array>(), None)?)
    }

    fn quantiles(&self, slots: &[u32], fraction: f64) -> Result<ArrayRef> {
        let result = |slot: &u32| self.quantile(&self.sets[*slot as usize], fraction);
        Ok(Arc::new(slots.iter().map(result).collect::<Result<Float64Array>>()?))
    }

    fn quantile(&self, set: &Counts, fraction: f64) -> Result<Option<f64>> {
        let count: u64 = present(set).map(|(_, count)| count).sum();
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

    fn folded(&self, set: &Counts) -> Result<Option<i64>> {
        let counted = present(set).filter(|(_, count)| self.answer != Answer::BitXor || count % 2 == 1);
        let values = to_words(&self.values(counted.map(|(value, _)| value))?)?;
        if present(set).next().is_none() {
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

/// The values that a group has, in order, with their counts.
fn present(set: &Counts) -> impl DoubleEndedIterator<Item = (&[u8], u64)> {
    set.iter().filter(|(_, count)| **count > 0).map(|(value, count)| (value.as_ref(), *count as u64))
}

/// The value at a rank from 0; the rank must be below the number of values.
fn at_rank(set: &Counts, rank: u64) -> &[u8] {
    let mut passed = 0;
    let found = present(set).find(|(_, count)| {
        passed += count;
        passed > rank
    });
    found.expect("a rank lies among the values").0
}

impl Accumulators for Multisets {
    fn resize(&mut self, slots: usize) {
        self.sets.resize_with(slots, Counts::default);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.apply(slots, args, keep, 1)
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.apply(slots, args, keep, -1)
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        for (slot, mut bytes) in slots.iter().zip(state[0].as_binary::<i32>().iter().map(Option::unwrap_or_default)) {
            while !bytes.is_empty() {
                let (value, count, rest) = split_entry(bytes).ok_or_else(damaged)?;
                self.count(*slot as usize, value, count);
                bytes = rest;
            }
        }
        Ok(())
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let (mut column, mut bytes) = (BinaryBuilder::new(), Vec::new());
        for slot in slots {
            bytes.clear();
            for (value, count) in &self.sets[*slot as usize] {
                bytes.extend((value.len() as u32).to_le_bytes());
                bytes.extend(count.to_le_bytes());
                bytes.extend_from_slice(value);
            }
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        match self.answer {
            Answer::Least => self.extremes(slots, false),
            Answer::Greatest => self.extremes(slots, true),
            Answer::Quantile(fraction) => self.quantiles(slots, fraction),
            Answer::BitAnd | Answer::BitOr | Answer::BitXor => self.bits(slots),
        }
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            let set = std::mem::take(&mut self.sets[*slot as usize]);
            self.heap_bytes -= set.keys().map(|value| value.len() + ENTRY_BYTES).sum::<usize>();
        }
    }

    fn size_bytes(&self) -> usize {
        self.sets.capacity() * size_of::<Counts>() + self.heap_bytes
    }
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
