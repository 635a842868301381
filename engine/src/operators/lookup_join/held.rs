//! Rows that wait for answers, batch by batch, and the watermarks between them.
//!
//! In order: rows leave as they came. Out of order: a row leaves when it is answered, but never past a watermark.

use std::collections::VecDeque;

use super::entries::KeyId;
use crate::Batch;
use crate::time::EventTime;

/// The row at `row` of the batch with number `batch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub batch: u64,
    pub row: u32,
}

pub struct HeldRows {
    ordered: bool,
    batches: VecDeque<HeldBatch>,
    /// Number of the batch at the front, or of the next one.
    first: u64,
    /// Watermarks, each with the number of the batch that came after it.
    marks: VecDeque<(u64, EventTime)>,
    /// No row waits in front of this watermark.
    released: EventTime,
    rows: usize,
    bytes: usize,
}

struct HeldBatch {
    batch: Batch,
    /// What each row waits for.
    keys: Vec<KeyId>,
    bytes: usize,
    /// In order: rows in front of this are gone.
    start: usize,
    /// Out of order: rows that are answered, and rows that are gone.
    answered: Vec<u32>,
    gone: Vec<bool>,
    left: usize,
}

/// Rows that leave.
pub struct Leaving {
    pub batch: Batch,
    pub rows: Vec<u32>,
    /// What each of the rows waited for.
    pub keys: Vec<KeyId>,
}

impl HeldRows {
    pub fn new(ordered: bool) -> Self {
        Self {
            ordered,
            batches: VecDeque::new(),
            first: 0,
            marks: VecDeque::new(),
            released: EventTime::MIN,
            rows: 0,
            bytes: 0,
        }
    }

    /// The number that the next batch will have.
    pub fn next_number(&self) -> u64 {
        self.first + self.batches.len() as u64
    }

    /// `answered`: the rows that wait for nothing, if rows may leave out of order.
    pub fn push(&mut self, batch: Batch, keys: Vec<KeyId>, answered: Vec<u32>) {
        assert_eq!(batch.num_rows(), keys.len(), "each row waits for one key");
        let (rows, bytes) = (batch.num_rows(), batch.size_bytes());
        self.rows += rows;
        self.bytes += bytes;
        let gone = if self.ordered { Vec::new() } else { vec![false; rows] };
        self.batches.push_back(HeldBatch { batch, keys, bytes, start: 0, answered, gone, left: rows });
    }

    /// Time moved behind all rows so far.
    pub fn mark(&mut self, watermark: EventTime) {
        let number = self.next_number();
        match self.marks.back_mut() {
            Some(last) if last.0 == number => last.1 = watermark,
            _ => self.marks.push_back((number, watermark)),
        }
        self.release();
    }

    /// The watermark that readers may be told.
    pub fn released(&self) -> EventTime {
        self.released
    }

    /// As it was before a restart.
    pub fn restore_released(&mut self, released: EventTime) {
        self.released = self.released.max(released);
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A row's key was answered, where rows may leave out of order.
    pub fn answer(&mut self, place: Place) {
        assert!(!self.ordered && place.batch >= self.first, "an answered row still waits");
        self.batches[(place.batch - self.first) as usize].answered.push(place.row);
    }

    /// True where [`HeldRows::leave`] has rows; `is_answered` tells it of keys where rows leave in order.
    pub fn can_leave(&self, is_answered: impl Fn(KeyId) -> bool) -> bool {
        if self.ordered {
            return self.batches.front().is_some_and(|held| is_answered(held.keys[held.start]));
        }
        self.batches.iter().take(self.open_batches()).any(|held| !held.answered.is_empty())
    }

    /// Rows that may leave now, of one batch.
    pub fn leave(&mut self, is_answered: impl Fn(KeyId) -> bool) -> Option<Leaving> {
        let leaving = if self.ordered { self.leave_in_order(is_answered) } else { self.leave_answered() };
        let leaving = leaving.filter(|leaving| !leaving.rows.is_empty())?;
        self.rows -= leaving.rows.len();
        while self.batches.front().is_some_and(|held| held.left == 0) {
            self.bytes -= self.batches.pop_front().map_or(0, |held| held.bytes);
            self.first += 1;
        }
        self.release();
        Some(leaving)
    }

    fn leave_in_order(&mut self, is_answered: impl Fn(KeyId) -> bool) -> Option<Leaving> {
        let held = self.batches.front_mut()?;
        let answered = held.keys[held.start..].iter().take_while(|key| is_answered(**key)).count();
        let rows = held.start..held.start + answered;
        held.start += answered;
        held.left -= answered;
        let keys = held.keys[rows.clone()].to_vec();
        Some(Leaving { batch: held.batch.clone(), rows: rows.map(|row| row as u32).collect(), keys })
    }

    fn leave_answered(&mut self) -> Option<Leaving> {
        let open = self.open_batches();
        let held = self.batches.iter_mut().take(open).find(|held| !held.answered.is_empty())?;
        let mut rows = std::mem::take(&mut held.answered);
        rows.sort_unstable();
        rows.iter().for_each(|row| held.gone[*row as usize] = true);
        held.left -= rows.len();
        let keys = rows.iter().map(|row| held.keys[*row as usize]).collect();
        Some(Leaving { batch: held.batch.clone(), rows, keys })
    }

    /// How many batches stand in front of the next watermark.
    fn open_batches(&self) -> usize {
        self.marks.front().map_or(self.batches.len(), |(number, _)| (number - self.first) as usize)
    }

    fn release(&mut self) {
        while self.marks.front().is_some_and(|(number, _)| *number <= self.first) {
            if let Some((_, watermark)) = self.marks.pop_front() {
                self.released = self.released.max(watermark);
            }
        }
    }

    /// All rows that still wait, in the order in which they came: batches with the numbers of their rows.
    pub fn waiting(&self) -> impl Iterator<Item = (&Batch, Vec<u32>)> {
        self.batches.iter().map(|held| {
            let still = |row: &u32| match self.ordered {
                true => *row as usize >= held.start,
                false => !held.gone[*row as usize],
            };
            (&held.batch, (0..held.batch.num_rows() as u32).filter(still).collect())
        })
    }
}
