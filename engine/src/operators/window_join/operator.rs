//! The operator: rows are stored by the time at which their window closes, and joined key by key when it does.
//!
//! A key in state is: tag of the side, closing time, the join key's bytes, a number that tells equal rows apart.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use arrow::array::{RecordBatch, UInt32Array};
use datafusion_common::JoinType;

use super::WindowJoin;
use crate::keys::KeyGroup;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, SIDE_PORT, SIDE_PORT_RIGHT};
use crate::operators::join_rows::{ByteRows, JoinedRows, LEFT, RIGHT, Side, gives_left_only, keeps_unmatched, pick};
use crate::operators::note::{NoteReader, NoteWriter, sortable};
use crate::operators::row_times::row_times;
use crate::state::Writes;
use crate::time::EventTime;
use crate::time::assign::closing_watermark;
use crate::{Batch, EngineError, Epoch, Result};

/// Bytes before the join key: tag and closing time.
const HEAD_BYTES: usize = 9;
/// Bytes behind the join key: the number.
const TAIL_BYTES: usize = 8;

pub struct WindowJoinOperator {
    plan: WindowJoin,
    sides: [Side; 2],
    joined: JoinedRows,
    /// Watermarks at which windows that have rows close.
    open: BTreeSet<i64>,
    next_number: i64,
    /// Windows that close at this watermark are gone.
    fired_until: EventTime,
}

/// One side's rows of a window and a key group, by key.
struct WindowRows {
    keys: ByteRows,
    rows: RecordBatch,
    matched: Vec<bool>,
}

impl WindowJoinOperator {
    pub fn new(plan: &WindowJoin) -> Result<Self> {
        let [left, right] = &plan.inputs;
        let schemas = [left.schema.clone(), right.schema.clone()];
        let joined = JoinedRows::new(plan.kind, schemas, plan.condition.clone(), plan.schema.clone())?;
        Ok(Self {
            plan: plan.clone(),
            sides: [Side::new(left)?, Side::new(right)?],
            joined,
            open: BTreeSet::new(),
            next_number: 0,
            fired_until: EventTime::MIN,
        })
    }

    /// The watermark at which each row's window closes.
    fn closings(&self, side: usize, batch: &Batch) -> Result<Vec<i64>> {
        let mut ends = row_times("WindowJoin", batch.rows(), self.plan.ends[side])?;
        // Most neighbours are of the same window, and calendars are slow.
        let mut last = None;
        for end in &mut ends {
            let closing = match last {
                Some((known, closing)) if known == *end => closing,
                _ => closing_watermark(self.plan.zone, *end).0,
            };
            last = Some((*end, closing));
            *end = closing;
        }
        Ok(ends)
    }

