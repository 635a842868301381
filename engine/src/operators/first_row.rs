//! Deduplication that keeps the first row of each key: each key gives one row, once and for all.
//!
//! In event time a row is the first when the watermark has passed it and no earlier one came; of rows at the same time,
//! the further order and then the columns decide, not the arrival. In processing time it is the one that arrives first.

use std::cmp::Ordering;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;

use super::expiry::ExpirySearch;
use super::key_table::{BatchKeys, KeyColumns, KeyTable};
use super::narrow::Narrow;
use super::note::{from_sortable, sortable};
use super::ordering::{SortColumn, SortEncoder};
use super::row_codec::RowCodec;
use super::waiting_rows::{DueTime, WaitingRows};
use crate::keys::KeyGroup;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::state::Writes;
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, Epoch, Result};

/// Output: the kept columns, appended.
#[derive(Clone)]
pub struct FirstRow {
    /// PARTITION BY, as indices into `input`; none means that there is one first row.
    pub keys: Vec<usize>,
    /// ORDER BY, the time first. Not read in processing time.
    pub order: Vec<SortColumn>,
    pub is_event_time: bool,
    pub kept: Vec<usize>,
    /// A key is forgotten so long (wall time) after its row was given.
    pub ttl_ms: Option<i64>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for FirstRow {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let order: &[SortColumn] = if self.is_event_time { &self.order } else { &[] };
        let read = self.keys.iter().chain(&self.kept).copied();
        let narrow = Narrow::new(read.chain(order.iter().map(|sort| sort.column)), &self.input)?;
        let keys = narrow.places(&self.keys);
        let waiting = match order.first() {
            Some(time) => {
                let due = DueTime::Column(narrow.place(time.column));
                let rows = WaitingRows::new("Deduplicate", due, &keys, narrow.schema())?;
                Some(Waiting { rows, late: DueTime::Column(time.column) })
            }
            None => None,
        };
        Ok(Box::new(FirstRowOperator {
            keys: KeyColumns::new(&keys, narrow.schema())?,
            order: SortEncoder::new(&narrow.sort(order), narrow.schema())?,
            codec: RowCodec::new(narrow.schema())?,
            kept: narrow.places(&self.kept),
            given: GivenKeys::new(self.ttl_ms),
            narrow,
            waiting,
            schema: self.schema.clone(),
        }))
    }
}

struct Waiting {
    rows: WaitingRows,
    /// The time column of the input.
    late: DueTime,
}

struct FirstRowOperator {
    narrow: Narrow,
    keys: KeyColumns,
    order: SortEncoder,
    codec: RowCodec,
    /// Where the output's columns stand among the narrow ones.
    kept: Vec<usize>,
    given: GivenKeys,
    waiting: Option<Waiting>,
    schema: SchemaRef,
}

impl FirstRowOperator {
    /// Rows of keys that have not given theirs.
    fn open_rows(&mut self, keys: &BatchKeys, rows: usize, ctx: &OperatorContext) -> Result<Vec<u32>> {
        let mut open = Vec::new();
        for row in 0..rows {
            if !self.given.contains(keys.hash(row), keys.key(row), ctx)? {
                open.push(row as u32);
            }
        }
        Ok(open)
    }

    /// The first of `open` for each key, in order.
    fn firsts(&self, rows: &RecordBatch, keys: &BatchKeys, open: &[u32]) -> Result<Vec<u32>> {
        let order = self.order.encode(rows)?;
        let mut encoded = None;
        let mut table = KeyTable::default();
        let mut firsts: Vec<u32> = Vec::new();
        for row in open {
            let number = *row as usize;
            let slot = table.intern(keys.hash(number), keys.key(number)) as usize;
            let Some(first) = firsts.get(slot).map(|first| *first as usize) else {
                firsts.push(*row);
                continue;
            };
            let earlier = match order.of(number).cmp(order.of(first)) {
                // In processing time all are equal, and the one that came before stays.
                Ordering::Equal if self.waiting.is_some() => {
                    let encoded = match &encoded {
                        Some(encoded) => encoded,
                        None => encoded.insert(self.codec.encode(rows)?),
                    };
                    encoded.row(number) < encoded.row(first)
                }
                other => other.is_lt(),
            };
            if earlier {
                firsts[slot] = *row;
            }
        }
        // By time, or as they came.
        firsts.sort_unstable_by_key(|row| (order.of(*row as usize), *row));
        Ok(firsts)
    }

    fn output(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        Ok(rows.project(&self.kept)?.with_schema(self.schema.clone())?)
    }

    fn give_arrived(&mut self, batch: &Batch, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let rows = self.narrow.project(batch.rows())?;
        let keys = self.keys.encode(&rows)?;
        let open = self.open_rows(&keys, rows.num_rows(), ctx)?;
        let firsts = self.firsts(&rows, &keys, &open)?;
        self.given.insert(&firsts, &keys, ctx)?;
        let given = batch.replace_rows(self.output(&rows)?).take(&UInt32Array::from(firsts))?;
        out.emit(MAIN_PORT, given)?;
        self.given.keep_to_budget(0, ctx);
        Ok(())
    }
}

