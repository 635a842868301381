//! Random columns, and the calls that run over them.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion_common::ScalarValue;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::aggregate::{AggregateCall, AggregateSet, resolve, resolve_over_updates};

/// Groups of a random input.
pub const GROUPS: u32 = 5;

/// One aggregate call to test: `name(arguments..., literals...)`.
#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    pub arguments: Vec<DataType>,
    pub literals: Vec<ScalarValue>,
    pub distinct: bool,
    /// Rows may be taken back.
    pub over_updates: bool,
}

impl Case {
    pub fn new(name: &'static str, arguments: &[DataType]) -> Self {
        Self { name, arguments: arguments.to_vec(), literals: Vec::new(), distinct: false, over_updates: false }
    }

    pub fn with(mut self, literal: impl Into<ScalarValue>) -> Self {
        self.literals.push(literal.into());
        self
    }

    pub fn distinct(mut self) -> Self {
        self.distinct = true;
        self
    }

    pub fn over_updates(mut self) -> Self {
        self.over_updates = true;
        self
    }

    pub fn display(&self) -> String {
        let mut arguments: Vec<String> = self.arguments.iter().map(ToString::to_string).collect();
        arguments.extend(self.literals.iter().map(ToString::to_string));
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        format!("{}({distinct}{})", self.name, arguments.join(", "))
    }

    /// The call over columns 0.. of [`Input::batch`]; `filter` is the column after the arguments.
    pub fn call(&self, filter: bool) -> AggregateCall {
        let resolve = if self.over_updates { resolve_over_updates } else { resolve };
        let factory = resolve(self.name, &self.arguments, &self.literals, self.distinct)
            .unwrap_or_else(|error| panic!("{}: {error}", self.display()));
        AggregateCall {
            display: self.display(),
            output: Field::new("result", factory.output_type(), true),
            factory,
            args: (0..self.arguments.len()).collect(),
            filter: filter.then_some(self.arguments.len()),
        }
    }

    pub fn set(&self, filter: bool, slots: usize) -> AggregateSet {
        let mut set = AggregateSet::new(&[self.call(filter)]).unwrap();
        set.resize(slots);
        set
    }
}

/// Rows of random arguments with a group and a filter each.
pub struct Input {
    pub rows: Vec<Vec<ScalarValue>>,
    pub keep: Vec<Option<bool>>,
    pub groups: Vec<u32>,
    arguments: Vec<DataType>,
}

impl Input {
    pub fn random(case: &Case, count: usize, rng: &mut ChaCha8Rng) -> Self {
        let nulls = [0.0, 0.3][rng.random_range(0..2)];
        let row = |rng: &mut ChaCha8Rng| case.arguments.iter().map(|argument| value(argument, nulls, rng)).collect();
        Self {
            rows: (0..count).map(|_| row(rng)).collect(),
            keep: (0..count).map(|_| [Some(true), Some(true), Some(false), None][rng.random_range(0..4)]).collect(),
            groups: (0..count).map(|_| rng.random_range(0..GROUPS)).collect(),
            arguments: case.arguments.clone(),
        }
    }

    /// The rows of the given indices as a batch, the filter last.
    pub fn batch(&self, indices: &[usize]) -> RecordBatch {
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for (index, argument) in self.arguments.iter().enumerate() {
            fields.push(Field::new(format!("a{index}"), argument.clone(), true));
            let values: Vec<ScalarValue> = indices.iter().map(|row| self.rows[*row][index].clone()).collect();
            columns.push(match values.is_empty() {
                true => arrow::array::new_empty_array(argument),
                false => ScalarValue::iter_to_array(values).unwrap(),
            });
        }
        fields.push(Field::new("keep", DataType::Boolean, true));
        columns.push(Arc::new(indices.iter().map(|row| self.keep[*row]).collect::<BooleanArray>()));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    pub fn slots(&self, indices: &[usize]) -> Vec<u32> {
        indices.iter().map(|row| self.groups[*row]).collect()
    }

    /// The rows of a group, those that the filter drops left out.
    pub fn group(&self, group: u32, filter: bool) -> Vec<Vec<ScalarValue>> {
        let kept = |row: &usize| self.groups[*row] == group && (!filter || self.keep[*row] == Some(true));
        (0..self.rows.len()).filter(kept).map(|row| self.rows[row].clone()).collect()
    }
}

/// Random values out of few, so that they repeat; floats whose sums are exact however they are added.
fn value(data_type: &DataType, nulls: f64, rng: &mut ChaCha8Rng) -> ScalarValue {
    if rng.random_bool(nulls) {
        return ScalarValue::try_from(data_type).unwrap();
    }
    let small: i64 = rng.random_range(-20..20);
    match data_type {
        DataType::Boolean => ScalarValue::from(small > 0),
        DataType::Float32 => ScalarValue::from(small as f32 / 4.0),
        DataType::Float64 => ScalarValue::from(small as f64 * 0.375),
        DataType::Utf8 => ScalarValue::from("xy".repeat(small.unsigned_abs() as usize) + &small.to_string()),
        DataType::Binary => ScalarValue::Binary(Some(small.to_be_bytes()[5..].to_vec())),
        DataType::Decimal128(precision, scale) => {
            ScalarValue::Decimal128(Some(i128::from(small) * 10_000_000_019), *precision, *scale)
        }
        DataType::Date32 => ScalarValue::Date32(Some(small as i32)),
        DataType::Time32(TimeUnit::Millisecond) => ScalarValue::Time32Millisecond(Some(small.unsigned_abs() as i32)),
        DataType::Timestamp(..) | DataType::Duration(_) => ScalarValue::from(small).cast_to(data_type).unwrap(),
        DataType::List(field) => {
            let elements: Vec<ScalarValue> = (0..small % 3).map(|_| value(field.data_type(), nulls, rng)).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&elements, field.data_type()))
        }
        DataType::UInt64 => ScalarValue::from(small.unsigned_abs()),
        _ => ScalarValue::from(small).cast_to(data_type).unwrap(),
    }
}
