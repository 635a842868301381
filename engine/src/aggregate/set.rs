//! All aggregate calls of one operator, side by side: one slot holds one group's state of every call.
//!
//! The set picks argument and filter columns out of input batches, and turns slots into state columns or row bytes
//! and back. It does not know keys, windows or time: the operator maps those to slots.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::Field;
use arrow::row::{RowConverter, Rows, SortField};

use super::retain;
use super::shared_calls::{SharedCalls, share};
use super::{Accumulators, AggregateCall, AggregateFactory, KeptValues, RunningRows, StoredValues};
use crate::{EngineError, Result};

/// The accumulators of several aggregate calls over the same slots.
pub struct AggregateSet {
    members: Vec<Member>,
    state_fields: Vec<Field>,
    converter: RowConverter,
    slots: usize,
}

/// One call, or several that are computed together.
struct Member {
    /// Which calls; the result of several is a struct.
    calls: Vec<usize>,
    factory: Arc<dyn AggregateFactory>,
    accumulators: Box<dyn Accumulators>,
    args: Vec<usize>,
    filter: Option<usize>,
    /// Number of state columns.
    width: usize,
}

/// What happens to the rows of a batch.
#[derive(Clone, Copy)]
enum Direction {
    Add,
    TakeBack,
}

impl AggregateSet {
    /// No slots yet. Fails where an accumulator cannot be made or its state cannot be written as row bytes.
    pub fn new(calls: &[AggregateCall]) -> Result<Self> {
        let state_fields = state_fields(calls);
        let members = share(calls).into_iter().map(Member::new).collect::<Result<_>>()?;
        let sort_fields = state_fields.iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self { members, state_fields, converter: RowConverter::new(sort_fields)?, slots: 0 })
    }

    /// Number of aggregate calls.
    pub fn len(&self) -> usize {
        self.members.iter().map(|member| member.calls.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Number of valid slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Makes slots `0..slots` valid; new ones are empty. Never shrinks.
    pub fn resize(&mut self, slots: usize) {
        if slots > self.slots {
            self.slots = slots;
            self.members.iter_mut().for_each(|member| member.accumulators.resize(slots));
        }
    }

    /// Adds row i of `batch` (the operator's input) to slot `slots[i]` of every call.
    pub fn update(&mut self, slots: &[u32], batch: &RecordBatch) -> Result<()> {
        self.apply(slots, batch, Direction::Add)
    }

    /// Adds rows as [`Self::update`] does, one after another: the results of a row's slot as they are once all rows before row
    /// `ends[i]` are there, for each i; one column per call. Rows of a slot stand together, and those between two ends are of
    /// one slot.
    pub fn update_running(&mut self, slots: &[u32], ends: &[u32], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        debug_assert_eq!(slots.len(), batch.num_rows());
        let mut results = vec![None; self.len()];
        for member in &mut self.members {
            let (args, keep) = arguments(batch, &member.args, member.filter)?;
            let result = member.accumulators.update_running(&RunningRows { slots, ends, args: &args, keep })?;
            member.results(result).for_each(|(call, result)| results[call] = Some(result));
        }
        Ok(in_order(results))
    }

    /// Takes row i of `batch` out of slot `slots[i]`; an error for calls that cannot take rows back.
    pub fn retract(&mut self, slots: &[u32], batch: &RecordBatch) -> Result<()> {
        self.apply(slots, batch, Direction::TakeBack)
    }

    fn apply(&mut self, slots: &[u32], batch: &RecordBatch, direction: Direction) -> Result<()> {
        debug_assert_eq!(slots.len(), batch.num_rows());
        self.members.iter_mut().try_for_each(|member| member.apply(slots, batch, direction))
    }

    /// The state columns of all calls, in order; names are unique within the set and every field is nullable.
    pub fn state_fields(&self) -> Vec<Field> {
        self.state_fields.clone()
    }

    /// The state of the given slots, one row each, in the shape of [`Self::state_fields`]. Changes nothing.
    pub fn state_columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.state_fields.len());
        for member in &self.members {
            columns.extend(member.accumulators.state(slots)?);
        }
        debug_assert_eq!(columns.len(), self.state_fields.len());
        Ok(columns)
    }

    /// Merges row i of the state columns into slot `slots[i]`; a slot may repeat.
    pub fn merge_columns(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        check_width(columns.len(), self.state_fields.len())?;
        let mut rest = columns;
        for member in &mut self.members {
            let (own, others) = rest.split_at(member.width);
            member.accumulators.merge(slots, own)?;
            rest = others;
        }
        Ok(())
    }

    /// The state of the given slots as bytes, one row each. Not in any useful order. Without calls every row is empty.
    pub fn encode_state(&self, slots: &[u32]) -> Result<Rows> {
        if self.state_fields.is_empty() {
            return empty_rows(slots.len());
        }
        Ok(self.converter.convert_columns(&self.state_columns(slots)?)?)
    }

    /// Merges what [`Self::encode_state`] once gave, row i into slot `slots[i]`; a slot may repeat.
    pub fn merge_encoded<'a>(&mut self, slots: &[u32], rows: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
        if self.state_fields.is_empty() {
            return Ok(());
        }
        let columns = self.decode_state(rows)?;
        self.merge_columns(slots, &columns)
    }

    /// The state columns that [`Self::encode_state`] once turned into bytes.
    pub fn decode_state<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(rows.into_iter().map(|row| parser.parse(row)))?)
    }

    /// The results of the given slots: one column per call, one row per slot. Changes nothing.
    pub fn evaluate(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut results = vec![None; self.len()];
        for member in &self.members {
            let result = member.accumulators.evaluate(slots)?;
            member.results(result).for_each(|(call, result)| results[call] = Some(result));
        }
        Ok(in_order(results))
    }

    /// The results of one call for the given slots. Changes nothing.
    pub fn evaluate_call(&self, call: usize, slots: &[u32]) -> Result<ArrayRef> {
        let member =
            self.members.iter().find(|member| member.calls.contains(&call)).expect("each call belongs to a member");
        let result = member.accumulators.evaluate(slots)?;
        let own = member.results(result).find(|(number, _)| *number == call);
        Ok(own.expect("the member has a result of each of its calls").1)
    }

    /// Makes the given slots empty again, for reuse.
    pub fn reset(&mut self, slots: &[u32]) {
        self.members.iter_mut().for_each(|member| member.accumulators.reset(slots));
    }

    /// Keeps only some slots, which are `0..` from then on in this order. What differs from state must have been written.
    pub fn retain(&mut self, slots: &[u32]) -> Result<()> {
        self.slots = slots.len();
        self.members.iter_mut().try_for_each(|member| retain(&mut member.accumulators, member.factory.as_ref(), slots))
    }

    /// The calls that can keep the values of large groups apart; of those that are computed together the first.
    pub fn kept_calls(&mut self) -> impl Iterator<Item = KeptCall<'_>> {
        let mut first = 0;
        self.members.iter_mut().filter_map(move |member| {
            let (number, state) = (member.calls[0], first..first + member.width);
            first = state.end;
            let values = member.accumulators.kept_values()?;
            Some(KeptCall { number, args: &member.args, filter: member.filter, state, values })
        })
    }

    /// Memory held by the accumulators, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.members.iter().map(|member| member.accumulators.size_bytes()).sum()
    }

    /// Merges slot `other_slots[i]` of a set of the same calls into slot `slots[i]`; a slot may repeat.
    pub fn merge_from(&mut self, slots: &[u32], other: &AggregateSet, other_slots: &[u32]) -> Result<()> {
        debug_assert_eq!(self.state_fields, other.state_fields, "sets of the same calls");
        let columns = other.state_columns(other_slots)?;
        self.merge_columns(slots, &columns)
    }

    /// Merges slot `from[i]` into slot `into[i]` of this same set; `from` keeps its state.
    pub fn merge_within(&mut self, into: &[u32], from: &[u32]) -> Result<()> {
        let columns = self.state_columns(from)?;
        self.merge_columns(into, &columns)
    }
}

