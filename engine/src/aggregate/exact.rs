//! Sums of floating point numbers without any rounding until a result is asked for.
//!
//! Adding doubles in another order gives another rounding, so plain sums would let parallelism and batch size change
//! answers. Here a sum is kept as several doubles whose mathematical sum is exactly that of the inputs (error-free
//! transformations, as in Shewchuk's expansions); only [`Wide`] rounds, once, at the end. Ordinary data needs two
//! doubles per sum (three for sums of products) and a dozen additions per row, about 5 ns more than a plain sum; what
//! does not fit goes to a side table of tails.

use std::sync::Arc;

use super::factory::state_field;
use super::wide::Wide;
use crate::{EngineError, Result};
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use hashbrown::HashMap;

/// 2^960. Below it, as many rows as a counter can hold add up without overflow; above it, and for infinities and NaN,
/// a value goes to the tail.
const ORDINARY_MAX: f64 = f64::from_bits((960 + 1023) << 52);
/// Tails keep huge values times 2^-200, so that they too add up without overflow.
const HUGE_SHIFT: i32 = 200;
const HUGE_SCALE: f64 = f64::from_bits((1023 - HUGE_SHIFT as u64) << 52);

/// `N` exact sums of `P` doubles each, and a count of rows per slot.
pub(super) struct ExactSums<const N: usize, const P: usize> {
    cells: Vec<Cell<N, P>>,
    /// By slot and lane; most slots have none.
    tails: HashMap<(u32, u8), Tail>,
    /// Heap memory of the tails, without the table itself.
    tail_bytes: usize,
}

#[derive(Clone, Copy)]
struct Cell<const N: usize, const P: usize> {
    count: i64,
    /// Per lane some doubles, large ones first; not normalised: only their exact sum has a meaning.
    parts: [[f64; P]; N],
}

/// What those doubles cannot hold: more parts of the sum, huge values, and how many values were not finite.
#[derive(Debug, Clone, Default)]
struct Tail {
    parts: Vec<f64>,
    huge: Vec<f64>,
    nan: i64,
    infinite: i64,
    negative_infinite: i64,
}

/// The exact sum of `a + b` as its rounded value and the error of rounding (Knuth's two-sum).
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

impl<const N: usize, const P: usize> Cell<N, P> {
    const EMPTY: Self = Self { count: 0, parts: [[0.0; P]; N] };
}

impl<const N: usize, const P: usize> ExactSums<N, P> {
    pub(super) fn new() -> Self {
        assert!(N <= usize::from(u8::MAX));
        Self { cells: Vec::new(), tails: HashMap::new(), tail_bytes: 0 }
    }

    pub(super) fn resize(&mut self, slots: usize) {
        self.cells.resize(slots, Cell::EMPTY);
    }

    /// Counts one row in (1) or out (-1).
    #[inline(always)]
    pub(super) fn count_row(&mut self, slot: usize, delta: i64) {
        self.cells[slot].count += delta;
    }

    /// Adds a value to one lane and leaves the count alone.
    #[inline(always)]
    pub(super) fn add(&mut self, slot: usize, lane: usize, value: f64) {
        self.add_below(slot, lane, 0, value);
    }

    /// Adds a value that is small beside a lane's sum, which saves touching the first parts.
    #[inline(always)]
    pub(super) fn add_below(&mut self, slot: usize, lane: usize, first_part: usize, value: f64) {
        // Not `value >= ORDINARY_MAX`, so that NaN goes the rare way too.
        if value.abs() < ORDINARY_MAX {
            let mut rest = value;
            for part in &mut self.cells[slot].parts[lane][first_part..] {
                (*part, rest) = two_sum(*part, rest);
            }
            if rest != 0.0 {
                self.add_to_tail(slot, lane, rest, 1);
            }
        } else {
            self.add_to_tail(slot, lane, value, 1);
        }
    }

    /// Takes an added value out again; unlike adding the negative, this undoes infinities and NaN too.
    #[inline(always)]
    pub(super) fn subtract(&mut self, slot: usize, lane: usize, value: f64) {
        if value.is_finite() {
            self.add(slot, lane, -value);
        } else {
            self.add_to_tail(slot, lane, value, -1);
        }
    }

