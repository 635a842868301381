//! The first rows of one partition, in order.

use crate::operators::note::{from_sortable, sortable};
use crate::operators::ordering::{RankFunction, RankRange};

/// What of a partition is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub function: RankFunction,
    pub range: RankRange,
}

impl Limits {
    /// Rows to read from state at least, so that not every removal needs another reading.
    pub fn rows_to_read(self) -> usize {
        const EXTRA_ROWS: u64 = 8;
        usize::try_from(self.range.to.saturating_mul(2).saturating_add(EXTRA_ROWS)).unwrap_or(usize::MAX)
    }
}

/// Equal rows of a partition: their sort bytes, then their row bytes.
#[derive(Debug)]
pub struct Entry {
    bytes: Box<[u8]>,
    sort_length: u32,
    /// Number of such rows now; 0 until the batch ends for rows that left in it.
    pub count: u32,
    /// Number of such rows before the batch.
    pub before: u32,
    /// Number of such rows that state knows of, where each entry is one of state.
    pub stored: u32,
}

impl Entry {
    fn new(sort: &[u8], row: &[u8]) -> Self {
        let bytes = [sort, row].concat().into_boxed_slice();
        Self { bytes, sort_length: sort.len() as u32, count: 0, before: 0, stored: 0 }
    }

    /// An entry as state has it.
    pub fn stored(bytes: &[u8], sort_length: u32, count: u32) -> Self {
        assert!(sort_length as usize <= bytes.len(), "the sort columns are part of the entry");
        Self { bytes: bytes.into(), sort_length, count, before: count, stored: count }
    }

    /// An entry of a partition that state has as a whole.
    pub fn kept(bytes: &[u8], sort_length: u32, count: u32) -> Self {
        Self { stored: 0, ..Self::stored(bytes, sort_length, count) }
    }

    /// What state orders entries by.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn sort_length(&self) -> u32 {
        self.sort_length
    }

    pub fn sort(&self) -> &[u8] {
        &self.bytes[..self.sort_length as usize]
    }

    pub fn row(&self) -> &[u8] {
        &self.bytes[self.sort_length as usize..]
    }

    fn compare(&self, sort: &[u8], row: &[u8]) -> std::cmp::Ordering {
        self.sort().cmp(sort).then_with(|| self.row().cmp(row))
    }

    fn size_bytes(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }
}

/// Where a row would go.
pub enum Place {
    Found(usize),
    /// Not there yet, and within what memory has.
    Between(usize),
    /// Behind all that memory has of a partition with more rows in state.
    Below,
}

/// The first entries of a partition. Within a batch entries that left stay, with a count of 0.
#[derive(Debug, Default)]
pub struct Partition {
    pub entries: Vec<Entry>,
    /// There are no further entries in state.
    pub complete: bool,
    /// Wall time of the last row, as far as state knows.
    pub used_at_ms: i64,
    /// An entry was added or its number changed in this batch.
    pub changed: bool,
    /// Entries that state has and that have left, until they are deleted there.
    pub doomed: Vec<Box<[u8]>>,
    /// Over appended rows: this many entries are in range and stand before those that left, with this many rows...
    live: usize,
    rows: u64,
    /// ... of so many different sort bytes.
    groups: u64,
    pub size_bytes: usize,
    /// What the store has counted of that.
    pub counted_bytes: usize,
}

impl Partition {
    /// A partition with the first entries that state has, of which nothing else is known.
    pub fn with_entries(entries: Vec<Entry>, complete: bool) -> Self {
        debug_assert!(entries.is_sorted_by(|one, other| one.bytes < other.bytes));
        let mut partition = Self { entries, complete, used_at_ms: i64::MIN, ..Self::default() };
        partition.recount();
        partition
    }

    fn recount(&mut self) {
        self.live = self.entries.len();
        self.rows = self.entries.iter().map(|entry| u64::from(entry.count)).sum();
        let starts = |index: &usize| *index == 0 || self.entries[*index - 1].sort() != self.entries[*index].sort();
        self.groups = (0..self.live).filter(starts).count() as u64;
        self.size_bytes = self.entries.iter().map(Entry::size_bytes).sum();
    }

    pub fn place(&self, sort: &[u8], row: &[u8]) -> Place {
        match self.entries.binary_search_by(|entry| entry.compare(sort, row)) {
            Ok(index) => Place::Found(index),
            Err(index) if index == self.entries.len() && !self.complete => Place::Below,
            Err(index) => Place::Between(index),
        }
    }

    pub fn insert_at(&mut self, index: usize, sort: &[u8], row: &[u8]) {
        let entry = Entry { count: 1, ..Entry::new(sort, row) };
        self.size_bytes += entry.size_bytes();
        self.entries.insert(index, entry);
        self.changed = true;
    }

    /// True where no more rows than wanted are in range, so that one with greater sort bytes has no place.
    fn is_full(&self, limits: Limits) -> bool {
        match limits.function {
            RankFunction::RowNumber | RankFunction::Rank => self.rows >= limits.range.to,
            RankFunction::DenseRank => self.groups >= limits.range.to,
        }
    }

