//! Left rows that wait until the watermark passes them, by time.
//!
//! A key in state is: tag, time, number; its value is the row.

use std::collections::HashMap;

use super::versions::number_at;
use crate::Result;
use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::join_rows::ByteRows;
use crate::operators::note::sortable;

const TAG: u8 = b'l';

#[derive(Default)]
pub struct Waiting {
    /// No row of the group is earlier; groups that are not listed were not looked at yet.
    earliest: HashMap<KeyGroup, i64>,
}

impl Waiting {
    pub fn put(
        &mut self,
        group: KeyGroup,
        time: i64,
        number: i64,
        row: &[u8],
        ctx: &mut OperatorContext,
    ) -> Result<()> {
        if let Some(earliest) = self.earliest.get_mut(&group) {
            *earliest = (*earliest).min(time);
        }
        let mut entry = Vec::with_capacity(17);
        entry.push(TAG);
        entry.extend_from_slice(&sortable(time));
        entry.extend_from_slice(&sortable(number));
        ctx.state.put(group, &entry, row)
    }

    /// Takes at most `count` of a group's rows at `until` or before, earliest first.
    pub fn take(&mut self, group: KeyGroup, until: i64, count: usize, ctx: &mut OperatorContext) -> Result<ByteRows> {
        let mut rows = ByteRows::default();
        if self.earliest.get(&group).is_some_and(|earliest| *earliest > until) {
            return Ok(rows);
        }
        let (mut entries, mut next) = (Vec::new(), i64::MAX);
        ctx.state.scan(group, &[TAG], &mut |entry, row| {
            let time = number_at(entry, 1)?;
            if time > until || entries.len() == count {
                next = time;
                return Ok(false);
            }
            entries.push(entry.to_vec());
            rows.push(row);
            Ok(true)
        })?;
        self.earliest.insert(group, next);
        entries.iter().try_for_each(|entry| ctx.state.delete(group, entry))?;
        Ok(rows)
    }
}
