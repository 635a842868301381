//! The rows of one side of a join in memory, in a list per join key, and in the bucket in which state keeps each. Where
//! rows go as well as come, each distinct row is there once, and counted.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::entry::{Buckets, StoredRow};
use super::pieces::{BytePieces, BytePlace, Pieces};

/// Ends a list; no row has this number.
pub const NONE: u32 = u32::MAX;

/// What is known of a row beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct RowFacts {
    /// How often the row is there; 0 for a row that is gone.
    pub count: i64,
    /// How many rows of the other side it fits, each counted as often as it is there. Only counted on a side whose rows
    /// may stand alone.
    pub matches: i64,
    /// Wall time of the last change.
    pub used_at_ms: i64,
    /// Hash or number of the bucket; equal rows are in the same, unless their side only adds rows.
    bucket: u64,
    /// Slot of the join key.
    key: u32,
    next: u32,
    previous: u32,
    place: BytePlace,
    /// State has the row; of those that share an entry though they are never searched, the first tells it.
    is_stored: bool,
    /// State does not say the same.
    is_dirty: bool,
}

/// The rows of a key.
#[derive(Debug, Clone, Copy)]
struct RowList {
    first: u32,
    last: u32,
    bytes: usize,
}

const EMPTY: RowList = RowList { first: NONE, last: NONE, bytes: 0 };

/// Rows that state keeps in one entry, with some change that state does not have.
pub struct DirtyBucket {
    /// Slot of the join key.
    pub key: u32,
    pub bucket: u64,
    /// State has an entry.
    pub was_stored: bool,
}

pub struct SideRows {
    /// Numbers of rows by the hash of their bucket; `None` where each has a bucket of its own and is never searched.
    index: Option<HashTable<u32>>,
    facts: Pieces<RowFacts>,
    bytes: BytePieces,
    /// By slot of the join key.
    lists: Vec<RowList>,
    /// Oldest first.
    dirty: VecDeque<u32>,
    gone: usize,
}

impl SideRows {
    pub fn new(buckets: Buckets) -> Self {
        Self {
            index: (!buckets.only_adds()).then(HashTable::new),
            facts: Pieces::default(),
            bytes: BytePieces::default(),
            lists: Vec::new(),
            dirty: VecDeque::new(),
            gone: 0,
        }
    }

    pub fn resize_keys(&mut self, keys: usize) {
        self.lists.resize(keys, EMPTY);
    }

    pub fn bytes(&self, row: u32) -> &[u8] {
        self.bytes.get(self.facts(row).place)
    }

    pub fn facts(&self, row: u32) -> &RowFacts {
        &self.facts[row as usize]
    }

    /// Rows that have a number; some may be gone.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// The first row of a key, or [`NONE`].
    pub fn first(&self, key: u32) -> u32 {
        self.lists[key as usize].first
    }

    /// The row behind another of the same key, or [`NONE`].
    pub fn next(&self, row: u32) -> u32 {
        self.facts[row as usize].next
    }

    /// True where a row may be there already when it comes.
    pub fn are_searched(&self) -> bool {
        self.index.is_some()
    }

    /// A row that is there.
    pub fn find(&self, key: u32, bucket: u64, bytes: &[u8]) -> Option<u32> {
        self.number_of(key, bucket, bytes).filter(|row| self.facts[*row as usize].count > 0)
    }

    fn number_of(&self, key: u32, bucket: u64, bytes: &[u8]) -> Option<u32> {
        let same = |row: &u32| self.is_of(*row, key, bucket) && self.bytes(*row) == bytes;
        self.index.as_ref()?.find(bucket, same).copied()
    }

    fn is_of(&self, row: u32, key: u32, bucket: u64) -> bool {
        let facts = &self.facts[row as usize];
        facts.bucket == bucket && facts.key == key
    }

    /// All rows of a bucket that is searched, with those that are gone.
    pub fn bucket(&self, key: u32, bucket: u64) -> impl Iterator<Item = u32> {
        let found = self.index.iter().flat_map(move |index| index.iter_hash(bucket).copied());
        found.filter(move |row| self.is_of(*row, key, bucket))
    }

    /// True where memory knows of a row of the bucket, be it gone.
    pub fn knows_bucket(&self, key: u32, bucket: u64) -> bool {
        self.bucket(key, bucket).next().is_some()
    }

