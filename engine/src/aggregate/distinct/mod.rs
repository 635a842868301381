//! DISTINCT: aggregates that see every different argument once, with counts so that rows can be taken back.
//!
//! A set per group says which rows bring a value that was not there; only those reach the inner aggregate, which
//! therefore works unchanged. COUNT needs none: it is how many values there are. The calls over the same arguments
//! share their sets, which say of each value for which of the calls it is there.

mod accumulators;
mod hashed_set;
mod kept;
mod keys;
mod set;
#[cfg(test)]
mod set_tests;
mod sorted_set;
mod value;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use arrow::row::{RowConverter, SortField};

use self::accumulators::{DistinctAccumulators, Inner};
use self::keys::{Encoded, KeyColumns, Texts, Words};
use self::value::{Tally, Uses};
use super::factory::state_field;
use super::{Accumulators, AggregateFactory};
use crate::{EngineError, Result};

/// How values are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counting {
    /// NULL is a value like others.
    pub keep_nulls: bool,
    /// Rows are only added: that a value is there is all that must be known.
    pub once: bool,
    /// The values are to be kept in the order in which they came, because an inner aggregate lists them.
    pub in_order: bool,
}

/// COUNT(DISTINCT a [, b ...]).
pub(super) fn count(arguments: &[DataType], counting: Counting) -> Arc<dyn AggregateFactory> {
    factory(arguments, None, counting)
}

/// Any other aggregate over different values only.
pub(super) fn over(
    arguments: &[DataType],
    inner: Arc<dyn AggregateFactory>,
    counting: Counting,
) -> Arc<dyn AggregateFactory> {
    factory(arguments, Some(inner), counting)
}

fn factory(
    arguments: &[DataType],
    inner: Option<Arc<dyn AggregateFactory>>,
    counting: Counting,
) -> Arc<dyn AggregateFactory> {
    let calls = vec![Call { inner, is_filtered: false }];
    Arc::new(DistinctFactory { arguments: arguments.to_vec(), calls, counting })
}

/// One of the calls that share a set.
#[derive(Clone)]
struct Call {
    /// `None` counts.
    inner: Option<Arc<dyn AggregateFactory>>,
    /// The next of the columns behind the arguments says which rows it is for.
    is_filtered: bool,
}

/// One call, or several over the same arguments. Several have a condition of their own each, behind the arguments,
/// and give a struct of their results.
#[derive(Clone)]
pub struct DistinctFactory {
    arguments: Vec<DataType>,
    calls: Vec<Call>,
    counting: Counting,
}

impl DistinctFactory {
    /// These calls and those of `other` over the same columns; `None` where they cannot share a set. Columns that are
    /// conditions follow the arguments, in the order of the calls: first those of `self`.
    pub(super) fn with(&self, other: &DistinctFactory) -> Option<DistinctFactory> {
        let calls_max = if self.counting.once { Uses::USES_MAX } else { i64::USES_MAX };
        let fits = self.calls.len() + other.calls.len() <= calls_max;
        let alike = self.arguments == other.arguments && self.counting == other.counting;
        let calls = [self.calls.as_slice(), &other.calls].concat();
        (fits && alike).then(|| DistinctFactory { calls, ..self.clone() })
    }

    /// The same call for those rows alone for which a column behind the arguments is true.
    pub(super) fn filtered(&self) -> DistinctFactory {
        let calls = self.calls.iter().map(|call| Call { is_filtered: true, ..call.clone() });
        DistinctFactory { calls: calls.collect(), ..self.clone() }
    }

    fn outputs(&self) -> Fields {
        let output = |call: &Call| call.inner.as_ref().map_or(DataType::Int64, |inner| inner.output_type());
        self.calls.iter().enumerate().map(|(number, call)| Field::new(number.to_string(), output(call), true)).collect()
    }

    fn create_for<T: Tally>(&self) -> Result<Box<dyn Accumulators>> {
        match self.arguments.as_slice() {
            // Only the row format has a NULL.
            _ if self.counting.keep_nulls => self.create_encoded::<T>(),
            [DataType::Utf8] => self.create_with::<_, T>(Texts),
            [one] if keys::is_word(one) => self.create_with::<_, T>(Words(one.clone())),
            _ => self.create_encoded::<T>(),
        }
    }

    fn create_encoded<T: Tally>(&self) -> Result<Box<dyn Accumulators>> {
        let fields = self.arguments.iter().cloned().map(SortField::new).collect();
        self.create_with::<_, T>(Encoded(RowConverter::new(fields)?))
    }

    fn create_with<C: KeyColumns, T: Tally>(&self, columns: C) -> Result<Box<dyn Accumulators>> {
        let inner = |call: &Call| call.inner.clone().map(Inner::new).transpose();
        let inners = self.calls.iter().map(inner).collect::<Result<_>>()?;
        let filtered = self.calls.iter().map(|call| call.is_filtered).collect();
        let counting = (self.arguments.len(), self.counting);
        Ok(Box::new(DistinctAccumulators::<C, T>::new(columns, counting, inners, filtered, self.outputs())))
    }
}

impl AggregateFactory for DistinctFactory {
    fn output_type(&self) -> DataType {
        let outputs = self.outputs();
        if let [one] = &*outputs { one.data_type().clone() } else { DataType::Struct(outputs) }
    }

    /// The set alone, and of a group whose values are apart how many there are and the inner aggregates' states.
    fn state_fields(&self) -> Vec<Field> {
        vec![state_field("values", DataType::Binary)]
    }

    fn create(&self) -> Result<Box<dyn Accumulators>> {
        if self.counting.once { self.create_for::<Uses>() } else { self.create_for::<i64>() }
    }

    fn merges_retractions(&self) -> bool {
        true
    }

    fn as_distinct(&self) -> Option<&DistinctFactory> {
        Some(self)
    }
}

fn damaged() -> EngineError {
    EngineError::Internal { place: "distinct aggregate".into(), reason: "the state cannot be read".into() }
}
