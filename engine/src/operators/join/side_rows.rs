//! The rows of one side of a join in memory: each distinct row once, in a list per join key.

use crate::keys::hash_key;
use crate::operators::key_table::KeyTable;

/// Ends a list; no row has this number.
pub const NONE: u32 = u32::MAX;

/// What is known of a row beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct RowFacts {
    /// How often the row is there; 0 for a row that is gone.
    pub count: i64,
    /// How many rows of the other side it fits, each counted as often as it is there.
    pub matches: i64,
    /// Wall time of the last change.
    pub used_at_ms: i64,
    /// Slot of the join key.
    pub key: u32,
    next: u32,
    previous: u32,
    /// State has an entry of it.
    pub is_stored: bool,
    /// State does not say the same.
    is_dirty: bool,
}

/// First and last row of a key.
#[derive(Debug, Clone, Copy)]
pub struct RowList {
    first: u32,
    last: u32,
}

impl Default for RowList {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

#[derive(Default)]
pub struct SideRows {
    /// Row bytes to numbers. A row holds its key columns, so equal rows have equal keys.
    rows: KeyTable,
    facts: Vec<RowFacts>,
    /// By slot of the join key.
    lists: Vec<RowList>,
    dirty: Vec<u32>,
    gone: usize,
}

impl SideRows {
    pub fn resize_keys(&mut self, keys: usize) {
        self.lists.resize(keys, RowList::default());
    }

    pub fn bytes(&self, row: u32) -> &[u8] {
        self.rows.key(row)
    }

    pub fn facts(&self, row: u32) -> &RowFacts {
        &self.facts[row as usize]
    }

    /// The first row of a key, or [`NONE`].
    pub fn first(&self, key: u32) -> u32 {
        self.lists[key as usize].first
    }

    /// The row behind another of the same key, or [`NONE`].
    pub fn next(&self, row: u32) -> u32 {
        self.facts[row as usize].next
    }

    /// A row that is there.
    pub fn find(&self, bytes: &[u8]) -> Option<u32> {
        self.rows.find(hash_key(bytes), bytes).filter(|row| self.facts[*row as usize].count > 0)
    }

    /// Sets what is known of a row, which is added where it is new.
    pub fn set(&mut self, key: u32, bytes: &[u8], count: i64, matches: i64, now_ms: i64) -> u32 {
        assert!(count > 0, "a row that is kept is there");
        let row = self.intern(key, bytes);
        let facts = &mut self.facts[row as usize];
        debug_assert_eq!(facts.key, key, "equal rows have equal keys");
        let is_new = facts.count == 0;
        (facts.count, facts.matches, facts.used_at_ms) = (count, matches, now_ms);
        if is_new {
            self.gone -= 1;
            self.link(row);
        }
        row
    }

    fn intern(&mut self, key: u32, bytes: &[u8]) -> u32 {
        let row = self.rows.intern(hash_key(bytes), bytes);
        if row as usize == self.facts.len() {
            self.gone += 1;
            self.facts.push(RowFacts {
                count: 0,
                matches: 0,
                used_at_ms: 0,
                key,
                next: NONE,
                previous: NONE,
                is_stored: false,
                is_dirty: false,
            });
        }
        row
    }

    /// Puts a row behind the others of its key.
    fn link(&mut self, row: u32) {
        let list = &mut self.lists[self.facts[row as usize].key as usize];
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
        let RowFacts { key, next, previous, .. } = *facts;
        let list = &mut self.lists[key as usize];
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

    /// Changes the number of fitting rows; gives the numbers before and after.
    pub fn shift_matches(&mut self, row: u32, delta: i64, now_ms: i64) -> (i64, i64) {
        let facts = &mut self.facts[row as usize];
        let before = facts.matches;
        // A row that expired may be taken back twice: nothing is owed.
        facts.matches = (before + delta).max(0);
        facts.used_at_ms = now_ms;
        (before, facts.matches)
    }

    pub fn mark_dirty(&mut self, row: u32) {
        let facts = &mut self.facts[row as usize];
        if !facts.is_dirty {
            facts.is_dirty = true;
            self.dirty.push(row);
        }
    }

    pub fn mark_stored(&mut self, row: u32) {
        self.facts[row as usize].is_stored = true;
    }

    /// The rows that differ from state, each with whether state has it; they count as written from now on.
    pub fn take_dirty(&mut self) -> Vec<(u32, bool)> {
        let dirty = std::mem::take(&mut self.dirty);
        let written = dirty.into_iter().map(|row| {
            let facts = &mut self.facts[row as usize];
            facts.is_dirty = false;
            (row, std::mem::replace(&mut facts.is_stored, facts.count > 0))
        });
        written.collect()
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

    /// Copies the rows of a key to another key of `to`.
    pub fn copy_key(&self, key: u32, to: &mut SideRows, to_key: u32) {
        let mut row = self.first(key);
        while row != NONE {
            let facts = self.facts(row);
            debug_assert!(!facts.is_dirty, "what is not written must not be dropped");
            let copy = to.set(to_key, self.bytes(row), facts.count, facts.matches, facts.used_at_ms);
            to.facts[copy as usize].is_stored = facts.is_stored;
            row = facts.next;
        }
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.rows.size_bytes()
            + self.facts.capacity() * size_of::<RowFacts>()
            + self.lists.capacity() * size_of::<RowList>()
            + self.dirty.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(side: &SideRows, key: u32) -> Vec<&[u8]> {
        let mut rows = Vec::new();
        let mut row = side.first(key);
        while row != NONE {
            rows.push(side.bytes(row));
            row = side.next(row);
        }
        rows
    }

    #[test]
    fn rows_stand_in_order_of_arrival_and_can_go_from_anywhere() {
        let mut side = SideRows::default();
        side.resize_keys(2);
        let numbers: Vec<u32> = [b"a", b"b", b"c"].iter().map(|row| side.set(0, *row, 1, 0, 0)).collect();
        side.set(1, b"x", 1, 0, 0);
        side.remove(numbers[1]);
        assert_eq!(rows_of(&side, 0), [b"a", b"c"]);
        assert_eq!((side.find(b"b"), side.find(b"c")), (None, Some(numbers[2])));
        side.set(0, b"b", 2, 0, 0);
        side.remove(numbers[0]);
        assert_eq!(rows_of(&side, 0), [b"c", b"b"]);
        assert_eq!((side.live_count(), side.gone_count()), (3, 1));
        side.remove(numbers[1]);
        side.remove(numbers[2]);
        assert!(rows_of(&side, 0).is_empty());
        let mut copy = SideRows::default();
        copy.resize_keys(1);
        side.copy_key(1, &mut copy, 0);
        assert_eq!((rows_of(&copy, 0), copy.live_count(), copy.gone_count()), (vec![&b"x"[..]], 1, 0));
    }
}
