//! The join as an operator: its parts, and what it does with a batch, a barrier and the clock.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{Schema, SchemaRef};

use super::condition::Condition;
use super::emit::Layout;
use super::entry::Buckets;
use super::meeting::{Meeting, Own};
use super::side::Added;
use super::side_rows::NONE;
use super::store::JoinStore;
use super::{Alone, JoinInput, RegularJoin, RowKey};
use crate::batch::RowKind;
use crate::keys::hash_key;
use crate::operator::{Collector, Operator, OperatorContext};
use crate::operators::key_table::{BatchKeys, KeyColumns};
use crate::operators::row_codec::{EncodedRows, RowCodec};
use crate::time::ProcessingTime;
use crate::{Batch, Epoch, Result};

pub struct JoinOperator {
    inputs: [InputColumns; 2],
    null_fits_null: Vec<bool>,
    pub(super) condition: Option<Condition>,
    pub(super) alone: [Option<Alone>; 2],
    pub(super) gives_pairs: bool,
    pub(super) layout: Layout,
    /// Columns of the left input.
    pub(super) left_width: usize,
    pub(super) store: JoinStore,
    /// By row of the batch at hand: fitting rows so far, each counted as often as it is there.
    pub(super) matches: Vec<i64>,
}

/// How rows of one input are read.
struct InputColumns {
    keys: KeyColumns,
    key_columns: Vec<usize>,
    codec: RowCodec,
    /// Those of [`RowKey::Columns`].
    row_key: Option<KeyColumns>,
    buckets: Buckets,
}

impl InputColumns {
    fn new(input: &JoinInput) -> Result<Self> {
        let row_key = match &input.row_key {
            RowKey::Columns(columns) => Some(KeyColumns::new(columns, &input.schema)?),
            _ => None,
        };
        Ok(Self {
            keys: KeyColumns::new(&input.keys, &input.schema)?,
            key_columns: input.keys.clone(),
            codec: RowCodec::new(&input.schema)?,
            row_key,
            buckets: match input.row_key {
                RowKey::JoinKey => Buckets::OnePerKey,
                RowKey::Columns(_) | RowKey::WholeRow => Buckets::ByHash,
                // Of a side whose rows may stand alone, how many each fits is counted.
                RowKey::Arrival if input.alone.is_some() => Buckets::ByArrival,
                RowKey::Arrival => Buckets::Packed,
            },
        })
    }

    /// For each row the hash of its bucket.
    fn bucket_hashes(&self, batch: &Batch, keys: &BatchKeys, rows: &EncodedRows) -> Result<Vec<u64>> {
        let all = 0..batch.num_rows();
        Ok(match (&self.row_key, self.buckets) {
            (_, Buckets::OnePerKey) => all.map(|row| keys.hash(row)).collect(),
            (Some(columns), _) => {
                let unique = columns.encode(batch.rows())?;
                all.map(|row| unique.hash(row)).collect()
            }
            (None, _) => all.map(|row| hash_key(rows.row(row))).collect(),
        })
    }

    /// False for rows with a NULL in a key that fits nothing.
    fn can_fit(&self, batch: &Batch, null_fits_null: &[bool]) -> Vec<bool> {
        let mut can_fit = vec![true; batch.num_rows()];
        for (column, null_fits_null) in self.key_columns.iter().zip(null_fits_null) {
            let column = batch.column(*column);
            if !null_fits_null && column.logical_null_count() > 0 {
                let nulls = column.logical_nulls();
                let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                can_fit.iter_mut().enumerate().for_each(|(row, fits)| *fits &= !is_null(row));
            }
        }
        can_fit
    }
}

