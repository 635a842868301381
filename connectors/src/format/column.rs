//! Arrow arrays that grow value by value and can be cut back to an earlier length, which is how the decoders take back
//! the values of a record that turns out to be bad. What text a value is read from is not known here.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, DurationMillisecondArray, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, IntervalYearMonthArray, ListArray, MapArray,
    RecordBatch, RecordBatchOptions, StringArray, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::array::{Date32Array, Time32MillisecondArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use tidemill_engine::{EngineError, Result};

use super::json::keys::Keys;

/// One column under construction.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) field: FieldRef,
    pub(crate) values: Values,
    /// `None` while no value is null.
    valid: Option<BooleanBufferBuilder>,
}

/// The values, by how they are stored. Null slots hold a default.
#[derive(Debug)]
pub(crate) enum Values {
    Boolean(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    /// Also INTERVAL YEAR TO MONTH.
    Int32(Vec<i32>),
    /// Also INTERVAL DAY TO SECOND in milliseconds.
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    Date(Vec<i32>),
    /// Milliseconds of the day.
    Time(Vec<i32>),
    Timestamp {
        values: Vec<i64>,
        unit: TimeUnit,
        /// TIMESTAMP_LTZ: a moment, not a calendar reading.
        local: bool,
    },
    Text(Texts),
    Binary(Texts),
    List {
        offsets: Vec<i32>,
        element: Box<Column>,
    },
    Map {
        offsets: Vec<i32>,
        keys: Box<Column>,
        values: Box<Column>,
        entries: FieldRef,
    },
    Row(Row),
}

/// Values of varying length, one behind the other.
#[derive(Debug)]
pub(crate) struct Texts {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

/// The fields of a ROW column.
#[derive(Debug)]
pub(crate) struct Row {
    /// Between [`Row::begin`] and [`Row::end`] those that have their value are one longer than the row.
    pub(crate) columns: Vec<Column>,
    pub(crate) length: usize,
    /// So many NULL rows at the end are not in `columns` yet: a row that is NULL again and again costs nothing per field.
    behind: usize,
    /// How JSON objects name the fields.
    pub(crate) keys: Keys,
}

impl Texts {
    fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }

    /// Callers bound a batch's bytes far below 2^31 (see [`super::BATCH_BYTES_MAX`]).
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.end();
    }

    /// Bytes appended here belong to the value that [`Texts::end`] completes.
    #[inline]
    pub(crate) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    #[inline]
    pub(crate) fn end(&mut self) {
        let end = i32::try_from(self.bytes.len()).expect("a batch of records is far smaller than 2 GiB");
        self.offsets.push(end);
    }

    fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    fn push_empty(&mut self, count: usize) {
        repeat_last(&mut self.offsets, count);
    }

    /// The first value from index `start` on that occurs again behind itself.
    pub(crate) fn first_repeated(&self, start: usize) -> Option<&[u8]> {
        /// Fewer values are compared pair by pair, which needs no memory.
        const PAIRWISE_MAX: usize = 16;
        let value = |index: usize| &self.bytes[self.offsets[index] as usize..self.offsets[index + 1] as usize];
        let mut values = (start..self.len()).map(value);
        if self.len() - start > PAIRWISE_MAX {
            let mut seen = HashSet::new();
            return values.find(|value| !seen.insert(*value));
        }
        (start..self.len()).find(|index| (start..*index).any(|earlier| value(earlier) == value(*index))).map(value)
    }

    fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        self.bytes.truncate(self.offsets[length] as usize);
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let next =
            Self { offsets: Vec::with_capacity(self.offsets.len()), bytes: Vec::with_capacity(self.bytes.len()) };
        let full = std::mem::replace(self, next);
        self.offsets.push(0);
        (OffsetBuffer::new(ScalarBuffer::from(full.offsets)), Buffer::from_vec(full.bytes))
    }
}

impl Column {
    /// An empty column of the field's type; an error where no format can carry the type.
    pub(crate) fn new(field: &FieldRef) -> Result<Self> {
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 | DataType::Interval(IntervalUnit::YearMonth) => Values::Int32(Vec::new()),
            DataType::Int64 | DataType::Duration(TimeUnit::Millisecond) => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Decimal128(precision, scale) => {
                Values::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Time32(TimeUnit::Millisecond) => Values::Time(Vec::new()),
            DataType::Timestamp(unit, zone) => {
                Values::Timestamp { values: Vec::new(), unit: *unit, local: zone.is_some() }
            }
            DataType::Utf8 => Values::Text(Texts::new()),
            DataType::Binary => Values::Binary(Texts::new()),
            DataType::List(element) => Values::List { offsets: vec![0], element: Box::new(Self::new(element)?) },
            DataType::Map(entries, _) => Self::map(entries)?,
            DataType::Struct(fields) => Values::Row(Row::new(fields)?),
            other => return Err(unsupported(field, other)),
        };
        Ok(Self { field: field.clone(), values, valid: None })
    }

