//! What was shown of sessions that are not closed, and which keys have changed since.
//!
//! A session has no lasting name: it grows, goes up in another, or falls apart when rows are taken back. So results are
//! remembered per key with their bounds, and a session's result replaces all those that its rows touch.

use std::collections::BTreeSet;

use ahash::AHashMap;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::runs::Run;
use super::stored::{take_bytes, take_i64};
use crate::Result;
use crate::batch::RowKind;
use crate::keys::KeyGroup;
use crate::operator::{Collector, OperatorContext};
use crate::operators::corrections::{Changes, Correction};
use crate::operators::key_table::{KeyTable, SlotSet};
use crate::operators::note::sortable;
use crate::operators::row_codec::RowCodec;
use crate::operators::window_aggregate::{Emission, Pending, after};
use crate::state::Writes;
use crate::time::{EventTime, ProcessingTime};

/// First byte of the state keys.
const SHOWN: u8 = 3;

/// What a row takes beside its bytes: its place in a list, and what the allocator adds.
const ROW_EXTRA_BYTES: usize = 64;

struct ShownRow {
    start: i64,
    end: i64,
    row: Vec<u8>,
}

impl ShownRow {
    fn touches(&self, run: &Run) -> bool {
        self.start <= run.end && run.start <= self.end
    }
}

/// The last results of the keys in memory.
pub struct Shown {
    pub emission: Emission,
    correction: Correction,
    codec: RowCodec,
    rows: AHashMap<u32, Vec<ShownRow>>,
    /// Keys that changed, and show all of their sessions.
    early: Pending<u32>,
    /// Keys that changed in sessions which had ended, and show those.
    late: Pending<u32>,
    /// Keys that differ from their entries in state.
    dirty: SlotSet,
    size_bytes: usize,
}

impl Shown {
    pub fn new(emission: Emission, correction: Correction, schema: &SchemaRef) -> Result<Self> {
        let (early, late) = (Pending::default(), Pending::default());
        let (codec, rows, dirty) = (RowCodec::new(schema)?, AHashMap::new(), SlotSet::default());
        Ok(Self { emission, correction, codec, rows, early, late, dirty, size_bytes: 0 })
    }

    /// Rows of the key changed; `is_behind` where some of them are in passed time.
    pub fn changed(&mut self, key: u32, is_behind: bool, now: ProcessingTime) {
        if let Some(early_ms) = self.emission.early_ms {
            self.early.add(key, after(now, early_ms));
        }
        if self.emission.lateness_ms > 0 && is_behind {
            self.late.add(key, after(now, self.emission.late_ms));
        }
        if self.is_pending(key) {
            self.dirty.insert(key);
        }
    }

    /// Takes up a key of a restored job that had not shown its last changes.
    pub fn take_up(&mut self, key: u32, has_sessions: bool, now: ProcessingTime) {
        self.dirty.insert(key);
        if has_sessions || self.rows.contains_key(&key) {
            self.changed(key, true, now);
        }
    }

    /// The key has no sessions any more: if nothing was shown of it either, there is nothing to show.
    pub fn drop_if_empty(&mut self, key: u32) {
        if !self.rows.contains_key(&key) && self.is_pending(key) {
            self.early.changed.remove(&key);
            self.late.changed.remove(&key);
            self.dirty.insert(key);
        }
    }

    fn is_pending(&self, key: u32) -> bool {
        self.early.changed.contains(&key) || self.late.changed.contains(&key)
    }

    /// When something is to be shown next.
    pub fn next_time(&self) -> Option<ProcessingTime> {
        self.early.next_time().into_iter().chain(self.late.next_time()).min()
    }

