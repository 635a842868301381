//! Sessions in durable state: one entry per key with all of its open sessions, and one timer per key.
//!
//! An entry begins with the time of its timer, which is when one of the key's sessions ends or closes: timers sort by it, so that sessions which are not in memory fire without a
//! search. A key that is in memory is ruled by memory: its entry and timer may be older. Keys that changed since the
//! last barrier stand in the [`Journal`]; they get an entry once they have been quiet from one barrier to the next, or
//! have to leave memory.

use super::cache::SessionCache;
use super::journal::Journal;
use super::shown::Shown;
use crate::keys::{KeyGroup, KeyGroupRange, hash_key};
use crate::operator::OperatorContext;
use crate::operators::note::{from_sortable, sortable};
use crate::state::Writes;
use crate::time::EventTime;
use crate::{EngineError, Result};

/// First byte of the state keys.
const ENTRY: u8 = 0;
const TIMER: u8 = 1;

/// Keys that are written at a time.
const WRITE_KEYS: usize = 4096;

/// What is known of state without reading it.
#[derive(Default)]
pub struct StoredSessions {
    /// Per key group a bound below all of its timers.
    first_timer: Vec<i64>,
    journal: Journal,
}

impl StoredSessions {
    /// Takes up a restored state. Nothing is known of its timers; a first look will tell.
    pub fn open(&mut self, cache: &mut SessionCache, ctx: &OperatorContext) -> Result<()> {
        self.first_timer = vec![i64::MIN; ctx.key_groups.groups().len()];
        self.journal.read(cache, ctx)?;
        self.read_shown(cache, ctx)
    }

    /// What was shown of the keys that are in memory by now, and of those that had changed since.
    fn read_shown(&self, cache: &mut SessionCache, ctx: &OperatorContext) -> Result<()> {
        let Some(mut shown) = cache.shown.take() else { return Ok(()) };
        let listed: Vec<u32> = (0..cache.entries.len() as u32).collect();
        shown.read(&listed, &cache.keys, ctx)?;
        cache.shown = Some(shown);
        let pending = Shown::pending_in_state(ctx)?;
        let interned: Vec<(u32, bool)> = pending.iter().map(|key| cache.intern(hash_key(key), key)).collect();
        let new: Vec<u32> = interned.iter().filter(|(_, is_new)| *is_new).map(|(key, _)| *key).collect();
        self.read(&new, cache, ctx)?;
        for (key, _) in interned {
            let has_sessions = cache.has_sessions(key);
            if let Some(shown) = &mut cache.shown {
                shown.take_up(key, has_sessions, ctx.now);
            }
        }
        (0..cache.entries.len() as u32).for_each(|key| cache.look_when_due(key));
        Ok(())
    }

    /// Reads the sessions of keys that are new in memory.
    pub fn read(&self, keys: &[u32], cache: &mut SessionCache, ctx: &OperatorContext) -> Result<()> {
        let mut found = Vec::new();
        for key in keys {
            let group = cache.keys.group(*key, ctx.key_groups);
            if let Some(entry) = ctx.state.get(group, &entry_key(cache.keys.key(*key)))? {
                found.push((*key, entry));
            }
        }
        let (mut slots, mut values) = (Vec::new(), Vec::new());
        for (key, entry) in &found {
            let mut entry = entry.as_slice();
            let timer = take_i64(&mut entry)?;
            cache.entries[*key as usize].stored_timer = Some(timer);
            cache.look_at(*key, timer);
            open_entry(entry, *key, cache, &mut slots, &mut values)?;
        }
        cache.values.merge_encoded(&slots, values)?;
        if let Some(shown) = &mut cache.shown {
            shown.read(keys, &cache.keys, ctx)?;
        }
        Ok(())
    }

    /// Writes what changed since the last barrier.
    pub fn on_barrier(&mut self, cache: &mut SessionCache, ctx: &mut OperatorContext) -> Result<()> {
        let is_young = |key: &u32| cache.changed.contains(*key) && cache.has_sessions(*key);
        let (young, settled): (Vec<u32>, Vec<u32>) = cache.dirty.iter().partition(is_young);
        self.write_entries(&settled, cache, ctx)?;
        self.journal.write(&young, cache, ctx)?;
        cache.dirty = young.into_iter().collect();
        cache.changed.clear();
        write_shown(cache, ctx)
    }

    /// Gives all keys that differ from their entries new ones, so that they may leave memory.
    pub fn write_all(&mut self, cache: &mut SessionCache, ctx: &mut OperatorContext) -> Result<()> {
        let dirty: Vec<u32> = cache.dirty.iter().collect();
        self.write_entries(&dirty, cache, ctx)?;
        cache.dirty.clear();
        write_shown(cache, ctx)
    }

    /// Takes the entries of keys without sessions out of state, so that memory may forget these keys.
    pub fn delete_gone(&mut self, cache: &mut SessionCache, ctx: &mut OperatorContext) -> Result<()> {
        let gone: Vec<u32> = cache.dirty.iter().filter(|key| !cache.has_sessions(*key)).collect();
        self.write_entries(&gone, cache, ctx)?;
        write_shown(cache, ctx)
    }

