//! BOOL_AND and BOOL_OR, which are also MIN and MAX of a BOOLEAN.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;

use super::factory::{Factory, state_field};
use super::selection::{for_each_row, select};
use super::{Accumulators, AggregateFactory, RunningRows};
use crate::Result;

/// `OR` false gives BOOL_AND.
pub(super) fn factory<const OR: bool>() -> Arc<dyn AggregateFactory> {
    Factory::shared(DataType::Boolean, vec![state_field("value", DataType::Boolean)], || {
        Ok(Box::new(Logical::<OR> { values: Vec::new() }))
    })
}

struct Logical<const OR: bool> {
    values: Vec<Option<bool>>,
}

impl<const OR: bool> Logical<OR> {
    #[inline(always)]
    fn add(so_far: &mut Option<bool>, value: bool) {
        let before = so_far.unwrap_or(!OR);
        *so_far = Some(if OR { before | value } else { before & value });
    }
}

impl<const OR: bool> Accumulators for Logical<OR> {
    fn resize(&mut self, slots: usize) {
        self.values.resize(slots, None);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let column = args[0].as_boolean().values();
        let values = self.values.as_mut_slice();
        for_each_row(slots, &select(args, keep), |slot, row| Self::add(&mut values[slot], column.value(row)));
        Ok(())
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let (column, selection) = (input.args[0].as_boolean().values(), select(input.args, input.keep));
        let running = input.stretches(&selection).map(|(slot, rows)| {
            rows.for_each(|row| Self::add(&mut self.values[slot], column.value(row)));
            self.values[slot]
        });
        Ok(Arc::new(running.collect::<BooleanArray>()))
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.update(slots, state, None)
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(slots)?])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(slots.iter().map(|slot| self.values[*slot as usize]).collect::<BooleanArray>()))
    }

    fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.values[*slot as usize] = None);
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<bool>>()
    }
}
