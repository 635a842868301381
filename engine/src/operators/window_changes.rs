//! Makes changes of window results that are shown more than once: what is new is inserted, what differs is an update,
//! what is the same is left out.
//!
//! Stands behind a window aggregation that shows results early or corrects them ([`super::window_aggregate`]), and
//! remembers the last result of every key and window until the window takes no rows any more.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use chrono_tz::Tz;

use super::corrections::{Changes, Correction};
use super::key_table::KeyColumns;
use super::note::{from_sortable, sortable};
use super::row_codec::RowCodec;
use crate::batch::RowKind;
use crate::keys::KeyGroup;
use crate::operator::{Collector, Operator, OperatorContext, OperatorFactory};
use crate::time::assign::closing_watermark;
use crate::time::window::TimeDomain;
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, EngineError, Result};

/// Output: the columns of the input, as changes. The columns of the window's bounds are not among the keys.
#[derive(Clone)]
pub struct WindowChanges {
    pub keys: Vec<usize>,
    /// The window's bounds: local TIMESTAMP(3) columns.
    pub start: usize,
    pub end: usize,
    pub zone: Option<Tz>,
    pub domain: TimeDomain,
    pub correction: Correction,
    /// Of input and output.
    pub schema: SchemaRef,
}

impl OperatorFactory for WindowChanges {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(WindowChangesOperator {
            keys: KeyColumns::new(&self.keys, &self.schema)?,
            codec: RowCodec::new(&self.schema)?,
            plan: self.clone(),
            live: BTreeSet::new(),
        }))
    }
}

/// Results of processing-time windows are forgotten so long after the window's end: by then its last result is here.
const PROCESSING_MARGIN_MS: i64 = 60_000;

struct WindowChangesOperator {
    plan: WindowChanges,
    keys: KeyColumns,
    codec: RowCodec,
    /// The watermarks at which windows close that results are remembered of.
    live: BTreeSet<EventTime>,
}

impl WindowChangesOperator {
    fn bounds(&self, batch: &Batch, column: usize) -> Result<Vec<i64>> {
        let values = cast(batch.column(column), &DataType::Int64)?;
        Ok(values.as_primitive::<Int64Type>().values().to_vec())
    }

    fn changes(&mut self, batch: &Batch, ctx: &mut OperatorContext) -> Result<Changes> {
        let (keys, rows) = (self.keys.encode(batch.rows())?, self.codec.encode(batch.rows())?);
        let (starts, ends) = (self.bounds(batch, self.plan.start)?, self.bounds(batch, self.plan.end)?);
        let mut changes = Changes::default();
        for row in 0..batch.num_rows() {
            let closing = closing_watermark(self.plan.zone, ends[row]);
            let group = KeyGroup::of(keys.hash(row), ctx.key_groups.max_parallelism);
            debug_assert!(ctx.key_groups.contains(group), "results come to where their key is");
            let entry = [&sortable(closing.0)[..], &sortable(starts[row]), keys.key(row)].concat();
            let new = rows.row(row);
            let old = ctx.state.get(group, &entry)?;
            match old {
                Some(old) if old == new => continue,
                Some(old) if self.plan.correction == Correction::Update => {
                    changes.push(RowKind::UpdateBefore, old);
                    changes.push(RowKind::UpdateAfter, new.to_vec());
                }
                _ => changes.push(RowKind::Insert, new.to_vec()),
            }
            ctx.state.put(group, &entry, new)?;
            self.live.insert(closing);
        }
        Ok(changes)
    }

    /// Forgets the results of windows that are closed at `watermark`.
    fn forget(&mut self, watermark: EventTime, ctx: &mut OperatorContext) -> Result<()> {
        while let Some(closing) = self.live.first().copied().filter(|closing| *closing <= watermark) {
            ctx.state.delete_prefixes(ctx.key_groups.groups(), &sortable(closing.0))?;
            self.live.pop_first();
        }
        Ok(())
    }
}

impl Operator for WindowChangesOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        for group in ctx.key_groups.groups().map(KeyGroup) {
            ctx.state.scan(group, &[], &mut |key, _| {
                let closing = key.first_chunk::<8>().ok_or_else(damaged)?;
                self.live.insert(EventTime(from_sortable(*closing)));
                Ok(true)
            })?;
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
        let changes = self.changes(&batch, ctx)?;
        changes.emit(&self.codec, self.plan.correction, out)
    }

    fn on_watermark(
        &mut self,
        watermark: EventTime,
        ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        match self.plan.domain {
            TimeDomain::Event => self.forget(watermark, ctx),
            TimeDomain::Processing => Ok(()),
        }
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        let until = EventTime(ctx.now.0.saturating_sub(PROCESSING_MARGIN_MS));
        self.forget(until, ctx)
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        let closing = self.live.first().filter(|_| self.plan.domain == TimeDomain::Processing)?;
        Some(ProcessingTime(closing.0.saturating_add(PROCESSING_MARGIN_MS)))
    }
}

fn damaged() -> EngineError {
    EngineError::State("the last results of windows cannot be read: they were written by another version".into())
}
