//! Upserts by a key that is not the changes' own: rows of one key may come from several instances, in any order.
//!
//! Keeps all rows of a key that are there, in order of arrival. The last one is what a sink should hold, so that an old row
//! which is taken back after the new one came changes nothing, and one that is taken back alone brings back the one before.
//!
//! A key whose only row is the old one of an update is not deleted at once: the new row most often comes right behind, and is one
//! upsert then. Where it has another key, the delete follows within a moment, and before the next barrier.

use std::collections::BTreeMap;

use arrow::array::Int8Array;
use arrow::datatypes::SchemaRef;

use super::expiry::ExpirySearch;
use super::key_table::{BatchKeys, KeyColumns, KeyTable};
use super::note::{from_sortable, sortable};
use super::row_codec::RowCodec;
use crate::batch::RowKind;
use crate::keys::KeyGroup;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::state::Writes;
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, EngineError, Epoch, Result};

/// More deletes than this do not wait for what comes behind them.
const WITHHELD_MAX: usize = 8_192;

/// Input and output have the same columns; the output has no `-U`.
#[derive(Clone)]
pub struct UpsertMaterialize {
    /// The key that the sink upserts by, as indices into the input; at least one.
    pub keys: Vec<usize>,
    /// A key that had no row for so long (wall time) is forgotten.
    pub ttl_ms: Option<i64>,
    pub input: SchemaRef,
}

impl OperatorFactory for UpsertMaterialize {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(MaterializeOperator {
            keys: KeyColumns::new(&self.keys, &self.input)?,
            rows: RowCodec::new(&self.input)?,
            expiry: ExpirySearch::new(self.ttl_ms),
            withheld: BTreeMap::new(),
        }))
    }
}

struct MaterializeOperator {
    keys: KeyColumns,
    rows: RowCodec,
    expiry: ExpirySearch,
    /// By key: the old row of an update whose new row has not come.
    withheld: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// Rows of one key as bytes, in order of arrival.
type KeyRows = Vec<Box<[u8]>>;

/// The keys of a batch with their rows.
#[derive(Default)]
struct Loaded {
    table: KeyTable,
    rows: Vec<KeyRows>,
}

/// A row to emit.
struct Change {
    row: Box<[u8]>,
    kind: RowKind,
}

impl Operator for MaterializeOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let keys = self.keys.encode(batch.rows())?;
        let rows = self.rows.encode(batch.rows())?;
        let mut loaded = Loaded::default();
        let mut changes = Vec::new();
        for row in 0..batch.num_rows() {
            let slot = self.find(&mut loaded, &keys, row, ctx)?;
            let (kind, bytes) = (batch.kind(row), rows.row(row));
            let change = apply(&mut loaded.rows[slot], bytes, kind.is_retraction());
            changes.extend(change.and_then(|change| self.withhold(keys.key(row), change, kind)));
        }
        write(&loaded, ctx)?;
        if self.withheld.len() > WITHHELD_MAX {
            changes.append(&mut self.take_withheld());
        }
        self.emit(&changes, out)
    }

    fn on_watermark(
        &mut self,
        _watermark: EventTime,
        _ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        self.tell_withheld(out)
    }

    fn on_barrier(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.tell_withheld(out)
    }

    fn on_end(&mut self, _ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.tell_withheld(out)
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.tell_withheld(out)?;
        match self.expiry.next_group(ctx) {
            Some(group) => self.forget_expired(group, ctx),
            None => Ok(()),
        }
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        if self.withheld.is_empty() { self.expiry.next_time() } else { Some(ProcessingTime::MIN) }
    }
}

/// What a row does to its key, and what the sink must be told.
fn apply(rows: &mut KeyRows, row: &[u8], is_retraction: bool) -> Option<Change> {
    if !is_retraction {
        let kind = if rows.is_empty() { RowKind::Insert } else { RowKind::UpdateAfter };
        rows.push(row.into());
        return Some(Change { row: row.into(), kind });
    }
    // A row that is not there had expired.
    let place = rows.iter().rposition(|held| held.as_ref() == row)?;
    let was_last = place + 1 == rows.len();
    let gone = rows.remove(place);
    match rows.last() {
        None => Some(Change { row: gone, kind: RowKind::Delete }),
        Some(last) if was_last => Some(Change { row: last.clone(), kind: RowKind::UpdateAfter }),
        Some(_) => None,
    }
}

