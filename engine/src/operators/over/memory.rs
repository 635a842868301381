//! What partitions remember from row to row: counts, aggregates over all rows so far, and the last rows.
//!
//! State has an entry `p` and the partition key with counts, clocks and aggregates; the last rows have entries of their
//! own (see [`super::history`]). Changes are written at barriers, and where memory is short.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::frame::{Ahead, Frame, Needs, OverFunction};
use super::frames::Layout;
use super::history::{Answer, History, ROW_TAG, Reached, split_value};
use super::numbers::{Counts, counts_after, number};
use super::running::{self, NthColumns};
use super::runs::Runs;
use super::spans::Past;
use crate::aggregate::{AggregateCall, AggregateSet};
use crate::keys::{KeyGroup, hash_key};
use crate::operator::OperatorContext;
use crate::operators::expiry::ExpirySearch;
use crate::operators::key_table::{BatchKeys, KeyTable, SlotSet};
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::operators::note::{from_sortable, sortable};
use crate::operators::ordering::RankFunction;
use crate::state::Writes;
use crate::time::{EventTime, ProcessingTime};
use crate::{EngineError, Result};

const PARTITION_TAG: u8 = b'p';

/// The clocks and counts of an entry, before the aggregates.
const HEAD_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, Default)]
struct Head {
    counts: Counts,
    /// Wall time of the last row.
    used_at_ms: i64,
    /// Time of the last row.
    last_ms: i64,
}

/// Functions of all rows so far that share one way of treating equal rows.
struct Running {
    peers: bool,
    /// Positions of the functions.
    positions: Vec<usize>,
    calls: NarrowCalls,
    values: AggregateSet,
}

pub struct PartitionMemory {
    expiry: ExpirySearch,
    keys: KeyTable,
    heads: Vec<Head>,
    running: Vec<Running>,
    nth: NthColumns,
    history: History,
    /// Rows wait for later ones.
    waits: bool,
    /// Nothing is remembered but rows within a range of time, so a partition ends with the last of them.
    is_range_only: bool,
    dirty: SlotSet,
    /// The watermark at which state was last searched for rows that are out of range.
    searched_at: Option<EventTime>,
}

impl PartitionMemory {
    /// `schema` is that of the rows; of these `layout` says what is remembered.
    pub fn new(functions: &[OverFunction], schema: &SchemaRef, layout: &Layout, ttl_ms: Option<i64>) -> Result<Self> {
        let mut nth = NthColumns::new(schema.fields().len());
        let mut running = Vec::new();
        for peers in [false, true] {
            running.extend(Running::new(functions, schema, peers, &mut nth)?);
        }
        let (needs, ahead) = (Needs::of(functions), Ahead::of(functions));
        let history = History::new(needs, ahead, &layout.schema)?;
        let is_early = functions.iter().any(OverFunction::is_early);
        Ok(Self {
            expiry: ExpirySearch::new(ttl_ms),
            keys: KeyTable::default(),
            heads: Vec::new(),
            is_range_only: !is_early && history.range_only_ms().is_some(),
            running,
            nth,
            history,
            waits: !ahead.is_nothing(),
            dirty: SlotSet::default(),
            searched_at: None,
        })
    }

    pub fn open(&mut self, ctx: &OperatorContext) -> Result<()> {
        self.history.open(ctx)
    }

    /// When entries are to be searched next that have not been used for long.
    pub fn next_expiry(&self) -> Option<ProcessingTime> {
        self.expiry.next_time()
    }

    /// By the wall clock: when [`Self::free_before`] has something to do next.
    pub fn next_free(&self) -> Option<ProcessingTime> {
        let range_ms = self.history.range_only_ms()?;
        let searched_at = self.searched_at.map_or(i64::MIN, |at| at.0.saturating_add(range_ms.max(1)));
        Some(ProcessingTime(searched_at))
    }

    /// The slots of rows' partitions, read from state where memory does not have them.
    pub fn slots_of(&mut self, keys: &BatchKeys, rows: usize, ctx: &OperatorContext) -> Result<Vec<u32>> {
        let known = self.keys.len();
        let slots: Vec<u32> = (0..rows).map(|row| self.keys.intern(keys.hash(row), keys.key(row))).collect();
        self.load_from(known, ctx)?;
        for slot in &slots {
            let head = self.heads[*slot as usize];
            let expired = self.expiry.is_expired(head.used_at_ms, ctx.now.0);
            if expired && head.counts.rows > 0 && self.history.pending(*slot) == 0 {
                self.forget(*slot);
            }
            self.heads[*slot as usize].used_at_ms = ctx.now.0;
            self.dirty.insert(*slot);
        }
        Ok(slots)
    }

