//! Values as bytes, so that bytes sort as the values do and NULL comes first.
//!
//! A value is one byte that says whether there is one, 0 or 1, and behind 1: a number, date or time as big-endian bytes that sort; a
//! text, bytes or anything else as its bytes, in which 0 is followed by 255, and a 0 at the end. A BOOLEAN is 0, 1 or 2 alone.
//! So a number takes one byte more than in memory, and a text two. Arrow's rows fill blocks of 8 and 32 bytes with a text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryArray, BooleanArray, BooleanBuilder, NullBufferBuilder, StringArray,
    make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};
use arrow::row::Rows;

use crate::keys::KeyEncoder;
use crate::{EngineError, Result};

const NULL: u8 = 0;
const VALUE: u8 = 1;
const END: u8 = 0;
/// Behind a 0 that is not the end. No value begins with it.
const ESCAPED: u8 = u8::MAX;

/// How the values of a column are written.
pub enum Form {
    Int8,
    Int16,
    Int32,
    Int64,
    Int128,
    Float32,
    Float64,
    Boolean,
    Text,
    Bytes,
    /// As arrow's rows.
    Other(KeyEncoder),
}

/// The values of a column that are to be written.
pub enum Cells<'a> {
    Int8(Numbers<i8>),
    Int16(Numbers<i16>),
    Int32(Numbers<i32>),
    Int64(Numbers<i64>),
    Int128(Numbers<i128>),
    Float32(Numbers<f32>),
    Float64(Numbers<f64>),
    Boolean(&'a BooleanArray),
    Bytes { offsets: &'a OffsetBuffer<i32>, values: &'a [u8], nulls: Option<&'a NullBuffer> },
    Other(Rows),
}

pub struct Numbers<T: Number> {
    values: ScalarBuffer<T>,
    nulls: Option<NullBuffer>,
}

/// A number whose bytes sort as it does.
pub trait Number: ArrowNativeType {
    type Bytes: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]>;

    fn to_sortable(self) -> Self::Bytes;
    fn from_sortable(bytes: Self::Bytes) -> Self;
}

macro_rules! signed {
    ($type:ty) => {
        impl Number for $type {
            type Bytes = [u8; size_of::<$type>()];

            fn to_sortable(self) -> Self::Bytes {
                (self ^ <$type>::MIN).to_be_bytes()
            }

            fn from_sortable(bytes: Self::Bytes) -> Self {
                <$type>::from_be_bytes(bytes) ^ <$type>::MIN
            }
        }
    };
}

signed!(i8);
signed!(i16);
signed!(i32);
signed!(i64);
signed!(i128);

/// By IEEE 754's total order: all bits but the sign are turned round where that is set, so that it sorts as a signed number.
macro_rules! float {
    ($type:ty, $bits:ty) => {
        impl Number for $type {
            type Bytes = [u8; size_of::<$type>()];

            fn to_sortable(self) -> Self::Bytes {
                let bits = self.to_bits() as $bits;
                (bits ^ (bits >> (<$bits>::BITS - 1) & <$bits>::MAX)).to_sortable()
            }

            fn from_sortable(bytes: Self::Bytes) -> Self {
                let bits = <$bits>::from_sortable(bytes);
                Self::from_bits((bits ^ (bits >> (<$bits>::BITS - 1) & <$bits>::MAX)) as _)
            }
        }
    };
}

float!(f32, i32);
float!(f64, i64);

