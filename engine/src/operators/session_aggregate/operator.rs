//! The operator around the sessions: time, state, budget. What a closed session emits is up to a [`SessionOutput`].

use std::collections::BTreeSet;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::cache::SessionCache;
use super::runs::{Run, Runs};
use super::stored::StoredSessions;
use crate::aggregate::AggregateSet;
use crate::keys::hash_key;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext};
use crate::operators::key_table::KeyColumns;
use crate::operators::late::emit_late;
use crate::operators::note::{NoteReader, NoteWriter};
use crate::operators::row_times::row_times;
use crate::operators::window_aggregate::Emission;
use crate::time::assign::Window;
use crate::time::window::{Moment, TimeDomain};
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, Epoch, Result};

/// Keys without sessions are cleared away when there are more than this, and more than of the others.
const DEAD_KEYS_MIN: usize = 4096;

/// Makes the results of sessions.
pub trait SessionOutput: Send {
    /// `slots[i]` of `values` is a session of `key_bytes[i]` with the bounds `windows[i]`, which are instants.
    fn rows(
        &self,
        keys: &KeyColumns,
        key_bytes: Vec<&[u8]>,
        values: &AggregateSet,
        slots: &[u32],
        windows: &[Window],
    ) -> Result<RecordBatch>;
}

/// What becomes of the rows of a batch.
#[derive(Clone, Copy)]
enum Effect {
    Add,
    TakeBack,
}

/// Collects rows in sessions and emits each session when it is closed, or more than once.
pub struct SessionOperator {
    name: &'static str,
    domain: TimeDomain,
    time_column: usize,
    keys: KeyColumns,
    cache: SessionCache,
    stored: StoredSessions,
    output: Box<dyn SessionOutput>,
    emission: Emission,
    batches: u64,
}

impl SessionOperator {
    pub fn new(
        name: &'static str,
        domain: TimeDomain,
        time_column: usize,
        keys: KeyColumns,
        cache: SessionCache,
        output: Box<dyn SessionOutput>,
    ) -> Self {
        let emission = cache.shown.as_ref().map(|shown| shown.emission).unwrap_or_default();
        let stored = StoredSessions::default();
        Self { name, domain, time_column, keys, cache, stored, output, emission, batches: 0 }
    }

    /// Time of every row, and up to where sessions had closed before it.
    fn times(&self, batch: &Batch, ctx: &OperatorContext) -> Result<Vec<(i64, EventTime)>> {
        let fired_until = self.cache.fired_until;
        if self.domain == TimeDomain::Processing {
            let now = ctx.now.0.max(fired_until.0.saturating_add(1));
            return Ok(vec![(now, EventTime(now - 1)); batch.num_rows()]);
        }
        let times = row_times(self.name, batch.rows(), self.time_column)?.into_iter().enumerate();
        let passed = |row: usize| passed(ctx.watermark.max(batch.watermark_before(row))).max(fired_until);
        Ok(times.map(|(row, time)| (time, self.emission.settled(passed(row)))).collect())
    }

