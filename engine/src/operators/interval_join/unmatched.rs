//! Rows without partner so far, by time: those that an outer or anti join gives when they expire.

use std::collections::HashMap;

use super::rows::{RowPlace, damaged, number_at};
use crate::Result;
use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::join_rows::LEFT;
use crate::operators::note::sortable;

/// Key in state: tag of the side, time, the join key's bytes, number. There is no value.
pub struct Unmatched {
    side: usize,
    /// No row of the group is earlier; groups that are not listed were not looked at yet.
    earliest: HashMap<KeyGroup, i64>,
}

impl Unmatched {
    pub fn new(side: usize) -> Self {
        Self { side, earliest: HashMap::new() }
    }

    pub fn put(&mut self, place: &RowPlace, ctx: &mut OperatorContext) -> Result<()> {
        if let Some(earliest) = self.earliest.get_mut(&place.group) {
            *earliest = (*earliest).min(place.time);
        }
        ctx.state.put(place.group, &self.entry(place), &[])
    }

    pub fn delete(&self, place: &RowPlace, ctx: &mut OperatorContext) -> Result<()> {
        ctx.state.delete(place.group, &self.entry(place))
    }

    /// Some of the rows at `until` or before, at most `count`; none when there are no more. They are forgotten.
    pub fn take(&mut self, until: i64, count: usize, ctx: &mut OperatorContext) -> Result<Vec<RowPlace>> {
        let mut taken = Vec::new();
        for group in ctx.key_groups.groups().map(KeyGroup) {
            if self.earliest.get(&group).is_some_and(|earliest| *earliest > until) {
                continue;
            }
            let next = self.find(group, until, count - taken.len(), &mut taken, ctx)?;
            self.earliest.insert(group, next);
            if taken.len() == count {
                break;
            }
        }
        for place in &taken {
            ctx.state.delete(place.group, &self.entry(place))?;
        }
        Ok(taken)
    }

    /// Adds the group's earliest rows, and gives the time of the first that was not added.
    fn find(
        &self,
        group: KeyGroup,
        until: i64,
        count: usize,
        found: &mut Vec<RowPlace>,
        ctx: &OperatorContext,
    ) -> Result<i64> {
        let mut next = i64::MAX;
        let full = found.len() + count;
        ctx.state.scan(group, &[self.tag()], &mut |entry, _| {
            let time = number_at(entry, 1)?;
            if time > until || found.len() == full {
                next = time;
                return Ok(false);
            }
            let number = number_at(entry, entry.len().wrapping_sub(8))?;
            let key = entry.get(9..entry.len() - 8).ok_or_else(damaged)?.to_vec();
            found.push(RowPlace { group, key, time, number });
            Ok(true)
        })?;
        Ok(next)
    }

    fn tag(&self) -> u8 {
        if self.side == LEFT { b'L' } else { b'R' }
    }

    fn entry(&self, place: &RowPlace) -> Vec<u8> {
        let mut entry = Vec::with_capacity(17 + place.key.len());
        entry.push(self.tag());
        entry.extend_from_slice(&sortable(place.time));
        entry.extend_from_slice(&place.key);
        entry.extend_from_slice(&sortable(place.number));
        entry
    }
}
