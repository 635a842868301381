//! The partitions: all of them in durable state, those used lately in memory too.
//!
//! Over appended rows a partition that can have few rows is one entry of state, in the frame `p` of the partition key. Otherwise
//! state has one entry per different row, in the frame `r` of the partition key: sort bytes, row bytes, with its number and the
//! length of the sort bytes; and with a time to live, the frame `u` of the partition key, with the wall time of the last row.
//! Over appended rows what changed is written at barriers, since most rows that come in fall out again. Over an updated input,
//! where state has more than memory, it is written with each batch.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::Int64Array;

use super::partition::{self, Limits, Partition, Place};
use super::together;
use crate::keys::{KeyGroup, hash_key};
use crate::operator::OperatorContext;
use crate::operators::ahead::Ahead;
use crate::operators::expiry::ExpirySearch;
use crate::operators::key_table::{BatchKeys, KeyTable, SlotSet};
use crate::operators::note::{from_sortable, sortable};
use crate::operators::ordering::RankRange;
use crate::operators::recent_use::{RecentUse, is_state_empty};
use crate::state::{FramedReads, Writes, push_frame, unframe};
use crate::time::ProcessingTime;
use crate::{EngineError, Result};

const TOGETHER_TAG: u8 = b'p';
const ROW_TAG: u8 = b'r';
const USED_TAG: u8 = b'u';

/// What state has of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Rows may be taken back, so those out of range are kept too: each different row for itself.
    AllRows,
    /// Each different row in range for itself.
    RowsInRange,
    /// The rows in range as one entry.
    Together,
}

pub struct PartitionStore {
    limits: Limits,
    layout: Layout,
    expiry: ExpirySearch,
    keys: KeyTable,
    partitions: Vec<Partition>,
    /// Bytes of their entries, as of the end of the last batch.
    entry_bytes: usize,
    /// The last rank that is wanted of each partition.
    last_ranks: Vec<u64>,
    /// Slots with rows in the current batch.
    touched: Vec<u32>,
    /// Slots that differ from state.
    dirty: SlotSet,
    recent_use: RecentUse,
    ahead: Ahead,
    /// State has no partition that memory has not: a key that is new to memory is new.
    is_complete: bool,
    /// What the batch at hand writes.
    writes: Writes,
    /// Entries that only state has, as the batch at hand leaves them: by key group and key.
    below: BTreeMap<(u16, Vec<u8>), Below>,
    /// Reused for keys of state, and for partitions as one entry.
    key_buffer: Vec<u8>,
    value_buffer: Vec<u8>,
}

/// The number of rows of an entry, and the length of its sort bytes.
#[derive(Debug, Clone, Copy)]
struct Below {
    count: u32,
    sort_length: u32,
}

impl PartitionStore {
    pub fn new(limits: Limits, layout: Layout, ttl_ms: Option<i64>) -> Self {
        Self {
            limits,
            layout,
            expiry: ExpirySearch::new(ttl_ms),
            keys: KeyTable::default(),
            partitions: Vec::new(),
            entry_bytes: 0,
            last_ranks: Vec::new(),
            touched: Vec::new(),
            dirty: SlotSet::default(),
            recent_use: RecentUse::default(),
            ahead: Ahead::default(),
            is_complete: false,
            writes: Writes::default(),
            below: BTreeMap::new(),
            key_buffer: Vec::new(),
            value_buffer: Vec::new(),
        }
    }

    fn is_updated(&self) -> bool {
        self.layout == Layout::AllRows
    }

