//! COUNT(*) and COUNT(x [, y ...]): rows where no argument is NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type};

use super::factory::{Factory, state_field};
use super::selection::{for_each_row, for_each_value, select};
use super::{Accumulators, AggregateFactory, RunningRows};
use crate::Result;

pub(super) fn factory() -> Arc<dyn AggregateFactory> {
    let state: Vec<Field> = vec![state_field("count", DataType::Int64)];
    Factory::shared(DataType::Int64, state, || Ok(Box::new(Count::default())))
}

/// One number per slot.
#[derive(Default)]
struct Count {
    counts: Vec<i64>,
}

impl Count {
    #[inline(always)]
    fn add(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>, delta: i64) {
        let counts = self.counts.as_mut_slice();
        for_each_row(slots, &select(args, keep), |slot, _| counts[slot] += delta);
    }
}

impl Accumulators for Count {
    fn resize(&mut self, slots: usize) {
        self.counts.resize(slots, 0);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.add(slots, args, keep, 1);
        Ok(())
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let (counts, selection) = (self.counts.as_mut_slice(), select(input.args, input.keep));
        let running = input.stretches(&selection).map(|(slot, rows)| {
            counts[slot] += rows.count() as i64;
            counts[slot]
        });
        Ok(Arc::new(running.collect::<Int64Array>()))
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.add(slots, args, keep, -1);
        Ok(())
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        let counts = self.counts.as_mut_slice();
        let partial = state[0].as_primitive::<Int64Type>();
        for_each_value(slots, partial.values(), &None, |slot, count| counts[slot] += count);
        Ok(())
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(slots)?])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(slots.iter().map(|slot| self.counts[*slot as usize]))))
    }

    fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.counts[*slot as usize] = 0);
    }

    fn size_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}
