//! PERCENTILE and MEDIAN (exact), APPROX_PERCENTILE_CONT (exact while a group is small, then within 0.1 %).
//!
//! The approximation is a histogram over the leading bits of the doubles themselves: 512 buckets for every power of
//! two. Unlike a t-digest it depends only on the values, not on their order, batches or merges.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::factory::{Factory, state_field};
use super::selection::{for_each_value, select};
use super::{Accumulators, AggregateFactory, RunningRows};
use crate::{EngineError, Result};

/// An approximate percentile keeps this many values as they are before it makes a histogram.
const EXACT_MAX: usize = 1024;
/// Bits of a double that a bucket drops: 43 of 52 fraction bits, so that a bucket is 1/512 of its power of two wide.
const BUCKET_SHIFT: u32 = 43;
/// Memory of a histogram entry in a B-tree, about: key, count and their share of nodes.
const ENTRY_BYTES: usize = 24;

/// First byte of a state.
const STATE_VALUES: u8 = 0;
const STATE_HISTOGRAM: u8 = 1;

/// The `fraction` (0 to 1) percentile as DOUBLE, interpolated between neighbours.
pub(super) fn factory(fraction: f64, approximate: bool) -> Arc<dyn AggregateFactory> {
    let exact_max = if approximate { EXACT_MAX } else { usize::MAX };
    Factory::shared(DataType::Float64, vec![state_field("values", DataType::Binary)], move || {
        Ok(Box::new(Quantiles { samples: Vec::new(), heap_bytes: 0, fraction, exact_max }))
    })
}

/// The values of one group.
enum Sample {
    Values(Vec<f64>),
    Histogram(Box<Histogram>),
}

struct Histogram {
    buckets: BTreeMap<i32, u64>,
    min: f64,
    max: f64,
}

impl Default for Sample {
    fn default() -> Self {
        Self::Values(Vec::new())
    }
}

