//! Sessions that change between any two barriers, written as one list per key group instead of an entry per key.
//!
//! On a busy stream most sessions open, grow and close within a few barriers. An entry and a timer for each of them
//! would cost two writes and two deletions; a list costs the bytes. A barrier replaces the list of the one
//! before. Only a restart reads it: the keys in it are in memory, and whatever an entry says of them is out of date.

use super::cache::SessionCache;
use super::stored::{for_each_entry, open_entry, take_bytes, take_i64};
use crate::Result;
use crate::keys::{KeyGroup, hash_key};
use crate::operator::OperatorContext;
use crate::operators::note::sortable;

/// The state key of a group's list.
const LIST: &[u8] = &[2];

/// Stands for the timer of a key that has no entry. No timer is so late: a session ends before.
const NO_TIMER: i64 = i64::MAX;

/// The lists in state.
#[derive(Default)]
pub struct Journal {
    /// For each of the instance's key groups, whether state has a list.
    has_list: Vec<bool>,
}

impl Journal {
    /// Takes up the keys of a restored job: they are in memory, and differ from their entries, as they were and did.
    pub fn read(&mut self, cache: &mut SessionCache, ctx: &OperatorContext) -> Result<()> {
        self.has_list.clear();
        for group in ctx.key_groups.groups() {
            let list = ctx.state.get(KeyGroup(group), LIST)?;
            self.has_list.push(list.is_some());
            read_list(list.as_deref().unwrap_or_default(), cache)?;
        }
        Ok(())
    }

    /// Replaces all lists by one of the given keys, which must have sessions.
    pub fn write(&mut self, keys: &[u32], cache: &SessionCache, ctx: &mut OperatorContext) -> Result<()> {
        let mut lists = vec![Vec::new(); self.has_list.len()];
        for_each_entry(keys, cache, |key, entry| {
            assert!(!entry.is_empty(), "a key without sessions needs no place in a list");
            let group = cache.keys.group(key, ctx.key_groups);
            let list: &mut Vec<u8> = &mut lists[usize::from(group.0 - ctx.key_groups.start)];
            let timer = cache.entries[key as usize].stored_timer.unwrap_or(NO_TIMER);
            for part in [cache.keys.key(key), entry] {
                list.extend(sortable(part.len() as i64));
                list.extend_from_slice(part);
            }
            list.extend(sortable(timer));
            Ok(())
        })?;
        for ((list, has_list), group) in lists.iter().zip(&mut self.has_list).zip(ctx.key_groups.groups()) {
            match list.is_empty() {
                false => ctx.state.put(KeyGroup(group), LIST, list)?,
                true if *has_list => ctx.state.delete(KeyGroup(group), LIST)?,
                true => {}
            }
            *has_list = !list.is_empty();
        }
        Ok(())
    }
}

fn read_list(mut list: &[u8], cache: &mut SessionCache) -> Result<()> {
    let (mut slots, mut values) = (Vec::new(), Vec::new());
    while !list.is_empty() {
        let key = take_bytes(&mut list)?;
        let entry = take_bytes(&mut list)?;
        let timer = take_i64(&mut list)?;
        let (index, is_new) = cache.intern(hash_key(key), key);
        assert!(is_new, "a key is in one list, and there once");
        open_entry(entry, index, cache, &mut slots, &mut values)?;
        cache.entries[index as usize].stored_timer = Some(timer).filter(|timer| *timer != NO_TIMER);
        cache.dirty.insert(index);
    }
    cache.values.merge_encoded(&slots, values)
}
