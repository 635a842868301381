//! How a batch of one side meets the rows of the other.
//!
//! While a batch is worked on, the rows of the other side stay the same. So all pairs of a batch are found first, and
//! the condition is evaluated over them in pieces; then the rows are applied one by one in their order.

use std::sync::Arc;

use arrow::array::{Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Schema;

use super::condition::Condition;
use super::emit::{Change, Decoded, Layout};
use super::side_rows::NONE;
use super::store::JoinStore;
use super::{Alone, RegularJoin};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext};
use crate::operators::key_table::KeyColumns;
use crate::operators::row_codec::{EncodedRows, RowCodec};
use crate::{Batch, Epoch, Result};

/// Pairs that are tried at once, and about the output rows that are made at once: enough to hide the cost of a call,
/// little enough that a key with many rows on both sides takes no more memory than others.
const PAIRS_MAX: usize = 16 << 10;

pub struct JoinOperator {
    keys: [KeyColumns; 2],
    codecs: [RowCodec; 2],
    key_columns: [Vec<usize>; 2],
    null_fits_null: Vec<bool>,
    condition: Option<Condition>,
    alone: [Option<Alone>; 2],
    gives_pairs: bool,
    layout: Layout,
    /// Columns of the left input.
    left_width: usize,
    store: JoinStore,
}

impl JoinOperator {
    pub fn new(plan: &RegularJoin) -> Result<Self> {
        let [left, right] = &plan.inputs;
        assert_eq!(left.keys.len(), right.keys.len(), "keys are compared in pairs");
        assert_eq!(left.keys.len(), plan.null_fits_null.len(), "each key says what NULL is to it");
        let fields = left.schema.fields().iter().chain(right.schema.fields()).cloned();
        let joined = Schema::new(fields.collect::<Vec<_>>());
        let condition = plan.condition.as_ref().map(|expr| Condition::new(expr, &joined, plan.on_error)).transpose()?;
        let alone = [left.alone, right.alone];
        let gives = alone.map(|alone| plan.pairs || alone.is_some());
        Ok(Self {
            keys: [KeyColumns::new(&left.keys, &left.schema)?, KeyColumns::new(&right.keys, &right.schema)?],
            codecs: [RowCodec::new(&left.schema)?, RowCodec::new(&right.schema)?],
            key_columns: [left.keys.clone(), right.keys.clone()],
            null_fits_null: plan.null_fits_null.clone(),
            condition,
            alone,
            gives_pairs: plan.pairs,
            layout: Layout { gives, schema: Arc::clone(&plan.schema) },
            left_width: left.schema.fields().len(),
            store: JoinStore::new(plan.ttl_ms),
        })
    }

    /// False for rows with a NULL in a key that fits nothing.
    fn can_fit(&self, side: usize, batch: &Batch) -> Vec<bool> {
        let mut can_fit = vec![true; batch.num_rows()];
        for (column, null_fits_null) in self.key_columns[side].iter().zip(&self.null_fits_null) {
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
        let keys = self.keys[input].encode(batch.rows())?;
        let slots = self.store.slots_of(&keys, &self.can_fit(input, &batch), ctx)?;
        let rows = self.codecs[input].encode(batch.rows())?;
        Meeting { side: input, batch: &batch, rows: &rows, slots: &slots, join: self, ctx, out }.run()?;
        self.store.keep_to_budget(ctx)
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.store.write_back(ctx)?;
        self.store.tidy_up();
        Ok(())
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.store.forget_some_expired(ctx)
    }

    fn wants_time(&self) -> bool {
        self.store.has_ttl()
    }
}

/// A batch of one side that meets the rows of the other.
struct Meeting<'a> {
    side: usize,
    batch: &'a Batch,
    rows: &'a EncodedRows,
    slots: &'a [u32],
    join: &'a mut JoinOperator,
    ctx: &'a OperatorContext,
    out: &'a mut dyn Collector,
}

/// A row of the batch, some of whose pairs may have been applied.
#[derive(Default)]
struct Progress {
    row: usize,
    is_begun: bool,
    /// Takes back what is not there.
    is_ignored: bool,
    /// Fitting rows so far, each counted as often as it is there.
    matches: i64,
}

/// A row of the batch and a row of the other side.
type Pair = (u32, u32);

