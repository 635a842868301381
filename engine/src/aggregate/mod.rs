//! Aggregate functions as columns of accumulators: one slot per group, updated a batch at a time.
//!
//! Every accumulator can give its state as Arrow columns and merge such columns back. Two-phase aggregation, slices
//! of sliding windows, merging sessions, spilling and checkpoints all rest on these two calls.

mod adapter;
mod catalogue;
mod collect;
mod count;
mod distinct;
mod elements;
mod exact;
mod extreme;
mod factory;
mod float;
mod kept_values;
mod logical;
mod moments;
mod multiset;
mod ordered_set;
mod pick;
mod primitive;
mod quantile;
mod resolve;
mod running;
mod selection;
pub mod set;
mod shared_calls;
mod sketch_count;
mod sum;
mod text;
mod values;
mod varint;
mod wide;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field};

pub use self::catalogue::{AggregateDoc, names};
pub use self::distinct::DistinctFactory;
pub use self::kept_values::{KeptValues, StoredValues, WriteValue};
pub use self::resolve::{resolve, resolve_over_updates};
pub use self::set::AggregateSet;
use crate::{EngineError, Result};

/// Rows that are added one after another, in stretches behind each of which a result is asked for.
pub struct RunningRows<'a> {
    /// Of each row. Rows of a slot stand together.
    pub slots: &'a [u32],
    /// The row behind each stretch; the rows of a stretch are of one slot.
    pub ends: &'a [u32],
    pub args: &'a [ArrayRef],
    /// As in [`Accumulators::update`].
    pub keep: Option<&'a BooleanArray>,
}

/// The accumulators of one aggregate call for many groups. A slot that was never updated holds the empty aggregate.
pub trait Accumulators: Send {
    /// Makes slots `0..slots` valid; new ones are empty.
    fn resize(&mut self, slots: usize);

    /// Adds row i of `args` to slot `slots[i]`, where `keep` is absent or true (null counts as false).
    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()>;

    /// Adds rows as [`Self::update`] does, one after another, and gives the result of each stretch's slot as it is then.
    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        running::by_rounds(self, input)
    }

    /// Takes row i of `args` out of slot `slots[i]`.
    fn retract(&mut self, _slots: &[u32], _args: &[ArrayRef], _keep: Option<&BooleanArray>) -> Result<()> {
        Err(EngineError::Unsupported("this aggregate cannot take rows back".into()))
    }

    /// Merges row i of the state columns into slot `slots[i]`; a slot may repeat.
    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()>;

    /// The state of the given slots, one row each, in the shape of [`AggregateFactory::state_fields`]. Changes nothing.
    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>>;

    /// The result of the given slots, one row each. Changes nothing.
    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef>;

    /// Makes the given slots empty again, for reuse.
    fn reset(&mut self, slots: &[u32]);

    /// Keeps only some slots, which are `0..` from then on in this order, where that takes less than to merge their states
    /// into empty accumulators; else nothing happens, and the answer is false. What differs from state must have been written.
    fn retain(&mut self, _slots: &[u32]) -> Result<bool> {
        Ok(false)
    }

    /// Memory held, in bytes.
    fn size_bytes(&self) -> usize;

    /// Where the aggregate can keep the values of large groups in state, an entry each.
    fn kept_values(&mut self) -> Option<&mut dyn KeptValues> {
        None
    }
}

/// One aggregate call of a plan: makes its accumulators.
pub trait AggregateFactory: Send + Sync {
    fn output_type(&self) -> DataType;

    fn state_fields(&self) -> Vec<Field>;

    fn create(&self) -> Result<Box<dyn Accumulators>>;

    /// Whether a state can take back what another, with which it is merged, has added.
    fn merges_retractions(&self) -> bool;

    /// Of a call that sees each different value once.
    fn as_distinct(&self) -> Option<&DistinctFactory> {
        None
    }
}

/// Keeps only some slots, which are `0..` from then on in this order.
fn retain(accumulators: &mut Box<dyn Accumulators>, factory: &dyn AggregateFactory, slots: &[u32]) -> Result<()> {
    if !accumulators.retain(slots)? {
        let mut kept = factory.create()?;
        kept.resize(slots.len());
        kept.merge(&(0..slots.len() as u32).collect::<Vec<_>>(), &accumulators.state(slots)?)?;
        *accumulators = kept;
    }
    Ok(())
}

/// An aggregate call, bound to columns of its operator's input.
#[derive(Clone)]
pub struct AggregateCall {
    /// As EXPLAIN shows it and as state signatures compare it: `SUM(DISTINCT price) FILTER (WHERE ...)`.
    pub display: String,
    /// Name and type of the output column.
    pub output: Field,
    pub factory: Arc<dyn AggregateFactory>,
    /// Argument columns, as indices into the operator's input.
    pub args: Vec<usize>,
    /// Index of a BOOLEAN input column: rows where it is not true are left out (FILTER).
    pub filter: Option<usize>,
}

#[cfg(test)]
mod tests;