    #[cold]
    fn add_to_tail(&mut self, slot: usize, lane: usize, value: f64, delta: i64) {
        let tail = self.tails.entry((slot as u32, lane as u8)).or_default();
        let before = tail.heap_bytes();
        tail.add(value, delta);
        self.tail_bytes = self.tail_bytes + tail.heap_bytes() - before;
    }

    pub(super) fn count(&self, slot: u32) -> i64 {
        self.cells[slot as usize].count
    }

    /// The sum of a lane, rounded once.
    pub(super) fn sum(&self, slot: u32, lane: usize) -> f64 {
        let tail = self.tails.get(&(slot, lane as u8));
        match (self.cells[slot as usize].parts[lane].as_slice(), tail) {
            // The rounded sum of two doubles is what one addition gives.
            ([high, low], None) => high + low,
            _ => tail.and_then(Tail::special).unwrap_or_else(|| {
                let mut wide = Wide::new();
                self.parts(slot, lane).for_each(|(part, shift)| wide.add(part, 1, shift));
                wide.round()
            }),
        }
    }

    /// `count * sum(product) - sum(left) * sum(right)`, exact until it is rounded once: with the products of two
    /// columns in lane `product`, their covariance times the count squared. NaN where a value was not finite.
    pub(super) fn central_moment(&self, slot: u32, product: usize, left: usize, right: usize) -> f64 {
        if [product, left, right].into_iter().any(|lane| self.special(slot, lane).is_some()) {
            return f64::NAN;
        }
        let mut wide = Wide::new();
        self.parts(slot, product).for_each(|(part, shift)| wide.add(part, self.count(slot), shift));
        for (a, a_shift) in self.parts(slot, left) {
            self.parts(slot, right).for_each(|(b, b_shift)| wide.subtract_product(a, b, a_shift + b_shift));
        }
        wide.round()
    }

    fn special(&self, slot: u32, lane: usize) -> Option<f64> {
        self.tails.get(&(slot, lane as u8)).and_then(Tail::special)
    }

    /// The doubles that make up a sum, each with the power of two to multiply it by.
    fn parts(&self, slot: u32, lane: usize) -> impl Iterator<Item = (f64, i32)> {
        let own = self.cells[slot as usize].parts[lane].into_iter().map(|part| (part, 0));
        let tail = self.tails.get(&(slot, lane as u8));
        let parts = tail.into_iter().flat_map(|tail| tail.parts.iter().map(|part| (*part, 0)));
        let huge = tail.into_iter().flat_map(|tail| tail.huge.iter().map(|part| (*part, HUGE_SHIFT)));
        own.chain(parts).chain(huge)
    }

    pub(super) fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            self.cells[*slot as usize] = Cell::EMPTY;
            if self.tails.is_empty() {
                continue;
            }
            for lane in 0..N {
                if let Some(tail) = self.tails.remove(&(*slot, lane as u8)) {
                    self.tail_bytes -= tail.heap_bytes();
                }
            }
        }
        if self.tails.is_empty() {
            self.tails = HashMap::new();
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.cells.capacity() * size_of::<Cell<N, P>>() + self.tails.allocation_size() + self.tail_bytes
    }
}

/// The state columns: count, the doubles of every lane, and the tails of all lanes as bytes (usually NULL).
impl<const N: usize, const P: usize> ExactSums<N, P> {
    pub(super) fn state_fields() -> Vec<Field> {
        let name = |index| format!("sum{}_{}", index / P, index % P);
        let lanes = (0..N * P).map(|index| state_field(&name(index), DataType::Float64));
        std::iter::once(state_field("count", DataType::Int64))
            .chain(lanes)
            .chain([state_field("tail", DataType::Binary)])
            .collect()
    }

