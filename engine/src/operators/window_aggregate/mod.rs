//! Aggregation per key and window: TUMBLE, HOP, CUMULATE, and windows that rows already carry.
//!
//! Rows are collected in slices (see [`crate::time::assign`]); a window's result is the merge of its slices. Sessions
//! are another operator: [`crate::operators::session_aggregate`].

mod complete;
mod emission;
#[cfg(test)]
mod emission_tests;
mod emitter;
mod firing;
mod local;
mod schedule;
mod slice_store;
mod sliced_rows;
#[cfg(test)]
mod tests;
mod two_stack;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono_tz::Tz;

use self::complete::WindowOperator;
pub use self::emission::{Emission, Pending, after};
pub use self::emitter::{Emitter, instant_property_column, property_column};
use self::local::LocalWindowOperator;
use crate::aggregate::AggregateCall;
use crate::aggregate::set::state_fields;
use crate::operator::{Operator, OperatorFactory};
use crate::time::window::{TimeDomain, WindowSpec};
use crate::{EngineError, Result};

/// Where a row's windows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowInput {
    /// The spec puts the time column's values into windows. In processing time the column is not read.
    Time { column: usize, spec: WindowSpec },
    /// The rows carry their window in two TIMESTAMP columns (a window over windowed rows). `zone` is the zone
    /// whose calendar the columns follow; `None` where event time has no zone.
    Attached { start: usize, end: usize, zone: Option<Tz> },
}

/// A column that tells about the window itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowProperty {
    /// First instant of the window: local TIMESTAMP(3).
    Start,
    /// First instant after the window: local TIMESTAMP(3).
    End,
    /// One millisecond before the end: TIMESTAMP(3), or TIMESTAMP_LTZ(3) where the time column is one.
    Time,
}

impl WindowProperty {
    /// The column's name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "window_start",
            Self::End => "window_end",
            Self::Time => "window_time",
        }
    }

    /// The output column; `zone` is that of the time attribute.
    pub fn field(self, zone: Option<Tz>) -> Field {
        let zone = zone.filter(|_| self == Self::Time).map(|zone| zone.name().into());
        Field::new(self.name(), DataType::Timestamp(TimeUnit::Millisecond, zone), false)
    }
}

/// Aggregates per key and window, in one phase. Output: key columns, aggregates, window properties.
#[derive(Clone)]
pub struct WindowAggregate {
    pub window: WindowInput,
    /// Key columns, as indices into `input`; may be empty.
    pub keys: Vec<usize>,
    pub aggregates: Vec<AggregateCall>,
    pub properties: Vec<WindowProperty>,
    /// Results beside the final ones.
    pub emission: Emission,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl WindowAggregate {
    /// The schema that the operator's output has unless the plan renames columns.
    pub fn output_schema(
        window: &WindowInput,
        keys: &[usize],
        aggregates: &[AggregateCall],
        properties: &[WindowProperty],
        input: &Schema,
    ) -> SchemaRef {
        let zone = window.zone();
        let keys = keys.iter().map(|key| input.field(*key).clone());
        let values = aggregates.iter().map(|call| call.output.clone());
        let properties = properties.iter().map(|property| property.field(zone));
        Arc::new(Schema::new(keys.chain(values).chain(properties).collect::<Vec<_>>()))
    }

    /// The same aggregation split around an exchange by key. The exchange hashes columns `0..keys.len()` of the
    /// local schema. Processing time cannot be split: a row's window is the moment in which it arrives.
    pub fn two_phase(&self) -> Result<(LocalWindowAggregate, GlobalWindowAggregate)> {
        if self.window.domain() == TimeDomain::Processing {
            return Err(EngineError::Unsupported("processing-time windows are aggregated in one phase".into()));
        }
        if !self.emission.is_final_only() {
            return Err(EngineError::Unsupported("windows that give early or late results have one phase".into()));
        }
        let schema = local_schema(self);
        let local = LocalWindowAggregate { complete: self.clone(), schema };
        let global = GlobalWindowAggregate { complete: self.clone(), schema: self.schema.clone() };
        Ok((local, global))
    }
}

impl WindowInput {
    pub fn zone(&self) -> Option<Tz> {
        match self {
            Self::Time { spec, .. } => spec.zone,
            Self::Attached { zone, .. } => *zone,
        }
    }

    pub fn domain(&self) -> TimeDomain {
        match self {
            Self::Time { spec, .. } => spec.domain,
            Self::Attached { .. } => TimeDomain::Event,
        }
    }
}

/// First phase: partial aggregates per key and slice, in memory only.
#[derive(Clone)]
pub struct LocalWindowAggregate {
    complete: WindowAggregate,
    /// Key columns, three slice columns (BIGINT), state columns.
    pub schema: SchemaRef,
}

/// Second phase: merges what the local phase gives.
#[derive(Clone)]
pub struct GlobalWindowAggregate {
    complete: WindowAggregate,
    pub schema: SchemaRef,
}

/// Columns that name the slice of a partial row.
const SLICE_COLUMNS: [&str; 3] = ["slice_start", "slice_first_end", "slice_last_end"];

fn local_schema(complete: &WindowAggregate) -> SchemaRef {
    let keys = complete.keys.iter().map(|key| complete.input.field(*key).clone());
    let slice = SLICE_COLUMNS.iter().map(|name| Field::new(*name, DataType::Int64, false));
    let states = state_fields(&complete.aggregates);
    Arc::new(Schema::new(keys.chain(slice).chain(states).collect::<Vec<_>>()))
}

impl OperatorFactory for WindowAggregate {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(WindowOperator::over_rows(self)?))
    }
}

impl OperatorFactory for LocalWindowAggregate {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(LocalWindowOperator::new(&self.complete, &self.schema)?))
    }
}

impl OperatorFactory for GlobalWindowAggregate {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(WindowOperator::over_partials(&self.complete)?))
    }
}
