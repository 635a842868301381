//! Which partitions in state have rows that wait for later ones: an entry `d`, the time of the first such row and the
//! partition key.

use crate::Result;
use crate::keys::KeyGroup;
use crate::operator::OperatorContext;
use crate::operators::note::{from_sortable, sortable};
use crate::state::Writes;

const DUE_TAG: u8 = b'd';

/// Tag and time.
const HEAD_BYTES: usize = 9;

#[derive(Default)]
pub struct DueIndex {
    /// No entry has an earlier time.
    earliest: Option<i64>,
}

impl DueIndex {
    pub fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        for group in ctx.key_groups.groups().map(KeyGroup) {
            ctx.state.scan(group, &[DUE_TAG], &mut |entry, _| {
                self.note(time_of(entry));
                Ok(false)
            })?;
        }
        Ok(())
    }

    fn note(&mut self, time: i64) {
        self.earliest = Some(self.earliest.map_or(time, |earliest| earliest.min(time)));
    }

    /// Moves the entry of a partition from one time to another.
    pub fn replace(&mut self, group: KeyGroup, key: &[u8], old: Option<i64>, new: Option<i64>, writes: &mut Writes) {
        if let Some(time) = old {
            writes.delete(group, &[&[DUE_TAG], &sortable(time), key]);
        }
        if let Some(time) = new {
            writes.put(group, &[&[DUE_TAG], &sortable(time), key], &[]);
            self.note(time);
        }
    }

    /// Takes out entries with a time up to `latest`, `partitions_max` of them or a few more, and gives their keys.
    pub fn take(&mut self, latest: i64, partitions_max: usize, ctx: &mut OperatorContext) -> Result<Vec<Vec<u8>>> {
        if self.earliest.is_none_or(|earliest| earliest > latest) {
            return Ok(Vec::new());
        }
        self.earliest = None;
        let mut keys = Vec::new();
        let mut taken = Writes::default();
        for group in ctx.key_groups.groups().map(KeyGroup) {
            ctx.state.scan(group, &[DUE_TAG], &mut |entry, _| {
                let time = time_of(entry);
                let is_wanted = time <= latest && keys.len() < partitions_max;
                match is_wanted {
                    true => {
                        keys.push(entry[HEAD_BYTES..].to_vec());
                        taken.delete(group, &[entry]);
                    }
                    false => self.note(time),
                }
                Ok(is_wanted)
            })?;
        }
        taken.flush(ctx.state.as_mut())?;
        Ok(keys)
    }
}

fn time_of(entry: &[u8]) -> i64 {
    entry[1..HEAD_BYTES].try_into().map_or(i64::MIN, from_sortable)
}
