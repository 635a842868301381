//! The operator: versions go into state, left rows wait there until it is certain which version holds.

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use datafusion_common::JoinType;

use super::TemporalJoin;
use super::versions::{NewVersion, Versions};
use super::waiting::Waiting;
use crate::batch::RowKind;
use crate::keys::KeyGroup;
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, SIDE_PORT};
use crate::operators::join_rows::{ByteRows, JoinedRows, LEFT, RIGHT, Side, pick, settled};
use crate::operators::note::{NoteReader, NoteWriter};
use crate::operators::row_times::row_times;
use crate::time::EventTime;
use crate::time::window::TimeDomain;
use crate::{Batch, Epoch, Result};

/// Processing time keeps one version per key: all have the same time, and the one that came last is the newest.
const NO_TIME: i64 = 0;

pub struct TemporalJoinOperator {
    kind: JoinType,
    domain: TimeDomain,
    sides: [Side; 2],
    times: [usize; 2],
    joined: JoinedRows,
    versions: Versions,
    waiting: Waiting,
    next_number: i64,
    /// Left rows up to this watermark have been joined.
    joined_until: EventTime,
}

impl TemporalJoinOperator {
    pub fn new(plan: &TemporalJoin) -> Result<Self> {
        let [left, right] = &plan.inputs;
        let schemas = [left.schema.clone(), right.schema.clone()];
        Ok(Self {
            kind: plan.kind,
            domain: plan.domain,
            sides: [Side::new(left)?, Side::new(right)?],
            times: plan.times,
            joined: JoinedRows::new(plan.kind, schemas, plan.condition.clone(), plan.schema.clone())?,
            versions: Versions::default(),
            waiting: Waiting::default(),
            next_number: 0,
            joined_until: EventTime::MIN,
        })
    }

    fn mark(&self, batch: &Batch, row: usize, ctx: &OperatorContext) -> EventTime {
        settled(ctx.watermark).max(self.joined_until).max(settled(batch.watermark_before(row)))
    }

    fn times(&self, side: usize, rows: &RecordBatch) -> Result<Vec<i64>> {
        match self.domain {
            TimeDomain::Event => row_times("TemporalJoin", rows, self.times[side]),
            TimeDomain::Processing => Ok(vec![NO_TIME; rows.num_rows()]),
        }
    }

    /// Every row of the right side is a version of its key from its time on; a row that is taken back ends there.
    fn add_versions(&mut self, batch: &Batch, ctx: &mut OperatorContext) -> Result<()> {
        let side = &self.sides[RIGHT];
        let (keys, null_keys) = (side.encode_keys(batch.rows())?, side.null_keys(batch.rows()));
        let bytes = side.codec.encode(batch.rows())?;
        let times = self.times(RIGHT, batch.rows())?;
        for (row, time) in times.into_iter().enumerate() {
            // The new row of an update takes the place of the old one by itself.
            if null_keys[row] || batch.kind(row) == RowKind::UpdateBefore {
                continue;
            }
            self.next_number += 1;
            let is_event = self.domain == TimeDomain::Event;
            let version = NewVersion {
                key: keys.key(row),
                time,
                mark: if is_event { self.mark(batch, row, ctx).0 } else { i64::MIN },
                number: self.next_number,
                is_deletion: batch.kind(row) == RowKind::Delete,
                row: bytes.row(row),
            };
            let group = KeyGroup::of(keys.hash(row), ctx.key_groups.max_parallelism);
            self.versions.put(group, &version, ctx)?;
        }
        if self.domain == TimeDomain::Processing { self.versions.clear(NO_TIME, ctx) } else { Ok(()) }
    }

    /// Left rows in event time: those that are not late wait.
    fn wait(&mut self, batch: &Batch, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        let times = self.times(LEFT, batch.rows())?;
        let keys = self.sides[LEFT].encode_keys(batch.rows())?;
        let bytes = self.sides[LEFT].codec.encode(batch.rows())?;
        let mut late = Vec::new();
        for (row, time) in times.into_iter().enumerate() {
            if time <= self.mark(batch, row, ctx).0 {
                late.push(row as u32);
                continue;
            }
            self.next_number += 1;
            let group = KeyGroup::of(keys.hash(row), ctx.key_groups.max_parallelism);
            self.waiting.put(group, time, self.next_number, bytes.row(row), ctx)?;
        }
        if late.is_empty() {
            return Ok(());
        }
        ctx.metrics.late.add(late.len());
        out.emit(SIDE_PORT, batch.take(&UInt32Array::from(late))?)
    }

