//! Fires windows: merges the slices of each and emits its rows.
//!
//! Four ways lead to the same rows. A window of one slice is emitted as it is. HOP windows keep a [`TwoStack`],
//! CUMULATE windows a running aggregate, both in memory. What does not fit into memory is merged from state, one key
//! group at a time.

use std::collections::BTreeSet;

use arrow::array::ArrayRef;

use super::emitter::Emitter;
use super::schedule::Firing;
use super::slice_store::SliceStore;
use super::two_stack::TwoStack;
use crate::Result;
use crate::keys::KeyGroup;
use crate::operator::{Collector, OperatorContext};
use crate::operators::key_table::KeyColumns;
use crate::operators::keyed_aggregates::KeyedAggregates;
use crate::time::assign::{Slice, Window, WindowGrid};

/// Windows carry their aggregates in memory while all slices take less than this part of the budget.
const CARRIED_BUDGET_SHARE: usize = 3;

/// What is kept from one window to the next. All of it can be built again from the slices.
enum Carried {
    Nothing,
    Sliding(Box<TwoStack>),
    /// The merge of all slices so far of the windows that grow until `last_end`.
    Growing {
        last_end: i64,
        running: Box<KeyedAggregates>,
    },
}

/// All slices of a window, in order.
fn members(window: Window, active: &BTreeSet<Slice>) -> Vec<Slice> {
    active.iter().copied().filter(|slice| slice.is_in_window(window.end)).collect()
}

/// Merges slices into windows.
pub struct WindowFirer {
    grid: Option<WindowGrid>,
    carried: Carried,
    keys: KeyColumns,
    emitter: Emitter,
    /// Never carries anything: the slow way, for comparison in tests.
    pub naive: bool,
}

impl WindowFirer {
    pub fn new(grid: Option<&WindowGrid>, keys: KeyColumns, emitter: Emitter) -> Self {
        Self { grid: grid.cloned(), carried: Carried::Nothing, keys, emitter, naive: false }
    }

    pub fn keys(&self) -> &KeyColumns {
        &self.keys
    }

    /// Memory held between windows, in bytes.
    pub fn size_bytes(&self) -> usize {
        match &self.carried {
            Carried::Nothing => 0,
            Carried::Sliding(stacks) => stacks.size_bytes(),
            Carried::Growing { running, .. } => running.size_bytes(),
        }
    }

    /// Gives back the memory that is held between windows.
    pub fn shrink(&mut self, store: &mut SliceStore) {
        self.carried = Carried::Nothing;
        store.unload_all();
    }

    /// Emits the rows of a window. `active` are the live slices of this and of earlier windows, `firing.entering` too.
    pub fn fire(
        &mut self,
        firing: &Firing,
        active: &BTreeSet<Slice>,
        store: &mut SliceStore,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        if !self.carries_over() {
            return self.fire_single(firing, store, ctx, out);
        }
        // The carried aggregate takes as much memory again as the slices that it is made from.
        if self.naive || store.whole_bytes() > ctx.cache_budget_bytes / CARRIED_BUDGET_SHARE {
            self.shrink(store);
            return self.fire_by_group(&members(firing.window, active), firing.window, store, ctx, out);
        }
        if matches!(self.carried, Carried::Nothing) {
            store.load(&members(firing.window, active), ctx)?;
        }
        store.load(&firing.entering, ctx)?;
        match &self.grid {
            Some(grid) if grid.is_growing() => self.fire_growing(firing, active, store, ctx, out),
            _ => self.fire_sliding(firing, active, store, ctx, out),
        }
    }

    /// Emits the rows of a window as it stands, and keeps it: `live` are all slices that have not fired for good.
    pub fn show(
        &self,
        window: Window,
        live: &BTreeSet<Slice>,
        store: &SliceStore,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let members = match &self.grid {
            Some(_) => members(window, live),
            None => vec![Slice::of_window(window)],
        };
        match members[..] {
            [single] if store.is_in_memory(single) => {
                self.emit_keyed(store.contents(single), window, ctx.batch_rows, out)
            }
            _ => self.fire_by_group(&members, window, store, ctx, out),
        }
    }

