//! The operator that holds slices and fires windows: over rows (one phase) or over partial aggregates (second phase).

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, Schema};

use super::emission::Previews;
use super::emitter::Emitter;
use super::firing::WindowFirer;
use super::schedule::Schedule;
use super::slice_store::SliceStore;
use super::sliced_rows::{Clocks, SlicedRows, Slicer};
use super::{SLICE_COLUMNS, WindowAggregate, local_schema};
use crate::operator::{Collector, Operator, OperatorContext};
use crate::operators::key_table::{BatchKeys, KeyColumns};
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::operators::late::emit_late;
use crate::time::assign::{Slice, Window};
use crate::time::window::{Moment, TimeDomain};
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, EngineError, Epoch, Result};

/// What the input rows are.
enum InputRows {
    Rows,
    /// Output of the first phase: so many key columns, then the slice, then state columns.
    Partials {
        keys: usize,
    },
}

/// Aggregates per key and window; see the module above.
pub struct WindowOperator {
    input: InputRows,
    domain: TimeDomain,
    slicer: Slicer,
    schedule: Schedule,
    store: SliceStore,
    firer: WindowFirer,
    previews: Previews,
    /// Windows that end at this watermark or before have fired and take no rows any more.
    fired_until: EventTime,
}

impl WindowOperator {
    pub fn over_rows(plan: &WindowAggregate) -> Result<Self> {
        Self::new(plan, InputRows::Rows, &plan.keys, &plan.input)
    }

    pub fn over_partials(plan: &WindowAggregate) -> Result<Self> {
        let keys: Vec<usize> = (0..plan.keys.len()).collect();
        Self::new(plan, InputRows::Partials { keys: keys.len() }, &keys, &local_schema(plan))
    }

    fn new(plan: &WindowAggregate, input: InputRows, keys: &[usize], schema: &Schema) -> Result<Self> {
        if let super::WindowInput::Time { spec, .. } = &plan.window {
            spec.validate().map_err(EngineError::Unsupported)?;
        }
        let zone = plan.window.zone();
        let slicer = Slicer::new(&plan.window, plan.emission);
        let keys = KeyColumns::new(keys, schema)?;
        let emitter = Emitter::new(&plan.properties, &plan.schema, zone);
        Ok(Self {
            input,
            domain: plan.window.domain(),
            schedule: Schedule::new(slicer.grid(), zone),
            firer: WindowFirer::new(slicer.grid(), keys, emitter),
            previews: Previews::new(plan.emission, slicer.grid(), zone),
            slicer,
            store: SliceStore::new(NarrowCalls::new(&plan.aggregates)),
            fired_until: EventTime::MIN,
        })
    }

    /// Merges every window from its slices without carrying anything over: the slow twin of tests.
    #[cfg(test)]
    pub fn naive(mut self) -> Self {
        self.firer.naive = true;
        self
    }

    /// Adds rows, or takes them back, as their kinds say.
    fn add_rows(&mut self, batch: &Batch, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let (added, taken) = batch.split_by_effect()?;
        let sliced = self.slice(&added, ctx)?;
        ctx.metrics.filtered.add(sliced.outside);
        emit_late(&added, &sliced.late, ctx, out)?;
        self.apply_rows(&added, &sliced, ctx.now, SliceStore::update)?;
        let Some(taken) = taken else { return self.show_due(ctx, out) };
        // What is late is counted, but not shown: a side table holds rows, and this is none.
        let sliced = self.slice(&taken, ctx)?;
        ctx.metrics.late.add(sliced.late.len());
        self.apply_rows(&taken, &sliced, ctx.now, SliceStore::retract)?;
        self.show_due(ctx, out)
    }

    fn slice(&self, batch: &Batch, ctx: &OperatorContext) -> Result<SlicedRows> {
        let clocks = match self.domain {
            TimeDomain::Event => Clocks { closed_until: self.closed_until(ctx), now: ctx.now },
            // The wall clock may go back; windows that have fired stay closed.
            TimeDomain::Processing => {
                let now = ctx.now.0.max(self.fired_until.0.saturating_add(1));
                Clocks { closed_until: EventTime::MIN, now: ProcessingTime(now) }
            }
        };
        self.slicer.slice(batch, clocks)
    }

    fn apply_rows(
        &mut self,
        batch: &Batch,
        sliced: &SlicedRows,
        now: ProcessingTime,
        apply: impl Fn(&mut SliceStore, &super::sliced_rows::SlicePart, &BatchKeys) -> Result<bool>,
    ) -> Result<()> {
        let keys = self.firer.keys().encode(batch.rows())?;
        let columns = self.store.calls().project(batch.rows())?;
        self.add_parts(sliced, &columns, &keys, apply)?;
        sliced.slices.iter().for_each(|slice| self.previews.changed(*slice, now));
        Ok(())
    }

    /// Up to where windows take no rows, whatever the rows' own splits say.
    fn closed_until(&self, ctx: &OperatorContext) -> EventTime {
        self.fired_until.max(self.previews.emission.settled(ctx.watermark))
    }

