//! The first phase of a window aggregation: partial aggregates per key and slice, to send less through the exchange.
//!
//! Nothing here is checkpointed: what is held leaves before every barrier. It also leaves before a watermark that closes
//! one of its windows, so that the second phase never sees a late partial.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;

use super::WindowAggregate;
use super::sliced_rows::{Clocks, Slicer};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext};
use crate::operators::key_table::KeyColumns;
use crate::operators::keyed_aggregates::{KeyedAggregates, NarrowCalls};
use crate::operators::late::emit_late;
use crate::time::EventTime;
use crate::time::assign::{Slice, is_closed};
use crate::{Batch, Epoch, Result};

/// Aggregates in memory until something asks for the rows.
pub struct LocalWindowOperator {
    slicer: Slicer,
    zone: Option<Tz>,
    keys: KeyColumns,
    calls: NarrowCalls,
    slices: BTreeMap<Slice, KeyedAggregates>,
    schema: SchemaRef,
}

impl LocalWindowOperator {
    pub fn new(plan: &WindowAggregate, schema: &SchemaRef) -> Result<Self> {
        Ok(Self {
            slicer: Slicer::new(&plan.window, plan.emission),
            zone: plan.window.zone(),
            keys: KeyColumns::new(&plan.keys, &plan.input)?,
            calls: NarrowCalls::new(&plan.aggregates),
            slices: BTreeMap::new(),
            schema: schema.clone(),
        })
    }

    fn add(&mut self, batch: &Batch, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let sliced = self.slicer.slice(batch, Clocks { closed_until: ctx.watermark, now: ctx.now })?;
        ctx.metrics.filtered.add(sliced.outside);
        emit_late(batch, &sliced.late, ctx, out)?;
        let keys = self.keys.encode(batch.rows())?;
        for part in sliced.parts(&self.calls.project(batch.rows())?)? {
            let slice = match self.slices.entry(part.slice) {
                std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => free.insert(self.calls.keyed()?),
            };
            let slots = slice.slots_of(&keys, part.row_numbers.iter());
            slice.values.update(&slots, &part.rows)?;
        }
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        self.slices.values().map(KeyedAggregates::size_bytes).sum()
    }

    /// Emits and forgets the slices for which `leaves` is true.
    fn flush(&mut self, leaves: impl Fn(&Slice) -> bool, batch_rows: usize, out: &mut dyn Collector) -> Result<()> {
        let leaving: Vec<Slice> = self.slices.keys().copied().filter(leaves).collect();
        for id in leaving {
            let slice = self.slices.remove(&id).expect("listed above");
            for slots in slice.all_slots().chunks(batch_rows.max(1)) {
                out.emit(MAIN_PORT, Batch::new(self.partial_rows(id, &slice, slots)?))?;
            }
        }
        Ok(())
    }

    fn partial_rows(&self, id: Slice, slice: &KeyedAggregates, slots: &[u32]) -> Result<RecordBatch> {
        let mut columns = self.keys.decode(slots.iter().map(|slot| slice.keys.key(*slot)))?;
        for bound in [id.start, id.first_end, id.last_end] {
            columns.push(Arc::new(Int64Array::from(vec![bound; slots.len()])) as ArrayRef);
        }
        columns.extend(slice.values.state_columns(slots)?);
        let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

impl Operator for LocalWindowOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        self.add(&batch, ctx, out)?;
        let size_bytes = self.size_bytes();
        ctx.metrics.cache_bytes.set(size_bytes as i64);
        if size_bytes > ctx.cache_budget_bytes {
            self.flush(|_| true, ctx.batch_rows, out)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let zone = self.zone;
        self.flush(|slice| is_closed(zone, slice.first_end, watermark), ctx.batch_rows, out)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.flush(|_| true, ctx.batch_rows, out)
    }

    fn on_end(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.flush(|_| true, ctx.batch_rows, out)
    }
}
