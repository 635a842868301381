//! The open sessions in memory, by key, and the decision which session a row belongs to.
//!
//! Where rows are only added, a slot is a session and grows with its rows. Where rows may be taken back, a slot is all
//! rows of a key with one time, and sessions are the [`Runs`] of such slots: a row that goes may leave two.

use std::iter;

use ahash::AHashMap;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use super::runs::{Run, Runs};
use super::shown::Shown;
use super::timers::Timers;
use crate::Result;
use crate::aggregate::AggregateSet;
use crate::operators::key_table::{KeyTable, SlotSet};
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::time::EventTime;

/// Stands for no slot.
const NONE: u32 = u32::MAX;

/// Stands for no timer.
const NEVER: i64 = i64::MAX;

/// A session: rows of one key from `start` until `end`, which is the last row's time and the gap.
#[derive(Clone, Copy)]
pub struct Session {
    pub key: u32,
    /// The key's next session.
    next: u32,
    pub start: i64,
    pub end: i64,
}

/// A key in memory.
#[derive(Clone)]
pub struct KeyEntry {
    /// The first of the key's open sessions; most keys have one at most.
    first: u32,
    /// Time in the timer that state holds for the key, if state holds the key.
    pub stored_timer: Option<i64>,
    /// When the key is looked at next; not after any of its sessions ends.
    timer: i64,
    pub used_in_batch: u64,
}

/// The slots of the times of each key, where rows may be taken back.
struct Times {
    slots: AHashMap<(u32, i64), u32>,
    /// The aggregate call that counts a slot's rows.
    row_count: usize,
}

/// What became of a batch's rows.
#[derive(Default)]
pub struct Placed {
    /// Rows that are in a session, or were until now; in order.
    pub rows: Vec<u32>,
    /// The slot of each of them.
    slots: Vec<u32>,
    pub late: Vec<u32>,
}

/// A row to be placed: its number, key and time, and up to where sessions had closed before it.
pub type KeyedRow = (u32, u32, i64, EventTime);

/// Sessions by key. A slot is a session; its aggregates have the same slot.
pub struct SessionCache {
    pub keys: KeyTable,
    pub entries: Vec<KeyEntry>,
    pub sessions: Vec<Session>,
    pub values: AggregateSet,
    /// Keys that differ from their entries in state.
    pub dirty: SlotSet,
    /// Those of them that changed since the last barrier.
    pub changed: SlotSet,
    calls: NarrowCalls,
    gap_ms: i64,
    /// Sessions that had ended when time had passed this have given a result.
    pub fired_until: EventTime,
    free: Vec<u32>,
    /// Keys by the time at which they are looked at next; also by such times that they once had.
    timers: Timers,
    /// `None` where rows are only added.
    times: Option<Times>,
    /// `None` where every session has one result only.
    pub shown: Option<Shown>,
}

impl SessionCache {
    /// `row_count` is the call that counts rows, where rows may be taken back.
    pub fn new(calls: NarrowCalls, gap_ms: i64, row_count: Option<usize>, shown: Option<Shown>) -> Result<Self> {
        Ok(Self {
            shown,
            times: row_count.map(|row_count| Times { slots: AHashMap::new(), row_count }),
            fired_until: EventTime::MIN,
            keys: KeyTable::default(),
            entries: Vec::new(),
            sessions: Vec::new(),
            values: calls.accumulators()?,
            dirty: SlotSet::default(),
            changed: SlotSet::default(),
            calls,
            gap_ms,
            free: Vec::new(),
            timers: Timers::new(gap_ms),
        })
    }

    /// True where rows may be taken back.
    pub fn takes_back(&self) -> bool {
        self.times.is_some()
    }

    pub fn calls(&self) -> &NarrowCalls {
        &self.calls
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        /// A timer, in a vector that may have room for as many again.
        const SESSION_EXTRA_BYTES: usize = 8;
        let times = self.times.as_ref().map_or(0, |times| times.slots.capacity() * size_of::<((u32, i64), u32)>());
        times
            + self.shown.as_ref().map_or(0, Shown::size_bytes)
            + self.keys.size_bytes()
            + self.values.size_bytes()
            + self.entries.capacity() * size_of::<KeyEntry>()
            + self.sessions.capacity() * (size_of::<Session>() + SESSION_EXTRA_BYTES)
    }

    /// The entry of a key; the flag says that it is new here, so that state may know more of it.
    pub fn intern(&mut self, hash: u64, key: &[u8]) -> (u32, bool) {
        let index = self.keys.intern(hash, key);
        let is_new = index as usize == self.entries.len();
        if is_new {
            self.entries.push(KeyEntry { first: NONE, stored_timer: None, timer: NEVER, used_in_batch: 0 });
        }
        (index, is_new)
    }

