//! How a batch of one side meets the rows of the other.
//!
//! While a batch is worked on, the rows of the other side stay the same. So all pairs of a batch are found first, and
//! the condition is evaluated over them in pieces; then they are applied in the order of the batch's rows. Where the other
//! side's rows of a key are paged, all rows of the batch with that key meet one page before the next is read; no order
//! among rows of different keys matters to who reads the changes.

use arrow::array::UInt32Array;
use arrow::compute::take;

use super::Alone;
use super::condition::Condition;
use super::emit::{Change, Decoded};
use super::operator::JoinOperator;
use super::side_rows::{NONE, SideRows};
use crate::batch::RowKind;
use crate::operator::{Collector, MAIN_PORT, OperatorContext};
use crate::{Batch, Result};

/// Pairs that are tried at once, and about the output rows that are made at once: enough to hide the cost of a call,
/// little enough that a key with many rows on both sides takes no more memory than others.
const PAIRS_MAX: usize = 16 << 10;

/// What became of a row of the batch among the rows that its side keeps.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// Its number, or [`NONE`].
    number: u32,
    /// It is among the rows of paged keys that are at hand.
    in_page: bool,
    /// It takes back what is not there.
    pub is_ignored: bool,
}

impl Own {
    pub const NOT_KEPT: Self = Self { number: NONE, in_page: false, is_ignored: false };
    pub const IGNORED: Self = Self { number: NONE, in_page: false, is_ignored: true };

    pub fn kept(number: u32, in_page: bool) -> Self {
        Self { number, in_page, is_ignored: false }
    }
}

/// A batch of one side that meets the rows of the other.
pub struct Meeting<'a> {
    join: &'a mut JoinOperator,
    side: usize,
    batch: &'a Batch,
    /// By row of the batch: the slot of its key on the other side.
    slots: &'a [u32],
    own: &'a [Own],
    /// The rows of the other side are those of a page.
    in_page: bool,
    ctx: &'a mut OperatorContext,
    out: &'a mut dyn Collector,
}

/// A row of the batch and a row of the other side.
type Pair = (u32, u32);

impl<'a> Meeting<'a> {
    pub fn new(
        join: &'a mut JoinOperator,
        side: usize,
        batch: &'a Batch,
        slots: &'a [u32],
        own: &'a [Own],
        ctx: &'a mut OperatorContext,
        out: &'a mut dyn Collector,
    ) -> Self {
        Self { join, side, batch, slots, own, in_page: false, ctx, out }
    }

    /// Adds to the join's matches.
    pub fn run(mut self) -> Result<()> {
        self.meet_pages()?;
        self.in_page = false;
        let mut pairs: Vec<Pair> = Vec::new();
        let mut done = 0;
        for row in 0..self.batch.num_rows() {
            let mut other = self.first_other(row);
            while other != NONE {
                if !self.join.store.is_expired(1 - self.side, other, self.ctx.now.0) {
                    pairs.push((row as u32, other));
                }
                other = self.other_rows().next(other);
                if pairs.len() == PAIRS_MAX {
                    self.apply(&pairs, done..row)?;
                    done = row;
                    pairs.clear();
                }
            }
        }
        self.apply(&pairs, done..self.batch.num_rows())
    }

    /// The first row in memory that a row of the batch could meet.
    fn first_other(&self, row: usize) -> u32 {
        match self.slots[row] {
            NONE => NONE,
            _ if self.own[row].is_ignored => NONE,
            slot if self.join.store.sides[1 - self.side].cache().is_paged(slot) => NONE,
            slot => self.other_rows().first(slot),
        }
    }

    /// Rows whose key is paged on the other side meet its pages.
    fn meet_pages(&mut self) -> Result<()> {
        let other_side = 1 - self.side;
        let meets = |row: &u32| {
            let row = *row as usize;
            !self.own[row].is_ignored && self.join.store.sides[other_side].cache().is_paged(self.slots[row])
        };
        let mut rows: Vec<u32> = (0..self.batch.num_rows() as u32).filter(meets).collect();
        let slots = self.slots;
        rows.sort_by_key(|row| slots[*row as usize]);
        for rows in rows.chunk_by(|one, other| slots[*one as usize] == slots[*other as usize]) {
            let mut from = Some(Vec::new());
            while let Some(entry) = from {
                let (others, present) = self.join.store.side_at(other_side, self.ctx);
                from = others.read_page(slots[rows[0] as usize], &entry, present, self.ctx)?;
                self.meet_page(rows)?;
                self.join.store.sides[other_side].cache_mut().drop_page(self.ctx)?;
            }
        }
        Ok(())
    }

    /// Rows of one key meet the page at hand.
    fn meet_page(&mut self, rows: &[u32]) -> Result<()> {
        self.in_page = true;
        // A page has one key.
        let others: Vec<u32> = self.other_rows().rows_of(0).collect();
        let mut pairs: Vec<Pair> = Vec::new();
        for row in rows {
            for other in &others {
                pairs.push((*row, *other));
                if pairs.len() == PAIRS_MAX {
                    self.apply(&pairs, 0..0)?;
                    pairs.clear();
                }
            }
        }
        self.apply(&pairs, 0..0)
    }

    fn other_rows(&self) -> &SideRows {
        self.join.store.sides[1 - self.side].cache().rows_of(self.in_page)
    }

