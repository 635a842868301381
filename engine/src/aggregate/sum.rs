//! SUM and AVG of integers and decimals: exact totals, checked, one cell per slot.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, Int64Array, PrimitiveArray,
};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type, i256, is_validate_decimal_precision,
};

use super::factory::{Factory, state_field};
use super::selection::{for_each_value, select};
use super::{Accumulators, AggregateFactory, RunningRows};
use crate::{EngineError, Result};

/// AVG of a decimal has at least this many digits after the point, as in Flink.
const AVG_SCALE_MIN: i8 = 6;

/// A number type whose totals are exact in a wider integer.
trait Summand: ArrowPrimitiveType {
    /// i64 where no realistic number of rows overflows it; i128 else, so that an overflow is only seen in results
    /// and does not depend on the order of rows.
    type Total: Total;

    fn widen(value: Self::Native) -> Self::Total;
}

trait Total: ArrowNativeTypeOp + Default + Send + 'static {
    type State: ArrowPrimitiveType<Native = Self>;

    /// The sum, and whether it wrapped around.
    fn add(self, other: Self) -> (Self, bool);
    fn subtract(self, other: Self) -> (Self, bool);
    fn wide(self) -> i128;
}

macro_rules! total {
    ($native:ty, $state:ty) => {
        impl Total for $native {
            type State = $state;

            #[inline(always)]
            fn add(self, other: Self) -> (Self, bool) {
                self.overflowing_add(other)
            }

            #[inline(always)]
            fn subtract(self, other: Self) -> (Self, bool) {
                self.overflowing_sub(other)
            }

            fn wide(self) -> i128 {
                self.into()
            }
        }
    };
}
total!(i64, Int64Type);
total!(i128, Decimal128Type);

macro_rules! summand {
    ($($arrow:ty => $total:ty),+) => {
        $(impl Summand for $arrow {
            type Total = $total;

            #[inline(always)]
            fn widen(value: Self::Native) -> $total {
                value.into()
            }
        })+
    };
}
summand!(Int8Type => i64, Int16Type => i64, Int32Type => i64, Int64Type => i128, Decimal128Type => i128);
// SQL has no unsigned types, but some functions return them.
summand!(UInt8Type => i64, UInt16Type => i64, UInt32Type => i64, UInt64Type => i128);

/// How a total becomes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Sum,
    Average,
}

/// The factory for an integer or decimal type; `None` for other types.
pub(super) fn factory(argument: &DataType, finish: Finish) -> Option<Arc<dyn AggregateFactory>> {
    Some(match argument {
        DataType::Int8 => make::<Int8Type>(argument, finish),
        DataType::Int16 => make::<Int16Type>(argument, finish),
        DataType::Int32 => make::<Int32Type>(argument, finish),
        DataType::Int64 => make::<Int64Type>(argument, finish),
        DataType::UInt8 => make::<UInt8Type>(argument, finish),
        DataType::UInt16 => make::<UInt16Type>(argument, finish),
        DataType::UInt32 => make::<UInt32Type>(argument, finish),
        DataType::UInt64 => make::<UInt64Type>(argument, finish),
        DataType::Decimal128(..) => make::<Decimal128Type>(argument, finish),
        _ => return None,
    })
}

fn make<T: Summand>(argument: &DataType, finish: Finish) -> Arc<dyn AggregateFactory> {
    let output = output_type(argument, finish);
    let total = match (<T::Total as Total>::State::DATA_TYPE, argument) {
        (DataType::Decimal128(..), DataType::Decimal128(_, scale)) => decimal_total(*scale),
        (DataType::Decimal128(..), _) => decimal_total(0),
        (other, _) => other,
    };
    let state = vec![state_field("sum", total.clone()), state_field("count", DataType::Int64)];
    let result = Finisher::new(argument, finish);
    Factory::shared(output, state, move || {
        Ok(Box::new(Sums::<T> { cells: Vec::new(), total: total.clone(), result: result.clone() }))
    })
}