    /// Sends late rows to the side port and gives the others with the time at which their windows close.
    fn split_late(
        &self,
        side: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<(Batch, Vec<i64>)> {
        let floor = ctx.watermark.max(self.fired_until);
        let closings = self.closings(side, &batch)?;
        let is_late = |row: &u32| closings[*row as usize] <= floor.max(batch.watermark_before(*row as usize)).0;
        let (late, timely): (Vec<u32>, Vec<u32>) = (0..batch.num_rows() as u32).partition(is_late);
        if late.is_empty() {
            return Ok((batch, closings));
        }
        ctx.metrics.late.add(late.len());
        let port = if side == LEFT { SIDE_PORT } else { SIDE_PORT_RIGHT };
        out.emit(port, batch.take(&UInt32Array::from(late))?)?;
        let kept = timely.iter().map(|row| closings[*row as usize]).collect();
        Ok((batch.take(&UInt32Array::from(timely))?, kept))
    }

    /// Stores rows. Those with a NULL in their key meet nobody: they need not wait.
    fn keep(
        &mut self,
        side: usize,
        rows: &RecordBatch,
        closings: &[i64],
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let keys = self.sides[side].encode_keys(rows)?;
        let null_keys = self.sides[side].null_keys(rows);
        let bytes = self.sides[side].codec.encode(rows)?;
        let (mut alone, mut writes) = (Vec::new(), Writes::default());
        for (row, closing) in closings.iter().enumerate() {
            if null_keys[row] {
                alone.extend(keeps_unmatched(self.plan.kind, side).then_some(row as u32));
                continue;
            }
            self.next_number += 1;
            let group = KeyGroup::of(keys.hash(row), ctx.key_groups.max_parallelism);
            let entry = [&prefix(side, *closing), keys.key(row), &sortable(self.next_number)];
            writes.put(group, &entry, bytes.row(row));
            writes.flush_when_full(ctx.state.as_mut())?;
            self.open.insert(*closing);
        }
        writes.flush(ctx.state.as_mut())?;
        self.emit_alone(side, rows, &alone, out)
    }

    /// Joins what windows have that close at this watermark, in the order in which they close.
    fn fire(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        while let Some(closing) = self.open.first().copied().filter(|closing| *closing <= watermark.0) {
            for group in ctx.key_groups.groups().map(KeyGroup) {
                let sides = [self.read(LEFT, closing, group, ctx)?, self.read(RIGHT, closing, group, ctx)?];
                self.join(sides, ctx.batch_rows.max(1), out)?;
            }
            for side in [LEFT, RIGHT] {
                ctx.state.delete_prefixes(ctx.key_groups.groups(), &prefix(side, closing))?;
            }
            self.open.pop_first();
        }
        self.fired_until = self.fired_until.max(watermark);
        Ok(())
    }

    fn read(&self, side: usize, closing: i64, group: KeyGroup, ctx: &OperatorContext) -> Result<WindowRows> {
        let (mut keys, mut rows) = (ByteRows::default(), ByteRows::default());
        ctx.state.scan(group, &prefix(side, closing), &mut |entry, row| {
            keys.push(entry.get(HEAD_BYTES..entry.len().saturating_sub(TAIL_BYTES)).ok_or_else(damaged)?);
            rows.push(row);
            Ok(true)
        })?;
        let rows = self.sides[side].codec.decode(rows.iter())?;
        Ok(WindowRows { matched: vec![false; keys.len()], keys, rows })
    }

    /// Both sides are sorted by key: equal keys are found in one pass.
    fn join(&self, mut sides: [WindowRows; 2], rows_max: usize, out: &mut dyn Collector) -> Result<()> {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let (mut at_left, mut at_right) = (0, 0);
        while at_left < sides[LEFT].keys.len() && at_right < sides[RIGHT].keys.len() {
            match sides[LEFT].keys.get(at_left).cmp(sides[RIGHT].keys.get(at_right)) {
                Ordering::Less => at_left += 1,
                Ordering::Greater => at_right += 1,
                Ordering::Equal => {
                    let ends = [sides[LEFT].end_of_key(at_left), sides[RIGHT].end_of_key(at_right)];
                    for one in at_left..ends[LEFT] {
                        for other in at_right..ends[RIGHT] {
                            left.push(one as u32);
                            right.push(other as u32);
                            if left.len() == rows_max {
                                self.pair(&mut sides, &mut left, &mut right, out)?;
                            }
                        }
                    }
                    [at_left, at_right] = ends;
                }
            }
        }
        self.pair(&mut sides, &mut left, &mut right, out)?;
        self.give_alone(&sides, out)
    }

    /// Checks the condition on pairs of rows and emits those that meet it.
    fn pair(
        &self,
        sides: &mut [WindowRows; 2],
        left: &mut Vec<u32>,
        right: &mut Vec<u32>,
        out: &mut dyn Collector,
    ) -> Result<()> {
        if left.is_empty() {
            return Ok(());
        }
        let (pairs, keep) = self.joined.pair(&pick(&sides[LEFT].rows, left)?, &pick(&sides[RIGHT].rows, right)?)?;
        for (index, (one, other)) in left.drain(..).zip(right.drain(..)).enumerate() {
            let kept = keep.as_ref().is_none_or(|keep| keep.value(index));
            sides[LEFT].matched[one as usize] |= kept;
            sides[RIGHT].matched[other as usize] |= kept;
        }
        if gives_left_only(self.plan.kind) {
            return Ok(());
        }
        emit(self.joined.matched(pairs, keep.as_ref())?, out)
    }

    /// Gives rows that the join gives for themselves, once it is known who has a partner.
    fn give_alone(&self, sides: &[WindowRows; 2], out: &mut dyn Collector) -> Result<()> {
        for (side, rows) in sides.iter().enumerate() {
            let semi = side == LEFT && self.plan.kind == JoinType::LeftSemi;
            if !semi && !keeps_unmatched(self.plan.kind, side) {
                continue;
            }
            let wanted = rows.matched.iter().enumerate().filter(|(_, matched)| **matched == semi);
            let wanted: Vec<u32> = wanted.map(|(row, _)| row as u32).collect();
            self.emit_alone(side, &rows.rows, &wanted, out)?;
        }
        Ok(())
    }

    fn emit_alone(&self, side: usize, rows: &RecordBatch, numbers: &[u32], out: &mut dyn Collector) -> Result<()> {
        if numbers.is_empty() { Ok(()) } else { emit(self.joined.alone(side, &pick(rows, numbers)?)?, out) }
    }
}

impl WindowRows {
    /// Behind the last row with the key of the row at `first`.
    fn end_of_key(&self, first: usize) -> usize {
        let key = self.keys.get(first);
        (first..self.keys.len()).find(|row| self.keys.get(*row) != key).unwrap_or(self.keys.len())
    }
}

/// Entries of a side's windows that close at this watermark start with this.
fn prefix(side: usize, closing: i64) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(64);
    prefix.push(if side == LEFT { b'l' } else { b'r' });
    prefix.extend_from_slice(&sortable(closing));
    prefix
}

fn emit(rows: RecordBatch, out: &mut dyn Collector) -> Result<()> {
    if rows.num_rows() == 0 { Ok(()) } else { out.emit(MAIN_PORT, Batch::new(rows)) }
}

fn damaged() -> EngineError {
    EngineError::State("a stored row of a window join cannot be read: it was written by another version".into())
}

impl Operator for WindowJoinOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let mut fired_until: Option<EventTime> = None;
        for note in ctx.state.restored_notes() {
            let mut note = NoteReader::new(note);
            let own = EventTime(note.read()?);
            fired_until = Some(fired_until.map_or(own, |other| other.min(own)));
            self.next_number = self.next_number.max(note.read()?);
            while !note.is_at_end() {
                self.open.insert(note.read()?);
            }
        }
        self.fired_until = fired_until.unwrap_or(EventTime::MIN);
        Ok(())
    }

    fn on_batch(
        &mut self,
        input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let (batch, closings) = self.split_late(input, batch, ctx, out)?;
        self.keep(input, batch.rows(), &closings, ctx, out)
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.fire(watermark, ctx, out)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        let mut note = NoteWriter::default();
        note.push(self.fired_until.0);
        note.push(self.next_number);
        self.open.iter().for_each(|closing| note.push(*closing));
        ctx.state.set_note(note.finish());
        Ok(())
    }
}
