//! The operator: each batch is joined with what the other side has in state, then kept for later rows of that side.

use std::collections::HashSet;

use arrow::array::{RecordBatch, UInt32Array};
use datafusion_common::JoinType;

use super::IntervalJoin;
use super::bounds::TimeBounds;
use super::rows::{RowPlace, RowStore, StoredRow};
use super::unmatched::Unmatched;
use crate::keys::KeyGroup;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, SIDE_PORT, SIDE_PORT_RIGHT};
use crate::operators::join_rows::{
    ByteRows, JoinedRows, LEFT, RIGHT, Side, gives_left_only, keeps_unmatched, pick, settled,
};
use crate::operators::key_table::BatchKeys;
use crate::operators::note::{NoteReader, NoteWriter};
use crate::operators::row_times::row_times;
use crate::time::window::TimeDomain;
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, EngineError, Epoch, Result};

pub struct IntervalJoinOperator {
    kind: JoinType,
    domain: TimeDomain,
    bounds: TimeBounds,
    sides: [Side; 2],
    times: [usize; 2],
    joined: JoinedRows,
    rows: RowStore,
    /// Of the sides whose rows are given without partner.
    unmatched: [Option<Unmatched>; 2],
    /// Rows that expire at this watermark are gone.
    freed_until: EventTime,
}

/// When a row came.
#[derive(Clone, Copy)]
struct Arrival {
    time: i64,
    /// What the row's split had reached before it.
    mark: i64,
}

/// A batch on its way through the operator.
struct Incoming {
    side: usize,
    rows: RecordBatch,
    arrivals: Vec<Arrival>,
    keys: BatchKeys,
    null_keys: Vec<bool>,
    /// By row: a partner was found.
    matched: Vec<bool>,
}

/// Stored rows that may be partners of a batch's rows, before the condition is checked.
#[derive(Default)]
struct Candidates {
    /// Row of the batch.
    incoming: Vec<u32>,
    stored: ByteRows,
    /// Entries of the stored rows, where it matters who has a partner.
    entries: ByteRows,
}

/// Stored rows that found a partner in this batch.
type Partners = HashSet<RowPlace>;

impl IntervalJoinOperator {
    pub fn new(plan: &IntervalJoin) -> Result<Self> {
        if plan.bounds.is_empty() {
            return Err(EngineError::Unsupported("an interval join needs lower bound <= upper bound".into()));
        }
        let [left, right] = &plan.inputs;
        let schemas = [left.schema.clone(), right.schema.clone()];
        let joined = JoinedRows::new(plan.kind, schemas, plan.condition.clone(), plan.schema.clone())?;
        let unmatched = |side| keeps_unmatched(plan.kind, side).then(|| Unmatched::new(side));
        Ok(Self {
            kind: plan.kind,
            domain: plan.domain,
            bounds: plan.bounds,
            sides: [Side::new(left)?, Side::new(right)?],
            times: plan.times,
            joined,
            rows: RowStore::new(plan.bounds.bucket_ms()),
            unmatched: [unmatched(LEFT), unmatched(RIGHT)],
            freed_until: EventTime::MIN,
        })
    }

    /// True for the side of which it matters whether a row has a partner.
    fn tracks_partners(&self, side: usize) -> bool {
        keeps_unmatched(self.kind, side) || (side == LEFT && gives_left_only(self.kind))
    }

    /// The watermark that no row can be behind. In processing time it follows the wall clock, which may go back.
    fn floor(&self, ctx: &OperatorContext) -> EventTime {
        match self.domain {
            TimeDomain::Event => settled(ctx.watermark).max(self.freed_until),
            TimeDomain::Processing => EventTime(ctx.now.0 - 1).max(self.freed_until),
        }
    }

    fn arrivals(&self, side: usize, batch: &Batch, ctx: &OperatorContext) -> Result<Vec<Arrival>> {
        let floor = self.floor(ctx);
        if self.domain == TimeDomain::Processing {
            return Ok(vec![Arrival { time: floor.0 + 1, mark: floor.0 }; batch.num_rows()]);
        }
        let times = row_times("IntervalJoin", batch.rows(), self.times[side])?.into_iter().enumerate();
        Ok(times.map(|(row, time)| Arrival { time, mark: floor.max(settled(batch.watermark_before(row))).0 }).collect())
    }

