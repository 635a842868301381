//! Sessions in durable state: one entry per key with all of its open sessions, and one timer per key.
//!
//! A timer sorts by the earliest end of the key's sessions, so that sessions which are not in memory fire without a
//! search. A key that is in memory is ruled by memory: its entry and timer may be older.

use super::cache::SessionCache;
use crate::keys::{KeyGroup, hash_key};
use crate::operator::OperatorContext;
use crate::operators::note::{from_sortable, sortable};
use crate::time::EventTime;
use crate::{EngineError, Result};

/// First byte of the state keys.
const ENTRY: u8 = 0;
const TIMER: u8 = 1;

/// Keys that are written at a time.
const WRITE_KEYS: usize = 4096;

/// What is known of state without reading it: per key group a bound below all of its timers.
pub struct StoredSessions {
    first_timer: Vec<i64>,
}

impl StoredSessions {
    /// Nothing is known of a restored state; a first look will tell.
    pub fn new(ctx: &OperatorContext) -> Self {
        Self { first_timer: vec![i64::MIN; ctx.key_groups.groups().len()] }
    }

    /// Reads the sessions of keys that are new in memory.
    pub fn read(&self, keys: &[u32], cache: &mut SessionCache, ctx: &OperatorContext) -> Result<()> {
        let (mut slots, mut values) = (Vec::new(), Vec::new());
        for key in keys {
            let group = cache.keys.group(*key, ctx.key_groups);
            let Some(entry) = ctx.state.get(group, &entry_key(cache.keys.key(*key)))? else { continue };
            let mut rest = entry.as_slice();
            let mut first_end = i64::MAX;
            while !rest.is_empty() {
                let (start, end) = (read_i64(&mut rest)?, read_i64(&mut rest)?);
                let length = usize::try_from(read_i64(&mut rest)?).map_err(|_| damaged())?;
                let (value, others) = rest.split_at_checked(length).ok_or_else(damaged)?;
                rest = others;
                first_end = first_end.min(end);
                slots.push(cache.open(*key, start, end));
                values.push(value.to_vec());
            }
            cache.entries[*key as usize].stored_timer = Some(first_end);
        }
        cache.values.merge_encoded(&slots, values.iter().map(Vec::as_slice))
    }

    /// Writes the keys that changed.
    pub fn write_back(&mut self, cache: &mut SessionCache, ctx: &mut OperatorContext) -> Result<()> {
        let dirty: Vec<u32> = cache.dirty.iter().collect();
        for keys in dirty.chunks(WRITE_KEYS) {
            let slots = |key: &u32| cache.entries[*key as usize].sessions.clone();
            let slots: Vec<u32> = keys.iter().flat_map(slots).collect();
            let values = cache.values.encode_state(&slots)?;
            let mut row = 0;
            for key in keys {
                let mut entry = Vec::new();
                for slot in &cache.entries[*key as usize].sessions {
                    let session = cache.sessions[*slot as usize];
                    let value = values.row(row);
                    row += 1;
                    for number in [session.start, session.end, value.data().len() as i64] {
                        entry.extend(sortable(number));
                    }
                    entry.extend_from_slice(value.data());
                }
                self.write_key(*key, &entry, cache, ctx)?;
            }
        }
        cache.dirty.clear();
        Ok(())
    }

    fn write_key(&mut self, key: u32, entry: &[u8], cache: &mut SessionCache, ctx: &mut OperatorContext) -> Result<()> {
        let group = cache.keys.group(key, ctx.key_groups);
        let ends = cache.entries[key as usize].sessions.iter().map(|slot| cache.sessions[*slot as usize].end);
        let first_end = ends.min();
        let stored = cache.entries[key as usize].stored_timer;
        let key_bytes = cache.keys.key(key);
        if let Some(old) = stored.filter(|_| stored != first_end) {
            ctx.state.delete(group, &timer_key(old, key_bytes))?;
        }
        match first_end {
            None => {
                if stored.is_some() {
                    ctx.state.delete(group, &entry_key(key_bytes))?;
                }
            }
            Some(end) => {
                ctx.state.put(group, &entry_key(key_bytes), entry)?;
                if stored != first_end {
                    ctx.state.put(group, &timer_key(end, key_bytes), &[])?;
                    let first = &mut self.first_timer[usize::from(group.0 - ctx.key_groups.start)];
                    *first = end.min(*first);
                }
            }
        }
        cache.entries[key as usize].stored_timer = first_end;
        Ok(())
    }

    /// Up to `count` keys that are not in memory and have a session that is closed at `watermark`.
    pub fn due(
        &mut self,
        watermark: EventTime,
        count: usize,
        cache: &SessionCache,
        ctx: &OperatorContext,
    ) -> Result<Vec<Vec<u8>>> {
        let mut due: Vec<Vec<u8>> = Vec::new();
        let is_due = |end: i64| end < i64::MAX && EventTime(end) <= watermark;
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

fn entry_key(key: &[u8]) -> Vec<u8> {
    [&[ENTRY], key].concat()
}

fn timer_key(end: i64, key: &[u8]) -> Vec<u8> {
    [&[TIMER], &sortable(end)[..], key].concat()
}

fn split_timer(timer: &[u8]) -> Result<(i64, &[u8])> {
    let (end, key) = timer.get(1..).and_then(|rest| rest.split_first_chunk::<8>()).ok_or_else(damaged)?;
    Ok((from_sortable(*end), key))
}

fn read_i64(rest: &mut &[u8]) -> Result<i64> {
    let (number, others) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    *rest = others;
    Ok(from_sortable(*number))
}

fn damaged() -> EngineError {
    EngineError::State("an entry of a session window cannot be read: it was written by another version".into())
}
