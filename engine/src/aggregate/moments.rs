//! Statistics from exact sums of values and products: VAR and STDDEV of one column, COVAR, CORR and REGR of two.
//!
//! All of them come from `n * sum(xy) - sum(x) * sum(y)`, which is computed without rounding, so there is neither
//! cancellation nor dependence on the order of rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::exact::ExactSums;
use super::factory::Factory;
use super::selection::{for_each_row, for_each_value, select};
use super::{Accumulators, AggregateFactory, RunningRows};
use crate::Result;

/// Products have twice the digits of their factors, so their sums need a third double.
type Sums<const N: usize> = ExactSums<N, 3>;

/// A statistic of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    VariancePopulation,
    VarianceSample,
    DeviationPopulation,
    DeviationSample,
}

/// A statistic of pairs; REGR functions take the dependent column first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    CovariancePopulation,
    CovarianceSample,
    Correlation,
    Slope,
    Intercept,
    Count,
    Determination,
    AverageX,
    AverageY,
    SumXX,
    SumYY,
    SumXY,
}

pub(super) fn spread(statistic: Spread) -> Arc<dyn AggregateFactory> {
    Factory::shared(DataType::Float64, Sums::<2>::state_fields(), move || {
        Ok(Box::new(Spreads { sums: Sums::new(), statistic }))
    })
}

pub(super) fn relation(statistic: Relation) -> Arc<dyn AggregateFactory> {
    let output = if statistic == Relation::Count { DataType::Int64 } else { DataType::Float64 };
    Factory::shared(output, Sums::<5>::state_fields(), move || Ok(Box::new(Relations { sums: Sums::new(), statistic })))
}

/// The exact product as its rounded value and the error of rounding, which is nothing where the product overflows.
#[inline(always)]
fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, if product.is_finite() { a.mul_add(b, -product) } else { 0.0 })
}

/// One number column as doubles.
fn doubles(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(column, &DataType::Float64)?)
}

impl<const N: usize> Sums<N> {
    /// Adds the product of two numbers to a lane, or takes it out.
    #[inline(always)]
    fn apply_product(&mut self, direction: Direction, slot: usize, lane: usize, a: f64, b: f64) {
        let (product, error) = two_product(a, b);
        self.apply(direction, slot, lane, product);
        // At most half a unit in the last place of the product: never NaN nor infinite.
        self.add_below(slot, lane, 1, if direction == Direction::Add { error } else { -error });
    }