    /// Slots of a key's open sessions.
    pub fn sessions_of(&self, key: u32) -> impl Iterator<Item = u32> {
        let existing = |slot: u32| (slot != NONE).then_some(slot);
        let first = existing(self.entries[key as usize].first);
        iter::successors(first, move |slot| existing(self.sessions[*slot as usize].next))
    }

    pub fn has_sessions(&self, key: u32) -> bool {
        self.entries[key as usize].first != NONE
    }

    /// Opens a session with empty aggregates.
    pub fn open(&mut self, key: u32, start: i64, end: i64) -> u32 {
        let next = self.entries[key as usize].first;
        let session = Session { key, next, start, end };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.sessions[slot as usize] = session;
                slot
            }
            None => {
                self.sessions.push(session);
                self.values.resize(self.sessions.len());
                self.sessions.len() as u32 - 1
            }
        };
        self.entries[key as usize].first = slot;
        if let Some(times) = &mut self.times {
            times.slots.insert((key, start), slot);
        }
        self.look_at(key, end);
        slot
    }

    /// The key is looked at when time has passed `time`, or before.
    pub fn look_at(&mut self, key: u32, time: i64) {
        let timer = &mut self.entries[key as usize].timer;
        if time < *timer {
            *timer = time;
            self.timers.insert(time, key);
        }
    }

    /// Puts rows into sessions; opens, extends and merges them.
    ///
    /// A row is late where it is as old as what sessions had closed up to. Any other row joins the sessions that it
    /// touches, or opens one: those that were closed ended before, so it cannot touch them, whatever came first.
    pub fn place(&mut self, rows: impl Iterator<Item = KeyedRow>, columns: &RecordBatch) -> Result<Placed> {
        let mut placed = Placed::default();
        let mut merged = Merged::default();
        for (row, key, time, closed) in rows {
            if EventTime(time) <= closed {
                placed.late.push(row);
                continue;
            }
            let slot = match &self.times {
                Some(times) => times.slots.get(&(key, time)).copied(),
                None => self.join_session(key, time, &mut merged),
            };
            placed.rows.push(row);
            placed.slots.push(slot.unwrap_or_else(|| self.open(key, time, time + self.gap_ms)));
            self.mark_changed(key);
        }
        self.merge_values(&merged, &mut placed.slots)?;
        let columns = super::operator::take_rows(columns, &placed.rows)?;
        self.values.update(&placed.slots, &columns)?;
        Ok(placed)
    }

    /// Takes rows back, where they are; what has lost all its rows is gone.
    pub fn take_back(&mut self, rows: impl Iterator<Item = KeyedRow>, columns: &RecordBatch) -> Result<Placed> {
        let mut taken = Placed::default();
        let times = self.times.as_ref().expect("rows are taken back where the plan said so");
        for (row, key, time, closed) in rows {
            if EventTime(time) <= closed {
                taken.late.push(row);
            } else if let Some(slot) = times.slots.get(&(key, time)) {
                taken.rows.push(row);
                taken.slots.push(*slot);
            }
        }
        let columns = super::operator::take_rows(columns, &taken.rows)?;
        self.values.retract(&taken.slots, &columns)?;
        let changed: Vec<u32> = taken.slots.iter().map(|slot| self.sessions[*slot as usize].key).collect();
        changed.into_iter().for_each(|key| self.mark_changed(key));
        self.drop_empty(&taken.slots)?;
        Ok(taken)
    }

    /// Forgets those of the slots that have no rows any more.
    fn drop_empty(&mut self, slots: &[u32]) -> Result<()> {
        let Some(row_count) = self.times.as_ref().map(|times| times.row_count) else { return Ok(()) };
        let slots: Vec<u32> = slots.iter().copied().collect::<SlotSet>().iter().collect();
        let counts = self.values.evaluate_call(row_count, &slots)?;
        let counts = slots.iter().zip(counts.as_primitive::<Int64Type>().values());
        let empty: Vec<u32> = counts.filter(|(_, count)| **count <= 0).map(|(slot, _)| *slot).collect();
        for slot in &empty {
            // What was before it may have ended by now.
            let Session { key, start, .. } = self.sessions[*slot as usize];
            self.look_at(key, start);
        }
        self.close(&empty);
        Ok(())
    }

    /// The session that a row joins, if it touches any.
    fn join_session(&mut self, key: u32, time: i64, merged: &mut Merged) -> Option<u32> {
        let end = time + self.gap_ms;
        let (first, mut others) = self.touched(key, time, end);
        let mut first = first?;
        if !others.is_empty() {
            others.push(first);
            first = self.absorb(others, merged);
        }
        let session = &mut self.sessions[first as usize];
        session.start = session.start.min(time);
        session.end = session.end.max(end);
        let end = session.end;
        // Where it has ended before, the key's timer says when it closes.
        self.look_at(key, end);
        Some(first)
    }

    /// The sessions of a key that a row from `time` to `end` joins: one, and any others.
    fn touched(&self, key: u32, time: i64, end: i64) -> (Option<u32>, Vec<u32>) {
        let touches = |session: &Session| session.start <= end && time <= session.end;
        let mut touched = self.sessions_of(key).filter(|slot| touches(&self.sessions[*slot as usize]));
        let first = touched.next();
        (first, touched.collect())
    }

    /// Merges sessions of one key into the earliest of them, which it returns.
    fn absorb(&mut self, mut slots: Vec<u32>, merged: &mut Merged) -> u32 {
        slots.sort_unstable_by_key(|slot| self.sessions[*slot as usize].start);
        let first = slots[0];
        for other in &slots[1..] {
            let absorbed = self.sessions[*other as usize];
            let session = &mut self.sessions[first as usize];
            session.end = session.end.max(absorbed.end);
            merged.push(*other, first);
            self.detach(*other);
        }
        first
    }

    /// Takes a session out of its key's list; its slot is not free yet.
    fn detach(&mut self, slot: u32) {
        let Session { key, next, .. } = self.sessions[slot as usize];
        let entry = &mut self.entries[key as usize];
        if entry.first == slot {
            entry.first = next;
            return;
        }
        let before = self.sessions_of(key).find(|before| self.sessions[*before as usize].next == slot);
        self.sessions[before.expect("an open session is in its key's list") as usize].next = next;
    }

    /// Merges the aggregates of absorbed sessions, and points the rows that were put there to the absorbers.
    fn merge_values(&mut self, merged: &Merged, slots: &mut [u32]) -> Result<()> {
        if merged.pairs.is_empty() {
            return Ok(());
        }
        let roots = merged.roots();
        slots.iter_mut().for_each(|slot| *slot = roots.get(slot).copied().unwrap_or(*slot));
        let from: Vec<u32> = merged.pairs.iter().map(|(absorbed, _)| *absorbed).collect();
        let into: Vec<u32> = from.iter().map(|slot| roots[slot]).collect();
        self.values.merge_within(&into, &from)?;
        self.values.reset(&from);
        self.free.extend(from);
        Ok(())
    }

    /// The earliest time at which keys must be looked at.
    pub fn next_timer(&self) -> Option<i64> {
        self.timers.first()
    }

    /// The keys that must be looked at when time has passed `passed`.
    pub fn due_keys(&mut self, passed: EventTime) -> Vec<u32> {
        let mut due = Vec::new();
        while let Some(keys) = self.timers.pop(passed) {
            for key in keys {
                let timer = std::mem::replace(&mut self.entries[key as usize].timer, NEVER);
                due.extend((timer != NEVER).then_some(key));
            }
        }
        due
    }

    /// The sessions of a key, put behind others.
    pub fn runs_of(&self, key: u32, runs: &mut Runs) {
        match &self.times {
            None => self.sessions_of(key).for_each(|slot| {
                let session = self.sessions[slot as usize];
                runs.push_slot(key, session.start, session.end, slot);
            }),
            Some(_) => {
                let slots = self.sessions_of(key).map(|slot| (self.sessions[slot as usize].start, slot));
                let mut slots: Vec<(i64, u32)> = slots.collect();
                slots.sort_unstable();
                runs.push_times(key, &slots, self.gap_ms);
            }
        }
    }

    /// When something must be done for a session that ends at `end`: it ends, or has ended and closes.
    fn due_of(&self, end: i64) -> i64 {
        let lateness_ms = self.shown.as_ref().map_or(0, |shown| shown.emission.lateness_ms);
        if EventTime(end) <= self.fired_until { end.saturating_add(lateness_ms) } else { end }
    }

    /// The key was looked at: says when to look again, and drops what is left of a key without sessions.
    pub fn look_again(&mut self, key: u32) {
        let due = self.next_due(key);
        let entry = &self.entries[key as usize];
        if entry.stored_timer.is_some() && entry.stored_timer != due {
            self.dirty.insert(key);
        }
        if let Some(due) = due {
            self.look_at(key, due);
        }
        if !self.has_sessions(key)
            && let Some(shown) = &mut self.shown
        {
            shown.drop_if_empty(key);
        }
    }

    /// Forgets slots that are in no session that takes rows any more.
    pub fn close(&mut self, slots: &[u32]) {
        for slot in slots {
            self.detach(*slot);
            let Session { key, start, .. } = self.sessions[*slot as usize];
            self.times.as_mut().map(|times| times.slots.remove(&(key, start)));
            self.mark_changed(key);
        }
        self.values.reset(slots);
        self.free.extend_from_slice(slots);
    }

    fn mark_changed(&mut self, key: u32) {
        self.dirty.insert(key);
        self.changed.insert(key);
    }

    /// When something must be done next for one of a key's sessions, or for what was shown of one.
    pub fn next_due(&self, key: u32) -> Option<i64> {
        let due = match self.times {
            None => self.sessions_of(key).map(|slot| self.due_of(self.sessions[slot as usize].end)).min(),
            Some(_) => {
                let mut runs = Runs::default();
                self.runs_of(key, &mut runs);
                runs.list.iter().map(|run| self.due_of(run.end)).min()
            }
        };
        let shown = self.shown.as_ref().and_then(|shown| shown.next_close(key));
        due.into_iter().chain(shown).min()
    }

    /// Sees to it that the key is looked at when something is due for it.
    pub fn look_when_due(&mut self, key: u32) {
        if let Some(due) = self.next_due(key) {
            self.look_at(key, due);
        }
    }

    /// State has the key's entry as memory does; none where there are no sessions.
    pub fn note_stored(&mut self, key: u32) {
        self.entries[key as usize].stored_timer = self.next_due(key);
    }

    /// Keys with sessions, or with results that may have to be taken back.
    pub fn live_keys(&self) -> Vec<u32> {
        let is_shown = |key: u32| self.shown.as_ref().is_some_and(|shown| shown.holds(key));
        (0..self.entries.len() as u32).filter(|key| self.has_sessions(*key) || is_shown(*key)).collect()
    }

    /// Keeps only some keys. The others must be in state as they are here, or have no sessions.
    pub fn retain(&mut self, keys: &[u32]) -> Result<()> {
        let row_count = self.times.as_ref().map(|times| times.row_count);
        let shown = self.shown.take().map(|shown| shown.retain(keys));
        let mut kept = Self::new(self.calls.clone(), self.gap_ms, row_count, shown)?;
        kept.fired_until = self.fired_until;
        let (mut into, mut from) = (Vec::new(), Vec::new());
        for key in keys {
            let entry = &self.entries[*key as usize];
            let (index, _) = kept.intern(self.keys.hash(*key), self.keys.key(*key));
            for slot in self.sessions_of(*key) {
                let session = self.sessions[slot as usize];
                into.push(kept.open(index, session.start, session.end));
                from.push(slot);
            }
            let kept_entry = &mut kept.entries[index as usize];
            kept_entry.stored_timer = entry.stored_timer;
            kept_entry.used_in_batch = entry.used_in_batch;
            if self.dirty.contains(*key) {
                kept.dirty.insert(index);
            }
            if self.changed.contains(*key) {
                kept.changed.insert(index);
            }
            kept.look_when_due(index);
        }
        kept.values.merge_from(&into, &self.values, &from)?;
        *self = kept;
        Ok(())
    }

    /// Reads the aggregates of some of the sessions, each of which has a slot in the set that `read` is given.
    pub fn with_values<T>(
        &self,
        runs: &Runs,
        chosen: &[Run],
        read: impl FnOnce(&AggregateSet, &[u32]) -> Result<T>,
    ) -> Result<T> {
        let (slots, run_of_slot) = runs.slots_by_run(chosen);
        if slots.len() == chosen.len() {
            return read(&self.values, &slots);
        }
        let mut merged = self.calls.accumulators()?;
        merged.resize(chosen.len());
        merged.merge_from(&run_of_slot, &self.values, &slots)?;
        read(&merged, &(0..chosen.len() as u32).collect::<Vec<u32>>())
    }

    /// Slots in use.
    pub fn open_count(&self) -> usize {
        self.sessions.len() - self.free.len()
    }
}

/// Sessions that went up in others while a batch was placed: (absorbed, absorber), in order. A slot is not reused
/// before the batch is over, but an absorber may be absorbed later.
#[derive(Default)]
struct Merged {
    pairs: Vec<(u32, u32)>,
}

impl Merged {
    fn push(&mut self, absorbed: u32, absorber: u32) {
        self.pairs.push((absorbed, absorber));
    }

    /// For each absorbed session the one that has its rows in the end.
    fn roots(&self) -> AHashMap<u32, u32> {
        let mut roots = AHashMap::new();
        for (absorbed, absorber) in self.pairs.iter().rev() {
            let root = roots.get(absorber).copied().unwrap_or(*absorber);
            roots.insert(*absorbed, root);
        }
        roots
    }
}