fn decimal_total(scale: i8) -> DataType {
    DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale)
}

/// SUM of integers is BIGINT, AVG of an integer type is that type; decimals have 38 digits.
fn output_type(argument: &DataType, finish: Finish) -> DataType {
    match (argument, finish) {
        (DataType::Decimal128(_, scale), Finish::Sum) => decimal_total(*scale),
        (DataType::Decimal128(_, scale), Finish::Average) => decimal_total((*scale).max(AVG_SCALE_MIN)),
        (_, Finish::Sum) => DataType::Int64,
        (unsigned, Finish::Average) if unsigned.is_unsigned_integer() => DataType::Int64,
        (integer, Finish::Average) => integer.clone(),
    }
}

/// Turns totals and counts into a result column.
#[derive(Debug, Clone)]
struct Finisher {
    finish: Finish,
    output: DataType,
    /// What an average is multiplied by to get the digits of its result.
    factor: i256,
}

impl Finisher {
    fn new(argument: &DataType, finish: Finish) -> Self {
        let output = output_type(argument, finish);
        let digits = match (argument, &output) {
            (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => (to - from) as u32,
            _ => 0,
        };
        Self { finish, output, factor: i256::from_i128(10i128.pow(digits)) }
    }

    fn column<S: Total>(&self, cells: impl Iterator<Item = Cell<S>>) -> Result<ArrayRef> {
        let results = cells.map(|cell| match cell.count {
            0 => Ok(None),
            count => self.result(cell.sum.wide(), count).map(Some),
        });
        match &self.output {
            DataType::Int8 => narrow::<Int8Type>(results),
            DataType::Int16 => narrow::<Int16Type>(results),
            DataType::Int32 => narrow::<Int32Type>(results),
            DataType::Int64 => narrow::<Int64Type>(results),
            decimal => {
                let column: PrimitiveArray<Decimal128Type> = results.collect::<Result<_>>()?;
                Ok(Arc::new(column.with_data_type(decimal.clone())))
            }
        }
    }

    /// The result of one group that has rows.
    fn result(&self, sum: i128, count: i64) -> Result<i128> {
        match (self.finish, &self.output) {
            (Finish::Average, DataType::Decimal128(..)) => fit(rounded_average(sum, count, self.factor)),
            (Finish::Sum, DataType::Decimal128(..)) => fit(i256::from_i128(sum)),
            // Flink truncates toward zero.
            (Finish::Average, _) => Ok(sum / i128::from(count)),
            (Finish::Sum, _) => Ok(sum),
        }
    }
}

/// `sum * factor / count`, half away from zero, as Flink divides decimals.
fn rounded_average(sum: i128, count: i64, factor: i256) -> i256 {
    let (scaled, count) = (i256::from_i128(sum).wrapping_mul(factor), i256::from_i128(count.into()));
    let (quotient, remainder) = (scaled.wrapping_div(count), scaled.wrapping_rem(count));
    let twice = remainder.wrapping_abs().wrapping_mul(i256::from_i128(2));
    match (twice >= count, scaled.is_negative()) {
        (false, _) => quotient,
        (true, false) => quotient.wrapping_add(i256::ONE),
        (true, true) => quotient.wrapping_sub(i256::ONE),
    }
}

fn narrow<T: ArrowPrimitiveType>(results: impl Iterator<Item = Result<Option<i128>>>) -> Result<ArrayRef>
where
    T::Native: TryFrom<i128>,
{
    let fit = |value: i128| T::Native::try_from(value).map_err(|_| overflow(&format!("{value} is beyond BIGINT")));
    let column: PrimitiveArray<T> = results.map(|result| result?.map(fit).transpose()).collect::<Result<_>>()?;
    Ok(Arc::new(column))
}

fn fit(value: i256) -> Result<i128> {
    let fits = |value: &i128| is_validate_decimal_precision(*value, DECIMAL128_MAX_PRECISION);
    value.to_i128().filter(fits).ok_or_else(|| overflow("the result has more than 38 digits"))
}

fn overflow(what: &str) -> EngineError {
    EngineError::Compute(format!("overflow in SUM or AVG: {what}\n  hint: CAST the argument to DOUBLE or a wider type"))
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell<S> {
    sum: S,
    /// Rows that were not NULL: zero makes the result NULL.
    count: i64,
}

impl<S: Total> Cell<S> {
    /// True where the sum wrapped around.
    #[inline(always)]
    fn add(&mut self, value: S) -> bool {
        let (sum, wrapped) = self.sum.add(value);
        *self = Self { sum, count: self.count + 1 };
        wrapped
    }
}

/// Totals of one input type.
struct Sums<T: Summand> {
    cells: Vec<Cell<T::Total>>,
    /// Type of the state's sum column.
    total: DataType,
    result: Finisher,
}

impl<T: Summand> Sums<T> {
    fn cells(&self, slots: &[u32]) -> impl Iterator<Item = Cell<T::Total>> {
        slots.iter().map(|slot| self.cells[*slot as usize])
    }

    /// An overflow is only noted inside the loop, so that the loop has no early exit.
    fn check(wrapped: bool) -> Result<()> {
        if wrapped { Err(overflow("a group's total is too large")) } else { Ok(()) }
    }
}

impl<T: Summand> Accumulators for Sums<T> {
    fn resize(&mut self, slots: usize) {
        self.cells.resize(slots, Cell::default());
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let values = args[0].as_primitive::<T>().values();
        let cells = self.cells.as_mut_slice();
        let mut any_wrapped = false;
        for_each_value(slots, values, &select(args, keep), |slot, value| {
            any_wrapped |= cells[slot].add(T::widen(value));
        });
        Self::check(any_wrapped)
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let values = input.args[0].as_primitive::<T>().values();
        let (selection, mut any_wrapped) = (select(input.args, input.keep), false);
        let mut running = Vec::with_capacity(input.ends.len());
        for (slot, rows) in input.stretches(&selection) {
            let cell = &mut self.cells[slot];
            rows.for_each(|row| any_wrapped |= cell.add(T::widen(values[row])));
            running.push(*cell);
        }
        Self::check(any_wrapped)?;
        self.result.column(running.into_iter())
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let values = args[0].as_primitive::<T>().values();
        let cells = self.cells.as_mut_slice();
        let mut any_wrapped = false;
        for_each_value(slots, values, &select(args, keep), |slot, value| {
            let cell = &mut cells[slot];
            let (sum, wrapped) = cell.sum.subtract(T::widen(value));
            *cell = Cell { sum, count: cell.count - 1 };
            any_wrapped |= wrapped;
        });
        Self::check(any_wrapped)
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        let sums = state[0].as_primitive::<<T::Total as Total>::State>().values();
        let counts = state[1].as_primitive::<Int64Type>().values();
        let mut any_wrapped = false;
        for ((slot, partial), count) in slots.iter().zip(sums.iter()).zip(counts.iter()) {
            let cell = &mut self.cells[*slot as usize];
            let (sum, wrapped) = cell.sum.add(*partial);
            *cell = Cell { sum, count: cell.count + count };
            any_wrapped |= wrapped;
        }
        Self::check(any_wrapped)
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = self.cells(slots).map(|cell| cell.sum);
        let sums = PrimitiveArray::<<T::Total as Total>::State>::from_iter_values(sums);
        let counts = Int64Array::from_iter_values(self.cells(slots).map(|cell| cell.count));
        Ok(vec![Arc::new(sums.with_data_type(self.total.clone())), Arc::new(counts)])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.result.column(self.cells(slots))
    }

    fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.cells[*slot as usize] = Cell::default());
    }

    fn size_bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Cell<T::Total>>()
    }
}