    fn write_entries(&mut self, keys: &[u32], cache: &mut SessionCache, ctx: &mut OperatorContext) -> Result<()> {
        let mut writes = Writes::default();
        for_each_entry(keys, cache, |key, entry| {
            self.write_key(key, entry, cache, ctx.key_groups, &mut writes);
            writes.flush_when_full(ctx.state.as_mut())
        })?;
        writes.flush(ctx.state.as_mut())?;
        keys.iter().for_each(|key| cache.note_stored(*key));
        Ok(())
    }

    fn write_key(&mut self, key: u32, entry: &[u8], cache: &SessionCache, range: KeyGroupRange, writes: &mut Writes) {
        let group = cache.keys.group(key, range);
        let due = cache.next_due(key);
        let stored = cache.entries[key as usize].stored_timer;
        let key_bytes = cache.keys.key(key);
        if let Some(old) = stored.filter(|_| stored != due) {
            writes.delete(group, &[&[TIMER], &sortable(old), key_bytes]);
        }
        match due {
            None if stored.is_some() => writes.delete(group, &[&[ENTRY], key_bytes]),
            None => {}
            Some(time) => {
                writes.put(group, &[&[ENTRY], key_bytes], &[&sortable(time), entry].concat());
                if stored != due {
                    writes.put(group, &[&[TIMER], &sortable(time), key_bytes], &[]);
                    let first = &mut self.first_timer[usize::from(group.0 - range.start)];
                    *first = time.min(*first);
                }
            }
        }
    }

    /// When keys must be looked at that may not be in memory.
    pub fn next_timer(&self) -> Option<i64> {
        self.first_timer.iter().copied().min().filter(|first| *first < i64::MAX)
    }

    /// Up to `count` keys that are not in memory and have a session that has ended or closes when time has passed `passed`.
    pub fn due(
        &mut self,
        passed: EventTime,
        count: usize,
        cache: &SessionCache,
        ctx: &OperatorContext,
    ) -> Result<Vec<Vec<u8>>> {
        let mut due: Vec<Vec<u8>> = Vec::new();
        let is_due = |end: i64| end < i64::MAX && EventTime(end) <= passed;
        for (first_timer, group) in self.first_timer.iter_mut().zip(ctx.key_groups.groups()) {
            if due.len() >= count || !is_due(*first_timer) {
                continue;
            }
            *first_timer = i64::MAX;
            ctx.state.scan(KeyGroup(group), &[TIMER], &mut |timer, _| {
                let (end, key) = split_timer(timer)?;
                let is_cached = cache.keys.find(hash_key(key), key).is_some();
                if !is_due(end) || (!is_cached && due.len() >= count) {
                    *first_timer = end;
                    return Ok(false);
                }
                if !is_cached {
                    due.push(key.to_vec());
                }
                Ok(true)
            })?;
        }
        Ok(due)
    }
}

fn write_shown(cache: &mut SessionCache, ctx: &mut OperatorContext) -> Result<()> {
    match &mut cache.shown {
        Some(shown) => shown.write(&cache.keys, ctx),
        None => Ok(()),
    }
}

/// Calls `visit` with each key and the entry that says what memory has of it; the entry is empty without sessions.
pub fn for_each_entry(
    keys: &[u32],
    cache: &SessionCache,
    mut visit: impl FnMut(u32, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut entry = Vec::new();
    for keys in keys.chunks(WRITE_KEYS) {
        let slots: Vec<u32> = keys.iter().flat_map(|key| cache.sessions_of(*key)).collect();
        let values = cache.values.encode_state(&slots)?;
        let mut values = values.iter();
        for key in keys {
            entry.clear();
            for slot in cache.sessions_of(*key) {
                let session = cache.sessions[slot as usize];
                let value = values.next().expect("each session has a value");
                entry.extend(sortable(session.start));
                entry.extend(sortable(session.end));
                entry.extend(sortable(value.data().len() as i64));
                entry.extend_from_slice(value.data());
            }
            visit(*key, &entry)?;
        }
    }
    Ok(())
}

/// Opens the sessions of an entry; their slots and aggregates are for the caller to merge.
pub fn open_entry<'a>(
    mut entry: &'a [u8],
    key: u32,
    cache: &mut SessionCache,
    slots: &mut Vec<u32>,
    values: &mut Vec<&'a [u8]>,
) -> Result<()> {
    while !entry.is_empty() {
        let (start, end) = (take_i64(&mut entry)?, take_i64(&mut entry)?);
        slots.push(cache.open(key, start, end));
        values.push(take_bytes(&mut entry)?);
    }
    Ok(())
}

fn entry_key(key: &[u8]) -> Vec<u8> {
    [&[ENTRY], key].concat()
}

fn split_timer(timer: &[u8]) -> Result<(i64, &[u8])> {
    let (end, key) = timer.get(1..).and_then(|rest| rest.split_first_chunk::<8>()).ok_or_else(damaged)?;
    Ok((from_sortable(*end), key))
}

pub fn take_i64(rest: &mut &[u8]) -> Result<i64> {
    let (number, others) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    *rest = others;
    Ok(from_sortable(*number))
}

/// A length and as many bytes.
pub fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = usize::try_from(take_i64(rest)?).map_err(|_| damaged())?;
    let (bytes, others) = rest.split_at_checked(length).ok_or_else(damaged)?;
    *rest = others;
    Ok(bytes)
}

fn damaged() -> EngineError {
    EngineError::State("an entry of a session window cannot be read: it was written by another version".into())
}