    /// The keys of a batch's rows; those that are new in memory are read from state.
    fn intern_keys(&mut self, batch: &Batch, ctx: &OperatorContext) -> Result<Vec<u32>> {
        let keys = self.keys.encode(batch.rows())?;
        self.batches += 1;
        let mut new = Vec::new();
        let mut of_row = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let (key, is_new) = self.cache.intern(keys.hash(row), keys.key(row));
            if is_new {
                new.push(key);
            }
            self.cache.entries[key as usize].used_in_batch = self.batches;
            of_row.push(key);
        }
        self.stored.read(&new, &mut self.cache, ctx)?;
        Ok(of_row)
    }

    /// Adds rows to sessions, or takes them back. Gives those that are late.
    fn apply(&mut self, batch: &Batch, effect: Effect, ctx: &OperatorContext) -> Result<Vec<u32>> {
        let times = self.times(batch, ctx)?;
        let keys = self.intern_keys(batch, ctx)?;
        let columns = self.cache.calls().project(batch.rows())?;
        let rows = keys.iter().zip(&times).zip(0u32..);
        let rows = rows.map(|((key, (time, closed)), row)| (row, *key, *time, *closed));
        let placed = match effect {
            Effect::Add => self.cache.place(rows, &columns)?,
            Effect::TakeBack => self.cache.take_back(rows, &columns)?,
        };
        let fired_until = self.cache.fired_until;
        if let Some(shown) = &mut self.cache.shown {
            for row in placed.rows {
                let is_behind = EventTime(times[row as usize].0) <= fired_until;
                shown.changed(keys[row as usize], is_behind, ctx.now);
            }
        }
        Ok(placed.late)
    }

    fn on_moment(&mut self, moment: Moment, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.domain.closed_until(moment).map_or(Ok(()), |watermark| self.fire(watermark, ctx, out))
    }

    fn fire(&mut self, passed: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let before = self.cache.fired_until;
        self.cache.fired_until = before.max(passed);
        loop {
            let due = self.cache.due_keys(passed);
            self.settle(&due, before, ctx, out)?;
            let loaded = self.load_due(passed, ctx, out)?;
            if loaded == 0 {
                break;
            }
        }
        self.keep_to_budget(ctx, out)
    }

    /// Tells and closes those sessions of some keys whose time has come.
    fn settle(
        &mut self,
        keys: &[u32],
        before: EventTime,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let (ended, closed) = (self.cache.fired_until, self.emission.settled(self.cache.fired_until));
        let is_due = |run: &Run| {
            let end = EventTime(run.end);
            end <= closed || (end <= ended && end > before)
        };
        let runs = self.runs_of(keys);
        let mut due: Vec<Run> = runs.list.iter().filter(|run| is_due(run)).cloned().collect();
        due.sort_by_key(|run| run.end);
        self.emit(&runs, &due, ctx, out)?;
        due.retain(|run| EventTime(run.end) <= closed);
        due.iter().for_each(|run| self.cache.close(runs.slots_of(run)));
        self.settle_shown(keys, &due, closed, ctx, out)?;
        keys.iter().for_each(|key| self.cache.look_again(*key));
        Ok(())
    }

    /// Forgets what was shown of sessions that have closed, and corrects what was shown of windows that are none any more.
    fn settle_shown(
        &mut self,
        keys: &[u32],
        closing: &[Run],
        closed: EventTime,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let Some(shown) = &mut self.cache.shown else { return Ok(()) };
        shown.forget(closing);
        let outdated: BTreeSet<u32> = keys.iter().copied().filter(|key| shown.is_outdated(*key, closed)).collect();
        if outdated.is_empty() {
            return Ok(());
        }
        let until = if self.emission.early_ms.is_some() { EventTime::MAX } else { self.cache.fired_until };
        self.show(&outdated, until, ctx, out)?;
        let Some(shown) = &mut self.cache.shown else { return Ok(()) };
        outdated.iter().try_for_each(|key| shown.take_back_closed(*key, closed, out))
    }

    fn runs_of<'a>(&self, keys: impl IntoIterator<Item = &'a u32>) -> Runs {
        let mut runs = Runs::default();
        keys.into_iter().for_each(|key| self.cache.runs_of(*key, &mut runs));
        runs
    }

    /// Shows what is due on the wall clock.
    fn show_due(&mut self, now: ProcessingTime, ctx: &OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let Some(shown) = &mut self.cache.shown else { return Ok(()) };
        let (early, late) = shown.take_due(now);
        self.show(&early, EventTime::MAX, ctx, out)?;
        self.show(&late, self.cache.fired_until, ctx, out)?;
        early.iter().chain(&late).for_each(|key| self.cache.look_when_due(*key));
        Ok(())
    }

    /// Shows the sessions of some keys that end at `until` or before.
    fn show(
        &mut self,
        keys: &BTreeSet<u32>,
        until: EventTime,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let runs = self.runs_of(keys);
        let shows: Vec<Run> = runs.list.iter().filter(|run| EventTime(run.end) <= until).cloned().collect();
        self.emit(&runs, &shows, ctx, out)?;
        if !self.cache.takes_back() {
            return Ok(());
        }
        let Some(shown) = &mut self.cache.shown else { return Ok(()) };
        keys.iter().try_for_each(|key| {
            let own: Vec<Run> = runs.list.iter().filter(|run| run.key == *key).cloned().collect();
            shown.take_back_empty(*key, &own, out)
        })
    }

    /// Brings keys with sessions that have ended or close from state into memory; returns how many.
    fn load_due(&mut self, passed: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<usize> {
        self.keep_to_budget(ctx, out)?;
        let due = self.stored.due(passed, ctx.batch_rows.max(1), &self.cache, ctx)?;
        let new: Vec<u32> = due.iter().map(|key| self.cache.intern(hash_key(key), key).0).collect();
        self.stored.read(&new, &mut self.cache, ctx)?;
        Ok(new.len())
    }

    fn emit(&mut self, runs: &Runs, chosen: &[Run], ctx: &OperatorContext, out: &mut dyn Collector) -> Result<()> {
        for chosen in chosen.chunks(ctx.batch_rows.max(1)) {
            let rows = self.result_rows(runs, chosen)?;
            match &mut self.cache.shown {
                Some(shown) => shown.tell(chosen, &rows, out)?,
                None => out.emit(MAIN_PORT, Batch::new(rows))?,
            }
        }
        Ok(())
    }

    fn result_rows(&self, runs: &Runs, chosen: &[Run]) -> Result<RecordBatch> {
        let key_bytes = chosen.iter().map(|run| self.cache.keys.key(run.key)).collect();
        let windows: Vec<Window> = chosen.iter().map(Run::window).collect();
        self.cache
            .with_values(runs, chosen, |values, slots| self.output.rows(&self.keys, key_bytes, values, slots, &windows))
    }

    fn keep_to_budget(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let size_bytes = self.cache.size_bytes();
        ctx.metrics.cache_bytes.set(size_bytes as i64);
        if size_bytes > ctx.cache_budget_bytes {
            // What waits to be shown is known in memory only.
            self.show_due(ProcessingTime(i64::MAX), ctx, out)?;
            return self.drop_cold_keys(size_bytes, ctx);
        }
        if self.cache.entries.len() > DEAD_KEYS_MIN + 2 * self.cache.open_count() {
            self.stored.delete_gone(&mut self.cache, ctx)?;
            self.cache.retain(&self.cache.live_keys())?;
        }
        Ok(())
    }

    /// Writes everything and keeps the keys used last, up to half of the budget.
    fn drop_cold_keys(&mut self, size_bytes: usize, ctx: &mut OperatorContext) -> Result<()> {
        self.stored.write_all(&mut self.cache, ctx)?;
        let bytes_per_key = size_bytes / self.cache.entries.len().max(1) + 1;
        let used = |key: u32| (self.cache.entries[key as usize].used_in_batch, key);
        let mut by_use: Vec<(u64, u32)> = self.cache.live_keys().into_iter().map(used).collect();
        by_use.sort_unstable_by(|one, other| other.cmp(one));
        let live = by_use.len();
        by_use.truncate(ctx.cache_budget_bytes / 2 / bytes_per_key);
        ctx.metrics.spilled.add(live - by_use.len());
        let keep: Vec<u32> = by_use.into_iter().map(|(_, key)| key).collect();
        self.cache.retain(&keep)?;
        ctx.metrics.cache_bytes.set(self.cache.size_bytes() as i64);
        Ok(())
    }
}

