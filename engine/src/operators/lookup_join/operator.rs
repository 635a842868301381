//! The operator of lookup joins: rows come in, wait for their keys, and leave.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::LookupJoin;
use super::by_key::KeyedTable;
use super::entries::NULL_KEY;
use super::held::{HeldRows, Leaving};
use super::pairs::Pairs;
use super::stored::StoredRows;
use super::whole::WholeTable;
use crate::lookup::{Access, Answer, Answered, LookupFailure, LookupPolicy, Question};
use crate::operator::{Collector, Operator, OperatorContext, Stage};
use crate::operators::join_rows::{JoinedRows, LEFT, RIGHT, Side, pick};
use crate::time::EventTime;
use crate::{Batch, EngineError, Epoch, Result};

/// Rows that wait in one instance, where keys are answered faster than the oldest of them: a few batches.
const HELD_ROWS_MAX: usize = 32 << 10;
/// Rows that are taken in to come to a barrier: as many as stand in the channels of a busy task.
const HELD_ROWS_MAX_AT_BARRIER: usize = 8 * HELD_ROWS_MAX;
/// As for rows, in bytes.
const HELD_BYTES_MAX: usize = 32 << 20;
const HELD_BYTES_MAX_AT_BARRIER: usize = 4 * HELD_BYTES_MAX;

pub struct LookupJoinOperator {
    policy: LookupPolicy,
    sides: [Side; 2],
    joined: JoinedRows,
    held: HeldRows,
    stored: StoredRows,
    table: Table,
    now_ms: i64,
    next_number: u64,
}

enum Table {
    Whole(WholeTable),
    ByKey(Box<KeyedTable>),
}

impl LookupJoinOperator {
    pub fn new(plan: &LookupJoin) -> Result<Self> {
        let [left, right] = &plan.inputs;
        let schemas = [left.schema.clone(), right.schema.clone()];
        let table = match &plan.policy.access {
            Access::Whole { reload_interval_ms } => Table::Whole(WholeTable::new(*reload_interval_ms)),
            Access::ByKey(access) => Table::ByKey(Box::new(KeyedTable::new(&plan.policy, access, left, right)?)),
        };
        Ok(Self {
            policy: plan.policy.clone(),
            sides: [Side::new(left)?, Side::new(right)?],
            joined: JoinedRows::new(plan.kind, schemas, plan.condition.clone(), plan.schema.clone())?,
            held: HeldRows::new(plan.policy.ordered),
            stored: StoredRows::new(&left.schema)?,
            table,
            now_ms: 0,
            next_number: 0,
        })
    }

    fn admit(&mut self, batch: Batch, ctx: &OperatorContext) -> Result<()> {
        let (keys, answered) = match &mut self.table {
            Table::Whole(_) => (vec![NULL_KEY; batch.num_rows()], Vec::new()),
            Table::ByKey(table) => table.admit(&batch, self.held.next_number(), self.now_ms, &ctx.metrics.lookups)?,
        };
        self.held.push(batch, keys, answered);
        Ok(())
    }

    /// Rows of a table that is held whole.
    fn join_whole(
        &self,
        table: &WholeTable,
        leaving: &Leaving,
        rows_max: usize,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let Some(index) = table.index() else { return Ok(()) };
        let rows = leaving.batch.rows();
        let (keys, null_keys) = (self.sides[LEFT].encode_keys(rows)?, self.sides[LEFT].null_keys(rows));
        let mut pairs = Pairs::new(&self.joined, &leaving.batch);
        let mut right: Vec<u32> = Vec::new();
        for row in &leaving.rows {
            if !null_keys[*row as usize] {
                right.extend_from_slice(index.find(&keys, *row as usize));
            }
            pairs.push(*row, right.len());
            if right.len() >= rows_max {
                pairs.emit(&pick(&index.rows, &right)?, out)?;
                pairs.clear();
                right.clear();
            }
        }
        pairs.emit(&pick(&index.rows, &right)?, out)
    }

    /// Rows whose keys are answered.
    fn join_by_key(
        &self,
        table: &KeyedTable,
        leaving: &Leaving,
        rows_max: usize,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let mut pairs = Pairs::new(&self.joined, &leaving.batch);
        let mut right: Vec<&[u8]> = Vec::new();
        let decode = |rows: &[&[u8]]| -> Result<RecordBatch> { table.codec.decode(rows.iter().copied()) };
        for (row, key) in leaving.rows.iter().zip(&leaving.keys) {
            right.extend(table.entries.rows(*key).into_iter().flat_map(|rows| rows.iter()));
            pairs.push(*row, right.len());
            if right.len() >= rows_max {
                pairs.emit(&decode(&right)?, out)?;
                pairs.clear();
                right.clear();
            }
        }
        pairs.emit(&decode(&right)?, out)
    }