    /// False for rows that cannot be in range, by their sort bytes alone. Over appended rows.
    pub fn may_enter(&self, sort: &[u8], limits: Limits) -> bool {
        !self.is_full(limits) || self.live == 0 || sort <= self.entries[self.live - 1].sort()
    }

    /// Adds an appended row if it is in range; what falls out for it is gone for good. Whatever left in this batch
    /// stands behind the live entries, and the partition is full from then on.
    pub fn append(&mut self, sort: &[u8], row: &[u8], limits: Limits) {
        if self.refuses(sort, row, limits) {
            return;
        }
        match self.entries[..self.live].binary_search_by(|entry| entry.compare(sort, row)) {
            Ok(index) => self.entries[index].count += 1,
            Err(index) => {
                self.insert_at(index, sort, row);
                self.live += 1;
                let same = |other: usize| self.entries[other].sort() == sort;
                let joins = (index > 0 && same(index - 1)) || (index + 1 < self.live && same(index + 1));
                self.groups += u64::from(!joins);
            }
        }
        self.changed = true;
        self.rows += 1;
        self.cut(limits);
        debug_assert!(self.live == self.entries.len() || self.is_full(limits));
    }

    fn refuses(&self, sort: &[u8], row: &[u8], limits: Limits) -> bool {
        let Some(last) = self.live.checked_sub(1).map(|last| &self.entries[last]) else { return false };
        self.is_full(limits)
            && match limits.function {
                RankFunction::RowNumber => last.compare(sort, row).is_le(),
                RankFunction::Rank | RankFunction::DenseRank => last.sort() < sort,
            }
    }

    /// Takes the last rows out of range.
    fn cut(&mut self, limits: Limits) {
        if limits.function == RankFunction::RowNumber {
            while self.rows > limits.range.to {
                let last = &mut self.entries[self.live - 1];
                let excess = (self.rows - limits.range.to).min(u64::from(last.count));
                last.count -= excess as u32;
                self.rows -= excess;
                if last.count == 0 {
                    self.drop_last_live();
                }
            }
            return;
        }
        loop {
            let group = last_group(&self.entries[..self.live]);
            let rows: u64 = group.iter().map(|entry| u64::from(entry.count)).sum();
            let size = group.len();
            let out = match limits.function {
                RankFunction::DenseRank => self.groups > limits.range.to,
                _ => self.rows - rows >= limits.range.to,
            };
            if !out {
                return;
            }
            self.rows -= rows;
            self.groups -= 1;
            (0..size).for_each(|_| self.drop_last_live());
        }
    }

    fn drop_last_live(&mut self) {
        self.live -= 1;
        let entry = &mut self.entries[self.live];
        entry.count = 0;
        if entry.before == 0 && entry.stored == 0 {
            let entry = self.entries.remove(self.live);
            self.size_bytes -= entry.size_bytes();
        }
    }

    /// Adds a row that is the newest of all, in front.
    pub fn append_newest(&mut self, row: &[u8], limits: Limits) {
        let number = |entry: &Entry| entry.sort().try_into().map_or(0, from_sortable);
        let next = self.entries.first().map_or(0, number) - 1;
        self.append(&sortable(next), row, limits);
    }

    /// True where memory has all entries that can be in range.
    pub fn suffices(&self, limits: Limits) -> bool {
        self.complete || self.entries_needed(limits).is_some()
    }

    /// So many of the first entries show what is in range; `None` where further ones could be. Ranks that are shared
    /// need the first entry behind the range, to know that it ends there.
    fn entries_needed(&self, limits: Limits) -> Option<usize> {
        let (mut rows, mut groups) = (0u64, 0u64);
        let mut last: Option<&Entry> = None;
        for (index, entry) in self.entries.iter().enumerate().filter(|(_, entry)| entry.count > 0) {
            let new_group = last.is_none_or(|last| last.sort() != entry.sort());
            let ended = match limits.function {
                RankFunction::RowNumber => rows + u64::from(entry.count) >= limits.range.to,
                RankFunction::Rank => new_group && rows >= limits.range.to,
                RankFunction::DenseRank => new_group && groups >= limits.range.to,
            };
            if ended {
                return Some(index + 1);
            }
            rows += u64::from(entry.count);
            groups += u64::from(new_group);
            last = Some(entry);
        }
        None
    }

    /// Ends a batch: what left is forgotten, and so are, over an updated input, entries far out of range.
    pub fn end_batch(&mut self, limits: Limits, updated: bool) {
        self.changed = false;
        let gone = self.entries.iter().filter(|entry| entry.count == 0 && entry.stored > 0);
        self.doomed.extend(gone.map(|entry| entry.bytes.clone()));
        self.entries.retain(|entry| entry.count > 0);
        self.entries.iter_mut().for_each(|entry| entry.before = entry.count);
        if updated && let Some(needed) = self.entries_needed(limits) {
            let keep = limits.rows_to_read().saturating_mul(2).max(needed);
            self.complete &= self.entries.len() <= keep;
            self.entries.truncate(keep);
        }
        self.recount();
    }
}

/// The last of sorted entries that share their sort bytes.
fn last_group(entries: &[Entry]) -> &[Entry] {
    let Some(last) = entries.last() else { return &[] };
    let start = entries.iter().rposition(|entry| entry.sort() != last.sort()).map_or(0, |other| other + 1);
    &entries[start..]
}