    /// Shows the windows whose turn it is on the wall clock.
    fn show_due(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let windows = self.previews.due(ctx.now);
        self.show(windows, ctx, out)
    }

    fn show(&mut self, windows: BTreeSet<Window>, ctx: &OperatorContext, out: &mut dyn Collector) -> Result<()> {
        if windows.is_empty() {
            return Ok(());
        }
        let live = self.schedule.live();
        windows.into_iter().try_for_each(|window| self.firer.show(window, &live, &self.store, ctx, out))
    }

    fn add_partials(&mut self, batch: &Batch, key_columns: usize, ctx: &mut OperatorContext) -> Result<()> {
        let closed_until = self.closed_until(ctx);
        let slices = read_slices(batch.rows(), key_columns);
        let sliced = SlicedRows::from_slices(slices.map(|slice| self.slicer.open_part(slice, closed_until)));
        ctx.metrics.late.add(sliced.late.len());
        let keys = self.firer.keys().encode(batch.rows())?;
        let states: Vec<usize> = (key_columns + SLICE_COLUMNS.len()..batch.rows().num_columns()).collect();
        let columns = batch.rows().project(&states)?;
        self.add_parts(&sliced, &columns, &keys, SliceStore::merge_columns)
    }

    fn add_parts(
        &mut self,
        sliced: &SlicedRows,
        columns: &RecordBatch,
        keys: &BatchKeys,
        add: impl Fn(&mut SliceStore, &super::sliced_rows::SlicePart, &BatchKeys) -> Result<bool>,
    ) -> Result<()> {
        for part in sliced.parts(columns)? {
            if add(&mut self.store, &part, keys)? {
                self.schedule.add(part.slice);
            }
        }
        Ok(())
    }

    fn on_moment(&mut self, moment: Moment, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let Some(watermark) = self.domain.closed_until(moment) else { return Ok(()) };
        if self.domain == TimeDomain::Processing {
            return self.fire(watermark, ctx, out);
        }
        self.fire(self.previews.emission.settled(watermark), ctx, out)?;
        let windows = self.previews.fired(watermark, &self.schedule.live());
        self.show(windows, ctx, out)
    }

    fn fire(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        while let Some(firing) = self.schedule.next(watermark) {
            self.firer.fire(&firing, self.schedule.active(), &mut self.store, ctx, out)?;
            for slice in self.schedule.finish(firing.window) {
                self.store.free(slice, ctx)?;
            }
            self.keep_to_budget(ctx)?;
        }
        self.fired_until = self.fired_until.max(watermark);
        Ok(())
    }

    fn keep_to_budget(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        ctx.metrics.cache_bytes.set((self.store.size_bytes() + self.firer.size_bytes()) as i64);
        if self.store.size_bytes() + self.firer.size_bytes() > ctx.cache_budget_bytes {
            self.firer.shrink(&mut self.store);
        }
        if self.store.size_bytes() > ctx.cache_budget_bytes {
            self.store.spill(ctx)?;
        }
        ctx.metrics.cache_bytes.set((self.store.size_bytes() + self.firer.size_bytes()) as i64);
        Ok(())
    }
}

impl Operator for WindowOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let restored = self.store.restore(ctx)?;
        self.fired_until = restored.watermark;
        for slice in restored.slices {
            self.schedule.restore(slice, restored.watermark);
            self.previews.restore(slice, restored.watermark, ctx.now);
        }
        Ok(())
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        match self.input {
            InputRows::Rows => self.add_rows(&batch, ctx, out)?,
            InputRows::Partials { keys } => self.add_partials(&batch, keys, ctx)?,
        }
        self.keep_to_budget(ctx)
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.on_moment(Moment::Watermark(watermark), ctx, out)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.store.write_back(ctx)?;
        let note = self.store.note(self.fired_until, ctx);
        ctx.state.set_note(note);
        Ok(())
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.on_moment(Moment::WallClock(ctx.now), ctx, out)?;
        self.show_due(ctx, out)
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        let closing = (self.domain == TimeDomain::Processing).then(|| self.schedule.next_closing()).flatten();
        // Within its last millisecond a window still takes rows.
        let fires = closing.map(|closing| ProcessingTime(closing.0.saturating_add(1)));
        fires.into_iter().chain(self.previews.next_time()).min()
    }

    fn output_watermark(&self, input: EventTime) -> EventTime {
        self.previews.emission.settled(input)
    }

    fn on_end(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.on_moment(Moment::End, ctx, out)
    }
}

fn read_slices(rows: &RecordBatch, key_columns: usize) -> impl Iterator<Item = Slice> {
    let column = |index: usize| rows.column(key_columns + index).as_primitive::<Int64Type>().values().iter();
    let (starts, first_ends, last_ends) = (column(0), column(1), column(2));
    let ends = first_ends.zip(last_ends);
    starts.zip(ends).map(|(start, (first, last))| Slice { start: *start, first_end: *first, last_end: *last })
}