/// A call that can keep the values of large groups apart.
pub struct KeptCall<'a> {
    /// Among all calls.
    pub number: usize,
    args: &'a [usize],
    filter: Option<usize>,
    /// Its columns among those of the state.
    state: Range<usize>,
    pub values: &'a mut dyn KeptValues,
}

impl KeptCall<'_> {
    /// Reads what the rows of `batch` (the operator's input) need, row i of which is for slot `slots[i]`.
    pub fn load_rows(&mut self, slots: &[u32], batch: &RecordBatch, stored: &dyn StoredValues) -> Result<()> {
        let (args, keep) = arguments(batch, self.args, self.filter)?;
        self.values.load_rows(slots, &args, keep, stored)
    }

    /// Reads what merging these state columns of all calls needs.
    pub fn load_partials(&mut self, slots: &[u32], columns: &[ArrayRef], stored: &dyn StoredValues) -> Result<()> {
        self.values.load_partials(slots, &columns[self.state.clone()], stored)
    }
}

impl Member {
    fn new(shared: SharedCalls) -> Result<Self> {
        let SharedCalls { factory, args, filter, calls } = shared;
        let (accumulators, width) = (factory.create()?, factory.state_fields().len());
        Ok(Self { calls, factory, accumulators, args, filter, width })
    }

    /// Each call with its part of the result.
    fn results(&self, result: ArrayRef) -> impl Iterator<Item = (usize, ArrayRef)> {
        let columns = if self.calls.len() == 1 { vec![result] } else { result.as_struct().columns().to_vec() };
        self.calls.iter().copied().zip(columns)
    }

