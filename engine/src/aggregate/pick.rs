//! Aggregates that keep one of the values they see: FIRST_VALUE, LAST_VALUE, and MIN and MAX of strings and bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Field, Int64Type};

use super::factory::{Factory, state_field};
use super::primitive::with_ordered;
use super::selection::{for_each_row, select};
use super::values::{Binaries, Encoded, Primitives, Strings, Values};
use super::{Accumulators, AggregateFactory, RunningRows};
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
    /// Keeps a row's value where it is the first or better than that of its slot; true where it was kept.
    #[inline(always)]
    fn offer(&mut self, slot: usize, column: &V::Column, row: usize) -> bool {
        let is_better = !self.values.is_set(slot)
            || match self.choice {
                Choice::First => false,
                Choice::Last => true,
                Choice::Min => self.values.compare(slot, column, row) == Ordering::Greater,
                Choice::Max => self.values.compare(slot, column, row) == Ordering::Less,
            };
        if is_better {
            self.values.set(slot, column, row);
        }
        is_better
    }
}

impl<V: Values> Accumulators for Pick<V> {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let column = self.values.column(&args[0])?;
        for_each_row(slots, &select(args, keep), |slot, row| {
            self.offer(slot, &column, row);
        });
        Ok(())
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let (column, selection) = (self.values.column(&input.args[0])?, select(input.args, input.keep));
        let mut winners = Winners::new(&self.values, input.slots)?;
        for (slot, rows) in input.stretches(&selection) {
            let winner = rows.filter(|row| self.offer(slot, &column, *row)).last();
            winners.add(slot, winner);
        }
        winners.finish(&input.args[0])
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

/// The values that slots have while rows are added, one stretch of rows after another: those from before, or a row's.
struct Winners {
    /// Of each slot, in the order in which they come.
    before: ArrayRef,
    /// Which slot of `before` the last stretch was of.
    last: Option<(usize, usize)>,
    /// Of each stretch: 0 and the place in `before`, or 1 and the row.
    places: Vec<(usize, usize)>,
}

impl Winners {
    fn new<V: Values>(values: &V, slots: &[u32]) -> Result<Self> {
        let different: Vec<u32> = slots.chunk_by(|one, other| one == other).map(|rows| rows[0]).collect();
        Ok(Self { before: values.gather(&different)?, last: None, places: Vec::new() })
    }

    /// The next stretch: the row that won last in it, if any.
    fn add(&mut self, slot: usize, winner: Option<usize>) {
        let (number, place_before) = match self.last {
            Some((last, number)) if last == slot => (number, *self.places.last().expect("a stretch of that slot")),
            Some((_, number)) => (number + 1, (0, number + 1)),
            None => (0, (0, 0)),
        };
        self.last = Some((slot, number));
        self.places.push(winner.map_or(place_before, |row| (1, row)));
    }

    fn finish(self, rows: &ArrayRef) -> Result<ArrayRef> {
        Ok(interleave(&[self.before.as_ref(), rows.as_ref()], &self.places)?)
    }
}

/// One value per slot with the time that it belongs to. Among equal times the smallest value is the first and the
/// greatest the last, so that the order of arrival never matters.
struct Timed<V, const LAST: bool> {
    values: V,
    /// Meaningless where no value is set.
    times: Vec<i64>,
}

impl<V: Values, const LAST: bool> Timed<V, LAST> {
    /// Keeps a row's value where its time wins over that of its slot; true where it was kept.
    #[inline(always)]
    fn offer(&mut self, slot: usize, column: &V::Column, row: usize, time: i64) -> bool {
        let wins = if LAST { Ordering::Less } else { Ordering::Greater };
        let against = || self.times[slot].cmp(&time).then_with(|| self.values.compare(slot, column, row));
        let is_better = !self.values.is_set(slot) || against() == wins;
        if is_better {
            self.values.set(slot, column, row);
            self.times[slot] = time;
        }
        is_better
    }
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
        for_each_row(slots, &select(args, keep), |slot, row| {
            self.offer(slot, &column, row, times[row]);
        });
        Ok(())
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let (column, selection) = (self.values.column(&input.args[0])?, select(input.args, input.keep));
        let times = cast(&input.args[1], &DataType::Int64)?;
        let times = times.as_primitive::<Int64Type>().values();
        let mut winners = Winners::new(&self.values, input.slots)?;
        for (slot, rows) in input.stretches(&selection) {
            let winner = rows.filter(|row| self.offer(slot, &column, *row, times[*row])).last();
            winners.add(slot, winner);
        }
        winners.finish(&input.args[0])
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