    pub(super) fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let cells = || slots.iter().map(|slot| &self.cells[*slot as usize]);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(N * P + 2);
        columns.push(Arc::new(Int64Array::from_iter_values(cells().map(|cell| cell.count))));
        for index in 0..N * P {
            let parts = cells().map(|cell| cell.parts[index / P][index % P]);
            columns.push(Arc::new(Float64Array::from_iter_values(parts)));
        }
        columns.push(self.tail_column(slots));
        columns
    }

    fn tail_column(&self, slots: &[u32]) -> ArrayRef {
        if self.tails.is_empty() {
            return arrow::array::new_null_array(&DataType::Binary, slots.len());
        }
        let mut column = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for slot in slots {
            bytes.clear();
            for lane in 0..N as u8 {
                if let Some(tail) = self.tails.get(&(*slot, lane)) {
                    tail.write(lane, &mut bytes);
                }
            }
            column.append_option((!bytes.is_empty()).then_some(bytes.as_slice()));
        }
        Arc::new(column.finish())
    }

    pub(super) fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        let counts = state[0].as_primitive::<Int64Type>().values();
        slots.iter().zip(counts).for_each(|(slot, count)| self.cells[*slot as usize].count += count);
        for (index, column) in state[1..=N * P].iter().enumerate() {
            let values = column.as_primitive::<Float64Type>().values();
            slots.iter().zip(values).for_each(|(slot, value)| self.add(*slot as usize, index / P, *value));
        }
        let tails = state[1 + N * P].as_binary::<i32>();
        if tails.null_count() == tails.len() {
            return Ok(());
        }
        slots
            .iter()
            .zip(tails)
            .filter_map(|(slot, bytes)| Some((*slot, bytes?)))
            .try_for_each(|(slot, bytes)| self.merge_tails(slot, bytes))
    }

    fn merge_tails(&mut self, slot: u32, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (lane, tail) = Tail::read(&mut bytes).ok_or_else(damaged_tail)?;
            let lane = usize::from(lane);
            tail.parts.iter().for_each(|part| self.add(slot as usize, lane, *part));
            if tail.huge.is_empty() && tail.special_counts() == [0; 3] {
                continue;
            }
            // Makes sure that the tail exists: adding nothing changes nothing.
            self.add_to_tail(slot as usize, lane, 0.0, 1);
            if let Some(own) = self.tails.get_mut(&(slot, lane as u8)) {
                let before = own.heap_bytes();
                own.merge_rare(&tail);
                self.tail_bytes = self.tail_bytes + own.heap_bytes() - before;
            }
        }
        Ok(())
    }
}

fn damaged_tail() -> EngineError {
    EngineError::Internal { place: "floating point sum".into(), reason: "the state's tail cannot be read".into() }
}

impl Tail {
    fn add(&mut self, value: f64, delta: i64) {
        if value.is_nan() {
            self.nan += delta;
        } else if value == f64::INFINITY {
            self.infinite += delta;
        } else if value == f64::NEG_INFINITY {
            self.negative_infinite += delta;
        } else if value.abs() < ORDINARY_MAX {
            grow(&mut self.parts, value);
        } else {
            grow(&mut self.huge, value * HUGE_SCALE);
        }
    }

