//! What a column's values are made of, and the making of them a batch at a time.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, PrimitiveArray,
    StringArray, StringBuilder, StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Fields, TimeUnit};
use tidemill_engine::Result;

use crate::random;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// Makes the values of one column or nested field.
#[derive(Debug, Clone)]
pub struct Generator {
    pub data_type: DataType,
    pub seed: u64,
    /// Share of NULLs.
    pub null_rate: f64,
    pub rule: Rule,
}

#[derive(Debug, Clone)]
pub enum Rule {
    Boolean,
    /// Whole numbers, dates excluded; both ends included.
    Integer {
        min: i64,
        max: i64,
    },
    Float {
        min: f64,
        max: f64,
    },
    /// Unscaled values; both ends included.
    Decimal {
        min: i128,
        max: i128,
    },
    /// Hexadecimal digits, as Flink makes them.
    Text(Length),
    Bytes(Length),
    /// One of these values.
    Choice(ArrayRef),
    /// A time (or date, or time of day) up to `max_past_ms` before now.
    Past {
        max_past_ms: i64,
    },
    Sequence(Sequence),
    List {
        element: Box<Generator>,
        length: Length,
    },
    Map {
        key: Box<Generator>,
        value: Box<Generator>,
        length: Length,
    },
    Row(Vec<Generator>),
}

#[derive(Debug, Clone, Copy)]
pub struct Length {
    pub max: u64,
    /// From 1 to `max` instead of always `max`.
    pub varies: bool,
}

impl Length {
    fn of(self, word: u64) -> u64 {
        if self.varies { 1 + random::below(random::nth(word, u64::MAX), self.max) } else { self.max }
    }
}

/// Row i has `start + i * step / scale`, less a random time.
#[derive(Debug, Clone, Copy)]
pub struct Sequence {
    pub start: i128,
    pub step: i128,
    /// Steps are given in `1 / scale` of the column's unit (nanoseconds, for times).
    pub scale: i128,
    /// In the column's unit; 0 gives the exact sequence.
    pub max_past: u64,
}

impl Sequence {
    fn value(&self, seed: u64, key: u64) -> i128 {
        let past = random::below(random::word(seed, key), self.max_past);
        self.start + i128::from(key) * self.step / self.scale - i128::from(past)
    }
}

impl Generator {
    /// About how many bytes a value takes at most.
    pub fn width(&self) -> u64 {
        match &self.rule {
            Rule::Text(length) | Rule::Bytes(length) => length.max,
            Rule::Choice(values) => values.get_array_memory_size() as u64,
            Rule::List { element, length } => length.max.saturating_mul(element.width()),
            Rule::Map { key, value, length } => length.max.saturating_mul(key.width().saturating_add(value.width())),
            Rule::Row(fields) => fields.iter().map(Self::width).fold(0, u64::saturating_add),
            _ => size_of::<i128>() as u64,
        }
    }

    /// The values for these keys: row indices, or words drawn for the elements of arrays.
    pub fn generate(&self, keys: &[u64], now_ms: i64) -> Result<ArrayRef> {
        let values = self.values(keys, now_ms)?;
        if self.null_rate == 0.0 {
            return Ok(values);
        }
        let null_seed = random::column_seed(self.seed, "null");
        let nulls = keys.iter().map(|key| Some(random::unit(random::word(null_seed, *key)) < self.null_rate));
        Ok(compute::nullif(&values, &nulls.collect::<BooleanArray>())?)
    }

    fn values(&self, keys: &[u64], now_ms: i64) -> Result<ArrayRef> {
        let words = keys.iter().map(|key| random::word(self.seed, *key));
        match &self.rule {
            Rule::Boolean => Ok(Arc::new(words.map(|word| Some(word >> 63 == 1)).collect::<BooleanArray>())),
            Rule::Integer { min, max } => self.integers(words.map(|word| random::between(word, *min, *max))),
            Rule::Float { min, max } => {
                let values = words.map(random::unit).map(|share| min * (1.0 - share) + max * share);
                Ok(compute::cast(&Float64Array::from_iter_values(values), &self.data_type)?)
            }
            Rule::Decimal { min, max } => self.decimals(words.map(|word| decimal_between(word, *min, *max))),
            Rule::Text(length) => Ok(Arc::new(texts(words, *length))),
            Rule::Bytes(length) => Ok(Arc::new(bytes(words, *length))),
            Rule::Choice(values) => {
                let indices = words.map(|word| random::below(word, values.len() as u64) as u32);
                Ok(compute::take(values, &UInt32Array::from_iter_values(indices), None)?)
            }
            Rule::Past { max_past_ms } => {
                let past = |word| random::below(word, *max_past_ms as u64) as i64;
                self.integers(words.map(|word| from_millis(now_ms - past(word), &self.data_type)))
            }
            Rule::Sequence(sequence) => self.sequence(keys, sequence),
            Rule::List { element, length } => self.list(keys, element, *length, now_ms),
            Rule::Map { key, value, length } => self.map(keys, key, value, *length, now_ms),
            Rule::Row(fields) => self.row(keys, fields, now_ms),
        }
    }