impl Operator for FirstRowOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.waiting.as_mut().map_or(Ok(()), |waiting| waiting.rows.open(ctx))
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let Some(waiting) = &self.waiting else { return self.give_arrived(&batch, ctx, out) };
        let on_time = waiting.rows.split_late(batch, waiting.late, ctx, out)?;
        let rows = self.narrow.project(on_time.rows())?;
        let keys = self.keys.encode(&rows)?;
        let open = self.open_rows(&keys, rows.num_rows(), ctx)?;
        let rows =
            if open.len() == rows.num_rows() { rows } else { take_record_batch(&rows, &UInt32Array::from(open))? };
        if let Some(waiting) = &mut self.waiting {
            waiting.rows.add(rows)?;
            waiting.rows.keep_to_budget(self.given.size_bytes(), ctx)?;
            self.given.keep_to_budget(waiting.rows.size_bytes(), ctx);
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        loop {
            let Some(waiting) = &mut self.waiting else { return Ok(()) };
            let Some(rows) = waiting.rows.next_due(watermark, ctx)? else { return Ok(()) };
            let keys = self.keys.encode(&rows)?;
            let open = self.open_rows(&keys, rows.num_rows(), ctx)?;
            let firsts = self.firsts(&rows, &keys, &open)?;
            if firsts.is_empty() {
                continue;
            }
            self.given.insert(&firsts, &keys, ctx)?;
            let given = take_record_batch(&self.output(&rows)?, &UInt32Array::from(firsts))?;
            out.emit(MAIN_PORT, Batch::new(given))?;
        }
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.waiting.as_mut().map_or(Ok(()), |waiting| waiting.rows.on_barrier(ctx))
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.given.forget_some_expired(ctx)
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        self.given.expiry.next_time()
    }
}

const GIVEN_TAG: u8 = b'g';

/// Keys that gave their row: in state `g` and the key, with the wall time; some of them in memory too.
struct GivenKeys {
    expiry: ExpirySearch,
    known: KeyTable,
    /// When the key of each slot gave its row.
    given_at_ms: Vec<i64>,
    key_buffer: Vec<u8>,
}

impl GivenKeys {
    fn new(ttl_ms: Option<i64>) -> Self {
        let expiry = ExpirySearch::new(ttl_ms);
        Self { expiry, known: KeyTable::default(), given_at_ms: Vec::new(), key_buffer: Vec::new() }
    }

    fn contains(&mut self, hash: u64, key: &[u8], ctx: &OperatorContext) -> Result<bool> {
        let known = self.known.find(hash, key).map(|slot| self.given_at_ms[slot as usize]);
        let given_at = match known {
            Some(given_at) => Some(given_at),
            None => self.read(hash, key, ctx)?,
        };
        Ok(given_at.is_some_and(|at| !self.expiry.is_expired(at, ctx.now.0)))
    }

    fn read(&mut self, hash: u64, key: &[u8], ctx: &OperatorContext) -> Result<Option<i64>> {
        let group = KeyGroup::of(hash, ctx.key_groups.max_parallelism);
        self.name(key);
        let Some(value) = ctx.state.get(group, &self.key_buffer)? else { return Ok(None) };
        let given_at = value.as_slice().try_into().map_or(i64::MIN, from_sortable);
        self.remember(hash, key, given_at);
        Ok(Some(given_at))
    }

    /// Notes that the keys of these rows gave theirs.
    fn insert(&mut self, rows: &[u32], keys: &BatchKeys, ctx: &mut OperatorContext) -> Result<()> {
        let mut writes = Writes::default();
        for row in rows {
            let (hash, key) = (keys.hash(*row as usize), keys.key(*row as usize));
            self.remember(hash, key, ctx.now.0);
            let group = KeyGroup::of(hash, ctx.key_groups.max_parallelism);
            writes.put(group, &[&[GIVEN_TAG], key], &sortable(ctx.now.0));
        }
        writes.flush(ctx.state.as_mut())
    }

    fn remember(&mut self, hash: u64, key: &[u8], given_at_ms: i64) {
        let slot = self.known.intern(hash, key) as usize;
        self.given_at_ms.resize(self.known.len(), given_at_ms);
        self.given_at_ms[slot] = given_at_ms;
    }

    fn name(&mut self, key: &[u8]) {
        self.key_buffer.clear();
        self.key_buffer.push(GIVEN_TAG);
        self.key_buffer.extend_from_slice(key);
    }

    fn size_bytes(&self) -> usize {
        self.known.size_bytes() + self.given_at_ms.capacity() * size_of::<i64>()
    }

    /// Drops the keys in memory, all of which state has, where they take more than half of the budget.
    fn keep_to_budget(&mut self, other_bytes: usize, ctx: &OperatorContext) {
        if self.size_bytes() > ctx.cache_budget_bytes / 2 {
            ctx.metrics.spilled.add(self.known.len());
            self.known = KeyTable::default();
            self.given_at_ms = Vec::new();
        }
        ctx.metrics.cache_bytes.set((self.size_bytes() + other_bytes) as i64);
    }

