//! APPROX_COUNT_DISTINCT: HyperLogLog with 2^14 registers (standard error 0.8 %), exact while a group is small.
//!
//! A sketch is a function of the set of values alone: neither order, batches nor merges change the estimate.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int64Array};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use xxhash_rust::xxh3::xxh3_64;

use super::factory::{Factory, state_field};
use super::selection::{for_each_row, select};
use super::{Accumulators, AggregateFactory, RunningRows};
use crate::{EngineError, Result};

/// 2^14 registers of one byte: 16 KB per large group.
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;
/// Up to this many hashes are kept as they are: as exact as 64-bit hashes, and smaller than the registers.
const EXACT_MAX: usize = 1024;

/// First byte of a sketch's state.
const STATE_EXACT: u8 = 0;
const STATE_REGISTERS: u8 = 1;

pub(super) fn factory(argument: &DataType) -> Arc<dyn AggregateFactory> {
    let field = SortField::new(argument.clone());
    Factory::shared(DataType::Int64, vec![state_field("sketch", DataType::Binary)], move || {
        let converter = RowConverter::new(vec![field.clone()])?;
        Ok(Box::new(Sketches { sketches: Vec::new(), heap_bytes: 0, converter }))
    })
}

/// Hashes are their own hash.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only words are hashed");
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

enum Sketch {
    Exact(HashSet<u64, BuildHasherDefault<Same>>),
    Registers(Box<[u8; REGISTERS]>),
}

impl Default for Sketch {
    fn default() -> Self {
        Self::Exact(HashSet::default())
    }
}

impl Sketch {
    #[inline]
    fn add(&mut self, hash: u64) {
        match self {
            Self::Registers(registers) => raise(registers, hash),
            Self::Exact(hashes) => {
                hashes.insert(hash);
                if hashes.len() > EXACT_MAX {
                    self.make_registers();
                }
            }
        }
    }

    fn make_registers(&mut self) -> &mut [u8; REGISTERS] {
        if let Self::Exact(hashes) = self {
            let mut registers = Box::new([0; REGISTERS]);
            hashes.iter().for_each(|hash| raise(&mut registers, *hash));
            *self = Self::Registers(registers);
        }
        match self {
            Self::Registers(registers) => registers,
            Self::Exact(_) => unreachable!("was just converted"),
        }
    }

    fn estimate(&self) -> i64 {
        match self {
            Self::Exact(hashes) => hashes.len() as i64,
            Self::Registers(registers) => estimate(registers),
        }
    }

    /// About; a hash set keeps an eighth of its room free and a byte of control per place.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Exact(hashes) => hashes.capacity() * 8 / 7 * (size_of::<u64>() + 1),
            Self::Registers(_) => REGISTERS,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Exact(hashes) => {
                out.push(STATE_EXACT);
                hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
            }
            Self::Registers(registers) => {
                out.push(STATE_REGISTERS);
                out.extend_from_slice(registers.as_slice());
            }
        }
    }

    /// `None` where the state is damaged.
    fn merge(&mut self, state: &[u8]) -> Option<()> {
        let (kind, body) = state.split_first()?;
        match *kind {
            STATE_EXACT => {
                let (hashes, rest) = body.as_chunks::<8>();
                hashes.iter().for_each(|hash| self.add(u64::from_le_bytes(*hash)));
                rest.is_empty().then_some(())
            }
            STATE_REGISTERS if body.len() == REGISTERS => {
                let own = self.make_registers();
                own.iter_mut().zip(body).for_each(|(own, other)| *own = (*own).max(*other));
                Some(())
            }
            _ => None,
        }
    }
}

/// The low bits choose a register, which keeps the longest run of leading zeros of the rest (plus one).
#[inline(always)]
fn raise(registers: &mut [u8; REGISTERS], hash: u64) {
    let index = hash as usize & (REGISTERS - 1);
    let rank = ((hash >> PRECISION) | 1 << (u64::BITS - PRECISION)).trailing_zeros() as u8 + 1;
    registers[index] = registers[index].max(rank);
}