impl Meeting<'_> {
    fn run(mut self) -> Result<()> {
        let mut progress = Progress::default();
        let mut pairs: Vec<Pair> = Vec::new();
        for row in 0..self.batch.num_rows() {
            let mut other = match self.slots[row] {
                NONE => NONE,
                slot => self.other_rows().first(slot),
            };
            while other != NONE {
                if !self.join.store.is_expired(1 - self.side, other, self.ctx.now.0) {
                    pairs.push((row as u32, other));
                }
                other = self.other_rows().next(other);
                if pairs.len() == PAIRS_MAX {
                    self.apply(&mut progress, &pairs, row)?;
                    pairs.clear();
                }
            }
        }
        self.apply(&mut progress, &pairs, self.batch.num_rows())
    }

    fn other_rows(&self) -> &super::side_rows::SideRows {
        self.join.store.side(1 - self.side)
    }

    /// Applies the rows before `end` with their last pairs, and the pairs so far of row `end`.
    fn apply(&mut self, progress: &mut Progress, pairs: &[Pair], end: usize) -> Result<()> {
        let (fitting, decoded) = match &self.join.condition {
            None => ((0..pairs.len() as u32).collect(), None),
            Some(condition) => {
                let decoded = self.decode(pairs.iter().map(|pair| pair.1))?;
                (self.fitting(condition, pairs, &decoded)?, Some(decoded))
            }
        };
        let mut changes = Vec::new();
        let mut fitting = fitting.into_iter().map(|number| pairs[number as usize]).peekable();
        while progress.row < self.batch.num_rows().min(end + 1) {
            self.begin(progress);
            while let Some((_, other)) = fitting.next_if(|(row, _)| *row as usize == progress.row) {
                self.meet(progress, other, &mut changes);
                self.emit_if(PAIRS_MAX, &mut changes, decoded.as_ref())?;
            }
            if progress.row == end {
                break;
            }
            self.finish(progress, &mut changes);
            *progress = Progress { row: progress.row + 1, ..Progress::default() };
        }
        self.emit_if(1, &mut changes, decoded.as_ref())
    }

    fn decode(&self, numbers: impl Iterator<Item = u32>) -> Result<Decoded> {
        Decoded::of(numbers, self.other_rows(), &self.join.codecs[1 - self.side])
    }

    /// The numbers of the pairs for which the condition holds.
    fn fitting(&self, condition: &Condition, pairs: &[Pair], others: &Decoded) -> Result<Vec<u32>> {
        let own_rows = UInt32Array::from_iter_values(pairs.iter().map(|pair| pair.0));
        let other_rows = UInt32Array::from_iter_values(pairs.iter().map(|pair| others.place(pair.1)));
        let columns = condition.columns().iter().map(|column| {
            let side = usize::from(*column >= self.join.left_width);
            let column = column - side * self.join.left_width;
            let (rows, numbers) =
                if side == self.side { (self.batch.rows(), &own_rows) } else { (&others.rows, &other_rows) };
            Ok(take(rows.column(column), numbers, None)?)
        });
        condition.fitting(columns.collect::<Result<_>>()?, pairs.len(), &self.ctx.metrics)
    }

    fn is_retraction(&self, row: usize) -> bool {
        self.batch.kind(row).is_retraction()
    }

    /// Looks whether a retraction takes back what is there. With a time to live, what is gone may have been given.
    fn begin(&self, progress: &mut Progress) {
        if std::mem::replace(&mut progress.is_begun, true) {
            return;
        }
        let keeps = self.slots[progress.row] != NONE && !self.join.store.has_ttl();
        progress.is_ignored = keeps
            && self.is_retraction(progress.row)
            && self.join.store.find(self.side, self.rows.row(progress.row), self.ctx.now.0).is_none();
    }

    /// A row meets one that it fits.
    fn meet(&mut self, progress: &mut Progress, other: u32, changes: &mut Vec<Change>) {
        if progress.is_ignored {
            return;
        }
        let is_retraction = self.is_retraction(progress.row);
        let count = self.other_rows().facts(other).count;
        progress.matches += count;
        let pair = Change { is_retraction, own: progress.row as u32, other };
        let alone = self.other_alone(other, is_retraction);
        // A row stops standing alone before it is paired, and starts behind.
        let pairs = (0..count).filter(|_| self.join.gives_pairs).map(|_| pair);
        let alone = alone
            .into_iter()
            .flat_map(|is_retraction| (0..count).map(move |_| Change { is_retraction, own: NONE, other }));
        if is_retraction { changes.extend(pairs.chain(alone)) } else { changes.extend(alone.chain(pairs)) }
    }

    /// Counts a match of a row of the other side; `Some(is_retraction)` where that changes whether it is given alone.
    fn other_alone(&mut self, other: u32, is_retraction: bool) -> Option<bool> {
        let alone = self.join.alone[1 - self.side]?;
        let rows = self.join.store.side_mut(1 - self.side);
        let delta = if is_retraction { -1 } else { 1 };
        let (before, after) = rows.shift_matches(other, delta, self.ctx.now.0);
        rows.mark_dirty(other);
        match (alone.applies(before), alone.applies(after)) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => None,
        }
    }

    /// All pairs of a row are applied: it may stand alone, and is kept.
    fn finish(&mut self, progress: &Progress, changes: &mut Vec<Change>) {
        if progress.is_ignored {
            return;
        }
        let (row, now_ms) = (progress.row, self.ctx.now.0);
        let is_retraction = self.is_retraction(row);
        if self.join.alone[self.side].is_some_and(|alone| alone.applies(progress.matches)) {
            changes.push(Change { is_retraction, own: row as u32, other: NONE });
        }
        let (slot, bytes) = (self.slots[row], self.rows.row(row));
        if slot == NONE {
            return;
        }
        if !is_retraction {
            self.join.store.add(self.side, slot, bytes, progress.matches, now_ms);
        } else if let Some(known) = self.join.store.find(self.side, bytes, now_ms) {
            self.join.store.take_back(self.side, known, now_ms);
        }
    }

    /// Emits the changes so far, if they are so many.
    fn emit_if(&mut self, count: usize, changes: &mut Vec<Change>, decoded: Option<&Decoded>) -> Result<()> {
        if changes.len() < count {
            return Ok(());
        }
        let numbers = changes.iter().map(|change| change.other).filter(|other| *other != NONE);
        let own = match decoded {
            None => Some(self.decode(numbers)?),
            Some(_) => None,
        };
        let others = decoded.or(own.as_ref()).expect("one of them is there");
        let batch = self.join.layout.batch(changes, self.side, self.batch.rows(), others)?;
        changes.clear();
        self.out.emit(MAIN_PORT, batch)
    }
}