impl Form {
    /// Errors where a column of this type cannot be written.
    pub fn of(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Int8 => Self::Int8,
            DataType::Int16 => Self::Int16,
            DataType::Int32 | DataType::Date32 | DataType::Time32(_) => Self::Int32,
            DataType::Int64 | DataType::Time64(_) | DataType::Timestamp(..) | DataType::Duration(_) => Self::Int64,
            DataType::Decimal128(..) => Self::Int128,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Boolean => Self::Boolean,
            DataType::Utf8 => Self::Text,
            DataType::Binary => Self::Bytes,
            other => Self::Other(KeyEncoder::new(std::slice::from_ref(other))?),
        })
    }

    /// The values of a column of this form's type.
    pub fn cells<'a>(&self, column: &'a ArrayRef) -> Result<Cells<'a>> {
        Ok(match self {
            Self::Int8 => Cells::Int8(Numbers::of(column)),
            Self::Int16 => Cells::Int16(Numbers::of(column)),
            Self::Int32 => Cells::Int32(Numbers::of(column)),
            Self::Int64 => Cells::Int64(Numbers::of(column)),
            Self::Int128 => Cells::Int128(Numbers::of(column)),
            Self::Float32 => Cells::Float32(Numbers::of(column)),
            Self::Float64 => Cells::Float64(Numbers::of(column)),
            Self::Boolean => Cells::Boolean(column.as_boolean()),
            Self::Text => {
                let column = column.as_string::<i32>();
                Cells::Bytes { offsets: column.offsets(), values: column.value_data(), nulls: column.nulls() }
            }
            Self::Bytes => {
                let column = column.as_binary::<i32>();
                Cells::Bytes { offsets: column.offsets(), values: column.value_data(), nulls: column.nulls() }
            }
            Self::Other(encoder) => Cells::Other(encoder.encode(std::slice::from_ref(column))?),
        })
    }

    /// Takes the first value of each row, as a column of this type.
    pub fn take(&self, data_type: &DataType, rows: &mut [&[u8]]) -> Result<ArrayRef> {
        match self {
            Self::Int8 => take_numbers::<i8>(data_type, rows),
            Self::Int16 => take_numbers::<i16>(data_type, rows),
            Self::Int32 => take_numbers::<i32>(data_type, rows),
            Self::Int64 => take_numbers::<i64>(data_type, rows),
            Self::Int128 => take_numbers::<i128>(data_type, rows),
            Self::Float32 => take_numbers::<f32>(data_type, rows),
            Self::Float64 => take_numbers::<f64>(data_type, rows),
            Self::Boolean => take_booleans(rows),
            Self::Text => {
                let TakenBytes { offsets, values, nulls } = TakenBytes::of(rows)?;
                Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(values), nulls)?))
            }
            Self::Bytes => {
                let TakenBytes { offsets, values, nulls } = TakenBytes::of(rows)?;
                Ok(Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(values), nulls)?))
            }
            Self::Other(encoder) => {
                let TakenBytes { offsets, values, .. } = TakenBytes::of(rows)?;
                let values = offsets.windows(2).map(|ends| &values[ends[0] as usize..ends[1] as usize]);
                Ok(encoder.decode(values)?.remove(0))
            }
        }
    }
}

impl Cells<'_> {
    /// What they take as bytes, about.
    pub fn size_bytes(&self) -> usize {
        fn numbers<T: Number>(numbers: &Numbers<T>) -> usize {
            numbers.values.len() * (1 + size_of::<T>())
        }
        match self {
            Self::Int8(cells) => numbers(cells),
            Self::Int16(cells) => numbers(cells),
            Self::Int32(cells) => numbers(cells),
            Self::Int64(cells) => numbers(cells),
            Self::Int128(cells) => numbers(cells),
            Self::Float32(cells) => numbers(cells),
            Self::Float64(cells) => numbers(cells),
            Self::Boolean(cells) => cells.len(),
            Self::Bytes { offsets, .. } => {
                let bytes = offsets[offsets.len() - 1] - offsets[0];
                bytes as usize + 2 * offsets.len()
            }
            Self::Other(rows) => rows.size(),
        }
    }

    /// Appends the value of this row.
    pub fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        match self {
            Self::Int8(cells) => cells.write(row, bytes),
            Self::Int16(cells) => cells.write(row, bytes),
            Self::Int32(cells) => cells.write(row, bytes),
            Self::Int64(cells) => cells.write(row, bytes),
            Self::Int128(cells) => cells.write(row, bytes),
            Self::Float32(cells) => cells.write(row, bytes),
            Self::Float64(cells) => cells.write(row, bytes),
            Self::Boolean(cells) if cells.is_null(row) => bytes.push(NULL),
            Self::Boolean(cells) => bytes.push(VALUE + u8::from(cells.value(row))),
            Self::Bytes { nulls, .. } if nulls.is_some_and(|nulls| nulls.is_null(row)) => bytes.push(NULL),
            Self::Bytes { offsets, values, .. } => {
                write_bytes(&values[offsets[row] as usize..offsets[row + 1] as usize], bytes);
            }
            Self::Other(rows) => write_bytes(rows.row(row).data(), bytes),
        }
    }
}