    /// The sum where a value was not finite.
    fn special(&self) -> Option<f64> {
        match (self.nan > 0, self.infinite > 0, self.negative_infinite > 0) {
            (false, false, false) => None,
            (false, true, false) => Some(f64::INFINITY),
            (false, false, true) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    fn special_counts(&self) -> [i64; 3] {
        [self.nan, self.infinite, self.negative_infinite]
    }

    /// Merges all but the ordinary parts, which the caller adds first.
    fn merge_rare(&mut self, other: &Tail) {
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.negative_infinite += other.negative_infinite;
        other.huge.iter().for_each(|part| grow(&mut self.huge, *part));
    }

    fn heap_bytes(&self) -> usize {
        (self.parts.capacity() + self.huge.capacity()) * size_of::<f64>()
    }

    fn write(&self, lane: u8, out: &mut Vec<u8>) {
        out.push(lane);
        self.special_counts().iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
        for parts in [&self.parts, &self.huge] {
            out.extend_from_slice(&(parts.len() as u32).to_le_bytes());
            parts.iter().for_each(|part| out.extend_from_slice(&part.to_le_bytes()));
        }
    }

    fn read(bytes: &mut &[u8]) -> Option<(u8, Tail)> {
        let (lane, rest) = bytes.split_first()?;
        *bytes = rest;
        let mut count = || take(bytes).map(i64::from_le_bytes);
        let (nan, infinite, negative_infinite) = (count()?, count()?, count()?);
        let (parts, huge) = (read_parts(bytes)?, read_parts(bytes)?);
        Some((*lane, Tail { parts, huge, nan, infinite, negative_infinite }))
    }
}

fn take<const LENGTH: usize>(bytes: &mut &[u8]) -> Option<[u8; LENGTH]> {
    let (head, rest) = bytes.split_first_chunk::<LENGTH>()?;
    *bytes = rest;
    Some(*head)
}

fn read_parts(bytes: &mut &[u8]) -> Option<Vec<f64>> {
    let count = u32::from_le_bytes(take(bytes)?);
    (0..count).map(|_| take(bytes).map(f64::from_le_bytes)).collect()
}

/// Adds a double to a list of doubles that do not overlap; the list stays short (a double has 2,100 bits of range,
/// so at most about 40 parts) and its sum stays exact.
fn grow(parts: &mut Vec<f64>, value: f64) {
    let mut carry = value;
    let mut kept = 0;
    for index in 0..parts.len() {
        let (sum, error) = two_sum(carry, parts[index]);
        if error != 0.0 {
            parts[kept] = error;
            kept += 1;
        }
        carry = sum;
    }
    parts.truncate(kept);
    if carry != 0.0 {
        parts.push(carry);
    }
}

#[cfg(test)]
mod tests {
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn sum_of(values: &[f64]) -> f64 {
        let mut sums = ExactSums::<1, 2>::new();
        sums.resize(1);
        values.iter().for_each(|value| sums.add(0, 0, *value));
        sums.sum(0, 0)
    }

    #[test]
    fn sums_are_exact() {
        assert_eq!(sum_of(&[0.1; 10]), 1.0);
        assert_eq!(sum_of(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum_of(&[1e308, 1e308, -1e308]), 1e308);
        assert_eq!(sum_of(&[1e308, 1e308]), f64::INFINITY);
        assert_eq!(sum_of(&[f64::MAX, 1e-300, -f64::MAX]), 1e-300);
        assert_eq!(sum_of(&[5e-324, 1e300, 5e-324, -1e300]), 1e-323);
        assert_eq!(sum_of(&[1e16, 1.0, 1e-16]), 1e16 + 2.0, "a tie is broken by what lies below it");
        assert_eq!(sum_of(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(sum_of(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert!(sum_of(&[f64::NAN, 1.0]).is_nan());
    }

    #[test]
    fn order_and_grouping_never_change_a_sum() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for round in 0..200 {
            let scale: f64 = if round % 2 == 0 { 20.0 } else { 320.0 };
            let random = |rng: &mut ChaCha8Rng| {
                let magnitude = 10f64.powf(rng.random_range(-scale..scale.min(308.0)));
                magnitude * rng.random_range(-1.0..1.0)
            };
            let mut values: Vec<f64> = (0..rng.random_range(1..60)).map(|_| random(&mut rng)).collect();
            let expected = sum_of(&values);
            values.shuffle(&mut rng);
            assert_eq!(sum_of(&values).to_bits(), expected.to_bits(), "round {round}");
            assert_eq!(merged(&values, &mut rng).to_bits(), expected.to_bits(), "merged, round {round}");
        }
    }

    /// The sum over random partials that are merged into one slot.
    fn merged(values: &[f64], rng: &mut ChaCha8Rng) -> f64 {
        let mut partials = ExactSums::<1, 2>::new();
        partials.resize(4);
        for value in values {
            let slot = rng.random_range(0..4);
            partials.count_row(slot, 1);
            partials.add(slot, 0, *value);
        }
        let mut total = ExactSums::<1, 2>::new();
        total.resize(1);
        total.merge(&[0; 4], &partials.state(&[2, 0, 3, 1])).unwrap();
        assert_eq!(total.count(0), values.len() as i64);
        total.sum(0, 0)
    }

    #[test]
    fn what_is_subtracted_leaves_no_trace() {
        let mut sums = ExactSums::<1, 2>::new();
        sums.resize(1);
        for value in [0.25, f64::NAN, 1e300, f64::INFINITY, 1e-300, 1.7e308] {
            sums.add(0, 0, value);
        }
        for value in [f64::INFINITY, 1e300, 1.7e308, f64::NAN, 1e-300] {
            sums.subtract(0, 0, value);
        }
        assert_eq!(sums.sum(0, 0), 0.25);
        sums.reset(&[0]);
        assert_eq!(sums.tail_bytes, 0);
    }
}
