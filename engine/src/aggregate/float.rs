//! SUM and AVG of FLOAT and DOUBLE, independent of the order of rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::exact::ExactSums;
use super::factory::Factory;
use super::selection::{for_each_value, select};
use super::sum::Finish;
use super::{Accumulators, AggregateFactory, RunningRows};
use crate::Result;

pub(super) fn factory(finish: Finish) -> Arc<dyn AggregateFactory> {
    Factory::shared(DataType::Float64, ExactSums::<1, 2>::state_fields(), move || {
        Ok(Box::new(FloatSums { sums: ExactSums::new(), finish }))
    })
}

struct FloatSums {
    sums: ExactSums<1, 2>,
    finish: Finish,
}

impl FloatSums {
    #[inline(always)]
    fn add(&mut self, slot: usize, value: f64) {
        self.sums.count_row(slot, 1);
        self.sums.add(slot, 0, value);
    }

    fn result(&self, slot: u32) -> Option<f64> {
        match (self.sums.count(slot), self.finish) {
            (0, _) => None,
            (_, Finish::Sum) => Some(self.sums.sum(slot, 0)),
            (count, Finish::Average) => Some(self.sums.sum(slot, 0) / count as f64),
        }
    }
}

impl Accumulators for FloatSums {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let values = cast(&args[0], &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>().values();
        for_each_value(slots, values, &select(args, keep), |slot, value| {
            self.add(slot, value);
        });
        Ok(())
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let values = cast(&input.args[0], &DataType::Float64)?;
        let (values, selection) = (values.as_primitive::<Float64Type>().values(), select(input.args, input.keep));
        let running = input.stretches(&selection).map(|(slot, rows)| {
            rows.for_each(|row| self.add(slot, values[row]));
            self.result(slot as u32)
        });
        Ok(Arc::new(running.collect::<Float64Array>()))
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let values = cast(&args[0], &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>().values();
        for_each_value(slots, values, &select(args, keep), |slot, value| {
            self.sums.count_row(slot, -1);
            self.sums.subtract(slot, 0, value);
        });
        Ok(())
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.sums.merge(slots, state)
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(self.sums.state(slots))
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(slots.iter().map(|slot| self.result(*slot)).collect::<Float64Array>()))
    }

    fn reset(&mut self, slots: &[u32]) {
        self.sums.reset(slots);
    }

    fn size_bytes(&self) -> usize {
        self.sums.size_bytes()
    }
}