    fn map(entries: &FieldRef) -> Result<Values> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(unsupported(entries, entries.data_type()));
        };
        let [key, value] = fields.as_ref() else { return Err(unsupported(entries, entries.data_type())) };
        let (keys, values) = (Box::new(Self::new(key)?), Box::new(Self::new(value)?));
        Ok(Values::Map { offsets: vec![0], keys, values, entries: entries.clone() })
    }

    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Values::Boolean(values) => values.len(),
            Values::Int8(values) => values.len(),
            Values::Int16(values) => values.len(),
            Values::Int32(values) | Values::Date(values) | Values::Time(values) => values.len(),
            Values::Int64(values) | Values::Timestamp { values, .. } => values.len(),
            Values::Float32(values) => values.len(),
            Values::Float64(values) => values.len(),
            Values::Decimal { values, .. } => values.len(),
            Values::Text(texts) | Values::Binary(texts) => texts.len(),
            Values::List { offsets, .. } | Values::Map { offsets, .. } => offsets.len() - 1,
            Values::Row(row) => row.length,
        }
    }

    /// Must follow every value that is pushed to `values` from outside.
    #[inline]
    pub(crate) fn mark_valid(&mut self) {
        if let Some(valid) = &mut self.valid {
            valid.append(true);
        }
    }

    pub(crate) fn push_null(&mut self) {
        self.push_nulls(1);
    }

    fn push_nulls(&mut self, count: usize) {
        let length = self.len();
        let end = length + count;
        match &mut self.values {
            Values::Boolean(values) => values.resize(end, false),
            Values::Int8(values) => values.resize(end, 0),
            Values::Int16(values) => values.resize(end, 0),
            Values::Int32(values) | Values::Date(values) | Values::Time(values) => values.resize(end, 0),
            Values::Int64(values) | Values::Timestamp { values, .. } => values.resize(end, 0),
            Values::Float32(values) => values.resize(end, 0.0),
            Values::Float64(values) => values.resize(end, 0.0),
            Values::Decimal { values, .. } => values.resize(end, 0),
            Values::Text(texts) | Values::Binary(texts) => texts.push_empty(count),
            Values::List { offsets, .. } | Values::Map { offsets, .. } => repeat_last(offsets, count),
            Values::Row(row) => row.push_nulls(count),
        }
        let valid = self.valid.get_or_insert_with(|| {
            let mut valid = BooleanBufferBuilder::new(end);
            valid.append_n(length, true);
            valid
        });
        valid.append_n(count, false);
    }

    /// Takes back everything behind the first `length` values, also values that were only partly read.
    pub(crate) fn truncate(&mut self, length: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(length),
            Values::Int8(values) => values.truncate(length),
            Values::Int16(values) => values.truncate(length),
            Values::Int32(values) | Values::Date(values) | Values::Time(values) => values.truncate(length),
            Values::Int64(values) | Values::Timestamp { values, .. } => values.truncate(length),
            Values::Float32(values) => values.truncate(length),
            Values::Float64(values) => values.truncate(length),
            Values::Decimal { values, .. } => values.truncate(length),
            Values::Text(texts) | Values::Binary(texts) => texts.truncate(length),
            Values::List { offsets, element } => {
                offsets.truncate(length + 1);
                element.truncate(offsets[length] as usize);
            }
            Values::Map { offsets, keys, values, .. } => {
                offsets.truncate(length + 1);
                keys.truncate(offsets[length] as usize);
                values.truncate(offsets[length] as usize);
            }
            Values::Row(row) => row.truncate(length),
        }
        if let Some(valid) = &mut self.valid
            && valid.len() > length
        {
            valid.truncate(length);
        }
    }

    /// The values so far; the column is empty afterwards and has room for as many again.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.valid.take().map(|mut valid| NullBuffer::new(valid.finish()));
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        self.values.finish(&self.field, nulls)
    }
}

/// All columns as a batch of `rows` rows; the columns are empty afterwards.
pub(crate) fn finish(schema: &SchemaRef, columns: &mut [Column], rows: usize) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = columns.iter_mut().map(Column::finish).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

impl Row {
    fn new(fields: &Fields) -> Result<Self> {
        let columns = fields.iter().map(Column::new).collect::<Result<_>>()?;
        let keys = Keys::new(fields.iter().map(|field| field.name().as_str()));
        Ok(Self { columns, length: 0, behind: 0, keys })
    }

