//! What a batch changed in the ranges of its partitions, as rows of a changelog.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::partition::{Entry, Limits, Partition};
use crate::batch::RowKind;
use crate::operators::ordering::RankFunction;
use crate::operators::row_codec::RowCodec;
use crate::{Batch, Result};

/// Rows of a changelog, encoded.
pub struct Changes {
    with_rank: bool,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    ranks: Vec<i64>,
    kinds: Vec<i8>,
}

/// A row in range: its entry and rank.
type Ranked = (usize, u64);

impl Changes {
    pub fn new(with_rank: bool) -> Self {
        Self { with_rank, bytes: Vec::new(), ends: Vec::new(), ranks: Vec::new(), kinds: Vec::new() }
    }

    /// There was none since the last batch.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds what changed in one partition.
    pub fn add(&mut self, partition: &Partition, limits: Limits) {
        let entries = &partition.entries;
        let Some(first) = entries.iter().position(|entry| entry.count != entry.before) else { return };
        let old = ranked(entries, limits, |entry| entry.before);
        let new = ranked(entries, limits, |entry| entry.count);
        if self.with_rank {
            // Ranks before the first change stay.
            let same = old.iter().take_while(|(index, _)| *index < first).count();
            self.add_shifts(entries, &old[same..], &new[same..]);
        } else {
            self.add_exchange(entries, &old, &new, limits);
        }
    }

    /// Adds all rows in range, as they are.
    pub fn add_all(&mut self, partition: &Partition, limits: Limits) {
        let rows = ranked(&partition.entries, limits, |entry| entry.count);
        rows.into_iter().for_each(|row| self.push(&partition.entries, row, RowKind::Insert));
    }

    /// With the rank number, a row that moves is another row: place by place, the old one is replaced by the new.
    fn add_shifts(&mut self, entries: &[Entry], old: &[Ranked], new: &[Ranked]) {
        for (before, after) in old.iter().zip(new).filter(|(before, after)| before != after) {
            self.push(entries, *before, RowKind::UpdateBefore);
            self.push(entries, *after, RowKind::UpdateAfter);
        }
        let both = old.len().min(new.len());
        old[both..].iter().for_each(|row| self.push(entries, *row, RowKind::Delete));
        new[both..].iter().for_each(|row| self.push(entries, *row, RowKind::Insert));
    }

    /// Without it, some rows leave and others come.
    fn add_exchange(&mut self, entries: &[Entry], old: &[Ranked], new: &[Ranked], limits: Limits) {
        let (gone, come) = (difference(old, new), difference(new, old));
        let is_single = limits.function == RankFunction::RowNumber && limits.range.from == limits.range.to;
        let replaces = is_single && !gone.is_empty() && !come.is_empty();
        let (out, into) =
            if replaces { (RowKind::UpdateBefore, RowKind::UpdateAfter) } else { (RowKind::Delete, RowKind::Insert) };
        gone.into_iter().for_each(|row| self.push(entries, row, out));
        come.into_iter().for_each(|row| self.push(entries, row, into));
    }

    fn push(&mut self, entries: &[Entry], (index, rank): Ranked, kind: RowKind) {
        self.bytes.extend_from_slice(entries[index].row());
        self.ends.push(self.bytes.len());
        self.ranks.push(rank as i64);
        self.kinds.push(kind as i8);
    }

    /// Takes them all.
    pub fn take_batch(&mut self, rows: &RowCodec, schema: &SchemaRef) -> Result<Batch> {
        let start = |row: usize| row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let encoded = (0..self.ends.len()).map(|row| &self.bytes[start(row)..self.ends[row]]);
        let mut columns = rows.decode(encoded)?.columns().to_vec();
        self.bytes.clear();
        self.ends.clear();
        let (ranks, kinds) = (std::mem::take(&mut self.ranks), std::mem::take(&mut self.kinds));
        if self.with_rank {
            columns.push(Arc::new(Int64Array::from(ranks)) as ArrayRef);
        }
        let rows = RecordBatch::try_new(schema.clone(), columns)?;
        Ok(Batch::with_kinds(rows, Int8Array::from(kinds)))
    }
}

/// The rows in range, in order, when each entry has so many rows.
fn ranked(entries: &[Entry], limits: Limits, count: impl Fn(&Entry) -> u32) -> Vec<Ranked> {
    let mut ranked = Vec::new();
    let (mut rows, mut groups, mut rank_of_group) = (0u64, 0u64, 0u64);
    let mut last: Option<&Entry> = None;
    for (index, entry) in entries.iter().enumerate() {
        let copies = u64::from(count(entry));
        if copies == 0 {
            continue;
        }
        if last.is_none_or(|last| last.sort() != entry.sort()) {
            groups += 1;
            rank_of_group = rows + 1;
        }
        last = Some(entry);
        let rank = |copy: u64| match limits.function {
            RankFunction::RowNumber => rows + copy,
            RankFunction::Rank => rank_of_group,
            RankFunction::DenseRank => groups,
        };
        if rank(1) > limits.range.to {
            break;
        }
        let in_range = (1..=copies).map(|copy| (index, rank(copy))).take_while(|(_, rank)| *rank <= limits.range.to);
        ranked.extend(in_range.filter(|(_, rank)| limits.range.contains(*rank)));
        rows += copies;
    }
    ranked
}

/// The rows of `one` that `other` does not have, by entry; both in order.
fn difference(one: &[Ranked], other: &[Ranked]) -> Vec<Ranked> {
    let mut rest = other.iter().peekable();
    let mut missing = Vec::new();
    for row in one {
        while rest.next_if(|(index, _)| *index < row.0).is_some() {}
        if rest.next_if(|(index, _)| *index == row.0).is_none() {
            missing.push(*row);
        }
    }
    missing
}