impl JoinOperator {
    pub fn new(plan: &RegularJoin) -> Result<Self> {
        let [left, right] = &plan.inputs;
        assert_eq!(left.keys.len(), right.keys.len(), "keys are compared in pairs");
        assert_eq!(left.keys.len(), plan.null_fits_null.len(), "each key says what NULL is to it");
        let joined = joined_schema(&left.schema, &right.schema);
        let condition = plan.condition.as_ref().map(|expr| Condition::new(expr, &joined, plan.on_error)).transpose()?;
        let alone = [left.alone, right.alone];
        let gives = alone.map(|alone| plan.pairs || alone.is_some());
        let inputs = [InputColumns::new(left)?, InputColumns::new(right)?];
        let sides = [(inputs[0].buckets, left.lifetime), (inputs[1].buckets, right.lifetime)];
        let is_plain = plan.ttl_ms.is_none() && sides.iter().all(|side| side.0 == Buckets::Packed);
        assert!(
            is_plain || sides.iter().all(|side| side.1.is_none()),
            "the rows of a lifetime come, and go by it alone"
        );
        Ok(Self {
            inputs,
            null_fits_null: plan.null_fits_null.clone(),
            condition,
            alone,
            gives_pairs: plan.pairs,
            layout: Layout { gives, marks: alone.contains(&Some(Alone::Marked)), schema: Arc::clone(&plan.schema) },
            left_width: left.schema.fields().len(),
            store: JoinStore::new(sides, plan.ttl_ms),
            matches: Vec::new(),
        })
    }

    pub(super) fn codec(&self, side: usize) -> &RowCodec {
        &self.inputs[side].codec
    }

    /// Keeps the rows of a batch, and forgets those that it takes back, in their order.
    fn keep(
        &mut self,
        side: usize,
        batch: &Batch,
        (keys, can_fit): (&BatchKeys, &[bool]),
        ctx: &mut OperatorContext,
    ) -> Result<Vec<Own>> {
        let columns = &self.inputs[side];
        let rows = columns.codec.encode(batch.rows())?;
        let hashes = columns.bucket_hashes(batch, keys, &rows)?;
        let (cache, present) = self.store.side_at(side, ctx);
        let slots = cache.take_in_keys(keys, can_fit, present, ctx)?;
        cache.read_buckets(slots.iter().copied().zip(hashes.iter().copied()), present, ctx)?;
        let store = &mut self.store;
        let keep = |row: usize| {
            let (slot, hash, bytes, now_ms) = (slots[row], hashes[row], rows.row(row), ctx.now.0);
            match (slot, batch.kind(row).is_retraction()) {
                (NONE, _) => Own::NOT_KEPT,
                (_, false) => store.add(side, slot, hash, bytes, now_ms),
                (_, true) => match store.take_back(side, slot, hash, bytes, now_ms) {
                    Some(own) => own,
                    // With a time to live, what is gone may have been given.
                    None if store.has_ttl() => Own::NOT_KEPT,
                    None => Own::IGNORED,
                },
            }
        };
        Ok((0..batch.num_rows()).map(keep).collect())
    }
}

fn joined_schema(left: &SchemaRef, right: &SchemaRef) -> Schema {
    Schema::new(left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>())
}

impl Operator for JoinOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.store.open(ctx)
    }

    fn on_batch(
        &mut self,
        input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        if let Some(condition) = &self.condition {
            condition.set_watermark(ctx.watermark);
        }
        let columns = &self.inputs[input];
        let keys = columns.keys.encode(batch.rows())?;
        let can_fit = columns.can_fit(&batch, &self.null_fits_null);
        let only_adds = self.store.sides[input].only_adds();
        let own = match only_adds {
            true => vec![Own::NOT_KEPT; batch.num_rows()],
            false => self.keep(input, &batch, (&keys, &can_fit), ctx)?,
        };
        self.matches.clear();
        self.matches.resize(batch.num_rows(), 0);
        for span in 0..self.store.sides[1 - input].span_count() {
            self.store.sides[1 - input].go_to(span);
            let (others, present) = self.store.side_at(1 - input, ctx);
            let others = others.find_keys(&keys, &can_fit, present, ctx)?;
            Meeting::new(self, input, &batch, &others, &own, ctx, out).run()?;
        }
        if only_adds {
            let kinds = batch.kinds().map_or(&[][..], |kinds| kinds.values());
            assert!(kinds.iter().all(|kind| !RowKind::from_code(*kind).is_retraction()), "an input that only adds");
            let rows = self.codec(input).encode(batch.rows())?;
            let added = Added { batch: &batch, keys: &keys, can_fit: &can_fit, matches: &self.matches, rows: &rows };
            self.store.append(input, added, ctx)?;
        } else {
            self.store.sides[input].cache_mut().drop_page(ctx)?;
        }
        self.store.keep_to_budget(batch.num_rows(), ctx)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.store.on_barrier(ctx)
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.store.forget_some_expired(ctx)
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        self.store.next_time()
    }
}
