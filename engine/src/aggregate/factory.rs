//! The one kind of factory: what planning must know about an aggregate call, and how to make its accumulators.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use super::{Accumulators, AggregateFactory};
use crate::Result;

type Make = dyn Fn() -> Result<Box<dyn Accumulators>> + Send + Sync;

/// An aggregate function resolved for its argument types.
pub(super) struct Factory {
    output: DataType,
    state: Vec<Field>,
    make: Box<Make>,
    merges_retractions: bool,
}

impl Factory {
    pub(super) fn shared(
        output: DataType,
        state: Vec<Field>,
        make: impl Fn() -> Result<Box<dyn Accumulators>> + Send + Sync + 'static,
    ) -> Arc<dyn AggregateFactory> {
        Arc::new(Self { output, state, make: Box::new(make), merges_retractions: true })
    }

    /// For states that can only take back what they hold themselves.
    pub(super) fn self_contained(
        output: DataType,
        state: Vec<Field>,
        make: impl Fn() -> Result<Box<dyn Accumulators>> + Send + Sync + 'static,
    ) -> Arc<dyn AggregateFactory> {
        Arc::new(Self { output, state, make: Box::new(make), merges_retractions: false })
    }
}

impl AggregateFactory for Factory {
    fn output_type(&self) -> DataType {
        self.output.clone()
    }

    fn state_fields(&self) -> Vec<Field> {
        self.state.clone()
    }

    fn create(&self) -> Result<Box<dyn Accumulators>> {
        (self.make)()
    }

    fn merges_retractions(&self) -> bool {
        self.merges_retractions
    }
}

/// A column of partial state; always nullable, so that every reader treats it alike.
pub(super) fn state_field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}