    /// Joins the left rows that the watermark has passed, then forgets versions that no later row can meet.
    fn join_until(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        if watermark <= self.joined_until {
            return Ok(());
        }
        for group in ctx.key_groups.groups().map(KeyGroup) {
            loop {
                let rows = self.waiting.take(group, watermark.0, ctx.batch_rows.max(1), ctx)?;
                if rows.is_empty() {
                    break;
                }
                let rows = self.sides[LEFT].codec.decode(rows.iter())?;
                self.join(&rows, None, ctx, out)?;
            }
        }
        self.joined_until = watermark;
        self.versions.clear(watermark.0, ctx)
    }

    /// Joins left rows with the versions that hold at their times. `marks`: watermarks that the rows bring along.
    fn join(
        &self,
        rows: &RecordBatch,
        marks: Option<&Int64Array>,
        ctx: &OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        let (keys, null_keys) = (self.sides[LEFT].encode_keys(rows)?, self.sides[LEFT].null_keys(rows));
        let times = self.times(LEFT, rows)?;
        let (mut left, mut right) = (Vec::new(), ByteRows::default());
        for (row, time) in times.into_iter().enumerate().filter(|(row, _)| !null_keys[*row]) {
            let group = KeyGroup::of(keys.hash(row), ctx.key_groups.max_parallelism);
            self.versions.at(group, keys.key(row), time, ctx, &mut |version| {
                left.push(row as u32);
                right.push(version);
            })?;
        }
        let mut unmatched = vec![true; rows.num_rows()];
        if !left.is_empty() {
            let versions = self.sides[RIGHT].codec.decode(right.iter())?;
            let (pairs, keep) = self.joined.pair(&pick(rows, &left)?, &versions)?;
            let kept = |index: usize| keep.as_ref().is_none_or(|keep| keep.value(index));
            let numbers: Vec<u32> = (0..left.len()).filter(|index| kept(*index)).map(|index| left[index]).collect();
            numbers.iter().for_each(|row| unmatched[*row as usize] = false);
            emit(self.joined.matched(pairs, keep.as_ref())?, &numbers, marks, out)?;
        }
        if self.kind != JoinType::Left {
            return Ok(());
        }
        let alone: Vec<u32> = (0..rows.num_rows() as u32).filter(|row| unmatched[*row as usize]).collect();
        emit(self.joined.alone(LEFT, &pick(rows, &alone)?)?, &alone, marks, out)
    }
}

/// Emits output rows, each made of the left row with this number, whose watermark goes along.
fn emit(rows: RecordBatch, left: &[u32], marks: Option<&Int64Array>, out: &mut dyn Collector) -> Result<()> {
    assert_eq!(rows.num_rows(), left.len(), "every output row has a left row");
    if left.is_empty() {
        return Ok(());
    }
    let batch = Batch::new(rows);
    let batch = match marks {
        None => batch,
        Some(marks) => batch.with_watermarks(left.iter().map(|row| marks.value(*row as usize)).collect()),
    };
    out.emit(MAIN_PORT, batch)
}

impl Operator for TemporalJoinOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let mut joined_until: Option<EventTime> = None;
        for note in ctx.state.restored_notes() {
            let mut note = NoteReader::new(note);
            let own = EventTime(note.read()?);
            joined_until = Some(joined_until.map_or(own, |other| other.min(own)));
            self.next_number = self.next_number.max(note.read()?);
        }
        self.joined_until = joined_until.unwrap_or(EventTime::MIN);
        Ok(())
    }

    fn on_batch(
        &mut self,
        input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()> {
        match (input, self.domain) {
            (RIGHT, _) => self.add_versions(&batch, ctx),
            (_, TimeDomain::Event) => self.wait(&batch, ctx, out),
            (_, TimeDomain::Processing) => self.join(batch.rows(), batch.watermarks(), ctx, out),
        }
    }

    fn on_watermark(&mut self, watermark: EventTime, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        match self.domain {
            TimeDomain::Event => self.join_until(settled(watermark), ctx, out),
            TimeDomain::Processing => Ok(()),
        }
    }

    /// Rows as old as the watermark may still come, and wait.
    fn output_watermark(&self, input: EventTime) -> EventTime {
        match self.domain {
            TimeDomain::Event => settled(input),
            TimeDomain::Processing => input,
        }
    }

    fn on_barrier(&mut self, _epoch: Epoch, ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        let mut note = NoteWriter::default();
        note.push(self.joined_until.0);
        note.push(self.next_number);
        ctx.state.set_note(note.finish());
        Ok(())
    }
}