    /// Fires a window that shares no slice with another.
    fn fire_single(
        &mut self,
        firing: &Firing,
        store: &SliceStore,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        match firing.entering[..] {
            [single] if store.is_in_memory(single) => {
                self.emit_keyed(store.contents(single), firing.window, ctx.batch_rows, out)
            }
            _ => self.fire_by_group(&firing.entering, firing.window, store, ctx, out),
        }
    }

    /// True where a window shares slices with the next.
    fn carries_over(&self) -> bool {
        self.grid.as_ref().is_some_and(|grid| !grid.is_tumbling())
    }

    fn fire_sliding(
        &mut self,
        firing: &Firing,
        active: &BTreeSet<Slice>,
        store: &SliceStore,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let mut entering = firing.entering.clone();
        if !matches!(self.carried, Carried::Sliding(_)) {
            let grid = self.grid.as_ref().expect("sliding windows have a grid");
            self.carried = Carried::Sliding(Box::new(TwoStack::new(store.calls(), grid)?));
            entering = members(firing.window, active);
        }
        let Carried::Sliding(stacks) = &mut self.carried else { unreachable!("set above") };
        stacks.advance(firing.window.end, entering, store)?;
        stacks.for_each_result(ctx.batch_rows, store, |key_bytes, values| {
            let rows = key_bytes.len();
            self.emitter.emit(&self.keys, key_bytes, values, rows, firing.window, out)
        })
    }

    fn fire_growing(
        &mut self,
        firing: &Firing,
        active: &BTreeSet<Slice>,
        store: &SliceStore,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let grows_until = active.first().map_or(firing.window.end, |slice| slice.last_end);
        let mut entering = firing.entering.clone();
        if !matches!(self.carried, Carried::Growing { last_end, .. } if last_end == grows_until) {
            self.carried = Carried::Growing { last_end: grows_until, running: Box::new(store.calls().keyed()?) };
            entering = members(firing.window, active);
        }
        let Carried::Growing { running, .. } = &mut self.carried else { unreachable!("set above") };
        entering.sort_unstable();
        for slice in entering {
            let contents = store.contents(slice);
            running.merge(contents, &contents.all_slots())?;
        }
        let Carried::Growing { running, .. } = &self.carried else { unreachable!("set above") };
        self.emit_keyed(running, firing.window, ctx.batch_rows, out)
    }

    /// Merges all generations of all slices, one key group at a time.
    fn fire_by_group(
        &self,
        members: &[Slice],
        window: Window,
        store: &SliceStore,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let ordered = self.in_merge_order(members);
        let by_group: Vec<Vec<(KeyGroup, u32)>> = ordered.iter().map(|id| store.slots_by_group(*id, ctx)).collect();
        for group in ctx.key_groups.groups().map(KeyGroup) {
            let mut merged = store.calls().keyed()?;
            for (id, slots) in ordered.iter().zip(&by_group) {
                store.merge_stored(*id, group, &mut merged, ctx)?;
                let from = slots.partition_point(|(other, _)| *other < group);
                let own = slots[from..].iter().take_while(|(other, _)| *other == group);
                store.merge_partial(*id, &own.map(|(_, slot)| *slot).collect::<Vec<_>>(), &mut merged)?;
            }
            self.emit_keyed(&merged, window, ctx.batch_rows, out)?;
        }
        Ok(())
    }

    /// Aggregates that depend on order see slices in one order, whichever way they are merged.
    fn in_merge_order(&self, members: &[Slice]) -> Vec<Slice> {
        let is_stray = |slice: &Slice| self.grid.as_ref().is_some_and(|grid| !grid.is_natural(*slice));
        let (stray, natural): (Vec<Slice>, Vec<Slice>) = members.iter().partition(|slice| is_stray(slice));
        natural.into_iter().chain(stray).collect()
    }

    fn emit_keyed(
        &self,
        merged: &KeyedAggregates,
        window: Window,
        batch_rows: usize,
        out: &mut dyn Collector,
    ) -> Result<()> {
        for slots in merged.all_slots().chunks(batch_rows.max(1)) {
            let values: Vec<ArrayRef> = merged.values.evaluate(slots)?;
            let key_bytes = slots.iter().map(|slot| merged.keys.key(*slot));
            self.emitter.emit(&self.keys, key_bytes, values, slots.len(), window, out)?;
        }
        Ok(())
    }
}