    /// The keys that show all of their sessions now, and those that show the sessions that have ended.
    pub fn take_due(&mut self, now: ProcessingTime) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let due = (self.early.take_due(now), self.late.take_due(now));
        due.0.iter().chain(&due.1).for_each(|key| self.dirty.insert(*key));
        due
    }

    /// Tells the results of sessions, one row each: what is the same as before is left out.
    pub fn tell(&mut self, runs: &[Run], rows: &RecordBatch, out: &mut dyn Collector) -> Result<()> {
        let rows = self.codec.encode(rows)?;
        let mut changes = Changes::default();
        for (run, new) in runs.iter().zip(rows.iter()) {
            let known = self.rows.entry(run.key).or_default();
            let is_same_window = |shown: &ShownRow| shown.start == run.start && shown.end == run.end;
            let touched: Vec<ShownRow> = known.extract_if(.., |shown| shown.touches(run)).collect();
            known.push(ShownRow { start: run.start, end: run.end, row: new.to_vec() });
            self.size_bytes += new.len() + ROW_EXTRA_BYTES;
            self.size_bytes -= touched.iter().map(|shown| shown.row.len() + ROW_EXTRA_BYTES).sum::<usize>();
            let is_same = |shown: &ShownRow| is_same_window(shown) && shown.row == new;
            if touched.len() == 1 && is_same(&touched[0]) {
                continue;
            }
            self.dirty.insert(run.key);
            // Only a row with the same bounds is updated: the bounds are part of the result's key.
            let is_update = touched.len() == 1 && is_same_window(&touched[0]);
            let (before, after) = match is_update {
                true => (RowKind::UpdateBefore, RowKind::UpdateAfter),
                false => (RowKind::Delete, RowKind::Insert),
            };
            self.push_gone(touched, before, &mut changes);
            let after = if self.correction == Correction::Append { RowKind::Insert } else { after };
            changes.push(after, new.to_vec());
        }
        changes.emit(&self.codec, self.correction, out)
    }

    fn push_gone(&self, rows: Vec<ShownRow>, kind: RowKind, changes: &mut Changes) {
        if self.correction == Correction::Update {
            rows.into_iter().for_each(|shown| changes.push(kind, shown.row));
        }
    }

    /// Forgets the results of sessions that have given their last.
    pub fn forget(&mut self, runs: &[Run]) {
        for run in runs {
            self.remove(run.key, |shown| shown.touches(run));
        }
    }

    fn remove(&mut self, key: u32, is_gone: impl Fn(&ShownRow) -> bool) -> Vec<ShownRow> {
        let Some(known) = self.rows.get_mut(&key) else { return Vec::new() };
        let gone: Vec<ShownRow> = known.extract_if(.., |shown| is_gone(shown)).collect();
        if known.is_empty() {
            self.rows.remove(&key);
        }
        if !gone.is_empty() {
            self.dirty.insert(key);
        }
        self.size_bytes -= gone.iter().map(|shown| shown.row.len() + ROW_EXTRA_BYTES).sum::<usize>();
        gone
    }

    /// True where the key has a result of a window that is closed at `closed`: its session has become another.
    pub fn is_outdated(&self, key: u32, closed: EventTime) -> bool {
        self.rows.get(&key).is_some_and(|known| known.iter().any(|shown| EventTime(shown.end) <= closed))
    }

    /// Takes back the results of windows that are closed at `closed`.
    pub fn take_back_closed(&mut self, key: u32, closed: EventTime, out: &mut dyn Collector) -> Result<()> {
        let gone = self.remove(key, |shown| EventTime(shown.end) <= closed);
        self.emit_gone(gone, out)
    }

    /// Takes back the results of a key that touch none of its sessions: all their rows have gone.
    pub fn take_back_empty(&mut self, key: u32, sessions: &[Run], out: &mut dyn Collector) -> Result<()> {
        let gone = self.remove(key, |shown| !sessions.iter().any(|run| shown.touches(run)));
        self.emit_gone(gone, out)
    }

    fn emit_gone(&self, gone: Vec<ShownRow>, out: &mut dyn Collector) -> Result<()> {
        let mut changes = Changes::default();
        self.push_gone(gone, RowKind::Delete, &mut changes);
        changes.emit(&self.codec, self.correction, out)
    }

    /// When the first of the key's shown windows closes.
    pub fn next_close(&self, key: u32) -> Option<i64> {
        let first = self.rows.get(&key)?.iter().map(|shown| shown.end).min();
        first.map(|end| end.saturating_add(self.emission.lateness_ms))
    }

    /// True where something of the key must stay in memory or state.
    pub fn holds(&self, key: u32) -> bool {
        self.rows.contains_key(&key) || self.is_pending(key)
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes + self.rows.capacity() * size_of::<(u32, Vec<ShownRow>)>()
    }

    /// Keeps some keys only, which are numbered in this order from now on. The others must be in state as they are.
    pub fn retain(mut self, keys: &[u32]) -> Self {
        let mut rows = AHashMap::new();
        let mut dirty = SlotSet::default();
        for (new, old) in (0u32..).zip(keys) {
            rows.extend(self.rows.remove(old).map(|known| (new, known)));
            if self.dirty.contains(*old) {
                dirty.insert(new);
            }
        }
        let place: AHashMap<u32, u32> = keys.iter().copied().zip(0u32..).collect();
        for pending in [&mut self.early, &mut self.late] {
            pending.changed = pending.changed.iter().filter_map(|key| place.get(key).copied()).collect();
        }
        let size_bytes = rows.values().flatten().map(|shown: &ShownRow| shown.row.len() + ROW_EXTRA_BYTES).sum();
        Self { rows, dirty, size_bytes, ..self }
    }

    /// Reads what was shown of keys that are new in memory.
    pub fn read(&mut self, keys: &[u32], table: &KeyTable, ctx: &OperatorContext) -> Result<()> {
        for key in keys {
            let Some(entry) = ctx.state.get(table.group(*key, ctx.key_groups), &entry_key(table.key(*key)))? else {
                continue;
            };
            let mut rest = entry.get(1..).unwrap_or_default();
            let mut known = Vec::new();
            while !rest.is_empty() {
                let (start, end) = (take_i64(&mut rest)?, take_i64(&mut rest)?);
                let row = take_bytes(&mut rest)?.to_vec();
                self.size_bytes += row.len() + ROW_EXTRA_BYTES;
                known.push(ShownRow { start, end, row });
            }
            if !known.is_empty() {
                self.rows.insert(*key, known);
            }
        }
        Ok(())
    }

    /// The keys of a restored job that had not shown their last changes.
    pub fn pending_in_state(ctx: &OperatorContext) -> Result<Vec<Vec<u8>>> {
        let mut pending = Vec::new();
        for group in ctx.key_groups.groups().map(KeyGroup) {
            ctx.state.scan(group, &[SHOWN], &mut |key, entry| {
                pending.extend((entry.first() == Some(&1)).then(|| key[1..].to_vec()));
                Ok(true)
            })?;
        }
        Ok(pending)
    }

    /// Brings state up to date.
    pub fn write(&mut self, table: &KeyTable, ctx: &mut OperatorContext) -> Result<()> {
        let mut writes = Writes::default();
        let mut entry = Vec::new();
        for key in self.dirty.iter() {
            let (group, key_bytes) = (table.group(key, ctx.key_groups), table.key(key));
            if !self.holds(key) {
                writes.delete(group, &[&[SHOWN], key_bytes]);
                continue;
            }
            entry.clear();
            entry.push(u8::from(self.is_pending(key)));
            for shown in self.rows.get(&key).into_iter().flatten() {
                entry.extend([sortable(shown.start), sortable(shown.end), sortable(shown.row.len() as i64)].concat());
                entry.extend_from_slice(&shown.row);
            }
            writes.put(group, &[&[SHOWN], key_bytes], &entry);
            writes.flush_when_full(ctx.state.as_mut())?;
        }
        writes.flush(ctx.state.as_mut())?;
        self.dirty.clear();
        Ok(())
    }
}

fn entry_key(key: &[u8]) -> Vec<u8> {
    [&[SHOWN], key].concat()
}