    /// Applies pairs, and finishes rows of which these are the last. Rows between those that have pairs have none.
    fn apply(&mut self, pairs: &[Pair], finished: std::ops::Range<usize>) -> Result<()> {
        let (fitting, decoded) = match &self.join.condition {
            None => ((0..pairs.len() as u32).collect(), None),
            Some(condition) => {
                let decoded = self.decode(pairs.iter().map(|pair| pair.1))?;
                (self.fitting(condition, pairs, &decoded)?, Some(decoded))
            }
        };
        let mut changes = Vec::new();
        let mut finished = finished.peekable();
        for (row, other) in fitting.into_iter().map(|number| pairs[number as usize]) {
            while let Some(before) = finished.next_if(|before| *before < row as usize) {
                self.finish(before, &mut changes);
            }
            self.meet(row as usize, other, &mut changes);
            self.emit_if(PAIRS_MAX, &mut changes, decoded.as_ref())?;
        }
        finished.for_each(|row| self.finish(row, &mut changes));
        self.emit_if(1, &mut changes, decoded.as_ref())
    }

    fn decode(&self, numbers: impl Iterator<Item = u32>) -> Result<Decoded> {
        Decoded::of(numbers, self.other_rows(), self.join.codec(1 - self.side))
    }

    /// The numbers of the pairs for which the condition holds.
    fn fitting(&self, condition: &Condition, pairs: &[Pair], others: &Decoded) -> Result<Vec<u32>> {
        let own_rows = UInt32Array::from_iter_values(pairs.iter().map(|pair| pair.0));
        let other_rows = UInt32Array::from_iter_values(pairs.iter().map(|pair| others.place(pair.1)));
        let columns = condition.columns().iter().map(|column| {
            let side = usize::from(*column >= self.join.left_width);
            let column = column - side * self.join.left_width;
            let (rows, numbers) =
                if side == self.side { (self.batch.rows(), &own_rows) } else { (&others.rows, &other_rows) };
            Ok(take(rows.column(column), numbers, None)?)
        });
        condition.fitting(columns.collect::<Result<_>>()?, pairs.len(), &self.ctx.metrics)
    }

    /// A row meets one that it fits.
    fn meet(&mut self, row: usize, other: u32, changes: &mut Vec<Change>) {
        let kind = self.batch.kind(row);
        let count = self.other_rows().facts(other).count;
        self.join.matches[row] += count;
        let copies = |change: Change| (0..count).map(move |_| change);
        let [was, is] = self.other_alone(other, kind);
        let kind = if self.join.is_outer() { plain(kind) } else { kind };
        let pair = self.join.gives_pairs.then_some(Change { kind, own: row as u32, other, mark: true });
        // A row stops standing alone before it is paired, and starts behind.
        let in_order = if kind.is_retraction() { [pair, was, is] } else { [was, is, pair] };
        changes.extend(in_order.into_iter().flatten().flat_map(copies));
    }

    /// Counts a match of a row of the other side; the changes of how it is given alone: what was, and what is.
    fn other_alone(&mut self, other: u32, kind: RowKind) -> [Option<Change>; 2] {
        let Some(alone) = self.join.alone[1 - self.side] else { return [None; 2] };
        let matches_last = self.join.store.matches_last(self.side);
        let rows = self.join.store.sides[1 - self.side].cache_mut().rows_of_mut(self.in_page);
        if matches_last && rows.facts(other).matches > 0 {
            return [None; 2];
        }
        let delta = if kind.is_retraction() { -1 } else { 1 };
        let (before, after) = rows.shift_matches(other, delta, self.ctx.now.0);
        rows.mark_dirty(other);
        let (before, after) = (alone.mark(before), alone.mark(after));
        if before == after {
            return [None; 2];
        }
        let change = |kind| move |mark| Change { kind, own: NONE, other, mark };
        // It comes with the row that it is matched by, and goes with it.
        let by_match = alone == Alone::Matched;
        let gone = if by_match { kind } else { RowKind::Delete };
        let come = if by_match { kind } else { RowKind::Insert };
        [before.map(change(gone)), after.map(change(come))]
    }

    /// All pairs of a row are applied: it may stand alone.
    fn finish(&mut self, row: usize, changes: &mut Vec<Change>) {
        let own = self.own[row];
        let Some(alone) = self.join.alone[self.side].filter(|_| !own.is_ignored) else { return };
        if let Some(mark) = alone.mark(self.join.matches[row]) {
            let kind = self.batch.kind(row);
            let kind = if self.join.gives_pairs || alone == Alone::Marked { plain(kind) } else { kind };
            changes.push(Change { kind, own: row as u32, other: NONE, mark });
        }
        if own.number != NONE {
            self.join.store.sides[self.side]
                .cache_mut()
                .rows_of_mut(own.in_page)
                .set_matches(own.number, self.join.matches[row]);
        }
    }

    /// Emits the changes so far, if they are so many.
    fn emit_if(&mut self, count: usize, changes: &mut Vec<Change>, decoded: Option<&Decoded>) -> Result<()> {
        if changes.len() < count {
            return Ok(());
        }
        let numbers = changes.iter().map(|change| change.other).filter(|other| *other != NONE);
        let own = match decoded {
            None => Some(self.decode(numbers)?),
            Some(_) => None,
        };
        let others = decoded.or(own.as_ref()).expect("one of them is there");
        let batch = self.join.layout.batch(changes, self.side, self.batch.rows(), others)?;
        changes.clear();
        self.out.emit(MAIN_PORT, batch)
    }
}

impl JoinOperator {
    /// Rows stand alone with NULLs beside them, so that a change of one row may be another change of the table.
    fn is_outer(&self) -> bool {
        self.gives_pairs && self.alone.iter().any(Option::is_some)
    }
}

/// The kind of a change that is no half of an update.
fn plain(kind: RowKind) -> RowKind {
    if kind.is_retraction() { RowKind::Delete } else { RowKind::Insert }
}
