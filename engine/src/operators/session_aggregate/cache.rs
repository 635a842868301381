//! The open sessions in memory, by key, and the decision which session a row belongs to.

use std::iter;

use ahash::AHashMap;
use arrow::array::RecordBatch;

use super::timers::Timers;
use crate::Result;
use crate::aggregate::AggregateSet;
use crate::operators::key_table::{KeyTable, SlotSet};
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::time::EventTime;

/// Stands for no slot.
const NONE: u32 = u32::MAX;

/// A session: rows of one key from `start` until `end`, which is the last row's time and the gap.
#[derive(Clone, Copy)]
pub struct Session {
    pub key: u32,
    /// The key's next session.
    next: u32,
    pub start: i64,
    pub end: i64,
    /// It went up in another, and waits for its timer.
    is_absorbed: bool,
}

/// A key in memory.
#[derive(Clone)]
pub struct KeyEntry {
    /// The first of the key's open sessions; most keys have one at most.
    first: u32,
    /// End in the timer that state holds for the key, if state holds the key.
    pub stored_timer: Option<i64>,
    pub used_in_batch: u64,
}

/// What became of a batch's rows.
pub struct Placed {
    /// Rows that are in a session, in order.
    pub rows: Vec<u32>,
    /// The session of each of them.
    pub slots: Vec<u32>,
    pub late: Vec<u32>,
}

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
    free: Vec<u32>,
    /// Each open or absorbed session once, under an end that it had: it may have moved on since.
    timers: Timers,
}

impl SessionCache {
    pub fn new(calls: NarrowCalls, gap_ms: i64) -> Result<Self> {
        Ok(Self {
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

    pub fn calls(&self) -> &NarrowCalls {
        &self.calls
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        /// A timer, in a vector that may have room for as many again.
        const SESSION_EXTRA_BYTES: usize = 8;
        self.keys.size_bytes()
            + self.values.size_bytes()
            + self.entries.capacity() * size_of::<KeyEntry>()
            + self.sessions.capacity() * (size_of::<Session>() + SESSION_EXTRA_BYTES)
    }

    /// The entry of a key; the flag says that it is new here, so that state may know more of it.
    pub fn intern(&mut self, hash: u64, key: &[u8]) -> (u32, bool) {
        let index = self.keys.intern(hash, key);
        let is_new = index as usize == self.entries.len();
        if is_new {
            self.entries.push(KeyEntry { first: NONE, stored_timer: None, used_in_batch: 0 });
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
        let session = Session { key, next, start, end, is_absorbed: false };
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
        self.timers.insert(end, slot);
        self.entries[key as usize].first = slot;
        slot
    }

    /// Puts rows, given as (row, key, time, up to where time had passed before it), into sessions; opens, extends and merges them.
    pub fn place(
        &mut self,
        rows: impl Iterator<Item = (u32, u32, i64, EventTime)>,
        columns: &RecordBatch,
    ) -> Result<Placed> {
        let mut placed = Placed { rows: Vec::new(), slots: Vec::new(), late: Vec::new() };
        let mut merged = Merged::default();
        for (row, key, time, passed) in rows {
            match self.place_row(key, time, passed, &mut merged) {
                Some(slot) => {
                    placed.rows.push(row);
                    placed.slots.push(slot);
                    self.mark_changed(key);
                }
                None => placed.late.push(row),
            }
        }
        self.merge_values(&merged, &mut placed.slots)?;
        let columns = super::operator::take_rows(columns, &placed.rows)?;
        self.values.update(&placed.slots, &columns)?;
        Ok(placed)
    }

    /// The session of a row; `None` where the row is late.
    ///
    /// A row of passed time is late. Any other row joins the sessions that it touches, or opens one: those that were
    /// emitted ended in passed time, so it cannot touch them, whatever came first.
    fn place_row(&mut self, key: u32, time: i64, passed: EventTime, merged: &mut Merged) -> Option<u32> {
        if EventTime(time) <= passed {
            return None;
        }
        let end = time + self.gap_ms;
        let (first, mut others) = self.touched(key, time, end);
        let Some(mut first) = first else {
            return Some(self.open(key, time, end));
        };
        if !others.is_empty() {
            others.push(first);
            first = self.absorb(others, merged);
        }
        let session = &mut self.sessions[first as usize];
        session.start = session.start.min(time);
        session.end = session.end.max(end);
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
            self.sessions[*other as usize].is_absorbed = true;
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
        Ok(())
    }

    /// The sessions that are closed when time has passed `passed`, in order of their ends. The caller emits and closes them.
    ///
    /// A row just at a session's end would still join it, so a session is closed when time is past that row.
    pub fn due(&mut self, passed: EventTime) -> Vec<u32> {
        let (mut due, mut waiting) = (Vec::new(), Vec::new());
        while let Some(slots) = self.timers.pop(passed) {
            let bucket = due.len();
            for slot in slots {
                let session = &self.sessions[slot as usize];
                match session {
                    Session { is_absorbed: true, .. } => self.free.push(slot),
                    Session { end, .. } if EventTime(*end) <= passed => due.push(slot),
                    Session { end, .. } => waiting.push((*end, slot)),
                }
            }
            due[bucket..].sort_unstable_by_key(|slot| (self.sessions[*slot as usize].end, *slot));
        }
        waiting.into_iter().for_each(|(end, slot)| self.timers.insert(end, slot));
        due
    }

    /// Forgets sessions that were due and have been emitted.
    pub fn close(&mut self, slots: &[u32]) {
        for slot in slots {
            self.detach(*slot);
            self.mark_changed(self.sessions[*slot as usize].key);
        }
        self.values.reset(slots);
        self.free.extend_from_slice(slots);
    }

    fn mark_changed(&mut self, key: u32) {
        self.dirty.insert(key);
        self.changed.insert(key);
    }

    /// The earliest end of a key's sessions.
    pub fn first_end(&self, key: u32) -> Option<i64> {
        self.sessions_of(key).map(|slot| self.sessions[slot as usize].end).min()
    }

    /// State has the key's entry as memory does; none where there are no sessions.
    pub fn note_stored(&mut self, key: u32) {
        self.entries[key as usize].stored_timer = self.first_end(key);
    }

    /// Keys with sessions.
    pub fn live_keys(&self) -> Vec<u32> {
        (0..self.entries.len() as u32).filter(|key| self.has_sessions(*key)).collect()
    }

    /// Keeps only some keys. The others must be in state as they are here, or have no sessions.
    pub fn retain(&mut self, keys: &[u32]) -> Result<()> {
        let mut kept = Self::new(self.calls.clone(), self.gap_ms)?;
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
        }
        kept.values.merge_from(&into, &self.values, &from)?;
        *self = kept;
        Ok(())
    }

    /// Sessions that are open in memory.
    pub fn open_count(&self) -> usize {
        self.sessions.len() - self.free.len()
    }
}

/// Sessions that went up in others while a batch was placed: (absorbed, absorber), in order. A slot is not reused
/// before its timer is over, but an absorber may be absorbed later.
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
