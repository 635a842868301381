//! The versions of the right side's rows, newest first under each key.
//!
//! A version's key in state: tag, the join key's bytes, its time and its number, both turned round so that the newest
//! comes first. Its value: the time from which it holds for sure, whether it is a deletion, the row. Beside them stands,
//! by time, when a key is to be cleared of what newer versions hide.

use std::collections::HashMap;

use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::note::{from_sortable, sortable};
use crate::{EngineError, Result};

const VERSION_TAG: u8 = b'r';
const CLEARING_TAG: u8 = b'c';
/// Bytes behind the join key: time and number.
const TAIL_BYTES: usize = 16;
/// Bytes of a value before the row.
const MARK_BYTES: usize = 9;

#[derive(Default)]
pub struct Versions {
    /// No clearing of the group is due before this; groups that are not listed were not looked at yet.
    due: HashMap<KeyGroup, i64>,
}

/// A row of the right side from a time on.
pub struct NewVersion<'a> {
    pub key: &'a [u8],
    pub time: i64,
    /// What the version's split had reached before it: left rows at or before that may have been joined already.
    pub mark: i64,
    pub number: i64,
    pub is_deletion: bool,
    pub row: &'a [u8],
}

struct Stored<'a> {
    time: i64,
    holds_from: i64,
    is_deletion: bool,
    row: &'a [u8],
}

impl Versions {
    pub fn put(&mut self, group: KeyGroup, version: &NewVersion<'_>, ctx: &mut OperatorContext) -> Result<()> {
        let holds_from = version.time.max(version.mark.saturating_add(1));
        let mut entry = prefix(version.key);
        entry.extend_from_slice(&sortable(!version.time));
        entry.extend_from_slice(&sortable(!version.number));
        let mut value = Vec::with_capacity(MARK_BYTES + version.row.len());
        value.extend_from_slice(&sortable(holds_from));
        value.push(u8::from(version.is_deletion));
        if !version.is_deletion {
            value.extend_from_slice(version.row);
        }
        ctx.state.put(group, &entry, &value)?;
        // Left rows later than the watermark see this version once the watermark is at `holds_from - 1`.
        let due = version.time.max(version.mark);
        if let Some(earliest) = self.due.get_mut(&group) {
            *earliest = (*earliest).min(due);
        }
        ctx.state.put(group, &clearing(due, version.key), &[])
    }

    /// Calls `found` with the version that holds at `time`, if there is one and it is no deletion.
    pub fn at(
        &self,
        group: KeyGroup,
        key: &[u8],
        time: i64,
        ctx: &OperatorContext,
        found: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        ctx.state.scan(group, &prefix(key), &mut |entry, value| {
            let version = read(entry, value)?;
            if version.time > time || version.holds_from > time {
                return Ok(true);
            }
            if !version.is_deletion {
                found(version.row);
            }
            Ok(false)
        })
    }

    /// Removes what no left row after `watermark` can meet.
    pub fn clear(&mut self, watermark: i64, ctx: &mut OperatorContext) -> Result<()> {
        for group in ctx.key_groups.groups().map(KeyGroup) {
            if self.due.get(&group).is_some_and(|due| *due > watermark) {
                continue;
            }
            let (mut entries, mut next) = (Vec::new(), i64::MAX);
            ctx.state.scan(group, &[CLEARING_TAG], &mut |entry, _| {
                let due = number_at(entry, 1)?;
                if due > watermark {
                    next = due;
                    return Ok(false);
                }
                entries.push(entry.to_vec());
                Ok(true)
            })?;
            self.due.insert(group, next);
            for entry in &entries {
                ctx.state.delete(group, entry)?;
            }
            let mut keys: Vec<&[u8]> = entries.iter().map(|entry| &entry[9..]).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.into_iter().try_for_each(|key| clear_key(group, key, watermark, ctx))?;
        }
        Ok(())
    }
}

/// Removes the versions behind the newest that every left row after `watermark` sees. A deletion stays, without its row:
/// it hides older versions that come late.
fn clear_key(group: KeyGroup, key: &[u8], watermark: i64, ctx: &mut OperatorContext) -> Result<()> {
    let (mut hidden, mut settled) = (Vec::new(), false);
    ctx.state.scan(group, &prefix(key), &mut |entry, value| {
        let version = read(entry, value)?;
        let holds = version.time <= watermark && version.holds_from.saturating_sub(1) <= watermark;
        if settled {
            hidden.push(entry.to_vec());
        }
        settled |= holds;
        Ok(true)
    })?;
    hidden.iter().try_for_each(|entry| ctx.state.delete(group, entry))
}

fn prefix(key: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(1 + key.len() + TAIL_BYTES);
    prefix.push(VERSION_TAG);
    prefix.extend_from_slice(key);
    prefix
}

fn clearing(due: i64, key: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(9 + key.len());
    entry.push(CLEARING_TAG);
    entry.extend_from_slice(&sortable(due));
    entry.extend_from_slice(key);
    entry
}

fn read<'a>(entry: &'a [u8], value: &'a [u8]) -> Result<Stored<'a>> {
    let time = !number_at(entry, entry.len().wrapping_sub(TAIL_BYTES))?;
    let holds_from = number_at(value, 0)?;
    let row = value.get(MARK_BYTES..).ok_or_else(damaged)?;
    Ok(Stored { time, holds_from, is_deletion: value[MARK_BYTES - 1] == 1, row })
}

/// The number that stands in its sortable form at this place.
pub fn number_at(bytes: &[u8], at: usize) -> Result<i64> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    found.map(|bytes| from_sortable(*bytes)).ok_or_else(damaged)
}

pub fn damaged() -> EngineError {
    EngineError::State("a stored row of a temporal join cannot be read: it was written by another version".into())
}
