//! Keys whose changes were not told yet, with the results that were told last.

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;

use super::changes::Results;
use crate::Result;
use crate::operators::key_table::SlotSet;

#[derive(Default)]
pub struct Gathered {
    members: SlotSet,
    /// In order of first change.
    slots: Vec<u32>,
    /// The results before the first change, in pieces, in the order of `slots`.
    before: Vec<Results>,
    rows: usize,
    since_ms: i64,
}

impl Gathered {
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Input rows since the changes were last told.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Wall time of the first of them.
    pub fn since_ms(&self) -> i64 {
        self.since_ms
    }

    /// The slots among these that are not gathered yet.
    pub fn new_among(&self, slots: &[u32]) -> Vec<u32> {
        slots.iter().copied().filter(|slot| !self.members.contains(*slot)).collect()
    }

    /// Notes slots that are about to change, with their results until now, and so many rows that change them or others.
    pub fn add(&mut self, slots: Vec<u32>, before: Results, rows: usize, now_ms: i64) {
        if self.rows == 0 {
            self.since_ms = now_ms;
        }
        self.rows += rows;
        slots.iter().for_each(|slot| self.members.insert(*slot));
        self.slots.extend(slots);
        self.before.push(before);
    }

    /// All slots with their results before, and forgets them; `None` where there are none.
    pub fn take(&mut self) -> Result<Option<(Vec<u32>, Results)>> {
        let Self { slots, mut before, .. } = std::mem::take(self);
        if slots.is_empty() {
            return Ok(None);
        }
        let before = if before.len() == 1 { before.remove(0) } else { join(&before)? };
        assert_eq!(before.exists.len(), slots.len(), "one result per slot");
        Ok(Some((slots, before)))
    }
}

fn join(pieces: &[Results]) -> Result<Results> {
    let width = pieces.first().map_or(0, |piece| piece.columns.len());
    let column = |index: usize| -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = pieces.iter().map(|piece| piece.columns[index].as_ref()).collect();
        Ok(concat(&parts)?)
    };
    Ok(Results {
        exists: pieces.iter().flat_map(|piece| piece.exists.iter().copied()).collect(),
        columns: (0..width).map(column).collect::<Result<_>>()?,
    })
}