impl<T: Number> Numbers<T> {
    fn of(column: &ArrayRef) -> Self {
        let data = column.to_data();
        let values = ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len());
        Self { values, nulls: column.nulls().cloned() }
    }

    fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return bytes.push(NULL);
        }
        bytes.push(VALUE);
        bytes.extend_from_slice(self.values[row].to_sortable().as_ref());
    }
}

fn write_bytes(mut value: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(VALUE);
    while let Some(zero) = memchr::memchr(END, value) {
        bytes.extend_from_slice(&value[..=zero]);
        bytes.push(ESCAPED);
        value = &value[zero + 1..];
    }
    bytes.extend_from_slice(value);
    bytes.push(END);
}

fn take_byte(row: &mut &[u8]) -> Result<u8> {
    let (first, rest) = row.split_first().ok_or_else(damaged)?;
    *row = rest;
    Ok(*first)
}

/// False for NULL.
fn take_head(row: &mut &[u8]) -> Result<bool> {
    match take_byte(row)? {
        NULL => Ok(false),
        VALUE => Ok(true),
        _ => Err(damaged()),
    }
}

fn take_numbers<T: Number>(data_type: &DataType, rows: &mut [&[u8]]) -> Result<ArrayRef> {
    let mut values: Vec<T> = Vec::with_capacity(rows.len());
    let mut nulls = NullBufferBuilder::new(rows.len());
    for row in rows {
        let has_value = take_head(row)?;
        nulls.append(has_value);
        if !has_value {
            values.push(T::default());
            continue;
        }
        let (value, rest) = row.split_at_checked(size_of::<T>()).ok_or_else(damaged)?;
        let Ok(value) = T::Bytes::try_from(value) else { return Err(damaged()) };
        values.push(T::from_sortable(value));
        *row = rest;
    }
    let data = ArrayData::builder(data_type.clone()).len(values.len()).nulls(nulls.finish());
    Ok(make_array(data.add_buffer(Buffer::from_vec(values)).build()?))
}

fn take_booleans(rows: &mut [&[u8]]) -> Result<ArrayRef> {
    let mut values = BooleanBuilder::with_capacity(rows.len());
    for row in rows {
        match take_byte(row)? {
            NULL => values.append_null(),
            value @ (VALUE | 2) => values.append_value(value > VALUE),
            _ => return Err(damaged()),
        }
    }
    Ok(Arc::new(values.finish()))
}

struct TakenBytes {
    offsets: OffsetBuffer<i32>,
    values: Vec<u8>,
    nulls: Option<NullBuffer>,
}

impl TakenBytes {
    fn of(rows: &mut [&[u8]]) -> Result<Self> {
        let (mut offsets, mut values) = (Vec::with_capacity(rows.len() + 1), Vec::new());
        offsets.push(0);
        let mut nulls = NullBufferBuilder::new(rows.len());
        for row in rows {
            let has_value = take_head(row)?;
            nulls.append(has_value);
            if has_value {
                take_bytes(row, &mut values)?;
            }
            let end = i32::try_from(values.len());
            offsets.push(end.map_err(|_| EngineError::Unsupported("more than 2 GB of one column in a batch".into()))?);
        }
        Ok(Self { offsets: OffsetBuffer::new(offsets.into()), values, nulls: nulls.finish() })
    }
}

fn take_bytes(row: &mut &[u8], values: &mut Vec<u8>) -> Result<()> {
    loop {
        let zero = memchr::memchr(END, row).ok_or_else(damaged)?;
        values.extend_from_slice(&row[..zero]);
        let rest = &row[zero + 1..];
        match rest.split_first() {
            Some((&ESCAPED, rest)) => {
                values.push(END);
                *row = rest;
            }
            _ => {
                *row = rest;
                return Ok(());
            }
        }
    }
}

pub fn damaged() -> EngineError {
    EngineError::State("a stored row cannot be read".into())
}
