//! The primitive column types that aggregates store as they are, and the dispatch to code generic over them.

use arrow::array::{ArrowNativeTypeOp, ArrowPrimitiveType};
use arrow::datatypes as types;

/// A primitive type with a total order.
pub(super) trait Ordered: ArrowPrimitiveType {
    /// The value that stands for all values that compare equal to it; the same for all types but floats, where every
    /// NaN becomes the positive one, which is greater than any number.
    #[inline(always)]
    fn canonical(value: Self::Native) -> Self::Native {
        value
    }

    #[inline(always)]
    fn less(left: Self::Native, right: Self::Native) -> bool {
        left.is_lt(right)
    }

    /// The value as a word, equal where values are equal; not for types wider than a word.
    fn to_word(value: Self::Native) -> u64;

    fn from_word(word: u64) -> Self::Native;
}

macro_rules! ordered {
    ($($arrow:ident),+ $(,)?) => {
        $(impl Ordered for types::$arrow {
            #[inline(always)]
            fn to_word(value: Self::Native) -> u64 {
                value as u64
            }

            #[inline(always)]
            fn from_word(word: u64) -> Self::Native {
                word as Self::Native
            }
        })+
    };
}
ordered!(
    Int8Type,
    Int16Type,
    Int32Type,
    Int64Type,
    UInt8Type,
    UInt16Type,
    UInt32Type,
    UInt64Type,
    Decimal128Type,
    Date32Type,
    Date64Type,
    Time32SecondType,
    Time32MillisecondType,
    Time64MicrosecondType,
    Time64NanosecondType,
    TimestampSecondType,
    TimestampMillisecondType,
    TimestampMicrosecondType,
    TimestampNanosecondType,
    DurationSecondType,
    DurationMillisecondType,
    DurationMicrosecondType,
    DurationNanosecondType,
    IntervalYearMonthType,
);

impl Ordered for types::Float32Type {
    #[inline(always)]
    fn canonical(value: f32) -> f32 {
        if value.is_nan() { f32::NAN } else { value }
    }

    #[inline(always)]
    fn to_word(value: f32) -> u64 {
        u64::from(Self::canonical(value).to_bits())
    }

    #[inline(always)]
    fn from_word(word: u64) -> f32 {
        f32::from_bits(word as u32)
    }
}

impl Ordered for types::Float64Type {
    #[inline(always)]
    fn canonical(value: f64) -> f64 {
        if value.is_nan() { f64::NAN } else { value }
    }

    #[inline(always)]
    fn to_word(value: f64) -> u64 {
        Self::canonical(value).to_bits()
    }

    #[inline(always)]
    fn from_word(word: u64) -> f64 {
        f64::from_bits(word)
    }
}

/// Runs `$body` with `$T` bound to the Arrow type of an ordered primitive `DataType`, else `$other`.
macro_rules! with_ordered {
    ($data_type:expr, $T:ident => $body:expr, _ => $other:expr) => {{
        macro_rules! run {
            ($arrow:ident) => {{
                type $T = arrow::datatypes::$arrow;
                $body
            }};
        }
        use arrow::datatypes::{DataType as D, IntervalUnit, TimeUnit as U};
        match $data_type {
            D::Int8 => run!(Int8Type),
            D::Int16 => run!(Int16Type),
            D::Int32 => run!(Int32Type),
            D::Int64 => run!(Int64Type),
            D::UInt8 => run!(UInt8Type),
            D::UInt16 => run!(UInt16Type),
            D::UInt32 => run!(UInt32Type),
            D::UInt64 => run!(UInt64Type),
            D::Float32 => run!(Float32Type),
            D::Float64 => run!(Float64Type),
            D::Decimal128(..) => run!(Decimal128Type),
            D::Date32 => run!(Date32Type),
            D::Date64 => run!(Date64Type),
            D::Time32(U::Second) => run!(Time32SecondType),
            D::Time32(U::Millisecond) => run!(Time32MillisecondType),
            D::Time64(U::Microsecond) => run!(Time64MicrosecondType),
            D::Time64(U::Nanosecond) => run!(Time64NanosecondType),
            D::Timestamp(U::Second, _) => run!(TimestampSecondType),
            D::Timestamp(U::Millisecond, _) => run!(TimestampMillisecondType),
            D::Timestamp(U::Microsecond, _) => run!(TimestampMicrosecondType),
            D::Timestamp(U::Nanosecond, _) => run!(TimestampNanosecondType),
            D::Duration(U::Second) => run!(DurationSecondType),
            D::Duration(U::Millisecond) => run!(DurationMillisecondType),
            D::Duration(U::Microsecond) => run!(DurationMicrosecondType),
            D::Duration(U::Nanosecond) => run!(DurationNanosecondType),
            D::Interval(IntervalUnit::YearMonth) => run!(IntervalYearMonthType),
            _ => $other,
        }
    }};
}
pub(super) use with_ordered;