    pub fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        self.is_complete = is_state_empty(ctx)?;
        Ok(())
    }

    /// The slots of a batch's rows; partitions that memory does not have are read from state. `bounds`: of each row's partition.
    pub fn slots_of(
        &mut self,
        keys: &BatchKeys,
        rows: usize,
        bounds: Option<&Int64Array>,
        ctx: &mut OperatorContext,
    ) -> Result<Vec<u32>> {
        self.recent_use.next_batch();
        self.touched.clear();
        let mut slots = Vec::with_capacity(rows);
        for row in 0..rows {
            let slot = self.keys.intern(keys.hash(row), keys.key(row));
            if slot as usize == self.last_ranks.len() {
                self.note_range(bounds.map(|bounds| bounds.value(row)));
            }
            slots.push(slot);
        }
        self.read_new(ctx)?;
        for slot in &slots {
            if self.recent_use.touch(*slot) {
                self.touched.push(*slot);
                self.touch(*slot, ctx)?;
            }
        }
        Ok(slots)
    }

    /// Notes the range of the partition that comes next.
    fn note_range(&mut self, bound: Option<i64>) {
        let range = self.limits.range;
        let last = bound.map_or(range.to, |bound| range.to.min(bound.unsigned_abs()));
        assert!(bound.is_none_or(|bound| bound > 0) && last >= range.from, "a partition without a range has no rows");
        self.last_ranks.push(last);
    }

    fn limits(&self, slot: u32) -> Limits {
        let range = RankRange { to: self.last_ranks[slot as usize], ..self.limits.range };
        Limits { range, ..self.limits }
    }

    /// Notes that a partition is in use, and forgets what it had where that is too long ago.
    fn touch(&mut self, slot: u32, ctx: &mut OperatorContext) -> Result<()> {
        let group = self.keys.group(slot, ctx.key_groups);
        let partition = &mut self.partitions[slot as usize];
        let used_at = partition.used_at_ms;
        if self.expiry.is_expired(used_at, ctx.now.0) && !partition.entries.is_empty() {
            if self.layout != Layout::Together {
                write_key(&mut self.key_buffer, ROW_TAG, self.keys.key(slot), &[]);
                ctx.state.delete_prefix(group, &self.key_buffer)?;
            }
            empty(partition, &mut self.entry_bytes);
        }
        if self.expiry.is_worth_noting(used_at, ctx.now.0) {
            partition.used_at_ms = ctx.now.0;
            if self.layout == Layout::Together {
                self.dirty.insert(slot);
            } else {
                write_key(&mut self.key_buffer, USED_TAG, self.keys.key(slot), &[]);
                self.writes.put(group, &[&self.key_buffer], &sortable(ctx.now.0));
            }
        }
        Ok(())
    }

    /// Takes the partitions of all keys that are new into memory. They are read together: in the order of keys, and where state has
    /// nothing of most of them, a look into the filters of its files is all that it costs.
    fn read_new(&mut self, ctx: &OperatorContext) -> Result<()> {
        let known = self.partitions.len();
        let new = known as u32..self.keys.len() as u32;
        let reads = new.clone().map(|slot| (slot, self.keys.group(slot, ctx.key_groups), self.keys.key(slot)));
        if self.is_complete || self.layout == Layout::Together {
            self.partitions.extend(new.clone().map(|_| Partition::with_entries(Vec::new(), true)));
        }
        if self.is_complete {
            return Ok(());
        }
        if self.layout == Layout::Together {
            return ctx.state.scan_frames(&FramedReads::new(TOGETHER_TAG, reads), &mut |slot, _, value| {
                self.partitions[slot as usize] = together::unpack(value)?;
                Ok(true)
            });
        }
        let mut found: Vec<(Vec<partition::Entry>, bool)> = new.clone().map(|_| (Vec::new(), true)).collect();
        ctx.state.scan_frames(&FramedReads::new(ROW_TAG, reads), &mut |slot, key, value| {
            let (entries, complete) = &mut found[slot as usize - known];
            let Some(key) = unframe(key) else { return Err(damaged()) };
            *complete = entries.len() < self.entries_max(slot);
            if *complete {
                let (count, sort_length) = split_value(value)?;
                entries.push(partition::Entry::stored(key.rest, sort_length, count));
            }
            Ok(*complete)
        })?;
        for (slot, (entries, complete)) in new.zip(found) {
            let partition = self.read_rest(slot, Partition::with_entries(entries, complete), ctx)?;
            self.partitions.push(partition);
        }
        Ok(())
    }

    /// Adds to the first entries of a partition what else is needed of it.
    fn read_rest(&mut self, slot: u32, mut partition: Partition, ctx: &OperatorContext) -> Result<Partition> {
        while !partition.suffices(self.limits(slot)) {
            let mut entries = std::mem::take(&mut partition.entries);
            let last = entries.last().map(|entry| entry.bytes().to_vec());
            let complete = self.read_behind(slot, last.as_deref(), &mut entries, ctx)?;
            partition = Partition::with_entries(entries, complete);
        }
        if self.expiry.has_ttl() {
            write_key(&mut self.key_buffer, USED_TAG, self.keys.key(slot), &[]);
            let used_at = ctx.state.get(self.keys.group(slot, ctx.key_groups), &self.key_buffer)?;
            partition.used_at_ms = used_at.map_or(i64::MIN, |bytes| time_of(&bytes));
        }
        Ok(partition)
    }

    /// How many entries of a partition are read at once.
    fn entries_max(&self, slot: u32) -> usize {
        if self.is_updated() { self.limits(slot).rows_to_read() } else { usize::MAX }
    }

    /// Reads entries that stand behind `last`; true where there are no more of them.
    fn read_behind(
        &mut self,
        slot: u32,
        last: Option<&[u8]>,
        entries: &mut Vec<partition::Entry>,
        ctx: &OperatorContext,
    ) -> Result<bool> {
        let entries_max = self.entries_max(slot);
        write_key(&mut self.key_buffer, ROW_TAG, self.keys.key(slot), &[last.unwrap_or_default()]);
        let prefix = &self.key_buffer[..self.key_buffer.len() - last.map_or(0, <[u8]>::len)];
        let (mut complete, mut read) = (true, 0);
        ctx.state.scan_from(self.keys.group(slot, ctx.key_groups), prefix, &self.key_buffer, &mut |key, value| {
            let bytes = &key[prefix.len()..];
            if last == Some(bytes) {
                return Ok(true);
            }
            complete = read < entries_max;
            if complete {
                let (count, sort_length) = split_value(value)?;
                entries.push(partition::Entry::stored(bytes, sort_length, count));
                read += 1;
            }
            Ok(complete)
        })?;
        Ok(complete)
    }

    /// Shows `see` the only partition of an operator without keys, and forgets it.
    pub fn take_only(&mut self, ctx: &mut OperatorContext, see: impl FnOnce(&Partition, Limits)) -> Result<()> {
        let slot = self.keys.intern(hash_key(&[]), &[]);
        if slot as usize == self.partitions.len() {
            self.note_range(None);
            self.read_new(ctx)?;
        }
        let limits = self.limits(slot);
        see(&self.partitions[slot as usize], limits);
        empty(&mut self.partitions[slot as usize], &mut self.entry_bytes);
        let tag = if self.layout == Layout::Together { TOGETHER_TAG } else { ROW_TAG };
        write_key(&mut self.key_buffer, tag, &[], &[]);
        ctx.state.delete_prefix(self.keys.group(slot, ctx.key_groups), &self.key_buffer)
    }

    /// False for an appended row that cannot be in range, by its sort bytes.
    pub fn may_enter(&self, slot: u32, sort: &[u8]) -> bool {
        self.partitions[slot as usize].may_enter(sort, self.limits(slot))
    }

    pub fn insert_newest(&mut self, slot: u32, row: &[u8]) {
        let limits = self.limits(slot);
        self.partitions[slot as usize].append_newest(row, limits);
    }

    pub fn insert(&mut self, slot: u32, sort: &[u8], row: &[u8], ctx: &mut OperatorContext) -> Result<()> {
        let (limits, is_updated) = (self.limits(slot), self.is_updated());
        let partition = &mut self.partitions[slot as usize];
        if !is_updated {
            partition.append(sort, row, limits);
            return Ok(());
        }
        match partition.place(sort, row) {
            Place::Found(index) => {
                partition.entries[index].count += 1;
                partition.changed = true;
            }
            Place::Between(index) => partition.insert_at(index, sort, row),
            Place::Below => self.count_below(slot, sort, row, 1, ctx)?,
        }
        Ok(())
    }

    /// Takes a row back; one that never came changes nothing.
    pub fn remove(&mut self, slot: u32, sort: &[u8], row: &[u8], ctx: &mut OperatorContext) -> Result<()> {
        let partition = &mut self.partitions[slot as usize];
        match partition.place(sort, row) {
            Place::Found(index) => {
                let count = &mut partition.entries[index].count;
                *count = count.saturating_sub(1);
                partition.changed = true;
                Ok(())
            }
            Place::Between(_) => Ok(()),
            Place::Below => self.count_below(slot, sort, row, -1, ctx),
        }
    }

    /// Changes the number of rows of an entry that only state has.
    fn count_below(&mut self, slot: u32, sort: &[u8], row: &[u8], by: i32, ctx: &mut OperatorContext) -> Result<()> {
        let group = self.keys.group(slot, ctx.key_groups);
        write_key(&mut self.key_buffer, ROW_TAG, self.keys.key(slot), &[sort, row]);
        let entry = match self.below.entry((group.0, self.key_buffer.clone())) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let known = ctx.state.get(group, &self.key_buffer)?;
                let count = known.map(|value| split_value(&value)).transpose()?.map_or(0, |(count, _)| count);
                entry.insert(Below { count, sort_length: sort.len() as u32 })
            }
        };
        entry.count = entry.count.saturating_add_signed(by);
        Ok(())
    }

    /// Ends a batch: writes what changed, and shows `see` each partition with what it was and is.
    pub fn settle(&mut self, ctx: &mut OperatorContext, mut see: impl FnMut(&Partition, Limits)) -> Result<()> {
        let is_updated = self.is_updated();
        let mut touched = std::mem::take(&mut self.touched);
        touched.iter().for_each(|slot| count_bytes(&mut self.partitions[*slot as usize], &mut self.entry_bytes));
        touched.retain(|slot| self.partitions[*slot as usize].changed);
        for slot in &touched {
            match is_updated {
                true => self.write(*slot, ctx)?,
                false => self.dirty.insert(*slot),
            }
        }
        for ((group, key), Below { count, sort_length }) in std::mem::take(&mut self.below) {
            match count {
                0 => self.writes.delete(KeyGroup(group), &[&key]),
                count => self.writes.put(KeyGroup(group), &[&key], &value_of(count, sort_length)),
            }
        }
        self.writes.flush(ctx.state.as_mut())?;
        for slot in touched {
            if is_updated {
                self.refill(slot, ctx)?;
            }
            let limits = self.limits(slot);
            let partition = &mut self.partitions[slot as usize];
            see(partition, limits);
            partition.end_batch(limits, is_updated);
            count_bytes(partition, &mut self.entry_bytes);
        }
        Ok(())
    }

    /// Writes what state does not have yet.
    pub fn on_barrier(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.ahead.on_barrier();
        self.write_back(ctx)
    }

    /// Writes some of that before a barrier; true where there was something to write.
    pub fn work_ahead(&mut self, ctx: &mut OperatorContext) -> Result<bool> {
        let slots = self.ahead.take(&mut self.dirty, &self.recent_use, ctx);
        slots.iter().try_for_each(|slot| self.write(*slot, ctx))?;
        self.writes.flush(ctx.state.as_mut())?;
        Ok(!slots.is_empty())
    }

    fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.iter().try_for_each(|slot| self.write(slot, ctx))?;
        self.writes.flush(ctx.state.as_mut())
    }

    /// Adds what changed in a partition to what is to be written.
    fn write(&mut self, slot: u32, ctx: &mut OperatorContext) -> Result<()> {
        let group = self.keys.group(slot, ctx.key_groups);
        if self.layout == Layout::Together {
            let partition = &self.partitions[slot as usize];
            write_key(&mut self.key_buffer, TOGETHER_TAG, self.keys.key(slot), &[]);
            match partition.entries.is_empty() {
                true => self.writes.delete(group, &[&self.key_buffer]),
                false => {
                    together::pack(partition, &mut self.value_buffer);
                    self.writes.put(group, &[&self.key_buffer], &self.value_buffer);
                }
            }
            return self.writes.flush_when_full(ctx.state.as_mut());
        }
        write_key(&mut self.key_buffer, ROW_TAG, self.keys.key(slot), &[]);
        let (frame, partition) = (&self.key_buffer, &mut self.partitions[slot as usize]);
        for bytes in partition.doomed.drain(..) {
            self.writes.delete(group, &[frame, &bytes]);
        }
        for entry in partition.entries.iter_mut().filter(|entry| entry.count != entry.stored) {
            match entry.count {
                0 => self.writes.delete(group, &[frame, entry.bytes()]),
                count => {
                    let value = value_of(count, entry.sort_length());
                    self.writes.put(group, &[frame, entry.bytes()], &value);
                }
            }
            entry.stored = entry.count;
        }
        self.writes.flush_when_full(ctx.state.as_mut())
    }

    /// Reads further entries of a partition that lost too many.
    fn refill(&mut self, slot: u32, ctx: &OperatorContext) -> Result<()> {
        while !self.partitions[slot as usize].suffices(self.limits(slot)) {
            let last = self.partitions[slot as usize].entries.last().map(|entry| entry.bytes().to_vec());
            let mut further = Vec::new();
            let complete = self.read_behind(slot, last.as_deref(), &mut further, ctx)?;
            // They were out of range until now.
            further.iter_mut().for_each(|entry| entry.before = 0);
            let partition = &mut self.partitions[slot as usize];
            partition.entries.extend(further);
            partition.complete = complete;
        }
        Ok(())
    }

    /// Drops partitions from memory where it holds more than the budget; those used last stay.
    pub fn keep_to_budget(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let size_bytes = self.size_bytes();
        if !self.recent_use.is_beyond_budget(size_bytes, ctx) {
            return Ok(());
        }
        self.write_back(ctx)?;
        self.is_complete = false;
        let kept = self.recent_use.to_keep(size_bytes, ctx);
        let keys = std::mem::take(&mut self.keys);
        let (mut old, last_ranks) = (std::mem::take(&mut self.partitions), std::mem::take(&mut self.last_ranks));
        for slot in &kept {
            self.keys.intern(keys.hash(*slot), keys.key(*slot));
            self.partitions.push(std::mem::take(&mut old[*slot as usize]));
            self.last_ranks.push(last_ranks[*slot as usize]);
        }
        self.entry_bytes = self.partitions.iter().map(|partition| partition.counted_bytes).sum();
        self.recent_use = self.recent_use.of_kept(&kept);
        self.ahead.forget_slots();
        ctx.metrics.cache_bytes.set(self.size_bytes() as i64);
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        let partitions = self.partitions.capacity() * (size_of::<Partition>() + size_of::<u64>());
        self.entry_bytes + self.keys.size_bytes() + partitions + self.recent_use.size_bytes()
    }

    /// When entries are to be searched next that have not been used for long.
    pub fn next_time(&self) -> Option<ProcessingTime> {
        self.expiry.next_time()
    }

    /// Removes expired partitions of one key group, now and then.
    pub fn forget_some_expired(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let Some(group) = self.expiry.next_group(ctx) else { return Ok(()) };
        let tags: &[u8] = if self.layout == Layout::Together { &[TOGETHER_TAG] } else { &[USED_TAG, ROW_TAG] };
        let mut expired = Vec::new();
        ctx.state.scan(group, &tags[..1], &mut |key, value| {
            let part = unframe(key).ok_or_else(damaged)?.part;
            let used_at_ms = match (self.layout, self.keys.find(hash_key(part), part)) {
                // Memory knows better where it has the partition.
                (Layout::Together, Some(slot)) => self.partitions[slot as usize].used_at_ms,
                (Layout::Together, None) => together::used_at_ms(value)?,
                (Layout::AllRows | Layout::RowsInRange, _) => time_of(value),
            };
            if self.expiry.is_expired(used_at_ms, ctx.now.0) {
                expired.push(part.to_vec());
            }
            Ok(true)
        })?;
        for key in expired {
            if let Some(slot) = self.keys.find(hash_key(&key), &key) {
                empty(&mut self.partitions[slot as usize], &mut self.entry_bytes);
                self.dirty.remove(slot);
            }
            for tag in tags.iter().copied() {
                write_key(&mut self.key_buffer, tag, &key, &[]);
                ctx.state.delete_prefix(group, &self.key_buffer)?;
            }
        }
        Ok(())
    }
}