    /// Sets what is known of a row, which is added where it is new.
    pub fn set(&mut self, key: u32, bucket: u64, row: StoredRow<'_>) -> u32 {
        assert!(row.count > 0, "a row that is kept is there");
        let number = self.number_of(key, bucket, row.bytes).unwrap_or_else(|| self.push(key, bucket, row.bytes));
        let facts = &mut self.facts[number as usize];
        let is_new = facts.count == 0;
        (facts.count, facts.matches, facts.used_at_ms) = (row.count, row.matches, row.used_at_ms);
        if is_new {
            self.gone -= 1;
            self.link(number);
        }
        number
    }

    /// A number for a new row, which is gone as yet.
    fn push(&mut self, key: u32, bucket: u64, bytes: &[u8]) -> u32 {
        let row = u32::try_from(self.facts.len()).expect("memory ends before four billion rows");
        let facts = RowFacts {
            count: 0,
            matches: 0,
            used_at_ms: 0,
            bucket,
            key,
            next: NONE,
            previous: NONE,
            place: self.bytes.push(bytes),
            is_stored: false,
            is_dirty: false,
        };
        self.facts.push(facts);
        let Self { index, facts, .. } = self;
        if let Some(index) = index {
            index.insert_unique(bucket, row, |row| facts[*row as usize].bucket);
        }
        self.gone += 1;
        row
    }

    /// Puts a row behind the others of its key.
    fn link(&mut self, row: u32) {
        let RowFacts { key, place, .. } = *self.facts(row);
        let list = &mut self.lists[key as usize];
        list.bytes += place.len();
        let last = std::mem::replace(&mut list.last, row);
        match last {
            NONE => list.first = row,
            _ => self.facts[last as usize].next = row,
        }
        let facts = &mut self.facts[row as usize];
        (facts.previous, facts.next) = (last, NONE);
    }

    /// Counts a row that is there once less.
    pub fn take_back(&mut self, row: u32, now_ms: i64) {
        let facts = &mut self.facts[row as usize];
        facts.used_at_ms = now_ms;
        match facts.count {
            1 => self.remove(row),
            _ => facts.count -= 1,
        }
    }

    /// Takes a row out of the list of its key. Its number stays known until memory is tidied up.
    pub fn remove(&mut self, row: u32) {
        let facts = &mut self.facts[row as usize];
        assert!(facts.count > 0, "a row goes once");
        facts.count = 0;
        let RowFacts { key, next, previous, place, .. } = *facts;
        let list = &mut self.lists[key as usize];
        list.bytes -= place.len();
        match previous {
            NONE => list.first = next,
            _ => self.facts[previous as usize].next = next,
        }
        match next {
            NONE => list.last = previous,
            _ => self.facts[next as usize].previous = previous,
        }
        self.gone += 1;
    }

    /// Forgets the rows from this number on, as if they had never come; none of them has changed.
    pub fn truncate(&mut self, rows: usize) {
        while self.facts.len() > rows {
            let row = (self.facts.len() - 1) as u32;
            if self.facts[row as usize].count > 0 {
                self.remove(row);
            }
            let facts = self.facts.pop().expect("the loop runs while there are rows");
            debug_assert!(!facts.is_dirty, "what is not written must not be dropped");
            self.gone -= 1;
            self.bytes.truncate(facts.place);
            if let Some(index) = &mut self.index {
                let entry = index.find_entry(facts.bucket, |other| *other == row);
                entry.expect("every row is in the index").remove();
            }
        }
    }

    /// Changes the number of fitting rows; gives the numbers before and after.
    pub fn shift_matches(&mut self, row: u32, delta: i64, now_ms: i64) -> (i64, i64) {
        let facts = &mut self.facts[row as usize];
        let before = facts.matches;
        // A row that expired may be taken back twice: nothing is owed.
        facts.matches = (before + delta).max(0);
        facts.used_at_ms = now_ms;
        (before, facts.matches)
    }

    pub fn set_matches(&mut self, row: u32, matches: i64) {
        self.facts[row as usize].matches = matches;
    }

    pub fn mark_dirty(&mut self, row: u32) {
        let facts = &mut self.facts[row as usize];
        if !facts.is_dirty {
            facts.is_dirty = true;
            self.dirty.push_back(row);
        }
    }

    pub fn mark_stored(&mut self, row: u32) {
        self.facts[row as usize].is_stored = true;
    }