impl MaterializeOperator {
    /// What is to be told now of a change that a row of kind `cause` made.
    fn withhold(&mut self, key: &[u8], change: Change, cause: RowKind) -> Option<Change> {
        match (change.kind, cause) {
            (RowKind::Delete, RowKind::UpdateBefore) => {
                self.withheld.insert(key.into(), change.row);
                None
            }
            // The sink still has the old row.
            (RowKind::Insert, _) if self.withheld.remove(key).is_some() => {
                Some(Change { kind: RowKind::UpdateAfter, ..change })
            }
            _ => Some(change),
        }
    }

    fn take_withheld(&mut self) -> Vec<Change> {
        let withheld = std::mem::take(&mut self.withheld).into_values();
        withheld.map(|row| Change { row, kind: RowKind::Delete }).collect()
    }

    fn tell_withheld(&mut self, out: &mut dyn Collector) -> Result<()> {
        let withheld = self.take_withheld();
        self.emit(&withheld, out)
    }

    fn emit(&self, changes: &[Change], out: &mut dyn Collector) -> Result<()> {
        if changes.is_empty() { Ok(()) } else { out.emit(MAIN_PORT, self.output(changes)?) }
    }

    /// The slot of a row's key; a key that is new in this batch is read from state.
    fn find(&self, loaded: &mut Loaded, keys: &BatchKeys, row: usize, ctx: &OperatorContext) -> Result<usize> {
        let slot = loaded.table.intern(keys.hash(row), keys.key(row)) as usize;
        if slot == loaded.rows.len() {
            let group = loaded.table.group(slot as u32, ctx.key_groups);
            let entry = ctx.state.get(group, keys.key(row))?;
            let rows = entry.map(|entry| decode_entry(&entry)).transpose()?;
            let live = rows.filter(|(used_at_ms, _)| !self.expiry.is_expired(*used_at_ms, ctx.now.0));
            loaded.rows.push(live.map(|(_, rows)| rows).unwrap_or_default());
        }
        Ok(slot)
    }

    fn output(&self, changes: &[Change]) -> Result<Batch> {
        let rows = self.rows.decode(changes.iter().map(|change| change.row.as_ref()))?;
        Ok(Batch::with_kinds(rows, Int8Array::from_iter_values(changes.iter().map(|change| change.kind as i8))))
    }

    fn forget_expired(&self, group: KeyGroup, ctx: &mut OperatorContext) -> Result<()> {
        let mut expired = Vec::new();
        ctx.state.scan(group, &[], &mut |key, entry| {
            if self.expiry.is_expired(decode_entry(entry)?.0, ctx.now.0) {
                expired.push(key.to_vec());
            }
            Ok(true)
        })?;
        expired.iter().try_for_each(|key| ctx.state.delete(group, key))
    }
}

fn write(loaded: &Loaded, ctx: &mut OperatorContext) -> Result<()> {
    let mut writes = Writes::default();
    let mut entry = Vec::new();
    for (slot, rows) in loaded.rows.iter().enumerate() {
        let (group, key) = (loaded.table.group(slot as u32, ctx.key_groups), loaded.table.key(slot as u32));
        if rows.is_empty() {
            writes.delete(group, &[key]);
            continue;
        }
        entry.clear();
        entry.extend(sortable(ctx.now.0));
        for row in rows {
            entry.extend((row.len() as u32).to_le_bytes());
            entry.extend_from_slice(row);
        }
        writes.put(group, &[key], &entry);
        writes.flush_when_full(ctx.state.as_mut())?;
    }
    writes.flush(ctx.state.as_mut())
}