impl Operator for SessionOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let mut watermark: Option<EventTime> = None;
        for note in ctx.state.restored_notes() {
            let own = EventTime(NoteReader::new(note).read()?);
            watermark = Some(watermark.map_or(own, |watermark| watermark.min(own)));
        }
        self.cache.fired_until = watermark.unwrap_or(EventTime::MIN);
        self.stored.open(&mut self.cache, ctx)
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let (added, taken) = batch.split_by_effect()?;
        let late = self.apply(&added, Effect::Add, ctx)?;
        emit_late(&added, &late, ctx, out)?;
        if let Some(taken) = taken {
            // What is late is counted, but not shown: a side table holds rows, and this is none.
            let late = self.apply(&taken, Effect::TakeBack, ctx)?;
            ctx.metrics.late.add(late.len());
        }
        self.show_due(ctx.now, ctx, out)?;
        self.keep_to_budget(ctx, out)
    }

    /// A session [start, end) is emitted for the last time once time has passed `end` and the allowed lateness, with a
    /// window_time of `end - 1`: time behind it must not be there yet.
    fn output_watermark(&self, input: EventTime) -> EventTime {
        self.emission.settled(passed(passed(input)))
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.on_moment(Moment::Watermark(passed(watermark)), ctx, out)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.stored.on_barrier(&mut self.cache, ctx)?;
        let mut note = NoteWriter::default();
        note.push(self.cache.fired_until.0);
        ctx.state.set_note(note.finish());
        Ok(())
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.on_moment(Moment::WallClock(ctx.now), ctx, out)?;
        self.show_due(ctx.now, ctx, out)
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        let timer = || [self.cache.next_timer(), self.stored.next_timer()].into_iter().flatten().min();
        // Time has passed a session's end a millisecond behind it.
        let fires = (self.domain == TimeDomain::Processing).then(timer).flatten();
        let fires = fires.map(|end| ProcessingTime(end.saturating_add(1)));
        let shows = self.cache.shown.as_ref().and_then(|shown| shown.next_time());
        fires.into_iter().chain(shows).min()
    }

    fn on_end(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.on_moment(Moment::End, ctx, out)
    }
}

/// Up to where time has wholly passed at a watermark: rows as old as the watermark itself may still come, such as
/// others of the row that it was told by.
fn passed(watermark: EventTime) -> EventTime {
    if watermark == EventTime::MAX { watermark } else { EventTime(watermark.0.saturating_sub(1)) }
}

/// The rows with the given numbers, in that order; no copy where they are all rows.
pub fn take_rows(columns: &RecordBatch, rows: &[u32]) -> Result<RecordBatch> {
    if rows.len() == columns.num_rows() {
        return Ok(columns.clone());
    }
    if columns.num_columns() == 0 {
        return Ok(columns.slice(0, rows.len()));
    }
    Ok(take_record_batch(columns, &UInt32Array::from(rows.to_vec()))?)
}