/// Doubles as integers in the same (total) order.
fn order_key(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

impl Histogram {
    fn new() -> Self {
        Self { buckets: BTreeMap::new(), min: f64::INFINITY, max: f64::NEG_INFINITY }
    }

    fn add(&mut self, value: f64) {
        *self.buckets.entry((order_key(value) >> BUCKET_SHIFT) as i32).or_default() += 1;
        self.widen(value, value);
    }

    fn widen(&mut self, min: f64, max: f64) {
        self.min = if min.total_cmp(&self.min).is_lt() { min } else { self.min };
        self.max = if max.total_cmp(&self.max).is_gt() { max } else { self.max };
    }

    /// The value of a rank, as the middle of its bucket.
    fn value(&self, rank: u64) -> f64 {
        let mut before = 0;
        for (bucket, count) in &self.buckets {
            before += count;
            if rank < before {
                return self.clamp(middle(*bucket));
            }
        }
        self.max
    }

    fn clamp(&self, value: f64) -> f64 {
        if value.total_cmp(&self.min).is_lt() {
            self.min
        } else if value.total_cmp(&self.max).is_gt() {
            self.max
        } else {
            value
        }
    }
}

fn middle(bucket: i32) -> f64 {
    let key = (i64::from(bucket) << BUCKET_SHIFT) | 1 << (BUCKET_SHIFT - 1);
    f64::from_bits((key ^ ((key >> 63) as u64 >> 1) as i64) as u64)
}

impl Sample {
    #[inline]
    fn add(&mut self, value: f64, exact_max: usize) {
        // One NaN and one zero, so that results do not depend on which of them came.
        let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
        match self {
            Self::Values(values) if values.len() < exact_max => values.push(value),
            _ => self.make_histogram().add(value),
        }
    }

    fn make_histogram(&mut self) -> &mut Histogram {
        if let Self::Values(values) = self {
            let mut histogram = Box::new(Histogram::new());
            values.iter().for_each(|value| histogram.add(*value));
            *self = Self::Histogram(histogram);
        }
        match self {
            Self::Histogram(histogram) => histogram,
            Self::Values(_) => unreachable!("was just converted"),
        }
    }

    fn quantile(&self, fraction: f64) -> Option<f64> {
        match self {
            Self::Values(values) if values.is_empty() => None,
            Self::Values(values) => Some(exact_quantile(values.clone(), fraction)),
            Self::Histogram(histogram) => {
                let count: u64 = histogram.buckets.values().sum();
                let (rank, between) = position(count, fraction);
                Some(interpolate(histogram.value(rank), || histogram.value(rank + 1), between))
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Values(values) => values.capacity() * size_of::<f64>(),
            Self::Histogram(histogram) => size_of::<Histogram>() + histogram.buckets.len() * ENTRY_BYTES,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Values(values) => {
                out.push(STATE_VALUES);
                values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
            }
            Self::Histogram(histogram) => {
                out.push(STATE_HISTOGRAM);
                out.extend_from_slice(&histogram.min.to_le_bytes());
                out.extend_from_slice(&histogram.max.to_le_bytes());
                for (bucket, count) in &histogram.buckets {
                    out.extend_from_slice(&bucket.to_le_bytes());
                    out.extend_from_slice(&count.to_le_bytes());
                }
            }
        }
    }

    /// `None` where the state is damaged.
    fn merge(&mut self, state: &[u8], exact_max: usize) -> Option<()> {
        let (kind, body) = state.split_first()?;
        match *kind {
            STATE_VALUES => {
                let (values, rest) = body.as_chunks::<8>();
                values.iter().for_each(|value| self.add(f64::from_le_bytes(*value), exact_max));
                rest.is_empty().then_some(())
            }
            STATE_HISTOGRAM => self.make_histogram().merge(body),
            _ => None,
        }
    }
}

impl Histogram {
    fn merge(&mut self, body: &[u8]) -> Option<()> {
        let (min, body) = body.split_first_chunk()?;
        let (max, body) = body.split_first_chunk()?;
        self.widen(f64::from_le_bytes(*min), f64::from_le_bytes(*max));
        let (entries, rest) = body.as_chunks::<12>();
        for entry in entries {
            let (bucket, count) = entry.split_first_chunk()?;
            let count = u64::from_le_bytes(*count.first_chunk()?);
            *self.buckets.entry(i32::from_le_bytes(*bucket)).or_default() += count;
        }
        rest.is_empty().then_some(())
    }
}

/// Where a fraction falls among `count` sorted values: a rank, and how far toward the next one.
pub(super) fn position(count: u64, fraction: f64) -> (u64, f64) {
    let place = (count - 1) as f64 * fraction;
    let rank = (place.floor() as u64).min(count - 1);
    (rank, place - rank as f64)
}

fn exact_quantile(mut values: Vec<f64>, fraction: f64) -> f64 {
    let (rank, between) = position(values.len() as u64, fraction);
    let (_, lower, above) = values.select_nth_unstable_by(rank as usize, f64::total_cmp);
    let next = || above.iter().copied().min_by(f64::total_cmp).unwrap_or(f64::NAN);
    interpolate(*lower, next, between)
}

pub(super) fn interpolate(lower: f64, upper: impl FnOnce() -> f64, between: f64) -> f64 {
    if between <= 0.0 {
        return lower;
    }
    let upper = upper();
    if lower == upper { lower } else { lower + (upper - lower) * between }
}

struct Quantiles {
    samples: Vec<Sample>,
    heap_bytes: usize,
    fraction: f64,
    exact_max: usize,
}

impl Quantiles {
    #[inline]
    fn change<R>(&mut self, slot: usize, change: impl FnOnce(&mut Sample, usize) -> R) -> R {
        let sample = &mut self.samples[slot];
        let before = sample.heap_bytes();
        let result = change(sample, self.exact_max);
        self.heap_bytes = self.heap_bytes + sample.heap_bytes() - before;
        result
    }
}

impl Accumulators for Quantiles {
    fn resize(&mut self, slots: usize) {
        self.samples.resize_with(slots, Sample::default);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let values = cast(&args[0], &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>().values();
        for_each_value(slots, values, &select(&args[..1], keep), |slot, value| {
            self.change(slot, |sample, exact_max| sample.add(value, exact_max));
        });
        Ok(())
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let values = cast(&input.args[0], &DataType::Float64)?;
        let (values, selection) = (values.as_primitive::<Float64Type>().values(), select(&input.args[..1], input.keep));
        let running = input.stretches(&selection).map(|(slot, rows)| {
            rows.for_each(|row| self.change(slot, |sample, exact_max| sample.add(values[row], exact_max)));
            self.samples[slot].quantile(self.fraction)
        });
        Ok(Arc::new(running.collect::<Float64Array>()))
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        for (slot, bytes) in slots.iter().zip(state[0].as_binary::<i32>()) {
            let bytes = bytes.unwrap_or(&[STATE_VALUES]);
            let merged = self.change(*slot as usize, |sample, exact_max| sample.merge(bytes, exact_max));
            merged.ok_or_else(|| EngineError::Internal {
                place: "percentile".into(),
                reason: "the state cannot be read".into(),
            })?;
        }
        Ok(())
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let (mut column, mut bytes) = (BinaryBuilder::new(), Vec::new());
        for slot in slots {
            bytes.clear();
            self.samples[*slot as usize].write(&mut bytes);
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let quantiles = slots.iter().map(|slot| self.samples[*slot as usize].quantile(self.fraction));
        Ok(Arc::new(quantiles.collect::<Float64Array>()))
    }

    fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.change(*slot as usize, |sample, _| *sample = Sample::default()));
    }

    fn size_bytes(&self) -> usize {
        self.samples.capacity() * size_of::<Sample>() + self.heap_bytes
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_histogram_is_within_a_thousandth() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let values: Vec<f64> = (0..20_000).map(|_| rng.random_range(-1e3..1e6)).collect();
        let mut sample = Sample::default();
        values.iter().for_each(|value| sample.add(*value, EXACT_MAX));
        assert!(matches!(sample, Sample::Histogram(_)));
        for fraction in [0.0, 0.01, 0.25, 0.5, 0.9, 0.999, 1.0] {
            let (found, exact) = (sample.quantile(fraction).unwrap(), exact_quantile(values.clone(), fraction));
            assert!((found - exact).abs() <= exact.abs() * 0.002, "{found} for {exact} at {fraction}");
        }
    }

    #[test]
    fn buckets_keep_the_order_of_doubles() {
        let sorted = [f64::NEG_INFINITY, -1e9, -1.5, -1e-300, 0.0, 1e-300, 0.5, 0.75, 3e200, f64::INFINITY];
        assert!(sorted.windows(2).all(|pair| order_key(pair[0]) < order_key(pair[1])));
        assert!(sorted[1..9].iter().all(|value| {
            let found = middle((order_key(*value) >> BUCKET_SHIFT) as i32);
            (found - value).abs() <= value.abs() / 512.0 || *value == 0.0
        }));
    }
}