    /// Sends late rows to the side port and gives the others with when they came.
    fn split_late(
        &self,
        side: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<(Batch, Vec<Arrival>)> {
        let mut arrivals = self.arrivals(side, &batch, ctx)?;
        let is_late = |arrival: &Arrival| arrival.mark >= self.bounds.late_at(arrival.time);
        let (late, timely): (Vec<u32>, Vec<u32>) =
            (0..batch.num_rows() as u32).partition(|row| is_late(&arrivals[*row as usize]));
        if late.is_empty() {
            return Ok((batch, arrivals));
        }
        ctx.metrics.late.add(late.len());
        let port = if side == LEFT { SIDE_PORT } else { SIDE_PORT_RIGHT };
        out.emit(port, batch.take(&UInt32Array::from(late))?)?;
        arrivals.retain(|arrival| !is_late(arrival));
        Ok((batch.take(&UInt32Array::from(timely))?, arrivals))
    }

    fn incoming(&self, side: usize, batch: &Batch, arrivals: Vec<Arrival>) -> Result<Incoming> {
        let rows = batch.rows().clone();
        let keys = self.sides[side].encode_keys(&rows)?;
        let null_keys = self.sides[side].null_keys(&rows);
        let matched = vec![false; rows.num_rows()];
        Ok(Incoming { side, rows, arrivals, keys, null_keys, matched })
    }

    /// Finds the partners of all rows and emits the pairs; gives the stored rows that were found.
    fn join(&self, incoming: &mut Incoming, ctx: &OperatorContext, out: &mut dyn Collector) -> Result<Partners> {
        let (mut candidates, mut partners) = (Candidates::default(), Partners::new());
        for row in 0..incoming.rows.num_rows() {
            if incoming.null_keys[row] {
                continue;
            }
            self.collect(incoming, row, &mut candidates, &mut partners, ctx, out)?;
        }
        self.resolve(incoming, &mut candidates, &mut partners, ctx, out)?;
        Ok(partners)
    }

    /// Adds the stored rows that one row may be joined with.
    fn collect(
        &self,
        incoming: &mut Incoming,
        row: usize,
        candidates: &mut Candidates,
        partners: &mut Partners,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let other = 1 - incoming.side;
        let Arrival { time, mark } = incoming.arrivals[row];
        let expiry = self.bounds.expiry(incoming.side, time);
        let key = incoming.keys.key(row).to_vec();
        let group = KeyGroup::of(incoming.keys.hash(row), ctx.key_groups.max_parallelism);
        let times = self.bounds.partners(incoming.side, time);
        let tracked = self.tracks_partners(other);
        let visit = &mut |stored: &StoredRow<'_>| {
            // Neither came after the other could have been freed.
            if mark >= self.bounds.expiry(other, stored.time) || stored.mark >= expiry {
                return Ok(());
            }
            candidates.incoming.push(row as u32);
            candidates.stored.push(stored.row);
            if tracked {
                candidates.entries.push(stored.entry);
            }
            if candidates.stored.len() >= ctx.batch_rows.max(1) {
                self.resolve(incoming, candidates, partners, ctx, out)?;
            }
            Ok(())
        };
        self.rows.find(other, group, &key, &times, ctx, visit)
    }

    /// Checks the condition on the candidates and emits those that meet it.
    fn resolve(
        &self,
        incoming: &mut Incoming,
        candidates: &mut Candidates,
        partners: &mut Partners,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        if candidates.stored.is_empty() {
            return Ok(());
        }
        let own = pick(&incoming.rows, &candidates.incoming)?;
        let stored = self.sides[1 - incoming.side].codec.decode(candidates.stored.iter())?;
        let (left, right) = if incoming.side == LEFT { (own, stored) } else { (stored, own) };
        let (pairs, keep) = self.joined.pair(&left, &right)?;
        for (index, row) in candidates.incoming.iter().enumerate() {
            if keep.as_ref().is_some_and(|keep| !keep.value(index)) {
                continue;
            }
            incoming.matched[*row as usize] = true;
            if !candidates.entries.is_empty() {
                partners.insert(RowPlace::of_entry(candidates.entries.get(index), ctx)?);
            }
        }
        if !gives_left_only(self.kind) {
            emit(self.joined.matched(pairs, keep.as_ref())?, out)?;
        }
        *candidates = Candidates::default();
        Ok(())
    }

    /// What happens to stored rows that now have a partner.
    fn settle_partners(
        &mut self,
        side: usize,
        partners: Partners,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let mut given = ByteRows::default();
        for place in partners {
            if self.kind == JoinType::LeftSemi {
                given.extend_from(self.rows.get(side, &place, ctx)?.as_deref());
            }
            let news = match gives_left_only(self.kind) {
                true => self.rows.delete(side, &place, ctx).map(|()| true)?,
                false => self.rows.mark_partner(side, &place, ctx)?,
            };
            if let Some(unmatched) = self.unmatched[side].as_ref().filter(|_| news) {
                unmatched.delete(&place, ctx)?;
            }
        }
        self.emit_alone(side, &given, out)
    }