/// Has the sum of all partitions tell what this one takes now.
fn count_bytes(partition: &mut Partition, sum: &mut usize) {
    *sum = *sum + partition.size_bytes - partition.counted_bytes;
    partition.counted_bytes = partition.size_bytes;
}

/// Forgets what a partition had.
fn empty(partition: &mut Partition, sum: &mut usize) {
    *sum -= partition.counted_bytes;
    *partition = Partition::with_entries(Vec::new(), true);
}

/// A key of state, or what such keys begin with.
fn write_key(buffer: &mut Vec<u8>, tag: u8, key: &[u8], rest: &[&[u8]]) {
    buffer.clear();
    push_frame(buffer, tag, &[key]);
    rest.iter().for_each(|part| buffer.extend_from_slice(part));
}

fn value_of(count: u32, sort_length: u32) -> [u8; 8] {
    (u64::from(count) << 32 | u64::from(sort_length)).to_be_bytes()
}

fn split_value(value: &[u8]) -> Result<(u32, u32)> {
    let number = u64::from_be_bytes(value.try_into().map_err(|_| damaged())?);
    Ok(((number >> 32) as u32, number as u32))
}

fn damaged() -> EngineError {
    EngineError::State("an entry of a Top-N is damaged".into())
}

fn time_of(value: &[u8]) -> i64 {
    value.try_into().map_or(i64::MIN, from_sortable)
}
