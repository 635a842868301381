//! MIN and MAX of primitive columns.
//!
//! Floats are in total order with NaN greatest (as in PostgreSQL and DuckDB), so that the order of rows never matters.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::DataType;

use super::factory::{Factory, state_field};
use super::primitive::{Ordered, with_ordered};
use super::selection::{for_each_value, select};
use super::{Accumulators, AggregateFactory, RunningRows};
use crate::Result;

/// The factory for a primitive type; `None` for other types.
pub(super) fn factory<const MAX: bool>(argument: &DataType) -> Option<Arc<dyn AggregateFactory>> {
    with_ordered!(argument, T => Some(make::<T, MAX>(argument)), _ => None)
}

fn make<T: Ordered, const MAX: bool>(argument: &DataType) -> Arc<dyn AggregateFactory> {
    let data_type = argument.clone();
    Factory::shared(argument.clone(), vec![state_field("value", argument.clone())], move || {
        Ok(Box::new(Extremes::<T, MAX> { cells: Vec::new(), data_type: data_type.clone() }))
    })
}

struct Extremes<T: ArrowPrimitiveType, const MAX: bool> {
    cells: Vec<Cell<T::Native>>,
    data_type: DataType,
}

#[derive(Clone, Copy)]
struct Cell<N> {
    /// Starts at the far end of the order, so that the first row replaces it without a branch.
    value: N,
    seen: bool,
}

impl<T: Ordered, const MAX: bool> Extremes<T, MAX> {
    const EMPTY: Cell<T::Native> =
        Cell { value: if MAX { T::Native::MIN_TOTAL_ORDER } else { T::Native::MAX_TOTAL_ORDER }, seen: false };

    #[inline(always)]
    fn add(cell: &mut Cell<T::Native>, value: T::Native) {
        let value = T::canonical(value);
        let better = if MAX { T::less(cell.value, value) } else { T::less(value, cell.value) };
        *cell = Cell { value: if better { value } else { cell.value }, seen: true };
    }

    fn column(&self, cells: impl Iterator<Item = Cell<T::Native>>) -> ArrayRef {
        let column: PrimitiveArray<T> = cells.map(|cell| cell.seen.then_some(cell.value)).collect();
        Arc::new(column.with_data_type(self.data_type.clone()))
    }
}

impl<T: Ordered, const MAX: bool> Accumulators for Extremes<T, MAX> {
    fn resize(&mut self, slots: usize) {
        self.cells.resize(slots, Self::EMPTY);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let values = args[0].as_primitive::<T>().values();
        let cells = self.cells.as_mut_slice();
        for_each_value(slots, values, &select(args, keep), |slot, value| Self::add(&mut cells[slot], value));
        Ok(())
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let (values, selection) = (input.args[0].as_primitive::<T>().values(), select(input.args, input.keep));
        let mut running = Vec::with_capacity(input.ends.len());
        for (slot, rows) in input.stretches(&selection) {
            let cell = &mut self.cells[slot];
            rows.for_each(|row| Self::add(cell, values[row]));
            running.push(*cell);
        }
        Ok(self.column(running.into_iter()))
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.update(slots, state, None)
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(slots)?])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        Ok(self.column(slots.iter().map(|slot| self.cells[*slot as usize])))
    }

    fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.cells[*slot as usize] = Self::EMPTY);
    }

    fn size_bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Cell<T::Native>>()
    }
}