    fn apply(&mut self, slots: &[u32], batch: &RecordBatch, direction: Direction) -> Result<()> {
        let (args, keep) = arguments(batch, &self.args, self.filter)?;
        match direction {
            Direction::Add => self.accumulators.update(slots, &args, keep),
            Direction::TakeBack => self.accumulators.retract(slots, &args, keep),
        }
    }
}

fn in_order(results: Vec<Option<ArrayRef>>) -> Vec<ArrayRef> {
    results.into_iter().map(|result| result.expect("each call belongs to a member")).collect()
}

/// The argument columns of a call, and those rows that it is for.
fn arguments<'a>(
    batch: &'a RecordBatch,
    args: &[usize],
    filter: Option<usize>,
) -> Result<(Vec<ArrayRef>, Option<&'a BooleanArray>)> {
    let columns = args.iter().map(|index| Arc::clone(batch.column(*index))).collect();
    Ok((columns, filter.map(|index| filter_column(batch, index)).transpose()?))
}

fn filter_column(batch: &RecordBatch, index: usize) -> Result<&BooleanArray> {
    let column = batch.column(index);
    column.as_boolean_opt().ok_or_else(|| EngineError::Internal {
        place: "aggregate filter".into(),
        reason: format!("column {index} is {}, not BOOLEAN", column.data_type()),
    })
}

/// The state columns of these calls without making accumulators; names carry the index of the first call that they are for.
pub fn state_fields(calls: &[AggregateCall]) -> Vec<Field> {
    let named = |shared: SharedCalls| {
        let fields = shared.factory.state_fields().into_iter();
        fields.map(move |field| {
            let name = format!("${}_{}", shared.calls[0], field.name());
            field.with_name(name)
        })
    };
    share(calls).into_iter().flat_map(named).collect()
}

fn check_width(found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(EngineError::Internal {
        place: "aggregate merge".into(),
        reason: format!("{found} state columns where {expected} belong"),
    })
}

/// Rows without columns: arrow's converter would lose their number.
fn empty_rows(count: usize) -> Result<Rows> {
    let converter = RowConverter::new(Vec::new())?;
    let mut rows = converter.empty_rows(count, 0);
    let nothing: &[u8] = &[];
    let parser = converter.parser();
    (0..count).for_each(|_| rows.push(parser.parse(nothing)));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Int32Array, Int64Array, StringArray};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::aggregate::resolve;

    fn call(name: &str, column: usize, data_type: DataType, filter: Option<usize>) -> AggregateCall {
        let factory = resolve(name, &[data_type], &[], false).unwrap();
        let output = Field::new(name, factory.output_type(), true);
        AggregateCall { display: name.into(), output, factory, args: vec![column], filter }
    }

    fn batch() -> RecordBatch {
        let columns: [(&str, ArrayRef); 3] = [
            ("n", Arc::new(Int32Array::from(vec![1, 2, 3, 4]))),
            ("s", Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("c")]))),
            ("f", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn several_calls_share_slots_and_state() {
        let calls = [
            call("sum", 0, DataType::Int32, Some(2)),
            call("max", 1, DataType::Utf8, None),
            call("avg", 0, DataType::Int32, None),
        ];
        let mut set = AggregateSet::new(&calls).unwrap();
        set.resize(3);
        set.update(&[0, 1, 1, 1], &batch()).unwrap();
        let rows = set.encode_state(&[0, 1, 2]).unwrap();
        let mut merged = AggregateSet::new(&calls).unwrap();
        merged.resize(2);
        merged.merge_encoded(&[0, 1, 0], rows.iter().map(|row| row.data())).unwrap();
        merged.merge_within(&[0], &[1]).unwrap();
        let results = merged.evaluate(&[0, 1]).unwrap();
        assert_eq!(results[0].as_ref(), &Int64Array::from(vec![5, 4]));
        assert_eq!(results[1].as_ref(), &StringArray::from(vec!["c", "c"]));
        assert_eq!(results[2].as_ref(), &Int32Array::from(vec![2, 3]));
        let names: Vec<String> = set.state_fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["$0_sum", "$0_count", "$1_value", "$2_sum", "$2_count"]);
    }

    #[test]
    fn a_set_without_calls_still_counts_its_rows() {
        let mut set = AggregateSet::new(&[]).unwrap();
        set.resize(2);
        set.update(&[0, 1, 1, 0], &batch()).unwrap();
        let rows = set.encode_state(&[0, 1]).unwrap();
        assert_eq!(rows.num_rows(), 2);
        set.merge_encoded(&[0, 1], rows.iter().map(|row| row.data())).unwrap();
        assert!(set.evaluate(&[0, 1]).unwrap().is_empty());
    }
}