    /// The slots of partitions that were found in state.
    fn slots_of_keys(&mut self, keys: &[Vec<u8>], ctx: &OperatorContext) -> Result<Vec<u32>> {
        let known = self.keys.len();
        let slots: Vec<u32> = keys.iter().map(|key| self.keys.intern(hash_key(key), key)).collect();
        self.load_from(known, ctx)?;
        Ok(slots)
    }

    fn load_from(&mut self, known: usize, ctx: &OperatorContext) -> Result<()> {
        let slots = known as u32..self.keys.len() as u32;
        self.heads.resize(self.keys.len(), Head::default());
        self.running.iter_mut().for_each(|running| running.values.resize(self.keys.len()));
        let (mut found, mut entries) = (Vec::new(), Vec::new());
        for slot in slots.clone() {
            let key = [&[PARTITION_TAG], self.keys.key(slot)].concat();
            if let Some(entry) = ctx.state.get(self.keys.group(slot, ctx.key_groups), &key)? {
                self.heads[slot as usize] = read_head(&entry)?;
                found.push(slot);
                entries.push(entry);
            }
        }
        let mut rests: Vec<&[u8]> = entries.iter().map(|entry| &entry[HEAD_BYTES..]).collect();
        for running in &mut self.running {
            let mut states = Vec::with_capacity(rests.len());
            for rest in &mut rests {
                states.push(take_part(rest)?);
            }
            running.values.merge_encoded(&found, states)?;
        }
        let keys = &self.keys;
        self.history.load(slots.map(|slot| (keys.group(slot, ctx.key_groups), keys.key(slot))), ctx)?;
        if self.waits {
            for (slot, rest) in found.iter().zip(rests) {
                self.history.set_pending(*slot, pending_of(rest)?)?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, slot: u32) {
        self.heads[slot as usize] = Head::default();
        self.running.iter_mut().for_each(|running| running.values.reset(&[slot]));
        self.history.clear(slot);
        self.dirty.insert(slot);
    }

    /// Fills in the columns of functions of all rows so far, and counts the rows.
    pub fn compute_early(
        &mut self,
        runs: &Runs,
        sorted: &RecordBatch,
        functions: &[OverFunction],
        columns: &mut [Option<ArrayRef>],
    ) -> Result<()> {
        let before: Vec<Counts> = runs.runs.iter().map(|run| self.heads[run.slot as usize].counts).collect();
        for (function, column) in functions.iter().zip(&mut *columns) {
            if let OverFunction::Number(function) = function {
                *column = Some(Arc::new(number(runs, &before, *function)));
            }
        }
        let sorted = self.nth.extend(sorted, || number(runs, &before, RankFunction::RowNumber))?;
        for Running { peers, positions, calls, values } in &mut self.running {
            let results = running::run(runs, &sorted, calls, values, *peers)?;
            for (position, result) in positions.iter().zip(results) {
                let is_nth = matches!(functions[*position], OverFunction::Nth { .. });
                columns[*position] = Some(if is_nth { running::unwrapped(&result)? } else { result });
            }
        }
        for (run, before) in runs.runs.iter().zip(before) {
            let head = &mut self.heads[run.slot as usize];
            head.counts = counts_after(runs, &run.rows, before);
            head.last_ms = runs.times[run.rows.end - 1];
        }
        Ok(())
    }

    /// The rows at hand with those before them that frames see.
    pub fn with_past(&self, runs: &Runs, fresh: &RecordBatch) -> Result<Past> {
        self.history.with_past(runs, fresh)
    }

    /// Remembers what later frames see.
    pub fn keep(&mut self, runs: &Runs, fresh: RecordBatch) -> Result<()> {
        self.history.keep(runs, fresh)
    }

    /// Pending rows of some partitions that have all that they wait for.
    pub fn answerable(&self, slots: &[u32], reached: Reached) -> Result<Option<(Vec<Answer>, Past)>> {
        self.history.answerable(slots, reached)
    }

    pub fn answered(&mut self, answers: &[Answer]) -> Result<()> {
        answers.iter().for_each(|answer| self.dirty.insert(answer.slot));
        self.history.answered(answers)
    }

    /// Some partitions whose pending rows may have waited long enough; none where all were given.
    pub fn due_slots(&mut self, reached: Reached, ctx: &mut OperatorContext) -> Result<Vec<u32>> {
        let slots = self.history.due_in_memory(reached);
        if !slots.is_empty() {
            return Ok(slots);
        }
        let keys = self.history.due_in_state(reached, ctx)?;
        let slots = self.slots_of_keys(&keys, ctx)?;
        self.history.forget_index(&slots);
        slots.iter().for_each(|slot| self.dirty.insert(*slot));
        Ok(slots)
    }

    pub fn write_back(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let slots: Vec<u32> = self.dirty.iter().collect();
        let (live, gone): (Vec<u32>, Vec<u32>) =
            slots.iter().partition(|slot| self.heads[**slot as usize].counts.rows > 0);
        let states = self.running.iter().map(|running| running.values.encode_state(&live));
        let states = states.collect::<Result<Vec<_>>>()?;
        let mut writes = Writes::default();
        let mut entry = Vec::new();
        for (row, slot) in live.iter().enumerate() {
            entry.clear();
            write_head(&mut entry, &self.heads[*slot as usize]);
            for state in &states {
                let state = state.row(row);
                entry.extend((state.data().len() as u32).to_be_bytes());
                entry.extend_from_slice(state.data());
            }
            if self.waits {
                entry.extend((self.history.pending(*slot) as u64).to_be_bytes());
            }
            writes.put(self.keys.group(*slot, ctx.key_groups), &[&[PARTITION_TAG], self.keys.key(*slot)], &entry);
            writes.flush_when_full(ctx.state.as_mut())?;
        }
        for slot in gone {
            writes.delete(self.keys.group(slot, ctx.key_groups), &[&[PARTITION_TAG], self.keys.key(slot)]);
        }
        writes.flush(ctx.state.as_mut())?;
        let (keys, range) = (&self.keys, ctx.key_groups);
        self.history.write(&slots, |slot| (keys.group(slot, range), keys.key(slot)), ctx)?;
        self.dirty.clear();
        Ok(())
    }

    /// Writes everything and empties memory where it holds more than its budget.
    pub fn keep_to_budget(&mut self, other_bytes: usize, ctx: &mut OperatorContext) -> Result<()> {
        let size_bytes = self.size_bytes();
        if size_bytes + other_bytes > ctx.cache_budget_bytes && !self.heads.is_empty() {
            ctx.metrics.spilled.add(self.heads.len());
            self.drop_memory(ctx)?;
        }
        ctx.metrics.cache_bytes.set((self.size_bytes() + other_bytes) as i64);
        Ok(())
    }

    fn drop_memory(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.write_back(ctx)?;
        self.keys = KeyTable::default();
        self.heads = Vec::new();
        for running in &mut self.running {
            running.values = running.calls.accumulators()?;
        }
        self.history.drop_memory();
        Ok(())
    }

    pub fn size_bytes(&self) -> usize {
        let running: usize = self.running.iter().map(|running| running.values.size_bytes()).sum();
        running + self.keys.size_bytes() + self.heads.capacity() * size_of::<Head>() + self.history.size_bytes()
    }

    /// Frees rows that are out of every frame's range, once time has moved by the range: so each row is looked at a
    /// few times only.
    pub fn free_before(&mut self, watermark: EventTime, ctx: &mut OperatorContext) -> Result<()> {
        let Some(range_ms) = self.history.range_only_ms() else { return Ok(()) };
        let searched_at = *self.searched_at.get_or_insert(watermark);
        let is_last = watermark == EventTime::MAX;
        if !is_last && watermark.0 < searched_at.0.saturating_add(range_ms.max(1)) {
            return Ok(());
        }
        self.searched_at = Some(watermark);
        let earliest = self.history.earliest(watermark);
        for (slot, has_rows) in self.history.drop_before(earliest) {
            self.dirty.insert(slot);
            if self.is_range_only && !has_rows {
                self.forget(slot);
            }
        }
        for group in ctx.key_groups.groups().map(KeyGroup) {
            let mut old = Vec::new();
            ctx.state.scan(group, &[ROW_TAG], &mut |key, value| {
                if split_value(value)?.0 < earliest {
                    old.push(key.to_vec());
                }
                Ok(true)
            })?;
            if self.is_range_only {
                ctx.state.scan(group, &[PARTITION_TAG], &mut |key, entry| {
                    if read_head(entry)?.last_ms < earliest {
                        old.push(key.to_vec());
                    }
                    Ok(true)
                })?;
            }
            let mut writes = Writes::default();
            old.iter().for_each(|key| writes.delete(group, &[key]));
            writes.flush(ctx.state.as_mut())?;
        }
        Ok(())
    }

    pub fn forget_some_expired(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let Some(group) = self.expiry.next_group(ctx) else { return Ok(()) };
        let mut expired = Vec::new();
        ctx.state.scan(group, &[PARTITION_TAG], &mut |key, entry| {
            let cached = self.keys.find(hash_key(&key[1..]), &key[1..]);
            let head = cached.map_or_else(|| read_head(entry), |slot| Ok(self.heads[slot as usize]))?;
            let waits = match cached {
                Some(slot) => self.history.pending(slot) > 0,
                None => self.waits && pending_of(entry.last_chunk::<8>().map_or(&[], |bytes| bytes))? > 0,
            };
            if self.expiry.is_expired(head.used_at_ms, ctx.now.0) && !waits {
                expired.push(key[1..].to_vec());
            }
            Ok(true)
        })?;
        for key in expired {
            match self.keys.find(hash_key(&key), &key) {
                // The next barrier deletes its entries.
                Some(slot) => self.forget(slot),
                None => {
                    ctx.state.delete(group, &[&[PARTITION_TAG], key.as_slice()].concat())?;
                    ctx.state.delete_prefix(group, &[&[ROW_TAG], key.as_slice()].concat())?;
                }
            }
        }
        Ok(())
    }
}

impl Running {
    fn new(functions: &[OverFunction], schema: &SchemaRef, peers: bool, nth: &mut NthColumns) -> Result<Option<Self>> {
        let (mut positions, mut calls): (Vec<usize>, Vec<AggregateCall>) = (Vec::new(), Vec::new());
        for (position, function) in functions.iter().enumerate().filter(|(_, function)| function.is_early()) {
            // Equal rows have the same result where it is that of the last one, to which the frame of another row ends.
            let with_peers = |frame: &Frame| frame.has_peers() && frame.is_so_far();
            match function {
                OverFunction::Aggregate(call, frame) if with_peers(frame) == peers => calls.push(call.clone()),
                OverFunction::Nth { column, number, frame } if with_peers(frame) == peers => {
                    calls.push(nth.add(*column, *number, schema)?);
                }
                _ => continue,
            }
            positions.push(position);
        }
        if positions.is_empty() {
            return Ok(None);
        }
        let calls = NarrowCalls::new(&calls);
        Ok(Some(Self { peers, positions, values: calls.accumulators()?, calls }))
    }
}

fn write_head(entry: &mut Vec<u8>, head: &Head) {
    for number in [head.counts.rows, head.counts.groups, head.used_at_ms, head.last_ms] {
        entry.extend(sortable(number));
    }
    debug_assert_eq!(entry.len(), HEAD_BYTES);
}

fn read_head(entry: &[u8]) -> Result<Head> {
    let number = |index: usize| {
        let bytes = entry.get(8 * index..8 * (index + 1)).and_then(|bytes| bytes.try_into().ok());
        bytes.map(from_sortable).ok_or_else(damaged)
    };
    let counts = Counts { rows: number(0)?, groups: number(1)? };
    Ok(Head { counts, used_at_ms: number(2)?, last_ms: number(3)? })
}

/// The aggregates' state that stands first.
fn take_part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let (part, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(damaged)?;
    *rest = behind;
    Ok(part)
}

/// The number of pending rows, which stands last.
fn pending_of(rest: &[u8]) -> Result<usize> {
    let bytes = rest.try_into().map_err(|_| damaged())?;
    usize::try_from(u64::from_be_bytes(bytes)).map_err(|_| damaged())
}

fn damaged() -> EngineError {
    EngineError::State("an entry of an OVER aggregation is damaged".into())
}