/// Ertl's improved estimator ("New cardinality estimation algorithms for HyperLogLog sketches", 2017): unbiased over
/// the whole range, with neither tables nor thresholds.
fn estimate(registers: &[u8; REGISTERS]) -> i64 {
    const RANKS: usize = (u64::BITS - PRECISION) as usize;
    let mut histogram = [0u32; RANKS + 2];
    registers.iter().for_each(|rank| histogram[usize::from(*rank).min(RANKS + 1)] += 1);
    let count = REGISTERS as f64;
    let mut z = count * tau(1.0 - f64::from(histogram[RANKS + 1]) / count);
    for rank in (1..=RANKS).rev() {
        z = 0.5 * (z + f64::from(histogram[rank]));
    }
    z += count * sigma(f64::from(histogram[0]) / count);
    (count * count / (2.0 * std::f64::consts::LN_2) / z).round() as i64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

struct Sketches {
    sketches: Vec<Sketch>,
    heap_bytes: usize,
    converter: RowConverter,
}

impl Sketches {
    fn change<R>(&mut self, slot: usize, change: impl FnOnce(&mut Sketch) -> R) -> R {
        let sketch = &mut self.sketches[slot];
        let before = sketch.heap_bytes();
        let result = change(sketch);
        self.heap_bytes = self.heap_bytes + sketch.heap_bytes() - before;
        result
    }
}

impl Accumulators for Sketches {
    fn resize(&mut self, slots: usize) {
        self.sketches.resize_with(slots, Sketch::default);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        let rows = self.converter.convert_columns(&args[..1])?;
        for_each_row(slots, &select(args, keep), |slot, row| {
            let hash = xxh3_64(rows.row(row).data());
            self.change(slot, |sketch| sketch.add(hash));
        });
        Ok(())
    }

    fn update_running(&mut self, input: &RunningRows<'_>) -> Result<ArrayRef> {
        let (values, selection) = (self.converter.convert_columns(&input.args[..1])?, select(input.args, input.keep));
        let running = input.stretches(&selection).map(|(slot, rows)| {
            let hashes = rows.map(|row| xxh3_64(values.row(row).data()));
            self.change(slot, |sketch| hashes.for_each(|hash| sketch.add(hash)));
            self.sketches[slot].estimate()
        });
        Ok(Arc::new(running.collect::<Int64Array>()))
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        for (slot, bytes) in slots.iter().zip(state[0].as_binary::<i32>()) {
            let merged = self.change(*slot as usize, |sketch| sketch.merge(bytes.unwrap_or(&[STATE_EXACT])));
            merged.ok_or_else(|| EngineError::Internal {
                place: "APPROX_COUNT_DISTINCT".into(),
                reason: "the state cannot be read".into(),
            })?;
        }
        Ok(())
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let (mut column, mut bytes) = (BinaryBuilder::new(), Vec::new());
        for slot in slots {
            bytes.clear();
            self.sketches[*slot as usize].write(&mut bytes);
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let estimates = slots.iter().map(|slot| self.sketches[*slot as usize].estimate());
        Ok(Arc::new(Int64Array::from_iter_values(estimates)))
    }

    fn reset(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.change(*slot as usize, |sketch| *sketch = Sketch::default()));
    }

    fn size_bytes(&self) -> usize {
        self.sketches.capacity() * size_of::<Sketch>() + self.heap_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_stay_within_three_standard_errors() {
        let mut sketch = Sketch::default();
        let mut added = 0u64;
        for goal in [10u64, 1024, 1025, 5_000, 20_000, 60_000, 300_000] {
            (added..goal).for_each(|value| sketch.add(xxh3_64(&value.to_le_bytes())));
            added = goal;
            let error = (sketch.estimate() as f64 - goal as f64).abs() / goal as f64;
            let allowed = if goal <= EXACT_MAX as u64 { 0.0 } else { 0.025 };
            assert!(error <= allowed, "{} for {goal}", sketch.estimate());
        }
    }
}
