//! Aggregates that keep one of the values they see: FIRST_VALUE, LAST_VALUE, and MIN and MAX of strings and bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type};

use super::factory::{Factory, state_field};
use super::primitive::with_ordered;
use super::selection::{for_each_row, select};
use super::values::{Binaries, Encoded, Primitives, Strings, Values};
use super::{Accumulators, AggregateFactory};
use crate::Result;

/// Which value wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Min,
    Max,
    /// By arrival, or by time where there is a time argument.
    First,
    Last,
}

/// Keeps a value of any type; with `timed` the second argument says when a value was.
pub(super) fn factory(argument: &DataType, choice: Choice, timed: bool) -> Arc<dyn AggregateFactory> {
    let data_type = argument.clone();
    Factory::shared(argument.clone(), state_fields(argument, timed), move || {
        Ok(match &data_type {
            DataType::Utf8 => create(Strings::default(), choice, timed),
            DataType::Binary => create(Binaries::default(), choice, timed),
            other => with_ordered!(
                other,
                T => create(Primitives::<T>::new(other.clone()), choice, timed),
                _ => create(Encoded::new(other)?, choice, timed)
            ),
        })
    })
}

fn state_fields(argument: &DataType, timed: bool) -> Vec<Field> {
    let mut fields = vec![state_field("value", argument.clone())];
    if timed {
        fields.push(state_field("time", DataType::Int64));
    }
    fields
}

fn create<V: Values>(values: V, choice: Choice, timed: bool) -> Box<dyn Accumulators> {
    match (choice, timed) {
        (Choice::First, true) => Box::new(Timed::<V, false> { values, times: Vec::new() }),
        (Choice::Last, true) => Box::new(Timed::<V, true> { values, times: Vec::new() }),
        _ => Box::new(Pick { values, choice }),
    }
}

/// One value per slot. The state is the value, so merging is updating.
struct Pick<V> {
    values: V,
    choice: Choice,
}

impl<V: Values> Pick<V> {
    #[inline(always)]
    fn keep_where(
        &mut self,
        slots: &[u32],
        args: &[ArrayRef],
        keep: Option<&BooleanArray>,
        better: impl Fn(&V, usize, &V::Column, usize) -> bool,
    ) -> Result<()> {
        let column = self.values.column(&args[0])?;
        for_each_row(slots, &select(args, keep), |slot, row| {
            if !self.values.is_set(slot) || better(&self.values, slot, &column, row) {
                self.values.set(slot, &column, row);
            }
        });
        Ok(())
    }
}

impl<V: Values> Accumulators for Pick<V> {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        match self.choice {
            Choice::First => self.keep_where(slots, args, keep, |_, _, _, _| false),
            Choice::Last => self.keep_where(slots, args, keep, |_, _, _, _| true),
            Choice::Min => self.keep_where(slots, args, keep, |values, slot, column, row| {
                values.compare(slot, column, row) == Ordering::Greater
            }),
            Choice::Max => self.keep_where(slots, args, keep, |values, slot, column, row| {
                values.compare(slot, column, row) == Ordering::Less
            }),
        }
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.update(slots, state, None)
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(slots)?])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.values.gather(slots)
    }

    fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.values.clear(*slot as usize));
    }

    fn size_bytes(&self) -> usize {
        self.values.size_bytes()
    }
}

/// One value per slot with the time that it belongs to. Among equal times the smallest value is the first and the
/// greatest the last, so that the order of arrival never matters.
struct Timed<V, const LAST: bool> {
    values: V,
    /// Meaningless where no value is set.
    times: Vec<i64>,
}

impl<V: Values, const LAST: bool> Accumulators for Timed<V, LAST> {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots);
        self.times.resize(slots, 0);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let column = self.values.column(&args[0])?;
        let times = cast(&args[1], &DataType::Int64)?;
        let times = times.as_primitive::<Int64Type>().values();
        let wins = if LAST { Ordering::Less } else { Ordering::Greater };
        for_each_row(slots, &select(args, keep), |slot, row| {
            let against = |values: &V, own: i64| own.cmp(&times[row]).then_with(|| values.compare(slot, &column, row));
            if !self.values.is_set(slot) || against(&self.values, self.times[slot]) == wins {
                self.values.set(slot, &column, row);
                self.times[slot] = times[row];
            }
        });
        Ok(())
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.update(slots, state, None)
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let time = |slot: &u32| self.values.is_set(*slot as usize).then(|| self.times[*slot as usize]);
        let times = slots.iter().map(time).collect::<Int64Array>();
        Ok(vec![self.values.gather(slots)?, Arc::new(times)])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.values.gather(slots)
    }

    fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.values.clear(*slot as usize));
    }

    fn size_bytes(&self) -> usize {
        self.values.size_bytes() + self.times.capacity() * size_of::<i64>()
    }
}