    fn on_whole_answer(&mut self, result: Result<Answer, LookupFailure>) -> Result<()> {
        let Table::Whole(table) = &mut self.table else { return Ok(()) };
        match result {
            Ok(Answer::Whole(rows)) => table.fill(Arc::clone(&rows), &self.sides[RIGHT], self.now_ms),
            Ok(_) => Err(wrong_answer(&self.policy.table)),
            Err(LookupFailure::Engine(error)) => Err(error),
            Err(LookupFailure::Passing(reason) | LookupFailure::Lasting(reason)) => {
                Err(EngineError::Connector { connector: format!("table `{}`", self.policy.table), reason })
            }
        }
    }
}

fn wrong_answer(table: &str) -> EngineError {
    let reason = "the answer is not one to the question".into();
    EngineError::Internal { place: format!("the lookup of `{table}`"), reason }
}

impl Operator for LookupJoinOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        self.now_ms = ctx.now.0;
        if let Table::ByKey(table) = &mut self.table {
            table.entries.set_bytes_max(ctx.cache_budget_bytes);
        }
        let (batches, released) = self.stored.restore(ctx)?;
        self.held.restore_released(released);
        batches.into_iter().try_for_each(|batch| self.admit(batch, ctx))
    }

    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        self.now_ms = ctx.now.0;
        if batch.is_empty() { Ok(()) } else { self.admit(batch, ctx) }
    }

    fn on_watermark(
        &mut self,
        watermark: EventTime,
        _ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        self.held.mark(watermark);
        Ok(())
    }

    fn output_watermark(&self, _input: EventTime) -> EventTime {
        self.held.released()
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        self.stored.write(&self.held, ctx)
    }

    fn stage(&mut self) -> Option<&mut dyn Stage> {
        Some(self)
    }
}

impl Stage for LookupJoinOperator {
    fn questions(&mut self, ctx: &mut OperatorContext) -> Result<Vec<(u64, Question)>> {
        self.now_ms = ctx.now.0;
        match &mut self.table {
            Table::ByKey(table) => table.questions(self.now_ms, &ctx.metrics.lookups),
            // The first question comes before the first row, so that a file that is missing is found at the start.
            Table::Whole(table) => {
                let wanted = table.index().is_none() || !self.held.is_empty();
                if table.asked.is_some() || !wanted || table.is_fresh(self.now_ms) {
                    return Ok(Vec::new());
                }
                table.asked = Some(self.next_number);
                self.next_number += 1;
                ctx.metrics.lookups.requests.add(1);
                Ok(vec![(self.next_number - 1, Question::Open(ctx.now))])
            }
        }
    }

    fn on_answer(&mut self, answer: Answered, ctx: &mut OperatorContext) -> Result<()> {
        self.now_ms = ctx.now.0;
        let Table::ByKey(table) = &mut self.table else { return self.on_whole_answer(answer.result) };
        let told = table.on_answer(answer.number, answer.result, self.now_ms, &ctx.metrics.lookups)?;
        told.into_iter().for_each(|place| self.held.answer(place));
        ctx.metrics.cache_bytes.set(table.entries.cached_bytes() as i64);
        ctx.metrics.lookups.in_flight.set(table.keys_in_flight() as i64);
        Ok(())
    }

    fn has_answered(&self) -> bool {
        match &self.table {
            Table::Whole(table) => !self.held.is_empty() && table.is_fresh(self.now_ms),
            Table::ByKey(table) => self.held.can_leave(|key| table.entries.is_answered(key)),
        }
    }

    fn emit_answered(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.now_ms = ctx.now.0;
        let leaving = match &self.table {
            Table::Whole(table) if !table.is_fresh(self.now_ms) => None,
            Table::Whole(_) => self.held.leave(|_| true),
            Table::ByKey(table) => self.held.leave(|key| table.entries.is_answered(key)),
        };
        let Some(leaving) = leaving else { return Ok(()) };
        let rows_max = ctx.batch_rows.max(1);
        match &self.table {
            Table::Whole(table) => self.join_whole(table, &leaving, rows_max, out)?,
            Table::ByKey(table) => self.join_by_key(table, &leaving, rows_max, out)?,
        }
        if let Table::ByKey(table) = &mut self.table {
            leaving.keys.iter().for_each(|key| table.entries.unpin(*key));
        }
        Ok(())
    }

    fn has_room(&self, barrier_awaited: bool) -> bool {
        let (rows_max, bytes_max) = match barrier_awaited {
            true => (HELD_ROWS_MAX_AT_BARRIER, HELD_BYTES_MAX_AT_BARRIER),
            false => (HELD_ROWS_MAX, HELD_BYTES_MAX),
        };
        let is_busy = match &self.table {
            Table::Whole(table) => !self.held.is_empty() && table.asked.is_some(),
            Table::ByKey(table) => table.has_unasked(),
        };
        (barrier_awaited || !is_busy) && self.held.rows() < rows_max && self.held.bytes() < bytes_max
    }

    /// A table that is missing is found also where no row asks for it: the end waits for the first answer.
    fn is_drained(&self) -> bool {
        let is_open = match &self.table {
            Table::Whole(table) => table.index().is_some(),
            Table::ByKey(table) => table.is_open(),
        };
        is_open && self.held.is_empty()
    }
}
