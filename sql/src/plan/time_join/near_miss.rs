//! Conditions that would make an interval join, were the times that they compare time attributes.

use arrow::datatypes::DataType;
use datafusion_common::{Column, DFSchema};
use datafusion_expr::{Join, LogicalPlan};
use tidemill_engine::time::window::TimeDomain;

use super::{IntervalCondition, JoinCondition};
use crate::plan::traits::{self, ColumnTraits};

/// A column that keeps a join from going by time, and the input that it is a column of.
pub(crate) struct NearMiss<'a> {
    pub input: &'a LogicalPlan,
    pub column: Column,
}

impl<'a> NearMiss<'a> {
    /// To be asked for joins that do not go by time.
    pub fn of(join: &'a Join) -> Option<Self> {
        let inputs = [join.left.as_ref(), join.right.as_ref()];
        let known = inputs.map(traits::of_plan);
        let [left, right] = [0, 1].map(|side| as_if_timed(inputs[side].schema(), &known[side]));
        let condition = IntervalCondition::of(join, JoinCondition::of(join), [&left, &right])?;
        let is_none = |side: &usize| known[*side][condition.times[*side]].time.is_none();
        let side = [0, 1].into_iter().find(is_none)?;
        let name = Column::from(inputs[side].schema().qualified_field(condition.times[side]));
        // The condition's own mention of the column says where it stands.
        let mentions = join.filter.iter().flat_map(|filter| filter.column_refs());
        let written = mentions.into_iter().find(|column| **column == name).cloned();
        Some(Self { input: inputs[side], column: written.unwrap_or(name) })
    }
}

/// Every timestamp as a time attribute.
pub(super) fn as_if_timed(schema: &DFSchema, known: &[ColumnTraits]) -> Vec<ColumnTraits> {
    let columns = schema.fields().iter().zip(known);
    let timed = columns.map(|(field, traits)| match field.data_type() {
        DataType::Timestamp(..) => ColumnTraits { time: traits.time.or(Some(TimeDomain::Event)), ..traits.clone() },
        _ => traits.clone(),
    });
    timed.collect()
}
