//! The operator around the sessions: time, state, budget. What a closed session emits is up to a [`SessionOutput`].

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::cache::SessionCache;
use super::stored::StoredSessions;
use crate::aggregate::AggregateSet;
use crate::keys::hash_key;
use crate::operator::{Collector, Operator, OperatorContext};
use crate::operators::key_table::KeyColumns;
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::operators::late::emit_late;
use crate::operators::note::{NoteReader, NoteWriter};
use crate::operators::row_times::row_times;
use crate::time::EventTime;
use crate::time::assign::Window;
use crate::time::window::{Moment, TimeDomain, WindowKind, WindowSpec};
use crate::{Batch, EngineError, Epoch, Result};

/// Keys without sessions are cleared away when there are more than this, and more than of the others.
const DEAD_KEYS_MIN: usize = 4096;

/// Emits closed sessions.
pub trait SessionOutput: Send {
    /// `slots[i]` of `values` is a session of `key_bytes[i]` with the bounds `windows[i]`, which are instants.
    fn emit(
        &self,
        keys: &KeyColumns,
        key_bytes: Vec<&[u8]>,
        values: &AggregateSet,
        slots: &[u32],
        windows: &[Window],
        out: &mut dyn Collector,
    ) -> Result<()>;
}

/// Collects rows in sessions and emits each session when it is closed.
pub struct SessionOperator {
    name: &'static str,
    domain: TimeDomain,
    time_column: usize,
    keys: KeyColumns,
    cache: SessionCache,
    stored: StoredSessions,
    output: Box<dyn SessionOutput>,
    /// Sessions that had ended when time had passed this have been emitted.
    fired_until: EventTime,
    batches: u64,
}

impl SessionOperator {
    pub fn new(
        name: &'static str,
        spec: &WindowSpec,
        time_column: usize,
        keys: KeyColumns,
        calls: NarrowCalls,
        output: Box<dyn SessionOutput>,
    ) -> Result<Self> {
        spec.validate().map_err(EngineError::Unsupported)?;
        let WindowKind::Session { gap_ms } = spec.kind else {
            return Err(EngineError::Unsupported(format!("{name} takes session windows only")));
        };
        Ok(Self {
            name,
            domain: spec.domain,
            time_column,
            keys,
            cache: SessionCache::new(calls, gap_ms)?,
            stored: StoredSessions::default(),
            output,
            fired_until: EventTime::MIN,
            batches: 0,
        })
    }

    /// Time and watermark of every row.
    fn times(&self, batch: &Batch, ctx: &OperatorContext) -> Result<Vec<(i64, EventTime)>> {
        if self.domain == TimeDomain::Processing {
            let now = ctx.now.0.max(self.fired_until.0.saturating_add(1));
            return Ok(vec![(now, EventTime(now - 1)); batch.num_rows()]);
        }
        let times = row_times(self.name, batch.rows(), self.time_column)?.into_iter().enumerate();
        let passed = |row: usize| passed(ctx.watermark.max(batch.watermark_before(row))).max(self.fired_until);
        Ok(times.map(|(row, time)| (time, passed(row))).collect())
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

    fn on_moment(&mut self, moment: Moment, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.domain.closed_until(moment).map_or(Ok(()), |watermark| self.fire(watermark, ctx, out))
    }

    fn fire(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let rows = ctx.batch_rows.max(1);
        loop {
            let due = self.cache.due(watermark);
            due.chunks(rows).try_for_each(|slots| self.emit(slots, out))?;
            self.cache.close(&due);
            let loaded = self.load_due(watermark, rows, ctx)?;
            if loaded == 0 {
                break;
            }
        }
        self.fired_until = self.fired_until.max(watermark);
        self.keep_to_budget(ctx)
    }

    /// Brings keys with closed sessions from state into memory; returns how many.
    fn load_due(&mut self, watermark: EventTime, count: usize, ctx: &mut OperatorContext) -> Result<usize> {
        self.keep_to_budget(ctx)?;
        let due = self.stored.due(watermark, count, &self.cache, ctx)?;
        let new: Vec<u32> = due.iter().map(|key| self.cache.intern(hash_key(key), key).0).collect();
        self.stored.read(&new, &mut self.cache, ctx)?;
        Ok(new.len())
    }

    fn emit(&self, slots: &[u32], out: &mut dyn Collector) -> Result<()> {
        let sessions = || slots.iter().map(|slot| self.cache.sessions[*slot as usize]);
        let key_bytes = sessions().map(|session| self.cache.keys.key(session.key)).collect();
        let windows: Vec<Window> =
            sessions().map(|session| Window { end: session.end, start: session.start }).collect();
        self.output.emit(&self.keys, key_bytes, &self.cache.values, slots, &windows, out)
    }

    fn keep_to_budget(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let size_bytes = self.cache.size_bytes();
        ctx.metrics.cache_bytes.set(size_bytes as i64);
        if size_bytes > ctx.cache_budget_bytes {
            return self.drop_cold_keys(size_bytes, ctx);
        }
        let live_keys = self.cache.open_count();
        if self.cache.entries.len() > DEAD_KEYS_MIN + 2 * live_keys {
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
        self.fired_until = watermark.unwrap_or(EventTime::MIN);
        self.stored.open(&mut self.cache, ctx)
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let times = self.times(&batch, ctx)?;
        let keys = self.intern_keys(&batch, ctx)?;
        let columns = self.cache.calls().project(batch.rows())?;
        let rows = keys.into_iter().zip(times).zip(0u32..).map(|((key, (time, mark)), row)| (row, key, time, mark));
        let placed = self.cache.place(rows, &columns)?;
        emit_late(&batch, &placed.late, ctx, out)?;
        self.keep_to_budget(ctx)
    }

    /// A session [start, end) is emitted once time has passed `end`, with a window_time of `end - 1`: time behind it must
    /// not be there yet.
    fn output_watermark(&self, input: EventTime) -> EventTime {
        passed(passed(input))
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.on_moment(Moment::Watermark(passed(watermark)), ctx, out)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.stored.on_barrier(&mut self.cache, ctx)?;
        let mut note = NoteWriter::default();
        note.push(self.fired_until.0);
        ctx.state.set_note(note.finish());
        Ok(())
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.on_moment(Moment::WallClock(ctx.now), ctx, out)
    }

    fn wants_time(&self) -> bool {
        self.domain == TimeDomain::Processing
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