    /// A bucket that differs from state, if there is one, with the rows in it that are there; it counts as written from now
    /// on.
    pub fn take_dirty(&mut self, rows: &mut Vec<u32>) -> Option<DirtyBucket> {
        loop {
            let row = self.dirty.pop_front()?;
            let RowFacts { key, bucket, is_dirty, .. } = *self.facts(row);
            // Another row of the bucket may have come first.
            if !is_dirty {
                continue;
            }
            rows.clear();
            match self.index {
                Some(_) => rows.extend(self.bucket(key, bucket)),
                None => rows.push(row),
            }
            let mut was_stored = false;
            for row in rows.iter() {
                let facts = &mut self.facts[*row as usize];
                was_stored |= facts.is_stored;
                (facts.is_dirty, facts.is_stored) = (false, facts.count > 0);
            }
            rows.retain(|row| self.facts[*row as usize].count > 0);
            return Some(DirtyBucket { key, bucket, was_stored });
        }
    }

    /// So many of the rows that differ from state, those of a key together in order of arrival: of a side that only adds and whose rows
    /// never change. They count as written from now on; see [`Self::mark_stored`].
    pub fn take_dirty_by_key(&mut self, count: usize) -> Vec<u32> {
        assert!(self.index.is_none(), "others share buckets that are written whole");
        let Self { dirty, facts, .. } = self;
        let mut rows: Vec<(u32, u32)> = Vec::with_capacity(count);
        for row in dirty.drain(..count) {
            let facts = &mut facts[row as usize];
            facts.is_dirty = false;
            rows.push((facts.key, row));
        }
        // Numbers ascend as rows arrive.
        rows.sort_unstable();
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// Rows whose buckets differ from state, about.
    pub fn dirty_count(&self) -> usize {
        self.dirty.len()
    }

    /// Slot of the join key, and bucket.
    pub fn bucket_of(&self, row: u32) -> (u32, u64) {
        let facts = self.facts(row);
        (facts.key, facts.bucket)
    }

    /// Key and bucket of the entries that state has of rows here, of a side that only adds.
    pub fn stored_buckets(&self) -> impl Iterator<Item = (u32, u64)> {
        let facts = (0..self.facts.len()).map(|row| &self.facts[row]);
        facts.filter(|facts| facts.is_stored).map(|facts| (facts.key, facts.bucket))
    }

    pub fn is_clean(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Rows that are there.
    pub fn live_count(&self) -> usize {
        self.facts.len() - self.gone
    }

    /// Rows that are not there any more and still take memory.
    pub fn gone_count(&self) -> usize {
        self.gone
    }

    /// Bytes of the rows of a key.
    pub fn key_bytes(&self, key: u32) -> usize {
        self.lists[key as usize].bytes
    }

    /// The rows of a key, in order of arrival.
    pub fn rows_of(&self, key: u32) -> impl Iterator<Item = u32> {
        let some = |row: u32| (row != NONE).then_some(row);
        std::iter::successors(some(self.first(key)), move |row| some(self.next(*row)))
    }

    /// Puts the rows of a key in the order of their bytes, whatever the order in which state has them.
    pub fn sort_key(&mut self, key: u32) {
        let list = self.lists[key as usize];
        if list.first == list.last {
            return;
        }
        let mut rows: Vec<u32> = self.rows_of(key).collect();
        rows.sort_unstable_by(|one, other| self.bytes(*one).cmp(self.bytes(*other)));
        self.lists[key as usize] = EMPTY;
        rows.into_iter().for_each(|row| self.link(row));
    }

    /// What state is to say of a row.
    pub fn stored(&self, row: u32) -> StoredRow<'_> {
        let RowFacts { count, matches, used_at_ms, .. } = *self.facts(row);
        StoredRow { count, matches, used_at_ms, bytes: self.bytes(row) }
    }

    /// Copies the rows of a key to another key of `to`.
    pub fn copy_key(&self, key: u32, to: &mut SideRows, to_key: u32) {
        for row in self.rows_of(key) {
            let facts = self.facts(row);
            debug_assert!(!facts.is_dirty, "what is not written must not be dropped");
            let copy = to.set(to_key, facts.bucket, self.stored(row));
            to.facts[copy as usize].is_stored = facts.is_stored;
        }
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.index.as_ref().map_or(0, HashTable::allocation_size)
            + self.facts.size_bytes()
            + self.bytes.size_bytes()
            + self.lists.capacity() * size_of::<RowList>()
            + self.dirty.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(bytes: &[u8]) -> StoredRow<'_> {
        StoredRow { count: 1, matches: 0, used_at_ms: 0, bytes }
    }

    fn rows_of(side: &SideRows, key: u32) -> Vec<&[u8]> {
        side.rows_of(key).map(|row| side.bytes(row)).collect()
    }

    #[test]
    fn rows_stand_in_order_of_arrival_and_can_go_from_anywhere() {
        let mut side = SideRows::new(Buckets::ByHash);
        side.resize_keys(2);
        let numbers: Vec<u32> = [b"a", b"b", b"c"].iter().map(|row| side.set(0, 9, once(*row))).collect();
        side.set(1, 9, once(b"x"));
        side.remove(numbers[1]);
        assert_eq!(rows_of(&side, 0), [b"a", b"c"]);
        assert_eq!((side.find(0, 9, b"b"), side.find(0, 9, b"c")), (None, Some(numbers[2])));
        assert_eq!((side.find(1, 9, b"c"), side.find(0, 8, b"c")), (None, None));
        side.set(0, 9, once(b"b"));
        side.remove(numbers[0]);
        assert_eq!(rows_of(&side, 0), [b"c", b"b"]);
        side.sort_key(0);
        assert_eq!((rows_of(&side, 0), side.key_bytes(0)), (vec![&b"b"[..], b"c"], 2));
        assert_eq!((side.live_count(), side.gone_count()), (3, 1));
        side.remove(numbers[1]);
        side.remove(numbers[2]);
        assert!(rows_of(&side, 0).is_empty());
        assert_eq!((side.key_bytes(0), side.key_bytes(1)), (0, 1));
        let mut copy = SideRows::new(Buckets::ByHash);
        copy.resize_keys(1);
        side.copy_key(1, &mut copy, 0);
        assert_eq!((rows_of(&copy, 0), copy.live_count(), copy.gone_count()), (vec![&b"x"[..]], 1, 0));
    }

    #[test]
    fn a_bucket_is_written_whole_and_deleted_when_its_last_row_goes() {
        let mut side = SideRows::new(Buckets::ByHash);
        side.resize_keys(2);
        let [a, b] = [b"a", b"b"].map(|row| side.set(0, 7, once(row)));
        let other = side.set(1, 7, once(b"a"));
        [a, b, other].iter().for_each(|row| side.mark_dirty(*row));
        let take = |side: &mut SideRows| {
            let mut rows = Vec::new();
            let bucket = side.take_dirty(&mut rows)?;
            rows.sort_unstable();
            Some((bucket.key, bucket.was_stored, rows))
        };
        let mut buckets: Vec<_> = std::iter::from_fn(|| take(&mut side)).collect();
        buckets.sort();
        assert_eq!(buckets, [(0, false, vec![a, b]), (1, false, vec![other])]);
        assert!(side.is_clean());
        for (row, left) in [(a, vec![b]), (b, vec![])] {
            side.remove(row);
            side.mark_dirty(row);
            assert_eq!(take(&mut side), Some((0, true, left)));
        }
        assert!(side.knows_bucket(0, 7) && !side.knows_bucket(0, 8));
    }

    #[test]
    fn rows_that_are_never_searched_stay_apart_though_they_are_equal() {
        let mut side = SideRows::new(Buckets::ByArrival);
        side.resize_keys(1);
        let numbers: Vec<u32> = (0..3).map(|number| side.set(0, number, once(b"a"))).collect();
        numbers.iter().for_each(|row| side.mark_dirty(*row));
        assert_eq!((rows_of(&side, 0).len(), side.find(0, 1, b"a")), (3, None));
        side.remove(numbers[0]);
        let mut rows = Vec::new();
        let mut written = Vec::new();
        while let Some(bucket) = side.take_dirty(&mut rows) {
            written.push((bucket.bucket, rows.clone()));
        }
        assert_eq!(written, [(0, vec![]), (1, vec![numbers[1]]), (2, vec![numbers[2]])]);
        side.truncate(1);
        assert_eq!((rows_of(&side, 0).len(), side.len()), (0, 1));
    }

    #[test]
    fn what_is_cut_off_was_never_there() {
        let mut side = SideRows::new(Buckets::ByHash);
        side.resize_keys(1);
        side.set(0, 1, once(b"first"));
        for row in [b"b", b"c"] {
            side.set(0, 1, once(row));
        }
        side.truncate(1);
        assert_eq!((rows_of(&side, 0), side.len(), side.gone_count()), (vec![&b"first"[..]], 1, 0));
        assert_eq!(side.find(0, 1, b"b"), None);
        side.set(0, 1, once(b"d"));
        assert_eq!(rows_of(&side, 0), [&b"first"[..], b"d"]);
    }
}