    /// Keeps the rows of a batch that may find partners later; those that cannot are given alone at once.
    fn keep(&mut self, incoming: &Incoming, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let side = incoming.side;
        let bytes = self.sides[side].codec.encode(&incoming.rows)?;
        let floor = self.floor(ctx).0;
        let mut alone = Vec::new();
        for (row, Arrival { time, mark }) in incoming.arrivals.iter().copied().enumerate() {
            let matched = incoming.matched[row];
            let can_wait = !incoming.null_keys[row] && self.bounds.expiry(side, time) > floor;
            if matched && side == LEFT && gives_left_only(self.kind) {
                alone.extend((self.kind == JoinType::LeftSemi).then_some(row as u32));
            } else if can_wait {
                let group = KeyGroup::of(incoming.keys.hash(row), ctx.key_groups.max_parallelism);
                let place = self.rows.place(group, incoming.keys.key(row), time);
                self.rows.put(side, &place, mark, matched, bytes.row(row), ctx)?;
                if let Some(unmatched) = self.unmatched[side].as_mut().filter(|_| !matched) {
                    unmatched.put(&place, ctx)?;
                }
            } else if !matched && keeps_unmatched(self.kind, side) {
                alone.push(row as u32);
            }
        }
        if alone.is_empty() { Ok(()) } else { emit(self.joined.alone(side, &pick(&incoming.rows, &alone)?)?, out) }
    }

    fn emit_alone(&self, side: usize, rows: &ByteRows, out: &mut dyn Collector) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows = self.sides[side].codec.decode(rows.iter())?;
        emit(self.joined.alone(side, &rows)?, out)
    }

    /// Gives rows that have expired without partner, and frees what nobody needs at this watermark.
    fn expire(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        if watermark <= self.freed_until {
            return Ok(());
        }
        for side in [LEFT, RIGHT] {
            let until = self.bounds.expired_until(side, watermark.0);
            self.give_unmatched(side, until, ctx, out)?;
            self.rows.free(side, until, ctx)?;
        }
        self.freed_until = watermark;
        Ok(())
    }

    fn give_unmatched(
        &mut self,
        side: usize,
        until: i64,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        loop {
            let Some(unmatched) = &mut self.unmatched[side] else { return Ok(()) };
            let places = unmatched.take(until, ctx.batch_rows.max(1), ctx)?;
            if places.is_empty() {
                return Ok(());
            }
            let mut rows = ByteRows::default();
            for place in &places {
                rows.extend_from(self.rows.get(side, place, ctx)?.as_deref());
            }
            self.emit_alone(side, &rows, out)?;
        }
    }
}

fn emit(rows: RecordBatch, out: &mut dyn Collector) -> Result<()> {
    if rows.num_rows() == 0 { Ok(()) } else { out.emit(MAIN_PORT, Batch::new(rows)) }
}

impl Operator for IntervalJoinOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let mut freed_until: Option<EventTime> = None;
        for note in ctx.state.restored_notes() {
            let mut note = NoteReader::new(note);
            let own = EventTime(note.read()?);
            freed_until = Some(freed_until.map_or(own, |other| other.min(own)));
            self.rows.read_note(&mut note)?;
        }
        self.freed_until = freed_until.unwrap_or(EventTime::MIN);
        Ok(())
    }

    fn on_batch(
        &mut self,
        input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let (batch, arrivals) = self.split_late(input, batch, ctx, out)?;
        let mut incoming = self.incoming(input, &batch, arrivals)?;
        let partners = self.join(&mut incoming, ctx, out)?;
        self.settle_partners(1 - input, partners, ctx, out)?;
        self.keep(&incoming, ctx, out)
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        match self.domain {
            TimeDomain::Event => self.expire(settled(watermark), ctx, out),
            TimeDomain::Processing => Ok(()),
        }
    }

    /// A joined row has the times of both sides, one of which may be as old as the interval lets it be.
    fn output_watermark(&self, input: EventTime) -> EventTime {
        let right_absent = gives_left_only(self.kind) || keeps_unmatched(self.kind, LEFT);
        let left_absent = keeps_unmatched(self.kind, RIGHT);
        match self.domain {
            TimeDomain::Event => self.bounds.delayed(settled(input), [!left_absent || right_absent, !right_absent]),
            TimeDomain::Processing => input,
        }
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        let mut note = NoteWriter::default();
        note.push(self.freed_until.0);
        self.rows.write_note(&mut note);
        ctx.state.set_note(note.finish());
        Ok(())
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        match self.domain {
            TimeDomain::Event => Ok(()),
            TimeDomain::Processing => self.expire(EventTime(ctx.now.0 - 1), ctx, out),
        }
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        if self.domain != TimeDomain::Processing {
            return None;
        }
        let first = [LEFT, RIGHT].into_iter().filter_map(|side| Some(self.bounds.expiry(side, self.rows.first(side)?)));
        // More rows may still come within the current millisecond.
        first.min().map(|expiry| ProcessingTime(expiry.saturating_add(1)))
    }

    fn on_end(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        match self.domain {
            TimeDomain::Event => Ok(()),
            TimeDomain::Processing => self.expire(EventTime::MAX, ctx, out),
        }
    }
}