    /// Values of a type that is stored as a whole number.
    fn integers(&self, values: impl Iterator<Item = i64>) -> Result<ArrayRef> {
        let values = Int64Array::from_iter_values(values);
        let stored = match &self.data_type {
            DataType::Date32 | DataType::Time32(_) | DataType::Interval(_) => compute::cast(&values, &DataType::Int32)?,
            _ => Arc::new(values),
        };
        Ok(compute::cast(&stored, &self.data_type)?)
    }

    fn decimals(&self, values: impl Iterator<Item = i128>) -> Result<ArrayRef> {
        let values = PrimitiveArray::<Decimal128Type>::from_iter_values(values);
        Ok(Arc::new(values.with_data_type(self.data_type.clone())))
    }

    fn sequence(&self, keys: &[u64], sequence: &Sequence) -> Result<ArrayRef> {
        let values = keys.iter().map(|key| sequence.value(self.seed, *key));
        match &self.data_type {
            DataType::Utf8 => Ok(Arc::new(StringArray::from_iter_values(values.map(|value| value.to_string())))),
            DataType::Decimal128(..) => self.decimals(values),
            _ => self.integers(values.map(|value| value as i64)),
        }
    }

    fn list(&self, keys: &[u64], element: &Generator, length: Length, now_ms: i64) -> Result<ArrayRef> {
        let DataType::List(field) = &self.data_type else { unreachable!("a list rule makes lists") };
        let (element_keys, offsets) = self.element_keys(keys, length);
        let values = element.generate(&element_keys, now_ms)?;
        Ok(Arc::new(ListArray::try_new(field.clone(), offsets, values, None)?))
    }

    fn map(&self, keys: &[u64], key: &Generator, value: &Generator, length: Length, now: i64) -> Result<ArrayRef> {
        let DataType::Map(entry, sorted) = &self.data_type else { unreachable!("a map rule makes maps") };
        let DataType::Struct(fields) = entry.data_type() else { unreachable!("the entries of a map are rows") };
        let (element_keys, offsets) = self.element_keys(keys, length);
        let columns = vec![key.generate(&element_keys, now)?, value.generate(&element_keys, now)?];
        let entries = StructArray::try_new(fields.clone(), columns, None)?;
        Ok(Arc::new(MapArray::try_new(entry.clone(), offsets, entries, None, *sorted)?))
    }

    /// One key per element of each list, and where the lists begin and end.
    fn element_keys(&self, keys: &[u64], length: Length) -> (Vec<u64>, OffsetBuffer<i32>) {
        let mut element_keys = Vec::new();
        let mut lengths = Vec::with_capacity(keys.len());
        for key in keys {
            let word = random::word(self.seed, *key);
            let length = length.of(word);
            element_keys.extend((0..length).map(|n| random::nth(word, n)));
            lengths.push(length as usize);
        }
        (element_keys, OffsetBuffer::from_lengths(lengths))
    }

    fn row(&self, keys: &[u64], generators: &[Generator], now_ms: i64) -> Result<ArrayRef> {
        let DataType::Struct(fields) = &self.data_type else { unreachable!("a row rule makes rows") };
        let columns = generators.iter().map(|field| field.generate(keys, now_ms)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
    }
}

/// Number of `data_type`'s units per second.
pub fn units_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn from_millis(ms: i64, data_type: &DataType) -> i64 {
    match data_type {
        DataType::Date32 => ms.div_euclid(DAY_MS),
        DataType::Time32(_) => ms.rem_euclid(DAY_MS),
        DataType::Timestamp(TimeUnit::Second, _) => ms.div_euclid(1000),
        DataType::Timestamp(unit, _) => ms.saturating_mul(units_per_second(*unit) / 1000),
        _ => ms,
    }
}

fn decimal_between(word: u64, min: i128, max: i128) -> i128 {
    let wide = (u128::from(random::nth(word, 0)) << 64) | u128::from(random::nth(word, 1));
    min + (wide % ((max - min) as u128 + 1)) as i128
}

fn texts(words: impl Iterator<Item = u64>, length: Length) -> StringArray {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut builder = StringBuilder::new();
    let mut text = String::new();
    for word in words {
        text.clear();
        let length = length.of(word);
        // One word gives sixteen digits.
        for n in 0..length {
            let digits = random::nth(word, n / 16);
            text.push(char::from(DIGITS[(digits >> (4 * (n % 16))) as usize & 15]));
        }
        builder.append_value(&text);
    }
    builder.finish()
}

fn bytes(words: impl Iterator<Item = u64>, length: Length) -> arrow::array::BinaryArray {
    let mut builder = BinaryBuilder::new();
    for word in words {
        let value: Vec<u8> =
            (0..length.of(word)).map(|n| random::nth(word, n / 8).to_le_bytes()[n as usize % 8]).collect();
        builder.append_value(value);
    }
    builder.finish()
}

/// The field of a list's elements.
pub fn element_field(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(field) => Some(field),
        _ => None,
    }
}

/// Key and value of a map.
pub fn entry_fields(data_type: &DataType) -> Option<(&Field, &Field)> {
    let DataType::Map(entry, _) = data_type else { return None };
    let DataType::Struct(fields) = entry.data_type() else { return None };
    Some((fields.first()?, fields.get(1)?))
}

/// The fields of a row.
pub fn row_fields(data_type: &DataType) -> Option<&Fields> {
    match data_type {
        DataType::Struct(fields) => Some(fields),
        _ => None,
    }
}
