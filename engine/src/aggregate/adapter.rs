//! Runs any DataFusion aggregate function: one DataFusion accumulator per slot.
//!
//! The slow path, for functions that have no vectorised accumulators here. `Accumulator::state` and `evaluate` of some
//! DataFusion functions consume what they hold, so both are only called on accumulators that are rebuilt afterwards.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt32Array, new_empty_array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use super::factory::{Factory, state_field};
use super::selection::{for_each_row, select_kept};
use super::{Accumulators, AggregateFactory};
use crate::Result;

/// A DataFusion function bound to argument types.
#[derive(Clone)]
struct Binding {
    function: Arc<AggregateUDF>,
    schema: SchemaRef,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    output: FieldRef,
    state: Vec<Field>,
}

/// The factory of a DataFusion function over column arguments of these types.
pub(super) fn factory(function: Arc<AggregateUDF>, arguments: &[DataType]) -> Result<Arc<dyn AggregateFactory>> {
    let binding = Binding::new(function, arguments)?;
    let (output, state) = (binding.output.data_type().clone(), binding.state.clone());
    Ok(Factory::shared(output, state, move || {
        Ok(Box::new(Adapter { binding: binding.clone(), slots: Vec::new(), size_bytes: 0 }))
    }))
}

impl Binding {
    fn new(function: Arc<AggregateUDF>, arguments: &[DataType]) -> Result<Self> {
        let name = |index| format!("argument{index}");
        let field = |(index, argument): (usize, &DataType)| Arc::new(Field::new(name(index), argument.clone(), true));
        let fields: Vec<FieldRef> = arguments.iter().enumerate().map(field).collect();
        let output = function.return_field(&fields)?;
        let state = function.state_fields(StateFieldsArgs {
            name: function.name(),
            input_fields: &fields,
            return_field: Arc::clone(&output),
            ordering_fields: &[],
            is_distinct: false,
        })?;
        let state = state.iter().map(|field| state_field(field.name(), field.data_type().clone())).collect();
        let column = |index| Arc::new(Column::new(&name(index), index)) as Arc<dyn PhysicalExpr>;
        let exprs = (0..arguments.len()).map(column).collect();
        Ok(Self { function, schema: Arc::new(Schema::new(fields)), exprs, output, state })
    }

    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        Ok(self.function.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.output),
            schema: &self.schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: self.function.name(),
            is_distinct: false,
            exprs: &self.exprs,
            expr_fields: self.schema.fields(),
        })?)
    }

    /// An accumulator with the given state.
    fn with_state(&self, state: &[ScalarValue]) -> Result<Box<dyn Accumulator>> {
        let mut accumulator = self.accumulator()?;
        let columns: Vec<ArrayRef> = state.iter().map(|value| value.to_array()).collect::<Result<_, _>>()?;
        accumulator.merge_batch(&columns)?;
        Ok(accumulator)
    }
}

/// `None` is an accumulator that has seen nothing. In a cell, since reading a state may consume it.
type Slot = RefCell<Option<Box<dyn Accumulator>>>;

struct Adapter {
    binding: Binding,
    slots: Vec<Slot>,
    /// Memory of the accumulators themselves.
    size_bytes: usize,
}

impl Adapter {
    /// Calls `change` once for every slot that occurs, with its rows of `columns`.
    fn for_each_slot(
        &mut self,
        slots: &[u32],
        columns: &[ArrayRef],
        keep: Option<&BooleanArray>,
        change: impl Fn(&mut dyn Accumulator, &[ArrayRef]) -> Result<()>,
    ) -> Result<()> {
        let mut rows: Vec<u32> = Vec::with_capacity(slots.len());
        for_each_row(slots, &select_kept(keep), |_, row| rows.push(row as u32));
        rows.sort_by_key(|row| slots[*row as usize]);
        let indices = UInt32Array::from(rows);
        let sorted: Vec<ArrayRef> =
            columns.iter().map(|column| take(column, &indices, None)).collect::<Result<_, _>>()?;
        let mut start = 0;
        for run in indices.values().chunk_by(|a, b| slots[*a as usize] == slots[*b as usize]) {
            let part: Vec<ArrayRef> = sorted.iter().map(|column| column.slice(start, run.len())).collect();
            self.change(slots[run[0] as usize], |accumulator| change(accumulator, &part))?;
            start += run.len();
        }
        Ok(())
    }

    fn change(&mut self, slot: u32, change: impl FnOnce(&mut dyn Accumulator) -> Result<()>) -> Result<()> {
        let cell = self.slots[slot as usize].get_mut();
        let before = cell.as_ref().map_or(0, |accumulator| accumulator.size());
        let accumulator = match cell {
            Some(accumulator) => accumulator,
            empty => empty.insert(self.binding.accumulator()?),
        };
        change(accumulator.as_mut())?;
        self.size_bytes = self.size_bytes + accumulator.size() - before;
        Ok(())
    }

    /// The state of one slot, which stays as it was.
    fn slot_state(&self, slot: u32) -> Result<Vec<ScalarValue>> {
        let mut cell = self.slots[slot as usize].borrow_mut();
        match cell.as_mut() {
            None => Ok(self.binding.accumulator()?.state()?),
            Some(accumulator) => {
                let state = accumulator.state()?;
                *cell = Some(self.binding.with_state(&state)?);
                Ok(state)
            }
        }
    }

    fn result(&self, slot: u32) -> Result<ScalarValue> {
        let state = self.slot_state(slot)?;
        Ok(self.binding.with_state(&state)?.evaluate()?)
    }
}

fn column(values: Vec<ScalarValue>, data_type: &DataType) -> Result<ArrayRef> {
    if values.is_empty() {
        return Ok(new_empty_array(data_type));
    }
    let column = ScalarValue::iter_to_array(values)?;
    Ok(if column.data_type() == data_type { column } else { cast(&column, data_type)? })
}

impl Accumulators for Adapter {
    fn resize(&mut self, slots: usize) {
        self.slots.resize_with(slots, Slot::default);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.for_each_slot(slots, args, keep, |accumulator, part| Ok(accumulator.update_batch(part)?))
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.for_each_slot(slots, state, None, |accumulator, part| Ok(accumulator.merge_batch(part)?))
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(slots.len()); self.binding.state.len()];
        for slot in slots {
            let state = self.slot_state(*slot)?;
            columns.iter_mut().zip(state).for_each(|(column, value)| column.push(value));
        }
        let fields = self.binding.state.iter();
        columns.into_iter().zip(fields).map(|(values, field)| column(values, field.data_type())).collect()
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let values = slots.iter().map(|slot| self.result(*slot)).collect::<Result<_>>()?;
        column(values, self.binding.output.data_type())
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            let accumulator = self.slots[*slot as usize].take();
            self.size_bytes -= accumulator.map_or(0, |accumulator| accumulator.size());
        }
    }

    fn size_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.size_bytes
    }
}