    #[inline(always)]
    fn apply(&mut self, direction: Direction, slot: usize, lane: usize, value: f64) {
        match direction {
            Direction::Add => self.add(slot, lane, value),
            Direction::TakeBack => self.subtract(slot, lane, value),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Add,
    TakeBack,
}

impl Direction {
    fn delta(self) -> i64 {
        if self == Self::Add { 1 } else { -1 }
    }
}

/// Lane 0 sums x, lane 1 sums x squared.
struct Spreads {
    sums: Sums<2>,
    statistic: Spread,
}

impl Spreads {
    #[inline(always)]
    fn apply_row(&mut self, direction: Direction, slot: usize, x: f64) {
        self.sums.count_row(slot, direction.delta());
        self.sums.apply(direction, slot, 0, x);
        self.sums.apply_product(direction, slot, 1, x, x);
    }

    #[inline(always)]
    fn apply(
        &mut self,
        direction: Direction,
        slots: &[u32],
        args: &[ArrayRef],
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let values = doubles(&args[0])?;
        for_each_value(slots, values.as_primitive::<Float64Type>().values(), &select(args, keep), |slot, x| {
            self.apply_row(direction, slot, x);
        });
        Ok(())
    }

    fn result(&self, slot: u32) -> Option<f64> {
        let sample = matches!(self.statistic, Spread::VarianceSample | Spread::DeviationSample);
        let variance = covariance(&self.sums, slot, [1, 0, 0], sample)?;
        let deviation = matches!(self.statistic, Spread::DeviationPopulation | Spread::DeviationSample);
        Some(if deviation { variance.sqrt() } else { variance })
    }
}

/// The covariance of the columns whose product and sums stand in `lanes`; NULL without enough rows.
fn covariance<const N: usize>(sums: &Sums<N>, slot: u32, lanes: [usize; 3], sample: bool) -> Option<f64> {
    let count = sums.count(slot);
    let divisor = if sample { count - 1 } else { count };
    if divisor <= 0 {
        return None;
    }
    Some(central(sums, slot, lanes) / count as f64 / divisor as f64)
}

fn central<const N: usize>(sums: &Sums<N>, slot: u32, [product, left, right]: [usize; 3]) -> f64 {
    sums.central_moment(slot, product, left, right)
}

/// Lanes: the sums of y, x, yy, xx and xy.
struct Relations {
    sums: Sums<5>,
    statistic: Relation,
}

const LANE_Y: usize = 0;
const LANE_X: usize = 1;
const YY: [usize; 3] = [2, LANE_Y, LANE_Y];
const XX: [usize; 3] = [3, LANE_X, LANE_X];
const XY: [usize; 3] = [4, LANE_Y, LANE_X];

impl Relations {
    #[inline(always)]
    fn apply_row(&mut self, direction: Direction, slot: usize, y: f64, x: f64) {
        self.sums.count_row(slot, direction.delta());
        self.sums.apply(direction, slot, LANE_Y, y);
        self.sums.apply(direction, slot, LANE_X, x);
        self.sums.apply_product(direction, slot, YY[0], y, y);
        self.sums.apply_product(direction, slot, XX[0], x, x);
        self.sums.apply_product(direction, slot, XY[0], y, x);
    }

    fn apply(
        &mut self,
        direction: Direction,
        slots: &[u32],
        args: &[ArrayRef],
        keep: Option<&BooleanArray>,
    ) -> Result<()> {
        let (ys, xs) = (doubles(&args[0])?, doubles(&args[1])?);
        let (ys, xs) = (ys.as_primitive::<Float64Type>().values(), xs.as_primitive::<Float64Type>().values());
        for_each_row(slots, &select(args, keep), |slot, row| {
            self.apply_row(direction, slot, ys[row], xs[row]);
        });
        Ok(())
    }

    fn result(&self, slot: u32) -> Option<f64> {
        let count = Some(self.sums.count(slot) as f64).filter(|count| *count > 0.0)?;
        let mean = |lane| self.sums.sum(slot, lane) / count;
        let central = |lanes| central(&self.sums, slot, lanes);
        match self.statistic {
            Relation::CovariancePopulation => covariance(&self.sums, slot, XY, false),
            Relation::CovarianceSample => covariance(&self.sums, slot, XY, true),
            Relation::Correlation => ratio(central(XY), geometric_mean(central(XX), central(YY))),
            Relation::Slope => ratio(central(XY), central(XX)),
            Relation::Intercept => {
                ratio(central(XY), central(XX)).map(|slope| slope.mul_add(-mean(LANE_X), mean(LANE_Y)))
            }
            Relation::Determination if central(YY) == 0.0 => ratio(1.0, central(XX)).map(|_| 1.0),
            Relation::Determination => ratio(central(XY), central(XX)).map(|slope| slope * (central(XY) / central(YY))),
            Relation::AverageX => Some(mean(LANE_X)),
            Relation::AverageY => Some(mean(LANE_Y)),
            Relation::SumXX => Some(central(XX) / count),
            Relation::SumYY => Some(central(YY) / count),
            Relation::SumXY => Some(central(XY) / count),
            Relation::Count => None,
        }
    }
}

/// The root of a product. One rounding less than the product of the roots, unless the product leaves the range.
fn geometric_mean(one: f64, other: f64) -> f64 {
    let product = one * other;
    if product.is_normal() { product.sqrt() } else { one.sqrt() * other.sqrt() }
}

/// A quotient, NULL where the divisor is zero.
fn ratio(dividend: f64, divisor: f64) -> Option<f64> {
    (divisor != 0.0).then(|| dividend / divisor)
}

impl Accumulators for Spreads {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.apply(Direction::Add, slots, args, keep)
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let values = doubles(&input.args[0])?;
        let (values, selection) = (values.as_primitive::<Float64Type>().values(), select(input.args, input.keep));
        let running = input.stretches(&selection).map(|(slot, rows)| {
            rows.for_each(|row| self.apply_row(Direction::Add, slot, values[row]));
            self.result(slot as u32)
        });
        Ok(Arc::new(running.collect::<Float64Array>()))
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.apply(Direction::TakeBack, slots, args, keep)
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.sums.merge(slots, state)
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(self.sums.state(slots))
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(slots.iter().map(|slot| self.result(*slot)).collect::<Float64Array>()))
    }

    fn reset(&mut self, slots: &[u32]) {
        self.sums.reset(slots);
    }

    fn size_bytes(&self) -> usize {
        self.sums.size_bytes()
    }
}

impl Accumulators for Relations {
    fn resize(&mut self, slots: usize) {
        self.sums.resize(slots);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.apply(Direction::Add, slots, args, keep)
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let (ys, xs) = (doubles(&input.args[0])?, doubles(&input.args[1])?);
        let (ys, xs) = (ys.as_primitive::<Float64Type>().values(), xs.as_primitive::<Float64Type>().values());
        let selection = select(input.args, input.keep);
        let (mut counts, mut results) = (Vec::new(), Vec::new());
        for (slot, rows) in input.stretches(&selection) {
            rows.for_each(|row| self.apply_row(Direction::Add, slot, ys[row], xs[row]));
            match self.statistic {
                Relation::Count => counts.push(self.sums.count(slot as u32)),
                _ => results.push(self.result(slot as u32)),
            }
        }
        Ok(match self.statistic {
            Relation::Count => Arc::new(Int64Array::from(counts)),
            _ => Arc::new(Float64Array::from(results)),
        })
    }

    fn retract(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        self.apply(Direction::TakeBack, slots, args, keep)
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.sums.merge(slots, state)
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(self.sums.state(slots))
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        if self.statistic == Relation::Count {
            return Ok(Arc::new(Int64Array::from_iter_values(slots.iter().map(|slot| self.sums.count(*slot)))));
        }
        Ok(Arc::new(slots.iter().map(|slot| self.result(*slot)).collect::<Float64Array>()))
    }

    fn reset(&mut self, slots: &[u32]) {
        self.sums.reset(slots);
    }

    fn size_bytes(&self) -> usize {
        self.sums.size_bytes()
    }
}