    fn forget_some_expired(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let Some(group) = self.expiry.next_group(ctx) else { return Ok(()) };
        let mut expired = Vec::new();
        ctx.state.scan(group, &[GIVEN_TAG], &mut |key, value| {
            if self.expiry.is_expired(value.try_into().map_or(i64::MIN, from_sortable), ctx.now.0) {
                expired.push(key.to_vec());
            }
            Ok(true)
        })?;
        expired.iter().try_for_each(|key| ctx.state.delete(group, key))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::operators::testing::{World, rows_as_text, sorted};

    /// Key, time, number, watermark of the row's split.
    type Row = (i64, i64, i64, i64);

    fn plan(is_event_time: bool, ttl_ms: Option<i64>) -> FirstRow {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let input: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("key", DataType::Int64, true),
            Field::new("time", time, true),
            Field::new("number", DataType::Int64, true),
        ]));
        FirstRow {
            keys: vec![0],
            order: vec![SortColumn { column: 1, descending: false, nulls_first: true }],
            is_event_time,
            kept: vec![0, 1, 2],
            ttl_ms,
            schema: input.clone(),
            input,
        }
    }

    fn batch_of(rows: &[Row], plan: &FirstRow) -> Batch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
            Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.1))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
        ];
        let watermarks = Int64Array::from_iter_values(rows.iter().map(|row| row.3));
        Batch::new(RecordBatch::try_new(plan.input.clone(), columns).unwrap()).with_watermarks(watermarks)
    }

    #[test]
    fn out_of_order_rows_give_the_first_by_time() {
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let plan = plan(true, None);
            let mut world = World::new(&plan, &[0], &plan.input, [usize::MAX, 1, 3_000][seed as usize % 3], 1);
            let (mut first, mut late) = (BTreeMap::<i64, Row>::new(), Vec::new());
            let mut reached = 0;
            for _ in 0..rng.random_range(1..30) {
                let row = |rng: &mut ChaCha8Rng| {
                    let time = reached + rng.random_range(-2..9);
                    (rng.random_range(0..8), time, rng.random_range(0..3), reached)
                };
                let rows: Vec<Row> = (0..rng.random_range(1..9)).map(|_| row(&mut rng)).collect();
                world.batch(&batch_of(&rows, &plan));
                for row in rows {
                    if row.1 <= reached {
                        late.push(row);
                    } else {
                        let known = first.entry(row.0).or_insert(row);
                        *known = (*known).min(row);
                    }
                }
                reached += rng.random_range(0..3);
                match rng.random_range(0..6) {
                    0 => world.barrier(),
                    1 => (0..3).for_each(|_| world.restart(rng.random_range(1..4))),
                    // The operator's watermark is never ahead of a split's.
                    _ => world.watermark(reached - rng.random_range(0..3)),
                }
            }
            world.end();
            let texts = |rows: &[Row]| sorted(rows_as_text(batch_of(rows, &plan).rows()));
            let first: Vec<Row> = first.into_values().collect();
            assert_eq!(world.sorted_rows(), texts(&first), "seed {seed}");
            assert_eq!(world.sorted_late_rows(), texts(&late), "seed {seed}");
        }
    }

    #[test]
    fn in_processing_time_the_first_to_arrive_is_given_at_once() {
        for budget in [usize::MAX, 1] {
            let plan = plan(false, None);
            let mut world = World::new(&plan, &[0], &plan.input, budget, 1);
            world.batch(&batch_of(&[(1, 9, 0, 0), (1, 3, 1, 0), (2, 5, 2, 0)], &plan));
            world.restart(2);
            world.batch(&batch_of(&[(1, 1, 3, 0), (3, 5, 4, 0)], &plan));
            let time = |ms: i64| format!("1970-01-01T00:00:00.00{ms}");
            let expected = [(1, 9, 0), (2, 5, 2), (3, 5, 4)].map(|row| format!("{}|{}|{}", row.0, time(row.1), row.2));
            assert_eq!(world.rows(MAIN_PORT), expected);
        }
    }

    #[test]
    fn a_key_that_was_forgotten_gives_a_row_again() {
        for (budget, search) in [(usize::MAX, false), (1, true)] {
            let plan = plan(false, Some(100));
            let mut world = World::new(&plan, &[0], &plan.input, budget, 1);
            world.batch(&batch_of(&[(1, 1, 0, 0)], &plan));
            world.now = 99;
            world.batch(&batch_of(&[(1, 2, 1, 0)], &plan));
            if search {
                (0..20).for_each(|step| world.time(100 + step));
                assert_eq!(world.state_entries(), 0);
            }
            world.now = 130;
            world.batch(&batch_of(&[(1, 3, 2, 0)], &plan));
            assert_eq!(world.rows(MAIN_PORT).len(), 2);
        }
    }
}
