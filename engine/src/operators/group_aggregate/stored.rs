//! How groups lie in state: an entry per group, and one per value of those that keep their values apart.

use crate::aggregate::{StoredValues, WriteValue};
use crate::keys::{KeyGroup, KeyGroupRange};
use crate::operators::key_table::KeyTable;
use crate::operators::note::{from_sortable, sortable};
use crate::state::{KeyedState, Visit, Writes};
use crate::{EngineError, Result};

/// First byte of the key of a group's entry; the group's key follows.
const GROUP: u8 = 0;
/// First byte of the key of a value's entry: the group's key with its length in front, so that none is the beginning of
/// another, the number of the aggregate call and the value follow.
const VALUE: u8 = 1;

/// What a group's entry begins with; the aggregates follow.
#[derive(Clone, Copy, Default)]
pub struct GroupHead {
    /// Rows added less rows taken back; 0 means that the group does not exist.
    pub rows: i64,
    /// Wall time of the last row.
    pub used_at_ms: i64,
    /// True where values of the group have entries of their own.
    pub is_apart: bool,
}

impl GroupHead {
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(sortable(self.rows));
        out.extend(sortable(self.used_at_ms));
        out.push(self.is_apart.into());
    }

    /// The head of an entry, and the aggregates.
    pub fn split(entry: &[u8]) -> Result<(Self, &[u8])> {
        let damaged = || EngineError::State("an entry of a group aggregation is too short".into());
        let (rows, rest) = entry.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (used_at, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (is_apart, aggregates) = rest.split_first().ok_or_else(damaged)?;
        let head = Self { rows: from_sortable(*rows), used_at_ms: from_sortable(*used_at), is_apart: *is_apart != 0 };
        Ok((head, aggregates))
    }
}

/// The state's key of a group's entry, in parts.
pub fn group_key(key: &[u8]) -> [&[u8]; 2] {
    [&[GROUP], key]
}

/// Visits the entries of all groups of a key group, by key.
pub fn scan_groups(state: &dyn KeyedState, group: KeyGroup, visit: &mut Visit<'_>) -> Result<()> {
    state.scan(group, &[GROUP], &mut |key, entry| visit(&key[1..], entry))
}

/// Deletes all that a group keeps apart.
pub fn delete_values(state: &mut dyn KeyedState, group: KeyGroup, key: &[u8]) -> Result<()> {
    state.delete_prefix(group, &[&[VALUE], key_length(key).as_slice(), key].concat())
}

fn key_length(key: &[u8]) -> [u8; 4] {
    u32::try_from(key.len()).expect("a row of a batch is below 4 GB").to_be_bytes()
}

fn call_number(call: usize) -> [u8; 2] {
    u16::try_from(call).expect("a query has fewer aggregates than that").to_be_bytes()
}

/// The values that one aggregate call keeps apart.
pub struct CallValues<'a> {
    pub call: usize,
    pub keys: &'a KeyTable,
    pub key_groups: KeyGroupRange,
    pub state: &'a dyn KeyedState,
}

impl CallValues<'_> {
    fn prefix(&self, slot: u32) -> Vec<u8> {
        let key = self.keys.key(slot);
        [&[VALUE], key_length(key).as_slice(), key, &call_number(self.call)].concat()
    }
}

impl StoredValues for CallValues<'_> {
    /// In the order of state, where neighbours are read together.
    fn get_many(&self, keys: &[(u32, Vec<u8>)], visit: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let place = |(number, (slot, value)): (usize, &(u32, Vec<u8>))| {
            let mut key = self.prefix(*slot);
            key.extend_from_slice(value);
            (self.keys.group(*slot, self.key_groups), key, number)
        };
        let mut places: Vec<(KeyGroup, Vec<u8>, usize)> = keys.iter().enumerate().map(place).collect();
        places.sort_unstable();
        for (group, key, number) in places {
            if let Some(entry) = self.state.get(group, &key)? {
                visit(number, &entry)?;
            }
        }
        Ok(())
    }

    fn scan(&self, slot: u32, after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<()> {
        let prefix = self.prefix(slot);
        let mut from = prefix.clone();
        if let Some(after) = after {
            // The smallest key behind it.
            from.extend_from_slice(after);
            from.push(0);
        }
        let group = self.keys.group(slot, self.key_groups);
        self.state.scan_from(group, &prefix, &from, &mut |key, entry| visit(&key[prefix.len()..], entry))
    }
}

/// Puts the values of a call that have changed among the writes, which go to state where they are many.
pub fn value_writer<'a>(
    call: usize,
    keys: &'a KeyTable,
    key_groups: KeyGroupRange,
    writes: &'a mut Writes,
    state: &'a mut dyn KeyedState,
) -> Box<WriteValue<'a>> {
    let call = call_number(call);
    Box::new(move |slot, value, entry| {
        let (group, key) = (keys.group(slot, key_groups), keys.key(slot));
        let length = key_length(key);
        let parts = [&[VALUE], length.as_slice(), key, &call, value];
        match entry {
            Some(entry) => writes.put(group, &parts, entry),
            None => writes.delete(group, &parts),
        }
        writes.flush_when_full(state)
    })
}