/// The wall time of the last use, and the rows.
fn decode_entry(entry: &[u8]) -> Result<(i64, KeyRows)> {
    let damaged = || EngineError::State("an entry of an upsert materialization cannot be read".into());
    let (used_at, mut rest) = entry.split_first_chunk::<8>().ok_or_else(damaged)?;
    let mut rows = KeyRows::new();
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (row, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
        rows.push(row.into());
        rest = behind;
    }
    Ok((from_sortable(*used_at), rows))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::operators::testing::{IdChange, World, give_changes, id_and_value};

    fn plan() -> UpsertMaterialize {
        UpsertMaterialize { keys: vec![0], ttl_ms: None, input: id_and_value() }
    }

    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

    #[test]
    fn an_old_row_that_is_taken_back_late_changes_nothing() {
        let plan = plan();
        let mut world = World::new(&plan, &plan.keys, &plan.input, usize::MAX, 1);
        assert_eq!(give_changes(&mut world, &[(Insert, 1, 5)]), [(Insert, 1, 5)]);
        world.restart(2);
        let changes = [(UpdateAfter, 1, 6), (UpdateBefore, 1, 5)];
        assert_eq!(give_changes(&mut world, &changes), [(UpdateAfter, 1, 6)]);
        assert_eq!(give_changes(&mut world, &[(UpdateAfter, 1, 7), (Delete, 1, 7)])[1], (UpdateAfter, 1, 6));
        assert_eq!(give_changes(&mut world, &[(Delete, 1, 6)]), [(Delete, 1, 6)]);
        assert_eq!(world.state_entries(), 0);
    }

    #[test]
    fn an_update_of_a_key_is_one_upsert_and_one_that_moves_to_another_key_deletes_the_old() {
        let plan = plan();
        let mut world = World::new(&plan, &plan.keys, &plan.input, usize::MAX, 1);
        assert_eq!(give_changes(&mut world, &[(Insert, 1, 5), (Insert, 2, 8)]).len(), 2);
        let changes = [(UpdateBefore, 1, 5), (UpdateAfter, 1, 6)];
        assert_eq!(give_changes(&mut world, &changes), [(UpdateAfter, 1, 6)]);
        assert_eq!(give_changes(&mut world, &[(UpdateBefore, 1, 6)]), [], "the new row may come with the next batch");
        assert_eq!(give_changes(&mut world, &[(UpdateAfter, 1, 7)]), [(UpdateAfter, 1, 7)]);
        let changes = [(UpdateBefore, 1, 7), (UpdateAfter, 3, 7), (UpdateBefore, 2, 8)];
        assert_eq!(give_changes(&mut world, &changes), [(Insert, 3, 7)]);
        world.restart(2);
        let told = give_changes(&mut world, &[(UpdateAfter, 2, 9)]);
        assert_eq!(told, [(Delete, 1, 7), (Delete, 2, 8), (Insert, 2, 9)], "a barrier waits for nothing");
    }

    /// Values are rows of a table by value whose key moves: several writers send their changes, each in its own order.
    #[test]
    fn the_sink_ends_with_the_rows_that_are_left_however_writers_interleave() {
        for seed in 0..150 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let plan = plan();
            let mut world = World::new(&plan, &plan.keys, &plan.input, usize::MAX, 1);
            // Each writer owns some values and says at which id each stands now.
            let mut writers: Vec<VecDeque<IdChange>> = vec![VecDeque::new(); 3];
            let mut left: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
            for (writer, changes) in writers.iter_mut().enumerate() {
                for value in (0..4).map(|n| n * 10 + writer as i64) {
                    let mut at = rng.random_range(0..4);
                    changes.push_back((Insert, at, value));
                    for _ in 0..rng.random_range(0..4) {
                        changes.push_back((UpdateBefore, at, value));
                        at = rng.random_range(0..4);
                        changes.push_back((UpdateAfter, at, value));
                    }
                    if rng.random_bool(0.4) {
                        changes.push_back((Delete, at, value))
                    } else {
                        left.entry(at).or_default().push(value)
                    };
                }
            }
            let mut sink: BTreeMap<i64, i64> = BTreeMap::new();
            let mut open = true;
            while open {
                open = writers.iter().any(|changes| !changes.is_empty());
                let mut batch = Vec::new();
                for _ in 0..rng.random_range(1..6) {
                    batch.extend(writers[rng.random_range(0..3)].pop_front());
                }
                for (kind, id, value) in give_changes(&mut world, &batch) {
                    assert_ne!(kind, UpdateBefore, "seed {seed}");
                    if kind == Delete {
                        sink.remove(&id)
                    } else {
                        sink.insert(id, value)
                    };
                }
                if rng.random_bool(0.2) || writers.iter().all(VecDeque::is_empty) {
                    (0..3).for_each(|_| world.restart(rng.random_range(1..4)));
                }
            }
            assert_eq!(sink.keys().collect::<Vec<_>>(), left.keys().collect::<Vec<_>>(), "seed {seed}");
            assert!(sink.iter().all(|(id, value)| left[id].contains(value)), "seed {seed}");
        }
    }
}
