//! Keys as bytes, and the key groups that make state move between parallelisms.
//!
//! A key's group depends only on its bytes and on the job's fixed maximum parallelism, never on today's
//! parallelism; each subtask owns a contiguous range of groups. Exchange and operator use the same functions, so
//! a row always arrives where its state is.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::Result;

/// Number of key groups of a job unless its manifest says otherwise; the bound of every later parallelism.
pub const MAX_PARALLELISM_DEFAULT: u16 = 128;

/// A slice of the key space; below the job's maximum parallelism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(pub u16);

impl KeyGroup {
    /// The group of a key by its 64-bit hash.
    pub fn of(hash: u64, max_parallelism: u16) -> Self {
        debug_assert!(max_parallelism > 0);
        // The high half decides the group so that hash tables, which use the low bits, stay well spread.
        KeyGroup(((hash >> 32) % u64::from(max_parallelism)) as u16)
    }

    /// The subtask that owns this group.
    pub fn owner(self, max_parallelism: u16, parallelism: usize) -> usize {
        usize::from(self.0) * parallelism / usize::from(max_parallelism)
    }
}

/// The contiguous groups that one subtask owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGroupRange {
    pub start: u16,
    /// Exclusive.
    pub end: u16,
    pub max_parallelism: u16,
}

impl KeyGroupRange {
    /// The range of subtask `index` of `parallelism`; the ranges of all subtasks tile `0..max_parallelism`.
    pub fn of_subtask(index: usize, parallelism: usize, max_parallelism: u16) -> Self {
        assert!(index < parallelism && parallelism <= usize::from(max_parallelism));
        let bound = |i: usize| (i * usize::from(max_parallelism)).div_ceil(parallelism) as u16;
        Self { start: bound(index), end: bound(index + 1), max_parallelism }
    }

    pub fn all(max_parallelism: u16) -> Self {
        Self { start: 0, end: max_parallelism, max_parallelism }
    }

    pub fn contains(&self, group: KeyGroup) -> bool {
        (self.start..self.end).contains(&group.0)
    }

    /// True where both hold a common group.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }

    pub fn groups(&self) -> Range<u16> {
        self.start..self.end
    }
}

/// Turns key columns into comparable bytes, and back.
pub struct KeyEncoder {
    converter: RowConverter,
}

impl KeyEncoder {
    pub fn new(types: &[DataType]) -> Result<Self> {
        let fields = types.iter().cloned().map(SortField::new).collect();
        Ok(Self { converter: RowConverter::new(fields)? })
    }

    /// One byte string per row. Equal keys give equal bytes (NULL equals NULL, as in GROUP BY).
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        Ok(self.converter.convert_columns(columns)?)
    }

    /// The key columns for keys that `encode` once gave.
    pub fn decode<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(keys.into_iter().map(|key| parser.parse(key)))?)
    }
}

/// The hash that decides key groups; stable across versions since state depends on it.
pub fn hash_key(key: &[u8]) -> u64 {
    xxh3_64(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_tile_the_groups_and_agree_with_owner() {
        for max in [1u16, 7, 128] {
            for parallelism in 1..=usize::from(max).min(9) {
                for index in 0..parallelism {
                    let range = KeyGroupRange::of_subtask(index, parallelism, max);
                    for group in range.groups() {
                        assert_eq!(
                            KeyGroup(group).owner(max, parallelism),
                            index,
                            "group {group} of {max} at {parallelism}"
                        );
                    }
                }
                let owned: usize =
                    (0..parallelism).map(|i| KeyGroupRange::of_subtask(i, parallelism, max).groups().len()).sum();
                assert_eq!(owned, usize::from(max));
            }
        }
    }
}