    /// Before the values of a row are pushed to its columns.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if self.behind > 0 {
            self.catch_up();
        }
    }

    /// All columns have their value.
    #[inline]
    pub(crate) fn end(&mut self) {
        self.length += 1;
    }

    fn push_nulls(&mut self, count: usize) {
        self.behind += count;
        self.length += count;
    }

    fn catch_up(&mut self) {
        let behind = std::mem::take(&mut self.behind);
        self.columns.iter_mut().for_each(|column| column.push_nulls(behind));
    }

    fn truncate(&mut self, length: usize) {
        let held = self.length - self.behind;
        self.columns.iter_mut().for_each(|column| column.truncate(length.min(held)));
        self.behind = length.saturating_sub(held);
        self.length = length;
    }
}

fn repeat_last(offsets: &mut Vec<i32>, count: usize) {
    let last = offsets.last().copied().unwrap_or(0);
    offsets.resize(offsets.len() + count, last);
}

/// Takes a full vector out and leaves an empty one of the same capacity.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}

impl Values {
    fn finish(&mut self, field: &Field, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Boolean(values) => {
                let bits = BooleanBuffer::from(values.as_slice());
                values.clear();
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Self::Int8(values) => Arc::new(Int8Array::new(take(values).into(), nulls)),
            Self::Int16(values) => Arc::new(Int16Array::new(take(values).into(), nulls)),
            Self::Int32(values) if matches!(field.data_type(), DataType::Interval(_)) => {
                Arc::new(IntervalYearMonthArray::new(take(values).into(), nulls))
            }
            Self::Int32(values) => Arc::new(Int32Array::new(take(values).into(), nulls)),
            Self::Int64(values) if matches!(field.data_type(), DataType::Duration(_)) => {
                Arc::new(DurationMillisecondArray::new(take(values).into(), nulls))
            }
            Self::Int64(values) => Arc::new(Int64Array::new(take(values).into(), nulls)),
            Self::Float32(values) => Arc::new(Float32Array::new(take(values).into(), nulls)),
            Self::Float64(values) => Arc::new(Float64Array::new(take(values).into(), nulls)),
            Self::Decimal { values, precision, scale } => {
                Arc::new(Decimal128Array::new(take(values).into(), nulls).with_precision_and_scale(*precision, *scale)?)
            }
            Self::Date(values) => Arc::new(Date32Array::new(take(values).into(), nulls)),
            Self::Time(values) => Arc::new(Time32MillisecondArray::new(take(values).into(), nulls)),
            Self::Timestamp { values, unit, .. } => timestamps(take(values), *unit, field, nulls),
            Self::Text(texts) => {
                let (offsets, bytes) = texts.take();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Self::Binary(texts) => {
                let (offsets, bytes) = texts.take();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Self::List { offsets, element } => {
                let offsets = take_offsets(offsets);
                Arc::new(ListArray::try_new(element.field.clone(), offsets, element.finish()?, nulls)?)
            }
            Self::Map { offsets, keys, values, entries } => {
                let pairs = vec![keys.finish()?, values.finish()?];
                let pairs = StructArray::try_new(fields_of(entries), pairs, None)?;
                Arc::new(MapArray::try_new(entries.clone(), take_offsets(offsets), pairs, nulls, false)?)
            }
            Self::Row(row) => {
                row.begin();
                let length = std::mem::take(&mut row.length);
                let columns = row.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::try_new_with_length(fields_of(field), columns, nulls, length)?)
            }
        })
    }
}

fn timestamps(values: Vec<i64>, unit: TimeUnit, field: &Field, nulls: Option<NullBuffer>) -> ArrayRef {
    let DataType::Timestamp(_, zone) = field.data_type() else { unreachable!("built from a timestamp field") };
    let (values, zone) = (values.into(), zone.clone());
    match unit {
        TimeUnit::Second => Arc::new(TimestampSecondArray::new(values, nulls).with_timezone_opt(zone)),
        TimeUnit::Millisecond => Arc::new(TimestampMillisecondArray::new(values, nulls).with_timezone_opt(zone)),
        TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone_opt(zone)),
        TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::new(values, nulls).with_timezone_opt(zone)),
    }
}

fn take_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let full = take(offsets);
    offsets.push(0);
    OffsetBuffer::new(ScalarBuffer::from(full))
}

fn fields_of(field: &Field) -> Fields {
    match field.data_type() {
        DataType::Struct(fields) => fields.clone(),
        other => unreachable!("built from a struct field, not {other}"),
    }
}

fn unsupported(field: &Field, data_type: &DataType) -> EngineError {
    EngineError::Unsupported(format!("column {}: no text format carries the type {data_type}", field.name()))
}
